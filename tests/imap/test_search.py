"""SEARCH: every key, charsets, encoded texts; the quick way and the thorough way find the same."""
import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.imap.commands import search, texts
from phenmail_protocols.imap.commands.messages import Message

FIRST = (b"From: Ann Smith <ann@example.org>\r\nTo: bob@example.org\r\nSubject: Money\r\n matters\r\n"
         b"Date: Mon, 05 Oct 2020 23:30:00 -0700\r\n\r\nThe quick brown fox\r\n")
SECOND = ("From: =?utf-8?q?J=C3=BCrgen?= <j@example.net>\r\nCc: carol@example.org\r\nBcc: dan@example.org\r\nSubject: =?utf-8?b?%s?=\r\n"
          "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n%s\r\n" % (
              base64.b64encode("Grüße".encode()).decode(), base64.b64encode("Straße nach Köln".encode()).decode())).encode()
THIRD = (b"From: x@y\r\nX-Empty:\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX-Part: inside\r\n\r\ntext part\r\n"
         b"--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nM=FCnchen=\r\n ist\r\n"
         b"--b\r\nContent-Type: application/octet-stream\r\n\r\nbinaryword\r\n--b--\r\n")
FOURTH = "Subject: raw\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nrohes Köln\r\n".encode()


@pytest.fixture(scope="module")
def reading(lasting):
    return seed(lasting)


@pytest.fixture
def seeded(client):
    return seed(client)


def seed(client):
    client.append(FIRST, flags="(\\Seen \\Flagged Work)", date='"05-Oct-2020 23:59:59 +0000"')
    client.append(SECOND, flags="(\\Answered \\Draft)", date='"06-Oct-2020 00:00:00 +0000"')
    client.append(THIRD, flags="(\\Deleted)", date='"07-Oct-2020 12:00:00 +0000"')
    client.append(FOURTH, date='"08-Oct-2020 12:00:00 +0000"')
    return client


def found(client, keys):
    lines = client.ok(b"SEARCH " + (keys if isinstance(keys, bytes) else keys.encode()))
    assert lines[0].startswith(b"* SEARCH")
    return [int(word) for word in lines[0].split()[2:]]


@pytest.mark.parametrize("keys, numbers", [
    ("ALL", [1, 2, 3, 4]), ("2:3", [2, 3]), ("1,4", [1, 4]), ("*", [4]), ("UID 2:*", [2, 3, 4]), ("UID 9:*", [4]), ("7", []),
    ("SEEN", [1]), ("UNSEEN", [2, 3, 4]), ("FLAGGED", [1]), ("UNFLAGGED", [2, 3, 4]), ("ANSWERED", [2]), ("UNANSWERED", [1, 3, 4]),
    ("DRAFT", [2]), ("UNDRAFT", [1, 3, 4]), ("DELETED", [3]), ("UNDELETED", [1, 2, 4]), ("RECENT", [1, 2, 3, 4]), ("OLD", []),
    ("NEW", [2, 3, 4]), ("KEYWORD Work", [1]), ("KEYWORD work", [1]), ("UNKEYWORD Work", [2, 3, 4]), ("KEYWORD other", []),
    ("BEFORE 6-Oct-2020", [1]), ("ON 6-Oct-2020", [2]), ("SINCE 6-Oct-2020", [2, 3, 4]),
    ("SENTON 5-Oct-2020", [1]), ("SENTBEFORE 6-Oct-2020", [1]), ("SENTSINCE 6-Oct-2020", [2, 3, 4]),
    ("LARGER %d" % len(FIRST), [2, 3]), ("SMALLER %d" % len(FIRST), [4]),
    ("FROM smith", [1]), ("FROM ann@EXAMPLE", [1]), ("TO bob", [1]), ("CC carol", [2]), ("BCC dan", [2]), ("FROM nobody", []),
    ("SUBJECT money", [1]), ('SUBJECT "money matters"', [1]), ('HEADER X-Empty ""', [3]), ("HEADER X-Empty x", []), ("HEADER cc @", [2]),
    ("TEXT smith", [1]), ("BODY smith", []), ("BODY FOX", [1]), ('TEXT "money matters"', [1]), ("BODY binaryword", []),
    ("BODY inside", [3]), ("TEXT nothing-of-this", []), ("BODY boundary", []),
    ("NOT SEEN", [2, 3, 4]), ("OR SEEN DELETED", [1, 3]), ("OR FROM ann BODY text", [1, 3]), ("NOT (SEEN FLAGGED)", [2, 3, 4]),
    ("(SEEN FROM ann) BODY quick", [1]), ("NOT OR BODY fox BODY text", [2, 4]), ("1:2 (OR DRAFT SEEN) NOT DELETED", [1, 2]),
    ("CHARSET US-ASCII FROM smith", [1]),
])
def test_keys(reading, keys, numbers):
    assert found(reading, keys) == numbers


