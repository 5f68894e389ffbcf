"""The POP3 dialogue and the login, against servers that do what they should and servers that do
not."""
import base64
import threading

import pytest

from phenmail_protocols.fetch import connecting
from phenmail_protocols.fetch.connecting import Wire
from phenmail_protocols.fetch.pop import client as pop_client
from phenmail_protocols.fetch.pop.client import PopClient, Refused
from phenmail_protocols.fetch.source import FetchError, LoginRefused, Throttled
from phenmail_protocols.net import tls
from tests.fetch.pop_server import CAPABILITIES, CLOSE, HANG, PopServer, stuffed

ODD = (b"", b"\r\n", b".\r\n", b"..\r\n.\r\n", b"a\r\n.b\r\n..c\r\n\r\n", b"x" * 300000 + b"\r\n",
       b"Subject: bare\r\n\r\nLF\nCR\rLFLF\n\n.\n.\n\r\n", b"nul \0 and \xff\r\n",
       b"Subject: s\r\n\r\n" + b"line\r\n" * 60000)


def connected(server, limit=1 << 20):
    """A PopClient that has read the greeting."""
    wire = Wire("localhost")
    wire.connect(server.port)
    client = PopClient(wire, limit)
    client.greeting()
    return client


def text_of(reply, size=0, limit=1 << 20):
    """What RETR gives if the server answers with these octets; in pieces where it is a list."""
    with PopServer(replies={b"RETR 1": reply}) as server:
        client = connected(server, limit)
        client.ask(b"RETR 1", text=True)
        pieces = list(client.pieces(size))
        assert all(0 < len(piece) <= 256 * 1024 for piece in pieces)
        assert client.ask(b"STAT") == b"0 0"  # nothing of the text is left
        return b"".join(pieces)


@pytest.mark.parametrize("message", ODD, ids=lambda message: repr(message[:12]))
@pytest.mark.parametrize("size", [0, 1, 1000000, None], ids=str)
def test_a_text_is_what_was_stuffed(message, size):
    if not message.endswith(b"\r\n"):
        message += b"\r\n" if message else b""
    assert text_of(b"+OK\r\n" + stuffed(message), len(message) if size is None else size) == message


def test_a_text_may_come_octet_by_octet():
    message = b"one\r\n.\r\n..two\r\r\n\r\n"
    assert text_of([bytes([octet]) for octet in b"+OK\r\n" + stuffed(message)]) == message


