"""The arguments of commands: one function each, in the order of RFC 3501 section 6.

Pure. A function takes the Scanner behind the space after the command's name, consumes the arguments
and returns them (see `values`). The rows of commands/ refer to these functions. A command with one
argument needs none: Scanner.mailbox, Scanner.sequence.

Here too: RFC 2971 ID, 4959 SASL-IR, 5161 ENABLE, 5258 and 5819 LIST, 6154 USE, 6851 MOVE, 7162
CONDSTORE and QRESYNC.
"""
import binascii
import re

from ...mail import dates
from . import tokens, values
from .tokens import ArgumentRejected

_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}|=")
_STORE = re.compile(rb"([+-]?)FLAGS(\.SILENT)?(?= )", re.IGNORECASE)
_STORE_MODES = {b"+": "add", b"-": "remove", b"": "replace"}

# Words -> the extension to which each belongs; None: to IMAP4rev1, or to the extension of the whole
# list of words.
STATUS_ITEMS = {"MESSAGES": None, "RECENT": None, "UIDNEXT": None, "UIDVALIDITY": None,
                "UNSEEN": None, "HIGHESTMODSEQ": "CONDSTORE", "SIZE": "STATUS=SIZE",
                "APPENDLIMIT": "APPENDLIMIT", "MAILBOXID": "OBJECTID",
                "DELETED": "QUOTA=RES-MESSAGE", "DELETED-STORAGE": "QUOTA=RES-STORAGE"}
LIST_SELECTION = {"SUBSCRIBED": None, "REMOTE": None, "RECURSIVEMATCH": None,
                  "SPECIAL-USE": "SPECIAL-USE"}
LIST_RETURNS = {"SUBSCRIBED": None, "CHILDREN": "CHILDREN", "SPECIAL-USE": "SPECIAL-USE",
                "STATUS": "LIST-STATUS"}
SELECT_PARAMETERS = {"CONDSTORE": "CONDSTORE", "QRESYNC": "QRESYNC"}
STORE_MODIFIERS = {"UNCHANGEDSINCE": "CONDSTORE"}


# -- any state, not authenticated (RFC 3501 6.1, 6.2)

def identify(scan):
    """Tuple of (name, value or None), all str; empty for NIL."""
    if scan.skip(b"("):
        return () if scan.skip(b")") else tuple(scan.items(lambda: _id_field(scan)))
    if scan.nstring("a list or NIL") is None:
        return ()
    raise scan.failed("a list or NIL")


def _id_field(scan):
    name = scan.string("a field name").decode("utf-8", "replace")
    scan.space()
    value = scan.nstring()
    return name, value if value is None else value.decode("utf-8", "replace")


def authenticate(scan):
    """AUTHENTICATE with or without an initial response (RFC 4959)."""
    mechanism = scan.keyword("a SASL mechanism")
    if not (scan.offers("SASL-IR") and scan.more()):
        return values.Authenticate(mechanism, None)
    start = scan.at
    base64 = scan.match(_BASE64, 'base64 or "="').group()
    try:
        initial = b"" if base64 == b"=" else binascii.a2b_base64(base64)
    except ValueError:
        raise scan.failed("whole base64", start) from None
    return values.Authenticate(mechanism, initial)


def login(scan):
    """LOGIN."""
    user = scan.astring("a user name")
    scan.space()
    password = scan.astring("a password")
    try:
        return values.Login(user.decode("utf-8"), password.decode("utf-8"))
    except ValueError:
        raise ArgumentRejected("user name and password must be UTF-8",
                               b"AUTHENTICATIONFAILED") from None


# -- authenticated (RFC 3501 6.3)

def enable(scan):
    """Tuple of capability names in upper case."""
    names = [scan.keyword("a capability")]
    while scan.more():
        names.append(scan.keyword("a capability"))
    return tokens.without_repeats(names)


def select(scan):
    """SELECT and EXAMINE, with the parameters of RFC 7162 3.1.8 and 3.2.5."""
    name, condstore, resync = scan.mailbox(), False, None
    if scan.skip(b" ("):
        for parameter in scan.items(lambda: _select_parameter(scan)):
            condstore = True
            resync = parameter or resync
    return values.Select(name, condstore, resync)


def _select_parameter(scan):
    """A values.Resync for QRESYNC, None for CONDSTORE."""
    if scan.one_of(SELECT_PARAMETERS, "a parameter of SELECT") == "CONDSTORE":
        return None
    scan.space()
    scan.expect(b"(", '"("')
    uidvalidity = scan.positive("UIDVALIDITY")
    scan.space()
    modseq = mod_sequence(scan)
    known = None
    follows = scan.skip(b" ")
    if follows and scan.peek() != b"(":
        known = _known_set(scan)
        follows = scan.skip(b" ")
    if follows:  # message sequence match data, which is not used
        scan.expect(b"(", 'a list of known message numbers and UIDs')
        _known_set(scan)
        scan.space()
        _known_set(scan)
        scan.expect(b")", '")"')
    scan.expect(b")", '")"')
    return values.Resync(uidvalidity, modseq, known)


