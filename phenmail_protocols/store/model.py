"""The values that go in and out of the store.

Flags are ``frozenset``s of str: system flags with their backslash, keywords
without. Equal sets that come out of the store are one object, so a protocol
may keep its own form of a set in a dict.
"""
from typing import NamedTuple, Optional

ANSWERED, FLAGGED, DELETED, SEEN, DRAFT = (
    "\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")
SYSTEM_FLAGS = (ANSWERED, FLAGGED, DELETED, SEEN, DRAFT)
INBOX = "INBOX"
SEPARATOR = "/"


class MailboxInfo(NamedTuple):
    """One row of the list of mailboxes."""
    name: str
    selectable: bool  # False: only a name that others lie below
    children: bool
    special_use: Optional[str]  # "\\Sent", … (RFC 6154)
    subscribed: bool


class Status(NamedTuple):
    """Counts of one mailbox."""
    messages: int
    recent: int
    unseen: int
    uidnext: int
    uidvalidity: int
    highestmodseq: int
    size: int  # octets of all messages as served


class State:
    """A mailbox at one moment.

    ``uids`` is an ``array('I')``, ascending, shared by everybody: the store
    only ever appends to it and puts another in its place when messages go,
    so ``uids[:count]`` never changes under its holder.
    """

    __slots__ = ("uids", "count", "serial", "uidnext", "highestmodseq",
                 "unseen", "keywords", "keywords_full", "_flags")

    def __init__(self, uids, count, serial, uidnext, highestmodseq, unseen,
                 keywords, keywords_full, flags):
        self.uids = uids
        self.count = count
        self.serial = serial  # of the newest change, for Mailbox.changes
        self.uidnext = uidnext
        self.highestmodseq = highestmodseq
        self.unseen = unseen  # how many messages
        self.keywords = keywords  # tuple of str
        self.keywords_full = keywords_full  # no new keyword can be made
        self._flags = flags

    @property
    def first_unseen(self):
        """The UID of the first message without \\Seen, or None."""
        if self.unseen:
            for uid, flags in zip(self.uids, self._flags):
                if SEEN not in flags:
                    return uid
        return None


class Update(NamedTuple):
    """What happened between two serials; UIDs ascend in each list."""
    serial: int
    removed: list
    added: list
    changed: list  # whose flags changed


class Rows(NamedTuple):
    """Parallel sequences, one element a message."""
    uids: object
    flags: list  # of interned frozensets
    modseqs: object
    sizes: object  # octets as served, line ends CRLF
    dates: object  # seconds since 1970, when the message arrived


class Delivered(NamedTuple):
    uidvalidity: int
    uid: int
    left_out: tuple = ()  # keywords that could not be kept


class FlagsChanged(NamedTuple):
    changed: list  # UIDs whose flags are others now
    failed: list  # UIDs changed by somebody else since `unchanged_since`
    left_out: tuple = ()  # keywords that could not be kept


class Copied(NamedTuple):
    uidvalidity: int  # of the target
    pairs: list  # of (source UID, target UID)
