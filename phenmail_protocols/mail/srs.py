"""The sender rewriting scheme: a forwarded message leaves in our name, and its bounces find back.

The receiver of a forwarded message asks the sender's domain (SPF, RFC 7208) whether this server may send for it: it may not.  So
the envelope's sender becomes an address of ours that holds the one it stands for:

    SRS0=hash=day=domain=local@ours       for  local@domain
    SRS1=hash=domain=opaque@ours          for  an SRS0 or SRS1 address of another forwarder `domain`, which is not made longer and longer

`hash` is an HMAC, so that nobody can make this server send to whom he likes; `day` lets an address end after some weeks.  The scheme
has no RFC; its description is the paper "The Sender Rewriting Scheme" (Shevek, 2004).  Pure: key and moment are passed in.
"""
import base64
import hashlib
import hmac
import re

from .address import Address, AddressError

DAYS = 21  # an address is answered this long; a bounce takes five days at most, for most servers

_HASH_CHARACTERS = 8  # 40 bits; compared without case, since some servers change it
_DAYS_IN_CYCLE = 1024  # two characters of base32
_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_LOCAL_OCTETS = 64  # RFC 5321 4.5.3.1.1: all that other servers promise to take

_SRS0 = re.compile("SRS0[=+-]([^=]+)=([^=]+)=([^=]+)=(.+)", re.IGNORECASE | re.DOTALL)
_SRS1 = re.compile("SRS1[=+-]([^=]+)=([^=]+)=(.+)", re.IGNORECASE | re.DOTALL)
_FOREIGN = re.compile("SRS([01])[=+-]", re.IGNORECASE)


class SrsError(ValueError):
    """An address is none of ours, was tampered with, or is too old; the message says which."""


def is_rewritten(local):
    """Whether a local part (str) has the form that `reverse` takes."""
    return _FOREIGN.match(local) is not None


def forward(sender, domain, key, now):
    """The Address that stands for a sender on its way through `domain`.

    `sender`: Address; `key`: bytes; `now`: epoch seconds.  A sender whose rewritten local part would be longer than other servers take
    stays as it is: a message that may fail SPF is better than one that surely comes back.
    """
    foreign = _SRS1.fullmatch(sender.local)
    if foreign:
        first, opaque = foreign.group(2), foreign.group(3)
        local = "SRS1=%s=%s=%s" % (_hash(key, first, opaque), first, opaque)
    elif _SRS0.fullmatch(sender.local):
        opaque = sender.local[4:]  # with its separator, so that it is found again
        local = "SRS1=%s=%s=%s" % (_hash(key, sender.domain, opaque), sender.domain, opaque)
    else:
        day = _day(now)
        local = "SRS0=%s=%s=%s=%s" % (_hash(key, day, sender.domain, sender.local), day, sender.domain, sender.local)
    return sender if len(local.encode("utf-8")) > _LOCAL_OCTETS else Address(local, domain)


def reverse(local, key, now):
    """The Address that a rewritten local part (str) stands for.  Raises SrsError."""
    found = _SRS0.fullmatch(local)
    if found:
        given, day, domain, author = found.groups()
        _check(given, _hash(key, day.upper(), domain, author))
        _check_day(day, now)
        return _address(author, domain)
    found = _SRS1.fullmatch(local)
    if found:
        given, domain, opaque = found.groups()
        _check(given, _hash(key, domain, opaque))
        return _address("SRS0" + opaque, domain)
    raise SrsError("no rewritten address")


def _address(local, domain):
    try:
        return Address.parse(str(Address(local, domain)))
    except AddressError as error:
        raise SrsError("stands for no address: %s" % error)


def _hash(key, *parts):
    """The parts without case: a server on the way may change it."""
    text = "\n".join(parts).lower().encode("utf-8", "surrogatepass")
    digest = hmac.new(key, text, hashlib.sha256).digest()
    return base64.b32encode(digest).decode("ascii")[:_HASH_CHARACTERS]


def _check(given, right):
    if not hmac.compare_digest(given.upper().encode("utf-8", "surrogatepass"), right.encode("ascii")):
        raise SrsError("the address was not made by this server")


def _day(now):
    day = int(now // 86400) % _DAYS_IN_CYCLE
    return _BASE32[day >> 5] + _BASE32[day & 31]


def _check_day(text, now):
    high, low = (_BASE32.find(character) for character in text.upper()) if len(text) == 2 else (-1, -1)
    if high < 0 or low < 0:
        raise SrsError("the address has no day")
    age = (int(now // 86400) - (high << 5 | low)) % _DAYS_IN_CYCLE
    # A day ahead is a clock that was set back a little.
    if age > DAYS and age != _DAYS_IN_CYCLE - 1:
        raise SrsError("the address is too old")
