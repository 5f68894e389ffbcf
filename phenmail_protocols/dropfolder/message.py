"""A message in a drop folder, as another program wrote it: its wire form and its sender.

Knows no folder, no user and no router. RFC 5321 2.3.8 (line ends), RFC 5322 3.6.7 (Return-Path),
RFC 4155 (the "From " line).
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

PIECE = 128 * 1024  # bytes that are read at once; CRLF line ends may double them


def wire(file):
    """A binary file whose lines end with LF, CRLF or CR -> pieces (bytes) with CRLF line ends.

    A "From " line (mbox) before the header is left out. Raises OSError.
    """
    half, is_first = b"", True
    for piece in iter(lambda: file.read(PIECE), b""):
        piece = half + piece
        half = b""
        if piece[-1:] == b"\r":  # it may be the first half of a CRLF
            half, piece = b"\r", piece[:-1]
        piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        if is_first:
            is_first = False
            if piece[:5] == b"From ":
                piece = piece[piece.find(b"\n") + 1:]
        yield piece
    if half:
        yield b"\r\n"


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
