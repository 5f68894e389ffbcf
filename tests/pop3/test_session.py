"""The state machine without a socket: every command in every state, logins, errors, what is
logged."""
import hashlib
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.accounts.login import Account, LoginFailed
from phenmail_protocols.config.settings import Limits
from phenmail_protocols.pop3 import session as session_module
from phenmail_protocols.pop3.commands import TABLE
from phenmail_protocols.pop3.session import Service, Session, State, Then
from phenmail_protocols.store import errors

ANNA = Account("anna@example.org", "/anna/mail", frozenset(), "anna")


class Login:
    """Credentials of anna, whose passphrase is "x y"; "slow" has to wait."""

    def plain(self, name, passphrase):
        if name == "slow":
            raise LoginFailed("not now", temporary=True)
        if (name, passphrase) != ("anna", "x y"):
            raise LoginFailed("wrong")
        return ANNA

    def shared(self, name):
        return b"x y"

    def settle(self, name, right, secret):
        return self.plain(name, "x y" if right else "")

    def is_same(self, account, name):
        return False


class Directory:
    def __init__(self, everyone=True):
        self.everyone = everyone

    def everyone_has(self, secret, sending=False):
        assert not sending, "who may only submit has no maildrop"
        return self.everyone

    def login(self, peer, sending=False):
        assert not sending
        return Login()


class Content:
    size = 10


class Drop:
    """Three messages of ten octets; the third is gone."""

    def __init__(self):
        self.deleted, self.updated, self.closed, self.left = set(), False, 0, 0

    def __len__(self):
        return 3

    def count(self):
        return 3 - len(self.deleted), 10 * (3 - len(self.deleted))

    def numbers(self):
        return [number for number in (1, 2, 3) if number not in self.deleted]

    def size(self, number):
        return 10

    def unique_id(self, number):
        return "id%d" % number

    def is_deleted(self, number):
        return number in self.deleted

    def delete(self, number):
        self.deleted.add(number)

    def undelete(self):
        self.deleted.clear()

    def content(self, number):
        if number == 3:
            raise errors.Expunged()
        return Content()

    def update(self, look=None):
        self.updated = True
        return len(self.deleted) - self.left, self.left

    def close(self):
        self.closed += 1


@pytest.fixture
def drop(monkeypatch):
    made = Drop()
    monkeypatch.setattr(session_module, "open_maildrop", lambda store, folder: made)
    return made


def begin(everyone=True, loopback=True, tls=False, **service):
    limits = service.pop("limits", Limits(errors=1000, login_failures=1000))
    made = Session(Service(TABLE, Directory(everyone), None, limits, **service), ("192.0.2.1", 5),
                   loopback, tls)
    made.greeting()
    return made


def say(session, *lines):
    for line in lines:
        step = session.line(line + b"\r\n")
    return step


def logged_in(**service):
    session = begin(**service)
    assert say(session, b"USER anna",
               b"PASS x y").wire == b"+OK Logged in, 3 messages (30 octets)\r\n"
    return session


BEFORE = (b"USER anna", b"PASS x", b"APOP anna " + b"0" * 32, b"AUTH PLAIN", b"AUTH", b"STLS",
          b"UTF8")
INSIDE = (b"STAT", b"LIST", b"LIST 1", b"UIDL", b"UIDL 1", b"RETR 1", b"TOP 1 0", b"DELE 1",
          b"RSET", b"NOOP")
ANY = (b"CAPA", b"LANG", b"LANG en", b"QUIT")


def test_every_command_is_in_a_list_here():
    named = {line.split()[0] for line in BEFORE + INSIDE + ANY}
    assert {name for name, row in TABLE.items() if row.run.__name__ != "run_http"} == named


@pytest.mark.parametrize("line", INSIDE)
def test_before_the_login(line, drop):
    session = begin()
    assert say(session, line).wire == b"-ERR Log in first\r\n" and session.errors == 1
    assert say(session, line.lower() + b" x y z").wire[:4] == b"-ERR"


@pytest.mark.parametrize("line", BEFORE)
def test_after_the_login(line, drop):
    session = logged_in()
    assert say(session, line).wire == b"-ERR Already logged in\r\n" and session.errors == 1


@pytest.mark.parametrize("line", INSIDE + ANY)
def test_each_works_after_the_login(line, drop):
    assert say(logged_in(), line).wire[:4] == b"+OK "


@pytest.mark.parametrize("line", ANY)
def test_each_works_before_the_login(line, drop):
    assert say(begin(), line).wire[:4] == b"+OK "