def test_only_crlf_dot_crlf_ends_a_text(monkeypatch):
    monkeypatch.setattr(connecting, "SILENCE", 0.2)
    for end in (b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n..\r\n", b"\r\n. \r\n"):
        with pytest.raises(FetchError, match="in time"):
            text_of([b"+OK\r\nline" + end, HANG])


@pytest.mark.parametrize("reply", [
    [b"+OK\r\nabc\r\n", CLOSE], [b"+OK\r\nabc\r\n.\r", CLOSE], [b"+OK\r\nabc\r\n.", CLOSE],
    [b"+OK\r", CLOSE], [b"+OK\r\n", CLOSE], [CLOSE]], ids=repr)
def test_a_connection_that_ends_early(reply):
    with pytest.raises(FetchError, match="closed|lost the connection"):
        text_of(reply)


def test_more_than_the_limit_is_refused():
    message = b"x" * 4000 + b"\r\n"
    assert text_of(b"+OK\r\n" + stuffed(message), limit=4002) == message
    with pytest.raises(FetchError, match="more than 4001 octets"):
        text_of(b"+OK\r\n" + stuffed(message), limit=4001)


def endless_text():
    yield b"+OK\r\n"
    while True:
        yield b"never a line end" * 4096


def test_a_text_without_end():
    with pytest.raises(FetchError, match="more than 1048576 octets"):
        text_of(endless_text())


def test_a_server_that_only_drips_is_too_slow(monkeypatch):
    monkeypatch.setattr(pop_client, "PATIENCE", 0.3)
    monkeypatch.setattr(pop_client, "SLOWEST", 1e6)
    pause = threading.Event()

    def drip():
        yield b"+OK\r\n"
        while True:
            pause.wait(0.01)
            yield b"x"
    with pytest.raises(FetchError, match="in time"):
        text_of(drip())


@pytest.mark.parametrize("reply, words", [
    (b"+OK\n", "CRLF"), (b"HTTP/1.1 400 Bad Request\r\n", "neither"), (b"\r\n", "neither"),
    (b"+OKAY\r\n", "neither"), (b"x" * 9000 + b"\r\n", "more than 8192 octets"),
    ([b"x" * 9000, HANG], "more than 8192 octets")], ids=lambda value: repr(value)[:20])
def test_a_line_that_is_no_reply(reply, words):
    with PopServer(replies={b"NOOP": reply}) as server:
        client = connected(server)
        with pytest.raises(FetchError, match=words):
            client.ask(b"NOOP")
        assert client.lost
    with PopServer(greeting=reply) as server, pytest.raises(FetchError, match=words):
        connected(server)


def test_what_a_refusal_says():
    with PopServer(replies={b"NOOP": b"-ERR [sys/Temp] come\x1b[2J \r\x00again\r\n",
                            b"RSET": b"-ERR\r\n", b"LAST": b"-ERR " + b"x" * 5000 + b"\r\n"}
                   ) as server:
        client = connected(server)
        with pytest.raises(Refused) as caught:
            client.ask(b"NOOP")
        assert (caught.value.code, caught.value.words) == ("SYS/TEMP", "come [2J   again")
        assert str(caught.value) == "localhost refused NOOP: [SYS/TEMP] come [2J   again"
        with pytest.raises(Refused, match="^localhost refused RSET: -ERR$"):
            client.ask(b"RSET")
        with pytest.raises(Refused) as caught:
            client.ask(b"LAST")
        assert len(str(caught.value)) < 300
        assert not client.lost
        assert client.ask(b"STAT") == b"0 0"


def test_replies_come_in_the_order_of_the_commands():
    messages = [b"%d\r\n" % number for number in range(1, 5)]
    with PopServer(messages, {b"RETR 2": b"-ERR gone\r\n"}) as server:
        client = connected(server)
        client.send(*[b"RETR %d" % number for number in range(1, 5)], text=True)
        client.reply()
        assert b"".join(client.pieces()) == b"1\r\n"
        with pytest.raises(Refused, match="gone"):
            client.reply()
        client.reply()
        assert client.ask(b"STAT") == b"4 12"  # the rest of 3, and 4, are dropped


def test_lists_are_bounded():
    with PopServer([b"x\r\n"] * 12) as server:
        client = connected(server)
        client.ask(b"LIST", text=True)
        assert len(list(client.lines(12))) == 12
        client.ask(b"LIST", text=True)
        with pytest.raises(FetchError, match="more than 11 lines"):
            list(client.lines(11))
        assert client.lost


# The login


def login(server, **account):
    with server.source(**account) as source:
        return source.list_boxes()


def sent(server):
    return [command for command in server.commands if command not in (b"CAPA", b"QUIT")]


def test_plain_where_the_server_has_it():
    with PopServer() as server:
        assert login(server, username="ali@ce") == ("",)
        assert sent(server) == [b"AUTH PLAIN", base64.b64encode(b"\0ali@ce\0sesame")]


@pytest.mark.parametrize("replies, capabilities", [
    ({b"CAPA": b"-ERR unknown\r\n"}, ()), ({}, (b"user", b"top")), ({}, (b"USER", b"SASL X")),
    ({}, ())])
def test_user_and_pass_elsewhere(replies, capabilities):
    with PopServer(replies=replies, capabilities=capabilities) as server:
        login(server)
        assert sent(server) == [b"USER alice", b"PASS sesame"]


def test_a_server_that_takes_no_passphrase_gets_none():
    with PopServer(capabilities=(b"TOP", b"SASL CRAM-MD5")) as server:
        with pytest.raises(FetchError, match="takes no passphrase.*CRAM-MD5"):
            login(server)
        assert sent(server) == []


@pytest.mark.parametrize("answer, kind", [
    (b"-ERR [AUTH] wrong\r\n", LoginRefused), (b"-ERR [IN-USE] locked\r\n", FetchError),
    (b"-ERR [SYS/PERM] broken\r\n", FetchError), (b"-ERR [SYS/TEMP] later\r\n", Throttled),
    (b"-ERR [LOGIN-DELAY] too soon\r\n", Throttled), (b"-ERR disk full\r\n", FetchError)])
@pytest.mark.parametrize("command", [b"PASS", b"USER"])
def test_what_a_refused_login_means(answer, kind, command):
    offered = (b"USER", b"AUTH-RESP-CODE", b"LOGIN-DELAY 120 USER")
    with PopServer(replies={command: answer}, capabilities=offered) as server:
        with pytest.raises(FetchError) as caught:
            login(server)
        assert type(caught.value) is kind
        assert answer[5:-2].decode() in str(caught.value)
        if b"DELAY" in answer:
            assert caught.value.seconds == 120


def test_a_refusal_without_codes_is_about_the_passphrase():
    with PopServer(replies={b"PASS": b"-ERR no\r\n"}, capabilities=(b"USER",)) as server:
        with pytest.raises(LoginRefused):
            login(server)


@pytest.mark.parametrize("greeting", [b"-ERR [LOGIN-DELAY] wait\r\n", b"-ERR [SYS/TEMP] wait\r\n"])
def test_a_greeting_that_asks_to_wait(greeting):
    with PopServer(greeting=greeting) as server, pytest.raises(Throttled, match="wait"):
        login(server)


def test_a_greeting_that_refuses():
    with PopServer(greeting=b"-ERR go away\r\n") as server:
        with pytest.raises(FetchError, match="go away") as caught:
            login(server)
        assert not isinstance(caught.value, LoginRefused)


@pytest.mark.parametrize("capabilities", [(b"USER",), CAPABILITIES])
@pytest.mark.parametrize("echo", [b"-ERR %s is wrong\r\n", b"%s\r\n", b"-ERR [%s] no\r\n"])
def test_no_text_repeats_the_passphrase(capabilities, echo):
    plain = base64.b64encode(b"\0alice\0sesame")

    def auth(session, command):
        yield b"+ \r\n"
        yield echo % session.line()
    with PopServer(capabilities=capabilities, replies={
            b"PASS": echo % b"sesame", b"AUTH": auth}) as server:
        with pytest.raises(FetchError) as caught:
            login(server)
        assert "sesame" not in str(caught.value).lower()
        assert plain.decode().lower() not in str(caught.value).lower()


@pytest.mark.parametrize("username", ["", "a\rb", "a\nQUIT", "a\0b"])
def test_control_characters_are_not_sent(username):
    with PopServer() as server:
        with pytest.raises(LoginRefused, match="username"):
            login(server, username=username)
        assert sent(server) == []


def oauth_server(answers, *mechanisms):
    """A server that answers the lines of AUTH with `answers`."""
    lines = []

    def auth(session, command):
        yield b"+ \r\n"
        for answer in answers:
            lines.append(session.line())
            yield answer
    server = PopServer(capabilities=(b"USER", b"SASL " + b" ".join(mechanisms)),
                       replies={b"AUTH": auth})
    return server, lines


def test_oauthbearer():
    server, lines = oauth_server([b"+OK\r\n"], b"XOAUTH2", b"OAUTHBEARER")
    with server:
        login(server, token=lambda: "to.ken", username="a=b,c@x")
        assert sent(server)[0] == b"AUTH OAUTHBEARER"
        assert base64.b64decode(lines[0]) == (
            b"n,a=a=3Db=2Cc@x,\x01host=localhost\x01port=%d\x01auth=Bearer to.ken\x01\x01"
            % server.port)


def test_xoauth2_with_a_long_token():
    server, lines = oauth_server([b"+OK\r\n"], b"PLAIN", b"XOAUTH2")
    with server:
        login(server, token=lambda: "t" * 4000)
        assert base64.b64decode(lines[0]) == (
            b"user=alice\x01auth=Bearer " + b"t" * 4000 + b"\x01\x01")


@pytest.mark.parametrize("mechanism, last", [(b"OAUTHBEARER", b"AQ=="), (b"XOAUTH2", b"")])
def test_a_refused_token(mechanism, last):
    server, lines = oauth_server([b"+ eyJzdGF0dXMiOiI0MDEifQ==\r\n", b"-ERR [AUTH] expired\r\n"],
                                 mechanism)
    with server:
        with pytest.raises(LoginRefused, match="expired"):
            login(server, token=lambda: "old")
        assert lines[1] == last


@pytest.mark.parametrize("answers", [[b"+ \r\n", b"+OK\r\n"], [b"+ \r\n", b"+ \r\n"]])
def test_a_server_that_cannot_decide_about_a_token(answers):
    server, _ = oauth_server(answers, b"XOAUTH2")
    with server, pytest.raises(FetchError, match="token"):
        login(server, token=lambda: "old")


def test_auth_that_succeeds_without_a_passphrase():
    with PopServer(replies={b"AUTH": b"+OK\r\n"}) as server:
        with pytest.raises(FetchError, match="without the passphrase"):
            login(server)


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("tls"))
    paths = folder + "/certificate.pem", folder + "/key.pem"
    tls.ensure_self_signed(paths[0], paths[1], ["localhost"])
    return paths


