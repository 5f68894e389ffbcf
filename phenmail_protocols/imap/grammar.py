"""Commands: bytes of the wire -> values.Command (RFC 3501 section 9: command).

Pure: no socket, no session. The reader takes in line after line and literal after literal, asking `literal_at_end` after each
line whether a literal follows and `may_stream` whether it may go to a file; then it calls `parse` once with all of them.

One row of COMMANDS per command, name -> reader of its arguments; an extension adds rows, or branches in one reader.
RFC 2971 ID, 3691 UNSELECT, 4315 UID EXPUNGE, 4959 SASL-IR, 5161 ENABLE, 5258 and 5819 LIST, 6154 USE, 6851 MOVE.
"""
import binascii
import re
from typing import NamedTuple

from ..mail import dates
from . import fetch_grammar, search_grammar, tokens, values
from .tokens import (  # what `parse` raises, by the name under which callers know it
    ArgumentRejected,
    BadSyntax,
)

__all__ = ["ArgumentRejected", "BadSyntax", "COMMANDS", "LiteralMark", "literal_at_end", "may_stream",
           "parse", "unread"]

_LITERAL = re.compile(rb"~?\{([0-9]+)(\+?)\}\Z")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}|=")
_STORE = re.compile(rb"([+-]?)FLAGS(\.SILENT)?(?= )", re.IGNORECASE)
_HUGE = 1 << 63

