"""A POP3 server for tests: a maildrop of given messages, and any misbehaviour.

`PopServer([(uidl, message), …], …)` is a context manager; `server.account()` is a FetchAccount of
it. `replies` has the wire bytes that it sends instead of its own: {b"RETR 2": b"+OK\\r\\nabc"}; a
list is several pieces; HANG and CLOSE in it do that. A callable gets the session.
"""
import contextlib
import socket
import threading
from collections import namedtuple

from phenmail_protocols.fetch.connecting import Contexts
from phenmail_protocols.fetch.pop.source import PopSource
from phenmail_protocols.net.dots import stuff

PATIENCE = 10.0
HANG, CLOSE = object(), object()
_CONTEXTS = Contexts()  # one for all, as it takes long to make
CAPABILITIES = (b"TOP", b"UIDL", b"USER", b"RESP-CODES", b"AUTH-RESP-CODE", b"PIPELINING",
                b"SASL PLAIN")

Account = namedtuple("Account", "server port protocol starttls username passphrase fingerprint")


class Closed(Exception):
    pass


def stuffed(message):
    return b"".join(stuff([message]))


class PopServer:
    """`commands`: what the clients sent, the lines of all connections; `messages`: what is left."""

    def __init__(self, messages=(), replies=None, capabilities=CAPABILITIES, greeting=b"+OK\r\n",
                 context=None, implicit=False):
        self.messages = [message if isinstance(message, tuple) else (b"u%d" % number, message)
                         for number, message in enumerate(messages, 1)]
        self.replies = dict(replies or {})
        self.capabilities, self.greeting = capabilities, greeting
        self.context, self.implicit = context, implicit
        self.commands = []
        self.sessions = 0
        self._listener = socket.create_server(("127.0.0.1", 0)) if hasattr(
            socket, "create_server") else _listen()
        self.port = self._listener.getsockname()[1]
        self._released = threading.Event()
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._released.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # ends `accept`
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.close()

    def account(self, protocol="pop", starttls=False, username="alice", fingerprint=None,
                server="localhost"):
        return Account(server, self.port, protocol, starttls, username, "sesame", fingerprint)

    def source(self, limit=1 << 20, token=None, **account):
        return PopSource(self.account(**account), "sesame", limit, token, _CONTEXTS)

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(PATIENCE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(sock)
            self.sessions += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with contextlib.suppress(OSError, Closed):
            _Session(self, sock).run()
        with contextlib.suppress(OSError):
            sock.close()


def _listen():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    return listener


class _Session:
    def __init__(self, server, sock):
        self.server, self.sock = server, sock
        self.messages = list(server.messages)
        self.deleted = set()
        self.lines = None

    def secure(self):
        self.sock = self.server.context.wrap_socket(self.sock, server_side=True)
        self.server._sockets.append(self.sock)
        self.lines = self.sock.makefile("rb")

    def run(self):
        self.lines = self.sock.makefile("rb")
        if self.server.implicit:
            self.secure()
        self.send(self.server.greeting)
        while True:
            line = self.lines.readline()  # of the present file: STLS changes it
            if not line:
                return
            command = line[:-2]
            self.server.commands.append(command)
            reply = self.server.replies.get(command)
            if reply is None:
                reply = self.server.replies.get(command.split(b" ")[0])
            if reply is None:
                name, _, arguments = command.partition(b" ")
                reply = getattr(self, "do_" + name.decode("ascii").lower())(*arguments.split())
            self.send(reply(self, command) if callable(reply) else reply)

    def send(self, reply):
        for piece in [reply] if isinstance(reply, bytes) else reply:
            if piece is HANG:
                self.server._released.wait(PATIENCE)
                raise Closed
            if piece is CLOSE:
                raise Closed
            self.sock.sendall(piece)

    def line(self):
        """The next line, for AUTH."""
        line = self.lines.readline()[:-2]
        self.server.commands.append(line)
        return line

    def do_capa(self):
        return b"+OK\r\n" + b"".join(each + b"\r\n" for each in self.server.capabilities) + b".\r\n"

    def do_stls(self):
        if self.server.context is None:
            return b"-ERR no TLS\r\n"
        self.send(b"+OK\r\n")
        self.secure()
        return b""

    def do_auth(self, mechanism):
        self.send(b"+ \r\n")
        self.line()
        return b"+OK\r\n"

    def do_user(self, name):
        return b"+OK\r\n"

    def do_pass(self, *words):
        return b"+OK\r\n"

    def do_stat(self):
        return b"+OK %d %d\r\n" % (len(self.messages), sum(len(each[1]) for each in self.messages))

    def do_list(self):
        return b"+OK\r\n" + b"".join(
            b"%d %d\r\n" % (number, len(message))
            for number, (_, message) in enumerate(self.messages, 1)) + b".\r\n"

    def do_uidl(self):
        return b"+OK\r\n" + b"".join(
            b"%d %s\r\n" % (number, uidl)
            for number, (uidl, _) in enumerate(self.messages, 1)) + b".\r\n"

    def do_retr(self, number):
        return b"+OK\r\n" + stuffed(self.messages[int(number) - 1][1])

    def do_top(self, number, count):
        header = self.messages[int(number) - 1][1].partition(b"\r\n\r\n")[0]
        return b"+OK\r\n" + stuffed(header + b"\r\n\r\n")

    def do_dele(self, number):
        self.deleted.add(int(number))
        return b"+OK\r\n"

    def do_quit(self):
        self.server.messages = [each for number, each in enumerate(self.messages, 1)
                                if number not in self.deleted]
        return [b"+OK\r\n", CLOSE]


# A maildrop, and a look at it


def mail(number, body=b"body\r\n"):
    return b"Subject: %d\r\nMessage-ID: <%d@example.org>\r\n\r\n%s" % (number, number, body)


def mails(count):
    return [mail(number) for number in range(1, count + 1)]


def nothing(key):
    return False


def opened(source):
    source.open("")
    return source


def fetch(server, known=(), **options):
    """[(key, message)] of what is new, as a fetcher does it."""
    with server.source(**options) as source:
        opened(source)
        return [(each.key, b"".join(source.read(each)))
                for each in source.new(0, set(known).__contains__)]


def commands(server, name):
    return [each for each in server.commands if each.split(b" ")[0] == name]
