"""The forms in which a passphrase is kept, and whether one is the right one.

Pure: no files, no clock, no memory of earlier questions (that is
`remembered.py`).  Forms: sha256 in hexadecimal digits; `pbkdf2-sha256$` and
`scrypt$` (below); the SCRAM-SHA-256 secret of RFC 5803; the obscured form of
the predecessor, which can be undone.

    pbkdf2-sha256$ITERATIONS$SALT$KEY       salt and key in base64
    scrypt$N$R$P$SALT$KEY

Passphrases are prepared with SASLprep before pbkdf2, scrypt and SCRAM; a plain
sha256 was made by other programs from the text as typed, so both are tried.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
from typing import NamedTuple, Optional, Tuple

from .prepare import octets, prepare

# About 9 ms on the 2-core machine this was measured on (CPython 3.11 and 3.13,
# OpenSSL 3.0); hashlib gives the interpreter lock away meanwhile.  SCRAM has
# the same number: whoever steals the file attacks the cheaper of the two.
ITERATIONS = 40000
SALT_BYTES = 16
_KEY_BYTES = 32

# What a user's own file may ask of us at most: about 1 s, and 64 MiB.
MOST_ITERATIONS = 4000000
MOST_SCRYPT_MEMORY = 64 * 1024 * 1024
MOST_SCRYPT_WORK = 1 << 22

_DIGITS = re.compile("[0-9]{1,11}")


class SecretError(ValueError):
    """A stored secret that cannot be used; str() says why, without the secret."""


class ScramSecret(NamedTuple):
    """What a server keeps for SCRAM-SHA-256 (RFC 5802 section 3)."""

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes

    def __repr__(self) -> str:
        return "ScramSecret(%d)" % self.iterations


def hash_passphrase(passphrase: str, iterations: int = ITERATIONS,
                    salt: Optional[bytes] = None) -> str:
    """Make the `pbkdf2-sha256$…` form of a passphrase, with a salt of its own."""
    salt = os.urandom(SALT_BYTES) if salt is None else salt
    key = _pbkdf2(octets(prepare(passphrase)), salt, iterations)
    return "pbkdf2-sha256$%d$%s$%s" % (iterations, _base64(salt), _base64(key))


def nobodys(iterations: int = ITERATIONS) -> str:
    """A form as `hash_passphrase` makes it, of a passphrase that nobody knows; it costs as much to check, and nothing to make."""
    return "pbkdf2-sha256$%d$%s$%s" % (iterations, _base64(os.urandom(SALT_BYTES)), _base64(os.urandom(_KEY_BYTES)))


def scram_secret(passphrase: str, iterations: int = ITERATIONS,
                 salt: Optional[bytes] = None) -> str:
    """Make the stored form of RFC 5803: `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`."""
    salt = os.urandom(SALT_BYTES) if salt is None else salt
    secret = derive_scram(passphrase, salt, iterations)
    return "SCRAM-SHA-256$%d:%s$%s:%s" % (
        iterations, _base64(salt), _base64(secret.stored_key), _base64(secret.server_key))


def derive_scram(passphrase: str, salt: bytes, iterations: int) -> ScramSecret:
    """RFC 5802 section 3: SaltedPassword, ClientKey, StoredKey, ServerKey."""
    salted = _pbkdf2(octets(prepare(passphrase)), salt, iterations)
    client_key = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
    server_key = hmac.new(salted, b"Server Key", hashlib.sha256).digest()
    return ScramSecret(iterations, salt, hashlib.sha256(client_key).digest(), server_key)


def parse_scram(stored: str) -> ScramSecret:
    """Read the form that `scram_secret` writes.  Raises SecretError."""
    fields = stored.split("$")
    if len(fields) != 3 or fields[0].upper() != "SCRAM-SHA-256":
        raise SecretError("no SCRAM-SHA-256 secret (RFC 5803)")
    iterations, colon, salt = fields[1].partition(":")
    stored_key, second_colon, server_key = fields[2].partition(":")
    if not colon or not second_colon:
        raise SecretError("a SCRAM-SHA-256 secret without its colons")
    secret = ScramSecret(_number(iterations, MOST_ITERATIONS), _bytes(salt),
                         _bytes(stored_key), _bytes(server_key))
    if len(secret.stored_key) != 32 or len(secret.server_key) != 32:
        raise SecretError("a SCRAM-SHA-256 secret with keys of a wrong length")
    return secret


def verify(stored: str, passphrase: str) -> bool:
    """Tell whether a passphrase belongs to a stored form.

    In: `stored` is sha256 hex, `pbkdf2-sha256$…`, `scrypt$…`, or an RFC 5803
    secret.  Raises SecretError where the form is unknown or this interpreter
    cannot compute it.  The comparison takes the same time whatever differs.
    """
    kind = stored.partition("$")[0].lower()
    if kind == "pbkdf2-sha256":
        iterations, salt, key = _parse_pbkdf2(stored)
        given = _pbkdf2(octets(prepare(passphrase)), salt, iterations)
        return hmac.compare_digest(given, key)
    if kind == "scrypt":
        return _verify_scrypt(stored, passphrase)
    if kind == "scram-sha-256":
        secret = parse_scram(stored)
        given_secret = derive_scram(passphrase, secret.salt, secret.iterations)
        return hmac.compare_digest(given_secret.stored_key, secret.stored_key)
    if is_sha256(stored):
        return _verify_sha256(stored, passphrase)
    raise SecretError("a passphrase in no known form")


def iterations_of(stored: str) -> int:
    """How many pbkdf2 iterations `verify` will do for a stored form.

    For evening out the time of cheap forms; 0 for sha256 and unknown forms.
    """
    kind = stored.partition("$")[0].lower()
    try:
        if kind == "pbkdf2-sha256":
            return _parse_pbkdf2(stored)[0]
        if kind == "scram-sha-256":
            return parse_scram(stored).iterations
    except SecretError:
        return 0
    return ITERATIONS if kind == "scrypt" else 0


def spend(iterations: int) -> None:
    """Do the work of so many pbkdf2 iterations, for nothing but its time."""
    if iterations > 0:
        _pbkdf2(b"nobody", b"\0" * SALT_BYTES, iterations)


def is_sha256(text: str) -> bool:
    """Whether a text is 64 hexadecimal digits."""
    return len(text) == 64 and all(char in "0123456789abcdefABCDEF" for char in text)


def sha256(passphrase: str) -> str:
    """The predecessor's form: sha256 of the UTF-8 text in hexadecimal digits."""
    return hashlib.sha256(octets(passphrase)).hexdigest()


