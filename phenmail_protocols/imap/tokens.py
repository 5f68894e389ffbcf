"""The small words of IMAP's grammar: atoms, strings, numbers, lists (RFC 3501 section 9).

A Scanner walks over one command that the reader has taken in whole: line pieces and literals in turn. Every method
consumes what it is named after or raises BadSyntax with what was expected and where; none looks at a session.

8-bit octets: RFC 3501 has none outside literals. In quoted strings they are let through, because clients do send
UTF-8 passwords and search texts quoted, Dovecot takes them, and RFC 9051 allows them; whoever uses the string checks
that it is UTF-8. Atoms stay ASCII. A backslash in a quoted string escapes only a backslash or a quote.
"""
import re

from ..text import utf7
from . import sequence

#: Characters of an atom: any CHAR but atom-specials ( ) { SP CTL % * " \ ]
ATOM = rb"!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~"
_ATOM = re.compile(rb"[%s]+" % ATOM)
_ASTRING = re.compile(rb"[%s\]]+" % ATOM)
_LIST_MAILBOX = re.compile(rb"[%s\]%%*]+" % ATOM)
_TAG = re.compile(rb"[%s\]]+" % ATOM.replace(b"+", b""))
_QUOTED = re.compile(rb'"([^\r\n\0"\\]*(?:\\["\\][^\r\n\0"\\]*)*)"')
_NUMBER = re.compile(rb"[0-9]+")
_SEQUENCE = re.compile(rb"[0-9:,*]+")

NUMBER_LIMIT = (1 << 32) - 1

