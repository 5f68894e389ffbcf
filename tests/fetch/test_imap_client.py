"""Connecting, TLS, logging in; and servers that send nonsense, too much, or nothing."""
import base64
import random
import socket
import threading
import time

import pytest

from phenmail_protocols.fetch import connecting
from phenmail_protocols.fetch.imap.client import Bounds, Dropped, ImapClient
from phenmail_protocols.fetch.imap.source import ImapSource
from phenmail_protocols.fetch.opening import open_source
from phenmail_protocols.fetch.source import FetchError, LoginRefused, RemoteMessage, Throttled
from tests.fetch.conftest import PASSPHRASE
from tests.fetch.imap_server import CAPABILITIES, Close, Hang, Message, Session

LIMIT = 50 << 20


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(connecting, "SILENCE", 2.0)
    monkeypatch.setattr(connecting, "HANDSHAKE", 2.0)


def never(key):
    return False


def everything(account, token=None):
    """All that a fetcher does, once."""
    source = open_source(account, PASSPHRASE, LIMIT, token)
    try:
        source.list_boxes()
        box = source.open("Inbox")
        messages = list(source.new(0, never))
        for _, pieces in source.read_all(messages):
            list(pieces)
        if messages:
            list(source.read(messages[0]))
        list(source.changed_flags(box.modseq - 1))
        source.remove(messages)
        source.wait(0, None)
    finally:
        source.close()
    return messages


def test_everything_works(imap_server, imap_account):
    server = imap_server([Message(1, b"a"), Message(2, b"b")])
    assert len(everything(imap_account(server))) == 2
    assert server.messages == []


# What a hostile server sends

def endless(session, tag, _):
    while True:
        session.send(b"* OK " + b"x" * 65536)


def many_lines(session, tag, _):
    while True:
        session.send(b"* 1 FETCH (UID 1)\r\n* X y\r\n* OK z\r\n" * 1000)


def huge_literal(session, tag, _):
    session.send(b"* 1 FETCH (UID 1 BODY[]<0> {4294967296}\r\n" + b"x" * 100)
    raise Hang


def many_literals(session, tag, _):
    while True:
        session.send(b"* 1 FETCH (UID 1 BODY[]<0> {60000}\r\n" + b"x" * 60000 + b")\r\n")


def nonsense(session, tag, _):
    session.send(b"\x00\xff\xfe what?\r\n" * 3)
    raise Hang


def nul(session, tag, _):
    session.send(b"* \0 \0\r\n" + tag + b" \0\r\n")
    raise Hang


def wrong_tag(session, tag, _):
    session.send(b"other OK done\r\n")
    raise Hang


def wrong_kind(session, tag, _):
    session.send(tag + b" MAYBE done\r\n")
    raise Hang


def bye(session, tag, _):
    session.send(b"* BYE shutting down\r\n")
    raise Close


def close(session, tag, _):
    raise Close


def half_a_line(session, tag, _):
    session.send(b"* 1 FETCH (UID 1 BODY[]<0> {5}\r\nab")
    raise Close


def hang(session, tag, _):
    raise Hang


def bare_lf(session, tag, _):
    session.send(b"* OK done\n")
    raise Hang


def refuse(session, tag, _):
    session.send(tag + b" BAD what?\r\n")


HOSTILE = (endless, many_lines, huge_literal, many_literals, nonsense, nul, wrong_tag, wrong_kind,
           bye, close, half_a_line, hang, bare_lf, refuse)
STEPS = (b"GREETING", b"CAPABILITY", b"AUTHENTICATE", b"NAMESPACE", b"LIST", b"SELECT", b"FETCH",
         b"SEARCH", b"STORE", b"EXPUNGE", b"IDLE")


