"""What can go wrong in a mailbox, in words that belong to no protocol.

Each protocol translates this list once, in one table. The texts may be shown to the client's user:
they contain no path and nothing of another user.
"""
import errno

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StoreError(Exception):
    """The mailbox cannot be used at the moment; try again later."""

    def __init__(self, text=None):
        super().__init__(text or self.__doc__.splitlines()[0])


class NotFound(StoreError):
    """There is no such mailbox."""


class Exists(StoreError):
    """There is already a mailbox with this name."""


class InvalidName(StoreError):
    """This is not a valid mailbox name."""


class ImpossibleUse(StoreError):
    """No mailbox can have this special use, or another one was given it."""


class Expunged(StoreError):
    """The message no longer exists."""


class NoSpace(StoreError):
    """The disk is full."""


class OverQuota(StoreError):
    """The mailbox is full: the message does not fit into the user's quota."""


class TooBig(StoreError):
    """The message is larger than the limit."""


class Limit(StoreError):
    """A limit of this server is reached."""


class InUse(StoreError):
    """Another program holds the mailbox; try again in a moment."""


class Unavailable(StoreError):
    """The mailbox is temporarily unavailable."""


def from_os(error):
    """The StoreError for an OSError."""
    return NoSpace() if error.errno in _FULL else Unavailable()
