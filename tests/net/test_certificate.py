"""The key out of certificates: those of the openssl program and the system's store against
`cryptography`, and what is none."""

import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.net.certificate import is_public_key_info, public_key_info

from .authority import authority  # noqa: F401 - a fixture


def by_cryptography(der):
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.backends import default_backend
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    key = x509.load_der_x509_certificate(der, default_backend()).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_kinds_of_keys(authority, kind):  # noqa: F811
    pair = authority.issue("kind-" + kind, key=kind)
    assert public_key_info(pair.der) == by_cryptography(pair.der)
    assert is_public_key_info(public_key_info(pair.der))
    assert not is_public_key_info(pair.der)


def test_the_openssl_program_finds_the_same(authority, program):  # noqa: F811
    import subprocess
    pair = authority.issue("kind-rsa", key="rsa")
    pem = subprocess.check_output([program("openssl"), "x509", "-in", pair.certificate, "-noout",
                                   "-pubkey"])
    found = subprocess.check_output([program("openssl"), "pkey", "-pubin", "-outform", "DER"],
                                    input=pem)
    assert public_key_info(pair.der) == found


def test_version_1(authority):  # noqa: F811
    pair = authority.old("old")
    assert public_key_info(pair.der) == by_cryptography(pair.der)


# cryptography says of some stores' certificates what it will refuse one day
@pytest.mark.filterwarnings("ignore")
def test_the_certificates_of_the_system():
    context = ssl.create_default_context()
    ders = context.get_ca_certs(binary_form=True)
    if not ders:
        pytest.skip("this system has no CA store in a file")
    for der in ders:
        assert public_key_info(der) == by_cryptography(der)


# -- what is made here, and what is none
# --------------------------------------------------------------------------------------------------

def element(tag, content):
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    octets = (size.bit_length() + 7) // 8
    return bytes([tag, 0x80 | octets]) + size.to_bytes(octets, "big") + content


def key_info(size=3):
    return element(0x30, element(0x30, b"") + element(0x03, bytes(size)))


def certificate(serial=b"\1", issuer=b"", key=key_info(), version=element(0xA0, b"\2\1\2"),
                behind=b"", signature=b""):
    signed = version + element(0x02, serial) + element(0x30,
                                                       b"") + element(0x30, issuer) + element(
        0x30, b"") + element(0x30, b"")
    return element(0x30, element(0x30, signed + key + behind) + element(0x30, b"")
                   + element(0x03, signature))


@pytest.mark.parametrize("size",
                         [0, 1, 120, 127, 128, 129, 250, 255, 256, 257, 65530, 65535, 65536, 70000])
def test_every_form_of_length(size):
    assert public_key_info(certificate(issuer=bytes(size))) == key_info()
    assert public_key_info(certificate(key=key_info(size))) == key_info(size)
    assert public_key_info(certificate(behind=element(0xA3, bytes(size)),
                                       signature=bytes(size))) == key_info()


def test_version_may_be_missing():
    assert public_key_info(certificate(version=b"")) == key_info()


@pytest.mark.parametrize("broken", [
    b"", b"\x30", b"\x30\x00", b"\x30\x80", b"\x30\x80\0\0",
    certificate() + b"\0",
    b"\x31" + certificate()[1:],
    certificate(version=element(0xA1, b"\2\1\2")),
    certificate(key=b""),
    certificate(key=element(0x30, b"")),
    certificate(key=element(0x30, element(0x30, b"") + element(0x04, b"abc"))),
    certificate(key=element(0x30, element(0x30, b"") + element(0x03, b"abc") + element(0x05, b""))),
    element(0x30, element(0x30, b"")),
    element(0x30, certificate()[2:] + b"\5\0"),
    b"\x30\x81" + certificate()[1:],  # more octets for the length than it needs
    b"\x30\x82\0" + certificate()[1:],
    b"\x30\x85\0\0\0\0" + certificate()[1:],
    b"\x30\x84\xff\xff\xff\xff" + certificate()[2:],
    b"\x30\xff" + b"\xff" * 200,
])
def test_no_certificate(broken):
    with pytest.raises(ValueError):
        public_key_info(broken)


def test_the_key_does_not_reach_beyond_what_is_signed():
    """Elements that end outside of what holds them, by one octet."""
    good = certificate()
    signed = good.index(b"\x30", 1)
    for change in (-1, 1):
        with pytest.raises(ValueError):
            public_key_info(good[:signed + 1] + bytes([good[signed + 1] + change])
                            + good[signed + 2:])


@settings(max_examples=300)
@given(st.binary(max_size=80))
def test_any_octets_end(data):
    with pytest.raises(ValueError):
        public_key_info(data)
    is_public_key_info(data)


REAL = certificate(serial=bytes(9), issuer=bytes(150), key=key_info(130), signature=bytes(70))


@settings(max_examples=300)
@given(st.integers(0, len(REAL) - 1), st.integers(0, 255))
def test_any_octet_changed(at, octet):
    """A key that comes out lies in the certificate and has the form of one; nothing but ValueError
    comes else."""
    changed = REAL[:at] + bytes([octet]) + REAL[at + 1:]
    try:
        key = public_key_info(changed)
    except ValueError:
        return
    assert key in changed and is_public_key_info(key)


@given(st.integers(0, len(REAL) - 1))
def test_cut_anywhere(at):
    with pytest.raises(ValueError):
        public_key_info(REAL[:at])