def obscure(text: str) -> str:
    """Obscure a text: an exchange format and no protection (CONFIG, vectors in the test).

    The reversed UTF-8 bytes get 1, 2, … as padding to a length that is a
    multiple of 3 (so that base64 needs no "=") and over the next 16; then each
    byte is mixed with the one before it.
    """
    data = octets(text)
    pad = 16 - len(data) % 16
    pad += 3 - (len(data) + pad) % 3
    mixed = bytearray(data[::-1]) + bytearray(range(1, pad + 1))
    for at in range(1, len(mixed)):
        mixed[at] ^= mixed[at - 1] ^ 42
    return base64.b64encode(bytes(mixed)).decode("ascii")


def unobscure(text: str) -> str:
    """Undo `obscure`; what is not in its form is taken as clear text.  Never raises."""
    try:
        mixed = bytearray(base64.b64decode(text.encode("ascii"), validate=True))
    except ValueError:      # no ASCII, no base64
        return text
    for at in range(len(mixed) - 1, 0, -1):
        mixed[at] ^= mixed[at - 1] ^ 42
    pad = mixed[-1] if mixed else 0
    if not 0 < pad <= len(mixed) or mixed[-pad:] != bytearray(range(1, pad + 1)):
        return text
    try:
        plain = bytes(mixed[:-pad][::-1]).decode("utf-8")
    except UnicodeDecodeError:
        return text
    # Clear text that happens to decode is clear text all the same, unless it
    # is what obscure() would have written.
    return plain if obscure(plain) == text else text


def has_md5() -> bool:
    """Whether this interpreter computes MD5 at all (under FIPS rules it does not)."""
    try:
        hashlib.md5(b"")
        hmac.new(b"", b"", hashlib.md5)
    except (ValueError, AttributeError):
        return False
    return True


def _verify_sha256(stored: str, passphrase: str) -> bool:
    expected = stored.lower().encode("ascii")
    typed = hmac.compare_digest(sha256(passphrase).encode("ascii"), expected)
    prepared = hmac.compare_digest(sha256(prepare(passphrase)).encode("ascii"), expected)
    return typed or prepared


def _parse_pbkdf2(stored: str) -> Tuple[int, bytes, bytes]:
    fields = stored.split("$")
    if len(fields) != 4:
        raise SecretError("a pbkdf2-sha256 passphrase needs three fields after its name")
    key = _bytes(fields[3])
    if len(key) != _KEY_BYTES:
        raise SecretError("a pbkdf2-sha256 passphrase with a key of a wrong length")
    return _number(fields[1], MOST_ITERATIONS), _bytes(fields[2]), key


def _verify_scrypt(stored: str, passphrase: str) -> bool:
    fields = stored.split("$")
    if len(fields) != 6:
        raise SecretError("a scrypt passphrase needs five fields after its name")
    n, r, p = (_number(field, 1 << 24) for field in fields[1:4])
    salt, key = _bytes(fields[4]), _bytes(fields[5])
    if 128 * n * r > MOST_SCRYPT_MEMORY or n * r * p > MOST_SCRYPT_WORK or len(key) < 16:
        raise SecretError("a scrypt passphrase that costs too much or protects too little")
    scrypt = getattr(hashlib, "scrypt", None)
    if scrypt is None:
        raise SecretError("this Python cannot compute scrypt; set the passphrase anew")
    try:
        given = scrypt(octets(prepare(passphrase)), salt=salt, n=n, r=r, p=p,
                       maxmem=2 * MOST_SCRYPT_MEMORY, dklen=len(key))
    except ValueError:
        raise SecretError("a scrypt passphrase with impossible parameters") from None
    return hmac.compare_digest(given, key)


def _pbkdf2(passphrase: bytes, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", passphrase, salt, iterations)


def _number(text: str, most: int) -> int:
    if not (_DIGITS.fullmatch(text) and 0 < int(text) <= most):
        raise SecretError("a number in a stored passphrase is not between 1 and %d" % most)
    return int(text)


def _bytes(text: str) -> bytes:
    try:
        value = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise SecretError("no base64 where a stored passphrase needs it") from None
    if not value:
        raise SecretError("an empty field in a stored passphrase")
    return value


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
