"""NUL in messages: no string may have it (RFC 3501 9: CHAR8), so 0x80 is sent."""
import pytest

from phenmail_protocols.imap.fetching import message

HEADER = (b"From: a\0b <a@b>\r\nSubject: nul \0 here\r\nX-Nul: \0\0\r\nMIME-Version: 1.0\r\n"
          b"Content-Type: multipart/mixed; boundary=B; x=\"\0\"\r\n\r\n")
PART = b"Content-Type: text/plain; name=\"a\0\"\r\nContent-Description: \0\r\n\r\none\0two\0\r\n"
SMALL = HEADER + b"--B\r\n" + PART + b"--B--\r\n\0"
BIG = HEADER + b"--B\r\n" + PART + b"\0\1\2\3" * (message.SMALL // 2) + b"\r\n--B--\r\n\0"
ITEMS = (
    "BODY.PEEK[]", "BODY.PEEK[HEADER]", "BODY.PEEK[TEXT]", "BODY.PEEK[1]", "BODY.PEEK[1.MIME]",
    "RFC822", "RFC822.HEADER", "RFC822.TEXT", "BODY.PEEK[HEADER.FIELDS (Subject X-Nul)]",
    "BODY.PEEK[HEADER.FIELDS.NOT (From)]", "BODY.PEEK[HEADER.FIELDS (X-Nul)]<2.100>",
    "BODY.PEEK[]<3.40>", "BODY.PEEK[TEXT]<20.300000>", "ENVELOPE", "BODY", "BODYSTRUCTURE",
)


@pytest.fixture(params=[SMALL, BIG], ids=["small", "big"])
def dropped(request, client, tmp_path):
    (tmp_path / "mail" / "new" / "1.foreign.host").write_bytes(request.param)
    client.ok("SELECT INBOX")
    return client, request.param


@pytest.mark.parametrize("item", ITEMS)
def test_no_nul_is_sent(dropped, item):
    client, message = dropped
    for _ in range(2):  # made the first time, kept for the second
        lines = client.ok("FETCH 1 (RFC822.SIZE %s)" % item)
        answer, = [line for line in lines if b"FETCH" in line]
        assert b"\0" not in answer and b"RFC822.SIZE %d " % len(message) in answer


def test_octets_stay_where_they_are(dropped):
    client, message = dropped
    shown = message.replace(b"\0", b"\x80")
    header, text = shown[:len(HEADER)], shown[len(HEADER):]
    expected = {"BODY.PEEK[]": shown, "RFC822.HEADER": header, "BODY.PEEK[TEXT]": text,
                "BODY.PEEK[TEXT]<5.999>": text[5:1004]}
    for item, octets in expected.items():
        answer, = client.ok("FETCH 1 " + item)
        assert answer.endswith(b" {%d}\r\n" % len(octets) + octets + b")")