@pytest.mark.parametrize("answer", HOSTILE, ids=lambda function: function.__name__)
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.decode())
def test_every_bad_answer_is_a_sentence(imap_server, imap_account, monkeypatch, step, answer):
    monkeypatch.setattr(connecting, "SILENCE", 0.3)
    server = imap_server([Message(1, b"a"), Message(2, b"b")])
    server.answers[step] = answer
    begun = time.monotonic()
    account = imap_account(server, remove=True)
    if (step, answer) == (b"IDLE", refuse):
        with pytest.raises(NotImplementedError):
            everything(account)
    else:
        with pytest.raises(FetchError, match="localhost") as caught:
            everything(account)
        text = str(caught.value)
        assert text.isprintable() and len(text) < 400 and PASSPHRASE not in text
        if answer is bye:
            assert "shutting down" in text
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("answer", HOSTILE, ids=lambda function: function.__name__)
def test_nothing_hinders_the_close(imap_server, imap_account, monkeypatch, answer):
    from phenmail_protocols.fetch.imap import client as imap_client
    monkeypatch.setattr(imap_client, "LOGOUT", 0.3)
    server = imap_server()
    server.answers[b"LOGOUT"] = answer
    begun = time.monotonic()
    ImapSource(imap_account(server), PASSPHRASE, LIMIT).close()
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("line", [
    b"* 1 FETCH", b"* 1 FETCH (", b"* 1 FETCH ()", b"* 1 FETCH (UID", b"* 1 FETCH (UID x FLAGS ())",
    b"* 1 FETCH (UID -1 FLAGS ())", b"* 1 FETCH (UID 99999999999999999999 FLAGS ())",
    b"* 1 FETCH (UID () FLAGS ())", b"* 1 FETCH (UID 1 RFC822.SIZE -4 INTERNALDATE \"\")",
    b"* 1 FETCH (UID 1 FLAGS x INTERNALDATE x)", b"* 1 FETCH (UID 1 INTERNALDATE \"x\" FLAGS (((",
    b"* 1 FETCH (UID 1 INTERNALDATE {3}\r\nabc RFC822.SIZE (((()))) FLAGS ())",
    b"* 1 FETCH " + b"(" * 60000, b"* 1 FETCH " + b'"' * 60000,
    b"* 1 FETCH (" + b'"\\' * 30000, b"* 1 FETCH (UID 1 " + b'\\"' * 30000, b"* 1 FETCH {" + b"1" * 60000,
    b"* 1 FETCH (UID 1 INTERNALDATE \"" + b"\\" * 60000, b"* X", b"* ", b"*",
    b"* 99999999999999999999 EXISTS", b"* 0 EXPUNGE", b"* -1 EXISTS", b"* 1 FETCH \xff(UID\xff)"])
def test_bad_data_gives_an_error_or_nothing(imap_server, imap_account, line):
    server = imap_server([Message(1, b"a")])
    source = ImapSource(imap_account(server), PASSPHRASE, LIMIT)
    source.open("Inbox")

    def fetch(session, tag, _):
        session.send(line + b"\r\n")
        session.tagged(tag)
    server.answers[b"FETCH"] = fetch
    begun = time.monotonic()
    try:
        found = list(source.new(0, never))
    except FetchError as error:
        assert str(error).startswith("localhost ")
    else:
        assert found == [] or found == [RemoteMessage("1", 0)], found
    assert time.monotonic() - begun < 2
    source.close()


_PIECES = (b"(", b")", b"{5}\r\n", b"{99999999999}\r\n", b'"', b"\\", b"\r\n", b"\n", b"* ", b"NIL",
           b"FETCH", b"UID", b"\0", b"\xff", b" ", b"+ ", b"BYE", b"BAD", b"NO", b"[THROTTLED]",
           b"-1", b"4294967296", b"<0>", b"BODY[]", b"EXISTS", b"EXPUNGE", b"SEARCH", b"{0}\r\n")


def _mutated(chance, data):
    """`data` with one to three octets or words changed, added or removed."""
    data = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(data) + 1)
        end = place + chance.choice((0, 0, 1, 4))
        data[place:end] = chance.choice(_PIECES + (b"", bytes([chance.randrange(256)])))
    return bytes(data)


@pytest.mark.parametrize("seed", range(6))
def test_mutated_answers_give_only_fetch_errors(imap_server, imap_account, monkeypatch, seed):
    monkeypatch.setattr(connecting, "SILENCE", 0.05)
    chance, send, unharmed = random.Random(seed), Session.send, [0]

    def mutate(session, data):
        unharmed[0] -= 1
        send(session, data if unharmed[0] > 0 or chance.random() > 0.3 else _mutated(chance, data))
    monkeypatch.setattr(Session, "send", mutate)
    for _ in range(20):
        unharmed[0] = chance.randint(0, 45)
        server = imap_server([Message(uid, b"x" * 40 * uid) for uid in (1, 2, 5, 9)])
        try:
            everything(imap_account(server, remove=True))
        except FetchError as error:
            assert str(error).isprintable() and len(str(error)) < 600
        except NotImplementedError:
            pass


