"""A whole MailServer with a clock that tests move, a name server, and other mail servers on the
loopback: real SMTP at both ends.

    with World({"busy.example": busy}) as world:
        house = LifeHouse(folder, world, monkeypatch)
        house.start()
        house.submit("alice", "bob@busy.example")
        house.advance()
        house.mail("alice")
"""
import email
import email.policy
import hashlib
import json
import os
import smtplib
import threading
from functools import partial

from phenmail_protocols import app
from phenmail_protocols import mail_flow as delivery
from phenmail_protocols.queue.worker import Worker
from phenmail_protocols.relay import service
from phenmail_protocols.relay.service import Relay

from ..dkim import keys
from ..net.nameserver import NameServer
from ..relay.peers import Peer
from .queuehouse import DEADLINE, Clock

DAY = 86400.0
MESSAGE = (b"From: <%s>\r\nTo: them\r\nSubject: Lunch?\r\nMessage-ID: <lunch@example.org>\r\n"
           b"\r\nAt noon.\r\n")


class World:
    """Mail servers, one a domain.

    `scripts`: {domain: script of its server (see relay.peers), or None: nobody listens}.
    `peers`: {domain: Peer}.
    """

    def __init__(self, scripts):
        self.scripts = scripts
        self.port, self.peers = 0, {}
        zone = "".join(
            "%s. 300 IN MX 10 mx.%s.\nmx.%s. 300 IN A %s\n" % (domain, domain, domain, ip)
            for domain, ip in self._ips().items())
        self.nameserver = NameServer(zone)

    def _ips(self):
        return {
            domain: "127.0.0.%d" % number for number, domain in enumerate(sorted(self.scripts), 2)}

    def __enter__(self):
        self.nameserver.__enter__()
        while not self.port:
            self._listen()
        for peer in self.peers.values():
            peer.__enter__()
        return self

    def _listen(self):
        """All at one port, whichever is free everywhere."""
        made, port = {}, 0
        try:
            for domain, ip in self._ips().items():
                if self.scripts[domain] is not None:
                    made[domain] = Peer(self.scripts[domain], ip=ip, port=port)
                    port = made[domain].port
        except OSError:
            for peer in made.values():
                peer.__exit__(None)
            return
        self.port, self.peers = port, made

    def __exit__(self, kind, *rest):
        for peer in self.peers.values():
            peer.__exit__(kind, *rest)
        self.nameserver.__exit__(kind, *rest)