@pytest.mark.parametrize("text, numbers", [
    ("SUBJECT grüße", [2]), ("FROM JÜRGEN", [2]), ("BODY STRASSE", [2]), ("BODY straße", [2]), ("TEXT köln", [2, 4]), ("BODY münchen", [3]),
    ("BODY \"münchen ist\"", [3]),
])
@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "windows-1252"])
def test_charsets(reading, charset, text, numbers):
    key, _, needle = text.partition(" ")
    octets = needle.strip('"').encode(charset)
    assert found(reading, b"CHARSET %s %s {%d+}\r\n%s" % (charset.encode(), key.encode(), len(octets), octets)) == numbers


@pytest.mark.parametrize("charset", ["nonsense", "rot13", "zlib", "hex", "idna", "unicode_escape"])
def test_charsets_that_are_none(reading, charset):
    assert reading.ask("SEARCH CHARSET %s TEXT x" % charset)[-1].startswith(b"NO [BADCHARSET (US-ASCII UTF-8)]")


@pytest.mark.parametrize("keys, numbers", [("ALL", [1, 2, 3, 4]), ("NOT TEXT fox", [2, 3, 4]), ("2:3", [2, 3]), ("OR SEEN BODY text", [1, 3])])
def test_in_portions(reading, monkeypatch, keys, numbers):
    for portion in (1, 2, 3):
        monkeypatch.setattr(search, "ROWS", portion)
        assert found(reading, keys) == numbers


def test_uid_search(seeded):
    seeded.ok("EXPUNGE")
    assert seeded.ok("UID SEARCH ALL") == [b"* SEARCH 1 2 4"]
    assert seeded.ok("UID SEARCH 3") == [b"* SEARCH 4"]
    assert seeded.ok("SEARCH UID 4") == [b"* SEARCH 3"]


def test_an_empty_mailbox(client):
    assert found(client, "ALL") == [] and found(client, "1:*") == [] and found(client, "UID 1:*") == []


def test_searching_sets_no_flag(reading):
    assert found(reading, "TEXT fox") == [1]
    assert found(reading, "SEEN") == [1]


class Content:
    def __init__(self, data):
        self.size = len(data)
        self.data = data

    def whole(self):
        return self.data


@pytest.mark.parametrize("message, text, header", [
    (FIRST, "fox", True), (FIRST, "money matters", True), (FIRST, "Subject: Money", True), (FIRST, "nothing", False),
    (b"Content-Type: application/pdf\r\n\r\nfox\r\n", "fox", False), (THIRD, "binaryword", False), (THIRD, "--b", True),
    (b"Content-Type: text/plain; charset=utf-7\r\n\r\n+AGYAbwB4-\r\n", "fox", False),
    (b"A: b\r\n\r\n\xe2\x84\xaa\r\n", "k", False), (FOURTH, "koln", True), (b"", "x", True), (b"\r\n", "", True),
])
def test_the_quick_way_agrees_with_the_decoder(message, text, header, monkeypatch):
    quick = texts.Finder(text, header).is_in(Message(1, Content(message), {}))
    monkeypatch.setattr(texts, "_is_encoded", lambda lower: True)
    assert quick == texts.Finder(text, header).is_in(Message(1, Content(message), {}))


_WORDS = st.sampled_from(["fox", " ", "\r\n", "\r\n ", "Fox", "f", "ox", ":", "Subject: ", "\r\n\r\n", "ß", "=?utf-8?q?fox?="])


@settings(max_examples=60, deadline=None)
@given(st.lists(_WORDS, max_size=12), st.sampled_from(["fox", "f", "ox f", "fox fox"]), st.booleans())
def test_the_quick_way_agrees_with_the_decoder_on_anything(words, text, header):
    message = "".join(words).encode()
    asked = Message(1, Content(message), {})
    finder = texts.Finder(text, header)
    thorough = texts.decode.message_holds(asked.tree(), asked.octets, texts.decode.fold_case(text), header)
    lenient = finder.is_in(asked)
    # The quick way looks at lines, too, that are no field and so no text; it never misses what the decoder finds.
    assert lenient or not thorough
