"""Conversion to 7 bits: what Python's email package decodes stays the same, 7-bit messages stay octet for octet, memory stays
bounded."""
import email
import email.policy
import io
import time
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phenmail_protocols.relay import sevenbit

from ..mail.samples import NESTED, UGLY, multipart, wire


def convert(data):
    target = io.BytesIO()
    size = sevenbit.convert(io.BytesIO(data), target)
    assert size == len(target.getvalue())
    return target.getvalue()


def contents(data):
    """(media type, decoded payload without its last line end) of each leaf, as Python's email package sees them."""
    message = email.message_from_bytes(data, policy=email.policy.compat32)
    return [(part.get_content_type(), (part.get_payload(decode=True) or b"").rstrip(b"\r\n")) for part in message.walk()
            if not part.is_multipart()]


def lines_of(data):
    return data.split(b"\r\n")


def check(data):
    """Converts, and checks all that must hold of any message; returns what came out."""
    seven = convert(data)
    assert max(seven, default=0) < 128
    assert contents(seven) == contents(data)
    assert convert(seven) == seven
    return seven


def test_text_becomes_quoted_printable():
    seven = check(wire("MIME-Version: 1.0\nSubject: x\nContent-Type: text/plain; charset=utf-8\n"
                       "Content-Transfer-Encoding: 8bit\n\n"
                       "Grüße = schön, and this line is longer than seventy-six characters so that it must be broken softly \n"
                       ".\n"))
    assert b"Content-Transfer-Encoding: quoted-printable\r\n" in seven and b"8bit" not in seven
    assert b"Gr=C3=BC=C3=9Fe =3D sch=C3=B6n" in seven
    assert max(map(len, lines_of(seven))) <= 76


