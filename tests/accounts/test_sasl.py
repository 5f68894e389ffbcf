"""SASL: the RFCs' own dialogues, whole logins with every mechanism, and bytes of any kind."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given, settings, strategies

from phenmail_protocols.accounts import sasl, sasl_cram_md5
from phenmail_protocols.accounts.login import Account, LoginFailed
from phenmail_protocols.accounts.passphrases import SALT_BYTES, derive_scram, sha256
from phenmail_protocols.accounts.sasl_scram import parse_final, parse_first
from phenmail_protocols.mail.address import Address

from .house import ELSEWHERE, PASSPHRASE, House

ALICE = Account("alice@example.com", "/alice/mail", frozenset([Address("alice", "example.com")]),
                "alice")
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")


class Fake:
    """One user, `name` with `passphrase`; remembers what was asked."""

    def __init__(self, name="alice", passphrase="secret"):
        self.name, self.passphrase, self.asked = name, passphrase, []

    def plain(self, name, passphrase):
        self.asked.append((name, passphrase))
        return self.settle(name, passphrase == self.passphrase, "")

    def scram(self, name):
        return derive_scram(self.passphrase, SALT, 4096)

    def shared(self, name):
        return self.passphrase.encode("utf-8")

    def settle(self, name, right, secret):
        if name == "busy":
            raise LoginFailed("later", temporary=True)
        if not right or name != self.name:
            raise LoginFailed("wrong")
        return ALICE

    def is_same(self, account, name):
        return name in (self.name, account.name)


def ends(mechanism, *responses, **keywords):
    """The last answer to a client's responses, None for no initial one."""
    dialogue = sasl.start(mechanism, keywords.pop("credentials", None) or Fake(), **keywords)
    for response in responses:
        answer = dialogue.step(response)
    return answer


# PLAIN

@pytest.mark.parametrize("response", [
    b"\0alice\0secret", b"alice\0alice\0secret", b"alice@example.com\0alice\0secret"])
def test_plain(response):
    assert ends("PLAIN", response) == sasl.Success(ALICE)
    assert ends("plain", None, response) == sasl.Success(ALICE)


@pytest.mark.parametrize("response, kind", [
    (b"\0alice\0wrong", sasl.REFUSED), (b"\0bob\0secret", sasl.REFUSED),
    (b"bob\0alice\0secret", sasl.REFUSED), (b"\0busy\0x", sasl.TEMPORARY),
    (b"", sasl.SYNTAX), (b"\0", sasl.SYNTAX), (b"\0\0", sasl.SYNTAX), (b"\0alice\0", sasl.SYNTAX),
    (b"\0\0secret", sasl.SYNTAX), (b"alice\0secret", sasl.SYNTAX),
    (b"\0alice\0secret\0", sasl.SYNTAX), (b"\0alice\0secret\0more", sasl.SYNTAX),
    (b"\0\xff\0secret", sasl.SYNTAX), (b"\0alice\0" + b"x" * 5000, sasl.SYNTAX)])
def test_plain_refused(response, kind):
    answer = ends("PLAIN", response)
    assert isinstance(answer, sasl.Failure) and answer.kind == kind


