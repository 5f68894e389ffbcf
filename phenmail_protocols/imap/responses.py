"""Answers: values -> bytes of the wire (RFC 3501 section 7 and 9: response).

Pure: it knows no session and no store; names of mailboxes come as str, texts and codes as bytes. What one line answers is
one function. The forms of ENVELOPE and BODYSTRUCTURE lie in `message_responses`.
"""
import re
from bisect import bisect_left

from ..mail import dates
from ..text import utf7
from . import sequence, tokens

CRLF = b"\r\n"
NIL = b"NIL"
_SYSTEM_FLAGS = tuple(tokens.SYSTEM_FLAGS.values())

# TEXT-CHARs. What has others (8-bit, CR, LF) or is long goes out as a literal.
_QUOTABLE = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]{0,1024}")
_ESCAPED = re.compile(rb'[\\"]')
_ATOM = re.compile(rb"[%s]+" % tokens.ATOM)
# Texts may quote what a client said (a mailbox name can hold CR LF): one line of printable ASCII is what leaves.
_PRINTABLE = bytes(octet if 32 <= octet < 127 else ord("?") for octet in range(256))
_FLAG_ORDER = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft", "\\Recent")
_FLAG_LISTS = 4096


# -- strings (RFC 3501 4.3)

def string(data):
    """bytes -> quoted string, or a literal where that cannot be. The handler's Output replaces NUL."""
    if _QUOTABLE.fullmatch(data):
        return b'"' + (_ESCAPED.sub(rb"\\\g<0>", data) if b"\\" in data or b'"' in data else data) + b'"'
    return literal(data)


def literal(data):
    """bytes -> {n} and the octets as they are"""
    return b"{%d}\r\n" % len(data) + data


def nstring(data):
    """bytes or None -> string or NIL"""
    return NIL if data is None else string(data)


def astring(data):
    """bytes -> an atom where they are one (NIL aside), else a string"""
    return data if _ATOM.fullmatch(data) and data.upper() != NIL else string(data)


def mailbox(name):
    """str -> the mailbox name in modified UTF-7, as astring"""
    return astring(utf7.encode(name))


# -- status responses (RFC 3501 7.1)

def tagged(tag, status, text, code=None):
    """The answer that ends a command: `status` b"OK", b"NO" or b"BAD"; `code` without its brackets."""
    return tag + b" " + _status(status, text, code)


def untagged_status(status, text, code=None):
    """* OK, * NO, * BAD, * PREAUTH, * BYE"""
    return b"* " + _status(status, text, code)


def continuation(text=b""):
    """+ text: the server waits for more of the command (7.5)"""
    return b"+ " + text + CRLF


def _status(status, text, code):
    # resp-text has at least one character, and RFC 3501 has a space even where nothing would follow the code.
    return status + b" " + (b"[" + code + b"] " if code else b"") + (text.translate(_PRINTABLE) or b"Done.") + CRLF


def appenduid(uidvalidity, uid):
    """Response code of APPEND (RFC 4315)"""
    return b"APPENDUID %d %d" % (uidvalidity, uid)


def copyuid(uidvalidity, pairs):
    """Response code of COPY and MOVE (RFC 4315): `pairs` of (source UID, target UID), at least one"""
    return b"COPYUID %d %b %b" % (uidvalidity, sequence.build([source for source, _ in pairs]),
                                  sequence.build([target for _, target in pairs]))


def known_flags(keywords, full, writable):
    """FLAGS and PERMANENTFLAGS, two lines (RFC 3501 7.2.6 and 7.1). `full`: no new keyword can be
    kept. Nothing is permanent where the mailbox is not `writable`."""
    known = _SYSTEM_FLAGS + tuple(keywords)
    permanent = permanentflags(known, not full) if writable else permanentflags((), False)
    return flags_line(known), untagged_status(b"OK", b"Permanent flags.", permanent)


def permanentflags(flags, any_keyword):
    """Response code of SELECT: `flags` iterable of str; `any_keyword` adds \\*"""
    return b"PERMANENTFLAGS (" + b" ".join(_sorted(flags) + ([b"\\*"] if any_keyword else [])) + b")"


# -- mailboxes (RFC 3501 7.2)

