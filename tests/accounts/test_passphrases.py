"""Stored forms: test vectors, the forms that must be refused, and obscuring."""

import hashlib

import pytest
from hypothesis import given, settings, strategies

from phenmail_protocols.accounts import passphrases
from phenmail_protocols.accounts.passphrases import (
    SecretError,
    derive_scram,
    has_md5,
    hash_passphrase,
    iterations_of,
    obscure,
    parse_scram,
    scram_secret,
    sha256,
    unobscure,
    verify,
)
from phenmail_protocols.accounts.saslprep import octets, prepare

ANY_TEXT = strategies.text(strategies.characters(), max_size=60)     # surrogates too
WHOLE_TEXT = strategies.text(strategies.characters(blacklist_categories=("Cs",)), max_size=60)

VECTORS = [
    ("obscured ;)", "KTgyfDNrNH0kbCkCKgMtAi4D"),
    ("abc", "YytgS2NKZEtnSmhLa0psS29K"),
    ("ñandú secret passphrase 16x", "eGR/dTpjKHAyaDFoI3lzLWI6czxlb/8WWBxXzCUOJg8h"),
]


@pytest.mark.parametrize("clear, obscured", VECTORS)
def test_obscure_vectors(clear, obscured):
    assert obscure(clear) == obscured and unobscure(obscured) == clear


@pytest.mark.parametrize("clear", ["", "x", "YytgS2NKZEtnSmhLa0psS29", "secret==", "abcd", "ü",
                                   "AAAA", "\ud800", "=" * 40, "A" * 4000])
def test_what_does_not_decode_is_clear_text(clear):
    assert unobscure(clear) == clear


@settings(max_examples=200)
@given(WHOLE_TEXT)
def test_obscuring_can_be_undone(clear):
    assert unobscure(obscure(clear)) == clear


@settings(max_examples=200)
@given(ANY_TEXT)
def test_undoing_never_raises(text):
    unobscure(text)


def test_the_predecessors_hash():
    stored = hashlib.sha256(b"correct horse").hexdigest()
    assert verify(stored, "correct horse") and verify(stored.upper(), "correct horse")
    assert not verify(stored, "Correct horse")
    assert sha256("obscured") != sha256("Obscured")


def test_pbkdf2_is_the_standards():
    # RFC 7914 section 11: PBKDF2-HMAC-SHA-256, 80000 iterations, its first 32 octets.
    import base64
    key = bytes.fromhex("4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56")
    stored = "pbkdf2-sha256$80000$%s$%s" % (
        base64.b64encode(b"NaCl").decode(), base64.b64encode(key).decode())
    assert verify(stored, "Password") and not verify(stored, "password")


def test_each_hash_has_its_own_salt():
    one, other = hash_passphrase("x", 10), hash_passphrase("x", 10)
    assert one != other and verify(one, "x") and verify(other, "x")
    assert hash_passphrase("x").startswith("pbkdf2-sha256$%d$" % passphrases.ITERATIONS)
    assert passphrases.ITERATIONS >= 4096       # RFC 7677 section 4


def test_an_unmatchable_form_costs_as_much_to_check_and_nothing_to_make(monkeypatch):
    done, real = [], passphrases._pbkdf2
    monkeypatch.setattr(passphrases, "_pbkdf2", lambda *given: done.append(given[2])
                        or real(*given))
    one, other = passphrases.unmatchable(20), passphrases.unmatchable(20)
    assert done == [] and one != other and len(one) == len(hash_passphrase("x", 20))
    done.clear()
    assert not verify(one, "") and not verify(one, "x") and done == [20, 20]
    assert iterations_of(passphrases.unmatchable()) == passphrases.ITERATIONS


@pytest.mark.skipif(not hasattr(hashlib, "scrypt"), reason="this Python has no scrypt")
def test_scrypt():
    # RFC 7914 section 12.
    import base64
    key = bytes.fromhex("fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162")
    stored = "scrypt$1024$8$16$%s$%s" % (
        base64.b64encode(b"NaCl").decode(), base64.b64encode(key).decode())
    assert verify(stored, "password") and not verify(stored, "Password")


