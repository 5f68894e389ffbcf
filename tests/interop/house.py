"""The running program as a child process with a root of its own, and what goes with it:
users, a trusted certificate, quiet runs of other programs, and messages worth sending.
"""
import collections
import hashlib
import imaplib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time

from phenmail_protocols.accounts import passphrases

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(TOP, "phenmail.py")
DOMAIN = "example.org"
SECONDS = 30.0
_USERS = 150
_HOST = "localhost"

Done = collections.namedtuple("Done", "code out err")


class User(collections.namedtuple("User", "name passphrase folder")):
    """One mailbox: `folder` is its Maildir."""

    @property
    def address(self):
        return "%s@%s" % (self.name, DOMAIN)


def run(command, stdin=b"", seconds=SECONDS, cwd=None, **environment):
    """Run a program to its end: Done, its output as bytes.

    No time zone, language or home of the machine gets in; a program that does not
    end in time fails the test with what it said so far.
    """
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    env.update(environment)
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, cwd=cwd, env=env)
    try:
        out, err = child.communicate(stdin, timeout=seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        raise AssertionError("%s did not end within %d s\n%s" % (
            command[0], seconds, _text(out, err))) from None
    return Done(child.returncode, out, err)


def succeed(command, *more, **options):
    """`run`, and it has to end well; gives its standard output."""
    done = run(command, *more, **options)
    assert done.code == 0, "%s ended with %d\n%s" % (" ".join(command), done.code,
                                                     _text(done.out, done.err))
    return done.out


def _text(out, err):
    return (out[-6000:] + b"\n--\n" + err[-6000:]).decode("utf-8", "replace")


def eventually(look, what, seconds=SECONDS):
    """Ask `look()` until it gives something true, and give that; fails after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, "%s: not within %g s" % (what, seconds)
        time.sleep(0.02)  # between two questions; nothing is awaited by its length


class House:
    """A root folder and the program that serves it.

    `ports`: {service: number} as the program wrote it; `certificate`: the path of the
    certificate that it made, which clients are told to trust.
    """

    def __init__(self, folder):
        self.root = os.path.join(str(folder), "root")
        self.host = _HOST
        self.ports = {}
        self.certificate = os.path.join(self.root, "device", "system", "mail",
                                        "tls-certificate.pem")
        self._ports_file = os.path.join(str(folder), "ports.json")
        self._log_path = os.path.join(str(folder), "log")
        self._looked_at = 0
        self._child = None
        self._waiting = []
        self.quirky = self._user("quirky")._replace(passphrase='o"pen \\ se%same')

    def furnish(self, count=_USERS, **sections):
        """Write the server's configuration and so many users' files; `sections` of mail.jcfg stand
        over its own."""
        users = [self._user("user%02d" % number) for number in range(count)]
        parts = {user.name: "/[user-identity]/mail" for user in users + [self.quirky]}
        parts.update(postmaster=":quirky", abuse=":quirky", gone="-moved away")
        both = {"listen": [{"host": _HOST, "port": 0, "tls": "implicit"},
                           {"host": _HOST, "port": 0, "tls": "starttls"}]}
        relay = dict(both, **sections.pop("relay", {}))
        self._write(os.path.join("device", "system", "mail", "mail.jcfg"), dict({
            "sender-domain": DOMAIN, "domains": {DOMAIN: parts},
            "smtp": {"host": _HOST, "port": 0}, "relay": relay, "imap": dict(both, debug=True),
            "pop": both}, **sections))
        for user in users + [self.quirky]:
            self._write(os.path.join(user.name, "mail", "mail.jcfg"), {
                "passphrase": hashlib.sha256(user.passphrase.encode("utf-8")).hexdigest(),
                "scram": passphrases.scram_secret(user.passphrase, 4096),
                "pop3pwd": passphrases.obscure(user.passphrase)})
        self._waiting = users

    def _user(self, name):
        return User(name, "sesame-" + name, os.path.join(self.root, name, "mail"))

    def _write(self, path, values):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with open(path, "w") as file:
            json.dump(values, file)

    def user(self):
        """A user nobody has used yet."""
        return self._waiting.pop()

    # The program

    def words(self, *words, stdin=b""):
        """Run one of the program's words on this root: its output."""
        return succeed([sys.executable, PROGRAM, "--root", self.root] + list(words), stdin)

    def start(self, **environment):
        if os.path.exists(self._ports_file):
            os.unlink(self._ports_file)
        with open(self._log_path, "ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, PROGRAM, "--root", self.root, "--ports-file", self._ports_file],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=dict(os.environ, **environment))
        eventually(self._has_started, "the start of the server")
        with open(self._ports_file) as file:
            self.ports = json.load(file)

    def _has_started(self):
        assert self._child.poll() is None, "the server ended:\n" + self.log()
        return os.path.exists(self._ports_file)

    def stop(self):
        """SIGTERM; the program has to end by itself, and well."""
        self._child.send_signal(signal.SIGTERM)
        try:
            code = self._child.wait(10)
        finally:
            if self._child.poll() is None:
                self._child.kill()
                self._child.wait()
        assert code == 0, "the server ended with %d:\n%s" % (code, self.log())

    def kill(self):
        """SIGKILL."""
        self._child.kill()
        self._child.wait()

    def log(self):
        with open(self._log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def complaints(self, bad=True):
        """What the server's log says since the last question that it should not say.

        BAD is among it unless `bad` is False: a program sent a command that we do not understand.
        """
        log = self.log()
        new, self._looked_at = log[self._looked_at:], len(log)
        wrong = r"Traceback| ERROR | CRITICAL " + r"|: reply \S+ BAD " * bad
        return new if re.search(wrong, new) else ""

    # Looking in

    def trust(self):
        """A TLS context that takes the server's certificate and no other."""
        return ssl.create_default_context(cafile=self.certificate)

    def imap(self, user, mailbox=None):
        """Python's own IMAP client, logged in over TLS."""
        client = imaplib.IMAP4_SSL(self.host, self.ports["imaps"], ssl_context=self.trust())
        client.login(user.name, user.passphrase)
        if mailbox is not None:
            ok(client.select(quoted(mailbox)))
        return client

    def messages(self, user, mailbox="INBOX"):
        """{uid: (flags, bytes)} of a mailbox."""
        client = self.imap(user)
        try:
            return messages(client, mailbox)
        finally:
            client.logout()

    def append(self, user, mailbox, *sent, flags=""):
        """Put messages into a mailbox over IMAP."""
        client = self.imap(user)
        for message in sent:
            ok(client.append(quoted(mailbox), flags and "(%s)" % flags, None, message))
        client.logout()


def quoted(mailbox):
    return '"%s"' % mailbox.replace("\\", "\\\\").replace('"', '\\"')


def ok(answer):
    """The data of an imaplib answer, which has to be OK."""
    assert answer[0] == "OK", answer
    return answer[1]


def messages(client, mailbox):
    """{uid: (set of flags without \\Recent, bytes)} with an imaplib client."""
    ok(client.select(quoted(mailbox), readonly=True))
    found = {}
    for part in ok(client.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[])")) or []:
        if isinstance(part, tuple):
            uid = int(re.search(rb"UID (\d+)", part[0]).group(1))
            flags = re.search(rb"FLAGS \(([^)]*)\)", part[0]).group(1).decode("ascii").split()
            found[uid] = (frozenset(flags) - {"\\Recent"}, part[1])
    return found


def bodies(found):
    return [message for _, (_, message) in sorted(found.items())]


# Messages


def message(subject, text="Hello.\r\n", sender="friend@example.net", recipient="you@" + DOMAIN,
            header=""):
    """A small complete message in wire form."""
    return ("From: A Friend <%s>\r\nTo: %s\r\nSubject: %s\r\n"
            "Date: Mon, 06 May 2019 10:11:12 +0200\r\n"
            "Message-ID: <%s@interop.example.net>\r\n%s\r\n%s" % (
                sender, recipient, subject, re.sub(r"\W", "-", subject), header,
                text)).encode("utf-8")


_MIME = "MIME-Version: 1.0\r\nContent-Type: %s\r\nContent-Transfer-Encoding: %s\r\n"


def odd(sender="friend@example.net"):
    """{name: message} of what travels badly, by one author."""
    def made(name, text, kind=None):
        return name, message(name, text, sender, header=_MIME % kind if kind else "")

    rows = "".join("%s\r\n" % (chr(65 + row % 26) * 76) for row in range(4000))
    return collections.OrderedDict([
        made("dots", ".\r\n..\r\n...\r\n.a\r\na.\r\n\r\n.\r\n"),
        made("8bit", "Grüße\r\n\u65e5\u672c\u8a9e\r\n", ("text/plain; charset=utf-8", "8bit")),
        made("no text", ""),
        made("empty lines", "the last line\r\nis not the last\r\n\r\n\r\n"),
        made("spaces", "trailing  \r\n\t\r\n \r\nFrom here on\r\n>From there\r\n-- \r\nme\r\n"),
        made("long lines", "x" * 997 + "\r\n" + "y" * 998 + "\r\n"),
        made("attachment", "--=b=\r\nContent-Type: text/plain\r\n\r\nsee there\r\n--=b=\r\n"
             "Content-Type: application/octet-stream; name=\"a.bin\"\r\n"
             "Content-Transfer-Encoding: base64\r\n\r\n"
             + rows + "--=b=--\r\n", ('multipart/mixed; boundary="=b="', "7bit")),
    ])


ODD = odd()
_TRACE = re.compile(
    rb"(?:(?:Return-Path|Delivered-To|Received):[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)+")


def assert_received(got, sent):
    """`got` is `sent` byte for byte, below nothing but the lines of the journey."""
    assert got.endswith(sent), "%r\nis not the end of\n%r" % (sent[-3000:], got[-3000:])
    added = got[:len(got) - len(sent)]
    assert _TRACE.fullmatch(added), "more than the journey was added: %r" % added


def tree(folder):
    """{relative path: bytes} of all files below a folder."""
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            whole = os.path.join(path, name)
            with open(whole, "rb") as file:
                found[os.path.relpath(whole, folder)] = file.read()
    return found


# mbsync and offlineimap know a message that they have copied by a field of their own.
_MARK = re.compile(rb"^(?:X-TUID|X-OfflineIMAP):[^\n]*\n", re.M)


def plain(body):
    """A message as it lies in a Maildir: with LF, and without a copying program's mark."""
    return _MARK.sub(b"", body.replace(b"\r\n", b"\n"))
