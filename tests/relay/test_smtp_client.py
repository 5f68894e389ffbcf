"""One connection: whatever the server does, each recipient gets one true reply within the
deadlines, and only the documented exceptions are raised."""
import base64
import hashlib
import hmac
import io
import threading
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.mail.address import Address
from phenmail_protocols.queue.model import Message, Recipient, Unreachable
from phenmail_protocols.relay.smtp_client import Connection
from phenmail_protocols.relay.smtp_login import UpstreamLoginFailed
from phenmail_protocols.relay.smtp_wire import Deadlines, Lost, Unverified
from phenmail_protocols.relay.tls_policy import Requirement

from ..net.peer import make_certificates
from .peers import Peer, smtp

# For servers that never reply. All others get PATIENT: on a loaded machine any single reply may
# take longer than SHORT allows.
PATIENT = Deadlines(connect=30.0, greeting=30.0, handshake=30.0, command=30.0, data=30.0,
                    piece=30.0, end=30.0)
SHORT = Deadlines(connect=5.0, greeting=0.3, handshake=5.0, command=0.3, data=0.3, piece=0.3,
                  end=0.3, quit=0.3)
BODY = b"From: a@example.org\r\nSubject: x\r\n\r\nhello\r\n.dot\r\n"
ALL = ["PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "SIZE 1000000", "ENHANCEDSTATUSCODES"]


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """net.tls.Certificates of mail.example.org, self-signed."""
    return make_certificates(str(tmp_path_factory.mktemp("tls")))


def queued(body=BODY, head=b"", **more):
    return Message("id", Address("a", "example.org"), (), 0.0, head, len(head) + len(body), **more)


def people(*names):
    return tuple(Recipient(Address.parse(name if "@" in name else name + "@example.net"))
                 for name in names)


def connect(peer, requirement=Requirement(), **more):
    more.setdefault("deadlines", PATIENT)
    return Connection("mail.example.org", peer.ip, peer.port, "me.example.org", requirement, **more)


def send(peer, *names, deadlines=PATIENT, **more):
    """Opens, sends one message, closes: the replies as "250 2.0.0"."""
    connection = connect(peer, deadlines=deadlines)
    connection.open()
    try:
        return briefly(connection.send(queued(**more), people(*names),
                                       io.BytesIO(more.get("body", BODY))))
    finally:
        connection.close()


def briefly(replies):
    return ["%d %s" % reply[:2] for reply in replies]


def refusal(peer, requirement=Requirement(), error=Unreachable, **more):
    """Opening fails -> the reply."""
    connection = connect(peer, requirement, **more)
    with pytest.raises(error) as caught:
        connection.open()
    assert not connection.is_usable()
    return caught.value.reply


@pytest.mark.parametrize("extensions", [[], ["PIPELINING"], ALL])
def test_a_message_goes_out(extensions):
    with Peer(smtp(extensions)) as peer:
        connection = connect(peer)
        connection.open()
        for number in range(3):
            assert connection.is_usable()
            reply, = connection.send(queued(head=b"X: 1\r\n"), people("b"), io.BytesIO(BODY))
            assert reply == (250, "2.0.0", "kept", "mail.example.org", "250 2.0.0 kept")
        connection.close()
        assert not connection.is_usable()
    assert peer.messages == [b"X: 1\r\n" + BODY] * 3
    assert peer.talks[0].lines[0].upper() == "EHLO ME.EXAMPLE.ORG" and peer.lines[
        -1] == "QUIT" and len(peer.talks) == 1


def test_parameters_as_the_server_offers_them():
    message = queued(eight_bit=True, ret="HDRS", envid="a+b=c d")
    recipient = Recipient(Address("o'b r", "example.net"), ("SUCCESS", "DELAY"),
                          "rfc822;B+x@example.com")
    for extensions, mail, rcpt in (
            (ALL, "MAIL FROM:<a@example.org> SIZE=%d BODY=8BITMIME RET=HDRS ENVID=a+2Bb+3Dc+20d"
             % len(BODY),
             'RCPT TO:<"o\'b r"@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;B+2Bx@example.com'),
            ([], "MAIL FROM:<a@example.org>", 'RCPT TO:<"o\'b r"@example.net>')):
        with Peer(smtp(extensions)) as peer:
            connection = connect(peer)
            connection.open()
            assert connection.extensions.dsn == bool(
                extensions) and connection.extensions.eight_bit == bool(extensions)
            connection.send(message, (recipient,), io.BytesIO(BODY))
            connection.close()
        assert [line for line in peer.lines if line[:4] in ("MAIL", "RCPT")] == [mail, rcpt]


def test_internationalized_addresses():
    sender, plain = Address("j\u00f6rg", "b\u00fccher.example"), Address("b", "b\u00fccher.example")
    original = Recipient(plain, (), "utf-8;j\u00f6rg\\x{F6}@b.example")
    for extensions, message, recipient, expected in (
            (ALL, queued(smtputf8=True)._replace(sender=sender), original, ["250 2.0.0"]),
            ([], queued(smtputf8=True)._replace(sender=sender), original, ["553 5.6.7"]),
            ([], queued(), Recipient(plain), ["250 2.0.0"]),
            ([], queued(), Recipient(sender), ["553 5.6.7"]),
            ([], queued()._replace(sender=sender), Recipient(plain), ["553 5.6.7"])):
        with Peer(smtp(extensions)) as peer:
            connection = connect(peer)
            connection.open()
            assert briefly(connection.send(message, (recipient,), io.BytesIO(BODY))) == expected
            connection.close()
        if extensions:
            assert "MAIL FROM:<j\u00f6rg@b\u00fccher.example> SIZE=%d SMTPUTF8" % len(
                BODY) in peer.lines
            assert (
                "RCPT TO:<b@b\u00fccher.example> ORCPT=utf-8;j\\x{F6}rg\\x{F6}@b.example" in peer.lines)
        elif expected == ["250 2.0.0"]:
            assert "RCPT TO:<b@xn--bcher-kva.example>" in peer.lines


def test_null_sender_and_no_injection():
    with Peer(smtp()) as peer:
        connection = connect(peer)
        connection.open()
        assert briefly(connection.send(queued()._replace(sender=None), people("b"),
                                       io.BytesIO(BODY))) == ["250 2.0.0"]
        evil = Recipient(Address("b>\r\nRCPT TO:<c", "example.net"))
        assert briefly(connection.send(queued(), (evil,), io.BytesIO(BODY))) == ["553 5.6.7"]
        connection.close()
    assert "MAIL FROM:<>" in peer.lines and not any("<c" in line for line in peer.lines)


@pytest.mark.parametrize("extensions", [[], ["PIPELINING"]])
class TestRecipients:
    def test_each_has_its_own_answer(self, extensions):
        answers = {"RCPT TO:<b@": "550 5.1.1 <b@example.net>: nobody",
                   "RCPT TO:<c@": "450 4.2.0 greylisted",
                   "RCPT TO:<d@": "550 plain no"}
        with Peer(smtp(extensions, answers)) as peer:
            assert send(peer, "a", "b", "c", "d", "e") == ["250 2.0.0", "550 5.1.1", "450 4.2.0",
                                                           "550 5.0.0", "250 2.0.0"]
        assert peer.messages == [BODY]

    def test_none_is_accepted(self, extensions):
        with Peer(smtp(extensions, {"RCPT": "550 5.1.1 nobody",
                                    "DATA": "503 5.5.1 no recipients"})) as peer:
            connection = connect(peer)
            connection.open()
            for _ in range(2):
                assert briefly(connection.send(queued(), people("a", "b"),
                                               io.BytesIO(BODY))) == ["550 5.1.1"] * 2
            connection.close()
        assert peer.messages == [] and peer.lines.count("RSET") == 2 and len(peer.talks) == 1

    def test_data_wants_a_message_though_none_is_accepted(self, extensions):
        with Peer(smtp(extensions, {"RCPT": "550 5.1.1 nobody",
                                    ".": "554 5.5.1 no recipients"})) as peer:
            assert send(peer, "a", "b") == ["550 5.1.1"] * 2
        assert peer.messages == ([b""] if extensions else [])

    def test_mail_is_refused(self, extensions):
        answers = {"MAIL": "550 5.7.1 not you", "RCPT": "503 5.5.1 MAIL first",
                   "DATA": "503 5.5.1 MAIL first"}
        with Peer(smtp(extensions, answers)) as peer:
            assert send(peer, "a", "b") == ["550 5.7.1"] * 2

    @pytest.mark.parametrize("stage", ["DATA", "."])
    @pytest.mark.parametrize("answer, expected", [
        ("554 5.7.1 spam", "554 5.7.1"), ("451 4.3.0 later", "451 4.3.0"),
        ("552 too big", "552 5.0.0")])
    def test_the_message_is_refused(self, extensions, stage, answer, expected):
        well = "250 2.0.0 ok" if stage == "." else "354 go"
        with Peer(smtp(extensions, {"RCPT TO:<b@": "550 5.1.1 nobody",
                                    stage: [answer, well]})) as peer:
            connection = connect(peer)
            connection.open()
            assert briefly(connection.send(queued(), people("a", "b"),
                                           io.BytesIO(BODY))) == [expected, "550 5.1.1"]
            assert briefly(connection.send(queued(), people("a"),
                                           io.BytesIO(BODY))) == ["250 2.0.0"]
            connection.close()

    def test_too_many_recipients_get_another_transaction(self, extensions):
        def limited(talk, line):
            since = len(talk.lines) - 1 - max(n for n, other in enumerate(talk.lines)
                                              if other.startswith("MAIL"))
            return "250 2.1.5 ok" if since <= 2 else "452 4.5.3 too many"
        with Peer(smtp(extensions, {"RCPT": limited})) as peer:
            assert send(peer, *"abcde") == ["250 2.0.0"] * 5
        assert peer.messages == [BODY] * 3

    def test_full_mailboxes_are_not_too_many(self, extensions):
        with Peer(smtp(extensions, {"RCPT TO:<b@": "452 4.2.2 full",
                                    "RCPT TO:<c@": "552 5.5.3 too many"})) as peer:
            assert send(peer, "a", "b") == ["250 2.0.0", "452 4.2.2"]
            assert send(peer, "c") == ["452 4.5.3"]
        assert [message for message in peer.messages if message] == [BODY]

    def test_the_second_transaction_is_lost(self, extensions):
        answers = {"RCPT TO:<b@": "452 4.5.3 too many",
                   "MAIL": ["250 2.1.0 ok", "421 4.3.2 closing"]}
        with Peer(smtp(extensions, answers)) as peer:
            assert send(peer, "a", "b") == ["250 2.0.0", "452 4.5.3"]

    def test_a_thousand_recipients(self, extensions):
        with Peer(smtp(extensions, {"RCPT TO:<r7@": "550 5.1.1 no"})) as peer:
            replies = send(peer, *["r%d" % number for number in range(1000)])
        assert replies.count("250 2.0.0") == 999 and replies[7] == "550 5.1.1" and len(
            peer.messages) == 1


STAGES = ["CONNECT", "EHLO", "MAIL", "RCPT TO:<b@", "DATA", "."]


def fails(peer, *names, deadlines=PATIENT):
    """Send a message to a server that misbehaves -> the replies, or the one of Unreachable."""
    started = time.monotonic()
    try:
        return send(peer, *names, deadlines=deadlines)
    except Unreachable as error:
        return "%d %s" % error.reply[:2]
    finally:
        assert time.monotonic() - started < 5, "the deadlines did not hold"


EXPECTED = {"CONNECT": "451 %s", "EHLO": "451 %s", "MAIL": "451 %s"}


def expected(stage, enhanced, code="451"):
    """Before MAIL is answered it is Unreachable's reply; after that each recipient has its own."""
    said = "%s %s" % (code, enhanced)
    return said if stage in EXPECTED else [said, said]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("extensions", [[], ["PIPELINING"]])
class TestStrangeServers:
    def test_hangs(self, stage, extensions):
        with Peer(smtp(extensions, {stage: None})) as peer:
            assert fails(peer, "a", "b", deadlines=SHORT) == expected(stage, "4.4.2")

    def test_closes(self, stage, extensions):
        def close(talk, line):
            talk.sock.shutdown(2)
            return None
        with Peer(smtp(extensions, {stage: close})) as peer:
            assert fails(peer, "a", "b") == expected(stage, "4.4.2")

    def test_resets(self, stage, extensions):
        with Peer(smtp(extensions, {stage: lambda talk, line: talk.reset()})) as peer:
            found = fails(peer, "a", "b")
        # the reset may arrive before `connect` returns
        assert found == expected(stage, "4.4.2") or stage == "CONNECT" and found == "451 4.4.1"

    def test_says_421(self, stage, extensions):
        with Peer(smtp(extensions, {stage: "421 4.3.2 shutting down"})) as peer:
            assert fails(peer, "a", "b") == expected(stage, "4.3.2", "421")

    @pytest.mark.parametrize("garbage", ["HTTP/1.1 400 Bad Request", "\x00\x01\x02",
                                         "99 luftballons", "2500 ok", "-1",
                                         "x" * 100000])
    def test_says_garbage(self, stage, extensions, garbage):
        with Peer(smtp(extensions, {stage: garbage})) as peer:
            assert fails(peer, "a", "b") == expected(stage, "4.5.0")

    def test_sends_a_reply_out_of_step(self, stage, extensions):
        with Peer(smtp(extensions, {stage: "250 2.0.0 ok" if stage in ("CONNECT", "DATA")
                                    else "354 go ahead"})) as peer:
            assert fails(peer, "a", "b") == expected(stage, "4.5.0")

    def test_never_ends_its_reply(self, stage, extensions):
        def endless(talk, line):
            while True:
                talk.send(b"250-more of the same\r\n" * 1000)
        with Peer(smtp(extensions, {stage: endless})) as peer:
            # Its code counts: after the final dot it says what became of the message.
            result = "250 2.0.0" if stage == "." else "451 4.5.0"
            assert fails(peer, "a", "b") == (result if stage in ("CONNECT", "EHLO")
                                             else [result] * 2)

    def test_sends_an_octet_at_a_time(self, stage, extensions):
        def slow(talk, line):
            enough = threading.Event()
            while not enough.wait(0.05):
                talk.send(b"2")
        with Peer(smtp(extensions, {stage: slow})) as peer:
            assert fails(peer, "a", "b", deadlines=SHORT) == expected(stage, "4.4.2")


def test_a_lost_answer_to_the_final_dot_says_that_it_may_have_arrived():
    with Peer(smtp(ALL, {".": lambda talk, line: talk.reset()})) as peer:
        connection = connect(peer)
        connection.open()
        reply, = connection.send(queued(), people("b"), io.BytesIO(BODY))
        assert "may have arrived" in reply.text and not reply.permanent
        assert not connection.is_usable()


@pytest.mark.parametrize("answer", [
    b"250 " + b"x" * 5000 + b"\r\n", b"250-" + b"x" * 60000 + b"\r\n250 y\r\n",
    b"250 " + b"x" * 200000 + b"\r\n", b"250-a\r\n" * 300,
    b"250-queued\r\n", b"250 queue", b"250", b"250-queued\r\nas 5\r\n", b"251 2.1.5 forwarded\r\n"])
def test_what_begins_with_2xx_after_the_final_dot_is_an_acceptance(answer):
    """Whatever follows it, sending again would make a duplicate."""
    def say(talk, line):
        talk.send(answer)
        talk.end()
    with Peer(smtp(ALL, {".": say})) as peer:
        connection = connect(peer)
        connection.open()
        assert [reply.delivered for reply in connection.send(queued(), people("b", "c"),
                                                             io.BytesIO(BODY))] == [True, True]


@pytest.mark.parametrize("answer",
                         [b"", b"25", b"2500 ok\r\n", b"450 later", b"554 no", b"x250 ok\r\n"])
def test_any_other_reply_is_not_an_acceptance(answer):
    def say(talk, line):
        talk.send(answer)
        talk.end()
    with Peer(smtp(ALL, {".": say})) as peer:
        connection = connect(peer)
        connection.open()
        reply, = connection.send(queued(), people("b"), io.BytesIO(BODY))
        assert not reply.delivered and not reply.permanent


def test_a_long_reply_leaves_the_connection_usable():
    with Peer(smtp(ALL, {".": "250 " + "x" * 9000})) as peer:
        connection = connect(peer)
        connection.open()
        for _ in range(2):
            assert briefly(connection.send(queued(), people("b"),
                                           io.BytesIO(BODY))) == ["250 2.0.0"]
            assert connection.is_usable()
        connection.close()


def test_a_body_that_cannot_be_read():
    class Broken(io.BytesIO):
        def read(self, *_):
            raise OSError("disk")
    with Peer(smtp(ALL)) as peer:
        connection = connect(peer)
        connection.open()
        assert briefly(connection.send(queued(), people("b"), Broken())) == ["451 4.3.0"]
    assert peer.messages == []


def test_a_server_that_stops_reading():
    done = threading.Event()

    def hang(talk, line):
        talk.say("354 go ahead")
        done.wait(5)
        return "250 2.0.0"
    with Peer(smtp(["PIPELINING"], {"DATA": hang})) as peer:
        assert send(peer, "a", body=(b"x" * 70 + b"\r\n") * 300000,
                    deadlines=SHORT) == ["451 4.4.2"]
        done.set()


def test_a_refusal_in_the_middle_of_the_message_counts():
    def refuse(talk, line):
        talk.say("354 go ahead")
        talk.file.read(100000)
        talk.say("552 5.3.4 that is too much")
        talk.close()
    with Peer(smtp(["PIPELINING"], {"DATA": refuse})) as peer:
        assert send(peer, "a", "b", body=(b"x" * 70 + b"\r\n") * 300000) == ["552 5.3.4"] * 2


@pytest.mark.parametrize("leave", [lambda talk: talk.close(), lambda talk: talk.reset()])
def test_a_server_that_closes_in_the_middle_of_the_message(leave):
    def close(talk, line):
        talk.say("354 go ahead")
        talk.file.read(100000)
        leave(talk)
    with Peer(smtp(["PIPELINING"], {"DATA": close, "RCPT TO:<b@": "550 5.1.1 nobody"})) as peer:
        assert send(peer, "a", "b", body=(b"x" * 70 + b"\r\n")
                    * 300000) == ["451 4.4.2", "550 5.1.1"]


ANSWERS = st.sampled_from(["250 ok", "250-a\n250 b", "354 go", "450 4.2.0 later",
                           "452 4.5.3 too many", "421 bye",
                           "550 5.1.1 no", "552 5.5.3 x", "x"])
OFFERS = st.one_of(st.binary(max_size=20),
                   st.sampled_from([b"SIZE \xb2", b"AUTH", b"AUTH=", b"SIZE=1", b"\xff", b"",
                                    b" x"]))


@given(st.booleans(), st.lists(ANSWERS, min_size=4, max_size=12))
@settings(max_examples=60)
def test_whatever_it_answers_everybody_has_a_reply(pipelining, answers):
    """The server's replies come in any order: each recipient has one reply, or all get Unreachable,
    and no recipient counts as delivered if the server has no message."""
    replies = iter(answers)

    def script(talk):
        talk.say("220 hi")
        talk.expect("EHLO")
        talk.say("250-hi", "250 PIPELINING" if pipelining else "250 HELP")
        for reply in replies:
            line = talk.line()
            if line == "QUIT":
                return
            talk.send(reply.replace("\n", "\r\n").encode("ascii") + b"\r\n")
            if line == "DATA" and reply.startswith("354"):
                message = talk.message()
                final = next(replies, "421 bye")
                talk.send(final.replace("\n", "\r\n").encode("ascii") + b"\r\n")
                if not final.startswith("250"):
                    talk.messages.remove(message)
    with Peer(script) as peer:
        said = fails(peer, "a", "b", "c", deadlines=SHORT)
    if isinstance(said, list):
        assert len(said) == 3
        assert not any(reply.startswith("2") for reply in said) or BODY in peer.messages


@given(st.lists(OFFERS, max_size=6))
@settings(max_examples=60)
def test_whatever_it_offers(lines):
    def script(talk):
        talk.say("220 hi")
        talk.expect("EHLO")
        talk.send(b"".join(b"250-" + line.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n"
                           for line in lines) + b"250 HELP\r\n")
        talk.wait()
    with Peer(script) as peer:
        connection = connect(peer)
        connection.open()
        assert connection.extensions.size is None or connection.extensions.size >= 0
        connection.abort()


def test_size_is_refused_before_it_is_sent():
    with Peer(smtp(["SIZE 100"])) as peer:
        assert send(peer, "a", "b", body=BODY * 10) == ["552 5.3.4"] * 2
        assert send(peer, "a") == ["250 2.0.0"]
    with Peer(smtp(["SIZE 0"])) as peer:
        assert send(peer, "a", body=BODY * 10) == ["250 2.0.0"]
    assert peer.messages == [BODY * 10]


class TestGreeting:
    def test_helo_where_ehlo_is_unknown(self):
        with Peer(smtp(answers={"EHLO": "502 5.5.1 unknown"})) as peer:
            assert send(peer, "a") == ["250 2.0.0"]
        assert [line.split()[0].upper() for line in peer.lines][:2] == ["EHLO", "HELO"]

    def test_helo_is_refused(self):
        with Peer(smtp(answers={"EHLO": "550 5.7.1 no", "HELO": "550 5.7.1 who are you?"})) as peer:
            assert refusal(peer)[:3] == (550, "5.7.1", "who are you?")
        assert peer.lines[-1] == "QUIT"

    @pytest.mark.parametrize("banner, code", [("554 5.7.1 go away", 554), ("450 later", 450),
                                              ("421 4.7.0 too many connections", 421)])
    def test_a_banner_that_refuses(self, banner, code):
        with Peer(smtp(banner=banner)) as peer:
            assert refusal(peer).code == code

    def test_nobody_listens(self):
        with Peer(smtp()) as peer:
            pass
        reply = refusal(peer)
        assert reply[:2] == (451, "4.4.1") and "refused" in reply.text and "127.0.0.1" in reply.text

    def test_ipv6(self):
        try:
            peer = Peer(smtp(), ip="::1")
        except OSError:
            pytest.skip("no IPv6 here")
        with peer:
            assert send(peer, "a") == ["250 2.0.0"]


class TestTls:
    def test_opportunistic(self, tls):
        with Peer(smtp(ALL, tls=tls.context())) as peer:
            assert send(peer, "a") == ["250 2.0.0"]
        assert peer.talks[0].secured and [line.split()[0].upper()
                                          for line in peer.lines[:3]] == [
            "EHLO", "STARTTLS", "EHLO"]

    def test_after_a_failed_handshake_mail_is_sent_without_tls(self):
        with Peer(smtp(answers={"STARTTLS": lambda talk, line: talk.reset()}, tls=True)) as peer:
            assert send(peer, "a") == ["250 2.0.0"]
        assert len(peer.talks) == 2 and "STARTTLS" not in peer.talks[1].lines

    @pytest.mark.parametrize("answer", ["454 4.7.0 not now", "502 5.5.1 not at all"])
    def test_after_a_refused_starttls_mail_is_sent_without_tls(self, answer):
        with Peer(smtp(answers={"STARTTLS": answer}, tls=True)) as peer:
            assert send(peer, "a") == ["250 2.0.0"]
            assert refusal(peer, Requirement(True, why="a policy"))[:2] == (451, "4.7.4")

    def test_required(self, tls):
        required = Requirement(True, why="somebody's policy")
        with Peer(smtp()) as peer:
            reply = refusal(peer, required)
            assert reply[:2] == (451, "4.7.4") and "somebody's policy" in reply.text
        with Peer(smtp(answers={"STARTTLS": lambda talk, line: talk.reset()}, tls=True)) as peer:
            assert refusal(peer, required).code == 451
            assert len(peer.talks) == 1
        with Peer(smtp(tls=tls.context())) as peer:
            connection = connect(peer, required)
            connection.open()
            connection.close()

    def test_data_before_the_handshake_is_an_attack(self, tls):
        with Peer(smtp(answers={"STARTTLS": "220 go\n250-evil"}, tls=tls.context())) as peer:
            assert refusal(peer, Requirement(True, why="x"))[:2] == (451, "4.7.5")

    def test_verified(self, tls, monkeypatch):
        with Peer(smtp(tls=tls.context())) as peer:
            assert refusal(peer, Requirement(True, True, "mail.example.org", (), "x"),
                           Unverified)[:2] == (451, "4.7.5")
            monkeypatch.setenv("SSL_CERT_FILE", tls.certificate_path)
            assert refusal(peer, Requirement(True, True, "other.example.org", (), "x"),
                           Unverified)[:2] == (451, "4.7.5")
            connection = connect(peer, Requirement(True, True, "mail.example.org", (), "x"))
            connection.open()
            connection.close()

    def test_dane(self, tls):
        from phenmail_protocols.net.tls import first_der
        with open(tls.certificate_path, "rb") as file:
            der = first_der(file.read())
        with Peer(smtp(tls=tls.context())) as peer:
            right = (3, 0, 1, hashlib.sha256(der).digest())
            connection = connect(peer, Requirement(True, False, "mail.example.org", (right,),
                                                   "DANE"))
            connection.open()
            connection.close()
            wrong = (3, 0, 1, hashlib.sha256(b"").digest())
            assert "DANE" in refusal(peer, Requirement(True, False, "mail.example.org", (wrong,),
                                                       "DANE"), Unverified).text

    def test_implicit(self, tls):
        with Peer(smtp(tls=tls.context(), implicit=True)) as peer:
            connection = connect(peer, implicit=True)
            connection.open()
            for _ in range(2):
                assert connection.is_usable()
                assert briefly(connection.send(queued(), people("a"),
                                               io.BytesIO(BODY))) == ["250 2.0.0"]
            connection.close()
        assert "STARTTLS" not in peer.lines
        with Peer(smtp()) as peer:
            assert refusal(peer, implicit=True).code == 451


LOGIN = ("j\u00f6rg", "g\u00e4heim \u20ac")


class TestLogin:
    @pytest.mark.parametrize("offered", ["AUTH PLAIN LOGIN", "AUTH LOGIN", "AUTH=LOGIN PLAIN"])
    def test_the_mechanism_is_one_that_is_offered(self, offered, tls):
        with Peer(smtp([offered], tls=tls.context(), login=LOGIN)) as peer:
            connection = connect(peer, Requirement(True, why="x"), login=LOGIN)
            connection.open()
            connection.close()
        assert peer.lines[3].startswith("AUTH PLAIN" if "PLAIN" in offered else "AUTH LOGIN")

    def test_cram_md5_comes_first(self):
        def challenge(talk, line):
            talk.say("334 " + base64.b64encode(b"<1@x>").decode())
            digest = hmac.new(LOGIN[1].encode("utf-8"), b"<1@x>", "md5").hexdigest()
            answer = base64.b64decode(talk.line()).decode("utf-8")
            return "235 ok" if answer == "%s %s" % (LOGIN[0], digest) else "535 5.7.8 no"
        with Peer(smtp(["AUTH PLAIN CRAM-MD5"], {"AUTH CRAM-MD5": challenge})) as peer:
            connection = connect(peer, login=LOGIN)
            connection.open()
            connection.close()
        assert not any("PLAIN" in line for line in peer.lines)

    def test_another_mechanism_where_one_is_refused(self):
        with Peer(smtp(["AUTH CRAM-MD5 PLAIN"], {"AUTH CRAM-MD5": "535 5.7.8 no secret here"},
                       login=LOGIN)) as peer:
            connection = connect(peer, login=LOGIN)
            connection.open()
            connection.close()

    @pytest.mark.parametrize("answer, error", [("535 5.7.8 wrong", UpstreamLoginFailed),
                                               ("454 4.7.0 not now", UpstreamLoginFailed),
                                               ("334 abc", Lost), ("334 PDE=", Lost)])
    def test_refused_is_never_permanent(self, answer, error):
        with Peer(smtp(["AUTH CRAM-MD5"], {"AUTH": answer, "asO2": "334 PDE="})) as peer:
            connection = connect(peer, login=LOGIN)
            with pytest.raises(Unreachable) as caught:
                connection.open()
            assert type(caught.value) is error
            assert not caught.value.reply.permanent and caught.value.reply.enhanced == "4.7.0"
            assert LOGIN[1] not in caught.value.reply.text

    def test_not_offered(self):
        with Peer(smtp(["AUTH GSSAPI"])) as peer:
            assert "GSSAPI" in refusal(peer, error=UpstreamLoginFailed, login=LOGIN).text
        with Peer(smtp()) as peer:
            connection = connect(peer, login=LOGIN, must_login=False)
            connection.open()
            connection.close()

    def test_no_password_in_the_clear_where_tls_is_required(self):
        with Peer(smtp(["AUTH PLAIN"], login=LOGIN)) as peer:
            assert refusal(peer, Requirement(True, why="x"), login=LOGIN)[:2] == (451, "4.7.4")
        assert not any(line.startswith("AUTH") for line in peer.lines)


class TestReuse:
    def test_a_server_that_closed_is_noticed(self):
        goodbye, closed = threading.Event(), threading.Event()

        def leave(talk):
            talk.say("220 hi")
            talk.expect("EHLO")
            talk.say("250 hi")
            goodbye.wait(5)
            talk.say("421 4.4.2 idle for too long")
            talk.close()
            closed.set()
        with Peer(leave) as peer:
            connection = connect(peer)
            connection.open()
            assert connection.is_usable()
            goodbye.set()
            assert closed.wait(5)
            assert not connection.is_usable()
            with pytest.raises(Unreachable):
                connection.send(queued(), people("a"), io.BytesIO(BODY))
            connection.close()

    def test_abort_ends_a_wait_at_once(self):
        reached = threading.Event()

        def hang(talk, line):
            reached.set()
        with Peer(smtp(ALL, {".": hang})) as peer:
            connection = connect(peer, deadlines=Deadlines())
            connection.open()
            threading.Thread(target=lambda: (reached.wait(5), connection.abort()),
                             daemon=True).start()
            started = time.monotonic()
            reply, = connection.send(queued(), people("a"), io.BytesIO(BODY))
            assert (time.monotonic() - started < 4 and reply.code == 451
                    and "shutting down" in reply.text)
            connection.close()


class Large(io.RawIOBase):
    """A file of 100 MB that needs no memory."""

    def __init__(self, size):
        self.size, self.at = size, 0

    def seek(self, at, whence=0):
        self.at = at
        return at

    def read(self, size=-1):
        size = min(size, self.size - self.at)
        self.at += size
        return (b"." + b"x" * 61 + b"\r\n") * (size // 64)


@pytest.mark.parametrize("secure", [False, True])
def test_100_megabytes_in_1(tls, secure):
    received = []

    def count(talk, line):
        talk.say("354 go ahead")
        total, buffer = 0, bytearray(1 << 16)
        tail = b""
        while not tail.endswith(b"\r\n.\r\n"):
            size = talk.sock.recv_into(buffer)
            total += size
            tail = (tail + bytes(buffer[max(0, size - 5):size]))[-5:]
        received.append(total)
        return "250 2.0.0 kept"

    def script(talk):  # without a file, whose buffer would take the beginning of the message
        with_tls = smtp(tls=tls.context(), implicit=True,
                        answers={"DATA": count}) if secure else smtp(answers={"DATA": count})
        with_tls(talk)
    size = 100 << 20
    with Peer(script) as peer:
        connection = connect(peer, implicit=secure, deadlines=Deadlines())
        connection.open()
        tracemalloc.start()
        try:
            replies = connection.send(queued()._replace(size=size), people("a"), Large(size))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            connection.abort()
    assert briefly(replies) == ["250 2.0.0"]
    assert received == [size + size // 64 + 3]
    assert peak < 1 << 20, "%d octets" % peak


def test_what_it_costs():
    """This bounds how fast the queue drains: a small message costs client and server together far
    less than a millisecond."""
    with Peer(smtp(ALL)) as peer:
        connection = connect(peer)
        connection.open()
        recipients, body = people("a"), io.BytesIO(BODY * 40)
        started = time.thread_time() if hasattr(time, "thread_time") else None
        for _ in range(300):
            assert connection.is_usable()
            connection.send(queued(BODY * 40), recipients, body)
        if started is not None:
            assert (time.thread_time() - started) / 300 < 0.001
        connection.close()
    assert len(peer.messages) == 300
