"""The arguments of commands as values: the grammar creates them, the commands use them.

This file knows no bytes of the wire, no session and no store. The names follow RFC 3501 sections 6
and 9. A command's arguments are None if there are none, a plain value if there is one kind (a
mailbox name, a tuple of capabilities), and one of these NamedTuples otherwise.

Conventions
  mailbox names   str, decoded from modified UTF-7, "/" between levels; INBOX in any case is "INBOX"
  flags           str; system flags in their canonical case ("\\\\Seen"), keywords as sent
  sequence        sequence.SequenceSet: message numbers, or UIDs where `uid` is true
  times           int seconds since 1970 (UTC); days are int days since 1970-01-01
  command names   str in upper case; UID forms have names of their own: "UID FETCH", "UID EXPUNGE"
"""
from typing import Any, NamedTuple, Optional, Tuple


class Command(NamedTuple):
    """A whole command."""
    tag: bytes
    name: str
    arguments: Any


class StreamedLiteral(NamedTuple):
    """Stands for APPEND's message, which stays on the wire: `size` is the announced octet count."""
    size: int


# -- not authenticated (RFC 3501 6.2)

class Authenticate(NamedTuple):
    """AUTHENTICATE: `mechanism` in upper case.

    `initial` is the decoded initial response (RFC 4959): b"" for "=", None where there was none.
    """
    mechanism: str
    initial: Optional[bytes]


class Login(NamedTuple):
    """LOGIN: both decoded from UTF-8."""
    user: str
    password: str


# -- authenticated (RFC 3501 6.3)

class Create(NamedTuple):
    """CREATE.

    A trailing "/" is kept: it declares that children will follow (6.3.3). `special_uses`: for
    example ("\\\\Sent",) (RFC 6154).
    """
    mailbox: str
    special_uses: Tuple[str, ...] = ()


class Rename(NamedTuple):
    """RENAME."""
    old: str
    new: str


class List(NamedTuple):
    """LIST and LSUB.

    patterns   as sent, decoded to str: wildcards * and %, INBOX in any case

    The rest is LIST-EXTENDED (RFC 5258, 5819, 6154), in upper case:

    selection  for example ("SUBSCRIBED", "RECURSIVEMATCH")
    returns    for example ("CHILDREN", "STATUS")
    status     the items of RETURN (STATUS (...))
    extended   the command had a form that plain RFC 3501 lacks
    """
    reference: str
    patterns: Tuple[str, ...]
    selection: Tuple[str, ...] = ()
    returns: Tuple[str, ...] = ()
    status: Tuple[str, ...] = ()
    extended: bool = False


class Status(NamedTuple):
    """STATUS: item names in upper case, in the client's order, each once."""
    mailbox: str
    items: Tuple[str, ...]


class EventGroup(NamedTuple):
    """Some mailboxes and their events (RFC 5465 section 8).

    filter     in upper case
    mailboxes  the names after SUBTREE and MAILBOXES
    events     frozenset of str, in the RFC's spelling
    items      what MessageNew sends of new messages in the selected mailbox, as in Fetch
    """
    filter: str
    mailboxes: Tuple[str, ...]
    events: frozenset
    items: tuple = ()


class Notify(NamedTuple):
    """NOTIFY: `groups` of EventGroup, () for NONE; `status`: send STATUS responses at once."""
    status: bool
    groups: tuple


# The forms of a message in APPEND: {n}, ~{n} (RFC 3516), UTF8 (~{n} …) (RFC 6855).
LITERAL, LITERAL8, UTF8 = "literal", "literal8", "utf8"


class AppendMessage(NamedTuple):
    """A message of APPEND, without its octets.

    flags    str
    date     None where the client gave none
    form     LITERAL, LITERAL8 or UTF8
    size     octets
    streams  its octets are still on the wire, and were not read with the command
    """
    flags: Tuple[str, ...]
    date: Optional[int]
    form: str
    size: int
    streams: bool


class SetQuota(NamedTuple):
    """SETQUOTA (RFC 9208): `limits` is {resource in upper case: limit}."""
    root: bytes
    limits: dict


class Append(NamedTuple):
    """APPEND with the first of its messages. Others follow on the wire (RFC 3502)."""
    mailbox: str
    message: AppendMessage


# -- selected (RFC 3501 6.4)

class Copy(NamedTuple):
    """COPY, MOVE (RFC 6851) and their UID forms."""
    sequence: Any
    mailbox: str
    uid: bool


class Store(NamedTuple):
    """STORE: `mode` is "add", "remove" or "replace", as in the store; `flags` without repeats."""
    sequence: Any
    mode: str
    silent: bool
    flags: Tuple[str, ...]
    uid: bool
    unchanged_since: Optional[int] = None  # RFC 7162 3.1.3


