"""An IMAP server on a socket that behaves well, except where a test tells it otherwise."""
import contextlib
import re
import socket
import threading

CAPABILITIES = b"IMAP4rev1 SASL-IR AUTH=PLAIN IDLE UIDPLUS CONDSTORE NAMESPACE ID"


class Message:
    def __init__(self, uid, body, flags=(), size=None, modseq=1):
        self.uid, self.body, self.flags = uid, body, list(flags)
        self.size = len(body) if size is None else size
        self.modseq = modseq


class Hang(Exception):
    """The rest of the connection is silence, until the client closes it."""


class Close(Exception):
    """The server closes the connection."""


class ImapServer:
    """`answers[b"FETCH"] = function(session, tag, arguments)` answers instead of the method
    run_fetch; "GREETING" is one, too. `commands`: what was received, [(name, arguments), …]."""

    def __init__(self, messages=(), capabilities=CAPABILITIES, wrap=None):
        self.messages = list(messages)
        self.capabilities = capabilities
        self.boxes = [(b"", b".", b'"INBOX"')]
        self.namespace = b'(("" ".")) NIL NIL'
        self.validity = 77
        self.answers = {}
        self.commands = []
        self.sessions = []
        self.wrap = wrap  # a socket -> the socket with TLS
        self.implicit = False
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(8)
        self.port = self._listener.getsockname()[1]
        self._threads = []
        self._start(self._accept)

    def _start(self, function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, sock)

    def _serve(self, sock):
        session = None
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.implicit:
                sock = self.wrap(sock)
            session = Session(self, sock)
            self.sessions.append(session)
            session.run()
        except (OSError, Close, ValueError):
            pass
        except Hang:
            with contextlib.suppress(OSError):
                while session.sock.recv(4096):
                    pass
        finally:
            sock.close()
            if session is not None:
                session.close()

    def names(self):
        return [name for name, _ in self.commands]

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)  # ends `accept`
        self._listener.close()
        for session in self.sessions:
            session.close()
        for thread in self._threads:
            thread.join(10)


class Session:
    """One connection. `send(bytes)`; `file.readline()`; `tagged(tag, text)`."""

    def __init__(self, server, sock):
        self.server = server
        self.use(sock)

    def use(self, sock):
        self.sock, self.file = sock, sock.makefile("rb")

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.file.close()
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def tagged(self, tag, text=b"OK done"):
        self.send(tag + b" " + text + b"\r\n")

    def run(self):
        self._answer(b"GREETING", b"*", b"")
        while True:
            line = self.file.readline()
            if not line:
                return
            tag, _, rest = line.rstrip(b"\r\n").partition(b" ")
            name, _, arguments = rest.partition(b" ")
            if name.upper() == b"UID":
                name, _, arguments = arguments.partition(b" ")
                arguments = b"UID " + arguments
            self.server.commands.append((name.upper(), arguments))
            self._answer(name.upper(), tag, arguments)

    def _answer(self, name, tag, arguments):
        method = self.server.answers.get(name)
        if method is not None:
            method(self, tag, arguments)
        else:
            getattr(self, "run_" + name.decode().lower())(tag, arguments)

    # The commands

    def run_greeting(self, tag, _):
        self.send(b"* OK ready\r\n")

    def run_capability(self, tag, _):
        self.send(b"* CAPABILITY %s\r\n" % self.server.capabilities)
        self.tagged(tag)

    def run_starttls(self, tag, _):
        self.tagged(tag)
        self.use(self.server.wrap(self.sock))

    def run_authenticate(self, tag, _):
        self.tagged(tag)

    run_login = run_noop = run_id = run_authenticate

    def run_namespace(self, tag, _):
        self.send(b"* NAMESPACE %s\r\n" % self.server.namespace)
        self.tagged(tag)

    def run_list(self, tag, _):
        for attributes, separator, name in self.server.boxes:
            self.send(b'* LIST (%s) "%s" %s\r\n' % (attributes, separator, name))
        self.tagged(tag)

    def run_select(self, tag, _):
        messages = self.server.messages
        self.send(b"* %d EXISTS\r\n* OK [UIDVALIDITY %d] x\r\n* OK [UIDNEXT %d] x\r\n"
                  b"* OK [HIGHESTMODSEQ %d] x\r\n" % (
                      len(messages), self.server.validity,
                      max([message.uid for message in messages] or [0]) + 1,
                      max([message.modseq for message in messages] or [1])))
        self.tagged(tag, b"OK [READ-WRITE] done")

    run_examine = run_select

    def chosen(self, text, by_uid):
        """[(sequence number, Message), …]; "n:*" names at least the last message."""
        numbers = [(place, message, message.uid if by_uid else place)
                   for place, message in enumerate(self.server.messages, 1)]
        last = numbers[-1][2] if numbers else 0
        found = []
        for part in text.split(b","):
            ends = [last if end == b"*" else int(end) for end in part.split(b":")]
            found += [(place, message) for place, message, number in numbers
                      if min(ends) <= number <= max(ends)]
        return found

    def run_fetch(self, tag, arguments):
        by_uid = arguments.startswith(b"UID ")
        text = arguments[4:] if by_uid else arguments
        sequence_set, _, items = text.partition(b" ")
        for place, message in self.chosen(sequence_set, by_uid):
            self.send(b"* %d FETCH (%s)\r\n" % (place, self.items(message, items)))
        self.tagged(tag)

    def items(self, message, items):
        partial = re.search(rb"BODY\.PEEK\[\]<(\d+)\.(\d+)>", items)
        if partial:
            start, count = map(int, partial.groups())
            piece = message.body[start:start + count]
            return b"UID %d BODY[]<%d> {%d}\r\n%s" % (message.uid, start, len(piece), piece)
        text = b"UID %d" % message.uid
        if b"FLAGS" in items:
            text += b" FLAGS (%s)" % b" ".join(message.flags)
        if b"INTERNALDATE" in items:
            text += b' RFC822.SIZE %d INTERNALDATE " 5-Jan-2020 00:00:00 +0000"' % message.size
        return text

    def run_store(self, tag, arguments):
        for _, message in self.chosen(arguments.split(b" ")[1], True):
            message.flags.append(b"\\Deleted")
        self.tagged(tag)

    def run_expunge(self, tag, arguments):
        gone = [message for _, message in self.chosen(arguments[4:], True)] \
            if arguments else self.server.messages
        for message in list(self.server.messages):
            if message in gone and b"\\Deleted" in message.flags:
                place = self.server.messages.index(message) + 1
                self.server.messages.remove(message)
                self.send(b"* %d EXPUNGE\r\n" % place)
        self.tagged(tag)

    def run_search(self, tag, arguments):
        if b"MODSEQ" in arguments:
            since = int(arguments.split()[-1])
            found = [m.uid for m in self.server.messages if m.modseq >= since]
        else:
            found = [m.uid for m in self.server.messages if b"\\Deleted" in m.flags]
        self.send(b"* SEARCH %s\r\n" % b" ".join(b"%d" % uid for uid in found))
        self.tagged(tag)

    def run_idle(self, tag, _):
        self.send(b"+ idling\r\n")
        if self.file.readline() == b"DONE\r\n":
            self.tagged(tag)

    def run_logout(self, tag, _):
        self.send(b"* BYE\r\n")
        self.tagged(tag)
        raise Close
