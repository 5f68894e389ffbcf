"""A message with 8-bit bodies -> one with 7-bit transfer encodings, for a server without 8BITMIME: RFC 6152 section 3, RFC 2045
section 6.

Each leaf that holds octets over 127 becomes quoted-printable (text with few of them) or base64; what it decodes to stays the
same. All else stays as it is, octet for octet, but for the lines around the parts that nobody shows, whose 8-bit octets become
question marks. Streams: the message is read three times in pieces, and no more than one header is held. Knows nothing of queues
and signatures.
"""
import binascii
import codecs
from typing import NamedTuple

from ..mail.headers import each_field
from ..mail.mimefields import describe
from ..mail.structure import Limits, scan

_LIMITS = Limits()
_LINE, _MARK = 57, 76  # octets in a line of base64, and the characters that they become
_PIECE = _LINE * 1024  # octets that are read at once
_HIGH = bytes(range(128, 256))
_QUESTIONS = bytes(range(128)) + b"?" * 128
_FEW = 6  # where more than one octet in six is over 127, base64 is shorter than quoted-printable
_HEADER, _LEAF, _AROUND = "header", "leaf", "around"


class Unconvertible(ValueError):
    """The message cannot be written in 7 bits; the text says why."""


class _Span(NamedTuple):
    """Octets [start, end) of the message: the header of `part`, its body where it is a leaf, or what lies around its children."""
    start: int
    end: int
    kind: str
    part: object


class _Content(NamedTuple):
    """What a span holds: `high` octets over 127 among `size`; `utf8`: it is text in UTF-8."""
    size: int
    high: int
    utf8: bool


def convert(source, target):
    """Writes the message in `source` (binary file in wire form, which can seek) to the file `target` in 7 bits; a message that is
    in 7 bits comes out as it is. Returns the octets written. Raises Unconvertible (8-bit octets in a header, which would need
    SMTPUTF8, or where MIME allows no encoding) and OSError; what was written by then is worth nothing."""
    source.seek(0)
    root = scan(iter(lambda: source.read(_PIECE), b""), _LIMITS)
    spans = list(_spans(root))
    contents = {span: _content(source, span) for span in spans}
    converting = any(content.high for content in contents.values())
    if converting:
        _check(spans, contents)
    leaves = {span.part: contents[span] for span in spans if span.kind == _LEAF}
    size = 0
    for span in spans:
        for piece in _written(source, span, leaves, converting):
            target.write(piece)
            size += len(piece)
    return size


# -- reading ---------------------------------------------------------------------------------------------------------------------

def _spans(root):
    """The whole message in order."""
    waiting = [root]
    while waiting:
        item = waiting.pop()
        if isinstance(item, _Span):
            yield item
            continue
        yield _Span(item.start, item.body, _HEADER, item)
        if item.message is not None:
            waiting.append(item.message)
        elif item.parts:
            waiting.extend(reversed(list(_inside(item))))
        else:
            yield _Span(item.body, item.end, _LEAF, item)


def _inside(part):
    """The children of a multipart, and what lies around them: preamble, delimiter lines, epilogue."""
    at = part.body
    for child in part.parts:
        yield _Span(at, child.start, _AROUND, part)
        yield child
        at = child.end
    yield _Span(at, part.end, _AROUND, part)


def _read(source, span):
    at = span.start
    source.seek(at)
    while at < span.end:
        piece = source.read(min(_PIECE, span.end - at))
        if not piece:
            raise OSError("the message's file became shorter")
        at += len(piece)
        yield piece


def _content(source, span):
    high, utf8, decoder = 0, True, codecs.getincrementaldecoder("utf-8")()
    for piece in _read(source, span):
        high += len(piece) - len(piece.translate(None, _HIGH))
        if utf8 and high:
            try:
                decoder.decode(piece)
            except UnicodeDecodeError:
                utf8 = False
    return _Content(span.end - span.start, high, utf8 and not decoder.getstate()[0])


def _check(spans, contents):
    """Raises Unconvertible for what can be seen without another look at the message."""
    if sum(span.kind == _HEADER for span in spans) >= _LIMITS.parts:
        raise Unconvertible("more than %d parts" % _LIMITS.parts)
    for span in spans:
        if not contents[span].high:
            continue
        if span.kind == _HEADER:
            raise Unconvertible("8-bit octets in a header")
        if span.kind == _AROUND and len(span.part.parts) == 1 and span.part.parts[0].start == span.part.end:
            raise Unconvertible("8-bit octets in a multipart without parts")


# -- writing ---------------------------------------------------------------------------------------------------------------------

