"""Mailbox names and the Maildir++ folders that hold them.

``Lists/dev`` lies in the folder ``.Lists.dev`` of the account's Maildir, INBOX
in the Maildir itself (folder name ""). Each component is in modified UTF-7
(RFC 3501 5.1.3); a dot, slash or backslash inside one is written ``\\2e``,
``\\2f``, ``\\5c``, as Dovecot's listescape does, so that a Maildir moves
between the two. A folder whose name is not of this form is nobody's mailbox.
"""
import functools
import re

from ..text import utf7
from . import errors
from .model import INBOX, SEPARATOR

_LONGEST = 255  # bytes of a folder name that every file system takes
_SPECIAL_USE = {
    "sent": "\\Sent", "drafts": "\\Drafts", "trash": "\\Trash",
    "junk": "\\Junk", "archive": "\\Archive"}
FIRST_MAILBOXES = ("Sent", "Drafts", "Trash", "Junk", "Archive")


@functools.lru_cache(maxsize=256)
def canonical(name):
    """``name`` with INBOX in capitals, also as the first of several components.

    Raises errors.InvalidName for a name that no folder can have.
    """
    first, separator, rest = name.partition(SEPARATOR)
    if first.upper() == INBOX:
        name = INBOX + separator + rest
    if (not all(name.split(SEPARATOR)) or len(name) > 1000
            or any(char < " " or char == "\x7f" for char in name)):
        raise errors.InvalidName(
            "A mailbox name is one or more words with %r between them and no "
            "control characters." % SEPARATOR)
    return name


@functools.lru_cache(maxsize=256)
def folder_of(name):
    """The folder's name for the mailbox ``name``; "" for INBOX.

    Raises errors.InvalidName.
    """
    name = canonical(name)
    if name == INBOX:
        return ""
    try:
        folder = "." + ".".join(written(name))
    except ValueError:
        raise errors.InvalidName() from None
    if len(folder) > _LONGEST:
        raise errors.InvalidName("That mailbox name is too long.")
    return folder


def name_of(folder):
    """The mailbox name of a folder; None where it isn't a mailbox's."""
    if not folder:
        return INBOX
    try:
        name = read(folder[1:].split("."))
        return name if folder_of(name) == folder else None
    except (ValueError, errors.InvalidName):
        return None


def written(name):
    """A name's components as the disk has them; ValueError where it can't."""
    return [_escape(utf7.encode(part).decode("ascii"))
            for part in name.split(SEPARATOR)]


def read(components):
    """The name of which these are the components; raises ValueError."""
    return SEPARATOR.join(
        utf7.decode(_unescape(part).encode("ascii")) for part in components)


def special_use(name):
    """The special use (RFC 6154) that a mailbox has by its name, or None."""
    return _SPECIAL_USE.get(name.lower())


def _escape(text):
    # "\2f" stays: a component never holds our separator, so that Dovecot's
    # escape of it is the only thing that this can be.
    text = re.sub(r"\\(?!2f)", r"\\5c", text)
    text = text.replace(".", "\\2e")
    return "\\7e" + text[1:] if text.startswith("~") else text


def _unescape(text):
    return re.sub(r"\\(2e|5c|7e)",
                  lambda match: chr(int(match.group(1), 16)), text)
