"""Ugly messages in wire form, each named by what is ugly, for the tests of this room."""


def wire(text):
    """A readable message -> its wire form: bytes with CRLF."""
    return text.encode("utf-8").replace(b"\n", b"\r\n")


def multipart(*parts, subtype="mixed", boundary="b", end=True, head="MIME-Version: 1.0\n"):
    """A multipart of the given parts (each with its own header), without preamble."""
    return wire('%sContent-Type: multipart/%s; boundary="%s"\n\n' % (head, subtype, boundary)
                + "".join("--%s\n%s\n" % (boundary, part) for part in parts)
                + ("--%s--\n" % boundary if end else ""))


NESTED = wire("""From: a@example.org
Subject: outer
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=outer

preamble
--outer
Content-Type: multipart/alternative; boundary="outer inner"

--outer inner
Content-Type: text/plain; charset=utf-8

one
two
--outer inner
Content-Type: text/html

<p>
--outer inner--
epilogue of inner
--outer
Content-Type: message/rfc822

From: b@example.org
Subject: inside

body inside
--outer
Content-Type: application/pdf; name="a;b.pdf"
Content-Transfer-Encoding: BASE64
Content-Disposition: attachment; filename*0*=utf-8''a%20; filename*1=b.pdf
Content-ID: <x@y>

QUJD
--outer--
epilogue
""")

UGLY = {
    "empty": b"",
    "only an empty line": b"\r\n",
    "no body": b"Subject: x\r\n",
    "no line end": b"Subject: x",
    "no header": b"\r\nbody\r\n",
    "lf only": b"Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhi\n--b--\n",
    "bare cr": b"Subject: x\rFrom: y\r\r\nbody\r",
    "nul": b"Sub\0ject: \0\r\n\r\n\0",
    "8-bit header": b"Subject: caf\xe9\r\nFrom: J\xc3\xb6rg <j@example.org>\r\n\r\n",
    "no boundary parameter": wire("Content-Type: multipart/mixed\n\n--b\n\nx\n--b--\n"),
    "empty boundary": wire('Content-Type: multipart/mixed; boundary=""\n\n--\n\nx\n----\n'),
    "wrong boundary": multipart("\nx").replace(b"--b\r\n", b"--c\r\n"),
    "no final boundary": multipart("\nx", "\ny", end=False),
    "header cut by boundary": multipart("Content-Type: text/html", "\ny"),
    "boundary at once": multipart("", "", "\n"),
    "boundary at the very end": multipart("\nx", end=False) + b"--b",
    "boundary line with blanks": multipart("\nx").replace(b"--b\r\n", b"--b  \t\r\n"),
    "junk after boundary": multipart("\nx").replace(b"--b\r\n", b"--bjunk\r\n"),
    "same boundary twice": multipart(
        "Content-Type: multipart/mixed; boundary=b\n\n--b\n\ninner\n--b--", "\nouter"),
    "inner never closed": multipart("Content-Type: multipart/mixed; boundary=i\n\n--i\n\ninner",
                                    "\nouter"),
    "prefix boundaries": multipart(
        "Content-Type: multipart/mixed; boundary=bb\n\n--bb\n\ninner\n--bb--", "\nouter"),
    "digest": multipart("\nSubject: one\n\nfirst", "Content-Type: text/plain\n\nsecond",
                        subtype="digest"),
    "message in message": wire(
        "Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nSubject: deep\n\nx"),
    "message without anything": wire("Content-Type: message/rfc822\n"),
    "encoded message": multipart(
        "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeA==",
        "\nx"),
    "long boundary": multipart("\nx", boundary="x" * 300),
    "unclosed quote": wire('Content-Type: multipart/mixed; boundary="b\n\n--b\n\nx\n--b--\n'),
    "folded boundary": wire(
        'Content-Type: multipart/mixed;\n boundary="one\n two"\n\n--one two\n\nx\n--one two--\n'),
    "unknown type": wire("Content-Type: x-unknown/y; =;;a=b; c\n\nx"),
    "broken type": wire("Content-Type: text\n\nx"),
    "two types": wire("Content-Type: text/html\nContent-Type: image/png\n\nx"),
    "nested": NESTED,
}
