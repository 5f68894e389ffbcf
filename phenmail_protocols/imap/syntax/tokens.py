"""The tokens of IMAP's grammar: atoms, strings, numbers, lists (RFC 3501 section 9).

Pure. A Scanner walks over one command that the reader has read completely: line pieces and literals
in turn. Each method consumes what it is named after, or raises BadSyntax with what was expected and
where.

8-bit octets: RFC 3501 has none outside literals. Quoted strings may have them here, because clients
do send UTF-8 passwords and search texts quoted, Dovecot accepts them, and RFC 9051 allows them. The
caller checks that such a string is UTF-8; after ENABLE UTF8=ACCEPT, the Scanner does (RFC 6855 3).
Atoms stay ASCII. A backslash in a quoted string escapes only a backslash or a quote.
"""
import re

from ...text import utf7
from . import sequence

#: Characters of an atom: any CHAR but atom-specials ( ) { SP CTL % * " \ ]
_ATOM_CHARS = rb"!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~"
_ATOM = re.compile(rb"[%s]+" % _ATOM_CHARS)
_ESCAPED = re.compile(rb'[\\"]')
_ASTRING = re.compile(rb"[%s\]]+" % _ATOM_CHARS)
_LIST_MAILBOX = re.compile(rb"[%s\]%%*]+" % _ATOM_CHARS)
_TAG = re.compile(rb"[%s\]]+" % _ATOM_CHARS.replace(b"+", b""))
_QUOTED = re.compile(rb'"([^\r\n\0"\\]*(?:\\["\\][^\r\n\0"\\]*)*)"')
_EIGHT_BIT = re.compile(rb"[\x80-\xff]")
_NUMBER = re.compile(rb"[0-9]+")
_SEQUENCE = re.compile(rb"[0-9:,*]+")

NUMBER_LIMIT = (1 << 32) - 1