def _known_set(scan):
    """known-uids and such: SequenceSet; "*" is not allowed (RFC 7162 section 7)."""
    start = scan.at
    found = scan.plain_sequence()
    if b"*" in scan.line[start:scan.at]:
        raise scan.failed('a sequence set without "*"', start)
    return found


def mod_sequence(scan):
    """mod-sequence-valzer: int of 63 bits (RFC 7162 section 7)."""
    return scan.number("a mod-sequence", (1 << 63) - 1)


def create(scan):
    """CREATE, with USE (RFC 6154 3)."""
    name = scan.mailbox()
    if not (scan.offers("CREATE-SPECIAL-USE") and scan.skip(b" (")):
        return values.Create(name)
    start = scan.at
    if scan.keyword("USE") != "USE":
        raise scan.failed("USE", start)
    scan.space()
    scan.expect(b"(", "a list of special uses")
    uses = () if scan.skip(b")") else tokens.without_repeats(scan.items(lambda: _use(scan)))
    scan.expect(b")", '")"')
    return values.Create(name, uses)


def _use(scan):
    """use-attr: str, in the spelling of RFC 6154 where it is one of its attributes."""
    scan.expect(b"\\", "a special use")
    return "\\" + scan.atom("a special use").decode("ascii").capitalize()


def rename(scan):
    old = scan.mailbox()
    scan.space()
    return values.Rename(old, scan.mailbox())


def list_mailboxes(scan):
    """LIST, the extended one too (RFC 5258, 5819)."""
    selection, extended = None, scan.offers("LIST-EXTENDED")
    if extended and scan.peek() == b"(":
        selection = _options(scan, LIST_SELECTION, "a LIST selection option")[0]
        scan.space()
    reference = scan.mailbox()
    scan.space()
    several = extended and scan.skip(b"(")
    patterns = tuple(scan.items(scan.list_mailbox)) if several else (scan.list_mailbox(),)
    returns = status_items = ()
    has_returns = extended and scan.skip_word(b" RETURN ")
    if has_returns:
        returns, status_items = _options(scan, LIST_RETURNS, "a LIST return option")
    extended = several or has_returns or selection is not None
    return values.List(reference, patterns, selection or (), returns, status_items, extended)


def _options(scan, known, expected):
    """Parenthesised options of LIST -> (tuple of str in upper case, tuple of STATUS items)."""
    scan.expect(b"(", "a list of options")
    found, status_items = [], []

    def option():
        found.append(scan.one_of(known, expected))
        if found[-1] == "STATUS":
            scan.space()
            status_items.extend(_status_items(scan))

    if not scan.skip(b")"):
        scan.items(option)
    return tokens.without_repeats(found), tokens.without_repeats(status_items)


def lsub(scan):
    reference = scan.mailbox()
    scan.space()
    return values.List(reference, (scan.list_mailbox(),))


def status(scan):
    name = scan.mailbox()
    scan.space()
    return values.Status(name, _status_items(scan))


def _status_items(scan):
    scan.expect(b"(", "a list of STATUS items")
    items = scan.items(lambda: scan.one_of(STATUS_ITEMS, "a STATUS item"))
    return tokens.without_repeats(items)


def date_time(scan):
    """date-time -> seconds since 1970"""
    start = scan.at
    try:
        return dates.parse_internal(scan.string("a date"))[0]
    except ValueError:
        raise scan.failed('a date like "17-Jul-1996 02:44:25 -0700"', start) from None


# -- selected (RFC 3501 6.4)

def copy(scan):
    sequence = scan.sequence()
    scan.space()
    return values.Copy(sequence, scan.mailbox(), scan.uid)


def store(scan):
    """STORE and UID STORE."""
    sequence, unchanged_since = scan.sequence(), None
    scan.space()
    if scan.skip(b"("):  # RFC 7162 3.1.3
        scan.one_of(STORE_MODIFIERS, "a STORE modifier")
        scan.space()
        unchanged_since = mod_sequence(scan)
        scan.expect(b")", '")"')
        scan.space()
    sign, silent = scan.match(
        _STORE, "FLAGS, +FLAGS or -FLAGS, with or without .SILENT").groups()
    scan.space()
    if scan.peek() == b"(":
        flags = scan.flag_list()
    else:
        flags = [scan.flag()]
        while scan.more():
            flags.append(scan.flag())
    return values.Store(sequence, _STORE_MODES[sign], silent is not None,
                        tokens.without_repeats(flags), scan.uid, unchanged_since)
