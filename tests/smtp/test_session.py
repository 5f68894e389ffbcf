"""The state machine without a socket: every command in every state, and what the table promises."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.accounts.directory import Destination
from phenmail_protocols.accounts.sasl import Challenge, Failure, Success
from phenmail_protocols.config.settings import Limits
from phenmail_protocols.delivery import recipient_replies
from phenmail_protocols.mail.reply import Outcome, Reply
from phenmail_protocols.smtp import commands
from phenmail_protocols.smtp.session import Service, Session, State, Step, Then


class Incoming:
    def __init__(self, envelope):
        self.envelope, self.data, self.aborted = envelope, b"", False

    def write(self, data):
        self.data += data

    def finish(self, apart):
        return [Outcome(each.address, Reply(250, "2.0.0", "Ok"))
                for each in self.envelope.recipients]

    def abort(self):
        self.aborted = True


class Router:
    host = "example.org"
    notifies = False

    def __init__(self):
        self.begun = []

    def sender(self, address, account):
        return recipient_replies.NOT_YOURS if address.local == "foreign" else None

    def at_home(self, address):
        return address if address.domain else address._replace(domain=self.host)

    def recipient(self, address, account, size=None):
        if address.local == "nobody":
            return recipient_replies.USER_UNKNOWN
        return Destination("mailbox", address, "/" + address.local, None)

    def begin(self, envelope, origin, destinations, submitter):
        self.origin, self.submitter = origin, submitter
        self.begun.append(Incoming(envelope))
        return self.begun[-1]


class Account:
    name = "anna@example.org"


class Dialogue:
    def step(self, response):
        if response is None:
            return Challenge(b"who?")
        return Success(Account()) if response == b"anna" else Failure("no")


class OneMechanism(Session):
    """A session that offers the mechanism TEST where a passphrase may be sent."""

    __slots__ = ()

    def mechanisms(self):
        return ("TEST",) if self.service.base == "SMTP" and self.may_send_secrets else ()

    def is_offered_over_tls(self, mechanism):
        return mechanism == "TEST"

    def start_login(self, mechanism, initial):
        return self._exchange(Dialogue(), initial)


def session(base="SMTP", loopback=True, **options):
    limits = Limits(**{name: options.pop(name) for name in list(options) if name in Limits._fields})
    made = Service(base, commands.table(base), Router(), None, limits, **options)
    return OneMechanism(made, ("192.0.2.1", 1234), loopback)


def say(session, *lines):
    """Lines without CRLF -> the last step."""
    for line in lines:
        step = session.line(line.encode("utf-8") + b"\r\n")
    return step


def code(step):
    return int(step.wire[:3])


READY = ("EHLO client",)
SENDER = READY + ("MAIL FROM:<a@example.net>",)
RECIPIENTS = SENDER + ("RCPT TO:<anna@example.org>",)
CHUNKS = RECIPIENTS + ("BDAT 0",)


def in_state(state, **service):
    made = session(**service)
    lines = {State.START: (), State.READY: READY, State.SENDER: SENDER,
             State.RECIPIENTS: RECIPIENTS, State.CHUNKS: CHUNKS}[state]
    for line in lines:
        step = say(made, line)
        if step.then is Then.OCTETS:
            made.chunk_ended()
    assert made.state is state
    return made


ARGUMENTS = {b"MAIL": "FROM:<a@example.net>", b"RCPT": "TO:<bert@example.org>", b"BDAT": "5 LAST",
             b"EHLO": "x", b"HELO": "x", b"LHLO": "x",
             b"VRFY": "anna", b"EXPN": "list", b"AUTH": "TEST"}
SMTP = commands.table("SMTP")


@pytest.mark.parametrize("verb", sorted(SMTP), ids=bytes.decode)
@pytest.mark.parametrize("state", list(State), ids=lambda state: state.name)
def test_each_command_in_each_state(verb, state):
    made = in_state(state)
    step = say(made, ("%s %s" % (verb.decode(), ARGUMENTS.get(verb, ""))).strip())
    if state in SMTP[verb].states:
        assert not step.wire.startswith(b"503"), step
    else:
        assert step.wire.startswith(b"503 5.5.1"), step
        assert made.state is state
        assert step.then is (Then.DISCARD if verb == b"BDAT" else Then.COMMAND)
        assert step.count == (5 if verb == b"BDAT" else 0)


@pytest.mark.parametrize("verb", sorted(SMTP), ids=bytes.decode)
def test_submission_takes_no_message_before_a_login(verb):
    made = session(login_required=True)
    say(made, "EHLO client")
    step = say(made, ("%s %s" % (verb.decode(), ARGUMENTS.get(verb, ""))).strip())
    needs = verb in (b"MAIL", b"VRFY", b"EXPN")
    assert step.wire.startswith(b"530 5.7.0") == needs


def test_where_no_passphrase_may_be_shown_tls_comes_first():
    made = session(login_required=True, loopback=False, tls_context=object)
    assert b"AUTH" not in say(made, "EHLO client").wire
    assert b"STARTTLS" in say(made, "MAIL FROM:<a@b>").wire
    assert say(made, "AUTH TEST").wire.startswith(b"538 5.7.11")
    assert say(made, "STARTTLS").then is Then.TLS
    made.tls_started(("TLSv1.3", "cipher"))
    answer = say(made, "EHLO client").wire
    assert b"AUTH TEST" in answer and b"STARTTLS" not in answer


def test_plaintext_auth_is_the_administrators_choice():
    made = session(loopback=False, plaintext_auth=True)
    assert b"AUTH TEST" in say(made, "EHLO client").wire


def test_a_login_and_whom_the_message_is_from_then():
    made = session()
    assert say(made, "EHLO client", "AUTH TEST").wire == b"334 d2hvPw==\r\n"
    assert say(made, "YW5uYQ==").wire.startswith(b"235 ")
    say(made, "MAIL FROM:<a@example.net>", "RCPT TO:<bert@example.org>", "DATA")
    router = made.service.router
    assert (router.submitter is made.account and router.origin.protocol == "ESMTPA"
            and router.origin.account == "anna@example.org")


def test_an_exchange_that_goes_wrong_leaves_the_session_in_step():
    made = session(login_failures=9)
    for line, expected in (("*", 501), ("?", 501), ("bm8=", 535)):
        say(made, "EHLO client", "AUTH TEST")
        assert code(say(made, line)) == expected
        assert code(say(made, "NOOP")) == 250
    say(made, "AUTH TEST")
    assert code(made.line_too_long()) == 500
    assert code(say(made, "NOOP")) == 250


def test_few_failed_logins_end_the_connection():
    made = session(login_failures=2)
    assert say(made, "EHLO client", "AUTH TEST eA==").then is Then.COMMAND
    step = say(made, "AUTH TEST eA==")
    assert step.then is Then.CLOSE and b"\r\n421 4.7.0" in step.wire


@pytest.mark.parametrize("lines, protocol", [
    (("HELO x", "MAIL FROM:<a@b>"), "SMTP"),
    (("EHLO x", "MAIL FROM:<a@b>"), "ESMTP"),
    (("EHLO x", "MAIL FROM:<a@b> SMTPUTF8"), "UTF8SMTP"),
])
@pytest.mark.parametrize("tls", [None, ("TLSv1.3", "cipher")])
def test_the_protocol_of_received(lines, protocol, tls):
    made = session()
    made.tls_started(tls)
    say(made, *lines)
    say(made, "RCPT TO:<anna@example.org>", "DATA")
    assert made.service.router.origin.protocol == protocol + ("S" if tls
                                                              and protocol != "SMTP" else "")


def test_lmtp_answers_for_each_recipient_and_knows_no_helo():
    made = session("LMTP")
    assert made.greeting().wire == b"220 example.org LMTP phenmail\r\n"
    assert code(say(made, "EHLO x")) == 500 and code(say(made, "HELO x")) == 500
    step = say(made, "LHLO x")
    assert code(step) == 250 and b"AUTH" not in step.wire
    say(made, "MAIL FROM:<foreign@example.org>", "RCPT TO:<anna@example.org>",
        "RCPT TO:<nobody@example.org>")
    assert code(say(made, "RCPT TO:<bert@example.org>")) == 250
    assert say(made, "DATA").then is Then.DATA
    made.transaction.content(b"x\r\n")
    assert made.content_ended(False).wire == b"250 2.0.0 Ok\r\n" * 2
    say(made, "MAIL FROM:<>", "RCPT TO:<anna@example.org>", "RCPT TO:<bert@example.org>", "DATA")
    assert made.content_ended(True).wire.count(b"550 5.6.0") == 2


def test_lmtp_has_one_answer_for_a_chunk_that_is_not_the_last():
    made = session("LMTP")
    say(made, "LHLO x", "MAIL FROM:<>", "RCPT TO:<anna@example.org>", "RCPT TO:<bert@example.org>")
    assert say(made, "BDAT 3").then is Then.OCTETS
    made.transaction.octets(b"a\nb")
    assert made.chunk_ended().wire.count(b"550 5.6.0") == 1
    say(made, "MAIL FROM:<>", "RCPT TO:<anna@example.org>", "RCPT TO:<bert@example.org>",
        "BDAT 3 LAST")
    made.transaction.octets(b"a\nb")
    assert made.chunk_ended().wire.count(b"550 5.6.0") == 2


def test_octets_that_follow_a_line_that_is_refused_are_never_commands():
    made = in_state(State.RECIPIENTS)
    step = say(made, "BDAT 5" + " " * 3000 + "LAST")
    assert step.wire.startswith(b"500 5.5.2") and step.then is Then.CLOSE


def test_what_is_expected_is_said():
    assert b"MAIL is expected" in say(in_state(State.READY), "RCPT TO:<anna@example.org>").wire
    assert b"RCPT is expected" in say(in_state(State.SENDER), "DATA").wire
    assert b"another BDAT is expected" in say(in_state(State.CHUNKS), "DATA").wire


def test_a_response_that_is_too_long_ends_the_exchange():
    made = in_state(State.READY)
    say(made, "AUTH TEST")
    assert made.line_too_long().wire.startswith(b"500 5.5.6 "), "RFC 4954 4"
    assert made.dialogue is None and made.line_too_long().wire.startswith(b"500 5.5.2 ")


def test_success_notices_are_promised_only_where_they_are_sent():
    made = session()
    assert b"DSN" not in say(made, "EHLO x").wire
    made.service.router.notifies = True
    assert b"250-DSN\r\n" in say(made, "EHLO x").wire


def test_a_new_greeting_drops_the_message_under_way():
    made = in_state(State.CHUNKS)
    say(made, "EHLO again")
    assert made.service.router.begun[0].aborted and made.state is State.READY


def test_strangers_who_try_many_addresses_are_closed():
    made = session(errors=5)
    say(made, *SENDER)
    steps = [say(made, "RCPT TO:<nobody@example.org>") for _ in range(5)]
    assert [step.then for step in steps] == [Then.COMMAND] * 4 + [Then.CLOSE]
    assert b"\r\n421 4.7.0 Too many errors" in steps[-1].wire


def test_what_breaks_a_strangers_row_of_errors_is_a_message_that_is_accepted():
    made = session(errors=5)
    say(made, "EHLO x")
    for _ in range(3):
        say(made, "MAIL FROM:<a@example.net>", *["RCPT TO:<nobody@example.org>"] * 4)
        say(made, "RCPT TO:<anna@example.org>", "DATA")
        made.transaction.content(b"Subject: x\r\n\r\n")
        assert code(made.content_ended(False)) == 250
    for _ in range(4):
        assert say(made, "NOOP", "RSET", "FOO").then is Then.COMMAND
    assert say(made, "FOO").then is Then.CLOSE


def test_who_logged_in_may_err_now_and_then():
    made = session(errors=5)
    say(made, "EHLO x", "AUTH TEST YW5uYQ==")
    assert made.account is not None
    for _ in range(3):
        assert say(made, *["FOO"] * 4).then is Then.COMMAND
        assert code(say(made, "NOOP")) == 250
    assert say(made, *["FOO"] * 4).then is Then.COMMAND
    assert say(made, "FOO").then is Then.CLOSE


def test_long_lines_are_for_auth_only():
    made = session()
    say(made, "EHLO x")
    assert code(say(made, "NOOP " + "x" * 3000)) == 500
    assert code(say(made, "AUTH TEST " + "QUFB" * 2000)) == 535


def test_one_more_mailbox_than_a_message_may_go_to():
    made = session()
    say(made, *SENDER)
    codes = [code(say(made, "RCPT TO:<user%d@example.org>" % number)) for number in range(101)]
    assert codes == [250] * 100 + [452]


def test_a_chunk_of_absurd_size_is_not_waited_for():
    made = session()
    say(made, "EHLO x")
    assert say(made, "BDAT 99999999999999").then is Then.CLOSE


LINES = st.sampled_from([line.encode() for line in READY + RECIPIENTS + (
    "HELO x", "DATA", "BDAT 3", "BDAT 3 LAST", "RSET", "NOOP", "AUTH TEST", "AUTH TEST YW5uYQ==",
    "YW5uYQ==", "*", "STARTTLS", "HELP", "QUIT",
    "VRFY x", "LHLO x", "GET /")])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(LINES, st.binary(max_size=20)), max_size=30))
def test_any_conversation_is_answered(lines):
    made = session(errors=1000, login_failures=1000)
    for line in lines:
        step = made.line(line + b"\r\n")
        assert isinstance(step, Step)
        if step.then is Then.DATA:
            made.transaction.content(b"Subject: x\r\n\r\n")
            step = made.content_ended(False)
        elif step.then is Then.OCTETS:
            made.transaction.octets(b"abc")
            step = made.chunk_ended()
        elif step.then is Then.TLS:
            made.tls_started(("TLSv1.3", "cipher"))
        assert step.wire.endswith(b"\r\n") and 200 <= code(step) < 600
        assert all(len(each) <= 512 for each in step.wire.splitlines(True))
