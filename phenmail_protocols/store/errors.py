"""What can go wrong in a mailbox, in words that belong to no protocol.

Each protocol translates this list once, in one table. The texts are for the
client's person: they name no path and nothing of another user.
"""


class StoreError(Exception):
    """Base of all; on its own: it failed, and trying again may help."""

    def __init__(self, text=None):
        super().__init__(text or self.__doc__.splitlines()[0])


class NotFound(StoreError):
    """There is no mailbox of that name."""


class Exists(StoreError):
    """There is a mailbox of that name already."""


class InvalidName(StoreError):
    """That can't be the name of a mailbox."""


class Expunged(StoreError):
    """The message isn't there any more."""


class NoSpace(StoreError):
    """There is no room left on the disk."""


class TooBig(StoreError):
    """The message is larger than what is accepted."""


class Limit(StoreError):
    """There are as many of these as are kept."""


class InUse(StoreError):
    """Another program holds the mailbox; try again in a moment."""


class Unavailable(StoreError):
    """The mailbox can't be reached at the moment."""
