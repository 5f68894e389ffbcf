"""The account on the other server, as the copying needs it.

`Remote` says what that is; imap_remote.py does it with IMAP.
"""
from typing import Iterator, NamedTuple, Optional, Tuple

from ..source import Box
from .plan import Listed


class TooLarge(Exception):
    """A message has more octets than the limit, whatever the server announced."""


class Entry(NamedTuple):
    """A message there.

    `size`: octets, as the server says; `flags`: as IMAP writes them, without \\Recent; `date`:
    INTERNALDATE in epoch seconds; `msgid`: X-GM-MSGID in decimal digits, "" elsewhere; `labels`:
    X-GM-LABELS, Unicode.
    """
    uid: int
    size: int
    flags: Tuple[str, ...] = ()
    date: Optional[float] = None
    msgid: str = ""
    labels: Tuple[str, ...] = ()


class Remote:
    """One connection, logged in. For one thread. Every method raises FetchError (Throttled,
    BoxGone) within a bounded time; nothing is changed at the server."""

    #: whether it is Gmail (X-GM-EXT-1), so that entries have `msgid` and `labels`
    has_labels = False

    def listed(self) -> Tuple[Listed, ...]:
        """All mailboxes."""
        raise NotImplementedError

    def personal(self) -> Optional[str]:
        """As `plan.make` takes it."""
        return None

    def counts(self, name) -> Tuple[int, Optional[int]]:
        """(messages, octets) of a mailbox; None if the server does not tell octets."""
        raise NotImplementedError

    def open(self, name) -> Box:
        """Open a mailbox read-only. Raises BoxGone."""
        raise NotImplementedError

    def entries(self, wanted) -> Iterator[Entry]:
        """The messages of the open mailbox for whose UIDs (int) `wanted(uid)` is true, by UID."""
        raise NotImplementedError

    def bodies(self, entries) -> Iterator[Tuple[Entry, Iterator[bytes]]]:
        """The octets of some messages, in pieces, in any order; take all pieces of one before the
        next. Messages that are gone are left out, or raise MessageGone while their pieces are
        taken; those that are larger than the limit raise TooLarge there."""
        raise NotImplementedError

    def rest(self, entry, offset) -> Iterator[bytes]:
        """The octets of one message from `offset` on. Raises MessageGone, TooLarge."""
        raise NotImplementedError

    def header(self, uid) -> bytes:
        """The beginning of a message, with its Message-ID; b"" if it is gone."""
        raise NotImplementedError

    def close(self) -> None:
        """Log out, in a bounded time."""
        raise NotImplementedError
