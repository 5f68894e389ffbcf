"""Verifies the DKIM signatures of incoming mail (RFC 6376, RFC 8301, RFC 8463).

Runs in the process that judges incoming mail. `tags` reads the signature and the key; this file
assembles what was signed (3.4, 3.7); dkimpy or PyNaCl does the arithmetic. The body is hashed
while it streams by (`body_hash`). The bounds below keep hostile messages cheap.
"""
import hashlib
import re
import time
from typing import NamedTuple

from ..mail import headers, taglist
from ..net.resolver import Unanswered
from ..text.clock import EARLIEST
from . import tags
from .body_hash import BodyHash, SimpleBodyHash
from .keys import ED25519_BYTES
from .signatures import relaxed
from .signing import dkimpys_crypto

MOST_SIGNATURES = 5
_HEADER_BYTES, _HEADER_FIELDS = 256 * 1024, 1000
_SIGNATURE_BYTES, _KEY_BYTES = 4096, 2048
_MOST_KEYS = 3  # under one name, of those that could verify the signature
_RSA_BITS = 1024  # RFC 8301 3.2
_EXPONENT_BITS = 64  # 17 is usual; thousands cost half a second per signature

# Seconds that clocks may differ: past x=, and t= in the future (wrong time zones are common).
_PAST, _FUTURE = 300, 36000
_NAME = b"dkim-signature"
_NEAREST = ("fail", "policy", "permerror")  # of several keys, the verdict that is reported
_FIELD_NAME, _MBOX = re.compile(rb"[!-9;-~]+\Z"), re.compile(rb"From [ \t]*[^ \t:]")
_BODIES = {b"simple": SimpleBodyHash, b"relaxed": BodyHash}


class Verified(NamedTuple):
    """One signature. `result`: a word of RFC 8601 2.7.1; `reason`: a few words, or "".

    PERMFAIL of RFC 6376 6.1 is "permerror", with two exceptions: a wrong hash or an expired
    signature is "fail", and a valid signature that we do not accept is "policy".
    `domain`, `selector`, `algorithm`, `signature`: from its tags d, s, a and b (str, bytes as
    Latin-1), "" if missing; of b= the first 8 characters.
    """
    result: str
    reason: str
    domain: str = ""
    selector: str = ""
    algorithm: str = ""
    signature: str = ""


class _Verdict(Exception):
    """(result, reason) of a signature; nothing more needs to be checked."""


def load():
    """Import dkimpy and PyNaCl now -> True. Raises ImportError without dkimpy."""
    dkimpys_crypto()
    try:
        import nacl.signing  # noqa: F401
    except ImportError:
        pass  # then Ed25519 signatures are neutral
    return True


def count(header):
    """The number of signatures in a header block."""
    return sum(field.name.lower() == _NAME for field in headers.each_field(header))


def unverified(header, result, reason):
    """-> [Verified] for a signed message that is not checked, [] for an unsigned one."""
    return [Verified(result, reason)] if count(header) else []


def verify(header, body, ask):
    """The signatures of a message, the topmost first -> list of at most MOST_SIGNATURES Verified.

    `header`: the block in wire form, with its empty line; `body`: an iterable of the body in wire
    form, cut anywhere, which is read at most once; `ask(name, "TXT")` -> tuple of bytes, raises
    net.resolver.Unanswered. Raises what `body` raises, and ImportError without dkimpy.
    """
    if not count(header):
        return []
    if (len(header) > _HEADER_BYTES or header.count(b"\n") > 4 * _HEADER_FIELDS
            or len(headers.fields(header)) > _HEADER_FIELDS):
        return [Verified("policy", "header too large")]
    fields = [field for field in headers.each_field(header) if not _MBOX.match(field.raw)]
    if not all(_FIELD_NAME.match(field.name) for field in fields):
        return [Verified("neutral", "malformed header")]
    signed = [field for field in fields if field.name.lower() == _NAME][:MOST_SIGNATURES]
    signatures = [_Signature(fields, each) for each in signed]
    hashes = {each.body: each.new_hash() for each in signatures if each.body}
    if hashes:
        for chunk in body:
            for each in hashes.values():
                each.update(chunk)
    for each in signatures:
        if each.body:
            each.check(hashes[each.body], ask)
    return [each.verified() for each in signatures]


