"""Responses: values -> bytes of the wire (RFC 3501 section 7 and 9: response).

Pure: it knows no session and no store. Mailbox names are str, texts and codes bytes. A line that
only one command sends is in that command's file, ENVELOPE and BODYSTRUCTURE are in
`message_responses`.
"""
import re
from bisect import bisect_left

from ..mail import dates
from ..text import utf7
from .syntax import tokens

CRLF = b"\r\n"
NIL = b"NIL"
_SYSTEM_FLAGS = tuple(tokens.SYSTEM_FLAGS.values())

# TEXT-CHARs. Strings with others (8-bit, CR, LF), and long ones, are sent as literals.
_QUOTABLE = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]{0,1024}")
_LINE_ENDS = re.compile(rb"[\r\n]")
# A text may quote the client (a mailbox name can have CR LF): it leaves as one line of ASCII.
_PRINTABLE = bytes(octet if 32 <= octet < 127 else ord("?") for octet in range(256))
#: Response codes that belong to an extension.
CODE_EXTENSIONS = {b"APPENDUID": "UIDPLUS", b"COPYUID": "UIDPLUS", b"HIGHESTMODSEQ": "CONDSTORE",
                   b"CLOSED": "QRESYNC", b"MAILBOXID": "OBJECTID", b"UNKNOWN-CTE": "BINARY"}
_FLAG_ORDER = _SYSTEM_FLAGS + ("\\Recent",)
_FLAG_LISTS = 4096


# -- strings (RFC 3501 4.3)

def string(data):
    """bytes -> quoted string, or a literal where needed. The handler's Output replaces NUL."""
    return tokens.quoted(data) if _QUOTABLE.fullmatch(data) else literal(data)


class Octets(bytes):
    """Octets of a literal8 (RFC 3516): they may have NUL."""

    __slots__ = ()


def literal(data):
    """bytes -> {n} and the octets as they are"""
    return b"{%d}\r\n" % len(data) + data


def nstring(data):
    """bytes or None -> string or NIL"""
    return NIL if data is None else string(data)


def astring(data):
    """bytes -> an atom where they are one (but not NIL), else a string"""
    return data if tokens.is_atom(data) and data.upper() != NIL else string(data)


def mailbox(name, utf8):
    """str -> the mailbox name as astring: in modified UTF-7, or in UTF-8 (RFC 6855 3)

    `utf8`: the session's; only then may a quoted string have 8-bit octets.
    """
    if not utf8:
        return astring(utf7.encode(name))
    data = name.encode("utf-8")
    if tokens.is_ascii(data) or _LINE_ENDS.search(data):
        return astring(data)
    return tokens.quoted(data)


# -- status responses (RFC 3501 7.1)

def tagged(tag, status, text, code=None):
    """The response that ends a command.

    `status` is b"OK", b"NO" or b"BAD"; `code` has no brackets; `text` has at least one octet.
    """
    return tag + b" " + _status(status, text, code)


def untagged_status(status, text, code=None):
    """* OK, * NO, * BAD, * PREAUTH, * BYE"""
    return b"* " + _status(status, text, code)


def continuation(text=b""):
    """+ text: the server waits for more of the command (7.5)"""
    return b"+ " + text + CRLF


def mailbox_id(identifier):
    """The response code MAILBOXID (RFC 8474 4.1)"""
    return b"MAILBOXID (%b)" % identifier.encode("ascii")


def _status(status, text, code):
    shown_code = b"[" + code + b"] " if code else b""
    return status + b" " + shown_code + text.translate(_PRINTABLE) + CRLF


def known_flags(keywords, full, writable):
    """FLAGS and PERMANENTFLAGS, two lines (RFC 3501 7.2.6 and 7.1).

    `full`: the mailbox has no room for new keywords. If it is not `writable`, nothing is permanent.
    """
    known = _sorted(_SYSTEM_FLAGS + tuple(keywords))
    permanent = known + [b"\\*"] * (not full) if writable else []
    code = b"PERMANENTFLAGS (" + b" ".join(permanent) + b")"
    return (b"* FLAGS (" + b" ".join(known) + b")\r\n",
            untagged_status(b"OK", b"Permanent flags", code))


# -- flags (RFC 3501 7.2.6)

def flag_list(flags):
    """Iterable of str -> (\\Seen $Forwarded): system flags, then keywords in alphabetic order"""
    return b"(" + b" ".join(_sorted(flags)) + b")"


def _sorted(flags):
    ordered = [flag for flag in _FLAG_ORDER if flag in flags]
    ordered += sorted(flag for flag in flags if flag not in _FLAG_ORDER)
    return [flag.encode("ascii") for flag in ordered]


class FlagLists(dict):
    """{frozenset of str: its flag list as bytes}, filled on demand; `recent` adds \\Recent to each.

    The store uses one object for equal sets, so that a look-up costs next to nothing. Bounded: when
    full, it is cleared.
    """

    def __init__(self, recent=False):
        super().__init__()
        self._extra = frozenset(("\\Recent",) if recent else ())

    def __missing__(self, flags):
        if len(self) >= _FLAG_LISTS:
            self.clear()
        wire = self[flags] = flag_list(flags | self._extra)
        return wire


def flag_column(flags, uids, recent_ranges, plain, recent):
    """Sets of flags of ascending `uids` -> list of their flag lists.

    `recent_ranges`: (first UID, end) pairs of the messages that are \\Recent in this session;
    `plain` and `recent` are FlagLists.
    """
    column = list(map(plain.__getitem__, flags))
    for first, end in recent_ranges:
        start, stop = bisect_left(uids, first), bisect_left(uids, end)
        column[start:stop] = map(recent.__getitem__, flags[start:stop])
    return column


# -- messages (RFC 3501 7.4)

def fetch_lines(numbers, columns):
    """* n FETCH (…), one line a message -> iterator of bytes.

    `columns`: (label, form, values) for each item. The label is bytes (b"FLAGS"), the form b"%d"
    for int values or b"%b" for bytes of the wire, and there is one value a message. So all work for
    a message is one formatting in C.
    """
    items = b" ".join(label.replace(b"%", b"%%") + b" " + form for label, form, _ in columns)
    line = b"* %d FETCH (" + items + b")\r\n"
    return map(line.__mod__, zip(numbers, *(values for _, _, values in columns)))


def internal_dates(epochs):
    """Seconds since 1970 -> list of quoted date-times in UTC (RFC 3501 9: date-time)"""
    days = _Days()
    return [days[epoch // 86400] % (epoch // 3600 % 24, epoch // 60 % 60, epoch % 60)
            for epoch in epochs]


class _Days(dict):
    """{days since 1970: its date-time with %02d for hour, minute and second}"""

    def __missing__(self, day):
        # Before year 1 and after 9999 `format_internal` gives the nearest day it can write.
        date, _, zone = dates.format_internal(day * 86400).split(b" ")
        form = self[day] = b'"' + date + b" %02d:%02d:%02d " + zone + b'"'
        return form
