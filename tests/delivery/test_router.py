"""One message, each recipient to its end: the promises of delivery.router, on a real store and on
ones that fail."""
import errno
import os
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phenmail_protocols.accounts.directory import Account, Destination
from phenmail_protocols.delivery import recipient_replies
from phenmail_protocols.delivery.incoming import HEADER_LIMIT
from phenmail_protocols.delivery.router import Router
from phenmail_protocols.delivery.trace import Origin
from phenmail_protocols.mail.address import Address
from phenmail_protocols.mail.envelope import Envelope, Recipient
from phenmail_protocols.store import errors
from phenmail_protocols.store.filestore import FileStore
from phenmail_protocols.store.model import Delivered
from tests.served import served

SENDER = Address("sender", "example.net")
MESSAGE = b"From: sender@example.net\r\nSubject: x\r\n\r\nhello\r\n"


class Settings:
    sender_domain = "example.org"
    relay = SimpleNamespace(disabled=False)


class Directory:
    """anna and info end in one folder, user+tag is user, bert and cleo have their own;
    x@closed.example.org has each other kind."""
    settings = Settings()

    def __init__(self, root):
        self.root = root

    def resolve(self, address):
        if address.domain != "example.org":
            return Destination("remote", address)
        name, _, tag = address.local.partition("+")
        if name in ("disabled", "agent", "forward", "plugin", "unknown", "broken"):
            return Destination(name, address)
        folder = "anna" if name == "info" else name
        return Destination("mailbox", address, os.path.join(self.root, folder), tag or None)

    def may_send_as(self, account, address):
        return address in account.addresses


def address(text):
    return Address.parse(text if "@" in text else text + "@example.org")


def envelope(*recipients):
    return Envelope(SENDER, tuple(Recipient(address(each)) for each in recipients))


@pytest.fixture
def store():
    made = FileStore()
    yield made
    made.close()


@pytest.fixture
def router(tmp_path, store):
    return Router(Directory(str(tmp_path)), store)


def deliver(router, envelope, *chunks, apart=False, origin=Origin("ESMTP", "client", "192.0.2.1"),
            submitter=None):
    incoming = router.begin(envelope, origin, submitter=submitter)
    for chunk in chunks:
        incoming.write(chunk)
    return incoming.finish(apart)


def inbox(router, user):
    mailbox = router.store.account(os.path.join(router.directory.root, user)).open("INBOX")
    try:
        return served(mailbox)
    finally:
        mailbox.close()


def files(router, user):
    folder = os.path.join(router.directory.root, user)
    return [os.path.join(folder, kind, name) for kind in ("new", "cur")
            for name in sorted(os.listdir(os.path.join(folder, kind)))]


def left_behind(router, user):
    folder = os.path.join(router.directory.root, user, "tmp")
    return os.listdir(folder) if os.path.isdir(folder) else []


def codes(outcomes):
    return [outcome.reply.code for outcome in outcomes]


ANNA = Account("anna@example.org", "anna", frozenset((address("anna"), address("info"))), "anna")


@pytest.mark.parametrize("text, account, answer", [
    ("disabled", None, recipient_replies.DISABLED), ("agent", None, recipient_replies.NO_QUEUE),
    ("forward", None, recipient_replies.NO_QUEUE),
    ("plugin", None, recipient_replies.NO_QUEUE), ("unknown", None, recipient_replies.USER_UNKNOWN),
    ("broken", None, recipient_replies.BROKEN),
    ("x@example.com", None, recipient_replies.NO_RELAY),
    ("x@example.com", ANNA, recipient_replies.NO_QUEUE),
    ("x@nowhere.invalid", ANNA, recipient_replies.NO_SUCH_DOMAIN),
    ("x@localhost", ANNA, recipient_replies.NO_SUCH_DOMAIN),
])
def test_recipients(router, text, account, answer):
    assert router.recipient(address(text), account) is answer


def test_a_closed_relay_is_closed_after_a_login_too(router, monkeypatch):
    monkeypatch.setattr(Settings.relay, "disabled", True)
    assert router.recipient(address("x@example.com"), ANNA) is recipient_replies.RELAY_CLOSED