#: System flags by their lower-case form; \Recent is the server's alone.
SYSTEM_FLAGS = {flag.lower(): flag for flag in ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")}


class BadSyntax(ValueError):
    """The command cannot be read: answer BAD. `tag` is bytes, or None when not even the tag was there.

    The text is printable ASCII and holds nothing that the client sent; `code` is a response code's bytes or None.
    """
    tag = None
    code = None

    @property
    def text(self):
        """The text as bytes for the answer."""
        return self.args[0].encode("ascii")


class ArgumentRejected(BadSyntax):
    """The command can be read but never be served (a charset, a mailbox name): answer NO, with `code` in brackets."""

    def __init__(self, text, code):
        super().__init__(text)
        self.code = code


class Scanner:
    """Walks over `parts`: bytes of a line, literal, bytes of a line, …; it begins and ends with a line piece."""
    __slots__ = ("parts", "_index", "line", "at")

    def __init__(self, parts):
        self.parts = parts
        self._index = 0
        self.line = parts[0]
        self.at = 0

    def failed(self, expected):
        """BadSyntax that says what was expected and at which octet of the command (literals counted, from 1)."""
        before = sum(part.size if hasattr(part, "size") else len(part) for part in self.parts[:self._index])
        return BadSyntax("expected %s at octet %d" % (expected, before + self.at + 1))

    # -- where we are

    def at_end(self):
        """Whether the whole command is consumed."""
        return self.at == len(self.line) and self._index == len(self.parts) - 1

    def at_literal(self):
        """Whether a literal comes next."""
        return self.at == len(self.line) and self._index < len(self.parts) - 1

    def peek(self):
        """The next octet of the line as bytes, b"" at its end."""
        return self.line[self.at:self.at + 1]

    def end(self):
        """Nothing may follow. Spaces may: some clients leave one, and Dovecot takes it."""
        if not self._only_spaces_follow():
            raise self.failed("the end of the command")

    def more(self):
        """Whether another word follows; its space is consumed then."""
        if self._only_spaces_follow():
            return False
        self.space()
        return True

    def _only_spaces_follow(self):
        return self._index == len(self.parts) - 1 and not self.line[self.at:].strip(b" ")

    # -- marks

    def skip(self, mark):
        """Consumes `mark` if it comes next; says whether it did."""
        if self.line.startswith(mark, self.at):
            self.at += len(mark)
            return True
        return False

    def expect(self, mark, name):
        """Consumes `mark`; `name` is how the error calls it."""
        if not self.skip(mark):
            raise self.failed(name)

    def space(self):
        """SP"""
        self.expect(b" ", "a space")

    def match(self, pattern, expected):
        """Consumes what a compiled pattern finds here; returns the match."""
        found = pattern.match(self.line, self.at)
        if not found:
            raise self.failed(expected)
        self.at = found.end()
        return found

    # -- words

    def tag(self):
        """tag: bytes"""
        return self.match(_TAG, "a tag").group()

    def atom(self, expected="an atom"):
        """atom: bytes"""
        return self.match(_ATOM, expected).group()

    def keyword(self, expected):
        """An atom of the protocol's own: str in upper case."""
        return self.atom(expected).decode("ascii").upper()

    def number(self, expected="a number", limit=NUMBER_LIMIT):
        """number: int, at most `limit`"""
        start = self.at
        digits = self.match(_NUMBER, expected).group()
        if len(digits) > 19 or int(digits) > limit:
            self.at = start
            raise self.failed("%s of at most %d" % (expected, limit))
        return int(digits)

    def positive(self, expected="a number above zero"):
        """nz-number: int. It does not begin with 0."""
        if self.peek() == b"0":
            raise self.failed(expected)
        return self.number(expected)

    def literal(self, expected="a literal"):
        """What lies behind {n}: bytes or the reader's streamed literal."""
        if not self.at_literal():
            raise self.failed(expected)
        found = self.parts[self._index + 1]
        self._index += 2
        self.line = self.parts[self._index]
        self.at = 0
        return found

    def string(self, expected="a string"):
        """string: bytes of a quoted string or a literal; never NUL (RFC 3501 9: CHAR8)."""
        if self.peek() == b'"':
            body = self.match(_QUOTED, "a well-formed quoted string").group(1)
            return _unescaped(body) if b"\\" in body else body
        mark = self._index, self.line, self.at
        found = self.literal(expected)
        if not isinstance(found, bytes) or b"\0" in found:
            self._index, self.line, self.at = mark
            raise self.failed(expected + " without NUL")
        return found

    def astring(self, expected="a string", pattern=_ASTRING):
        """astring: bytes"""
        if self.peek() == b'"' or self.at_literal():
            return self.string(expected)
        return self.match(pattern, expected).group()

    def nstring(self, expected="a string or NIL"):
        """nstring: bytes, or None for NIL"""
        if self.line[self.at:self.at + 3].upper() == b"NIL":
            self.at += 3
            return None
        return self.string(expected)

    def items(self, read):
        """What `read()` gives, once or more, with single spaces between, up to and with ")" whose "(" is consumed: list."""
        found = [read()]
        while not self.skip(b")"):
            self.expect(b" ", 'a space or ")"')
            found.append(read())
        return found

    # -- words that mean something

    def sequence(self):
        """sequence-set: SequenceSet"""
        start = self.at
        data = self.match(_SEQUENCE, "a sequence set").group()
        try:
            return sequence.SequenceSet.parse(data)
        except sequence.SequenceError:
            self.at = start
            raise self.failed("a sequence set of numbers from 1 to 4294967295 or *") from None

    def mailbox(self):
        """mailbox: str. INBOX in any case is "INBOX"; raises ArgumentRejected for a name that is not modified UTF-7."""
        return mailbox_name(self.astring("a mailbox name"))

    def list_mailbox(self):
        """list-mailbox: str with its wildcards.

        A pattern may cut through modified UTF-7 ("Tom &*"): what cannot be decoded is compared with
        decoded names as it is, as Dovecot does.
        """
        data = self.astring("a mailbox name or pattern", _LIST_MAILBOX)
        try:
            return utf7.decode(data)
        except ValueError:
            return data.decode("utf-8", "replace")

    def flag(self):
        """flag: str; system flags in their own spelling. Unknown ones with a backslash and \\Recent are refused."""
        start = self.at
        if not self.skip(b"\\"):
            return self.atom("a flag").decode("ascii")
        name = "\\" + self.atom("a flag").decode("ascii").lower()
        if name not in SYSTEM_FLAGS:
            self.at = start
            raise self.failed("one of \\Answered \\Flagged \\Deleted \\Seen \\Draft or a keyword")
        return SYSTEM_FLAGS[name]

    def flag_list(self):
        """flag-list: tuple of str without repeats"""
        self.expect(b"(", "a list of flags")
        return () if self.skip(b")") else without_repeats(self.items(self.flag))


def _unescaped(body):
    r"""A quoted string's inside without the backslashes that escape. At memory's speed: a
    replacement match by match holds the interpreter for 70 ms where all is escaped."""
    return b"\\".join([piece.replace(b'\\"', b'"') for piece in body.split(b"\\\\")])


def without_repeats(found):
    """Sequence -> tuple in its order, each once."""
    return tuple(dict.fromkeys(found))


def mailbox_name(data):
    """Octets of a mailbox name -> str; INBOX in any case is "INBOX"; raises ArgumentRejected (RFC 3501 5.1)."""
    return "INBOX" if data.upper() == b"INBOX" else _decoded(data)


def _decoded(data):
    try:
        return utf7.decode(data)
    except ValueError:
        raise ArgumentRejected("mailbox name is not modified UTF-7 (RFC 3501 5.1.3)", b"CANNOT") from None
