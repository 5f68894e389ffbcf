"""SEARCH: every key, charsets, encoded texts, addresses of the envelope, messages that are gone."""
import base64

import pytest

from phenmail_protocols.imap.commands import search
from phenmail_protocols.store.maildir.content import Content

FIRST = (b"From: Ann Smith <ann@example.org>\r\nTo: bob@example.org\r\n"
         b"Subject: Money\r\n matters\r\n"
         b"Date: Mon, 05 Oct 2020 23:30:00 -0700\r\n\r\nThe quick brown fox\r\n")
SECOND = ("From: =?utf-8?q?J=C3=BCrgen?= <j@example.net>\r\nCc: carol@example.org\r\n"
          "Bcc: dan@example.org\r\nSubject: =?utf-8?b?%s?=\r\n"
          "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
          "Content-Transfer-Encoding: base64\r\n\r\n%s\r\n" % (
              base64.b64encode("Grüße".encode()).decode(),
              base64.b64encode("Straße nach Köln".encode()).decode())).encode()
THIRD = (b"From: x@y\r\nX-Empty:\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
         b"--b\r\nX-Part: inside\r\n\r\ntext part\r\n"
         b"--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
         b"Content-Transfer-Encoding: quoted-printable\r\n\r\nM=FCnchen=\r\n ist\r\n"
         b"--b\r\nContent-Type: application/octet-stream\r\n\r\nbinaryword\r\n--b--\r\n")
FOURTH = "Subject: raw\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nrohes Köln\r\n".encode()


def seed(client):
    client.append(FIRST, flags="(\\Seen \\Flagged Work)", date='"05-Oct-2020 23:59:59 +0000"')
    client.append(SECOND, flags="(\\Answered \\Draft)", date='"06-Oct-2020 00:00:00 +0000"')
    client.append(THIRD, flags="(\\Deleted)", date='"07-Oct-2020 12:00:00 +0000"')
    client.append(FOURTH, date='"08-Oct-2020 12:00:00 +0000"')


def found(client, keys):
    lines = client.ok(b"SEARCH " + (keys if isinstance(keys, bytes) else keys.encode()))
    assert lines[0].startswith(b"* SEARCH")
    return [int(word) for word in lines[0].split()[2:]]


@pytest.mark.parametrize("keys, numbers", [
    ("ALL", [1, 2, 3, 4]), ("2:3", [2, 3]), ("1,4", [1, 4]), ("*", [4]), ("UID 2:*", [2, 3, 4]),
    ("UID 9:*", [4]), ("7", []),
    ("SEEN", [1]), ("UNSEEN", [2, 3, 4]), ("FLAGGED", [1]), ("UNFLAGGED", [2, 3, 4]),
    ("ANSWERED", [2]), ("UNANSWERED", [1, 3, 4]),
    ("DRAFT", [2]), ("UNDRAFT", [1, 3, 4]), ("DELETED", [3]), ("UNDELETED", [1, 2, 4]),
    ("RECENT", [1, 2, 3, 4]), ("OLD", []),
    ("NEW", [2, 3, 4]), ("KEYWORD Work", [1]), ("KEYWORD work", [1]), ("UNKEYWORD Work", [2, 3, 4]),
    ("KEYWORD other", []),
    ("BEFORE 6-Oct-2020", [1]), ("ON 6-Oct-2020", [2]), ("SINCE 6-Oct-2020", [2, 3, 4]),
    ("SENTON 5-Oct-2020", [1]), ("SENTBEFORE 6-Oct-2020", [1]), ("SENTSINCE 6-Oct-2020", [2, 3, 4]),
    ("LARGER %d" % len(FIRST), [2, 3]), ("SMALLER %d" % len(FIRST), [4]),
    ("FROM smith", [1]), ("FROM ann@EXAMPLE", [1]), ("TO bob", [1]), ("CC carol", [2]),
    ("BCC dan", [2]), ("FROM nobody", []),
    ("SUBJECT money", [1]), ('SUBJECT "money matters"', [1]), ('HEADER X-Empty ""', [3]),
    ("HEADER X-Empty x", []), ("HEADER cc @", [2]),
    ("TEXT smith", [1]), ("BODY smith", []), ("BODY FOX", [1]), ('TEXT "money matters"', [1]),
    ("BODY binaryword", []),
    ("BODY inside", [3]), ("TEXT nothing-of-this", []), ("BODY boundary", []),
    ("NOT SEEN", [2, 3, 4]), ("OR SEEN DELETED", [1, 3]), ("OR FROM ann BODY text", [1, 3]),
    ("NOT (SEEN FLAGGED)", [2, 3, 4]),
    ("(SEEN FROM ann) BODY quick", [1]), ("NOT OR BODY fox BODY text", [2, 4]),
    ("1:2 (OR DRAFT SEEN) NOT DELETED", [1, 2]),
    ("CHARSET US-ASCII FROM smith", [1]),
])
def test_keys(reading, keys, numbers):
    assert found(reading, keys) == numbers


