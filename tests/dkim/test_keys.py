"""Key files of all formats, and broken ones."""

import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phenmail_protocols.dkim import key_making, keys
from phenmail_protocols.dkim.keys import BrokenKey, read_ed25519, read_rsa

from .keys import RSA

KEY = read_rsa(RSA)


def openssl(program, *arguments, **options):
    return subprocess.check_output((program("openssl"),) + arguments, stderr=subprocess.DEVNULL,
                                   **options)


def test_pkcs8_and_pkcs1_are_the_same_key(program):
    assert read_rsa(openssl(program, "pkcs8", "-topk8", "-nocrypt", input=RSA)) == KEY
    assert KEY.bits == 2048


@pytest.mark.parametrize("change", [
    lambda pem: pem.replace(b"\n", b"\r\n"),
    lambda pem: b"# my key\n\n" + pem + b"\n\n",
    lambda pem: pem.rstrip(b"\n"),
    lambda pem: pem.replace(b"\n", b" \n"),
])
def test_a_key_from_an_editor(change):
    assert read_rsa(change(RSA)) == KEY


@pytest.mark.parametrize("command",
                         [["genrsa", "2048"],
                          ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]])
def test_keys_of_this_openssl(program, command):
    assert read_rsa(openssl(program, *command)).bits == 2048


def test_keys_of_cryptography():
    pytest.importorskip("cryptography")
    assert read_rsa(key_making._by_cryptography()).bits == 2048


@pytest.mark.parametrize("command, words", [
    (["ecparam", "-name", "prime256v1", "-genkey", "-noout"], "not an RSA private key"),
    (["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "not an RSA key"),
    (["genrsa", "-aes128", "-passout", "pass:secret", "2048"], "passphrase"),
    (["genrsa", "512"], "512 bits"),
])
def test_unusable_keys(program, command, words):
    with pytest.raises(BrokenKey) as raised:
        read_rsa(openssl(program, *command))
    assert words in str(raised.value)


@pytest.mark.parametrize("data, words", [
    (b"", "empty"), (b" \n", "empty"), (RSA[:800], "PEM"), (b"nonsense", "PEM"),
    (b"-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n", "cut off"),
    (b"-----BEGIN RSA PRIVATE KEY-----\nA\n-----END RSA PRIVATE KEY-----\n", "base64"),
    (b"-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----\n", "PEM"),
])
def test_broken_files(data, words):
    with pytest.raises(BrokenKey) as raised:
        read_rsa(data)
    assert words in str(raised.value)


def test_a_changed_digit_is_noticed():
    at = RSA.find(b"\n", 600) + 10
    with pytest.raises(BrokenKey) as raised:
        read_rsa(RSA[:at] + (b"A" if RSA[at:at + 1] != b"A" else b"B") + RSA[at + 1:])
    assert "damaged" in str(raised.value)


@given(st.binary(max_size=80), st.booleans())
@settings(max_examples=150)
@example(b"\x30\x80", True)
@example(b"\x30\x84\xff\xff\xff\xff\x00", True)
@example(b"\x30\x1b" + b"\x02\x01\x00" + b"\x02\x01\x01" * 8, True)
def test_any_file_ends(data, wrapped):
    import binascii
    text = b"-----BEGIN PRIVATE KEY-----\n%s-----END PRIVATE KEY-----\n" % binascii.b2a_base64(
        data) if wrapped else data
    for read in (read_rsa, read_ed25519):
        try:
            read(text)
        except BrokenKey:
            pass


def test_ed25519_in_all_formats(program):
    content = key_making.new_ed25519()
    assert len(read_ed25519(content)) == 32
    assert read_ed25519(content.rstrip()) == read_ed25519(content)
    assert content != key_making.new_ed25519()
    try:
        pem = openssl(program, "genpkey", "-algorithm", "ed25519")
    except subprocess.CalledProcessError:
        pytest.skip("this openssl makes no Ed25519 keys")
    seed = read_ed25519(pem)
    public = openssl(program, "pkey", "-pubout", "-outform", "DER", input=pem)[-32:]
    nacl = pytest.importorskip("nacl.signing")
    assert nacl.SigningKey(seed).verify_key.encode() == public


@pytest.mark.parametrize("content", [RSA, b"", b"AAAA", b"!"])
def test_broken_ed25519_keys(content):
    with pytest.raises(BrokenKey):
        read_ed25519(content)


def test_a_file_that_is_too_large(tmp_path):
    (tmp_path / "key").write_bytes(b"x" * 100000)
    with pytest.raises(BrokenKey):
        keys.read_file(str(tmp_path / "key"))