def test_senders(router):
    assert router.sender(SENDER) is None
    assert router.sender(address("unknown")) is recipient_replies.LOG_IN_FIRST
    assert router.sender(address("info"), ANNA) is None
    assert router.sender(SENDER, ANNA) is recipient_replies.NOT_YOURS


RETURN_PATH = b"Return-Path: <sender@example.net>\r\n"


def test_a_copy_for_one_mailbox_says_for_whom_it_came(router):
    assert codes(deliver(router, envelope("anna", "info"), MESSAGE)) == [250, 250]
    message, = inbox(router, "anna")
    own = RETURN_PATH + b"Delivered-To: anna@example.org\r\n"
    assert message.startswith(
        own + b"Received: from client ([192.0.2.1])\r\n\tby example.org (phenmail) with ESMTP id ")
    assert message.endswith(MESSAGE) and b"\tfor <" not in message


def test_mailboxes_share_one_file_that_names_none_of_them(router):
    outcomes = deliver(router, envelope("anna", "bert", "info", "anna+lists"), MESSAGE)
    assert codes(outcomes) == [250] * 4
    assert [each.recipient for each in outcomes] == [address(a)
                                                     for a in (
                                                         "anna", "bert", "info", "anna+lists")]
    copies = inbox(router, "anna") + inbox(router, "bert")
    assert len(copies) == 3 and len(set(copies)) == 1
    assert copies[0].startswith(RETURN_PATH + b"Received: from client ")
    assert copies[0].endswith(MESSAGE)
    assert b"anna" not in copies[0] and b"bert" not in copies[0]
    assert {os.stat(path).st_nlink for path in files(router, "anna") + files(router, "bert")} == {3}
    mailbox = router.store.account(os.path.join(router.directory.root, "anna")).open("INBOX")
    mailbox.remove(mailbox.state().uids[:1])
    mailbox.close()
    assert len(files(router, "anna")) == 1 and inbox(router, "bert") == copies[:1]


def test_where_files_can_not_be_linked_each_has_its_own(router, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EXDEV, "another disk")
    monkeypatch.setattr(os, "link", refuse)
    assert codes(deliver(router, envelope("anna", "bert"), MESSAGE)) == [250, 250]
    assert inbox(router, "anna") == inbox(router, "bert")
    assert {os.stat(path).st_nlink for path in files(router, "anna") + files(router, "bert")} == {1}
    assert left_behind(router, "anna") == left_behind(router, "bert") == []


def test_refused_recipients_have_their_answers_among_the_others(router):
    assert codes(
        deliver(router, envelope("unknown", "anna", "x@example.com", "agent"), MESSAGE)) == [
        550, 250, 550, 451]
    assert codes(deliver(router, envelope("unknown"), MESSAGE)) == [550]
    assert len(inbox(router, "anna")) == 1


@settings(max_examples=60, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture]
          if hasattr(HealthCheck, "function_scoped_fixture") else [])
@given(st.lists(
    st.sampled_from(
        [b"\r\n", b"Subject: x\r\n", b" y\r\n", b"Return-Path: <z@z>\r\n", b"no field\r\n",
         b"From x\r\n", b"body", b":\r\n"]),
                max_size=8).map(b"".join), st.data())
def test_any_cut_of_any_message_is_kept_the_same(text, data):
    class Staged:
        file_size, has_nul = 0, False

        def __init__(self):
            self.data = b""

        def write(self, data):
            self.data += data

        def discard(self):
            pass

    class Store:
        def account(self, folder):
            return self

        def require_room(self, folder, octets):
            pass

        def stage(self):
            self.staged = Staged()
            return self.staged

        def deliver(self, name, staged, flags):
            self.kept = staged.data
            return Delivered(1, 1)

    router = Router(Directory(""), Store(), clock=lambda: 1000)
    router.identity = lambda: b"1"
    chunks, rest = [], text
    while rest:
        cut = data.draw(st.integers(1, len(rest)))
        chunks.append(rest[:cut])
        rest = rest[cut:]
    assert codes(deliver(router, envelope("anna"), text)) == [250]
    whole = router.store.kept
    assert codes(deliver(router, envelope("anna"), *chunks)) == [250]
    assert router.store.kept == whole
    assert whole.endswith(text.rpartition(b"Return-Path: <z@z>\r\n")[2].lstrip(b" y\r\n"))


