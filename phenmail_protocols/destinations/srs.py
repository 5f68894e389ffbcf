"""The Sender Rewriting Scheme: forwarded mail gets a sender of ours, and its bounces come back.

The receiver of a forwarded message asks the sender's domain (SPF, RFC 7208) whether this server may
send for it, and the answer is no. So the envelope's sender is replaced by an address of ours that
contains the original one:

    SRS0=hash=day=domain=local@ours       for  local@domain
    SRS1=hash=domain=opaque@ours          for  the SRS0 or SRS1 address of another forwarder,
                                               `domain`, so that it does not grow with each one

`hash` is an HMAC, so that nobody can use this server to send to any address; `day` lets an address
expire. The scheme has no RFC; the paper "The Sender Rewriting Scheme" (Shevek, 2004) describes it.

Bounces to such an address are forwarded to the original sender like mail for any forward address,
so with loop detection, and with their own sender rewritten if it is not <>. An address that was
tampered with, is too old, or was made by another server is resolved by the directory alone: in most
cases it is unknown.
"""
import base64
import hashlib
import hmac
import logging
import os
import re
import time

from ..accounts.directory import Destination
from ..disk.keyfile import kept_key
from ..mail.address import Address, AddressError

DAYS = 21  # that an address is valid; most servers send a bounce within five

_HASH_CHARACTERS = 8  # 40 bits; compared without case, since some servers change it
_DAYS_IN_CYCLE = 1024  # two characters of base32
_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_LOCAL_OCTETS = 64  # RFC 5321 section 4.5.3.1.1: other servers need not accept more

_SRS0 = re.compile("SRS0[=+-]([^=]+)=([^=]+)=([^=]+)=(.+)", re.IGNORECASE | re.DOTALL)
_SRS1 = re.compile("SRS1[=+-]([^=]+)=([^=]+)=(.+)", re.IGNORECASE | re.DOTALL)
_REWRITTEN = re.compile("SRS([01])[=+-]", re.IGNORECASE)

log = logging.getLogger("phenmail.destinations")


class SrsError(ValueError):
    """An address is not of this scheme, was changed, or has expired; the message says which."""


def srs_key(folder):
    """The key in the file "srs.key" of a folder (bytes), made at the first call.

    Raises OSError, ValueError.
    """
    return kept_key(os.path.join(folder, "srs.key"))


class SrsResolver:
    """Resolves addresses, rewritten senders included. Thread-safe.

    `directory`: accounts.directory.Directory; `key()` -> bytes, or raises OSError or ValueError;
    `clock()`: epoch seconds.
    """

    def __init__(self, directory, key, clock=time.time):
        self._directory = directory
        self._key = key
        self._clock = clock

    def resolve(self, address):
        """As Directory.resolve -> Destination; of kind "forward" for a rewritten sender."""
        destination = self._directory.resolve(address)
        if destination.kind == "remote" or address.local[:3].upper() != "SRS":
            return destination
        if not is_rewritten(address.local):
            return destination
        try:
            original = reverse(address.local, self._key(), self._clock())
            return Destination("forward", address, value=str(original))
        except SrsError as error:
            log.info("<%s> is not a valid rewritten sender: %s", address, error)
            return destination
        except (OSError, ValueError) as error:
            log.error("cannot read srs.key; mail to rewritten senders is deferred: %s", error)
            return Destination("broken", address, text="the key of rewritten senders is unreadable")


def is_rewritten(local):
    """Whether a local part (str) has the form that `reverse` reads."""
    return _REWRITTEN.match(local) is not None


def forward(sender, domain, key, now):
    """The Address at `domain` that replaces the sender of a forwarded message.

    `sender`: Address; `key`: bytes; `now`: epoch seconds. A sender whose rewritten local part is
    too long for other servers stays as it is: a message that may fail SPF is better than one that
    is certainly refused.
    """
    foreign = _SRS1.fullmatch(sender.local)
    if foreign:
        first, opaque = foreign.group(2), foreign.group(3)
        local = "SRS1=%s=%s=%s" % (_hash(key, first, opaque), first, opaque)
    elif _SRS0.fullmatch(sender.local):
        opaque = sender.local[4:]  # with its separator, which `reverse` puts back
        local = "SRS1=%s=%s=%s" % (_hash(key, sender.domain, opaque), sender.domain, opaque)
    else:
        day = _day(now)
        local = "SRS0=%s=%s=%s=%s" % (_hash(key, day, sender.domain, sender.local), day,
                                      sender.domain, sender.local)
    return sender if len(local.encode("utf-8")) > _LOCAL_OCTETS else Address(local, domain)


def reverse(local, key, now):
    """The Address that a rewritten local part (str) contains. Raises SrsError."""
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
    raise SrsError("not a rewritten address")


def _address(local, domain):
    try:
        return Address.parse(str(Address(local, domain)))
    except AddressError as error:
        raise SrsError("it contains no valid address: %s" % error)


def _hash(key, *parts):
    """Over the parts in lower case, because a server on the way may change the case."""
    text = "\n".join(parts).lower().encode("utf-8", "surrogatepass")
    digest = hmac.new(key, text, hashlib.sha256).digest()
    return base64.b32encode(digest).decode("ascii")[:_HASH_CHARACTERS]


def _check(given, right):
    given = given.upper().encode("utf-8", "surrogatepass")
    if not hmac.compare_digest(given, right.encode("ascii")):
        raise SrsError("the address was not made by this server")


def _day(now):
    day = int(now // 86400) % _DAYS_IN_CYCLE
    return _BASE32[day >> 5] + _BASE32[day & 31]


def _check_day(text, now):
    digits = [_BASE32.find(character) for character in text.upper()]
    if len(digits) != 2 or -1 in digits:
        raise SrsError("the address has no valid day")
    age = (int(now // 86400) - (digits[0] << 5 | digits[1])) % _DAYS_IN_CYCLE
    # A day in the future means that our clock was set back a little.
    if age > DAYS and age != _DAYS_IN_CYCLE - 1:
        raise SrsError("the address is too old")