STATUS_ITEMS = ("MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN")
LIST_SELECTION = ("SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE")
LIST_RETURNS = ("SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "STATUS")


class LiteralMark(NamedTuple):
    """The {n} at the end of a line: `size` octets follow; `non_sync` says that the client does not wait (RFC 7888).

    `start` is where the piece of the line for `parse` ends; the "~" of a binary literal (RFC 3516) stays in that piece.
    """
    size: int
    non_sync: bool
    binary: bool
    start: int


def literal_at_end(line):
    """Line without its CRLF -> LiteralMark, or None. A size of more than 18 digits reads as 2**63."""
    found = _LITERAL.search(line)
    if not found:
        return None
    digits = found.group(1)
    binary = found.group()[:1] == b"~"
    return LiteralMark(int(digits) if len(digits) < 19 else _HUGE, bool(found.group(2)), binary, found.start() + binary)


def may_stream(parts):
    """Whether the next literal is APPEND's message: `parts` is what `parse` would get, up to the piece before the literal."""
    scan = tokens.Scanner(parts)
    try:
        scan.tag()
        scan.space()
        if scan.keyword("a command") != "APPEND":
            return False
        _append_head(scan)
    except BadSyntax:
        return False
    return scan.at_end()


def parse(parts):
    """[line piece, literal, line piece, …] -> Command.

    Line pieces are bytes without CRLF and without {n}; literals are bytes, or a StreamedLiteral for APPEND's message.
    Raises BadSyntax with `.tag`, its text ready for the client: BAD, or NO with `.code` for the child ArgumentRejected.
    """
    scan = tokens.Scanner(parts)
    tag = None
    name = "command"
    try:
        tag = scan.tag()
        scan.space()
        name = _name(scan)
        arguments = COMMANDS[name](scan)
        scan.end()
    except BadSyntax as error:
        error.tag = tag
        if not isinstance(error, ArgumentRejected):
            error.args = ("%s: %s" % (name, error.args[0]),)
        raise
    return values.Command(tag, name, arguments)


def unread(parts, text, code):
    """The ArgumentRejected for a command that nobody parses; `parts` as for `parse`. Only its tag is read."""
    rejected = ArgumentRejected(text, code)
    try:
        rejected.tag = tokens.Scanner(parts).tag()
    except BadSyntax:
        pass
    return rejected


def _name(scan):
    start = scan.at
    name = scan.keyword("a command")
    if name == "UID":
        scan.space()
        name += " " + scan.keyword("a command after UID")
    if name not in COMMANDS:
        scan.at = start
        raise scan.failed("a command that this server has")
    return name


# -- arguments, in the order of RFC 3501 section 6

def _nothing(scan):
    return None


def _authenticate(scan):
    scan.space()
    mechanism = scan.keyword("a SASL mechanism")
    if not scan.more():
        return values.Authenticate(mechanism, None)
    start = scan.at
    base64 = scan.match(_BASE64, 'base64 or "="').group()
    try:
        return values.Authenticate(mechanism, b"" if base64 == b"=" else binascii.a2b_base64(base64))
    except ValueError:
        scan.at = start
        raise scan.failed("whole base64") from None


def _login(scan):
    scan.space()
    user = scan.astring("a user name")
    scan.space()
    password = scan.astring("a password")
    try:
        return values.Login(user.decode("utf-8"), password.decode("utf-8"))
    except ValueError:
        raise ArgumentRejected("user name and password are read as UTF-8", b"AUTHENTICATIONFAILED") from None


def _identify(scan):
    scan.space()
    if scan.skip(b"("):
        return values.Identify(() if scan.skip(b")") else tuple(scan.items(lambda: _id_field(scan))))
    if scan.nstring('a list or NIL') is None:
        return values.Identify(())
    raise scan.failed("a list or NIL")


def _id_field(scan):
    name = scan.string("a field name").decode("utf-8", "replace")
    scan.space()
    value = scan.nstring()
    return name, value if value is None else value.decode("utf-8", "replace")


def _enable(scan):
    scan.space()
    names = [scan.keyword("a capability")]
    while scan.more():
        names.append(scan.keyword("a capability"))
    return values.Enable(tokens.without_repeats(names))


def _select(scan):
    scan.space()
    return values.Select(scan.mailbox())


def _mailbox(scan):
    scan.space()
    return values.Mailbox(scan.mailbox())


def _create(scan):
    scan.space()
    mailbox = scan.mailbox()
    if not scan.skip(b" ("):
        return values.Create(mailbox)
    if scan.keyword("USE") != "USE":
        raise scan.failed("USE")
    scan.space()
    scan.expect(b"(", "a list of special uses")
    uses = () if scan.skip(b")") else tokens.without_repeats(scan.items(lambda: _use(scan)))
    scan.expect(b")", '")"')
    return values.Create(mailbox, uses)


def _use(scan):
    """use-attr: in the spelling of RFC 6154 where it is one of its words"""
    scan.expect(b"\\", "a special use")
    return "\\" + scan.atom("a special use").decode("ascii").capitalize()


def _rename(scan):
    scan.space()
    old = scan.mailbox()
    scan.space()
    return values.Rename(old, scan.mailbox())


def _list(scan):
    scan.space()
    selection = _options(scan, LIST_SELECTION, "a LIST selection option")[0] if scan.peek() == b"(" else None
    if selection is not None:
        scan.space()
    reference = scan.mailbox()
    scan.space()
    several = scan.skip(b"(")
    patterns = tuple(scan.items(scan.list_mailbox)) if several else (scan.list_mailbox(),)
    if not _return_follows(scan):
        return values.List(reference, patterns, selection or (), extended=several or selection is not None)
    returns, status = _options(scan, LIST_RETURNS, "a LIST return option")
    return values.List(reference, patterns, selection or (), returns, status, True)


def _return_follows(scan):
    if scan.line[scan.at:scan.at + 8].upper() != b" RETURN ":
        return False
    scan.at += 8
    return True


def _options(scan, known, expected):
    """Parenthesised options of LIST -> (tuple of str in upper case, tuple of STATUS items)"""
    scan.expect(b"(", "a list of options")
    found, status = [], []

    def option():
        found.append(_one_of(scan, known, expected))
        if found[-1] == "STATUS":
            scan.space()
            status.extend(_status_items(scan))

    if not scan.skip(b")"):
        scan.items(option)
    return tokens.without_repeats(found), tokens.without_repeats(status)


def _one_of(scan, known, expected):
    start = scan.at
    name = scan.keyword(expected)
    if name not in known:
        scan.at = start
        raise scan.failed("%s (%s)" % (expected, " ".join(known)))
    return name


def _lsub(scan):
    scan.space()
    reference = scan.mailbox()
    scan.space()
    return values.List(reference, (scan.list_mailbox(),))


def _status(scan):
    scan.space()
    mailbox = scan.mailbox()
    scan.space()
    return values.Status(mailbox, _status_items(scan))


def _status_items(scan):
    scan.expect(b"(", "a list of STATUS items")
    return tokens.without_repeats(scan.items(lambda: _one_of(scan, STATUS_ITEMS, "a STATUS item")))


def _append_head(scan):
    """What stands before APPEND's message, the name of the command consumed -> (octets of the name, flags, date, binary)"""
    scan.space()
    mailbox = scan.astring("a mailbox name")
    scan.space()
    flags, date = (), None
    if scan.peek() == b"(":
        flags = scan.flag_list()
        scan.space()
    if scan.peek() == b'"':
        date = _date_time(scan)
        scan.space()
    return mailbox, flags, date, scan.skip(b"~")


def _date_time(scan):
    start = scan.at
    try:
        return dates.parse_internal(scan.string("a date"))[0]
    except ValueError:
        scan.at = start
        raise scan.failed('a date like "17-Jul-1996 02:44:25 -0700"') from None


def _append(scan):
    mailbox, flags, date, binary = _append_head(scan)
    literal = scan.literal("the message as a literal")
    return values.Append(tokens.mailbox_name(mailbox), flags, date, literal, binary)


def _uid_expunge(scan):
    scan.space()
    return values.Expunge(scan.sequence())


def _copy(scan, uid):
    scan.space()
    sequence = scan.sequence()
    scan.space()
    return values.Copy(sequence, scan.mailbox(), uid)


def _store(scan, uid):
    scan.space()
    sequence = scan.sequence()
    scan.space()
    sign, silent = scan.match(_STORE, "FLAGS, +FLAGS or -FLAGS, with or without .SILENT").groups()
    scan.space()
    if scan.peek() == b"(":
        flags = scan.flag_list()
    else:
        flags = [scan.flag()]
        while scan.more():
            flags.append(scan.flag())
    mode = {b"+": "add", b"-": "remove", b"": "replace"}[sign]
    return values.Store(sequence, mode, silent is not None, tokens.without_repeats(flags), uid)


def _both(read):
    """A reader (scan, uid) -> its readers for the plain and the UID form"""
    return (lambda scan: read(scan, False)), (lambda scan: read(scan, True))


#: Command name -> reader: (Scanner behind the name) -> arguments.
COMMANDS = {
    "CAPABILITY": _nothing,
    "NOOP": _nothing,
    "LOGOUT": _nothing,
    "ID": _identify,
    "STARTTLS": _nothing,
    "AUTHENTICATE": _authenticate,
    "LOGIN": _login,
    "ENABLE": _enable,
    "SELECT": _select,
    "EXAMINE": _select,
    "CREATE": _create,
    "DELETE": _mailbox,
    "RENAME": _rename,
    "SUBSCRIBE": _mailbox,
    "UNSUBSCRIBE": _mailbox,
    "LIST": _list,
    "LSUB": _lsub,
    "NAMESPACE": _nothing,
    "STATUS": _status,
    "APPEND": _append,
    "IDLE": _nothing,
    "CHECK": _nothing,
    "CLOSE": _nothing,
    "UNSELECT": _nothing,
    "EXPUNGE": _nothing,
    "UID EXPUNGE": _uid_expunge,
}
COMMANDS["SEARCH"], COMMANDS["UID SEARCH"] = _both(search_grammar.search)
COMMANDS["FETCH"], COMMANDS["UID FETCH"] = _both(fetch_grammar.fetch)
COMMANDS["STORE"], COMMANDS["UID STORE"] = _both(_store)
COMMANDS["COPY"], COMMANDS["UID COPY"] = _both(_copy)
COMMANDS["MOVE"], COMMANDS["UID MOVE"] = _both(_copy)
