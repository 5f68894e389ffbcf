"""DKIM signatures on what comes in (RFC 6376, RFC 8301, RFC 8463): which of them hold.  Beside `signing` the importer of dkimpy.

Made for the process that judges: `import dkim` costs 8 MB.  dkimpy reads the header and the key and does the sums; the body is
hashed here while it streams by (`bodyhash`), for dkimpy would have it in memory, and a hostile one keeps its patterns busy for
hours.  For the same reason what no real message has is not looked at: see the bounds.  Knows no policy of anybody's.
"""
import base64
import hashlib
import re
from typing import NamedTuple

from ..mail import headers
from .bodyhash import BodyHash, SimpleBodyHash
from .lookup import Unanswered

MOST_SIGNATURES = 5
HEADER_OCTETS, HEADER_FIELDS, SIGNATURE_OCTETS, KEY_OCTETS = 256 * 1024, 1000, 4096, 2048
RSA_BITS = 1024  # RFC 8301 section 3.2

_BLANKS = re.compile(rb"[ \t\r\n]{100}")
_BODIES = {b"simple": SimpleBodyHash, b"relaxed": BodyHash}


class Verified(NamedTuple):
    """One signature: the `result` is a word of RFC 8601 section 2.7.1, `reason` a few words or "".

    `domain`, `selector`, `algorithm`, `signature`: what its tags d, s, a and b say (str, octets as Latin-1), "" for nothing.
    """
    result: str
    reason: str
    domain: str = ""
    selector: str = ""
    algorithm: str = ""
    signature: str = ""


class _NoKey(Exception):
    """The DNS has no key under that name."""


class _Verdict(Exception):
    """(result, reason) of a signature that needs no further look."""


def load():
    """Import what verifies now. Raises ImportError."""
    import dkim  # noqa: F401


def count(header: bytes) -> int:
    """Signatures in a header block."""
    return sum(field.name.lower() == b"dkim-signature" for field in headers.each_field(header))


def unverified(header: bytes, result: str, reason: str) -> list:
    """A Verified for a message that is signed and whose signatures nobody looks at; none for one that is not."""
    return [Verified(result, reason)] if count(header) else []


def verify(header, body, ask):
    """The signatures of a message, the topmost first -> list of Verified, at most MOST_SIGNATURES.

    `header`: the block in wire form, with its empty line; `body`: an iterable of the body's octets in wire form, cut anywhere,
    that is gone through once at most; `ask(name, "TXT")` -> tuple of bytes, raises lookup.Unanswered.  Raises what `body` raises,
    and ImportError without dkimpy.
    """
    import dkim
    found = count(header)
    if not found:
        return []
    if len(header) > HEADER_OCTETS or header.count(b"\n") > 4 * HEADER_FIELDS or len(headers.fields(header)) > HEADER_FIELDS:
        return [Verified("policy", "header too large")]
    try:
        message = dkim.DKIM(header, minkey=RSA_BITS)
    except (dkim.DKIMException, IndexError):
        return [Verified("neutral", "header not readable")]
    values = [value for name, value in message.headers if name.lower() == b"dkim-signature"]
    if len(values) != found:
        return [Verified("neutral", "header not readable")]
    signatures = [_Signature(dkim, message, *each) for each in enumerate(values[:MOST_SIGNATURES])]
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
    """One of them.  `body`: (canonicalization, length or None) of the hash that it needs, None where it is judged already."""

    def __init__(self, dkim, message, index, value):
        self._dkim, self._message, self._index = dkim, message, index
        self._tags, self.body, self._outcome = {}, None, ("", "")
        try:
            self.body = self._read(value)
        except _Verdict as verdict:
            self._outcome = verdict.args

    def _read(self, value):
        """The header's part -> `body`. Raises _Verdict."""
        if len(value) > SIGNATURE_OCTETS or _BLANKS.search(value):
            raise _Verdict("policy", "signature too long")
        self._message.signature_fields = {}
        try:
            self._tags, self._names, fields = self._message.verify_headerprep(self._index)
        except self._dkim.DKIMException as error:
            self._tags = self._message.signature_fields
            if "past" in str(error) or "in the future" in str(error):
                raise _Verdict("fail", "signature expired" if "past" in str(error) else "signature from the future")
            raise _Verdict("neutral", "signature not readable")
        self._field = fields[self._index]
        if self._tags[b"a"] == b"rsa-sha1":
            raise _Verdict("policy", "rsa-sha1 proves nothing")  # RFC 8301 section 3.1
        canonicalization = self._tags.get(b"c", b"simple/simple").partition(b"/")[2] or b"simple"
        if canonicalization not in _BODIES:
            raise _Verdict("neutral", "canonicalization not known")
        return canonicalization, int(self._tags[b"l"]) if self._tags.get(b"l") else None

    def new_hash(self):
        canonicalization, length = self.body
        return _BODIES[canonicalization](_Counted(length))

    def check(self, body_hash, ask):
        """With the body's hash that it needs; `verified` knows what came of it."""
        try:
            self._check(body_hash, ask)
            self._outcome = ("pass", "")
        except _Verdict as verdict:
            self._outcome = verdict.args

    def _check(self, body_hash, ask):
        digest, unsigned = body_hash.digest()
        try:
            said = base64.b64decode(re.sub(rb"\s+", b"", self._tags[b"bh"]))
        except ValueError:
            raise _Verdict("neutral", "signature not readable")
        if said != digest:
            raise _Verdict("fail", "body hash did not verify")
        # Of the body no more is to be done, which dkimpy is told by leaving its hash out.
        tags = {name: value for name, value in self._tags.items() if name != b"bh"}
        self._message.pk = None
        try:
            holds = self._message.verify_sig(tags, self._names, self._field, lambda name, timeout=None: _key(ask, name))
        except Unanswered:
            raise _Verdict("temperror", "no answer from the DNS")
        except _NoKey:
            raise _Verdict("permerror", "no key")
        except self._dkim.NaClNotFoundError:
            raise _Verdict("neutral", "algorithm not known here")
        except self._dkim.KeyFormatError as error:
            raise _Verdict("policy" if "too small" in str(error) else "permerror", "key not usable")
        except Exception:  # a parser that met hostile octets: which exceptions it has then differs
            raise _Verdict("permerror", "key or signature not usable")
        if not holds:
            if self._message.pk is None:
                raise _Verdict("permerror", "key not usable")
            raise _Verdict("fail", "signature did not verify")
        if unsigned:
            raise _Verdict("policy", "the end of the body is not signed")  # RFC 6376 section 8.2

    def verified(self):
        d, s, a, b = (self._tags.get(tag, b"").decode("latin-1") for tag in (b"d", b"s", b"a", b"b"))
        return Verified(*self._outcome, d.lower(), s, a, "".join(b.split())[:8])


def _key(ask, name):
    """The key record of that name (bytes), as dkimpy asks for it. Raises _NoKey, lookup.Unanswered."""
    records = [record for record in ask(name.decode("ascii").rstrip("."), "TXT") if len(record) <= KEY_OCTETS]
    keys = [record for record in records if record.startswith(b"v=DKIM1")] or records
    if not keys:
        raise _NoKey
    return keys[0]


class _Counted:
    """A SHA-256 of the first `length` octets (all for None); its digest is (hash, octets beyond)."""

    def __init__(self, length, into=None, beyond=0):
        self._left, self._hash, self._beyond = length, hashlib.sha256() if into is None else into, beyond

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
        return self._hash.digest(), self._beyond
