"""Passphrases: making one, the forms in which it is stored, and whether a given one matches.

Pure; `verifier.py` adds the cache and the limits. The stored forms:

    64 hexadecimal digits                           SHA-256, the predecessor's form
    pbkdf2-sha256$ITERATIONS$SALT$KEY               salt and key in base64
    scrypt$N$R$P$SALT$KEY
    SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER     RFC 5803

Besides there is the predecessor's obscured form, which can be undone.

Passphrases are prepared with SASLprep for pbkdf2, scrypt and SCRAM. Other programs made SHA-256
hashes from the passphrase as typed, so there both are tried.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
from typing import NamedTuple, Optional, Tuple

from ..text.obscured import obscure, unobscure  # noqa: F401 - a form of passphrases, too
from .saslprep import octets, prepare

# Lower-case letters without i, l and o: no shift key on a telephone, and nothing that looks like
# something else on paper. 20 of 23 letters are 90 bits.
LETTERS = "abcdefghjkmnpqrstuvwxyz"
GROUPS = 4
GROUP = 5

LONGEST_PASSPHRASE = 1024       # characters; hashing more would only cost time

# About 9 ms on the 2-core machine where this was measured (CPython 3.11 and 3.13, OpenSSL 3.0);
# hashlib releases the interpreter lock meanwhile. SCRAM has the same number, because who steals
# the file attacks the cheaper of the two.
ITERATIONS = 40000
SALT_BYTES = 16
_KEY_BYTES = 32

# A user's own file may ask for at most this: about 1 s, and 64 MiB.
MOST_ITERATIONS = 4000000
MOST_SCRYPT_MEMORY = 64 * 1024 * 1024
MOST_SCRYPT_WORK = 1 << 22

_DIGITS = re.compile("[0-9]{1,11}")


class InvalidPassphrase(ValueError):
    """A passphrase that cannot be set; str() says why."""


class SecretError(ValueError):
    """A stored secret that cannot be used; str() says why, without the secret."""


class ScramSecret(NamedTuple):
    """What a server stores for SCRAM-SHA-256 (RFC 5802 section 3)."""

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes

    def __repr__(self) -> str:
        return "ScramSecret(%d)" % self.iterations


# Making one


def generate() -> str:
    """A new random passphrase, like `hvrkm-qznwe-bdtyg-pcxfa`."""
    import secrets  # late: a quarter of a megabyte, and seldom needed
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(GROUP)) for _ in range(GROUPS))


def check(passphrase: str) -> str:
    """Return a passphrase if every protocol can carry it. Raises InvalidPassphrase."""
    if not passphrase:
        raise InvalidPassphrase("a passphrase must not be empty")
    if len(passphrase) > LONGEST_PASSPHRASE:
        raise InvalidPassphrase("a passphrase has at most %d characters" % LONGEST_PASSPHRASE)
    # NUL separates the fields of PLAIN, and line ends separate commands.
    if any(char < " " or char == "\x7f" or "\ud800" <= char <= "\udfff" for char in passphrase):
        raise InvalidPassphrase("a passphrase must not contain control characters")
    return passphrase


# Stored forms


def hash_passphrase(passphrase: str, iterations: int = ITERATIONS) -> str:
    """The `pbkdf2-sha256$…` form of a passphrase, with a new salt."""
    salt = os.urandom(SALT_BYTES)
    key = _pbkdf2(octets(prepare(passphrase)), salt, iterations)
    return "pbkdf2-sha256$%d$%s$%s" % (iterations, _base64(salt), _base64(key))


def unmatchable(iterations: int = ITERATIONS) -> str:
    """A form like that of `hash_passphrase` that no passphrase matches.

    Verifying takes as long, but making it takes no time.
    """
    return "pbkdf2-sha256$%d$%s$%s" % (iterations, _base64(os.urandom(SALT_BYTES)),
                                       _base64(os.urandom(_KEY_BYTES)))


def sha256(passphrase: str) -> str:
    """The predecessor's form: SHA-256 of the UTF-8 text in hexadecimal digits."""
    return hashlib.sha256(octets(passphrase)).hexdigest()


def scram_secret(passphrase: str, iterations: int = ITERATIONS,
                 salt: Optional[bytes] = None) -> str:
    """The form of RFC 5803; `salt`: None makes a new one."""
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
    """Read the form that `scram_secret` writes. Raises SecretError."""
    fields = stored.split("$")
    if len(fields) != 3 or fields[0].upper() != "SCRAM-SHA-256":
        raise SecretError("not a SCRAM-SHA-256 secret (RFC 5803)")
    iterations, colon, salt = fields[1].partition(":")
    stored_key, second_colon, server_key = fields[2].partition(":")
    if not colon or not second_colon:
        raise SecretError("a SCRAM-SHA-256 secret without its colons")
    secret = ScramSecret(_number(iterations, MOST_ITERATIONS), _bytes(salt),
                         _bytes(stored_key), _bytes(server_key))
    if len(secret.stored_key) != 32 or len(secret.server_key) != 32:
        raise SecretError("a SCRAM-SHA-256 secret with keys of a wrong length")
    return secret


# Verifying


def verify(stored: str, passphrase: str) -> bool:
    """Whether a passphrase matches a stored form.

    Raises SecretError if the form is unknown or this Python cannot compute it. The comparison
    takes the same time wherever the difference is.
    """
    kind = _kind(stored)
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
    if len(stored) == 64 and all(char in "0123456789abcdefABCDEF" for char in stored):
        return _verify_sha256(stored, passphrase)
    raise SecretError("a stored passphrase in an unknown format")


def iterations_of(stored: str) -> int:
    """How many pbkdf2 iterations `verify` does for a stored form.

    0 for SHA-256 and unknown forms; scrypt counts like the default.
    """
    kind = _kind(stored)
    try:
        if kind == "pbkdf2-sha256":
            return _parse_pbkdf2(stored)[0]
        if kind == "scram-sha-256":
            return parse_scram(stored).iterations
    except SecretError:
        return 0
    return ITERATIONS if kind == "scrypt" else 0


def spend(iterations: int) -> None:
    """Take the time of so many pbkdf2 iterations."""
    if iterations > 0:
        _pbkdf2(b"nobody", b"\0" * SALT_BYTES, iterations)


def has_md5() -> bool:
    """Whether this Python computes MD5 (not under FIPS rules)."""
    try:
        hashlib.md5(b"")
        hmac.new(b"", b"", hashlib.md5)
    except (ValueError, AttributeError):
        return False
    return True


def _kind(stored: str) -> str:
    return stored.partition("$")[0].lower()


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
        raise SecretError("a scrypt passphrase with parameters too large or a key too short")
    scrypt = getattr(hashlib, "scrypt", None)
    if scrypt is None:
        raise SecretError("this Python cannot compute scrypt; set the passphrase again")
    try:
        given = scrypt(octets(prepare(passphrase)), salt=salt, n=n, r=r, p=p,
                       maxmem=2 * MOST_SCRYPT_MEMORY, dklen=len(key))
    except ValueError:
        raise SecretError("a scrypt passphrase with invalid parameters") from None
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
        raise SecretError("a field of a stored passphrase is not base64") from None
    if not value:
        raise SecretError("an empty field in a stored passphrase")
    return value


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
