"""What is said in a mail transaction: MAIL and RCPT with the parameters that the server offers. Pure: values in, lines out.

RFC 5321 4.1.1.2 and 4.1.1.3, RFC 1870 (SIZE), RFC 6152 (BODY), RFC 6531 (SMTPUTF8), RFC 3461 4 and RFC 6533 (DSN).
"""
import re
from typing import Mapping, NamedTuple, Optional, Tuple

from ..mail.address import Address, AddressError, ascii_domain

_NOT_XTEXT = re.compile(rb"[^\x21-\x2a\x2c-\x3c\x3e-\x7e]")
# Either a character that is written as \x{HEX} already, which stays, or one that has to be.
_UNITEXT = re.compile(r"(\\x\{[0-9A-F]{2,6}\})|[^\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e]")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_LONGEST_ENVID, _LONGEST_ORCPT = 100, 500  # RFC 3461 sections 4.4 and 4.2, as written


class NotSayable(ValueError):
    """An address that this server cannot be told: it is not ASCII, and the server has no SMTPUTF8."""


class Offer(NamedTuple):
    """What a server's EHLO offers. `size`: the largest message in octets, 0 for no limit, None where SIZE is not offered; `auth`:
    names of mechanisms in upper case."""
    pipelining: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    dsn: bool = False
    starttls: bool = False
    size: Optional[int] = None
    auth: Tuple[str, ...] = ()


def offer_of(features: Mapping[str, str]) -> Offer:
    """{extension in lower case: its parameters} -> Offer."""
    size = features.get("size")
    if size is not None:
        size = int(size) if size.isdecimal() and len(size) < 19 else 0
    offered = ["pipelining", "8bitmime", "smtputf8", "dsn", "starttls"]
    return Offer(*[name in features for name in offered], size=size, auth=tuple(features.get("auth", "").upper().split()))


def mail(message, offer: Offer) -> bytes:
    """MAIL for a queued message (model.Message). Raises NotSayable."""
    words = [b"MAIL FROM:<%s>" % (b"" if message.sender is None else _path(message.sender, message.smtputf8 and offer.smtputf8))]
    if offer.size is not None and message.size:
        words.append(b"SIZE=%d" % message.size)
    if offer.eight_bit and message.eight_bit:
        words.append(b"BODY=8BITMIME")
    if message.smtputf8 and offer.smtputf8:
        words.append(b"SMTPUTF8")
    if offer.dsn:
        if message.ret:
            words.append(b"RET=" + message.ret.encode("ascii"))
        envid = xtext(message.envid) if message.envid else b""
        if envid and len(envid) <= _LONGEST_ENVID:
            words.append(b"ENVID=" + envid)
    return _line(words)


def rcpt(recipient, offer: Offer, smtputf8: bool) -> bytes:
    """RCPT for one recipient (model.Recipient); `smtputf8`: MAIL said so. Raises NotSayable."""
    words = [b"RCPT TO:<%s>" % _path(recipient.address, smtputf8)]
    if offer.dsn:
        if recipient.notify:
            words.append(b"NOTIFY=" + ",".join(recipient.notify).encode("ascii"))
        original = _original(recipient.orcpt) if recipient.orcpt else b""
        if original and len(original) <= _LONGEST_ORCPT:
            words.append(b"ORCPT=" + original)
    return _line(words)


def _line(words):
    line = b" ".join(words)
    if _CONTROL.search(line):
        raise NotSayable("an address or parameter holds a control character")
    return line + b"\r\n"


def _path(address: Address, smtputf8: bool) -> bytes:
    """An address as it stands between the brackets. Without SMTPUTF8 the domain is written in A-labels."""
    try:
        return str(address).encode("ascii")
    except UnicodeEncodeError:
        if smtputf8:
            return str(address).encode("utf-8")
    try:
        return str(Address(address.local, ascii_domain(address.domain))).encode("ascii")
    except (AddressError, UnicodeEncodeError):
        raise NotSayable("%s is not ASCII" % str(address))


def xtext(text: str) -> bytes:
    """RFC 3461 section 4: octets of UTF-8 that are not graphic ASCII, "+" and "=" as +XX."""
    return _NOT_XTEXT.sub(lambda found: b"+%02X" % ord(found.group()), text.encode("utf-8"))


def _original(orcpt: str) -> bytes:
    """type;address as the value of ORCPT; b"" where there is no form for it. A UTF-8 address in the form that needs no SMTPUTF8
    (RFC 6533 section 3, utf-8-addr-xtext)."""
    kind, semicolon, address = orcpt.partition(";")
    try:
        start = (kind + semicolon).encode("ascii")
    except UnicodeEncodeError:
        return b""
    if kind.lower() == "utf-8":
        return start + _UNITEXT.sub(lambda found: found.group(1) or "\\x{%02X}" % ord(found.group()), address).encode("ascii")
    return start + xtext(address)
