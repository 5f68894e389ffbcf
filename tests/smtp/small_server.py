"""A server of smtp, submission and lmtp on the loopback, wired by hand: what the tests of these
rooms need and no more."""
import os
import shutil
import smtplib
import socket
import tempfile

from phenmail_protocols.accounts import passphrases
from phenmail_protocols.accounts.directory import Directory
from phenmail_protocols.config import loader
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.config.settings import Listen
from phenmail_protocols.delivery.router import Router
from phenmail_protocols.net import listener, tls
from phenmail_protocols.smtp import handler
from phenmail_protocols.store.filestore import FileStore
from tests.served import served

PASSPHRASE = "correct horse"
KINDS = {"smtp": ("smtp", "starttls"), "submission": ("submission", "starttls"),
         "submissions": ("submission", "implicit"),
         "lmtp": ("lmtp", "none")}
CONFIGURATION = {
    "sender-domain": "example.org",
    "domains": {
        "example.org": {
            "anna": "/anna/mail", "bert": "/bert/mail", "cleo": "/cleo/mail", "info": ":anna",
            "postmaster": ":anna", "abuse": ":anna",
            "gone": "-left us", "agent": ">/bin/true", "away": ">someone@example.net",
            "echo": ".mail", "broken": "/broken/mail",
        },
    },
}


class SmallServer:
    """Use as a context manager. `ports` by name; `limits` replaces fields of
    config.settings.Limits."""

    def __init__(self, configuration=None, certificate=True, store=None, **limits):
        self.folder = tempfile.mkdtemp(prefix="phenmail-test-")
        self.root = Root(self.folder)
        self.root.create()
        for user in ("anna", "bert", "cleo", "broken"):
            self.write_user(user, '{"passphrase": "%s"}' % passphrases.sha256(PASSPHRASE))
        self.write_user("broken", '{"passphrase": ')
        self.settings = loader.server_from_dict(configuration or CONFIGURATION, self.root)
        self.directory = Directory(self.settings, self.root)
        self.store = store or FileStore()
        self.router = Router(self.directory, self.store)
        self.certificates = self._certificates() if certificate else None
        self.limits = self.settings.limits._replace(**limits)
        self.listeners = {}
        self.ports = {}

    def write_user(self, user, text):
        folder = self.mail_folder(user)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "mail.jcfg"), "w") as file:
            file.write(text)

    def mail_folder(self, user):
        return os.path.realpath(os.path.join(self.folder, user, "mail"))

    def _certificates(self):
        paths = [os.path.join(self.folder, name) for name in ("certificate.pem", "key.pem")]
        tls.ensure_self_signed(paths[0], paths[1], ["localhost"])
        return tls.Certificates(*paths)

    def __enter__(self):
        for name, (kind, mode) in KINDS.items():
            if self.certificates is None and mode == "implicit":
                continue
            handle = handler.make(kind, Listen("127.0.0.1", 0, mode), self.limits, self.directory,
                                  self.router, self.certificates)
            made, = listener.listen(name, "127.0.0.1", 0, handle, certificates=self.certificates,
                                    implicit_tls=mode == "implicit")
            made.start()
            self.listeners[name] = made
            self.ports[name] = made.port
        return self

    def stop(self):
        return listener.stop_all(list(self.listeners.values()), 5.0)

    def __exit__(self, *exception):
        left = self.stop()
        self.directory.close()
        self.store.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not left, "threads that did not end: %s" % left

    def connect(self, name="smtp"):
        return socket.create_connection(("127.0.0.1", self.ports[name]), timeout=10)

    def client(self, name="smtp"):
        kind = (smtplib.SMTP_SSL if name == "submissions" else smtplib.LMTP if name == "lmtp"
                else smtplib.SMTP)
        return kind("127.0.0.1", self.ports[name], timeout=10)

    def messages(self, user):
        """What lies in a user's INBOX, as served, in the order of arrival -> list of bytes."""
        mailbox = self.store.account(self.mail_folder(user)).open("INBOX")
        try:
            return served(mailbox)
        finally:
            mailbox.close()