@pytest.mark.parametrize("text, numbers", [
    ("SUBJECT grüße", [2]), ("FROM JÜRGEN", [2]), ("BODY STRASSE", [2]), ("BODY straße", [2]),
    ("TEXT köln", [2, 4]), ("BODY münchen", [3]),
    ("BODY \"münchen ist\"", [3]),
])
@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "windows-1252"])
def test_charsets(reading, charset, text, numbers):
    key, _, needle = text.partition(" ")
    octets = needle.strip('"').encode(charset)
    assert found(reading, b"CHARSET %s %s {%d+}\r\n%s" % (
        charset.encode(), key.encode(), len(octets), octets)) == numbers


@pytest.mark.parametrize("charset", ["nonsense", "rot13", "zlib", "hex", "idna", "unicode_escape"])
def test_unknown_charsets(reading, charset):
    answer = reading.ask("SEARCH CHARSET %s TEXT x" % charset)[-1]
    assert answer.startswith(b"NO [BADCHARSET (US-ASCII UTF-8)]")


@pytest.mark.parametrize("keys, numbers", [("ALL", [1, 2, 3, 4]), ("NOT TEXT fox", [2, 3, 4]),
                                           ("2:3", [2, 3]), ("OR SEEN BODY text", [1, 3])])
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
    assert found(client, "ALL") == [] and found(client, "1:*") == [] and found(
        client, "UID 1:*") == []


def test_searching_sets_no_flag(reading):
    assert found(reading, "TEXT fox") == [1]
    assert found(reading, "SEEN") == [1]


# What is in a message, and which keys find it: (header and body, {key: found}).
PLACES = [
    ("Subject: quarterly\n\tfigures\n\nx\n", {"SUBJECT {0}": True, "TEXT {0}": True,
                                              "HEADER Subject {0}": True, "BODY {0}": False}),
    ("Subject: quarterly\n \t figures\n\nx\n", {"SUBJECT {0}": True, "TEXT {0}": True,
                                                "HEADER Subject {0}": True}),
    ("Subject: quarterly\tfigures\n\nx\n", {"SUBJECT {0}": True, "TEXT {0}": True}),
    ("X-Any: =?utf-8?q?quarter?=\n\t=?utf-8?q?ly_figures?=\n\nx\n",
     {"TEXT {0}": True, "HEADER X-Any {0}": True, "SUBJECT {0}": False}),
    ("X-Any: =?utf-8?q?quarterly?=\n\tfigures\n\nx\n", {"TEXT {0}": True,
                                                        "HEADER X-Any {0}": True}),
    ("X: y\n\nquarterly\nfigures\n", {"TEXT {0}": False, "BODY {0}": False}),
    ("Content-Type: text/plain; format=flowed\n\nquarterly \nfigures\n", {"BODY {0}": False}),
    ("MIME-Version: 1.0\nContent-Transfer-Encoding: quoted-printable\n\n"
     "quarter=\nly=20=\nfigures\n",
     {"BODY {0}": True, "TEXT {0}": True}),
    ("MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\ncXVhcnRl\ncmx5IGZp\nZ3VyZXM=\n",
     {"BODY {0}": True, "TEXT {0}": True}),
    ("Content-Type: text/html\n\n<b>quarterly</b> figures\n",
     {"BODY {0}": False, "BODY quarterly": True}),
    ("Content-Type: multipart/mixed; boundary=b\n\n"
     "--b\nSubject: quarterly\n\tfigures\n\nx\n--b--\n",
     {"BODY {0}": True, "TEXT {0}": True}),
    ("Content-Type: application/x\n\nquarterly figures\n", {"BODY {0}": False, "TEXT {0}": False}),
    ("From line without colon quarterly figures\nX: y\n\nx\n",
     {"TEXT {0}": True, "BODY {0}": False}),
]


