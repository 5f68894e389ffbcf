"""What an IMAP command says, as values: the grammar makes them, the commands take them.

It knows no bytes of the wire, no session and no store. One NamedTuple for the arguments of each family of commands;
commands without arguments carry None. Names follow RFC 3501 section 6 and 9.

Conventions
  mailbox names   str, decoded from modified UTF-7, "/" between levels; any case of INBOX alone has become "INBOX"
  flags           str; system flags in their canonical case ("\\\\Seen"), keywords as sent
  sequence        sequence.SequenceSet: message numbers, or UIDs where `uid` is true
  moments         int seconds since 1970 (UTC); days are int days since 1970-01-01
  command names   str in upper case; the UID forms are names of their own: "UID FETCH", "UID EXPUNGE"

The parser:  grammar.parse(parts) -> Command        raises grammar.BadSyntax (answer BAD) or its child grammar.ArgumentRejected (answer NO)
"""
from typing import Any, NamedTuple, Optional, Tuple


class Command(NamedTuple):
    """One whole command. `arguments` is one of the values below, or None for a command without arguments."""
    tag: bytes
    name: str
    arguments: Any


class StreamedLiteral:
    """APPEND's message, which the reader sent to a file instead of memory.

    `size` is the octet count the client announced; `source` is whatever the reader attached (a staged file): the
    grammar carries it along and never looks at it.
    """
    __slots__ = ("size", "source")

    def __init__(self, size, source=None):
        self.size = size
        self.source = source


# -- not authenticated (RFC 3501 6.2)

class Authenticate(NamedTuple):
    """AUTHENTICATE: `mechanism` in upper case; `initial` is the decoded initial response (RFC 4959), b"" for "=", None if absent."""
    mechanism: str
    initial: Optional[bytes]


class Login(NamedTuple):
    """LOGIN: both decoded from UTF-8."""
    user: str
    password: str


# -- any state

class Identify(NamedTuple):
    """ID (RFC 2971): pairs (name, value or None) in the client's order; empty for NIL."""
    fields: Tuple[Tuple[str, Optional[str]], ...]


class Enable(NamedTuple):
    """ENABLE (RFC 5161): capability names in upper case."""
    capabilities: Tuple[str, ...]


# -- authenticated (RFC 3501 6.3)

class Select(NamedTuple):
    """SELECT and EXAMINE."""
    mailbox: str


class Create(NamedTuple):
    """CREATE. A trailing "/" is kept (6.3.3: it announces children). `special_use`: e.g. ("\\\\Sent",) (RFC 6154)."""
    mailbox: str
    special_use: Tuple[str, ...] = ()


class Mailbox(NamedTuple):
    """DELETE, SUBSCRIBE, UNSUBSCRIBE."""
    mailbox: str


class Rename(NamedTuple):
    """RENAME."""
    old: str
    new: str


class List(NamedTuple):
    """LIST and LSUB. `patterns` as sent (wildcards * and %, INBOX not folded), decoded to str.

    The rest is LIST-EXTENDED (RFC 5258, 5819, 6154) in upper case: `selection` e.g. ("SUBSCRIBED", "RECURSIVEMATCH"),
    `returns` e.g. ("CHILDREN", "STATUS"), `status` the items of RETURN (STATUS (...)). `extended` is true when the
    command had any form that plain RFC 3501 lacks.
    """
    reference: str
    patterns: Tuple[str, ...]
    selection: Tuple[str, ...] = ()
    returns: Tuple[str, ...] = ()
    status: Tuple[str, ...] = ()
    extended: bool = False


class Status(NamedTuple):
    """STATUS: item names in upper case, in the client's order, without repeats."""
    mailbox: str
    items: Tuple[str, ...]


class Append(NamedTuple):
    """APPEND: `date` None when the client gave none; `literal` is bytes or the reader's StreamedLiteral; `binary` for literal8."""
    mailbox: str
    flags: Tuple[str, ...]
    date: Optional[int]
    literal: Any
    binary: bool = False


# -- selected (RFC 3501 6.4)

class Expunge(NamedTuple):
    """UID EXPUNGE (RFC 4315). Plain EXPUNGE has no arguments."""
    sequence: Any


class Copy(NamedTuple):
    """COPY and MOVE (RFC 6851) and their UID forms."""
    sequence: Any
    mailbox: str
    uid: bool


class Store(NamedTuple):
    """STORE: `mode` is "add", "remove" or "replace" (the store's words); `flags` without
    repeats."""
    sequence: Any
    mode: str
    silent: bool
    flags: Tuple[str, ...]
    uid: bool


class Fetch(NamedTuple):
    """FETCH: `items` are str for the simple ones ("UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY",
    "BODYSTRUCTURE") and Section for whatever gives bytes of the message (BODY[...], BODY.PEEK[...], RFC822, RFC822.HEADER,
    RFC822.TEXT). Macros are expanded, repeats are gone."""
    sequence: Any
    items: tuple
    uid: bool


class Section(NamedTuple):
    """Bytes of a message that FETCH asks for (RFC 3501 6.4.5).

    part     numbers, () for the message itself: BODY[1.2.HEADER] has (1, 2)
    kind     None (the whole part), "HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT", "TEXT", "MIME"
    names    frozenset of field names in lower case, as bytes (what mail.headers.select takes); empty elsewhere
    partial  (start, length) or None
    peek     false: reading sets \\Seen
    label    bytes to echo before the value: b"BODY[HEADER.FIELDS (To From)]", b"BODY[]<0>", b"RFC822.HEADER"
    """
    peek: bool
    part: Tuple[int, ...]
    kind: Optional[str]
    names: frozenset
    partial: Optional[Tuple[int, int]]
    label: bytes


class Search(NamedTuple):
    """SEARCH: `charset` in upper case or None; its strings are decoded already."""
    charset: Optional[str]
    key: Any
    uid: bool


# -- search keys (RFC 3501 6.4.4): a small tree, at most 50 deep

class And(NamedTuple):
    """Every key holds; And(()) is ALL."""
    keys: tuple


class Or(NamedTuple):
    """Either holds."""
    left: Any
    right: Any


class Not(NamedTuple):
    """The key does not hold."""
    key: Any


class InSet(NamedTuple):
    """The message is in the set: of UIDs where `uid`, else of message numbers (also in UID SEARCH)."""
    sequence: Any
    uid: bool


class HasFlag(NamedTuple):
    """The flag or keyword is set (`present`) or not: ANSWERED, UNSEEN, KEYWORD x, RECENT, OLD (= not \\Recent), …; NEW is an And."""
    flag: str
    present: bool


class OnDay(NamedTuple):
    """Date against a day: `sent` true for the Date: field's day as written there, false for INTERNALDATE's day.

    `relation` is "before", "on" or "since" (on or after); `day` counts days since 1970-01-01.
    """
    sent: bool
    relation: str
    day: int


class Size(NamedTuple):
    """RFC822.SIZE strictly larger (`larger`) or strictly smaller than `octets`."""
    larger: bool
    octets: int


class Header(NamedTuple):
    """The field (lower-case str) exists and contains `text` (str; "" asks only whether it exists).
    SUBJECT too.
    """
    field: str
    text: str


class Address(NamedTuple):
    """FROM, TO, CC, BCC: `field` exists and the envelope's addresses of it contain `text`."""
    field: str
    text: str


class Contains(NamedTuple):
    """The body, or header and body (`header` true: TEXT), contains `text`."""
    header: bool
    text: str