def test_dense_text_and_other_octets_become_base64():
    russian = check(wire("MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\nПривет всем, это письмо по-русски.\n"))
    assert b"Content-Transfer-Encoding: base64\r\n" in russian
    binary = bytes(range(1, 10)) + bytes(range(128, 256)) * 40
    image = check(b"MIME-Version: 1.0\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + binary + b"\r\n")
    assert b"Content-Transfer-Encoding: base64\r\n" in image and max(map(len, lines_of(image))) <= 76


def test_a_message_that_is_no_mime_becomes_mime():
    seven = check("Subject: x\r\n\r\nViele Grüße an alle, die das hier lesen\r\n".encode("utf-8"))
    assert (b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"Content-Transfer-Encoding: quoted-printable\r\n\r\n") in seven
    assert b"charset=unknown-8bit" in check(b"Subject: x\r\n\r\nGr\xfc\xdfe an alle, die das hier lesen\r\n")


def test_only_what_is_8_bit_changes():
    data = multipart("Content-Type: text/plain\n\nplain = text",
                     "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
                     "<p>übrigens: dies ist ein langer Absatz</p>", head="MIME-Version: 1.0\nContent-Transfer-Encoding: 8bit\n")
    seven = check(data)
    assert b"\r\n\r\nplain = text\r\n--b\r\n" in seven and b"=C3=BCbrigens" in seven
    assert b"Content-Transfer-Encoding: 8bit" not in seven and seven.count(b"Content-Transfer-Encoding: 7bit\r\n") == 1


def test_nested_messages_and_multiparts_are_walked():
    inner = "Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nSubject: inner\n\n" \
        "weiß jemand etwas Näheres dazu, bitte?\n"
    seven = check(multipart("\nplain", inner, "Content-Type: multipart/mixed; boundary=i\nContent-Transfer-Encoding: binary\n\n"
                            "--i\n\nÄußerst seltsam, das alles\n--i--"))
    assert b"Content-Transfer-Encoding: binary" not in seven and seven.count(b"quoted-printable") == 2
    assert b"wei=C3=9F" in seven and b"=C3=84u=C3=9Ferst" in seven


def test_junk_in_what_is_encoded_already():
    check(multipart("Content-Transfer-Encoding: base64\nContent-Type: image/png\n\nQUJD\u00e9QUJD\n", "\nä"))
    seven = check(multipart("Content-Transfer-Encoding: quoted-printable\nContent-Type: text/plain; charset=utf-8\n\n"
                            "ä=C3=A4 soft=\n break=20\n"))
    assert b"=C3=A4=C3=A4 soft break=20\r\n" in seven


def test_what_nobody_shows_becomes_question_marks():
    seven = check(multipart("\nä").replace(b"--b", b"pre\xc3\xa4mble\r\n--b", 1) + b"epil\xc3\xb6gue")
    assert b"pre??mble\r\n" in seven and b"epil??gue" in seven


@pytest.mark.parametrize("data", [
    wire("Subject: Grüße\n\nü\n"),
    multipart('Content-Disposition: attachment; filename="ä.txt"\n\nx'),
    multipart("Content-Type: message/rfc822\n\nSubject: ä\n\nx"),
    wire("Content-Type: multipart/mixed\n\nno parts, but ä\n"),
    wire("".join("Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(100, 160)) + "\nä\n"),
], ids=["header", "part's header", "inner header", "no parts", "too deep"])
def test_what_has_no_form_in_7_bits(data):
    with pytest.raises(ValueError):
        convert(data)


@pytest.mark.parametrize("name", sorted(UGLY))
def test_ugly_7_bit_messages_stay_as_they_are(name):
    data = UGLY[name]
    if max(data, default=0) < 128:
        assert convert(data) == data
    else:
        with pytest.raises(ValueError):
            convert(data)


def test_an_example_of_everything():
    check(NESTED.replace(b"two", "zwölf".encode("utf-8")).replace(b"body inside", b"caf\xe9 or so, with some more text"))


texts = st.text(alphabet=st.sampled_from("ab =.-\tä\u20ac\x00\n"), max_size=200)
leaves = st.builds(lambda kind, encoding, text: "Content-Type: %s\n%s\n%s" % (kind, encoding, text.replace("--", "-.")),
                   st.sampled_from(["text/plain; charset=utf-8", "text/html", "image/png", "application/pdf"]),
                   st.sampled_from(["", "Content-Transfer-Encoding: 8bit\n", "Content-Transfer-Encoding: binary\n"]), texts)


@given(st.lists(leaves, min_size=1, max_size=4), texts)
@settings(max_examples=150)
@example(["Content-Type: text/plain\n\nä "], "")
def test_any_multipart_decodes_to_the_same(parts, preamble):
    inner = multipart(*parts, boundary="inner", head="").decode("utf-8").replace("\r\n", "\n")
    before = preamble.replace("--", "").encode("utf-8").replace(b"\n", b"\r\n")
    data = multipart(inner, *parts).replace(b"--b\r\n", before + b"\r\n--b\r\n", 1)
    check(data)


@given(st.binary(max_size=400), st.sampled_from([b"text/plain", b"image/png"]))
@settings(max_examples=150)
@example(b" \xe4 ", b"text/plain")
def test_any_body_decodes_to_the_same(body, kind):
    body = body.replace(b"\r", b"").replace(b"\n", b"\r\n")
    check(b"MIME-Version: 1.0\r\nContent-Type: " + kind + b"\r\n\r\n" + body)


@given(st.binary(max_size=300), st.integers(0, 3))
@settings(max_examples=150)
def test_any_octets_end_in_a_message_or_a_refusal(data, wrapped):
    """Not even MIME need be right, as long as line ends are."""
    data = data.replace(b"\r", b"").replace(b"\n", b"\r\n")
    for _ in range(wrapped):
        data = multipart("X: y").replace(b"X: y", data)
    try:
        seven = convert(data)
    except ValueError:
        return
    assert max(seven, default=0) < 128
    assert convert(seven) == seven


@pytest.mark.parametrize("body", [b"x" * 200000 + b"\xc3\xa4" * 30000 + b" =C3 \r", (b"y" * 900 + b"\xe4 ") * 300])
@pytest.mark.parametrize("encoding", [b"8bit", b"quoted-printable"])
def test_lines_without_end(body, encoding):
    seven = check(b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                  b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n" + body.replace(b"\r", b"") + b"\r\n")
    assert max(map(len, lines_of(seven))) <= 76


class Counting(object):
    """A file that only counts what is written."""

    def __init__(self):
        self.size = 0

    def write(self, data):
        self.size += len(data)


class Repeating(io.RawIOBase):
    """A large file without the memory: `head`, then `piece` over and over up to `size` octets."""

    def __init__(self, head, piece, size):
        self.head, self.piece, self.size, self.at = head, piece * (1 + 65536 // len(piece)), size, 0

    def seek(self, at, whence=0):
        assert whence == 0
        self.at = at
        return at

    def read(self, size=-1):
        size = min(size, self.size - self.at)
        if self.at < len(self.head):
            data = self.head[self.at:self.at + size]
        else:
            start = (self.at - len(self.head)) % len(self.piece)
            data = self.piece[start:start + size]
        self.at += len(data)
        return data


@pytest.mark.parametrize("kind", [b"text/plain", b"video/mp4"])
def test_50_megabytes_stream(kind):
    source = Repeating(b"MIME-Version: 1.0\r\nContent-Type: " + kind + b"\r\n\r\n",
                       b"A line with an \xe4 and some more words.\r\n", 50 << 20)
    started = time.process_time()
    tracemalloc.start()
    try:
        target = Counting()
        sevenbit.convert(source, target)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert target.size > 50 << 20
    assert peak < 2 << 20, "%d octets" % peak
    assert time.process_time() - started < 30