class LifeHouse:
    """The server in one folder, which can be restarted. `clock`: queuehouse.Clock."""

    def __init__(self, folder, world, monkeypatch, clock=None):
        self.root, self.world, self.clock = str(folder), world, clock or Clock()
        self.server = self._client = None
        self._quiet = threading.Event()
        self.domain = {
            "alice": "/alice/mail", "carol": "/carol/mail", "master": "/master/mail",
            "postmaster": ":master", "abuse": ":master"}
        monkeypatch.setattr(delivery, "Relay", partial(Relay, clock=self.clock))
        monkeypatch.setattr(delivery, "Router", partial(delivery.Router, clock=self.clock))
        monkeypatch.setattr(service, "Worker", partial(Worker, wait=self._wait))
        own = os.path.join(self.root, "device", "system", "mail")
        os.makedirs(own)
        with open(os.path.join(own, "dkim.key"), "wb") as file:
            file.write(keys.RSA)
        os.chmod(file.name, 0o600)
        for name in ("alice", "carol", "master"):
            os.makedirs(os.path.join(self.root, name, "mail"))
            with open(os.path.join(self.root, name, "mail", "mail.jcfg"), "w") as file:
                json.dump({"passphrase": hashlib.sha256(b"secret").hexdigest()}, file)

    def start(self, **settings):
        """Start it, with more settings."""
        self.server = app.MailServer(self.root, dict({
            "sender-domain": "example.org", "domains": {"example.org": self.domain},
            "relay": {"remote-port": self.world.port, "private-addresses": True, "listen": [
                {"host": "127.0.0.1", "port": 0, "tls": "none", "plaintext-auth": True}]},
            "smtp": False, "imap": False, "pop": False, "limits": {"disk-reserve": 0},
            "resolver": {"nameservers": ["%s:%d" % self.world.nameserver.address]}}, **settings))
        self.server.start()
        self.settle()

    def stop(self, seconds=5.0):
        self.hang_up()
        if self.server is not None:
            self.server.stop(seconds)
            self.server = None

    # The queue.

    @property
    def queue(self):
        return self.server.relay.queue

    def _wait(self, event, seconds):
        """How the queue's thread waits: until it is called."""
        if self.server.relay.worker.status().is_quiet:
            self._quiet.set()
        event.wait(DEADLINE)

    def settle(self):
        """Wait until nothing is to be done at this time of the clock."""
        self._quiet.clear()
        self.server.relay.worker.wake()
        assert self._quiet.wait(DEADLINE), "the queue is never quiet: %r" % (
            self.server.relay.worker.status(),)

    def advance(self, seconds=None):
        """Move the clock, by default to the next planned attempt."""
        moment = self.server.relay.worker.status().next
        self.clock.advance(max(0.0, moment - self.clock()) if seconds is None else seconds)
        self.settle()

    def live(self, seconds):
        """Move the clock from one planned attempt to the next, for so many seconds or until the
        queue is empty."""
        end = self.clock() + seconds
        for _ in range(1000):
            moment = self.server.relay.worker.status().next
            if not self.queue.identities():
                return
            if moment is None or moment > end:
                return self.advance(max(0.0, end - self.clock()))
            self.advance()
        raise AssertionError("it never ends")

    def message(self):
        """The one queued message."""
        message, = self.queue.messages()
        return message

    def recipient(self):
        """The one recipient of the one queued message."""
        return self.message().recipients[0]

    # Mail.

    def submit(self, sender, *recipients, **options):
        """Send over SMTP, as a mail program does.

        `mail`, `rcpt`: parameters of these commands; `null`: MAIL FROM:<>.
        """
        client, address = self.log_in(sender), sender + "@example.org"
        replies = [client.mail("" if options.get("null") else address, options.get("mail", ()))]
        replies += [client.rcpt(recipient, options.get("rcpt", ())) for recipient in recipients]
        replies.append(client.data(MESSAGE % address.encode("ascii")))
        assert {code for code, _ in replies} == {250}, replies
        self.settle()

    def log_in(self, user):
        """The smtplib.SMTP of the only user until the server stops."""
        if self._client is None:
            self._client = smtplib.SMTP(
                "127.0.0.1", self.server.port("submission"), "client.example.org", DEADLINE)
            self._client.login(user + "@example.org", "secret")
        return self._client

    def hang_up(self):
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def mail(self, user):
        """The messages in a mailbox, as Python's email reads them, oldest first."""
        folder = os.path.join(self.root, user, "mail", "new")
        paths = (
            [os.path.join(folder, name) for name in os.listdir(folder)]
            if os.path.isdir(folder)
            else [])
        return [_parsed(path) for path in sorted(paths, key=_order)]

    def told(self, user):
        """What the reports in a mailbox say: a list of [(action, final recipient)]."""
        return [
            [(fate["Action"], fate["Final-Recipient"]) for fate in fates(message)]
            for message in self.mail(user)]


def fates(notice):
    """The fields of each recipient in a report, which must be a valid one (RFC 3464, RFC 6522)."""
    assert (
        notice.get_content_type() == "multipart/report"
        and notice.get_param("report-type") == "delivery-status")
    assert (
        not notice.defects
        and notice["Return-Path"] == "<>"
        and notice["Auto-Submitted"].startswith("auto-"))
    human, status, returned = notice.iter_parts()
    assert human.get_content_type() == "text/plain" and human.get_content().strip()
    assert status.get_content_type() == "message/delivery-status"
    assert returned.get_content_type() in ("message/rfc822", "text/rfc822-headers")
    return status.get_payload()[1:]


def _parsed(path):
    with open(path, "rb") as file:
        return email.message_from_binary_file(file, policy=email.policy.default)


def _order(path):
    """A Maildir name begins with the second and the microsecond."""
    seconds, rest = os.path.basename(path).split(".")[:2]
    return int(seconds), int(rest[1:].split("P")[0])