@pytest.mark.parametrize("number", range(len(PLACES)))
def test_where_a_phrase_is_found(lasting, number):
    message, keys = PLACES[number]
    name = "phrase%d" % number
    lasting.ok("CREATE " + name)
    lasting.append(message.replace("\n", "\r\n").encode(), name)
    lasting.ok("SELECT " + name)
    for key, expected in sorted(keys.items()):
        assert found(lasting, key.format('"quarterly figures"')) == [1] * expected, (message, key)
    lasting.ok("SELECT INBOX")


@pytest.mark.parametrize("written", ["caf\u00e9", "cafe\u0301", "CAF\u00c9", "CAFE\u0301"])
@pytest.mark.parametrize("asked", ["caf\u00e9", "cafe\u0301", "CAFE\u0301"])
def test_composed_and_decomposed_letters_are_the_same(client, written, asked):
    for command in "UNSELECT", "ENABLE UTF8=ACCEPT", "SELECT INBOX":
        client.ok(command)
    client.append(("From: %s <a@b>\r\nSubject: %s\r\n\r\n%s\r\n" % ((written,) * 3)).encode())
    for key in ("FROM", "SUBJECT", "HEADER Subject", "TEXT", "BODY"):
        assert found(client, '%s "%s"' % (key, asked)) == [1]


FIELD = """From: <user-from (comment)@ (comment) domain.org>
To: Friends: Ann Smith <ann@x.org>, bob@y.org;, "Last, First" <c@z.org>
Cc: =?utf-8?q?J=C3=BCrgen?= =?utf-8?q?_M=C3=BCller?= <jm@X.org>,
\t(note) <@route.org:routed@z.org>, broken <x@, other
Bcc: undisclosed-recipients:;
Sender: sender@example.org

x
""".replace("\n", "\r\n").encode()


@pytest.mark.parametrize("key, numbers", [
    ('FROM "user-from@domain.org"', [1]), ('FROM "<user-from@domain.org>"', [1]),
    ("FROM comment", []), ("HEADER From comment", [1]),
    ('HEADER From "user-from@domain.org"', []), ('TO "Ann Smith <ann@x.org>"', [1]),
    ('TO "\\"Ann Smith\\" <ann"', [1]), ("TO friends", [1]),
    ("TO bob@y.org", [1]), ("TO BOB@Y.ORG", [1]), ('TO "Last, First <c@z"', [1]),
    ('TO "ann@x.org>, <bob"', [1]), ('CC "jürgen müller <jm@x"', [1]),
    ("CC routed@z.org", [1]), ("CC route.org", [1]), ("CC note", []), ("CC missing", []),
    ("BCC undisclosed", [1]), ('BCC ""', [1]),
    ("FROM sender", []), ("HEADER Sender sender", [1]), ('CC "  jm"', []),
])
def test_addresses_are_those_of_the_envelope(client, key, numbers):
    client.append(FIELD)
    assert found(client, key) == numbers
    client.ok("FETCH 1 ENVELOPE")  # it is known to the index now
    assert found(client, key) == numbers


def test_messages_that_another_session_removed(connect):
    client, other = connect(), connect()
    for _ in range(3):
        client.append(FIRST)
    other.ok("NOOP")
    client.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    client.ok("EXPUNGE")
    for key in ("ALL", "TEXT fox"):
        assert other.ask("SEARCH " + key) == [b"* SEARCH 1 3",
                                              b"OK [EXPUNGEISSUED] SEARCH completed"]
    assert other.ask("UID SEARCH ALL")[-1] == b"OK [EXPUNGEISSUED] UID SEARCH completed"
    assert other.ask("SEARCH ALL") == [b"* SEARCH 1 2", b"OK SEARCH completed"]


