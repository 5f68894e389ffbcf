"""The values that go in and out of the store.

Flags are frozensets of str: system flags with their backslash, keywords without. Equal sets from
the store are one object, so a protocol may use them as cheap keys for its own form of a set.
"""
from typing import NamedTuple, Optional, Tuple

ANSWERED, FLAGGED, DELETED, SEEN, DRAFT = (
    "\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")
INBOX = "INBOX"
SEPARATOR = "/"


class MailboxInfo(NamedTuple):
    """One row of the list of mailboxes."""
    name: str
    selectable: bool  # False: it only has mailboxes below it
    children: bool
    special_uses: Tuple[str, ...]  # "\\Sent", … (RFC 6154)
    subscribed: bool


class Status(NamedTuple):
    """Counts of one mailbox."""
    messages: int
    recent: int
    unseen: int
    uidnext: int
    uidvalidity: int
    highestmodseq: int
    size: Optional[int]  # octets of all messages as served; None until all were measured
    mailbox_id: str  # RFC 8474: it stays when the mailbox is renamed, and is never used again


class Usage(NamedTuple):
    """What all mailboxes of an account hold."""
    octets: int  # as served
    messages: int

    def plus(self, octets, messages):
        return Usage(self.octets + octets, self.messages + messages)


class State(NamedTuple):
    """A mailbox at one moment.

    `uids` is an `array('I')`, ascending, shared by all sessions. The store only appends to it, and
    replaces it when messages are removed, so `uids[:count]` never changes for its holder.
    """
    uids: object
    count: int
    serial: int  # of the newest change, for Mailbox.changes
    uidnext: int
    highestmodseq: int
    unseen: int  # number of messages
    keywords: tuple  # of str
    keywords_full: bool  # no new keyword can be made


class Update(NamedTuple):
    """What happened between two serials; UIDs ascend in each list."""
    serial: int
    removed: list
    added: list
    changed: list  # messages with other flags


class Rows(NamedTuple):
    """Parallel sequences, one element for each message."""
    uids: object
    flags: list  # of interned frozensets
    modseqs: object
    sizes: object  # octets as served, line ends CRLF
    dates: object  # epoch seconds of arrival


class Delivered(NamedTuple):
    uidvalidity: int
    uid: int
    left_out: tuple = ()  # keywords that could not be kept


class FlagsChanged(NamedTuple):
    changed: list  # UIDs of messages whose flags changed
    failed: list  # UIDs of messages that changed since `unchanged_since`
    left_out: tuple = ()  # keywords that could not be kept


class Copied(NamedTuple):
    uidvalidity: int  # of the target
    pairs: list  # of (source UID, target UID)