def test_plain_keeps_a_passphrase_that_is_no_utf8():
    credentials = Fake(passphrase=b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert ends("PLAIN", b"\0alice\0caf\xe9", credentials=credentials) == sasl.Success(ALICE)


def test_plain_is_asked_for_with_an_empty_challenge():
    assert ends("PLAIN", None) == sasl.Challenge(b"")


# LOGIN

def test_login():
    dialogue = sasl.start("LOGIN", Fake())
    assert dialogue.step(None) == sasl.Challenge(b"Username:")
    assert dialogue.step(b"alice") == sasl.Challenge(b"Password:")
    assert dialogue.step(b"secret") == sasl.Success(ALICE)
    assert ends("LOGIN", b"alice", b"secret") == sasl.Success(ALICE)


@pytest.mark.parametrize("responses, kind", [
    ([None, b""], sasl.SYNTAX), ([b""], sasl.SYNTAX), ([None, b"alice", b""], sasl.SYNTAX),
    ([None, b"al\0ice"], sasl.SYNTAX), ([None, b"\xff"], sasl.SYNTAX),
    ([None, b"alice", b"wrong"], sasl.REFUSED), ([None, b"busy", b"x"], sasl.TEMPORARY),
    ([None, b"alice", None], sasl.SYNTAX)])
def test_login_refused(responses, kind):
    answer = ends("LOGIN", *responses)
    assert isinstance(answer, sasl.Failure) and answer.kind == kind


# CRAM-MD5 and APOP

def test_cram_md5_of_rfc_2195(monkeypatch):
    stamp = b"<1896.697170952@postoffice.reston.mci.net>"
    monkeypatch.setattr(sasl_cram_md5, "timestamp", lambda host, nonce: stamp)
    credentials = Fake("tim", "tanstaaftanstaaf")
    dialogue = sasl.start("CRAM-MD5", credentials)
    assert dialogue.step(None) == sasl.Challenge(stamp)
    assert dialogue.step(b"tim b913a602c7eda7a495b4e6e7334d3890") == sasl.Success(ALICE)


@pytest.mark.parametrize("responses, kind", [
    ([b"alice x"], sasl.SYNTAX), ([None, b""], sasl.SYNTAX), ([None, None], sasl.SYNTAX),
    ([None, b"alice"], sasl.SYNTAX), ([None, b" x"], sasl.SYNTAX), ([None, b"al\0 x"], sasl.SYNTAX),
    ([None, b"alice "], sasl.REFUSED), ([None, b"alice " + b"0" * 32], sasl.REFUSED),
    ([None, b"alice \xff\xfe"], sasl.REFUSED), ([None, b"busy x"], sasl.TEMPORARY)])
def test_cram_md5_refused(responses, kind):
    answer = ends("CRAM-MD5", *responses)
    assert isinstance(answer, sasl.Failure) and answer.kind == kind


def test_apop_of_rfc_1939():
    stamp = b"<1896.697170952@dbc.mtview.ca.us>"
    credentials = Fake("mrose", "tanstaaf")
    right = b"c4c9334bac560ecc979e58001b3e22fb"
    assert sasl.apop(credentials, stamp, "mrose", right) == sasl.Success(ALICE)
    assert sasl.apop(credentials, stamp, "mrose", right.upper()) == sasl.Success(ALICE)
    for name, proof in (("mrose", b"0" * 32), ("mrose", b""), ("mrose", b"\xff"), ("x", right)):
        assert sasl.apop(credentials, stamp, name, proof).kind == sasl.REFUSED
    assert sasl.apop(credentials, stamp, "busy", right).kind == sasl.TEMPORARY


@pytest.mark.parametrize("host, shown", [
    ("mail.example.com", b"@mail.example.com>"), ("a b", b"@localhost>"), ("", b"@localhost>"),
    ("a>b", b"@localhost>"), ("bücher.example", b"@localhost>"), ("x\r\ny", b"@localhost>")])
def test_timestamps_are_message_ids_and_differ(host, shown):
    one, other = sasl.timestamp(host), sasl.timestamp(host)
    assert one.startswith(b"<") and one.endswith(shown) and one != other


# SCRAM-SHA-256

FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
CHALLENGE = (
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
PROOF = (b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
         b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
SIGNATURE = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def of_rfc_7677():
    return sasl.start("SCRAM-SHA-256", Fake("user", "pencil"),
                      nonce=lambda: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")


def test_scram_of_rfc_7677():
    dialogue = of_rfc_7677()
    assert dialogue.step(FIRST) == sasl.Challenge(CHALLENGE)
    assert dialogue.step(PROOF) == sasl.Challenge(SIGNATURE)
    assert dialogue.step(b"") == sasl.Success(ALICE)
    assert dialogue.step(b"").kind == sasl.SYNTAX, "it is over"


def test_scram_without_initial_response():
    dialogue = of_rfc_7677()
    assert dialogue.step(None) == sasl.Challenge(b"")
    assert dialogue.step(FIRST) == sasl.Challenge(CHALLENGE)


class Client:
    """A SCRAM-SHA-256 client, after RFC 5802 section 3."""

    def __init__(self, name, passphrase, gs2=b"n,,"):
        self.passphrase, self.gs2 = passphrase, gs2
        escaped = name.replace("=", "=3D").replace(",", "=2C").encode("utf-8")
        self.bare = b"n=" + escaped + b",r=fyko+d2lbbFgONRv9qkxdawL"

    def first(self):
        return self.gs2 + self.bare

    def proof(self, challenge, binding=None):
        nonce, salt, iterations = challenge.split(b",")
        secret = hashlib.pbkdf2_hmac("sha256", self.passphrase.encode("utf-8"),
                                     base64.b64decode(salt[2:]), int(iterations[2:]))
        client_key = hmac.new(secret, b"Client Key", "sha256").digest()
        bare = b"c=" + base64.b64encode(self.gs2 if binding is None else binding) + b"," + nonce
        message = b",".join((self.bare, challenge, bare))
        signature = hmac.new(hashlib.sha256(client_key).digest(), message, "sha256").digest()
        proof = bytes(one ^ other for one, other in zip(client_key, signature))
        self.expected = b"v=" + base64.b64encode(hmac.new(
            hmac.new(secret, b"Server Key", "sha256").digest(), message, "sha256").digest())
        return bare + b",p=" + base64.b64encode(proof)


def scram(credentials, client, **keywords):
    dialogue = sasl.start("SCRAM-SHA-256", credentials)
    answer = dialogue.step(client.first())
    if not isinstance(answer, sasl.Challenge):
        return answer
    answer = dialogue.step(client.proof(answer.data, **keywords))
    if isinstance(answer, sasl.Challenge):
        assert answer.data == client.expected
        return dialogue.step(b"")
    return answer


@pytest.mark.parametrize("gs2", [b"n,,", b"y,,", b"n,a=alice,", b"y,a=alice@example.com,"])
def test_scram_headers(gs2):
    assert scram(Fake(), Client("alice", "secret", gs2)) == sasl.Success(ALICE)


def test_scram_names_are_unescaped():
    credentials = Fake("a,b=c", "secret")
    assert scram(credentials, Client("a,b=c", "secret", b"n,a=a=2Cb=3Dc,")) == sasl.Success(ALICE)


@pytest.mark.parametrize("client, keywords, kind", [
    (Client("alice", "wrong"), {}, sasl.REFUSED),
    (Client("bob", "secret"), {}, sasl.REFUSED),
    (Client("busy", "secret"), {}, sasl.TEMPORARY),
    (Client("alice", "secret", b"n,a=bob,"), {}, sasl.REFUSED),
    (Client("alice", "secret", b"p=tls-unique,,"), {}, sasl.SYNTAX),
    (Client("alice", "secret", b"y,,"), {"binding": b"n,,"}, sasl.SYNTAX),
    (Client("alice", "secret"), {"binding": b"n,,more"}, sasl.SYNTAX),
    (Client("alice", "secret"), {"binding": b""}, sasl.SYNTAX),
])
def test_scram_refused(client, keywords, kind):
    answer = scram(Fake(), client, **keywords)
    assert isinstance(answer, sasl.Failure) and answer.kind == kind


@pytest.mark.parametrize("message", [
    b"", b"n", b"n,", b"n,,", b"n,,n=a", b"n,,r=x,n=a", b"n,,n=,r=x", b"n,,n=a,r=", b"x,,n=a,r=x",
    b"n,b=c,n=a,r=x", b"n,a=,n=a,r=x", b"n,,m=x,n=a,r=x", b"n,,n=a=b,r=x", b"n,,n=a=2c,r=x",
    b"n,,n=\xff,r=x", b"n,,n=a\0,r=x", b"n,,n=a,r=x y", b"n,,n=a,r=x\x7f", b"n,,n=a,r=x,",
    b"n,,n=a,r=" + b"x" * 600, b"n,,n=" + b"a" * 1100 + b",r=x", b"p=,,n=a,r=x"])
def test_scram_first_messages_that_are_none(message):
    with pytest.raises(sasl.Malformed):
        parse_first(message)


def test_scram_extensions_are_passed_over():
    client = parse_first(b"n,,n=a,r=x,e=what,f=ever")
    assert (client.name, client.nonce, client.bare) == ("a", b"x", b"n=a,r=x,e=what,f=ever")
    final = parse_final(b"c=biws,r=x,e=what,p=" + base64.b64encode(b"p" * 32))
    assert final.bare == b"c=biws,r=x,e=what" and final.proof == b"p" * 32


@pytest.mark.parametrize("change", [
    (b"biws", b"biw"), (b"c=", b"d="), (b"VQ=", b"VQ"), (b"VQ=", b"VQ=="), (b",p=", b",p=AAAA"),
    (b"r=rO", b"r=RO"), (b"k0,", b"k1,"), (b"k0,", b"k0,p=AAAA,"), (b"p=dH", b"x=dH")])
def test_scram_last_messages_that_are_none(change):
    dialogue = of_rfc_7677()
    dialogue.step(FIRST)
    assert dialogue.step(PROOF.replace(*change)).kind == sasl.SYNTAX


def test_scram_gives_no_success_before_the_last_word():
    dialogue = of_rfc_7677()
    dialogue.step(FIRST)
    dialogue.step(PROOF)
    assert dialogue.step(b"more").kind == sasl.SYNTAX
    assert dialogue.step(b"").kind == sasl.SYNTAX


# What all have in common

MECHANISMS = ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_each_response_is_bounded(mechanism):
    dialogue = sasl.start(mechanism, Fake())
    dialogue.step(None)
    assert dialogue.step(b"x" * 5000).kind == sasl.SYNTAX


def test_a_mechanism_that_is_not_built():
    for name in ("", "DIGEST-MD5", "SCRAM-SHA-256-PLUS", "PLAIN "):
        with pytest.raises(KeyError):
            sasl.start(name, Fake())


PIECES = strategies.lists(strategies.sampled_from(
    [b"n", b"y", b"p=x", b",", b"a=", b"n=", b"r=", b"c=biws", b"p=", b"=2C", b"=", b"\0", b" ",
     b"alice", b"secret", b"\xff", b"AAAA", base64.b64encode(b"x" * 32)]),
                          max_size=12).map(b"".join)
RESPONSES = strategies.lists(strategies.one_of(
    strategies.none(), strategies.binary(max_size=60), PIECES), max_size=5)


@settings(max_examples=150)
@given(strategies.sampled_from(MECHANISMS), RESPONSES)
def test_any_responses_come_to_an_answer(mechanism, responses):
    dialogue, over = sasl.start(mechanism, Fake(passphrase="never guessed, that one")), False
    for response in responses:
        answer = dialogue.step(response)
        assert isinstance(answer, (sasl.Challenge, sasl.Failure))
        assert not (over and isinstance(answer, sasl.Challenge))
        over = over or isinstance(answer, sasl.Failure)


@settings(max_examples=150)
@given(strategies.one_of(strategies.binary(max_size=80), PIECES))
def test_the_parsers_raise_nothing_else(message):
    for parse in (parse_first, parse_final, sasl.decode):
        try:
            parse(message)
        except sasl.Malformed:
            pass


@settings(max_examples=100)
@given(strategies.binary(max_size=80))
def test_base64_both_ways(data):
    assert sasl.decode(sasl.encode(data)) == data


@pytest.mark.parametrize("line, data", [(b"=", b""), (b"", b""), (b"YQ==", b"a")])
def test_base64_lines(line, data):
    assert sasl.decode(line) == data


@pytest.mark.parametrize("line",
                         [b"*", b"YQ", b"YQ=", b"Y Q==", b"YQ==\r\n", b"====", b"\xff", b"Y*=="])
def test_base64_that_is_none(line):
    with pytest.raises(sasl.Malformed):
        sasl.decode(line)


# With the real directory

def log_in(house, mechanism, name, passphrase, sending=False):
    """Log in as a client does; the last answer."""
    login = house.directory.login(ELSEWHERE, sending)
    if mechanism == "SCRAM-SHA-256":
        return scram(login, Client(name, passphrase))
    if mechanism == "PLAIN":
        return ends(mechanism, b"\0" + name.encode() + b"\0" + passphrase.encode(),
                    credentials=login)
    if mechanism == "LOGIN":
        return ends(mechanism, None, name.encode(), passphrase.encode(), credentials=login)
    if mechanism == "APOP":
        stamp = sasl.timestamp("localhost")
        proof = hashlib.md5(stamp + passphrase.encode()).hexdigest().encode()
        return sasl.apop(login, stamp, name, proof)
    dialogue = sasl.start(mechanism, login)
    proof = hmac.new(passphrase.encode(), dialogue.step(None).data, "md5").hexdigest()
    return dialogue.step(name.encode() + b" " + proof.encode())


def offered(house, tls=True, **keywords):
    names = list(sasl.mechanisms(house.directory, tls, **keywords))
    return names + ["APOP"] if sasl.offers_apop(house.directory) else names


TWO = {"example.com": {"alice": "/alice/mail", "bob": "/bob/mail", "info": ":bob"}}


def test_everybody_logs_in_with_every_mechanism_that_is_offered(tmp_path):
    house = House(tmp_path, TWO)
    house.whole_user("alice")
    house.whole_user("bob")
    names = offered(house)
    assert sorted(names) == sorted(MECHANISMS + ["APOP"])
    for mechanism in names:
        house.clock.go(100000)      # the throttle forgets the wrong ones
        for name, end in (("alice", "alice"), ("bob@EXAMPLE.com", "bob"), ("info", "bob")):
            assert log_in(house, mechanism, name, PASSPHRASE).account.identity == end
            assert log_in(house, mechanism, name, "wrong").kind == sasl.REFUSED
        for name in ("nobody", "alice+x", "*"):
            assert log_in(house, mechanism, name, PASSPHRASE).kind == sasl.REFUSED


def test_a_user_with_only_a_sha256_logs_in_with_every_mechanism_that_is_offered(tmp_path):
    house = House(tmp_path, TWO)
    house.whole_user("alice")
    house.old_user("bob")
    names = offered(house)
    assert names == ["PLAIN", "LOGIN"]
    for mechanism in names:
        assert log_in(house, mechanism, "bob", PASSPHRASE).account.identity == "bob"
        assert log_in(house, mechanism, "alice", PASSPHRASE).account.identity == "alice"


def test_no_passphrase_in_the_clear(tmp_path):
    house = House(tmp_path, TWO)
    house.whole_user("alice")
    house.whole_user("bob")
    assert offered(house, tls=False) == ["SCRAM-SHA-256", "CRAM-MD5", "APOP"]
    assert "PLAIN" in offered(house, tls=False, plaintext_ok=True)
    house.clock.go(2)
    house.old_user("bob")
    assert offered(house, tls=False) == []


def test_what_is_offered_follows_the_files(tmp_path):
    house = House(tmp_path, TWO)
    house.whole_user("alice")
    house.user("bob", passphrase=sha256(PASSPHRASE), pop3pwd="clear")
    assert offered(house) == ["PLAIN", "LOGIN", "CRAM-MD5", "APOP"]
    house.whole_user("bob")
    house.clock.go(1.1)
    assert "SCRAM-SHA-256" in offered(house)
    house.old_user("alice")
    house.clock.go(1.1)
    assert offered(house) == ["PLAIN", "LOGIN"]
    del house.values["domains"]["example.com"]["alice"]
    house.write_server()
    assert "SCRAM-SHA-256" in offered(house), "other domains are looked at at once"


def test_who_cannot_log_in_does_not_count(tmp_path):
    house = House(tmp_path, {"example.com": {
        "alice": "/alice/mail", "bob": "/bob/mail", "new": "/new/mail", "off": "-", "x": ".mail"}})
    assert offered(house) == ["PLAIN", "LOGIN"], "nobody at all"
    house.whole_user("alice")
    house.user("bob", "{ broken")
    house.user("new", delivery="/new/drop")
    house.clock.go(1.1)
    assert "SCRAM-SHA-256" in offered(house) and "APOP" in offered(house)
    assert log_in(house, "SCRAM-SHA-256", "bob", PASSPHRASE).kind == sasl.TEMPORARY
    assert log_in(house, "CRAM-MD5", "bob", PASSPHRASE).kind == sasl.TEMPORARY
    assert log_in(house, "SCRAM-SHA-256", "new", PASSPHRASE).kind == sasl.REFUSED


def test_those_who_only_submit_count_for_submission(tmp_path):
    house = House(tmp_path, {"example.com": {
        "alice": "/alice/mail", "dan": ">dan@elsewhere.net " + sha256("dans own")}})
    house.whole_user("alice")
    assert "SCRAM-SHA-256" in sasl.mechanisms(house.directory, True)
    names = sasl.mechanisms(house.directory, True, sending=True)
    assert names == ("PLAIN", "LOGIN")
    for mechanism in names:
        account = log_in(house, mechanism, "dan", "dans own", sending=True).account
        assert account.name == "dan@example.com" and account.folder == ""
        assert log_in(house, mechanism, "dan", "dans own").kind == sasl.REFUSED


def test_without_md5_nothing_that_needs_it_is_offered(tmp_path, monkeypatch):
    house = House(tmp_path, TWO)
    house.whole_user("alice")
    house.whole_user("bob")

    def refused(*arguments, **keywords):
        raise ValueError("disabled for FIPS")
    monkeypatch.setattr(hashlib, "md5", refused)
    assert offered(house) == ["SCRAM-SHA-256", "PLAIN", "LOGIN"]


def test_only_pop3pwd_is_a_passphrase_too(tmp_path):
    house = House(tmp_path, {"example.com": {"alice": "/alice/mail"}})
    house.user("alice", pop3pwd="KTgyfDNrNH0kbCkCKgMtAi4D")
    for mechanism in offered(house):
        assert log_in(house, mechanism, "alice", "obscured ;)").account.identity == "alice"
        assert log_in(house, mechanism, "alice", "KTgyfDNrNH0kbCkCKgMtAi4D").kind == sasl.REFUSED


# Challenges for those who are not there

def salt_of(house, name):
    return sasl.start("SCRAM-SHA-256", house.directory.login(None)).step(
        Client(name, "").first()).data.split(b",")[1:]


def test_a_challenge_for_nobody_has_the_form_of_a_real_one(tmp_path):
    house = House(tmp_path)
    house.user("alice", passphrase=sha256(PASSPHRASE))
    from phenmail_protocols.accounts.passphrases import scram_secret
    real = house.user("alice", scram=scram_secret(PASSPHRASE)) and salt_of(house, "alice")
    made_up = salt_of(house, "nobody")
    assert made_up[1] == real[1] and len(made_up[0]) == len(real[0])
    assert len(base64.b64decode(made_up[0][2:])) == SALT_BYTES
    assert salt_of(house, "NOBODY@Example.com") == made_up, "one name, one salt"
    assert salt_of(house, "nobody2") != made_up


def test_it_is_the_same_after_a_restart(tmp_path):
    before = salt_of(House(tmp_path), "nobody")
    assert salt_of(House(tmp_path), "nobody") == before
    assert salt_of(House(tmp_path / "other"), "nobody") != before


def test_every_mechanism_is_throttled(tmp_path):
    house = House(tmp_path, TWO)
    house.whole_user("alice")
    house.whole_user("bob")
    for mechanism in offered(house):
        house.clock.go(100000)
        kinds = [log_in(house, mechanism, "alice", "wrong %d" % number).kind
                 for number in range(12)]
        assert kinds[0] == sasl.REFUSED and kinds[-1] == sasl.TEMPORARY, mechanism
        assert log_in(house, mechanism, "alice", PASSPHRASE).kind == sasl.TEMPORARY, mechanism
