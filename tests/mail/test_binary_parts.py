"""Binary content as base64: nothing is lost, and what is text stays as it is."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.mail import binary_parts, decoding, structure

PIECES = st.lists(st.sampled_from([
    b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"a", b"\xff", b"--B", b"--B--", b"\r\n--B\r\n",
    b"\r\n--B--\r\n", b"Content-Transfer-Encoding: binary\r\n", b" folded\r\n",
    b"Content-Transfer-Encoding: base64\r\n", b"Content-Type: multipart/mixed; boundary=B\r\n",
    b"Content-Type: message/rfc822\r\n", b"MIME-Version: 1.0\r\n", b"Subject: x\r\n", b"x" * 60,
]), max_size=40).map(b"".join)


def reader(data, size=7):
    def read(start, end):
        return [data[at:min(at + size, end)] for at in range(start, end, size)]
    return read


def leaves(data):
    """[(body as decoded, its label)] of each leaf"""
    found = []
    for part in structure.leaves(structure.scan(data)):
        decoder = decoding.transfer_decoder(part.encoding)
        body = data[part.body:part.end]
        if decoder is not None:
            body = decoder.feed(body) + decoder.close()
        found.append((body, part.encoding.lower()))
    return found


@settings(max_examples=1500)
@given(PIECES)
def test_what_comes_out_decodes_to_what_went_in(data):
    try:
        text = b"".join(binary_parts.encoded(reader(data), len(data)))
    except binary_parts.NotText:
        assert b"\0" in data
        return
    assert b"\0" not in text
    before, after = leaves(data), leaves(text)
    assert [body for body, _ in after] == [body for body, _ in before]
    changed = [(was, now) for (_, was), (_, now) in zip(before, after) if was != now]
    assert all(was in (b"7bit", b"8bit", b"binary") and now == b"base64" for was, now in changed)
    if not changed:
        assert text == data


@settings(max_examples=300)
@given(PIECES, st.integers(1, 9))
def test_line_ends(data, size):
    found = binary_parts.LineEnds()
    for piece in reader(data, size)(0, len(data)):
        found.feed(piece)
    found.close()
    rest = data.replace(b"\r\n", b"")
    assert found.has_nul == (b"\0" in data)
    assert found.has_strays == (b"\r" in rest or b"\n" in rest)


@pytest.mark.parametrize("size", [1, 56, 57, 58, 113, 114, 115, 1000])
def test_lines_of_base64(size):
    data = b"\0" * size
    text = b"".join(binary_parts.encoded(reader(b"\r\n" + data, 100), size + 2))
    body = text.partition(b"\r\n\r\n")[2]
    assert body.endswith(b"\r\n") and max(map(len, body.split(b"\r\n"))) <= 76
    assert body.count(b"\r\n") == -(-size // 57)


def test_nothing_beyond_the_limits_is_taken_for_a_part():
    deep = b"Content-Type: message/rfc822\r\n\r\n" * 60
    with pytest.raises(binary_parts.NotText):
        list(binary_parts.encoded(reader(deep + b"\0", 1000), len(deep) + 1))
