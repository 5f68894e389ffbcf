"""The sender of a message whose envelope is lost: it lay in a folder, or on another server.

RFC 5321 4.4, RFC 5322 3.6.7 (Return-Path). Pure.
"""
from ..mail import headers
from ..mail.address import (
    BROKEN_DOMAIN,
    MISSING_DOMAIN,
    MISSING_LOCAL,
    Address,
    AddressError,
    parse_domain,
    strict_mailboxes,
)


def sender(beginning):
    """The envelope sender, from the message's first piece -> Address, None for <>.

    It is the first Return-Path, as an earlier mail system wrote it, or else the first author. A
    field that does not parse strictly is ignored.
    """
    header, _ = headers.split_header(beginning)
    noted = headers.first(header, b"return-path")
    if noted is not None:
        text = headers.unfold(noted).strip(b" \t").decode("utf-8", "replace")
        if text == "<>":
            return None
        try:
            if text[:1] == "<" and text[-1:] == ">":
                return Address.parse(text[1:-1])
        except AddressError:
            pass
    return _author(header)


def _author(header):
    value = headers.first(header, b"from")
    mailboxes = strict_mailboxes(value) if value is not None else None
    if (not mailboxes or mailboxes[0].local == MISSING_LOCAL
            or mailboxes[0].domain in (MISSING_DOMAIN, BROKEN_DOMAIN)):
        return None
    local, domain = [half.decode("utf-8", "replace") for half in mailboxes[0][2:]]
    try:
        return Address.parse(str(Address(local, parse_domain(domain))))
    except AddressError:
        return None