class _Signature:
    """One signature. `body`: (canonicalization, length or None) of the body hash that it needs,
    None if the outcome is already known."""

    def __init__(self, fields, field):
        self._fields, self._field = fields, field
        self._tags, self._said, self.body, self._outcome = {}, None, None, ("", "")
        try:
            self.body = self._read(field.value)
        except _Verdict as verdict:
            self._outcome = verdict.args

    def _read(self, value):
        """Check the field itself -> `body`. Raises _Verdict."""
        if len(value) > _SIGNATURE_BYTES:
            raise _Verdict("policy", "signature too long")
        try:
            self._tags = taglist.parse(value)
            found = self._said = tags.read_signature(self._tags)
        except ValueError as error:
            raise _Verdict("permerror", str(error))
        if found.algorithm == tags.RSA_SHA1:
            raise _Verdict("policy", "rsa-sha1 is not accepted")  # RFC 8301 3.1
        if None not in (found.signed, found.expires) and found.expires <= found.signed:
            raise _Verdict("permerror", "expires before it was made")
        now = time.time()
        if now >= EARLIEST:  # otherwise our clock is wrong
            if found.expires is not None and found.expires < now - _PAST:
                raise _Verdict("fail", "signature expired")
            if found.signed is not None and found.signed > now + _FUTURE:
                raise _Verdict("fail", "signature from the future")
        return found.forms[1], found.length

    def new_hash(self):
        canonicalization, length = self.body
        return _BODIES[canonicalization](_Counted(length))

    def check(self, body_hash, ask):
        """Check everything else; `body_hash`: of the kind that it needs."""
        try:
            self._check(body_hash, ask)
            self._outcome = ("pass", "")
        except _Verdict as verdict:
            self._outcome = verdict.args

    def _check(self, body_hash, ask):
        digest, missing, unsigned = body_hash.digest()
        if missing:
            raise _Verdict("permerror", "l= exceeds the body")
        if self._said.body_hash != digest:
            raise _Verdict("fail", "body hash did not verify")
        try:
            self._check_keys(ask)
        except ImportError:
            raise _Verdict("neutral", "unsupported algorithm")
        except Unanswered:
            raise _Verdict("temperror", "no DNS answer")
        if unsigned:
            raise _Verdict("policy", "the end of the body is not signed")  # RFC 6376 8.2

    def _check_keys(self, ask):
        """Try all keys under the name, since each may be the right one (6.1.2).

        Raises _Verdict, ImportError, Unanswered.
        """
        said = self._said
        name = (b"%s._domainkey.%s" % (said.selector, said.domain)).decode("ascii")
        verdicts, tried, digest = [("permerror", "no key")], 0, self._digest()
        for record in ask(name, "TXT"):
            if len(record) > _KEY_BYTES or tried >= _MOST_KEYS:
                continue
            try:
                is_valid = self._verifier(tags.read_key(record, said.algorithm,
                                                        said.identity != said.domain))
                tried += 1
                if is_valid(digest):
                    return
                verdicts.append(("fail", "signature did not verify"))
            except ValueError as error:
                verdicts.append(("permerror", str(error)))
            except _Verdict as verdict:
                verdicts.append(verdict.args)
        raise _Verdict(*min(reversed(verdicts), key=lambda verdict: _NEAREST.index(verdict[0])))

    def _verifier(self, key):
        """The bytes of a key -> callable(hash object) -> whether this key made the signature.

        Raises _Verdict, ImportError, and ValueError for an unusable key.
        """
        octets = self._said.octets
        if tags.KEY_TYPES[self._said.algorithm] == b"ed25519":
            return _ed25519_verifier(key, octets)
        crypto = dkimpys_crypto()
        try:
            key = crypto.parse_public_key(key)
            bits, exponent_bits = [key[part].bit_length() for part in ("modulus", "publicExponent")]
        except Exception:  # the parser met hostile bytes and may raise anything
            raise ValueError("unusable key")
        if exponent_bits > _EXPONENT_BITS:
            raise ValueError("unusable key")
        if bits < _RSA_BITS:
            raise _Verdict("policy", "key too small")
        return lambda digest: _rsa_is_valid(crypto, digest, octets, key)

    def _digest(self):
        """The hash object of the signed header fields (3.7)."""
        digest = hashlib.sha256()
        write = _relaxed if self._said.forms[0] == b"relaxed" else _simple
        for field in self._signed_fields():
            digest.update(write(field, field.value) + b"\r\n")
        digest.update(write(self._field, _without_b(self._field.value)))
        return digest

    def _signed_fields(self):
        """The fields that h= names, of each name the last first (5.4.2), never this one (3.5).

        A From beyond those counts as signed too, so that it breaks the signature: mail programs
        might show that one."""
        left = {}
        for field in self._fields:
            if field is self._field:
                continue
            left.setdefault(field.name.lower(), []).append(field)
        for name in self._said.names + (b"from",):
            if left.get(name):
                yield left[name].pop()

    def verified(self):
        d, s, a, b = [self._tags.get(tag, b"").decode("latin-1")
                      for tag in (b"d", b"s", b"a", b"b")]
        if self._said is not None:
            d, s = (name.decode("ascii") for name in (self._said.domain, self._said.selector))
        return Verified(*self._outcome, d.lower(), s, a, "".join(b.split())[:8])


def _simple(field, value):
    return field.raw.partition(b":")[0] + b":" + value  # keeps a blank before the colon


def _relaxed(field, value):
    return b"%s:%s" % (field.name.lower(), relaxed(value))


def _without_b(value):
    """A DKIM-Signature's value with an empty b= (3.7)."""
    parts = value.split(b";")
    for number, part in enumerate(parts):
        name, equals, _ = part.partition(b"=")
        if name.strip(taglist.BLANKS) == b"b":
            parts[number] = name + equals
    return b";".join(parts)


def _rsa_is_valid(crypto, digest, octets, key):
    try:
        return crypto.RSASSA_PKCS1_v1_5_verify(digest, octets, key)
    except Exception:  # the numbers are not an RSA key, or too small for this hash
        raise _Verdict("permerror", "unusable key")


def _ed25519_verifier(key, octets):
    from nacl.exceptions import CryptoError
    from nacl.signing import VerifyKey
    if len(key) != ED25519_BYTES:
        raise ValueError("unusable key")

    def is_valid(digest):
        try:
            VerifyKey(key).verify(digest.digest(), octets)
        except (CryptoError, ValueError):
            return False
        return True
    return is_valid


class _Counted:
    """The SHA-256 of the first `length` bytes (None: of all). Its digest is (hash, number of
    missing bytes, number of bytes beyond)."""

    def __init__(self, length, into=None, beyond=0):
        self._left, self._beyond = length, beyond
        self._hash = hashlib.sha256() if into is None else into

    def update(self, data):
        if self._left is None:
            self._hash.update(data)
            return
        self._hash.update(data[:self._left])
        self._beyond += max(0, len(data) - self._left)
        self._left = max(0, self._left - len(data))

    def copy(self):
        return _Counted(self._left, self._hash.copy(), self._beyond)

    def digest(self):
        return self._hash.digest(), self._left or 0, self._beyond
