"""An IMAP client for tests: a socket pair, the handler on its other end, lines in and lines out."""
import re
import socket
import threading

from phenmail_protocols.accounts.login import Account, LoginFailed
from phenmail_protocols.accounts.userfiles import UserFiles
from phenmail_protocols.config.settings import Limits
from phenmail_protocols.imap import handler
from phenmail_protocols.imap.fetching.mime_trees import Trees
from phenmail_protocols.imap.session import Service
from phenmail_protocols.net.connection import Connection
from tests.deflated import deflater, inflated

PATIENCE = 10.0  # seconds until a test gives up


class Directory:
    """Who may log in: {name: (passphrase, folder)}."""

    def __init__(self, users, settings=UserFiles(None).defaults):
        self.users = users
        self.settings = settings

    def user_settings(self, folder):
        return self.settings

    def everyone_has(self, secret, sending=False):
        return False

    def login(self, peer=None, sending=False):
        return self

    def authenticate(self, name, passphrase, peer=None):
        return self.plain(name, passphrase)

    def plain(self, name, passphrase):
        known, folder = self.users.get(name, (None, None))
        if known is None or known != passphrase:
            raise LoginFailed("the name or the passphrase is wrong")
        return Account(name, folder, frozenset(), name)

    def is_same(self, account, name):
        return account.name == name


def server(store, folder, **changes):
    """A Service with the user "u", passphrase "p"."""
    limits = changes.pop("limits", Limits())
    changes.setdefault("trees", Trees())
    return Service(Directory({"u": ("p", str(folder))}), store, limits, **changes)


class Client:
    """One connection. `ask` sends a command and gives the lines up to its tagged answer."""

    def __init__(self, server, peer=("127.0.0.1", 4711)):
        self.socket, other = socket.socketpair()
        self.socket.settimeout(PATIENCE)
        self._stream = self.socket.makefile("rb")
        self.connection = Connection(other, peer)
        self.thread = threading.Thread(target=self._serve, args=(server,), daemon=True)
        self.thread.start()
        self.greeting = self.line()
        self._number = 0
        self._deflate = None  # once it compresses: octets -> compressed octets

    def _serve(self, server):
        try:
            handler.make(server)(self.connection)
        finally:
            self.connection.close()

    def close(self):
        self._stream.close()
        self.socket.close()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "the handler goes on after the client left"

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def send(self, data):
        self.socket.sendall(data if self._deflate is None else self._deflate(data))

    def compress(self):
        """COMPRESS DEFLATE; from then on both ends compress."""
        self.ok("COMPRESS DEFLATE")
        self._stream, self._deflate = inflated(self._stream), deflater()
        return self

    def line(self):
        """The next line with its literals, without the last CRLF; b"" at the end."""
        whole = b""
        while True:
            line = self._stream.readline()
            whole += line
            literal = re.search(rb"\{(\d+)\}\r\n\Z", line)
            if not literal:
                return whole[:-2]
            whole += self._stream.read(int(literal.group(1)))

    def until(self, start):
        """Lines up to the one that begins with `start`."""
        lines = []
        while True:
            lines.append(self.line())
            if lines[-1].startswith(start):
                return lines
            assert lines[-1], "the connection ended after %r" % lines

    def ask(self, command):
        """Command as str or bytes, without tag and CRLF -> lines, the last without its tag."""
        command = command if isinstance(command, bytes) else command.encode("utf-8")
        self._number += 1
        tag = b"t%d" % self._number
        self.send(tag + b" " + command + b"\r\n")
        lines = self.until(tag + b" ")
        lines[-1] = lines[-1][len(tag) + 1:]
        return lines

    def ok(self, command):
        """`ask`, expecting OK -> the untagged lines."""
        lines = self.ask(command)
        assert lines[-1].startswith(b"OK "), (command, lines)
        return lines[:-1]

    def log_in(self, mailbox=None):
        self.ok("LOGIN u p")
        return self.ok("SELECT " + mailbox) if mailbox else self

    def append(self, message, mailbox="INBOX", flags="", date=""):
        words = " ".join(word for word in (mailbox, flags, date) if word)
        return self.ask(b"APPEND %s {%d+}\r\n%s" % (words.encode(), len(message), message))
