"""A root with users for the tests of accounts, with real files and a clock that the test sets."""

import json
import os
import threading

from phenmail_protocols.accounts.directory import Directory
from phenmail_protocols.accounts.passphrases import hash_passphrase, obscure, scram_secret, sha256
from phenmail_protocols.accounts.throttle import Throttle
from phenmail_protocols.accounts.verifier import Verifier
from phenmail_protocols.config.loader import load_server, server_from_dict
from phenmail_protocols.config.root_folder import Root

FEW = 50            # iterations: the tests are about answers, not about cost
PASSPHRASE = "correct horse"
ELSEWHERE = ("192.0.2.7", 4711)


class Clock:
    """A clock that only the test moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def go(self, seconds):
        self.now += seconds


class House:
    """A root in a folder, its directory, and the means to change both."""

    def __init__(self, path, domains=None, **values):
        self.root = Root(str(path))
        self.root.create()
        self.clock = Clock()
        self.values = dict({
            "sender-domain": "example.com",
            "domains": domains or {"example.com": {"alice": "/[user-identity]/mail"}}}, **values)
        self.write_server()
        self.throttle = Throttle(self.clock)
        self.verifier = Verifier(self.clock, iterations=FEW)
        self.reloads = 0
        self.directory = Directory(
            server_from_dict(self.values, self.root, privileged=False), self.root,
            reload=self._reload, throttle=self.throttle, verifier=self.verifier, clock=self.clock)

    def _reload(self):
        self.reloads += 1
        return load_server(self.root, privileged=False)

    def write_server(self, text=None):
        write(self.root.configuration, json.dumps(self.values) if text is None else text)

    def folder(self, identity):
        return os.path.join(os.path.realpath(self.root.path), identity, "mail")

    def user(self, identity, text=None, **keys):
        """Write a user's file: `keys` as in the file, `-` for `_`; or the text itself."""
        path = os.path.join(self.folder(identity), "mail.jcfg")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        values = {key.replace("_", "-"): value for key, value in keys.items()}
        write(path, json.dumps(values) if text is None else text)
        return path

    def whole_user(self, identity, passphrase=PASSPHRASE):
        """A user with every kind of secret."""
        return self.user(identity, passphrase=hash_passphrase(passphrase, FEW),
                         scram=scram_secret(passphrase, FEW), pop3pwd=obscure(passphrase))

    def old_user(self, identity, passphrase=PASSPHRASE):
        """A user of the predecessor: a sha256 and nothing else."""
        return self.user(identity, passphrase=sha256(passphrase))


def write(path, text):
    """Write a file as an editor does: whole, under a new inode."""
    temporary = "%s.%d.new" % (path, threading.get_ident())
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)
