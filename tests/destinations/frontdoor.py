"""A whole server for tests: mail arrives at the SMTP port, and what is sent is caught.

The queue moves when the test says so: `settle` does all that is due, `again` makes what waits due.
Nothing waits for a clock.
"""
import contextlib
import email
import email.policy
import json
import os
import shutil
import smtplib
import tempfile
import threading

from phenmail_protocols.accounts.authorization import Authorizations
from phenmail_protocols.admin import queue_orders
from phenmail_protocols.queue.model import WAITING
from phenmail_protocols.testing.fixture import MailFixture

ALICE, BOB = "alice@example.org", "bob@example.org"
AUTHOR, FRIEND = "author@elsewhere.example", "friend@far.example"
LETTER = (
    b"From: author@elsewhere.example\r\nTo: alice@example.org\r\nSubject: hello\r\n"
    b"Message-ID: <1@elsewhere.example>\r\n\r\n"
    b"one\r\n.\r\ntwo\r\n")
DEADLINE = 20.0
NO_ROOM = 1 << 62


class FrontDoor(MailFixture):
    """`actions`: {local part: action} of example.org, which has alice and bob as well; SHARED in
    them is the path of `shared`, a folder where everybody may write. `given`: plugins, as
    MailServer takes them. `settings`: of mail.jcfg."""

    def __init__(self, actions=None, given=None, keys=None, **settings):
        self._asked = self._answered = 0
        self._quiet = threading.Condition()
        self.shared = tempfile.mkdtemp()
        os.chmod(self.shared, 0o777)
        actions = {local: action.replace("SHARED", self.shared) for local,
                   action in (actions or {}).items()}
        limits = dict({"disk-reserve": 0}, **settings.pop("limits", {}))
        if os.geteuid() == 0:
            settings.setdefault("run-as", "nobody")
        super().__init__(settings=dict(settings, domains={"example.org": actions}, limits=limits),
                         plugins=given, keys=keys)
        self.server.relay.worker._wait = self._wait

    def stop(self):
        super().stop()
        shutil.rmtree(self.shared, ignore_errors=True)

    # -- incoming mail

    def send(self, *recipients, sender=AUTHOR, message=LETTER, service="smtp"):
        """One message over the port -> the answer to it (str; LMTP: a list of them), or the last
        one to RCPT where nobody is left."""
        with connect(self, service) as client:
            return transact(client, recipients, sender, message)

    # -- the queue

    def _wait(self, event, seconds):
        """How the queue's thread waits: only until it is called."""
        asked = self._asked  # read first: a later request counts anew
        if self.server.relay.worker.status().is_quiet:
            with self._quiet:
                self._answered = asked
                self._quiet.notify_all()
        event.wait(DEADLINE)

    def settle(self):
        """Wait until everything due is done, bounces too."""
        worker = self.server.relay.worker
        with self._quiet:
            self._asked += 1
            worker.wake()
            assert self._quiet.wait_for(lambda: self._answered == self._asked,
                                        DEADLINE), "no rest: %r" % (worker.status(),)

    def waiting(self):
        """-> [queue.model.Recipient] that wait for another attempt."""
        self.settle()
        return [each for message in self.server.relay.queue.messages()
                for each in message.recipients if each.status == WAITING]

    def deferred(self):
        """-> the reply (str) of the one attempt, a temporary failure; no bounce was sent."""
        recipient, = self.waiting()
        assert recipient.attempts and recipient.reply.code // 100 == 4, recipient
        assert self.bounces() == []
        return "%d %s %s" % recipient.reply[:3]

    def again(self):
        """Make the next attempt now."""
        for identity in self.server.relay.queue.identities():
            done, = queue_orders.retry(self.server.relay.queue, identity)
            assert done.done, done
        self.settle()

    def days_later(self):
        """Make the next attempt days later: if it fails, the queue gives up."""
        queue = self.server.relay.queue
        for identity in queue.identities():
            with queue.claim(identity) as claim:
                claim.update(lambda message: message._replace(recipients=tuple(
                    each._replace(waited=1e9) for each in message.recipients)))
        self.again()

    def is_done(self):
        """Whether the queue is empty."""
        self.settle()
        return self.server.relay.queue.identities() == []

    # -- outgoing mail

    def bounces(self):
        """-> [Bounce] that were sent."""
        self.settle()
        return [Bounce(each) for each in self.sent if each.message.get_content_type()
                == "multipart/report"]

    def bounce(self):
        """The one bounce, to the author; the queue is empty."""
        assert self.is_done()
        found, = self.bounces()
        assert found.recipients == (AUTHOR,), found.recipients
        return found

    def onward(self):
        """-> [testing.Sent] of the mail that was sent, without bounces."""
        self.settle()
        return [each for each in self.sent if each.message.get_content_type() != "multipart/report"]

    # -- users, and failures

    def folder(self, user):
        return os.path.join(self.server.root.path, user, "mail")

    def write(self, user, name, content):
        path = os.path.join(self.folder(user), name)
        with open(path, "w") as file:
            file.write(content if isinstance(content, str) else json.dumps(content))
        return path

    def filters(self, *filters, user=ALICE):
        self.write(user, "filters.jcfg", {"filters": list(filters)})

    def configure(self, user, **values):
        """Add to a user's mail.jcfg; "_" is "-" in names."""
        with open(os.path.join(self.folder(user), "mail.jcfg")) as file:
            found = json.load(file)
        found.update((name.replace("_", "-"), value) for name, value in values.items())
        self.write(user, "mail.jcfg", found)

    def sign(self, user, kind, text):
        """The administrator's authorization."""
        return Authorizations(self.server.root.mail_system).sign(user, kind, text)

    def log(self, user=ALICE):
        path = os.path.join(self.folder(user), "mail.log")
        if not os.path.exists(path):
            return ""
        with open(path) as file:
            return file.read()

    def subjects(self, address=ALICE, mailbox="INBOX"):
        return [message["Subject"] for message in self.messages(address, mailbox)]

    @contextlib.contextmanager
    def full_queue(self):
        """The queue's disk is full."""
        files = self.server.relay.queue._files
        os.makedirs(files.folder, exist_ok=True)  # its disk is known only if it exists
        files._reserve = NO_ROOM
        yield
        files._reserve = 0

    @contextlib.contextmanager
    def full_disk(self):
        """No room for new mail, neither in mailboxes nor in the queue."""
        spaces = [self.server.store.account(os.path.realpath(self.folder(user)))._space
                  for user in self.users]
        with self.full_queue():
            for space in spaces:
                space._reserve, space._until = NO_ROOM, 0.0
            yield
        for space in spaces:
            space._reserve = 0

    # -- programs

    def program(self, script, name="program"):
        """Make `shared`/`name` a shell script, in a new file, because the old one may still run."""
        path = os.path.join(self.shared, name)
        with open(path + ".new", "w") as file:
            file.write("#!/bin/sh\ncd %s\n%s\n" % (self.shared, script))
        os.chmod(path + ".new", 0o755)
        os.rename(path + ".new", path)

    def given(self, name):
        """The bytes of a file in `shared`."""
        with open(os.path.join(self.shared, name), "rb") as file:
            return file.read()