def test_the_greeting_has_a_timestamp_only_where_everybody_can_use_it():
    session = begin()
    assert session.greeting().wire == b"+OK phenmail is ready %s\r\n" % session.stamp
    session = begin(everyone=False)
    assert session.greeting().wire == b"+OK phenmail is ready\r\n"
    assert say(session, b"APOP anna " + b"0" * 32).wire == b"-ERR APOP is not available\r\n"
    assert b"CRAM" not in say(session, b"CAPA").wire


def test_apop(drop):
    session = begin()
    digest = hashlib.md5(session.stamp + b"x y").hexdigest().encode("ascii")
    assert say(session, b"APOP anna " + b"0" * 32).wire == b"-ERR [AUTH] wrong\r\n"
    assert say(session, b"APOP slow " + digest).wire == b"-ERR [SYS/TEMP] not now\r\n"
    assert say(session, b"APOP anna " + digest.upper()).wire[:3] == b"+OK"


def test_secrets_in_the_clear_are_refused_off_the_loopback(drop):
    session = begin(loopback=False, tls_context=object)
    for line in (b"USER anna", b"PASS x y", b"AUTH PLAIN AGFubmEAeCB5", b"AUTH LOGIN"):
        assert say(session,
                   line).wire == b"-ERR TLS required to send a passphrase, use STLS first\r\n"
    assert say(session, b"AUTH FOO").wire == b"-ERR Authentication mechanism not supported\r\n"
    offered = say(session, b"CAPA").wire.split(b"\r\n")
    assert (b"USER" not in offered and b"STLS" in offered
            and b"SASL SCRAM-SHA-256 CRAM-MD5" in offered)
    assert say(session, b"STLS").then is Then.TLS
    session.tls_started(("TLSv1.3", "cipher"))
    offered = say(session, b"CAPA").wire.split(b"\r\n")
    assert (b"USER" in offered and b"STLS" not in offered
            and b"SASL SCRAM-SHA-256 PLAIN LOGIN CRAM-MD5" in offered)
    assert say(session, b"USER anna", b"PASS x y").wire[:3] == b"+OK"


@pytest.mark.parametrize("options", [{"loopback": True}, {"tls": True}, {"plaintext_auth": True}])
def test_secrets_in_the_clear_are_taken(options, drop):
    session = begin(**dict({"loopback": False}, **options))
    assert say(session, b"AUTH PLAIN AGFubmEAeCB5").wire[:3] == b"+OK"


def test_tls_forgets_the_name():
    session = begin(tls_context=object)
    say(session, b"USER anna", b"STLS")
    session.tls_started(("TLSv1.3", "cipher"))
    assert say(session, b"PASS x y").wire == b"-ERR Send USER first\r\n"
    assert say(session, b"STLS").wire == b"-ERR TLS is already active\r\n"
    assert say(begin(),
               b"STLS").wire == b"-ERR TLS is not available: the server has no certificate\r\n"


def test_an_exchange():
    session = begin()
    assert say(session, b"AUTH PLAIN").wire == b"+ \r\n" and session.dialogue is not None
    assert say(session,
               b"*").wire == b"-ERR Authentication cancelled\r\n" and session.state is State.AUTHORIZATION
    say(session, b"AUTH PLAIN")
    assert session.line_too_long().wire == b"-ERR Line too long\r\n" and session.dialogue is None
    say(session, b"AUTH PLAIN")
    assert say(session,
               b"AGFubmEAeA==").wire == b"-ERR [AUTH] wrong\r\n" and session.state is State.AUTHORIZATION
    assert say(session, b"AUTH PLAIN AHNsb3cAeA==").wire == b"-ERR [SYS/TEMP] not now\r\n"


def test_a_maildrop_that_cannot_be_had(monkeypatch):
    def refuse(store, folder):
        raise failure
    monkeypatch.setattr(session_module, "open_maildrop", refuse)
    session = begin(limits=Limits(errors=1, login_failures=1))
    for failure, code in ((errors.InUse(), b"IN-USE"), (errors.Unavailable(), b"SYS/TEMP"),
                          (errors.NoSpace(), b"SYS/TEMP")):
        step = say(session, b"USER anna", b"PASS x y")
        assert step.wire.startswith(b"-ERR [%s] " % code) and step.then is Then.COMMAND
        assert session.state is State.AUTHORIZATION and session.account is None


def test_quit_removes_and_gives_the_maildrop_back_before_it_answers(drop):
    session = logged_in()
    step = say(session, b"DELE 1", b"QUIT")
    assert step.wire == b"+OK Goodbye, 1 messages removed\r\n" and step.then is Then.CLOSE
    assert drop.updated and drop.closed == 1
    session.close()
    assert drop.closed == 1


def test_quit_tells_what_could_not_be_removed(drop):
    session = logged_in()
    drop.left = 1
    step = say(session, b"DELE 1", b"DELE 2", b"QUIT")
    assert (step.wire == b"-ERR [SYS/TEMP] Some deleted messages not removed: 1 of 2\r\n"
            and step.then is Then.CLOSE)
    assert drop.closed == 1


