"""Replies from bytes: cuts make no difference, any input ends in replies or in MalformedReply, and
all bounds hold."""
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phenmail_protocols.mail.reply import Reply
from phenmail_protocols.relay import smtp_replies
from phenmail_protocols.relay.smtp_replies import MalformedReply, RawReply, ReplyReader, reply_of


def read(*pieces):
    """All replies in the pieces, and "garbled" at the end after MalformedReply."""
    reader, found = ReplyReader(), []
    try:
        for piece in pieces:
            reader.feed(piece)
            while True:
                heard = reader.take()
                if heard is None:
                    break
                found.append(heard)
    except MalformedReply:
        found.append("garbled")
    return found


@pytest.mark.parametrize("data, expected", [
    (b"250 ok\r\n", [RawReply(250, (b"ok",))]),
    (b"250-a\r\n250-b c \r\n250 d\r\n", [RawReply(250, (b"a", b"b c", b"d"))]),
    (b"250\r\n354\n", [RawReply(250, (b"",)), RawReply(354, (b"",))]),
    (b"550-5.1.1 a\n550\n", [RawReply(550, (b"5.1.1 a", b""))]),
    (b"250-a\r\n251 b\r\n", [RawReply(251, (b"a", b"b"))]),
    (b"250 ok", []),
    (b"250_ok\r\n", ["garbled"]),
    (b"25\r\n", ["garbled"]),
    (b"650 ok\r\n", ["garbled"]),
    (b"\r\n", ["garbled"]),
    (b"\xb2\xb2\xb2 ok\r\n", ["garbled"]),
    (b"250 ok\r\nSSH-2.0\r\n", [RawReply(250, (b"ok",)), "garbled"]),
    (b"250 " + b"x" * 5000, []),
    (b"250 " + b"x" * 5000 + b"\r\n354\n", [RawReply(250, (b"x" * 4092,)), RawReply(354, (b"",))]),
    (b"550-" + b"x" * 5000 + b"\r\n550 y\r\n", [RawReply(550, (b"x" * 4092, b"y"))]),
    (b"250-x\r\n" * 201, [RawReply(250, (b"x",) * 200), "garbled"]),
    ((b"250-" + b"x" * 4000 + b"\r\n") * 20, [RawReply(250, (b"x" * 4000,) * 16), "garbled"]),
    (b"250 " + b"x" * 70000, [RawReply(250, (b"x" * 4092,)), "garbled"]),
    (b"no code" * 10000, ["garbled"]),
])
def test_replies(data, expected):
    assert read(data) == expected
    assert read(*[data[at:at + 1] for at in range(len(data))]) == expected


lines = st.builds(lambda code, mark, text, end: code + mark + text + end,
                  st.sampled_from([b"250", b"354", b"421", b"550", b"999", b"2 0"]),
                  st.sampled_from([b" ", b"-", b"", b"x"]), st.binary(max_size=20),
                  st.sampled_from([b"\r\n", b"\n", b""]))


@given(st.one_of(st.binary(max_size=200), st.lists(lines, max_size=20).map(b"".join)),
       st.lists(st.integers(0, 200), max_size=5))
@settings(max_examples=300)
@example(b"250-\r\n250 \r\n", [3])
def test_any_cut_gives_the_same(data, cuts):
    cuts = [0] + sorted(cuts) + [len(data)]
    found = read(*[data[start:end] for start, end in zip(cuts, cuts[1:])])
    assert found == read(data)
    for heard in found:
        if heard != "garbled":
            reply = reply_of(heard, "mx.example.net")
            assert reply.code == heard.code and reply.host == "mx.example.net"
            assert reply.enhanced.startswith(str(reply.code)[0] + ".")
            assert len(reply.text) <= smtp_replies.MOST_TEXT and reply.text.isprintable()


@pytest.mark.parametrize("heard, expected", [
    (RawReply(250, (b"2.0.0 ok",)), (250, "2.0.0", "ok")),
    (RawReply(250, (b"ok",)), (250, "2.0.0", "ok")),
    (RawReply(550, (b"5.1.1 <b@example.net>:", b"5.1.1 no such user", b"gsmtp")),
     (550, "5.1.1", "<b@example.net>: no such user gsmtp")),
    (RawReply(550, (b"4.7.1 odd",)), (550, "5.0.0", "4.7.1 odd")),
    (RawReply(452, (b"4.5.3",)), (452, "4.5.3", "")),
    (RawReply(450, (b"4.2.10000 x",)), (450, "4.0.0", "4.2.10000 x")),
    (RawReply(550, ("5.7.1 Gru\u00df\tan \x1b[1mJ\u00f6rg\u2028".encode("utf-8"), b"\xff")),
     (550, "5.7.1", "Gru\u00df an  [1mJ\u00f6rg  \ufffd")),
])
def test_the_reply_that_is_kept(heard, expected):
    assert reply_of(heard, "h")._replace(said="") == Reply(*(expected + ("h",)))


@pytest.mark.parametrize("lines, expected", [
    ((b"no",), "554 no"), ((b"",), "554"), ((b"5.7.1 no",), "554 5.7.1 no"),
    ((b"4.0.0  no ; (",), "554 4.0.0  no ; ("),
    ((b"5.1.1 a", b"5.1.1 b", b""), "554-5.1.1 a 554-5.1.1 b 554"),
    ((b"caf\xe9 \xc3\xbc", b"\x00\x1b[1m"), "554-caf\ufffd \u00fc 554   [1m"),
    ((b"x" * 2000,), "554 " + "x" * 996)])
def test_the_words_that_are_kept(lines, expected):
    assert reply_of(RawReply(554, lines), "h").said == expected


@pytest.mark.parametrize("data, code", [
    (b"", None), (b"25", None), (b"250", 250), (b"2500", None), (b"250 o", 250),
    (b"250-a\r\n25", 250), (b"250-a\r\nxyz\r\n", 250),
    (b"354 " + b"x" * 9000, 354), (b"250 ok\r\n", None)])
def test_what_began(data, code):
    for pieces in ([data], [data[at:at + 1] for at in range(len(data))]):
        reader = ReplyReader()
        try:
            for piece in pieces:
                reader.feed(piece)
                reader.take()
        except MalformedReply:
            pass
        begun = reader.unfinished()
        assert (begun and begun.code) == code
