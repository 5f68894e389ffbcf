"""Lists of tags, "a=b; c=d", as DKIM and DMARC write them (RFC 6376 section 3.2). Pure.

Octets in, octets out. The callers know what a tag means.
"""
import re

BLANKS = b" \t\r\n"  # folding white space; DNS records may have it too

_NAME = re.compile(rb"[A-Za-z][A-Za-z0-9_]*\Z")


def parse(text):
    """A whole list -> {name: value} (bytes), without the white space around both.

    Raises ValueError if a part is not a tag or a name is repeated: the list is invalid then.
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
    """The valid tags of a list that may be broken -> [(name in lower case, value)], in order."""
    pairs = [part.partition(b"=") for part in text.split(b";")]
    return [(name.strip(BLANKS).lower(), value.strip(BLANKS)) for name, equals, value in pairs
            if equals and _NAME.match(name.strip(BLANKS))]


def names(value):
    """A list with colons, white space allowed around them -> its members in order (bytes)."""
    return [each.strip(BLANKS) for each in value.split(b":")]


def unfolded(value):
    """A value without any white space, for base64."""
    return b"".join(value.split())
