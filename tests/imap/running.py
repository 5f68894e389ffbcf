"""The whole program, and IMAP clients of it over TCP."""
import socket

import phenmail

from . import wire

USERS = {"alice@example.org": "secret", "bob@example.org": "secret"}
LISTEN = {"host": "127.0.0.1", "port": 0, "tls": "none"}


def server(root, **sections):
    """A MailServer that offers IMAP only; `sections` of its settings."""
    settings = {"smtp": False, "relay": False, "pop": False, "imap": {"listen": [LISTEN]}}
    settings.update(sections)
    return phenmail.MailServer(root=str(root), users=USERS, settings=settings)


def folder(server, user="alice"):
    """The path of a user's mail."""
    return server.directory.account(user).folder


class Client(wire.Client):
    """A connection to a MailServer that runs."""

    def __init__(self, server, user="alice", mailbox="INBOX"):
        port = next(each.port for each in server.listening if each.name == "imap")
        self.socket = socket.create_connection(("127.0.0.1", port), wire.PATIENCE)
        self._stream = self.socket.makefile("rb")
        self._number, self._deflate = 0, None
        self.greeting = self.line()
        if user is not None:
            self.ok("LOGIN %s secret" % user)
            self.ok("SELECT " + mailbox)

    def close(self):
        self._stream.close()
        self.socket.close()
