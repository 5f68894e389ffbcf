"""The lines of an account's state file.

They are in ROOT/<user>/system/config/mail-fetcher.state/<account key>:

    + <time>                        deliveries began: until "-" the last notes may be missing
    -                               a clean end
    B <UIDVALIDITY> <name in JSON>  the lines that follow are about this mailbox ("" for POP3)
    U <UID> <content key> <time>    it was delivered (IMAP)
    L <UID> [<last UID>]            it stays at the source and is not looked at again
    R <UID> <last UID>              what was delivered of these was removed at the source
    K <source key> <time>           it was delivered (POP3); time 0: it stays at the source; time
                                    4294967295: it was removed there after the delivery
    I <time>                        the first look; what is older is ignored (0: nothing is)
    C                               every message of the mailbox was looked at once
    T <day> <octets>                fetched on that day (days since 1970)

Keys are 16 hex digits, times epoch seconds. A line of another form is ignored. Pure.
"""
import json
import re

_PIECE = 64 * 1024
_LONGEST = 16384  # octets of a line

LINE = re.compile(
    rb"(?:([-C])|([+I]) (\d{1,10})|(B) (\d{1,20}) (\".*\")"
    rb"|(U) (\d{1,10}) ([0-9a-f]{16}) (\d{1,10})|([LR]) (\d{1,10})(?: (\d{1,10}))?"
    rb"|(K) ([0-9a-f]{16}) (\d{1,10})|(T) (\d{1,7}) (\d{1,18}))\Z")


def lines(file, largest):
    """The lines in the first `largest` octets of an unbuffered file, without LF; longer ones than
    _LONGEST are left out, and a last one without LF: its numbers may be torn."""
    rest, left = b"", largest
    while left > 0:
        piece = file.read(min(_PIECE, left))
        if not piece:
            break
        left -= len(piece)
        found = (rest + piece).split(b"\n")
        rest = found.pop()
        if len(rest) > _LONGEST:
            rest = b"?" + rest[-1:]  # no line begins like this
        yield from found


def joined(pieces):
    """Short pieces -> larger ones."""
    held, size = [], 0
    for line in pieces:
        held.append(line)
        size += len(line)
        if size >= _PIECE:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


def named(text):
    """A mailbox's name in JSON (bytes) -> str, None if it is none."""
    try:
        name = json.loads(text.decode("ascii"))
    except ValueError:
        return None
    return name if isinstance(name, str) else None


def seconds(value):
    """A time as the form allows it."""
    return max(0, min(int(value), 2 ** 32 - 1))