class Fetch(NamedTuple):
    """FETCH. Macros are expanded, and each item is there once.

    `items` are str for simple ones ("UID", "FLAGS", "ENVELOPE", …), and Section for those that
    return bytes of the message (BODY[...], BODY.PEEK[...], RFC822, RFC822.HEADER, RFC822.TEXT,
    BINARY[...], BINARY.PEEK[...], BINARY.SIZE[...]).
    """
    sequence: Any
    items: tuple
    uid: bool
    changed_since: Optional[int] = None  # RFC 7162 3.1.4.1
    vanished: bool = False  # 3.2.6


#: The kinds of sections that are decoded (RFC 3516).
BINARY, BINARY_SIZE = "BINARY", "BINARY.SIZE"


class Section(NamedTuple):
    """Bytes of a message that FETCH asks for (RFC 3501 6.4.5).

    peek     false: reading sets \\Seen
    part     numbers, () for the message itself: BODY[1.2.HEADER] has (1, 2)
    kind     None (the whole part), "HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT", "TEXT", "MIME";
             "BINARY": the part decoded; "BINARY.SIZE": how many octets that are
    names    frozenset of field names as bytes in lower case (as mail.headers.select takes them)
    partial  (start, length) or None
    label    its name in the response: b"BODY[HEADER.FIELDS (To From)]", b"BODY[]<0>", b"RFC822"
    """
    peek: bool
    part: Tuple[int, ...]
    kind: Optional[str]
    names: frozenset
    partial: Optional[Tuple[int, int]]
    label: bytes


class Resync(NamedTuple):
    """The mailbox as a client knows it (RFC 7162 3.2.5). `known`: a SequenceSet of UIDs, or None.
    """
    uidvalidity: int
    modseq: int
    known: Any = None


class Select(NamedTuple):
    """SELECT and EXAMINE; the parameters are those of RFC 7162."""
    mailbox: str
    condstore: bool = False
    resync: Optional[Resync] = None


class ModSeq(NamedTuple):
    """MODSEQ (RFC 7162 3.1.5): messages with this mod-sequence or a higher one."""
    modseq: int


class Search(NamedTuple):
    """SEARCH: one key; the grammar has decoded its strings. `returns`: the result options of RFC
    4731 in upper case, None for an untagged SEARCH."""
    key: Any
    uid: bool
    returns: Optional[tuple] = None


class Criterion(NamedTuple):
    """A sort criterion: its name in upper case."""
    name: str
    reverse: bool


class Sort(NamedTuple):
    """SORT (RFC 5256): `criteria` is a tuple of Criterion; the rest as in Search."""
    criteria: tuple
    key: Any
    uid: bool
    returns: Optional[tuple] = None


class Thread(NamedTuple):
    """THREAD (RFC 5256): `algorithm` in upper case."""
    algorithm: str
    key: Any
    uid: bool


# -- search keys (RFC 3501 6.4.4): a tree, at most 50 deep

class And(NamedTuple):
    """All keys match; And(()) is ALL."""
    keys: tuple


class Or(NamedTuple):
    """Either key matches."""
    left: Any
    right: Any


class Not(NamedTuple):
    """The key does not match."""
    key: Any


class InSet(NamedTuple):
    """The message is in the set, of UIDs (`uid`) or of message numbers (in UID SEARCH, too)."""
    sequence: Any
    uid: bool


class HasFlag(NamedTuple):
    """The flag or keyword is set (`present`) or not: UNSEEN, KEYWORD x, OLD (not \\Recent), …"""
    flag: str
    present: bool


class OnDay(NamedTuple):
    """A day against that of the Date field as written there (`sent`), or of INTERNALDATE.

    `relation` is "before", "on" or "since" (on or after); `day` counts days since 1970-01-01.
    """
    sent: bool
    relation: str
    day: int


class Within(NamedTuple):
    """YOUNGER and OLDER (RFC 5032): INTERNALDATE is less (`younger`) or more than so many seconds
    ago."""
    younger: bool
    seconds: int


class Size(NamedTuple):
    """RFC822.SIZE is larger (`larger`) or smaller than `octets`."""
    larger: bool
    octets: int


class EmailId(NamedTuple):
    """EMAILID (RFC 8474 6): `value` in upper and lower case."""
    value: str


class Header(NamedTuple):
    """HEADER, SUBJECT: `field` (in lower case) exists and contains `text`, which may be ""."""
    field: str
    text: str


class Address(NamedTuple):
    """FROM, TO, CC, BCC: `field` exists and its addresses, as in ENVELOPE, contain `text`."""
    field: str
    text: str


class Contains(NamedTuple):
    """BODY, or TEXT where `header`: the body, or the whole message, contains `text`."""
    header: bool
    text: str


def leaves(key):
    """Yield the keys in a tree other than And, Or and Not."""
    if isinstance(key, Not):
        yield from leaves(key.key)
    elif isinstance(key, (And, Or)):
        for each in key.keys if isinstance(key, And) else key:
            yield from leaves(each)
    else:
        yield key