def capability(names):
    """* CAPABILITY"""
    return b"* CAPABILITY " + b" ".join(names) + CRLF


def list_line(name, attributes, separator="/", command=b"LIST"):
    """* LIST or * LSUB: `attributes` iterable of str ("\\\\HasChildren"), `name` str; separator None is NIL"""
    return b"* %b (%b) %b %b\r\n" % (command, " ".join(attributes).encode("ascii"),
                                     NIL if separator is None else string(separator.encode("ascii")), mailbox(name))


def status_line(name, items):
    """* STATUS: `items` pairs of (str, int)"""
    return b"* STATUS %b (%b)\r\n" % (mailbox(name), b" ".join(b"%b %d" % (item.encode("ascii"), number) for item, number in items))


def search_line(numbers):
    """* SEARCH: numbers may be none"""
    return b"* SEARCH" + (b" %d" * len(numbers)) % tuple(numbers) + CRLF


def namespace_line(personal=((b"", b"/"),)):
    """* NAMESPACE (RFC 2342): `personal` pairs of (prefix, separator); no others' and no shared ones"""
    spaces = b"".join(b"(%b %b)" % (string(prefix), string(separator)) for prefix, separator in personal)
    return b"* NAMESPACE (" + spaces + b") NIL NIL\r\n"


def id_line(fields):
    """* ID (RFC 2971): `fields` pairs of (str, str or None); none at all is NIL"""
    words = [word for name, value in fields for word in (string(name.encode("utf-8")), nstring(value and value.encode("utf-8")))]
    return b"* ID " + (b"(" + b" ".join(words) + b")" if words else NIL) + CRLF


def enabled_line(names):
    """* ENABLED (RFC 5161)"""
    return b" ".join([b"* ENABLED"] + [name.encode("ascii") for name in names]) + CRLF


# -- flags (RFC 3501 7.2.6)

def flag_list(flags):
    """Iterable of str -> (\\Seen $Forwarded): system flags first, then keywords in their order"""
    return b"(" + b" ".join(_sorted(flags)) + b")"


def flags_line(flags):
    """* FLAGS"""
    return b"* FLAGS " + flag_list(flags) + CRLF


def _sorted(flags):
    ordered = [flag for flag in _FLAG_ORDER if flag in flags] + sorted(flag for flag in flags if flag not in _FLAG_ORDER)
    return [flag.encode("ascii") for flag in ordered]


class FlagLists(dict):
    """{frozenset of str: its flag list as bytes}, filled as it is asked; with \\Recent added where made so.

    The store's equal sets are one object, so that a look-up costs next to nothing. Bounded: it forgets all when it is full.
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

    `recent_ranges`: (first UID, end) pairs of the messages that are \\Recent in this session; `plain`, `recent`: FlagLists.
    """
    column = list(map(plain.__getitem__, flags))
    for first, end in recent_ranges:
        start, stop = bisect_left(uids, first), bisect_left(uids, end)
        column[start:stop] = map(recent.__getitem__, flags[start:stop])
    return column


# -- messages (RFC 3501 7.4)

def fetch_lines(numbers, columns):
    """* n FETCH (…), one a message -> iterator of bytes.

    `columns`: triples of (label, form, values): label as bytes (b"FLAGS"), form b"%d" for int values or b"%b" for bytes that
    are ready for the wire, and one value a message. All the work a message is one formatting in C.
    """
    items = b" ".join(label.replace(b"%", b"%%") + b" " + form for label, form, _ in columns)
    return map((b"* %d FETCH (" + items + b")\r\n").__mod__, zip(numbers, *(values for _, _, values in columns)))


def internal_dates(epochs):
    """Seconds since 1970 -> list of quoted date-times in UTC (RFC 3501 9: date-time)"""
    days = _Days()
    return [days[epoch // 86400] % (epoch // 3600 % 24, epoch // 60 % 60, epoch % 60) for epoch in epochs]


class _Days(dict):
    """{days since 1970: the date-time of its midnight with places for hour, minute, second}"""

    def __missing__(self, day):
        # Of a day beyond the years that can be written the nearest one stands here, with its own time of day.
        date, _, zone = dates.format_internal(day * 86400).split(b" ")
        form = self[day] = b'"' + date + b" %02d:%02d:%02d " + zone + b'"'
        return form
