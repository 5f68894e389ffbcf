"""BINARY, BINARY.PEEK and BINARY.SIZE of FETCH (RFC 3516): a part without its
Content-Transfer-Encoding.

A part is decoded twice: once to measure it, because the response announces its size, and once to
send it. This needs little memory. A multipart has no encoding of its own (RFC 2045 6.4), nor has
the message itself (BINARY[]): their octets are those of BODY.
"""
from copy import copy
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from ...mail import decoding
from .. import responses
from ..session import OutOfStep
from ..syntax.values import BINARY_SIZE
from .sections import find_part


class UnknownEncoding(Exception):
    """The server cannot decode the part's Content-Transfer-Encoding (RFC 3516 4.3)."""


class Place(NamedTuple):
    """How far a part is decoded.

    part     identifies the part: (mailbox path, UIDVALIDITY, UID, offset in the message)
    decoded  the number of decoded octets so far
    at       where in the message the next encoded octets are
    decoder  the decoder in its state at that point
    """
    part: tuple
    decoded: int
    at: int
    decoder: Any


def prepare(section, message, session):
    """-> a function that returns (the beginning of the value, an iterable of the rest).

    All errors that can be foreseen are raised here, before the response begins. Raises
    UnknownEncoding.
    """
    decoded = _Decoded(section, message, session)
    size, has_nul = decoded.measure()
    if section.kind == BINARY_SIZE:
        return lambda: (b"%d" % size, ())
    return partial(_literal, decoded, size, has_nul)


def _literal(decoded, size, has_nul):
    """The octets as a literal, or with NUL as a literal8 (RFC 3516 4.3)."""
    if not has_nul:
        return b"{%d}\r\n" % size, decoded.octets(size)
    return b"~{%d}\r\n" % size, map(responses.Octets, decoded.octets(size))


class _Decoded:
    """The decoded octets of a part, or the range of them that a section requests."""

    def __init__(self, section, message, session):
        self._message = message
        start, self._end, decoder = _find(section, message)
        mailbox = session.view.mailbox
        self._part = mailbox.path, mailbox.uidvalidity, message.uid, start
        self._begin = Place(self._part, 0, start, decoder)
        self._first, self._last = 0, None  # of the decoded octets; None: to the end
        self._session = None
        if section.partial is not None:
            self._first, length = section.partial
            self._last = self._first + length
            self._session = session
            self._skip()

    def _skip(self):
        """Begin decoding where the last FETCH of this part ended. Otherwise, if a client reads a
        large part in pieces, each piece would be decoded from the beginning of the part."""
        known = self._session.decoding
        if decoding.is_identity(self._begin.decoder):
            skipped = min(self._first, self._end - self._begin.at)
            self._begin = self._begin._replace(decoded=skipped, at=self._begin.at + skipped)
        elif known is not None and known.part == self._part and known.decoded <= self._first:
            self._begin = known

    def measure(self):
        """(octets, whether there is a NUL among them)"""
        size, has_nul = 0, False
        for piece in self._pieces(self._message.read):
            size += len(piece)
            has_nul = has_nul or b"\0" in piece
        return size, has_nul

    def octets(self, size):
        """Yield the `size` octets that `measure` found. Raises OutOfStep for fewer or more."""
        for piece in self._pieces(self._message.octets):
            size -= len(piece)
            if size < 0:
                break
            yield piece
        if size:
            raise OutOfStep("UID %d changed while it was sent" % self._message.uid)

    def _pieces(self, read):
        """Yield the wanted octets; `read(start, end)` gives chunks of the message."""
        place = self._begin
        for chunk in chain(read(place.at, self._end), (None,)):
            if self._last is not None:
                if place.decoded >= self._last:
                    return
                self._session.decoding = place
            decoder = copy(place.decoder)
            data = decoder.close() if chunk is None else decoder.feed(chunk)
            following = Place(self._part, place.decoded + len(data), place.at + len(chunk or b""),
                              decoder)
            if following.decoded <= self._first:
                self._begin = following
            last = None if self._last is None else self._last - place.decoded
            yield data[max(0, self._first - place.decoded):last]
            place = following


def _find(section, message):
    """-> (where the encoded octets begin, where they end, a decoder)"""
    if not section.part:
        return 0, message.size, decoding.transfer_decoder(b"8bit")
    part = find_part(message.tree(), section.part)
    if part is None:  # as in BODY, it is empty
        return 0, 0, decoding.transfer_decoder(b"8bit")
    decoder = decoding.transfer_decoder(b"8bit" if part.parts else part.encoding)
    if decoder is None:
        raise UnknownEncoding()
    return part.body, part.end, decoder
