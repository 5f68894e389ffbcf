"""The tags of a DKIM signature and of its key record, checked one by one. Pure.

RFC 6376 3.5 (signature), 3.6.1 (key), 6.1.1 and 6.1.2 (what makes them invalid), RFC 8301 and
RFC 8463 (algorithms). Unknown tags are ignored. A ValueError says why verifying is impossible.
"""
import base64
import binascii
import re
from typing import NamedTuple, Optional, Tuple

from ..mail import taglist
from ..mail.address import AddressError, ascii_domain

# a= -> the type of the key; both hash with SHA-256.
KEY_TYPES = {b"rsa-sha256": b"rsa", b"ed25519-sha256": b"ed25519"}
FORMS = (b"simple", b"relaxed")
RSA_SHA1 = b"rsa-sha1"

_HASH = b"sha256"
_REQUIRED = (b"v", b"a", b"b", b"bh", b"d", b"h", b"s")
_DOMAIN = re.compile(r"(?=.{1,253}\Z)[0-9a-z_][0-9a-z_-]{0,62}(?:\.[0-9a-z_][0-9a-z_-]{0,62})*\Z",
                     re.I)
_FIELD = re.compile(rb"[!-9<-~]+\Z")
_LENGTH, _MOMENT = re.compile(rb"[0-9]{1,76}\Z"), re.compile(rb"[0-9]{1,12}\Z")


class Signature(NamedTuple):
    """`forms`: the canonicalization of header and body, each one of FORMS; `names`: of the signed
    fields, in lower case; `identity`: the domain of i=; `octets`: of b=; `length`: of the signed
    part of the body in bytes, None for all; `signed`, `expires`: epoch seconds or None."""
    algorithm: bytes
    forms: Tuple[bytes, bytes]
    domain: bytes
    selector: bytes
    names: Tuple[bytes, ...]
    identity: bytes
    body_hash: bytes
    octets: bytes
    length: Optional[int]
    signed: Optional[int]
    expires: Optional[int]


def read_signature(tags):
    """The tags of a field (taglist.parse) -> Signature. Raises ValueError (6.1.1)."""
    if any(name not in tags for name in _REQUIRED):
        raise ValueError("a required tag is missing")
    if tags[b"v"] != b"1":
        raise ValueError("unknown version")
    if tags[b"a"] not in KEY_TYPES and tags[b"a"] != RSA_SHA1:
        raise ValueError("unknown algorithm")
    domain, selector = _name(tags[b"d"]).lower(), _name(tags[b"s"])
    names = tuple(name.lower() for name in taglist.names(tags[b"h"]))
    if not all(map(_FIELD.match, names)):
        raise ValueError("malformed signature")
    if b"from" not in names:
        raise ValueError("From is not signed")
    if b"q" in tags and b"dns/txt" not in taglist.names(tags[b"q"]):
        raise ValueError("unknown query method")
    signed, expires = _number(tags, b"t", _MOMENT), _number(tags, b"x", _MOMENT)
    return Signature(tags[b"a"], _forms(tags.get(b"c", b"simple")), domain, selector, names,
                     _identity(tags, domain),
                     _base64(tags[b"bh"]), _base64(tags[b"b"]), _number(tags, b"l", _LENGTH),
                     signed, expires)


def _name(value):
    """A domain or selector in A-labels; mail with UTF-8 may have U-labels (RFC 8616 5)."""
    try:
        name = ascii_domain(value.decode("utf-8")) if value[-1:] != b"." else ""
    except (UnicodeError, AddressError):
        name = ""
    if not _DOMAIN.match(name):
        raise ValueError("malformed signature")
    return name.encode("ascii")


def _forms(value):
    header, slash, body = value.partition(b"/")
    body = body if slash else FORMS[0]
    if header not in FORMS or body not in FORMS:
        raise ValueError("unknown canonicalization")
    return header, body


def _identity(tags, domain):
    """The domain of i=, which must be that of d= or below it."""
    local, at, identity = tags.get(b"i", b"@" + domain).rpartition(b"@")
    identity = _name(identity.strip(taglist.BLANKS)).lower()
    if not at or identity != domain and not identity.endswith(b"." + domain):
        raise ValueError("i= is not in the domain of d=")
    return identity


def _number(tags, name, pattern):
    value = tags.get(name)
    if value is None:
        return None
    if not pattern.match(value):
        raise ValueError("malformed signature")
    return int(value)


def _base64(value):
    try:
        found = base64.b64decode(taglist.unfolded(value), validate=True)
    except binascii.Error:
        found = b""
    if not found:
        raise ValueError("malformed signature")
    return found


def read_key(record, algorithm, is_below=False):
    """A TXT record -> the bytes of its p=, if the key may verify this signature (6.1.2).

    `algorithm`: of the signature, in KEY_TYPES; `is_below`: its i= is in a subdomain of its d=.
    Raises ValueError.
    """
    try:
        tags = taglist.parse(record)
    except ValueError:
        raise ValueError("unusable key")
    if b"v" in tags and (next(iter(tags)) != b"v" or tags[b"v"] != b"DKIM1") or b"p" not in tags:
        raise ValueError("unusable key")
    if b"h" in tags and _HASH not in taglist.names(tags[b"h"]):
        raise ValueError("the key is not for this hash")
    if tags.get(b"k", b"rsa") != KEY_TYPES[algorithm]:
        raise ValueError("the key is not for this algorithm")
    if not {b"*", b"email"} & set(taglist.names(tags.get(b"s", b"*"))):
        raise ValueError("the key is not for mail")
    if is_below and b"s" in taglist.names(tags.get(b"t", b"")):
        raise ValueError("the key is not for subdomains")
    if not tags[b"p"]:
        raise ValueError("the key is revoked")
    try:
        return base64.b64decode(taglist.unfolded(tags[b"p"]), validate=True)
    except binascii.Error:
        raise ValueError("unusable key")
