"""Modified UTF-7, the encoding of mailbox names (RFC 3501 section 5.1.3). Pure."""
import binascii
import re

_ENCODED = re.compile(r"[^\x20-\x7e]+|&")
_SHIFTED = re.compile(rb"&([A-Za-z0-9+,]*)-|&|[^\x20-\x7e]")


def encode(text):
    """str -> bytes. Raises UnicodeEncodeError (a ValueError) for half a surrogate pair."""
    return _ENCODED.sub(_shift, text).encode("ascii")


def _shift(match):
    run = match.group()
    if run == "&":
        return "&-"
    data = binascii.b2a_base64(run.encode("utf-16-be"), newline=False)
    return "&%s-" % data.rstrip(b"=").replace(b"/", b",").decode("ascii")


def decode(data):
    """bytes -> str. Raises ValueError for what `encode` would not have written."""
    pieces = []
    position = 0
    for match in _SHIFTED.finditer(data):
        pieces.append(data[position:match.start()].decode("ascii"))
        pieces.append(_unshift(match.group(1)))
        position = match.end()
    pieces.append(data[position:].decode("ascii"))
    text = "".join(pieces)
    if encode(text) != data:
        raise ValueError("not the shortest form of modified UTF-7")
    return text


def _unshift(run):
    if run is None:
        raise ValueError("not modified UTF-7: '&', or a character outside printable ASCII")
    if not run:
        return "&"
    padded = run.replace(b",", b"/") + b"=" * (-len(run) % 4)
    return binascii.a2b_base64(padded).decode("utf-16-be")