def test_memory_is_bounded_while_a_server_floods(imap_server, imap_account):
    import tracemalloc
    for answer in (endless, many_lines, many_literals, huge_literal):
        server = imap_server([Message(1, b"a")])
        source = ImapSource(imap_account(server), PASSPHRASE, LIMIT)
        source.open("Inbox")
        server.answers[b"FETCH"] = answer
        tracemalloc.start()
        try:
            with pytest.raises(FetchError):
                list(source.new(0, never))
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()
        source.close()


def test_a_literal_that_is_too_much_is_dropped_not_kept(imap_server, imap_account):
    wire = connecting.connect(imap_account(imap_server()), None)
    client = ImapClient(wire)
    client.imap.bound(Bounds(kept=3, dropped=5))
    wire.unread(b"abcdefghijk")
    assert client.imap.read(2) == b"ab"
    assert isinstance(client.imap.read(5), Dropped)
    assert client.imap.read(1) == b"h"
    with pytest.raises(FetchError, match="sent more than was asked for"):
        client.imap.read(2)
    client.close()


def test_a_command_has_a_deadline_even_if_octets_trickle(imap_server, imap_account, monkeypatch):
    server = imap_server([Message(1, b"a")])
    wire = connecting.connect(imap_account(server), None)
    client = ImapClient(wire)

    def noop(session, tag, _):
        while True:
            session.send(b"* OK still here\r\n")
            if session.server.stopped.wait(0.05):
                raise Close
    server.stopped = threading.Event()
    server.answers[b"NOOP"] = noop
    begun = time.monotonic()
    with pytest.raises(FetchError, match="sent nothing in time"):
        client.run("noop", bounds=Bounds(seconds=0.5))
    assert 0.4 < time.monotonic() - begun < 2
    server.stopped.set()
    client.close()


# Connecting

