"""A mail server for the tests of other programs, as pytest fixtures.

`mail_server` is a MailFixture; `make_mail_server(users=…, settings=…, plugins=…)` makes others,
with other settings. If phenmail is installed, pytest finds both itself (entry point `pytest11`);
else use `pytest -p phenmail_protocols.testing`. Without pytest: `with MailFixture() as
mail_server:`. Nothing heavy is imported before the first fixture is made.

Everything is temporary, on free ports of the loopback, and removed after the test. Clients reach
the real server through a small proxy that can cause faults. Mail for addresses elsewhere is caught
(`sent`): it never leaves the loopback, and there are no DNS queries.
"""
import contextlib
import json
import os
import shutil
import tempfile
import threading
import time

from . import catcher, proxy

USERS = {"alice@example.org": "the passphrase of alice", "bob@example.org": "the passphrase of bob"}
SOMEBODY = "somebody@elsewhere.example"

_SERVICES = ("smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s")
_LOOK = 0.01  # seconds between two looks into a mailbox
_NO_DNS = {"nameservers": ["127.0.0.1:9"], "timeout": 0.1}


class MailFixture:
    """A running mail server for one test.

    `users`: {address: passphrase}; `settings`: what mail.jcfg would hold, as a dict, in addition to
    the fixture's own; `plugins`: as for MailServer; `keys`: a folder in which certificate and keys
    are kept for later fixtures, None for a temporary one.

    `smtp`, `submission`, `submissions`, `imap`, `imaps`, `pop3`, `pop3s`: (host, port), None if
    `settings` disabled the service. `certificate`: the path of the certificate that a TLS client
    must trust, None if none could be made. `server`: the MailServer itself.
    """

    def __init__(self, users=None, settings=None, plugins=None, keys=None):
        from ..app import MailServer
        self.users = dict(USERS if users is None else users)
        self._temporary = None if keys else tempfile.mkdtemp(prefix="phenmail-keys-")
        self._keys = keys or self._temporary
        self._outside = self.server = None
        self._proxies = {}
        try:
            self._outside = catcher.Catcher()
            self.server = MailServer(settings=self._settings(settings or {}), plugins=plugins)
            self._write_users()
            self.server.start()
            self._failures = self.server.router.faults = _Failures()
            for each in self.server.listening:
                if not each.path and each.name not in self._proxies:
                    self._proxies[each.name] = proxy.Proxy(each.name, ("127.0.0.1", each.port))
        except BaseException:
            self.stop()
            raise
        for name in _SERVICES:
            setattr(self, name, self.address(name))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.stop()

    def stop(self):
        """End and remove everything. Repeatable."""
        for each in self._proxies.values():
            each.close()
        if self.server is not None:
            self.server.stop()
        if self._outside is not None:
            self._outside.close()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def address(self, service):
        """(host, port) of a service by its name, such as "lmtp"; None if it is disabled."""
        found = self._proxies.get(service)
        return None if found is None else found.address

    # Setup

    def _settings(self, given):
        host, port = self._outside.address
        values = {
            "sender-domain": next(iter(self.users), "@localhost").rpartition("@")[2],
            "hosted": {"server": host, "port": port, "require-tls": False,
                       "require-authentication": False},
            "resolver": _NO_DNS,
            "relay": {"dkim-key": "file:" + os.path.join(self._keys, "dkim.key"), "listen": [
                {"host": "127.0.0.1", "port": 0, "tls": way} for way in ("starttls", "implicit")]}}
        self.certificate = _certificate(self._keys)
        if self.certificate is not None:
            values["tls"] = {"certificate": "file:" + self.certificate,
                             "key": "file:" + os.path.join(self._keys, "tls.key")}
        values.update(given)
        values["domains"] = self._domains(given.get("domains", {}))
        return values

    def _domains(self, given):
        domains = {domain: dict(actions) for domain, actions in given.items()}
        for address in self.users:
            local, _, domain = address.rpartition("@")
            actions = domains.setdefault(domain, {})
            actions.setdefault(local, "/%s/mail" % address)
            for role in ("postmaster", "abuse"):
                actions.setdefault(role, ":" + local)
        return domains

    def _write_users(self):
        """Write the users' secrets, in forms that are quickly made and checked."""
        import hashlib

        from ..accounts.passphrases import obscure, scram_secret
        for address, passphrase in self.users.items():
            folder = self._folder(address)
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, "mail.jcfg"), "w") as file:
                json.dump({"passphrase": hashlib.sha256(passphrase.encode("utf-8")).hexdigest(),
                           "scram": scram_secret(passphrase, 4096),
                           "pop3pwd": obscure(passphrase)}, file)

    def _folder(self, address):
        from ..config.lookup import Lookup
        from ..mail.address import Address
        settings = (self.server.directory or self.server).settings
        names = Lookup(settings.sender_domain, settings.domains)
        found = names.find(Address.parse(address))
        end = names.end(found) if found is not None else None
        if end is None or end.action.kind != "mailbox":
            raise ValueError("%s has no mailbox here" % address)
        return os.path.realpath(end.action.value)

    def _first(self):
        for address in self.users:
            return address
        raise ValueError("the server has no users: give an address")

    # Mail

    def deliver(self, message, to=None, sender=SOMEBODY):
        """Deliver a message as if it came from outside; the users' filters apply.

        `message`: bytes, str, or an email.message.Message; `to`: an address or several, None for
        the first user; `sender`: of the envelope, "" for none. Raises MailRefused.
        """
        self.server.send_mail(sender, to or self._first(), message)

    def messages(self, address=None, mailbox="INBOX"):
        """The messages of a mailbox, oldest first -> list of email.message.EmailMessage.

        Empty if the mailbox does not exist. `address`: the user's, or an alias; None for the first
        user.
        """
        from ..store import errors
        account = self.server.store.account(self._folder(address or self._first()))
        try:
            opened = account.open(mailbox)
        except errors.NotFound:
            return []
        try:
            state = opened.state()
            found = []
            for _, content in opened.contents(list(state.uids[:state.count])):
                if content is not None:
                    with content:
                        found.append(_parsed(b"".join(content.chunks())))
            return found
        finally:
            opened.close()

    def wait_for(self, count=1, address=None, mailbox="INBOX", timeout=10.0):
        """`messages`, as soon as there are `count`. Raises AssertionError after the timeout."""
        end = time.monotonic() + timeout
        pause = threading.Event()
        while True:
            found = self.messages(address, mailbox)
            if len(found) >= count:
                return found
            if time.monotonic() >= end:
                raise AssertionError(
                    "%s of %s: expected %d messages within %g s, found %d: %s" % (
                        mailbox, address or self._first(), count, timeout, len(found),
                        _subjects(found)))
            pause.wait(_LOOK)

    @property
    def sent(self):
        """The messages sent to addresses elsewhere up to now -> list of Sent."""
        return [Sent(each) for each in self._outside.sent]

    def wait_for_sent(self, count=1, timeout=10.0):
        """`sent`, as soon as there are `count`. Raises AssertionError after `timeout` seconds."""
        found = [Sent(each) for each in self._outside.wait(count, timeout)]
        if len(found) < count:
            raise AssertionError("expected %d sent messages within %g s, found %d: %s" % (
                count, timeout, len(found), _subjects([each.message for each in found])))
        return found

    # Faults

    def fail_next(self, count=1, at="message"):
        """Reply 451 to the next messages by SMTP, after their data.

        With `at="recipient"`, to the next RCPT commands.
        """
        self._failures.add(count, at)

    def drop_after(self, octets, side="client", connections=1, service=None):
        """Break the next connections after `octets` octets from that side, "client" or "server".

        `service`: by its name, None for all.
        """
        for each in self._chosen(service):
            each.drop_after(octets, side, connections)

    def slow(self, seconds, octets=1024, service=None):
        """From now on delay each piece of `octets` octets by `seconds`, in both directions."""
        for each in self._chosen(service):
            each.slow(seconds, octets)

    def cut(self, service=None):
        """Break the present connections."""
        for each in self._chosen(service):
            each.cut()

    def outside_answers(self, address, reply):
        """Reply "550 5.1.1 No such user" or the like for an address elsewhere; None: accept."""
        self._outside.answer(address, reply)

    def heal(self):
        """Cause no more faults: no 451, no drops, no delays. (`outside_answers` stays.)"""
        self._failures.clear()
        for each in self._proxies.values():
            each.heal()

    def _chosen(self, service):
        return list(self._proxies.values()) if service is None else [self._proxies[service]]


