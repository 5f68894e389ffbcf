"""Our own server: a prepared root folder, and the program over it."""
import json
import os
import subprocess
import sys

from phenmail_protocols.accounts import passphrases

from ..messages import DOMAIN, NEIGHBOUR, PASSPHRASE, USER
from .process import Child, await_file, free_port

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


class Phenmail:
    """`python` runs it; `start` returns once clients can connect. `ports` by service. `more`:
    settings over the bench's own."""

    name = "phenmail"
    waits = False  # accepted is delivered

    def __init__(self, folder, python=sys.executable, more=None):
        self.root = os.path.join(folder, "root")
        self.python = python
        self.child = None
        self.maildir = os.path.join(self.root, USER, "mail")
        self._ports_file = os.path.join(folder, "ports.json")
        self._log = os.path.join(folder, "log")
        self.system = os.path.join(self.root, "device", "system", "mail")
        self._prepare(more or {})

    def _prepare(self, more):
        os.makedirs(self.system)
        os.makedirs(self.maildir)
        settings = _settings()
        for section, values in more.items():
            settings.setdefault(section, {}).update(values)
        self.ports = {name: settings[section]["listen"][number]["port"] for section, number,
                      name in _SERVICES}
        with open(os.path.join(self.system, "mail.jcfg"), "w") as file:
            json.dump(settings, file, indent=1)
        for user in (USER, NEIGHBOUR):
            os.makedirs(os.path.join(self.root, user, "mail"), exist_ok=True)
            with open(os.path.join(self.root, user, "mail", "mail.jcfg"), "w") as file:
                json.dump({"passphrase": passphrases.hash_passphrase(PASSPHRASE),
                           "scram": passphrases.scram_secret(PASSPHRASE),
                           "pop3pwd": passphrases.obscure(PASSPHRASE)}, file)

    def own(self, path):
        """The server runs as this user, who has made `path`."""

    def words(self, *words):
        """Run one of the program's words beside it: its output."""
        return subprocess.check_output([self.python, os.path.join(TOP, "phenmail.py"), "--root",
                                        self.root] + list(words))

    def launch(self):
        """Start it without waiting for it."""
        if os.path.exists(self._ports_file):
            os.unlink(self._ports_file)
        self.child = Child([self.python, os.path.join(TOP, "phenmail.py"), "--root", self.root,
                            "--ports-file", self._ports_file], self._log)

    def start(self):
        self.launch()
        await_file(self.child, self._ports_file)
        with open(self._ports_file) as file:
            self.ports = json.load(file)
        return self

    @property
    def smtp(self):
        return self.ports["smtp"]

    def stop(self):
        if self.child is not None:
            self.child.stop()


_SERVICES = (("smtp", 0, "smtp"), ("relay", 0, "submissions"), ("imap", 0, "imap"),
             ("imap", 1, "imaps"), ("pop", 0, "pop3"))


def _settings():
    def loopback(tls):
        return {"host": "127.0.0.1", "port": free_port(), "tls": tls}
    return {
        "sender-domain": DOMAIN,
        "domains": {DOMAIN: {USER: "/%s/mail" % USER, NEIGHBOUR: "/%s/mail" % NEIGHBOUR,
                             "postmaster": ":" + USER,
                             "abuse": ":" + USER}},
        "smtp": {"listen": [loopback("starttls")]}, "relay": {"listen": [loopback("implicit")]},
        "imap": {"listen": [loopback("starttls"), loopback("implicit")]},
        "pop": {"listen": [loopback("starttls"), loopback("implicit")]},
        "limits": {"connections": 20000, "connections-per-address": 20000}}