def test_unknown_host_and_refused_port(imap_server, imap_account):
    server = imap_server()
    with pytest.raises(FetchError, match="unknown host nowhere.invalid"):
        open_source(imap_account(server, server="nowhere.invalid"), "", LIMIT)
    with pytest.raises(FetchError, match="unknown host"):
        open_source(imap_account(server, server="a" * 300), "", LIMIT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(FetchError, match="localhost refuses connections on port %d" % port):
            open_source(imap_account(server, port=port), "", LIMIT)


def test_abort_while_connecting(imap_server, imap_account):
    server = imap_server()
    wires = []
    server.answers[b"GREETING"] = lambda session, tag, _: wires[0].abort()
    with pytest.raises(FetchError, match="stopped"):
        open_source(imap_account(server), PASSPHRASE, LIMIT, began=wires.append)


@pytest.mark.parametrize("protocol", ["imaps", "imap"])
def test_an_untrusted_certificate_names_its_fingerprint(imap_server, imap_account, wrap,
                                                        fingerprint, protocol):
    server = imap_server([Message(1, b"a")], CAPABILITIES + b" STARTTLS", wrap=wrap)
    server.implicit = protocol == "imaps"
    account = imap_account(server, protocol=protocol, starttls=protocol == "imap")
    with pytest.raises(FetchError) as caught:
        everything(account)
    assert "the certificate of localhost is not trusted: " in str(caught.value)
    assert '"fingerprint": "%s"' % fingerprint in str(caught.value)
    for written in (fingerprint, fingerprint.replace(":", "").lower()):
        assert len(everything(account._replace(fingerprint=written))) <= 1
    with pytest.raises(FetchError, match="its SHA-256 fingerprint is " + fingerprint):
        everything(account._replace(fingerprint="00" * 32))
    assert not [name for name, _ in server.commands if name == b"LOGIN"]


def test_a_hanging_handshake_ends(imap_server, imap_account, monkeypatch):
    monkeypatch.setattr(connecting, "HANDSHAKE", 0.3)
    server = imap_server()
    server.answers[b"GREETING"] = hang
    with pytest.raises(FetchError, match="TLS with localhost failed"):
        open_source(imap_account(server, protocol="imaps"), "", LIMIT)


def test_starttls_drops_what_came_before_it(imap_server, imap_account, wrap):
    server = imap_server(capabilities=CAPABILITIES + b" STARTTLS", wrap=wrap)
    server.answers[b"STARTTLS"] = lambda session, tag, _: session.send(
        tag + b" OK go\r\n* PREAUTH injected\r\n")
    with pytest.raises(FetchError, match="sent data before the TLS handshake"):
        open_source(imap_account(server, starttls=True), PASSPHRASE, LIMIT)


@pytest.mark.parametrize("greeting, text", [
    (b"* PREAUTH in\r\n", "offers no TLS"), (b"* BYE full\r\n", "refused the connection: full"),
    (b"* OK\r\n", "offers no TLS")])
def test_starttls_that_is_not_offered(imap_server, imap_account, greeting, text):
    server = imap_server()
    server.answers[b"GREETING"] = lambda session, tag, _: session.send(greeting)
    with pytest.raises(FetchError, match=text):
        open_source(imap_account(server, starttls=True), PASSPHRASE, LIMIT)
    assert b"AUTHENTICATE" not in server.names()


def test_no_passphrase_in_clear_off_the_loopback(imap_server, imap_account, monkeypatch, wrap,
                                                 fingerprint):
    monkeypatch.setattr(connecting, "is_loopback", lambda host: False)
    server = imap_server()
    with pytest.raises(FetchError, match="offers no TLS on port %d, so the passphrase would be sent"
                       " in clear: use protocol imaps" % server.port):
        open_source(imap_account(server), PASSPHRASE, LIMIT)
    assert b"AUTHENTICATE" not in server.names()
    better = imap_server([Message(1, b"a")], CAPABILITIES + b" STARTTLS", wrap=wrap)
    everything(imap_account(better, fingerprint=fingerprint))
    assert better.names()[:2] == [b"CAPABILITY", b"STARTTLS"]


# Logging in

def opened(server, account, token=None):
    ImapSource(account, PASSPHRASE, LIMIT, token).close()
    return [(name, arguments) for name, arguments in server.commands
            if name in (b"AUTHENTICATE", b"LOGIN")]


PLAIN = base64.b64encode(b"\0joe\0" + PASSPHRASE.encode())


def test_login_with_plain_and_initial_response(imap_server, imap_account):
    server = imap_server()
    assert opened(server, imap_account(server)) == [(b"AUTHENTICATE", b"PLAIN " + PLAIN)]


def test_login_with_plain_in_two_steps(imap_server, imap_account):
    server = imap_server(capabilities=b"IMAP4rev1 AUTH=PLAIN")
    lines = []

    def authenticate(session, tag, _):
        session.send(b"+ \r\n")
        lines.append(session.file.readline())
        session.tagged(tag)
    server.answers[b"AUTHENTICATE"] = authenticate
    assert opened(server, imap_account(server)) == [(b"AUTHENTICATE", b"PLAIN")]
    assert lines == [PLAIN + b"\r\n"]


def test_login_command(imap_server, imap_account):
    server = imap_server(capabilities=b"IMAP4rev1")
    assert opened(server, imap_account(server)) == [(b"LOGIN", b'"joe" "ses\\"ame\\\\"')]


def test_no_login_when_it_is_disabled(imap_server, imap_account):
    server = imap_server(capabilities=b"IMAP4rev1 LOGINDISABLED")
    with pytest.raises(LoginRefused, match='without TLS: write "starttls": true'):
        opened(server, imap_account(server))
    assert b"LOGIN" not in server.names()


@pytest.mark.parametrize("name", ["joe\r\nz DELETE INBOX", "joe\0admin"])
def test_no_injection_by_the_name(imap_server, imap_account, name):
    for capabilities in (b"IMAP4rev1", CAPABILITIES):
        server = imap_server(capabilities=capabilities)
        with pytest.raises(LoginRefused, match="has a line end or NUL"):
            opened(server, imap_account(server, username=name))


@pytest.mark.parametrize("capabilities", [b"IMAP4rev1", CAPABILITIES])
def test_wrong_passphrase(imap_server, imap_account, capabilities):
    server = imap_server(capabilities=capabilities)
    server.answers[b"LOGIN"] = server.answers[b"AUTHENTICATE"] = lambda session, tag, _: \
        session.tagged(tag, b"NO [AUTHENTICATIONFAILED] no such passphrase")
    with pytest.raises(LoginRefused) as caught:
        opened(server, imap_account(server))
    assert str(caught.value) == ("localhost refused the login of joe: [AUTHENTICATIONFAILED] no "
                                 "such passphrase")


@pytest.mark.parametrize("token", [None, "t0k3n"])
@pytest.mark.parametrize("capabilities", [b"IMAP4rev1", b"IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2"])
@pytest.mark.parametrize("form", [b"%s NO %s", b"%s BAD %s", b"* BYE %.0s%s", b"nonsense %.0s%s"])
def test_a_server_that_repeats_the_secret(imap_server, imap_account, capabilities, form, token):
    if token and b"XOAUTH2" not in capabilities:
        return
    server = imap_server(capabilities=capabilities)

    def repeat(session, tag, arguments):
        if arguments in (b"PLAIN", b"XOAUTH2"):
            session.send(b"+ \r\n")
            arguments = session.file.readline().strip()
        session.send(form % (tag, b"wrong: " + arguments) + b"\r\n")
    server.answers[b"LOGIN"] = server.answers[b"AUTHENTICATE"] = repeat
    with pytest.raises(FetchError, match="its words repeat a secret") as caught:
        opened(server, imap_account(server), token and (lambda: token))
    for secret in ("ame", "t0k3n", PLAIN.decode()[5:]):
        assert secret not in str(caught.value)


def test_a_login_that_is_throttled_is_not_a_wrong_passphrase(imap_server, imap_account):
    server = imap_server()
    server.answers[b"AUTHENTICATE"] = lambda session, tag, _: session.tagged(
        tag, b"NO [UNAVAILABLE] come back later")
    with pytest.raises(Throttled):
        opened(server, imap_account(server))


def test_preauth_needs_no_login(imap_server, imap_account):
    server = imap_server()
    server.answers[b"GREETING"] = lambda session, tag, _: session.send(b"* PREAUTH hello\r\n")
    assert opened(server, imap_account(server)) == []


@pytest.mark.parametrize("offered, mechanism, response", [
    (b"AUTH=XOAUTH2", b"XOAUTH2", "user=joe\1auth=Bearer t0k3n\1\1"),
    (b"AUTH=XOAUTH2 AUTH=OAUTHBEARER", b"OAUTHBEARER",
     "n,a=joe,\1host=localhost\1port=%d\1auth=Bearer t0k3n\1\1")])
def test_login_with_a_token(imap_server, imap_account, offered, mechanism, response):
    server = imap_server(capabilities=b"IMAP4rev1 SASL-IR " + offered)
    if "%d" in response:
        response = response % server.port
    [(_, arguments)] = opened(server, imap_account(server), lambda: "t0k3n")
    assert arguments == mechanism + b" " + base64.b64encode(response.encode())


@pytest.mark.parametrize("mechanism, answer", [(b"XOAUTH2", b"\r\n"), (b"OAUTHBEARER", b"AQ==\r\n")])
@pytest.mark.parametrize("initial", [b" SASL-IR", b""])
def test_a_refused_token_gives_the_servers_words(imap_server, imap_account, mechanism, answer,
                                                 initial):
    server = imap_server(capabilities=b"IMAP4rev1 AUTH=" + mechanism + initial)
    lines = []

    def authenticate(session, tag, _):
        if not initial:
            session.send(b"+ \r\n")
            session.file.readline()
        session.send(b"+ " + base64.b64encode(b'{"status":"401","scope":"mail"}') + b"\r\n")
        lines.append(session.file.readline())
        session.tagged(tag, b"NO SASL authentication failed")
    server.answers[b"AUTHENTICATE"] = authenticate
    with pytest.raises(LoginRefused) as caught:
        opened(server, imap_account(server), lambda: "t0k3n")
    assert lines == [answer]
    assert '"status":"401"' in str(caught.value) and "authentication failed" in str(caught.value)


def test_no_mechanism_for_a_token(imap_server, imap_account):
    server = imap_server()
    with pytest.raises(LoginRefused, match="offers no login with OAuth2"):
        opened(server, imap_account(server), lambda: "t0k3n")


def test_a_server_that_challenges_for_ever(imap_server, imap_account):
    server = imap_server()

    def authenticate(session, tag, _):
        while True:
            session.send(b"+ \r\n")
            if not session.file.readline():
                raise Close
    server.answers[b"AUTHENTICATE"] = authenticate
    with pytest.raises(FetchError):
        opened(server, imap_account(server))


def test_id_is_sent_after_login_and_may_be_refused(imap_server, imap_account):
    server = imap_server()
    server.answers[b"ID"] = refuse
    opened(server, imap_account(server))
    names = server.names()
    assert names.index(b"ID") > names.index(b"AUTHENTICATE")
