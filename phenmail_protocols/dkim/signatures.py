"""The field DKIM-Signature as octets: which fields of a header it covers, what is hashed, and how its lines are folded.

RFC 6376 sections 3.4.2, 3.5, 3.7 and 5.4.  Pure: the header is in wire form, and who calls it signs the hash.
"""
import binascii
import re

from ..mail import headers

LINE = 78
MOST_FIELDS = 100  # signed of one header: what a header repeats more often than this is nonsense

# RFC 6376 section 5.4.1, what MIME and RFC 8058 add, and Sender; each as often as it is there.
SIGNED = (b"from", b"sender", b"reply-to", b"subject", b"date", b"message-id", b"to", b"cc", b"in-reply-to", b"references",
          b"mime-version", b"content-type", b"content-transfer-encoding", b"content-id", b"content-description",
          b"resent-date", b"resent-from", b"resent-sender", b"resent-to", b"resent-cc", b"resent-message-id",
          b"list-id", b"list-help", b"list-unsubscribe", b"list-unsubscribe-post", b"list-subscribe", b"list-post", b"list-owner",
          b"list-archive")
# Signed once more than it is there: a second one, added on the way, breaks the signature (RFC 6376 section 8.15).
OVERSIGNED = b"from"

_BLANKS = re.compile(rb"[ \t]+")


class Unsigned(Exception):
    """Why a message goes out without a signature."""


def signed_fields(header):
    """A header -> (the names for h=, the octets that are hashed of them): of each name the last field first (RFC 6376 5.4.2).
    Raises Unsigned."""
    by_name = {}
    for field in headers.each_field(header):
        name = field.name.lower()
        if name in SIGNED:
            by_name.setdefault(name, []).append(b"%s:%s\r\n" % (name, relaxed(field.value)))
    if OVERSIGNED not in by_name:
        raise Unsigned("a message without From")
    names, octets = [], []
    for name in SIGNED:
        found = by_name.get(name, [])[::-1][:max(0, MOST_FIELDS - len(names))]
        octets += found
        names += [name] * (len(found) + (name == OVERSIGNED))
    if len(by_name[OVERSIGNED]) >= MOST_FIELDS:
        raise Unsigned("a message with %d From" % len(by_name[OVERSIGNED]))
    return names, b"".join(octets)


def relaxed(value):
    """The value of a field, with its folding -> in the relaxed form (RFC 6376 section 3.4.2), without its line end."""
    return _BLANKS.sub(b" ", value.replace(b"\r\n", b"")).strip(b" ")


def field_list(names):
    """h=, in pieces between which a line may end."""
    pieces = [b":" + name for name in names]
    return [b" h=" + pieces[0][1:]] + pieces[1:-1] + [pieces[-1] + b";"]


def signature(algorithm, selector, tags, signed, sign):
    """One DKIM-Signature field, whole lines. `tags`: further ones, each `b" x=y;"`, or in pieces between which a line may end;
    `signed`: the hash object of the header so far; `sign`: callable(hash object) -> octets."""
    value = _folded([b"DKIM-Signature:", b" v=1;", b" a=%s;" % algorithm, b" c=relaxed/relaxed;",
                     b" s=%s;" % selector.encode("ascii")] + tags) + b"\r\n b="
    name, _, unsigned = value.partition(b":")
    digest = signed.copy()
    digest.update(b"%s:%s" % (name.lower(), relaxed(unsigned)))
    octets = binascii.b2a_base64(sign(digest), newline=False)
    return value + b"\r\n ".join([octets[at:at + 72] for at in range(0, len(octets), 72)]) + b"\r\n"


def _folded(pieces):
    """Pieces one after the other, a fold between those that would make a line too long."""
    text, column = [], 0
    for piece in pieces:
        if column + len(piece) > LINE:
            piece = b"\r\n " + piece.lstrip(b" ")
            column = -2
        text.append(piece)
        column += len(piece)
    return b"".join(text)
