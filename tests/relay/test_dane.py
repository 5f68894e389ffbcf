"""TLSA records against certificates of a real authority, with the openssl program as second opinion."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenmail_protocols.net import tlsclient
from phenmail_protocols.net.certificate import public_key_info
from phenmail_protocols.relay import dane
from tests.net.authority import authority  # noqa: F401 - a fixture

NAMES = ("mx.example.org", "example.org")


def record(usage, selector, matching, certificate):
    data = certificate if selector == 0 else public_key_info(certificate)
    return usage, selector, matching, data if matching == 0 else (hashlib.sha256, hashlib.sha512)[matching - 1](data).digest()


def never(chain, anchor, name):
    raise AssertionError("nobody should look at the chain")


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_dane_ee_matches_its_certificate_and_no_other(authority, kind, selector, matching):  # noqa: F811
    pair, other = authority.issue("kind-" + kind, key=kind), authority.issue("other")
    named = record(3, selector, matching, pair.der)
    assert dane.usable((named,), False) == (named,)
    assert dane.complaint((named,), pair.der, None, NAMES, never) == ""
    assert dane.complaint((named,), other.der, None, NAMES, never)
    assert dane.complaint((named,), None, None, NAMES, never)
    assert dane.complaint((record(3, selector, matching, other.der), named), pair.der, None, NAMES, never) == ""


def test_the_openssl_program_computes_the_same_record(authority, program):  # noqa: F811
    import subprocess
    pair = authority.issue("kind-rsa", key="rsa")
    key = subprocess.check_output([program("openssl"), "x509", "-in", pair.certificate, "-noout", "-pubkey"])
    info = subprocess.check_output([program("openssl"), "pkey", "-pubin", "-outform", "DER"], input=key)
    digest = subprocess.check_output([program("openssl"), "dgst", "-sha256", "-binary"], input=info)
    assert dane.matches((3, 1, 1, digest), pair.der)


def test_dane_ee_asks_for_neither_name_nor_date(authority):  # noqa: F811
    expired = authority.issue("expired elsewhere", ("elsewhere.example",), days=-1)
    assert dane.complaint((record(3, 1, 1, expired.der),), expired.der, expired.chain_ders, NAMES, never) == ""


@pytest.mark.parametrize("unusable", [
    (0, 1, 1, bytes(32)), (1, 1, 1, bytes(32)), (4, 1, 1, bytes(32)), (255, 1, 1, bytes(32)),  # usages: PKIX, unknown
    (3, 2, 1, bytes(32)), (3, 255, 1, bytes(32)), (3, 1, 3, bytes(32)), (3, 1, 255, bytes(32)),
    (3, 1, 1, b""), (3, 1, 1, bytes(31)), (3, 1, 1, bytes(64)), (3, 1, 2, bytes(32)), (3, 0, 0, b""), (3, 1, 0, b"abc"), (3, 0, 0, b"0\x03abc")])
def test_unusable(unusable):
    assert dane.usable((unusable,), True) == ()


def test_a_certificate_is_no_key_and_a_key_no_certificate(authority):  # noqa: F811
    der = authority.issue("kind-ec").der
    assert dane.usable(((3, 1, 0, der), (3, 0, 0, public_key_info(der))), True) == ()


def test_dane_ta_is_usable_where_chains_are_seen(authority):  # noqa: F811
    both = record(2, 0, 1, authority.root.der), record(3, 1, 1, authority.issue("kind-ec").der)
    assert dane.usable(both, True) == both
    assert dane.usable(both, False) == both[1:]


def test_the_stronger_digest_decides(authority):  # noqa: F811
    """RFC 7671 section 9: whoever could forge the weaker gains nothing; each usage and selector for itself."""
    pair, other = authority.issue("kind-ec"), authority.issue("other")
    weak, strong = record(3, 1, 1, pair.der), record(3, 1, 2, other.der)
    whole, certificate = record(3, 1, 0, other.der), record(3, 0, 1, other.der)
    assert dane.usable((weak, strong, whole, certificate), False) == (strong, whole, certificate)
    assert dane.complaint(dane.usable((weak, strong), False), pair.der, None, NAMES, never)
    assert dane.usable((weak, (3, 1, 2, b"too short")), False) == (weak,)


# -- DANE-TA ----------------------------------------------------------------------------------------------------------------------------------

def agrees(anchor_wanted, name_wanted):
    return lambda chain, anchor, name: "" if (anchor, name) == (anchor_wanted, name_wanted) else "not so"


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
def test_the_anchor_is_looked_for_in_the_chain(authority, selector, matching):  # noqa: F811
    chain = authority.issue("kind-ec").chain_ders
    for anchor in chain[1:]:
        named = (record(2, selector, matching, anchor),)
        for name in NAMES:
            assert dane.complaint(named, chain[0], chain, NAMES, agrees(anchor, name)) == ""
        assert dane.complaint(named, chain[0], chain, NAMES, agrees(anchor, "mx.example.net")) == "not so"
        assert dane.complaint(named, chain[0], None, NAMES, never)
    assert dane.complaint((record(2, selector, matching, chain[0]),), chain[0], chain[:1] * 2, NAMES, never), "its own anchor"


def test_an_anchor_may_stand_in_the_record(authority):  # noqa: F811
    chain = authority.issue("kind-ec").chain_ders
    root = authority.root.der
    assert dane.complaint((record(2, 0, 0, root),), chain[0], chain[:2], NAMES, agrees(root, NAMES[0])) == ""
    assert dane.complaint((record(2, 0, 1, root),), chain[0], chain[:2], NAMES, never)


def test_a_server_cannot_make_us_judge_for_ever(authority):  # noqa: F811
    chain = authority.issue("kind-ec").chain_ders
    asked = []
    many = tuple((2, 0, 0, bytes([0x30, number])) for number in range(100))
    assert dane.complaint(many, chain[0], chain + chain[1:] * 50, NAMES, lambda *question: asked.append(question) or "no") == "no"
    assert 0 < len(asked) <= 16


@pytest.mark.skipif(not tlsclient.sees_chains(), reason="this interpreter does not show chains")
def test_with_real_chains(authority):  # noqa: F811
    chain = authority.issue("kind-ec").chain_ders
    expired = authority.issue("expired", days=-1).chain_ders
    by_root = (record(2, 1, 1, authority.root.der),)
    assert dane.complaint(by_root, chain[0], chain, NAMES, tlsclient.chain_complaint) == ""
    assert "expired" in dane.complaint(by_root, expired[0], expired, NAMES, tlsclient.chain_complaint)
    assert "match" in dane.complaint(by_root, chain[0], chain, ("mx.example.net",), tlsclient.chain_complaint)
    assert dane.complaint(by_root, expired[0], (expired[0],) + chain[2:], NAMES, tlsclient.chain_complaint)


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.binary(max_size=70)), max_size=5),
       st.booleans(), st.binary(max_size=40))
def test_any_records_and_any_certificate(records, seen, certificate):
    usable = dane.usable(tuple(records), seen)
    assert set(usable) <= set(records)
    assert dane.complaint(usable, certificate, (certificate,), NAMES, lambda *_: "no")
