"""Lists of tags, "a=b; c=d", as DKIM and DMARC write them (RFC 6376 section 3.2).  Pure.

Octets in, octets out.  What a tag means is its reader's business.
"""
import re

BLANKS = b" \t\r\n"  # folding white space; the records of the DNS may have it too

_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]*\Z")


def parse(text):
    """A whole list -> {name: value} (bytes), without the white space around both.

    Raises ValueError where a part is no tag, or a name comes twice: then the list means nothing.
    """
    parts = text.split(b";")
    if len(parts) > 1 and not parts[-1].strip(BLANKS):
        parts.pop()  # a semicolon may end the list
    tags = {}
    for part in parts:
        name, equals, value = part.partition(b"=")
        name = name.strip(BLANKS)
        if not equals or not _NAME.match(name):
            raise ValueError("not a list of tags")
        if name in tags:
            raise ValueError("a tag comes twice")
        tags[name] = value.strip(BLANKS)
    return tags


def readable(text):
    """What can be read of a list that may be broken -> [(name in lower case, value)], in order."""
    pairs = [part.partition(b"=") for part in text.split(b";")]
    return [(name.strip(BLANKS).lower(), value.strip(BLANKS)) for name, equals, value in pairs
            if equals and _NAME.match(name.strip(BLANKS))]


def names(value):
    """A list with colons, white space allowed around them -> its members in order (bytes)."""
    return [each.strip(BLANKS) for each in value.split(b":")]


def unfolded(value):
    """A value without any white space, as base64 is read."""
    return b"".join(value.split())