@pytest.fixture
def context(certificate):
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@pytest.fixture
def fingerprint(certificate):
    import hashlib
    import ssl
    with open(certificate[0]) as file:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest()


@pytest.mark.parametrize("implicit", [True, False])
def test_the_passphrase_goes_over_tls(context, fingerprint, implicit):
    with PopServer([b"hello\r\n"], context=context, implicit=implicit) as server:
        with server.source(protocol="pops" if implicit else "pop", starttls=not implicit,
                           fingerprint=fingerprint) as source:
            source.open("")
            assert [b"".join(source.read(each)) for each in source.new(0, lambda key: False)] == [
                b"hello\r\n"]
        if not implicit:
            assert server.commands[0] == b"STLS"


@pytest.mark.parametrize("implicit", [True, False])
def test_a_certificate_that_nobody_trusts(context, implicit):
    with PopServer(context=context, implicit=implicit) as server:
        with pytest.raises(FetchError, match="certificate"):
            login(server, protocol="pops" if implicit else "pop", starttls=not implicit)
        assert b"AUTH PLAIN" not in server.commands


def test_a_server_without_stls_gets_no_passphrase():
    with PopServer() as server:
        with pytest.raises(FetchError, match="TLS"):
            login(server, starttls=True)
        assert server.commands == [b"STLS"]


def test_what_came_before_tls_does_not_count():
    with PopServer(replies={b"STLS": b"+OK\r\n+OK injected\r\n"}) as server:
        with pytest.raises(FetchError, match="before the TLS handshake"):
            login(server, starttls=True)
