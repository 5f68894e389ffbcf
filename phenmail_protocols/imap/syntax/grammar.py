"""A whole command: bytes of the wire -> values.Command (RFC 3501 section 9: command).

Pure: no socket, no session. The reader collects a command line by line and literal by literal.
After each line it asks `literal_at_end` whether a literal follows, and `may_stream` whether that
literal may go to a file. When it has all of them, `parse` is called once.

`command_grammar`, `append_grammar`, `fetch_grammar` and `search_grammar` parse the arguments.
"""
import re
from typing import NamedTuple

from . import tokens, values
from .append_grammar import skip_to_message
from .tokens import ArgumentRejected, BadSyntax

_LITERAL = re.compile(rb"~?\{([0-9]+)(\+?)\}\Z")
_HUGE = 1 << 63


class LiteralMark(NamedTuple):
    """The {n} at the end of a line.

    size      octets of the literal that follows
    non_sync  the client does not wait for a continuation (RFC 7888)
    binary    literal8, written ~{n} (RFC 3516)
    start     where the line piece for `parse` ends; it keeps the "~"
    """
    size: int
    non_sync: bool
    binary: bool
    start: int


def literal_at_end(line):
    """Line without its CRLF -> LiteralMark, or None. A size of over 18 digits counts as 2**63."""
    found = _LITERAL.search(line)
    if not found:
        return None
    digits, plus = found.groups()
    binary = found.group()[:1] == b"~"
    size = int(digits) if len(digits) < 19 else _HUGE
    return LiteralMark(size, bool(plus), binary, found.start() + binary)


def may_stream(parts):
    """Whether the next literal is APPEND's message.

    `parts` is what `parse` would get, up to the line piece before the literal.
    """
    scan = tokens.Scanner(parts)
    try:
        scan.tag()
        scan.space()
        if scan.keyword("a command") != "APPEND":
            return False
        scan.space()
        skip_to_message(scan)
    except BadSyntax:
        return False
    return scan.at_end()


def parse(parts, table, utf8=False, off=frozenset()):
    """[line piece, literal, line piece, …] -> Command.

    Line pieces are bytes without CRLF and without {n}. Literals are bytes, or a StreamedLiteral for
    APPEND's message. `table` is {command name: row with `parse` and `extension`}. `utf8`, `off`:
    see Scanner. Raises BadSyntax with `tag`, its text ready for the client: answer BAD, or NO with
    `code` for an ArgumentRejected.
    """
    scan = tokens.Scanner(parts, utf8, off)
    tag = name = None
    try:
        tag = scan.tag()
        scan.space()
        name = _name(scan, table)
        arguments = None
        if table[name].parse is not None:
            scan.space()
            arguments = table[name].parse(scan)
        scan.end()
    except BadSyntax as error:
        error.tag = tag
        if name is not None and not isinstance(error, ArgumentRejected):
            error.args = ("%s: %s" % (name, error.args[0]),)
        raise
    return values.Command(tag, name, arguments)


def unread(parts, text, code):
    """An ArgumentRejected for a command that is not parsed; only its tag is read from `parts`."""
    rejected = ArgumentRejected(text, code)
    try:
        rejected.tag = tokens.Scanner(parts).tag()
    except BadSyntax:
        pass
    return rejected


def _name(scan, table):
    name = scan.keyword("a command")
    if name == "UID":
        scan.space()
        scan.uid = True
        name += " " + scan.keyword("a command after UID")
    if name not in table or not scan.offers(table[name].extension):
        raise BadSyntax("unknown command")
    return name