@pytest.mark.parametrize("text, kept", [
    (b"", b"+0000\r\n"), (b"\r\nbody\r\n", b"+0000\r\n\r\nbody\r\n"),
    (b"Subject: x\r\n", b"+0000\r\nSubject: x\r\n"),
    (b"just text\r\nmore\r\n", b"+0000\r\n\r\njust text\r\nmore\r\n"),
    (b"From me Mon\r\nA: b\r\n\r\n", b"+0000\r\nFrom me Mon\r\nA: b\r\n\r\n"),
    (b"Return-Path: <x>\r\nA: b\r\nReturn-Path:\r\n y\r\n\r\nReturn-Path: z\r\n",
     b"+0000\r\nA: b\r\n\r\nReturn-Path: z\r\n"),
])
def test_odd_headers(router, text, kept, monkeypatch):
    monkeypatch.setattr("phenmail_protocols.mail.dates.local_zone", lambda epoch: 0)
    assert codes(deliver(router, envelope("anna"), text)) == [250]
    assert inbox(router, "anna")[0].endswith(kept)


def test_loops(router):
    assert codes(deliver(router, envelope("anna"), b"Received: x\r\n" * 50 + MESSAGE)) == [250]
    assert codes(deliver(router, envelope("anna"), b"Received: x\r\n" * 51 + MESSAGE)) == [554]
    looping = b"Delivered-To: Anna@example.org\r\n" + MESSAGE
    assert codes(deliver(router, envelope("anna"), looping)) == [554]
    assert codes(deliver(router, envelope("anna", "bert"), looping)) == [554, 554]
    assert codes(deliver(router, envelope("anna", "bert"), looping, apart=True)) == [554, 250]
    assert codes(deliver(router, envelope("bert"), looping)) == [250]
    assert left_behind(router, "anna") == left_behind(router, "bert") == []


def test_nul_is_refused(router):
    assert codes(deliver(router, envelope("anna", "bert"), MESSAGE + b"\0")) == [550, 550]
    assert left_behind(router, "anna") == []