def test_scrypt_where_python_cannot(monkeypatch):
    monkeypatch.delattr(hashlib, "scrypt", raising=False)
    with pytest.raises(SecretError):
        verify("scrypt$1024$8$1$TmFDbA==$" + "A" * 43 + "=", "password")


def test_scram_vector():
    # RFC 7677 section 3.
    import base64
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    stored = scram_secret("pencil", 4096, salt)
    assert stored == ("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
                      "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
                      "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")
    assert parse_scram(stored) == derive_scram("pencil", salt, 4096)
    assert verify(stored, "pencil") and not verify(stored, "Pencil")


@pytest.mark.parametrize("stored", [
    "", "x", "plain", "a" * 63, "g" * 64, "md5$abc", "pbkdf2-sha256$", "pbkdf2-sha256$1$AA==",
    "pbkdf2-sha256$0$AAAA$" + "A" * 43 + "=", "pbkdf2-sha256$-1$AAAA$" + "A" * 43 + "=",
    "pbkdf2-sha256$4000001$AAAA$" + "A" * 43 + "=", "pbkdf2-sha256$\u0663$AAAA$" + "A" * 43 + "=",
    "pbkdf2-sha256$1$?$" + "A" * 43 + "=", "pbkdf2-sha256$1$$" + "A" * 43 + "=",
    "pbkdf2-sha256$1$AAAA$AAAA", "scrypt$1$1$1$AAAA$AAAA", "scrypt$1024$8$1$AAAA",
    "scrypt$16777216$8$1$AAAA$" + "A" * 24, "SCRAM-SHA-256$4096:AAAA$AAAA:AAAA",
    "SCRAM-SHA-256$4096$AAAA:AAAA", "SCRAM-SHA-256$4096:AAAA$AAAA", "SCRAM-SHA-1$1:AAAA$AA:AA",
    "\ud800", "²" * 64])
def test_unusable_forms_are_told(stored):
    with pytest.raises(SecretError) as error:
        verify(stored, "x")
    assert not stored or stored not in str(error.value)


@settings(max_examples=300)
@given(strategies.one_of(ANY_TEXT, strategies.tuples(
    strategies.sampled_from(["pbkdf2-sha256", "SCRAM-SHA-256", "scrypt"]),
    strategies.lists(strategies.sampled_from(["1", "16", "AAAA", "AA==", "A" * 43 + "=", "$", ":",
                                              "x"]),
                     max_size=8)).map(lambda parts: parts[0] + "$" + "$".join(parts[1]))))
def test_any_stored_form_answers_or_raises_its_own_error(stored):
    assert iterations_of(stored) >= 0
    try:
        verify(stored, "x")
    except SecretError:
        pass


def test_two_keyboards_one_passphrase():
    composed, decomposed = "caf\u00e9\u00a0x", "cafe\u0301 x"
    assert verify(hash_passphrase(composed, 10), decomposed)
    assert verify(scram_secret(decomposed, 10), composed)
    assert verify(sha256(composed.replace("\u00a0", " ")), decomposed)


def test_prepare_vectors():
    # RFC 4013 section 3.
    assert prepare("I\u00adX") == "IX"
    assert prepare("user") == "user" and prepare("USER") == "USER"
    assert prepare("\u00aa") == "a" and prepare("\u2168") == "IX"
    assert prepare("\u0007") == "\u0007", "forbidden there, left alone here"
    assert prepare("\u0627\u0031") == "\u0627\u0031"
    assert prepare("\u00ad") == "\u00ad", "nothing would be left"


@settings(max_examples=200)
@given(ANY_TEXT)
def test_any_text_is_prepared_and_encoded(text):
    octets(prepare(text))


def test_bytes_that_are_no_utf8_stay_the_same():
    assert octets(b"caf\xe9".decode("utf-8", "surrogateescape")) == b"caf\xe9"


def test_md5_may_be_missing(monkeypatch):
    assert has_md5()

    def refused(*arguments, **keywords):
        raise ValueError("disabled for FIPS")
    monkeypatch.setattr(hashlib, "md5", refused)
    assert not has_md5()
