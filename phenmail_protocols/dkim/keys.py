"""The private DKIM keys: read from their files, and the DNS records of their public halves.

RSA keys are PEM files, PKCS#1 (RFC 8017 A.1.2) or PKCS#8 (RFC 5958), as old and new versions of
openssl write them. Ed25519 keys are the 32 bytes of the seed in base64, as dkimpy's `dknewkey`
writes them, or PKCS#8 (RFC 8410). The records are those of RFC 6376 3.6.1 and RFC 8463.

The DER here is our own, so that `phenmail dns` can print the records without dkimpy.
"""
import binascii
import os
import re
import stat
import threading
from typing import Mapping, NamedTuple

# RFC 8301 3.2: at least 1024, better 2048. A longer key does not fit into the TXT form of many
# DNS providers.
RSA_BITS = 2048
ED25519_BYTES = 32

_LEAST_BITS = 1024
_LARGEST_FILE = 65536
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]*)PRIVATE KEY-----(.*?)-----END \1PRIVATE KEY-----",
                  re.DOTALL)
_SEQUENCE, _INTEGER, _OCTETS, _BITS, _OID = 0x30, 0x02, 0x04, 0x03, 0x06
_RSA_OID = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"  # rsaEncryption, RFC 8017 C
_ED25519_OID = b"\x2b\x65\x70"  # RFC 8410 3
_NUMBERS = ("modulus", "publicExponent", "privateExponent", "prime1", "prime2", "exponent1",
            "exponent2", "coefficient")


class BrokenKey(ValueError):
    """The file contains no usable key; str() says why, without the file's name."""


class RsaKey(NamedTuple):
    """`numbers`: the fields of RSAPrivateKey (RFC 8017 A.1.2) by name, as dkimpy takes them."""
    numbers: Mapping[str, int]

    @property
    def bits(self):
        return self.numbers["modulus"].bit_length()

    @property
    def record(self):
        """The value of its TXT record."""
        key = _der(_SEQUENCE, _integer(self.numbers["modulus"])
                   + _integer(self.numbers["publicExponent"]))
        algorithm = _der(_SEQUENCE, _der(_OID, _RSA_OID) + b"\x05\x00")
        return "v=DKIM1; k=rsa; p=" + _base64(
            _der(_SEQUENCE, algorithm + _der(_BITS, b"\0" + key)))


def ed25519_record(public_key):
    """The value of the TXT record for the 32 bytes of a public key (RFC 8463 4)."""
    return "v=DKIM1; k=ed25519; p=" + _base64(public_key)


def read_rsa(data):
    """The content of a key file -> its RSA key. Raises BrokenKey."""
    fields = _sequence(_pem(data))
    if len(fields) >= 3 and fields[1][0] == _SEQUENCE:
        fields = _sequence(_unwrapped(fields, _RSA_OID, "an RSA key"))
    values = [int.from_bytes(content, "big") for tag, content in fields[:9] if tag == _INTEGER]
    if len(values) != 9 or values[0] != 0:
        raise BrokenKey("it is not an RSA private key with two primes")
    key = RsaKey(dict(zip(_NUMBERS, values[1:])))
    _check(key)
    return key


def read_ed25519(data):
    """The content of a key file -> the seed, 32 bytes. Raises BrokenKey."""
    if b"-----BEGIN" in data:
        wrapped = _elements(_unwrapped(_sequence(_pem(data)), _ED25519_OID, "an Ed25519 key"))
        seed = wrapped[0][1] if len(wrapped) == 1 and wrapped[0][0] == _OCTETS else b""
    else:
        seed = _from_base64(data)
    if len(seed) != ED25519_BYTES:
        raise BrokenKey("it is not an Ed25519 private key: expected 32 bytes in base64")
    return seed


