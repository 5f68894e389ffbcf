"""The DKIM-Signature field: which header fields it covers, what is hashed, how lines are folded.

RFC 6376 3.4.2, 3.5, 3.7 and 5.4. Pure: the header is in wire form, and the caller signs the hash.
"""
import binascii
import re

from ..mail import headers

_LINE = 78
_MOST_FIELDS = 100  # signed of one header: more repetitions than this are nonsense

# RFC 6376 5.4.1, what MIME and RFC 8058 add, and Sender.
_SIGNED = (
    b"from", b"sender", b"reply-to", b"subject", b"date", b"message-id", b"to", b"cc",
    b"in-reply-to", b"references", b"mime-version", b"content-type", b"content-transfer-encoding",
    b"content-id", b"content-description", b"resent-date", b"resent-from", b"resent-sender",
    b"resent-to", b"resent-cc", b"resent-message-id", b"list-id", b"list-help",
    b"list-unsubscribe", b"list-unsubscribe-post", b"list-subscribe", b"list-post", b"list-owner",
    b"list-archive")
# Named once more than it occurs: a second one, added on the way, breaks the signature (8.15).
_OVERSIGNED = b"from"
_BLANKS = re.compile(rb"[ \t]+")


class Unsigned(Exception):
    """Why a message is sent without a signature."""


def signed_fields(header):
    """A header -> (the names for h=, the bytes to hash): of each name the last field first (5.4.2).

    Raises Unsigned.
    """
    by_name = {}
    for field in headers.each_field(header):
        name = field.name.lower()
        if name in _SIGNED:
            by_name.setdefault(name, []).append(b"%s:%s\r\n" % (name, relaxed(field.value)))
    if _OVERSIGNED not in by_name:
        raise Unsigned("the message has no From")
    if len(by_name[_OVERSIGNED]) >= _MOST_FIELDS:
        raise Unsigned("the message has %d From fields" % len(by_name[_OVERSIGNED]))
    names, signed = [], []
    for name in _SIGNED:
        found = by_name.get(name, [])[::-1][:max(0, _MOST_FIELDS - len(names))]
        signed += found
        names += [name] * (len(found) + (name == _OVERSIGNED))
    return names, b"".join(signed)


def relaxed(value):
    """A folded field value -> its relaxed form (RFC 6376 3.4.2), without line end."""
    return _BLANKS.sub(b" ", value.replace(b"\r\n", b"")).strip(b" ")


def field_list(names):
    """The tag h=, in pieces between which a line may be folded."""
    pieces = [b":" + name for name in names]
    return [b" h=" + pieces[0][1:]] + pieces[1:-1] + [pieces[-1] + b";"]


def signature(algorithm, selector, tags, signed, sign):
    """One DKIM-Signature field, whole lines.

    `tags`: further tags, each `b" x=y;"` or in pieces between which a line may be folded; `signed`:
    the hash object of the header fields; `sign`: callable(hash object) -> bytes.
    """
    value = _folded([b"DKIM-Signature:", b" v=1;", b" a=%s;" % algorithm, b" c=relaxed/relaxed;",
                     b" s=%s;" % selector.encode("ascii")] + tags) + b"\r\n b="
    name, _, unsigned = value.partition(b":")
    digest = signed.copy()
    digest.update(b"%s:%s" % (name.lower(), relaxed(unsigned)))
    text = binascii.b2a_base64(sign(digest), newline=False)
    lines = [text[at:at + 72] for at in range(0, len(text), 72)]
    return value + b"\r\n ".join(lines) + b"\r\n"


def _folded(pieces):
    """Join the pieces, with a fold wherever the line would be too long."""
    text, column = [], 0
    for piece in pieces:
        if column + len(piece) > _LINE:
            piece = b"\r\n " + piece.lstrip(b" ")
            column = -2
        text.append(piece)
        column += len(piece)
    return b"".join(text)
