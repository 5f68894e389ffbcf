"""The arguments of SEARCH (RFC 3501 6.4.4 and section 9: search, search-key).

Pure. An extension's keys (MODSEQ, YOUNGER, …) are more rows of KEYS and of EXTENSIONS.

Strings are decoded here, so that SEARCH compares str with str. Without CHARSET they are read as
UTF-8. RFC 3501 says US-ASCII, but UTF-8 is a superset of it, clients do send it, and RFC 9051 makes
it the rule.
"""
import re

from ...mail import dates, decoding
from . import command_grammar, tokens
from .values import (
    Address,
    And,
    Contains,
    EmailId,
    HasFlag,
    Header,
    InSet,
    ModSeq,
    Not,
    OnDay,
    Or,
    Search,
    Size,
    Within,
)

DEPTH_LIMIT = 50  # levels of NOT, OR and parentheses
KEYS_LIMIT = 4096  # in one search: more than fit into a line of 8,000 octets (RFC 2683 3.2.1.5)
TEXT_LIMIT = 8192  # characters of a string
OCTETS_LIMIT = (1 << 63) - 1
RETURN_OPTIONS = {"MIN": None, "MAX": None, "ALL": None, "COUNT": None, "SAVE": "SEARCHRES"}
_OBJECT_ID = re.compile(rb"[A-Za-z0-9_-]{1,255}(?=[ )]|$)")
_DATE = re.compile(rb'("?)([0-9]{1,2})(-[A-Za-z]{3}-[0-9]{4})\1(?=[ )]|$)')


def search(scan):
    """SEARCH and UID SEARCH -> Search. Raises ArgumentRejected for an unknown charset.

    After ENABLE UTF8=ACCEPT, CHARSET is an error (RFC 6855 3).
    """
    returns = return_options(scan, "ESEARCH")
    start = scan.at
    if scan.skip_word(b"CHARSET "):
        if scan.utf8:
            raise scan.failed("search keys in UTF-8 without CHARSET, because UTF8=ACCEPT is "
                              "enabled,", start)
        return Search(search_in_charset(scan), scan.uid, returns)
    return Search(_program(scan, "utf-8"), scan.uid, returns)


def search_in_charset(scan):
    """A charset and search keys -> one key: the search criteria of SORT and THREAD (RFC 5256)."""
    codec = _codec(scan.astring("a charset"))
    scan.space()
    return _program(scan, codec)


def _program(scan, codec):
    keys = _Keys(scan, codec)
    found = [keys.key(0)]
    while scan.more():
        found.append(keys.key(0))
    return _all(found)


def return_options(scan, extension):
    """RETURN (…) and the space behind it -> tuple of names, or None without it (RFC 4731, 5182).

    RETURN () is RETURN (ALL). `extension`: the one that allows it in this command.
    """
    if not (scan.offers(extension) and scan.skip_word(b"RETURN ")):
        return None
    scan.expect(b"(", "a list of result options")
    if scan.skip(b")"):
        options = ["ALL"]
    else:
        options = scan.items(lambda: scan.one_of(RETURN_OPTIONS, "a result option"))
    scan.space()
    return tokens.without_repeats(options)


def _codec(charset):
    """Python's name of a charset (octets)."""
    # Mail texts in "US-ASCII" may have 8-bit octets and `decoding` forgives them; a search may not.
    codec = "ascii" if charset.upper() == b"US-ASCII" else decoding.codec_name(charset)
    if codec is None:
        raise tokens.ArgumentRejected("unknown charset", b"BADCHARSET (US-ASCII UTF-8)")
    return codec


def _all(keys):
    return keys[0] if len(keys) == 1 else And(tuple(keys))


