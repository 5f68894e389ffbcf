"""What the sources of mail have in common: IMAP (imap/source.py) and POP3 (pop/source.py).

A Source is one connection to an account on another server. It is for one thread. The server is not
trusted: each method returns or raises a FetchError within a bounded time and memory.
"""
from typing import Iterator, NamedTuple, Optional, Tuple

PIECE = 256 * 1024  # the most octets of a message that are asked for, and held, at once


class FetchError(Exception):
    """The source cannot be used now. str() is a sentence for the user, without secrets."""


class LoginRefused(FetchError):
    """The server refused the name or the passphrase. The next attempt waits longer."""


class Throttled(FetchError):
    """The server asks for less: `seconds` until the next attempt, None if it does not say."""

    def __init__(self, text, seconds=None):
        super().__init__(text)
        self.seconds = seconds


class BoxGone(FetchError):
    """The mailbox does not exist there (any more). The account's other mailboxes go on."""


class MessageGone(FetchError):
    """The message was removed at the source since it was listed."""


class Unreadable(FetchError):
    """The server answers, but does not give this message, although it is there."""


class RemoteMessage(NamedTuple):
    """A message at its source.

    `key`: what names it there for ever: its UID in decimal digits (IMAP, with the UIDVALIDITY of
    the Box), or its UIDL (POP3; 70 characters), or "top:" and a hash of its header, in hex, where a
    POP3 server has no UIDL. `size`: octets, as the server says; `flags`: as IMAP writes them
    (backslash and name, or a keyword), () for POP3; `date`: INTERNALDATE in epoch seconds, None
    where the source has none. `number`: its message number in this connection (POP3), else 0.
    """
    key: str
    size: int
    flags: Tuple[str, ...] = ()
    date: Optional[float] = None
    number: int = 0


class Box(NamedTuple):
    """A mailbox at its source, opened.

    `name`: as the user writes it (Unicode); "" for POP3. `validity`: its UIDVALIDITY, 0 for POP3;
    `next_uid`: UIDNEXT, 0 if the server does not say; `modseq`: HIGHESTMODSEQ, 0 without CONDSTORE;
    `count`: messages in it.
    """
    name: str
    validity: int = 0
    next_uid: int = 0
    modseq: int = 0
    count: int = 0


class Source:
    """One connection, logged in. A context manager: `close` at the end."""

    def list_boxes(self) -> Tuple[str, ...]:
        """The names of all mailboxes that can be opened; ("",) for POP3."""
        raise NotImplementedError

    def open(self, name: str) -> Box:
        """Open a mailbox, for `new`, `read` and `remove`. Raises BoxGone."""
        raise NotImplementedError

    def new(self, after: int, known) -> Iterator[RemoteMessage]:
        """The messages of the open box that may be new, oldest first, read from the server in
        batches.

        `after`: the highest UID that was seen (IMAP: only higher ones are asked for), 0 for all;
        `known(key)`: whether a key was fetched before; those are left out.
        """
        raise NotImplementedError

    def read(self, message: RemoteMessage, offset: int = 0) -> Iterator[bytes]:
        """The message's octets from `offset` on, CRLF line ends, in pieces of at most PIECE.

        Every octet that the server has is given, whatever size it announced; a server that sends
        more than `limit` (see `opening.open_source`) ends it with FetchError. `offset` lets a
        reader go on where an earlier connection was cut; a source that cannot do that (POP3)
        reads and drops what comes before. Raises MessageGone.
        """
        raise NotImplementedError

    def read_all(self, messages) -> Iterator[Tuple[RemoteMessage, Iterator[bytes]]]:
        """`read` for many: (message, its pieces) of each, in their order.

        Several small messages are asked for at once where that is faster; at most some PIECE is
        held. Use up or drop the pieces of one before the next. They may raise MessageGone, or
        another FetchError that concerns only this message; the others go on.
        """
        for message in messages:
            yield message, self._late(message)

    def _late(self, message):
        """`read`, but nothing is asked for before the first piece is."""
        yield from self.read(message)

    def remove(self, messages) -> None:
        """Remove RemoteMessages of the open box; returns when the server has confirmed it.

        IMAP: \\Deleted and UID EXPUNGE (UIDPLUS); without UIDPLUS only if nobody else's \\Deleted
        messages would go with them, else they stay marked. POP3: they are gone after `close`,
        which sends QUIT and raises FetchError if the server does not confirm it.
        """
        raise NotImplementedError

    def changed_flags(self, since: int) -> Iterator[RemoteMessage]:
        """IMAP with CONDSTORE: messages whose flags changed after the mod-sequence `since`
        (`size` is 0); nothing elsewhere."""
        return iter(())

    def wait(self, seconds: float, wake) -> bool:
        """Wait for new mail in the open box with IDLE -> whether to look now.

        `wake`: net.waker.Waker that ends it early. Renews IDLE before 29 minutes (RFC 2177) and
        notices a dead connection. Raises FetchError; NotImplementedError where the server cannot.
        """
        raise NotImplementedError

    @property
    def can_wait(self) -> bool:
        """Whether `wait` works."""
        return False

    def abort(self) -> None:
        """From any thread: whoever waits in another method gets FetchError at once."""
        raise NotImplementedError

    def close(self) -> None:
        """Log out, in a bounded time. See `remove` for what it may raise."""
        raise NotImplementedError

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