def read_file(path):
    """Raises OSError, BrokenKey for a file that is too large."""
    with open(path, "rb") as file:
        data = file.read(_LARGEST_FILE + 1)
    if len(data) > _LARGEST_FILE:
        raise BrokenKey("it is too large for a key")
    return data


def _pem(data):
    found = _PEM.search(data)
    if not found:
        raise BrokenKey("it has no complete PEM private key" if data.strip() else "it is empty")
    if b"ENCRYPTED" in found.group():
        raise BrokenKey("it is protected by a passphrase")
    return _from_base64(found.group(2))


def _unwrapped(fields, oid, wanted):
    """The fields of PrivateKeyInfo (RFC 5958 2) -> the key inside, which must be of this kind."""
    tags = [tag for tag, _ in fields[:3]]
    if (tags != [_INTEGER, _SEQUENCE, _OCTETS]
            or _elements(fields[1][1])[:1] != [(_OID, oid)]):
        raise BrokenKey("it is not %s" % wanted)
    return fields[2][1]


def _check(key):
    """A key with inconsistent numbers would sign, but nobody could verify it."""
    n, e, d, p, q, dp, dq, qinv = (key.numbers[name] for name in _NUMBERS)
    exponents = ((d, p), (d, q), (dp, p), (dq, q))
    if (min(p, q) < 3 or p * q != n or qinv * q % p != 1
            or any(e * exponent % (prime - 1) != 1 for exponent, prime in exponents)):
        raise BrokenKey("its numbers are inconsistent: it is damaged")
    if key.bits < _LEAST_BITS:
        raise BrokenKey("it has %d bits, but verifiers require at least %d (RFC 8301)" % (
            key.bits, _LEAST_BITS))


class KeyFile:
    """A key file, parsed again only if it changed. `read`: callable(content) -> key."""

    def __init__(self, path, read):
        self.path = path
        self.read = read
        self._mark = self._key = None
        self._lock = threading.Lock()

    def exists(self):
        return os.path.lexists(self.path)

    def get(self):
        """The key. Raises OSError (FileNotFoundError: there is none yet), BrokenKey."""
        status = os.stat(self.path)
        mark = status.st_mtime_ns, status.st_ino, status.st_size
        with self._lock:
            if mark != self._mark:
                self._mark, self._key = None, self.read(read_file(self.path))
                self._mark = mark
            return self._key

    def complaint(self):
        """What is wrong with the file, or None if it is fine or does not exist."""
        try:
            mode = os.stat(self.path).st_mode
            self.get()
        except FileNotFoundError:
            return None
        except OSError as error:
            return "%s: cannot read the DKIM key: %s" % (self.path, error.strerror)
        except BrokenKey as error:
            return "%s: the DKIM key cannot be used: %s; mail is sent without its signature" % (
                self.path, error)
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            return "%s: other users can read the DKIM key and sign in your name: chmod 600" % (
                self.path)
        return None


# -- base64 and DER


def _from_base64(text):
    try:
        return binascii.a2b_base64(b"".join(text.split()))
    except binascii.Error:
        raise BrokenKey("it is not in base64")


def _base64(data):
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def _elements(data):
    """Consecutive DER values -> list of (tag, content)."""
    found, at = [], 0
    while at < len(data):
        tag, octets = data[at], 0
        length = data[at + 1] if at + 1 < len(data) else 0x80
        if length >= 0x80:
            octets = length & 0x7F
            length = (int.from_bytes(data[at + 2:at + 2 + octets], "big") if 0 < octets <= 4
                      else len(data))
        at += 2 + octets + length
        if at > len(data):
            raise BrokenKey("it is cut off")
        found.append((tag, data[at - length:at]))
    return found


def _sequence(data):
    """The values inside a SEQUENCE."""
    outer = _elements(data)
    if len(outer) != 1 or outer[0][0] != _SEQUENCE:
        raise BrokenKey("it is not in DER")
    return _elements(outer[0][1])


def _der(tag, content):
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def _integer(number):
    return _der(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))