class _Keys:
    """Parses search keys from a scanner; `codec` is Python's name of the strings' charset."""
    __slots__ = ("scan", "codec", "count")

    def __init__(self, scan, codec):
        self.scan = scan
        self.codec = codec
        self.count = 0

    def key(self, depth):
        """search-key"""
        scan = self.scan
        self.count += 1
        if self.count > KEYS_LIMIT:
            raise tokens.ArgumentRejected("at most %d search keys" % KEYS_LIMIT, b"LIMIT")
        if depth > DEPTH_LIMIT:
            raise scan.failed("at most %d levels of search keys" % DEPTH_LIMIT)
        if scan.skip(b"("):
            return _all(scan.items(lambda: self.key(depth + 1)))
        if scan.peek() in b"0123456789*$" and scan.peek():
            return InSet(scan.sequence(), False)
        start = scan.at
        name = scan.keyword("a search key")
        is_known = scan.offers(EXTENSIONS.get(name))
        if is_known and name in NAMED:
            return NAMED[name]
        if not is_known or name not in KEYS:
            raise scan.failed("a search key", start)
        scan.space()
        return KEYS[name](self, depth)

    def text(self):
        """astring in the command's charset -> str"""
        start = self.scan.at
        data = self.scan.astring("a string to search for")
        try:
            text = data.decode(self.codec)
        except ValueError:
            raise self.scan.failed("a string in the charset of the command",
                                   min(start, len(self.scan.line))) from None
        if len(text) > TEXT_LIMIT:
            text = "at most %d characters to search for" % TEXT_LIMIT
            raise tokens.ArgumentRejected(text, b"LIMIT")
        return text

    def flag_keyword(self):
        """flag-keyword -> str"""
        return self.scan.atom("a keyword").decode("ascii")

    def day(self):
        """date -> days since 1970-01-01"""
        start = self.scan.at
        _, day, rest = self.scan.match(_DATE, "a date like 1-Feb-1994").groups()
        try:
            midnight = dates.parse_internal(day.rjust(2) + rest + b" 00:00:00 +0000")
        except ValueError:
            raise self.scan.failed("a date that exists", start) from None
        return midnight.epoch // 86400

    def header(self):
        """HEADER's two strings"""
        field = self.scan.astring("a field name").decode("latin-1").lower()
        self.scan.space()
        return Header(field, self.text())

    def mod_sequence(self):
        """search-modsequence without its name (RFC 7162 3.1.5). A message has one mod-sequence for
        all its flags, so the entry's name and type are ignored."""
        if self.scan.peek() == b'"':
            self.scan.string("an entry's name")
            self.scan.space()
            start = self.scan.at
            if self.scan.keyword("priv, shared or all") not in ("PRIV", "SHARED", "ALL"):
                raise self.scan.failed("priv, shared or all", start)
            self.scan.space()
        return ModSeq(command_grammar.mod_sequence(self.scan))

    def object_id(self):
        """objectid (RFC 8474 7) -> str"""
        return self.scan.match(_OBJECT_ID, "an object identifier").group().decode("ascii")

    def thread_id(self):
        """THREADID finds nothing, because FETCH has NIL for all messages (RFC 8474 5.2)."""
        self.object_id()
        return Not(And(()))

    def either(self, depth):
        """OR's two keys"""
        left = self.key(depth + 1)
        self.scan.space()
        return Or(left, self.key(depth + 1))


#: Keys without arguments.
NAMED = {
    "ALL": And(()),
    "NEW": And((HasFlag("\\Recent", True), HasFlag("\\Seen", False))),
    "OLD": HasFlag("\\Recent", False),
    "RECENT": HasFlag("\\Recent", True),
}
for _flag in tokens.SYSTEM_FLAGS.values():
    NAMED[_flag[1:].upper()] = HasFlag(_flag, True)
    NAMED["UN" + _flag[1:].upper()] = HasFlag(_flag, False)

#: Keys with arguments: name -> (keys, depth) -> value, behind the space after the name.
KEYS = {
    "NOT": lambda keys, depth: Not(keys.key(depth + 1)),
    "OR": _Keys.either,
    "UID": lambda keys, depth: InSet(keys.scan.sequence(), True),
    "KEYWORD": lambda keys, depth: HasFlag(keys.flag_keyword(), True),
    "UNKEYWORD": lambda keys, depth: HasFlag(keys.flag_keyword(), False),
    "HEADER": lambda keys, depth: keys.header(),
    "BCC": lambda keys, depth: Address("bcc", keys.text()),
    "CC": lambda keys, depth: Address("cc", keys.text()),
    "FROM": lambda keys, depth: Address("from", keys.text()),
    "SUBJECT": lambda keys, depth: Header("subject", keys.text()),
    "TO": lambda keys, depth: Address("to", keys.text()),
    "BODY": lambda keys, depth: Contains(False, keys.text()),
    "TEXT": lambda keys, depth: Contains(True, keys.text()),
    "LARGER": lambda keys, depth: Size(True, keys.scan.number("a size", OCTETS_LIMIT)),
    "SMALLER": lambda keys, depth: Size(False, keys.scan.number("a size", OCTETS_LIMIT)),
    "YOUNGER": lambda keys, depth: Within(True, keys.scan.positive("a number of seconds")),
    "OLDER": lambda keys, depth: Within(False, keys.scan.positive("a number of seconds")),
    "MODSEQ": lambda keys, depth: keys.mod_sequence(),
    "EMAILID": lambda keys, depth: EmailId(keys.object_id()),
    "THREADID": lambda keys, depth: keys.thread_id(),
    "BEFORE": lambda keys, depth: OnDay(False, "before", keys.day()),
    "ON": lambda keys, depth: OnDay(False, "on", keys.day()),
    "SINCE": lambda keys, depth: OnDay(False, "since", keys.day()),
    "SENTBEFORE": lambda keys, depth: OnDay(True, "before", keys.day()),
    "SENTON": lambda keys, depth: OnDay(True, "on", keys.day()),
    "SENTSINCE": lambda keys, depth: OnDay(True, "since", keys.day()),
}

#: Keys that belong to an extension -> its name.
EXTENSIONS = {"YOUNGER": "WITHIN", "OLDER": "WITHIN", "MODSEQ": "CONDSTORE",
              "EMAILID": "OBJECTID", "THREADID": "OBJECTID"}
