"""Mailbox names, and the names of the Maildir++ folders that hold them.

`Lists/dev` lies in the folder `.Lists.dev` of the mail folder; INBOX lies in the mail folder itself
(folder name ""). Each component is in modified UTF-7 (RFC 3501 5.1.3). A dot, slash or backslash in
a component is written `\\2e`, `\\2f`, `\\5c`, as Dovecot's listescape plugin does, so a Maildir can
move between the two servers. Folders whose names do not have this form are ignored.
"""
import functools
import re

from ...text import utf7
from .. import errors
from ..model import INBOX, SEPARATOR

_LONGEST = 255  # bytes of a folder name that every file system takes
_NOT_IN_NEW = re.compile("[\x80-\x9f\u2028\u2029]")
FIRST_MAILBOXES = ("Sent", "Drafts", "Trash", "Junk", "Archive")


@functools.lru_cache(maxsize=256)
def canonical(name):
    """`name` with INBOX in capitals, also as the first of several components.

    Raises errors.InvalidName for a name that no folder can have.
    """
    first, separator, rest = name.partition(SEPARATOR)
    if first.lower() == INBOX.lower():  # not "upper": it makes an I of U+0131
        name = INBOX + separator + rest
    if (not all(name.split(SEPARATOR)) or len(name) > 1000
            or any(char < " " or char == "\x7f" for char in name)):
        raise errors.InvalidName(
            "Invalid mailbox name: expected one or more words with %r between them and no "
            "control characters." % SEPARATOR)
    return name


def require_new(name):
    """Raise errors.InvalidName for a name that a new mailbox may not have.

    RFC 6855 3 forbids U+0080-U+009F and the separators of lines and paragraphs. Mailboxes that
    other programs gave such names can be used.
    """
    if _NOT_IN_NEW.search(name):
        raise errors.InvalidName(
            "Invalid mailbox name: control characters and line separators are not allowed.")


@functools.lru_cache(maxsize=256)
def folder_of(name):
    """The name of the folder for the mailbox `name`; "" for INBOX. Raises errors.InvalidName."""
    name = canonical(name)
    if name == INBOX:
        return ""
    try:
        folder = "." + ".".join(to_disk(name))
    except ValueError:
        raise errors.InvalidName() from None
    if len(folder) > _LONGEST:
        raise errors.InvalidName("This mailbox name is too long.")
    return folder


def name_of(folder):
    """The name of the mailbox in a folder; None if the folder's name is not that of a mailbox."""
    if not folder:
        return INBOX
    try:
        name = from_disk(folder[1:].split("."))
        return name if folder_of(name) == folder else None
    except (ValueError, errors.InvalidName):
        return None


def to_disk(name):
    """The components of a mailbox name, as written on disk; raises ValueError."""
    return [_escape(utf7.encode(part).decode("ascii")) for part in name.split(SEPARATOR)]


def from_disk(components):
    """The mailbox name with these components; raises ValueError."""
    return SEPARATOR.join(utf7.decode(_unescape(part).encode("ascii")) for part in components)


def _escape(text):
    # "\2f" stays: no component of ours holds a slash, so it can only be Dovecot's escape of one.
    text = re.sub(r"\\(?!2f)", r"\\5c", text)
    text = text.replace(".", "\\2e")
    return "\\7e" + text[1:] if text.startswith("~") else text


def _unescape(text):
    return re.sub(r"\\(2e|5c|7e)", lambda match: chr(int(match.group(1), 16)), text)