def test_any_other_end_removes_nothing(drop):
    session = logged_in()
    say(session, b"DELE 1")
    session.close()
    assert not drop.updated and drop.closed == 1


def test_a_failure_nobody_foresaw(drop, monkeypatch):
    session = logged_in()
    monkeypatch.setattr(drop, "update", lambda look: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        say(session, b"QUIT")
    assert session.failed().then is Then.CLOSE and drop.closed == 1
    assert begin().failed().then is Then.COMMAND


def test_a_message_that_another_program_removed(drop):
    session = logged_in()
    for line in (b"RETR 3", b"TOP 3 1"):
        assert say(session, line).wire.startswith(b"-ERR [SYS/TEMP] Message was removed")
    assert session.errors == 0 and say(session, b"LIST 3").wire == b"+OK 3 10\r\n"
    assert say(session, b"DELE 3").wire[:3] == b"+OK"


def test_messages_follow_as_content(drop):
    session = logged_in()
    step = say(session, b"RETR 1")
    assert step.wire == b"+OK 10 octets\r\n" and isinstance(step.content,
                                                            Content) and step.excerpt is None
    step = say(session, b"TOP 1 1")
    assert b"".join(step.excerpt([b"A: b\r\n\r\n1\r\n2\r\n"])) == b"A: b\r\n\r\n1\r\n"


def test_errors_end_the_session_and_so_do_failed_logins(drop):
    session = begin(limits=Limits(errors=3, login_failures=2))
    assert [say(session, line).then
            for line in (b"FOO", b"STAT", b"LIST x")] == [Then.COMMAND, Then.COMMAND, Then.CLOSE]
    session = begin(limits=Limits(errors=3, login_failures=2))
    for _ in range(3):  # only errors in a row
        assert say(session, b"FOO", b"STAT").then is Then.COMMAND
        assert say(session, b"CAPA").then is Then.COMMAND
    session = begin(limits=Limits(errors=30, login_failures=2))
    say(session, b"USER anna", b"PASS wrong", b"USER anna")
    assert say(session, b"PASS wrong") == (
        b"-ERR [AUTH] Too many failed logins, closing connection\r\n", Then.CLOSE, None, None)


def test_long_lines():
    session = begin()
    assert say(session, b"LANG " + b"x" * 300).wire == b"-ERR Line too long\r\n"
    assert say(session, b"USER " + b"x" * 300).wire[:3] == b"+OK"


def test_the_log_has_no_secrets(drop, caplog):
    caplog.set_level(logging.INFO, "phenmail.pop3")
    session = begin(debug=True)
    say(session, b"hunter2 x", b"PASS hunter2", b"APOP hunter2 " + b"0" * 32, b"AUTH PLAIN",
        b"aHVudGVyMg==", b"USER hunter2",
        b"PASS hunter2", b"AUTH CRAM-MD5", b"aHVudGVyMg==", b"USER anna", b"PASS x y", b"RETR 1")
    assert ("hunter2" not in caplog.text and "aHVudGVyMg" not in caplog.text
            and "x y" not in caplog.text)
    assert "anna@example.org@192.0.2.1: RETR 1" in caplog.text and "+OK 10 octets" in caplog.text
    caplog.clear()
    say(logged_in(), b"RETR 1")
    assert not caplog.records


def test_nobody_writes_lines_of_the_log(drop, caplog):
    caplog.set_level(logging.INFO, "phenmail.pop3")
    say(logged_in(debug=True), b"LIST 1\rroot logged in\x1b[31m\x9b\xc2\x85")
    assert [character for character in caplog.text if not " " <= character <= "~"
            and character not in "\n…"] == []
    assert "LIST 1\\rroot" in caplog.text


LINES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(BEFORE + INSIDE + ANY + (b"*", b"=", b"", b"AUTH CRAM-MD5",
                                             b"AUTH SCRAM-SHA-256 biws", b"AUTH LOGIN", b"YQ==",
                                             b"USER anna", b"PASS x y", b"DELE 2", b"RETR 3")))


@settings(max_examples=100, deadline=None)
@given(st.lists(LINES, max_size=12))
def test_any_lines_get_one_answer_each(lines):
    original = session_module.open_maildrop
    session_module.open_maildrop = lambda store, folder: Drop()
    try:
        session = begin(tls_context=object)
        for line in lines:
            step = say(session, line)
            assert step.wire[:4] in (b"+OK ", b"-ERR") or step.wire[:2] == b"+ "
            assert step.wire.endswith(b"\r\n")
            if step.then is Then.CLOSE:
                break
    finally:
        session_module.open_maildrop = original
