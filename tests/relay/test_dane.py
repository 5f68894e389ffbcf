"""TLSA records and certificates of a real authority, checked against the openssl program."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenmail_protocols.net.certificate import public_key_info
from phenmail_protocols.relay import dane
from tests.net.authority import authority  # noqa: F401 - a fixture


def record(usage, selector, matching, certificate):
    data = certificate if selector == 0 else public_key_info(certificate)
    return usage, selector, matching, data if matching == 0 else (hashlib.sha256, hashlib.sha512)[
        matching - 1](data).digest()


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_dane_ee_matches_its_certificate_and_no_other(
        authority, kind, selector, matching):  # noqa: F811
    pair, other = authority.issue("kind-" + kind, key=kind), authority.issue("other")
    named = record(3, selector, matching, pair.der)
    assert dane.usable((named,)) == (named,)
    assert dane.complaint((named,), pair.der) == ""
    assert dane.complaint((named,), other.der)
    assert dane.complaint((named,), None)
    assert dane.complaint((record(3, selector, matching, other.der), named), pair.der) == ""


def test_the_openssl_program_computes_the_same_record(authority, program):  # noqa: F811
    import subprocess
    pair = authority.issue("kind-rsa", key="rsa")
    key = subprocess.check_output([program("openssl"), "x509", "-in", pair.certificate, "-noout",
                                   "-pubkey"])
    info = subprocess.check_output([program("openssl"), "pkey", "-pubin", "-outform", "DER"],
                                   input=key)
    digest = subprocess.check_output([program("openssl"), "dgst", "-sha256", "-binary"], input=info)
    assert dane.matches((3, 1, 1, digest), pair.der)


def test_dane_ee_asks_for_neither_name_nor_date(authority):  # noqa: F811
    expired = authority.issue("expired elsewhere", ("elsewhere.example",), days=-1)
    assert dane.complaint((record(3, 1, 1, expired.der),), expired.der) == ""


@pytest.mark.parametrize("unusable", [
    # usages: PKIX, unknown
    (0, 1, 1, bytes(32)), (1, 1, 1, bytes(32)), (4, 1, 1, bytes(32)), (255, 1, 1, bytes(32)),
    (3, 2, 1, bytes(32)), (3, 255, 1, bytes(32)), (3, 1, 3, bytes(32)), (3, 1, 255, bytes(32)),
    (3, 1, 1, b""), (3, 1, 1, bytes(31)), (3, 1, 1, bytes(64)), (3, 1, 2, bytes(32)),
    (3, 0, 0, b""), (3, 1, 0, b"abc"), (3, 0, 0, b"0\x03abc")])
def test_unusable(unusable):
    assert dane.usable((unusable,)) == ()


def test_a_certificate_is_no_key_and_a_key_no_certificate(authority):  # noqa: F811
    der = authority.issue("kind-ec").der
    assert dane.usable(((3, 1, 0, der), (3, 0, 0, public_key_info(der)))) == ()


def test_dane_ta_is_unusable(authority):  # noqa: F811
    anchor, server = record(2, 0, 1,
                            authority.root.der), record(3, 1, 1, authority.issue("kind-ec").der)
    assert dane.usable((anchor, server)) == (server,)
    assert dane.usable((anchor,)) == ()


def test_the_stronger_digest_decides(authority):  # noqa: F811
    """RFC 7671 9: forging the weaker digest gains nothing. Each selector counts for itself."""
    pair, other = authority.issue("kind-ec"), authority.issue("other")
    weak, strong = record(3, 1, 1, pair.der), record(3, 1, 2, other.der)
    whole, certificate = record(3, 1, 0, other.der), record(3, 0, 1, other.der)
    assert dane.usable((weak, strong, whole, certificate)) == (strong, whole, certificate)
    assert dane.complaint(dane.usable((weak, strong)), pair.der)
    assert dane.usable((weak, (3, 1, 2, b"too short"))) == (weak,)


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255),
                          st.binary(max_size=70)), max_size=5),
       st.binary(max_size=40))
def test_any_records_and_any_certificate(records, certificate):
    usable = dane.usable(tuple(records))
    assert set(usable) <= set(records)
    assert dane.complaint(usable, certificate)