#: System flags by their lower-case form, without \Recent, which only the server sets.
SYSTEM_FLAGS = {flag.lower(): flag for flag in
                ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")}


class BadSyntax(ValueError):
    """The command cannot be parsed: answer BAD.

    `tag` is bytes, or None where there was no tag. The text is printable ASCII and repeats nothing
    that the client sent. `code` is a response code as bytes, or None.
    """
    tag = None
    code = None

    @property
    def text(self):
        """The text as bytes for the answer."""
        return self.args[0].encode("ascii")


class ArgumentRejected(BadSyntax):
    """The command can be parsed but never be carried out (an unknown charset): answer NO [code]."""

    def __init__(self, text, code):
        super().__init__(text)
        self.code = code


class Scanner:
    """Walks over `parts`, which begin and end with a line piece: line piece, literal, line piece, …

    `line`, `at`: the line piece and the place in it. `uid`: the command is a UID form. `utf8`: the
    client has enabled UTF8=ACCEPT. `off`: the extensions that are switched off, whose syntax is
    unknown.
    """
    __slots__ = ("parts", "utf8", "off", "_index", "line", "at", "uid")

    def __init__(self, parts, utf8=False, off=frozenset()):
        self.parts = parts
        self.utf8 = utf8
        self.off = off
        self._index = 0
        self.line = parts[0]
        self.at = 0
        self.uid = False

    def failed(self, expected, at=None):
        """A BadSyntax: what was expected, and at which octet of the command.

        Octets count from 1, literals included. `at` is a place in this line piece; without it the
        current one.
        """
        before = sum(part.size if hasattr(part, "size") else len(part)
                     for part in self.parts[:self._index])
        place = before + (self.at if at is None else at) + 1
        return BadSyntax("expected %s at octet %d" % (expected, place))

    def offers(self, extension):
        """Whether the syntax of an extension is known; see `is_offered`."""
        return is_offered(extension, self.off)

    # -- position

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
        """Nothing but spaces may follow: some clients send one, and Dovecot accepts it."""
        if not self._only_spaces_follow():
            raise self.failed("the end of the command")

    def more(self):
        """Whether another word follows. If so, the space before it is consumed."""
        if self._only_spaces_follow():
            return False
        self.space()
        return True

    def _only_spaces_follow(self):
        return self._index == len(self.parts) - 1 and not self.line[self.at:].strip(b" ")

    # -- punctuation

    def skip(self, mark):
        """Consume `mark` if it comes next; returns whether it did."""
        if self.line.startswith(mark, self.at):
            self.at += len(mark)
            return True
        return False

    def skip_word(self, word):
        """`skip` in any case of letters; `word` is in upper case."""
        end = self.at + len(word)
        if self.line[self.at:end].upper() != word:
            return False
        self.at = end
        return True

    def expect(self, mark, name):
        """Consume `mark`; `name` is its name in the error."""
        if not self.skip(mark):
            raise self.failed(name)

    def space(self):
        """SP"""
        self.expect(b" ", "a space")

    def match(self, pattern, expected):
        """Consume what a compiled pattern matches here; returns the match."""
        found = pattern.match(self.line, self.at)
        if not found:
            raise self.failed(expected)
        self.at = found.end()
        return found

    # -- atoms, numbers, strings, lists

    def tag(self):
        """tag: bytes"""
        return self.match(_TAG, "a tag").group()

    def atom(self, expected="an atom"):
        """atom: bytes"""
        return self.match(_ATOM, expected).group()

    def keyword(self, expected):
        """An atom that the protocol defines: str in upper case."""
        return self.atom(expected).decode("ascii").upper()

    def one_of(self, words, expected):
        """A keyword of `words`, {name: its extension, or None}: str in upper case."""
        start = self.at
        name = self.keyword(expected)
        if name in words and self.offers(words[name]):
            return name
        known = [word for word, extension in words.items() if self.offers(extension)]
        raise self.failed("%s (%s)" % (expected, " ".join(known)), start)

    def number(self, expected="a number", limit=NUMBER_LIMIT):
        """number: int, at most `limit`"""
        start = self.at
        digits = self.match(_NUMBER, expected).group()
        if len(digits) > 19 or int(digits) > limit:
            raise self.failed("%s of at most %d" % (expected, limit), start)
        return int(digits)

    def positive(self, expected="a number above zero"):
        """nz-number: int; it may not begin with 0."""
        if self.peek() == b"0":
            raise self.failed(expected)
        return self.number(expected)

    def literal(self, expected="a literal"):
        """literal: bytes, or the reader's StreamedLiteral."""
        if not self.at_literal():
            raise self.failed(expected)
        found = self.parts[self._index + 1]
        self._index += 2
        self.line = self.parts[self._index]
        self.at = 0
        return found

    def string(self, expected="a string"):
        """string: bytes of a quoted string or a literal, without NUL (RFC 3501 9: CHAR8)."""
        if self.peek() == b'"':
            start = self.at
            body = self.match(_QUOTED, "a well-formed quoted string").group(1)
            if self.utf8 and not _is_utf8(body):
                raise self.failed("a quoted string in UTF-8", start)
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
        return None if self.skip_word(b"NIL") else self.string(expected)

    def items(self, read):
        """The rest of a parenthesised list, after its "(": the list of what `read()` returned.

        One item or more, with single spaces between, and ")".
        """
        found = [read()]
        while not self.skip(b")"):
            self.expect(b" ", 'a space or ")"')
            found.append(read())
        return found

    # -- tokens with a meaning

    def sequence(self):
        """sequence-set: SequenceSet, or sequence.SAVED for "$" (RFC 5182)"""
        if self.offers("SEARCHRES") and self.skip(b"$"):
            return sequence.SAVED
        return self.plain_sequence()

    def plain_sequence(self):
        """sequence-set without "$": SequenceSet"""
        start = self.at
        data = self.match(_SEQUENCE, "a sequence set").group()
        try:
            return sequence.SequenceSet.parse(data)
        except ValueError:
            raise self.failed(
                "a sequence set of numbers from 1 to 4294967295 or *", start) from None

    def mailbox(self):
        """mailbox: str; see `mailbox_name`."""
        return mailbox_name(self.astring("a mailbox name"), self.utf8)

    def list_mailbox(self):
        """list-mailbox: str with its wildcards.

        A wildcard may cut modified UTF-7 apart ("Tom &*"). A pattern that cannot be decoded is
        compared as it is with decoded names, as Dovecot does.
        """
        data = self.astring("a mailbox name or pattern", _LIST_MAILBOX)
        if not self.utf8:
            try:
                return utf7.decode(data)
            except ValueError:
                pass
        return data.decode("utf-8", "replace")

    def flag(self):
        """flag: str; system flags in the spelling of SYSTEM_FLAGS. Other \\flags are refused."""
        start = self.at
        if not self.skip(b"\\"):
            return self.atom("a flag").decode("ascii")
        name = "\\" + self.atom("a flag").decode("ascii").lower()
        if name not in SYSTEM_FLAGS:
            raise self.failed(
                "one of \\Answered \\Flagged \\Deleted \\Seen \\Draft or a keyword", start)
        return SYSTEM_FLAGS[name]

    def flag_list(self):
        """flag-list: tuple of str without repeats"""
        self.expect(b"(", "a list of flags")
        return () if self.skip(b")") else without_repeats(self.items(self.flag))


def _unescaped(body):
    r"""The inside of a quoted string without its escaping backslashes.

    Plain replacements: substituting match by match holds the interpreter lock for 70 ms where
    every character is escaped.
    """
    return b"\\".join([piece.replace(b'\\"', b'"') for piece in body.split(b"\\\\")])


def is_offered(extension, off):
    """Whether an extension is not among those that are `off` (a frozenset of names).

    A tuple of names is what several extensions have in common: one of them suffices. None stands
    for IMAP4rev1, which is always offered.
    """
    if isinstance(extension, tuple):
        return not off.issuperset(extension)
    return extension not in off


def quoted(data):
    """The quoted string of octets that may be in one."""
    if b"\\" in data or b'"' in data:
        data = _ESCAPED.sub(rb"\\\g<0>", data)
    return b'"' + data + b'"'


def is_atom(data):
    return _ATOM.fullmatch(data) is not None


def without_repeats(found):
    """Iterable -> tuple in the same order, each item once."""
    return tuple(dict.fromkeys(found))


def mailbox_name(data, utf8):
    """Octets of a mailbox name -> str; INBOX in any case is "INBOX" (RFC 3501 5.1).

    `utf8`: the client has enabled UTF8=ACCEPT, so the name is UTF-8. Otherwise it is modified
    UTF-7, which has no 8-bit octets; a name with those is UTF-8, too (RFC 6855 3). Raises
    ArgumentRejected where it is neither.
    """
    if data.upper() == b"INBOX":
        return "INBOX"
    try:
        return data.decode("utf-8") if utf8 or not is_ascii(data) else utf7.decode(data)
    except ValueError:
        raise ArgumentRejected(
            "mailbox name is neither UTF-8 (RFC 6855 3) nor modified UTF-7 (RFC 3501 5.1.3)"
            if not utf8 else "mailbox name is not UTF-8 (RFC 6855 3)", b"CANNOT") from None


def is_ascii(data):
    return _EIGHT_BIT.search(data) is None


def _is_utf8(data):
    try:
        data.decode("utf-8")
        return True
    except ValueError:
        return False
