"""The arguments of APPEND (RFC 3501 6.3.11), with MULTIAPPEND (RFC 3502), BINARY (RFC 3516 4.4) and
the UTF8 data extension (RFC 6855 4).

Pure. A message stays on the wire, so the command is parsed piece by piece: `append` takes it up to
its first message, `next_message` what follows a message on its line.
"""
from . import tokens
from .command_grammar import date_time
from .values import LITERAL, LITERAL8, UTF8, Append, AppendMessage


def append(scan):
    """APPEND with its first message -> Append"""
    name = scan.astring("a mailbox name")
    scan.space()
    message = _message(scan)
    if message.form == UTF8 and not message.streams:  # it was read before the command was parsed
        scan.expect(b")", '")"')
    return Append(tokens.mailbox_name(name, scan.utf8), message)


def skip_to_message(scan):
    """Consume what precedes the first message. The name is not decoded: where the message begins
    does not depend on whether it is valid."""
    scan.astring("a mailbox name")
    scan.space()
    _head(scan)


def next_message(scan, form):
    """What follows a message of this form on its line -> AppendMessage, or None at the end of the
    command."""
    if form == UTF8:
        scan.expect(b")", '")"')
    if not (scan.offers("MULTIAPPEND") and scan.more()):
        scan.end()
        return None
    scan.skip(b" ")  # imapclient 4.1.0 sends two spaces before a message without flags
    message = _message(scan)
    scan.end()
    return message


def _message(scan):
    flags, date, form = _head(scan)
    literal = scan.literal("the message as a literal")
    streams = not isinstance(literal, bytes)
    return AppendMessage(flags, date, form, literal.size if streams else len(literal), streams)


def _head(scan):
    """What precedes a message -> (flags, date, form)."""
    flags, date = (), None
    if scan.peek() == b"(":
        flags = scan.flag_list()
        scan.space()
    if scan.peek() == b'"':
        date = date_time(scan)
        scan.space()
    if scan.offers("UTF8=ACCEPT") and scan.skip_word(b"UTF8 ("):
        scan.expect(b"~", "the message as a literal8")
        return flags, date, UTF8
    binary = scan.offers("BINARY") and scan.skip(b"~")
    return flags, date, LITERAL8 if binary else LITERAL
