"""Messages that are made to cost time: shape name -> function of a size in octets, giving a message
in wire form of about that size.

One place for every test that bounds what a message may cost, whichever part of the program reads
it.
"""
import base64


def repeated(piece, size, head=b"", tail=b""):
    """`head`, as many of `piece` (bytes, or a function of a number) as fit, `tail`."""
    pieces, room = [head], size - len(head) - len(tail)
    number = 0
    while room > 0:
        one = piece(number) if callable(piece) else piece
        pieces.append(one)
        room -= len(one)
        number += 1
    return b"".join(pieces) + tail


_MULTIPART = b"MIME-Version: 1.0\r\nContent-Type: multipart/%s; boundary=%s\r\n\r\n"
_MIXED = _MULTIPART % (b"mixed", b"b")


def _nested(boundaries):
    """Multiparts inside each other, with these boundaries."""
    return b"".join(b"%sContent-Type: multipart/mixed; boundary=%s\r\n\r\n"
                    % (b"--%s\r\n" % before if before else b"", boundary)
                    for before, boundary in zip((b"",) + tuple(boundaries), boundaries))


_PREFIXES = tuple(b"a" * length for length in range(1, 50))
_STRANGERS = tuple(b"%02dx" % number for number in range(49))

#: Shapes of structure.
STRUCTURES = {
    "delimiter lines": lambda size: repeated(b"--b\r\n", size, _MIXED),
    "delimiter lines in LF form": lambda size: repeated(b"--b\n", size, _MIXED),
    "closing delimiter lines": lambda size: repeated(b"--b--\r\n", size, _MIXED),
    "parts with bodies": lambda size: repeated(b"--b\r\n\r\nx\r\n", size, _MIXED),
    "parts without an empty line": lambda size: repeated(b"--b\r\nA: b\r\n", size, _MIXED),
    "parts with types": lambda size: repeated(b"--b\r\nContent-Type: a/b\r\n\r\n", size, _MIXED),
    "parts with parameters": lambda size: repeated(b"--b\r\nContent-Type: a/b%s\r\n\r\n"
                                                   % (b";c=d" * 50), size, _MIXED),
    "parts with dispositions": lambda size: repeated(b"--b\r\nContent-Disposition: a%s\r\n\r\n"
                                                     % (b";c=d" * 50), size, _MIXED),
    "parts with all fields": lambda size: repeated(
        b"--b\r\nContent-Type: a/b\r\nContent-ID: a\r\nContent-MD5: a\r\n"
        b"Content-Language: a\r\nContent-Location: a\r\n\r\n", size, _MIXED),
    "lines that begin as delimiters": lambda size: repeated(b"--a\r\n", size, _MIXED),
    "dashes": lambda size: repeated(b"--\r\n", size, _MIXED),
    "boundaries with common beginnings": lambda size: repeated(b"--" + b"a" * 20 + b"\r\n", size,
                                                               _nested(_PREFIXES)),
    "boundaries that are prefixes, near misses": lambda size: repeated(
        b"--%s\r\n" % (b"a" * 998 + b"c"), size, _nested([b"b", b"a" * 999])),
    "many open boundaries, dashes": lambda size: repeated(b"--\r\n", size, _nested(_STRANGERS)),
    "many open boundaries, near misses": lambda size: repeated(b"--0\r\n", size,
                                                               _nested(_STRANGERS)),
    "many open boundaries, parts of the innermost": lambda size: repeated(
        b"--%s\r\n" % _STRANGERS[-1], size, _nested(_STRANGERS)),
    "one boundary after the other": lambda size: repeated(
        lambda number: b"--b\r\nContent-Type: multipart/mixed; boundary=never%d\r\n\r\n" % number,
        size, _MIXED),
    "one boundary after the other, long": lambda size: repeated(
        lambda number: b"--b\r\nContent-Type: multipart/mixed; boundary=%d%s\r\n\r\n"
        % (number, b"x" * 900), size, _MIXED),
    "multiparts inside each other": lambda size: repeated(
        lambda number: b"--%d\r\nContent-Type: multipart/mixed; boundary=%d\r\n\r\n"
        % (number, number + 1), size,
        _MULTIPART % (b"mixed", b"0")),
    "messages inside each other": lambda size: repeated(b"Content-Type: message/rfc822\r\n\r\n",
                                                        size),
    "digest of messages": lambda size: repeated(b"--b\r\n\r\nSubject: a\r\n\r\n", size,
                                                _MULTIPART % (b"digest", b"b")),
    "digest of empty messages": lambda size: repeated(b"--b\r\n\r\n", size,
                                                      _MULTIPART % (b"digest", b"b")),
    "messages inside each other in parts": lambda size: repeated(
        b"--b\r\n" + b"Content-Type: message/rfc822\r\n\r\n" * 40, size, _MIXED),
    "messages with recipients in parts": lambda size: repeated(
        b"--b\r\nContent-Type: message/rfc822\r\n\r\nTo: %s\r\n\r\n" % (b"a@b," * 200), size,
        _MIXED),
    "a delimiter line without end": lambda size: repeated(b"-", size, _MIXED + b"--b"),
    "a line without end": lambda size: repeated(b"x", size),
}