def test_a_header_without_end(router):
    line = b"X-Long: " + b"y" * 1000 + b"\r\n"
    lines = [line] * (HEADER_LIMIT // len(line) + 2)
    assert codes(deliver(router, envelope("anna"), *lines)) == [250]
    assert inbox(router, "anna")[0].endswith(line * len(lines))
    outcomes = deliver(router, envelope("anna"), *lines, submitter=ANNA)
    assert (outcomes[0].reply.code, outcomes[0].reply.enhanced) == (552, "5.3.4")


def test_a_submission_is_completed_and_its_author_checked(router):
    mine = b"From: info@example.org\r\nBcc: x@y\r\n\r\n"
    assert codes(deliver(router, envelope("bert"), mine, submitter=ANNA)) == [250]
    message, = inbox(router, "bert")
    assert b"\r\nDate: " in message and b"\r\nMessage-ID: <" in message and b"Bcc" not in message
    assert codes(deliver(router, envelope("bert"), MESSAGE, submitter=ANNA)) == [550]
    assert left_behind(router, "bert") == []


def test_a_program_that_holds_the_server_writes_without_origin(router):
    assert codes(deliver(router, envelope("anna"), b"Subject: x\r\n\r\n", origin=None)) == [250]
    message, = inbox(router, "anna")
    assert b"\r\nReceived: by example.org (phenmail) id " in message
    assert b"\r\nFrom: <sender@example.net>\r\n" in message


class Failing:
    """A store whose accounts fail at a step: {folder's name: (step, error)}."""

    def __init__(self, store, failures):
        self.store, self.failures, self.delivered = store, failures, []

    def account(self, folder):
        return FailingAccount(self, self.store.account(folder), os.path.basename(folder))

    def require_room(self, folder, octets):
        self.store.require_room(folder, octets)


class FailingAccount:
    def __init__(self, store, account, name):
        self.store, self.real, self.name = store, account, name

    def _step(self, step):
        failing, error = self.store.failures.get(self.name, (None, None))
        if step == failing:
            raise error

    def stage(self, twin=None):
        self._step("stage")
        staged = self.real.stage(twin)
        for name in ("write", "sync"):
            self._watch(staged, name)
        return staged

    def _watch(self, staged, name):
        real = getattr(staged, name)

        def watched(*arguments):
            self._step(name)
            return real(*arguments)
        setattr(staged, name, watched)

    def deliver(self, name, staged, flags=()):
        self._step("deliver")
        self.store.delivered.append(self.name)
        return self.real.deliver(name, staged, flags)


FAILURES = [(errors.NoSpace(), 452, "4.3.1"), (errors.Unavailable(), 451, "4.3.0"),
            (errors.InUse(), 451, "4.2.0"),
            (errors.TooBig(), 552, "5.3.4"), (errors.StoreError(), 451, "4.3.0"),
            (RuntimeError("bug"), 451, "4.3.0")]


@pytest.mark.parametrize("error, code, enhanced", FAILURES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("victim, step",
                         [("anna", "stage"), ("anna", "write"), ("anna", "sync"), ("bert", "stage"),
                          ("cleo", "stage")])
def test_nothing_is_delivered_before_every_copy_is_safe(tmp_path, store, victim, step, error, code,
                                                        enhanced):
    failing = Failing(store, {victim: (step, error)})
    router = Router(Directory(str(tmp_path)), failing)
    outcomes = deliver(router, envelope("anna", "bert", "cleo"), MESSAGE)
    assert {(each.reply.code, each.reply.enhanced) for each in outcomes} == {(code, enhanced)}
    assert failing.delivered == []
    assert [left_behind(router, user) for user in ("anna", "bert", "cleo")] == [[], [], []]


@pytest.mark.parametrize("apart, expected, delivered", [
    (False, [250, 452, 452], ["anna"]), (True, [250, 452, 250], ["anna", "cleo"])])
def test_a_mailbox_that_fails_at_the_last_moment(tmp_path, store, apart, expected, delivered):
    failing = Failing(store, {"bert": ("deliver", errors.NoSpace())})
    router = Router(Directory(str(tmp_path)), failing)
    assert codes(
        deliver(router, envelope("anna", "bert", "cleo"), MESSAGE, apart=apart)) == expected
    assert failing.delivered == delivered
    assert [left_behind(router, user) for user in ("anna", "bert", "cleo")] == [[], [], []]


def test_where_each_has_its_answer_one_copy_that_fails_is_one_answer(tmp_path, store):
    router = Router(Directory(str(tmp_path)), Failing(store, {"bert": ("stage", errors.NoSpace())}))
    assert codes(deliver(router, envelope("anna", "bert", "cleo"), MESSAGE, apart=True)) == [
        250, 452, 250]


def test_what_is_given_up_leaves_nothing(router):
    incoming = router.begin(envelope("anna", "bert"), Origin("ESMTP"))
    incoming.write(MESSAGE * 10000)
    assert len(left_behind(router, "anna")) == 1
    incoming.abort()
    incoming.abort()
    assert left_behind(router, "anna") == []


def test_one_line_in_the_log_for_a_message(router, caplog):
    caplog.set_level("INFO", "phenmail.delivery")
    deliver(router, envelope("anna", "unknown"), MESSAGE)
    line, = [record.getMessage() for record in caplog.records if record.name == "phenmail.delivery"]
    assert ("from=<sender@example.net> to=<anna@example.org>=250/2.0.0,"
            "<unknown@example.org>=550/5.1.1 size=%d" % len(MESSAGE)) in line
    assert "hello" not in line