class Sent:
    """One message that was sent.

    `sender` ("" for none) and `recipients` (tuple of str) are those of the envelope; `message`: an
    EmailMessage; `data`: its octets.
    """

    def __init__(self, caught):
        self.sender, self.recipients, self.data = caught
        self.message = _parsed(self.data)

    def __repr__(self):
        return "Sent(%r, %r, %r)" % (self.sender, self.recipients, self.message["Subject"])


class _Failures:
    """Temporary failures of messages and recipients, for Router.faults."""

    def __init__(self):
        from ..mail.reply import Reply
        self._reply = Reply(451, "4.3.0", "Temporary failure requested by the test")
        self._lock = threading.Lock()
        self._left = {"message": 0, "recipient": 0}

    def __call__(self, at):
        with self._lock:
            if self._left[at] <= 0:
                return None
            self._left[at] -= 1
            return self._reply

    def add(self, count, at):
        if at not in self._left:
            raise ValueError('at: expected "message" or "recipient", not %r' % (at,))
        with self._lock:
            self._left[at] += count

    def clear(self):
        with self._lock:
            self._left = dict.fromkeys(self._left, 0)


def _certificate(folder):
    """The path of a certificate for the loopback, made if it is missing; None if it cannot be."""
    from ..net import tls
    path = os.path.join(folder, "tls.pem")
    try:
        tls.ensure_self_signed(path, os.path.join(folder, "tls.key"), ["localhost"])
    except tls.CertificateError:
        pass
    return path if os.path.exists(path) else None


def _parsed(data):
    import email
    import email.policy
    return email.message_from_bytes(data, policy=email.policy.default)


def _subjects(messages):
    return ", ".join([repr(str(message["Subject"])) for message in messages]) or "none"


def pytest_configure(config):
    """Register the fixtures with pytest."""
    import pytest

    keys = []  # one folder for all tests, so that certificate and keys are made once

    def keys_folder():
        if not keys:
            keys.append(tempfile.mkdtemp(prefix="phenmail-keys-"))
            config.add_cleanup(lambda: shutil.rmtree(keys.pop(), ignore_errors=True))
        return keys[0]

    class Fixtures:
        """What `pytest --fixtures` shows."""

        @pytest.fixture
        def make_mail_server(self):
            """make_mail_server(users=…, settings=…, plugins=…): another mail server like
            mail_server, until the test ends."""
            with contextlib.ExitStack() as made:
                yield lambda users=None, settings=None, plugins=None: made.enter_context(
                    MailFixture(users, settings, plugins, keys_folder()))

        @pytest.fixture
        def mail_server(self, make_mail_server):
            """A running mail server for this test: phenmail_protocols.testing.MailFixture."""
            return make_mail_server()

    config.pluginmanager.register(Fixtures(), "phenmail-fixtures")
