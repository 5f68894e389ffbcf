#!/usr/bin/env python
"""A program for Python 2.7 that uses its own mail server.

phenmail needs CPython 3.6, so an older program starts it as a child process and
talks to it over the loopback:

    python2.7 legacy_host.py /path/to/phenmail.py /usr/bin/python3

The program creates a root folder, starts the server, sends a message to a user
and reads it back by IMAP. It also runs on newer Pythons.
"""
from __future__ import print_function

import imaplib
import json
import os
import shutil
import smtplib
import subprocess
import sys
import tempfile
import time

CONFIGURATION = {
    "sender-domain": "example.org",
    "domains": {"example.org": {
        "postmaster": ":alice", "abuse": ":alice", "alice": "/alice/mail"}},
    # Free ports of the loopback, where no TLS is needed.
    "smtp": {"host": "127.0.0.1", "port": 0},
    "imap": {"host": "127.0.0.1", "port": 0, "disable-ssl": True},
    "pop": False,
    "relay": False,
}


class Child(object):
    """The server as a child process; `ports` is {service: port}."""

    def __init__(self, phenmail, python, root, seconds=30):
        ports_file = os.path.join(root, "ports.json")
        if os.path.exists(ports_file):  # left by a server that was killed
            os.remove(ports_file)
        self._process = subprocess.Popen(
            [python, phenmail, "--root", root, "--ports-file", ports_file])
        end = time.time() + seconds
        while not os.path.exists(ports_file):  # written once clients can connect
            if self._process.poll() is not None or time.time() > end:
                self.stop()
                raise RuntimeError("the mail server did not start")
            time.sleep(0.05)
        with open(ports_file) as file:
            self.ports = json.load(file)

    def stop(self):
        """SIGTERM makes the server close its connections and end within 5 s."""
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait()


def make_root(root, phenmail, python, passphrase):
    """Write the configuration and a user's passphrase (as a hash)."""
    folder = os.path.join(root, "device", "system", "mail")
    os.makedirs(folder)
    with open(os.path.join(folder, "mail.jcfg"), "w") as file:
        json.dump(CONFIGURATION, file)
    command = subprocess.Popen(
        [python, phenmail, "--root", root, "user", "passwd",
         "alice@example.org"], stdin=subprocess.PIPE)
    command.communicate(passphrase.encode("utf-8") + b"\n")
    if command.returncode:
        raise RuntimeError("the passphrase could not be set")


def main(phenmail, python):
    root = tempfile.mkdtemp()
    try:
        make_root(root, phenmail, python, "a good passphrase")
        server = Child(phenmail, python, root)
        try:
            sender = smtplib.SMTP("127.0.0.1", server.ports["smtp"])
            sender.sendmail("host@example.com", ["alice@example.org"],
                            "Subject: from Python %s\r\n\r\nhello\r\n"
                            % sys.version.split()[0])
            sender.quit()
            reader = imaplib.IMAP4("127.0.0.1", server.ports["imap"])
            reader.login("alice@example.org", "a good passphrase")
            reader.select("INBOX")
            print(reader.fetch("1", "(BODY[HEADER.FIELDS (SUBJECT)])")[1])
            reader.logout()
        finally:
            server.stop()
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
