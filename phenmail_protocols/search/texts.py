"""The texts of a message, in the form in which they are indexed and looked up."""
from ..mail import structure, textsearch
from ..store.maildir.content import Sequential

LONGEST = 256  # characters of a key that are looked up
_SMALL = 262144  # octets; a message up to this size is read at once
_MOST = 1 << 25  # octets of text; a message with more is not indexed
_TRIGRAMS = 24  # of a key that are looked up: more would hardly exclude more messages


class TooLarge(Exception):
    """The message has too much text."""

    def __str__(self):
        return "it has too much text"


def windows(content, look):
    """Yield the texts of a store's Content, as overlapping windows of about 64 KB.

    If SEARCH would find a key in the message, the first LONGEST characters of the key are in one
    window. Raises TooLarge.
    """
    whole = content.whole() if content.size <= _SMALL else b""
    root = structure.scan(whole or content.chunks(), look=look)
    read = Sequential(content.chunks()).read
    if whole:
        def read(start, end):
            return (whole[start:end],)
    if root.body + sum([part.end - part.body for part in structure.leaves(root)
                        if part.type.lower() in (b"text", b"message")]) > _MOST:
        raise TooLarge()
    for window in textsearch.searched(root, read, LONGEST - 1, whole, look):
        yield _storable(window)


def _storable(text):
    """The text as SQLite can store it: NUL would end it, and half a surrogate pair is no UTF-8.
    `query` looks up no key with either."""
    text = text.replace("\0", "\n")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text


def query(needle):
    """A textsearch.Needle -> an FTS5 query that matches every document with the key (and some
    others); None if the index cannot tell."""
    keys = {needle.key, needle.in_field}
    if any(len(key) < 3 or key != _storable(key) for key in keys):
        return None
    return " OR ".join("(%s)" % " AND ".join(map(_quoted, _trigrams(key))) for key in sorted(keys))


def _trigrams(key):
    """Some trigrams of a key, all of them if they are few."""
    key = key[:LONGEST]
    found = list(dict.fromkeys(key[at:at + 3] for at in range(len(key) - 2)))
    step = max(1, -(-len(found) // _TRIGRAMS))
    return found[::step]


def _quoted(trigram):
    return '"%s"' % trigram.replace('"', '""')