#: Shapes of headers.
HEADERS = {
    "header lines without end": lambda size: repeated(b"a:\r\n", size),
    "header lines that are no fields": lambda size: repeated(b"c\r\n", size),
    "a header line without end": lambda size: repeated(b"x", size, b"Subject: "),
    "a folded field without end": lambda size: repeated(b"\r\n ", size, b"Subject: a"),
    "one type after the other": lambda size: repeated(b"Content-Type: a\r\n", size),
    "one disposition after the other": lambda size: repeated(b"Content-Disposition: a\r\n", size,
                                                             b"MIME-Version: 1.0\r\n"),
    "parameters": lambda size: repeated(b";a=b", size, b"Content-Type: a/b"),
    "semicolons": lambda size: repeated(b";", size, b"Content-Type: a/b"),
    "parameters in pieces": lambda size: repeated(lambda number: b";a*%d*=b" % number, size,
                                                  b"Content-Type: a/b"),
    "a quoted parameter": lambda size: repeated(b"x", size, b'Content-Type: a/b; c="',
                                                b'"\r\n\r\n'),
    "a quoted parameter of escapes": lambda size: repeated(b"\\x", size, b'Content-Type: a/b; c="',
                                                           b'"\r\n\r\n'),
    "a quoted parameter of line ends": lambda size: repeated(
        b"\r\n ", size, b'Content-Type: a/b; c="', b'"\r\n\r\n'),
    "comments in a type": lambda size: repeated(b"()", size, b"Content-Type: "),
    "comments inside each other in a type": lambda size: repeated(b"(", size, b"Content-Type: "),
    "languages": lambda size: repeated(b"a,", size, b"MIME-Version: 1.0\r\nContent-Language: "),
    "recipients": lambda size: repeated(b"a@b,", size, b"To: "),
    "recipients with names": lambda size: repeated(b"a <a@b>,", size, b"To: "),
    "recipients in many fields": lambda size: repeated(b"To:a@b\r\n", size),
    "comments in many fields": lambda size: repeated(lambda number: b"%s:a%s\r\n" % (
        (b"To", b"Cc", b"Bcc", b"From", b"Sender", b"Reply-To")[number % 6], b"()" * 500), size),
    "halves of recipients": lambda size: repeated(b"a,", size, b"To: "),
    "odd recipients": lambda size: repeated(b'"a"@b,', size, b"To: "),
    "commas": lambda size: repeated(b",", size, b"To: "),
    "groups": lambda size: repeated(b"a:;,", size, b"To: "),
    "a group of many": lambda size: repeated(b"a@b,", size, b"To: a:"),
    "routes": lambda size: repeated(b"<@a:b@c>,", size, b"To: "),
    "a route without end": lambda size: repeated(b"@a,", size, b"To: <"),
    "a name without end": lambda size: repeated(b"a ", size, b"To: "),
    "a name of dots": lambda size: repeated(b"a.", size, b"To: "),
    "a name of quoted words": lambda size: repeated(b'""', size, b"To: "),
    "a quoted name of escapes": lambda size: repeated(b"\\x", size, b'To: "'),
    "comments": lambda size: repeated(b"()", size, b"To: a"),
    "comments inside each other": lambda size: repeated(b"(", size // 2, b"To: a")
    + b")" * (size // 2),
    "comments that never end": lambda size: repeated(b"(", size, b"To: a"),
    "escapes in a comment": lambda size: repeated(b"\\x", size, b"To: a ("),
    "a domain literal without end": lambda size: repeated(b"\\x", size, b"To: a@["),
    "encoded words": lambda size: repeated(b" =?utf-8?q?a?=", size, b"Subject:"),
    "encoded words of all charsets": lambda size: repeated(lambda number: b" =?c%d?q?a?=" % number,
                                                           size, b"Subject:"),
    "beginnings of encoded words": lambda size: repeated(b"=?a?q?", size, b"Subject: "),
    "escapes in an encoded word": lambda size: repeated(b"=41", size, b"Subject: =?utf-8?q?",
                                                        b"?="),
    "references": lambda size: repeated(b" <a@b>", size, b"In-Reply-To: <a@b>\r\nReferences:"),
    "a date": lambda size: repeated(b"(", size // 2, b"Date: ") + b")" * (size // 2),
    "a message-id of folds": lambda size: repeated(b"\r\n\t", size, b"Message-ID: <a@b>"),
}


def _single(encoding, charset, body):
    head = b"Content-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: %s\r\n\r\n" % (
        charset, encoding)
    return lambda size: repeated(body, size, head)


#: Shapes of bodies.
BODIES = {
    "base64 that is none": _single(b"base64", b"utf-8", b"!"),
    "base64 in short lines": _single(b"base64", b"utf-8", b"QQ\r\n"),
    "base64 of bad bytes": _single(b"base64", b"cp1252", base64.b64encode(b"\x81" * 3000)),
    "padding": _single(b"base64", b"utf-8", b"="),
    "quoted-printable escapes": _single(b"quoted-printable", b"utf-8", b"=41"),
    "soft line breaks": _single(b"quoted-printable", b"utf-8", b"=\r\n"),
    "equals signs": _single(b"quoted-printable", b"utf-8", b"="),
    "8-bit bytes without a charset": _single(b"8bit", b"us-ascii", b"\xff"),
    "bytes that a charset lacks": _single(b"8bit", b"cp1253", b"\xff"),
    "bytes that a multi-byte charset lacks": _single(b"8bit", b"gb18030", b"\xff"),
    "UTF-7 without end": _single(b"8bit", b"utf-7", lambda number: b"A" if number else b"+"),
    "UTF-7 of bad bytes": _single(b"8bit", b"utf-7", b"+\xff"),
    "half characters of UTF-16": _single(b"binary", b"utf-16le", b"\x00\xdc"),
    "half characters of UTF-32": _single(b"binary", b"utf-32le", b"\xff"),
    "escapes of ISO 2022": _single(b"8bit", b"iso-2022-jp", b"\x1b"),
    "shifts of HZ": _single(b"8bit", b"hz-gb-2312", b"~{"),
}

SHAPES = dict(STRUCTURES, **HEADERS)
SHAPES.update(BODIES)