@pytest.mark.parametrize("keys, answer", [
    ("TEXT a " * 4097, b"NO [LIMIT] at most 4096 search keys"),
    ("TEXT " + "a" * 8193, b"NO [LIMIT] at most 8192 characters to search for"),
])
def test_searches_that_no_program_sends(client, keys, answer):
    assert client.ask("SEARCH " + keys.strip())[-1] == answer


def test_a_thousand_keys(client):
    client.append(FIRST)
    assert found(client, " ".join(["TEXT %s SUBJECT money" % "fox"[:n % 3 + 1]
                                   for n in range(500)])) == [1]
    assert found(client, " ".join(["OR TEXT fox%d HEADER X-%d y" % (n, n)
                                   for n in range(330)])) == []
    assert found(client, " ".join(["NOT HEADER X-%d y" % n for n in range(400)])) == [1]


def test_a_big_message_is_read_once_for_all_keys(client, monkeypatch):
    part = b"--b\r\nSubject: part %d\r\n\r\n" + b"words " * 100 + b"end%d\r\n"
    client.append(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
                  + b"".join(part % (n, n) for n in range(600)) + b"--b--\r\n")
    reads, chunks = [], Content.chunks
    monkeypatch.setattr(Content, "chunks", lambda self, start=0,
                        length=None: reads.append(start) or chunks(self, start, length))
    assert found(client, " ".join(["BODY end%d NOT TEXT %dend" % (n, n)
                                   for n in range(300)])) == [1]
    assert reads == [0, 0] or reads == [0, 0, 0]  # the header, the structure, the texts
    assert found(client, 'BODY "part 599"') == [1] and found(client, "BODY --b") == []


# -- large headers

LARGE = (b"From: a@b.example\r\n" + b"To:" + b",\r\n".join(
    b" r%d@c.example" % number for number in range(20000)) + b"\r\n"
         + b"".join(b"X-Many: number %d\r\n" % number for number in range(50000))
         + b"References:" + b"".join(b" <%d@d.example>\r\n" % number for number in range(40000))
         + b"Subject: at the end\r\n\r\nbody\r\n")


def test_a_header_of_any_size_is_searched_to_its_end(client):
    assert len(LARGE) > 2 << 20
    client.append(LARGE)
    client.append(FIRST)
    for keys in ('TEXT "subject: at the end"', 'TEXT "number 49999"', "TEXT 39999@d.example",
                 "SUBJECT end", "TO r19999@c.example",
                 'HEADER X-Many "number 49999"', "HEADER References 39999@d.example",
                 "HEADER References 20000@d.example",
                 "TEXT body", "BODY body", "NOT BODY 39999@d.example FROM a@b.example"):
        assert found(client, keys) == [1], keys
    assert found(client, 'OR HEADER X-Many "number 50000" TEXT 40000@d.example') == []
    assert b'"at the end" ((NIL NIL "a" "b.example"))' in client.ok("FETCH 1 ENVELOPE")[0]


@pytest.mark.parametrize("command, found", [
    ("SEARCH 2:3 UNSEEN", [2]), ("SEARCH 1,3:* SEEN", [3]), ("SEARCH UNDELETED UID 3,1", [1, 3]),
    ("SEARCH 4:9 ALL", []), ("SEARCH NOT 2", [1, 3]), ("SEARCH OR 1 3", [1, 3]),
    ("SEARCH (2:3) 1:2", [2]), ("SEARCH 1:2 2:3", [2])])
def test_only_the_named_messages_are_tested(connect, command, found):
    client = connect()
    for flags in ("", "", "(\\Seen)"):
        client.append(b"Subject: x\r\n\r\nhello\r\n", flags=flags)
    client.ok("NOOP")
    lines = client.ok(command)
    assert lines == [b" ".join([b"* SEARCH"] + [b"%d" % number for number in found])]