class Bounce:
    """A bounce that was sent (RFC 3464): `recipients` of its envelope, `failed`: {address: (status,
    diagnostic)}, `prose`."""

    def __init__(self, sent):
        assert sent.sender == "" and sent.message["Auto-Submitted"], sent.data
        human, status, _ = sent.message.iter_parts()
        self.recipients, self.prose = sent.recipients, human.get_content()
        self.failed = {}
        for fate in status.get_payload()[1:]:
            assert fate["Action"] == "failed"
            self.failed[fate["Final-Recipient"].partition(";")[2].strip()] = fate["Status"], fate[
                "Diagnostic-Code"] or ""

    def told(self):
        """{address: status}"""
        return {address: status for address, (status, _) in self.failed.items()}


@contextlib.contextmanager
def connect(front, service="smtp"):
    kind = smtplib.LMTP if service == "lmtp" else smtplib.SMTP
    with kind(*front.address(service)) as client:
        client.sock.settimeout(DEADLINE)  # LMTP takes none before 3.9
        yield client


def transact(client, recipients, sender=AUTHOR, message=LETTER):
    """As FrontDoor.send, on a connection."""
    client.ehlo_or_helo_if_needed()
    answer = client.mail(sender)
    taken = 0
    if answer[0] == 250:
        for recipient in recipients:
            answer = client.rcpt(recipient)
            taken += answer[0] == 250
    if not taken:
        return _text(answer)
    answers = [client.data(message)]
    if not isinstance(client, smtplib.LMTP):
        return _text(answers[0])
    answers += [client.getreply() for _ in range(taken - 1)]
    return [_text(each) for each in answers]


def _text(answer):
    return "%d %s" % (answer[0], answer[1].decode("utf-8"))


def parsed(octets):
    return email.message_from_bytes(octets, policy=email.policy.default)