def _written(source, span, leaves, converting):
    """The pieces that a span becomes. Raises Unconvertible."""
    pieces = _read(source, span)
    if not converting:
        return pieces
    if span.kind == _HEADER:
        return (_header(_whole_header(source, span), span.part, leaves.get(span.part)),)
    if span.kind == _AROUND:
        return (piece.translate(_QUESTIONS) for piece in pieces)
    content = leaves[span.part]
    if not content.high:
        return pieces
    encoding = _encoding(span.part)
    if encoding == b"base64":
        return (piece.translate(None, _HIGH) for piece in pieces)  # they mean nothing there (RFC 2045 section 6.8)
    if encoding == b"quoted-printable":
        return _quoted_printable(binascii.a2b_qp(lines) for lines in _lines(pieces))
    return _quoted_printable(_lines(pieces)) if _new_encoding(span.part, content) == b"quoted-printable" else _base64(pieces)


def _whole_header(source, span):
    if span.end - span.start > _LIMITS.header:
        raise Unconvertible("a header of more than %d octets" % _LIMITS.header)
    return b"".join(_read(source, span))


def _encoding(part):
    """Its transfer encoding in lower case; of a message without MIME-Version too, as mail programs have it."""
    return (describe(part.header).encoding or b"7bit" if part.header else part.encoding).lower()


def _new_encoding(part, content):
    text = part.type.lower() in (b"text", b"message") and content.high * _FEW <= content.size
    return b"quoted-printable" if text else b"base64"


def _header(header, part, content):
    """A header with what it has to say of the body now; `content`: that of a leaf, else None."""
    if content is None:
        wide = _encoding(part) in (b"8bit", b"binary")
        return _with_fields(header, [b"Content-Transfer-Encoding: 7bit\r\n"]) if wide else header
    if not content.high:
        return header
    said = describe(header)
    kind = (said.type or b"text").lower()
    if kind == b"multipart" or (kind, said.subtype.lower()) == (b"message", b"rfc822"):
        raise Unconvertible("8-bit octets in parts that are nested too deep")
    if _encoding(part) in (b"base64", b"quoted-printable"):
        return header
    added = [b"Content-Transfer-Encoding: %s\r\n" % _new_encoding(part, content)]
    names = {field.name.lower() for field in each_field(header)}
    if part.header is not None and b"mime-version" not in names:  # it heads a message
        added.insert(0, b"MIME-Version: 1.0\r\n")
        if b"content-type" not in names:
            # RFC 1428 section 3 has the name for text in some charset that nobody knows.
            added.insert(1, b"Content-Type: text/plain; charset=%s\r\n" % (b"utf-8" if content.utf8 else b"unknown-8bit"))
    return _with_fields(header, added)


def _with_fields(header, added):
    """A header with the lines `added` at its end, and without any other Content-Transfer-Encoding."""
    kept = [field.raw for field in each_field(header) if field.name.lower() != b"content-transfer-encoding"]
    if kept and not kept[-1].endswith(b"\n"):
        kept.append(b"\r\n")
    return b"".join(kept + added) + b"\r\n"


def _lines(pieces):
    """The same octets in pieces that end with a line, or somewhere in a very long one, but not within a CRLF or an escape."""
    rest = b""
    for piece in pieces:
        piece = rest + piece
        cut = piece.rfind(b"\n") + 1
        if not cut and len(piece) >= _PIECE:
            head = len(piece) - 3
            marks = [at for at in (piece.find(b"=", head), piece.find(b"\r", head)) if at >= 0]
            cut = min(marks) if marks else len(piece)
        rest = piece[cut:]
        if cut:
            yield piece[:cut]
    if rest:
        yield rest


def _quoted_printable(pieces):
    """What `_lines` gave -> RFC 2045 section 6.7. Between two pieces of one line stands a soft line break."""
    ended = True
    for piece in pieces:
        encoded = binascii.b2a_qp(piece, istext=True)
        if b"\n" not in piece:
            encoded = encoded.replace(b"\n", b"\r\n")  # it takes the form of its soft breaks from the text
        if encoded:
            yield encoded if ended else b"=\r\n" + encoded
            ended = encoded.endswith(b"\n")


def _base64(pieces):
    """RFC 2045 section 6.8, in lines; the last one too has a line end."""
    rest = b""
    for piece in pieces:
        piece = rest + piece
        whole = len(piece) - len(piece) % _LINE
        rest = piece[whole:]
        if whole:
            yield _broken(binascii.b2a_base64(piece[:whole], newline=False))
    if rest:
        yield binascii.b2a_base64(rest, newline=False) + b"\r\n"


def _broken(text):
    """Base64 of whole lines -> the same with line ends. Column by column: that is _MARK steps, however many lines there are."""
    lines = len(text) // _MARK
    width = _MARK + 2
    out = bytearray(b"\r\n") * (lines * width // 2)
    for column in range(_MARK):
        out[column::width] = text[column::_MARK]
    return bytes(out)
