"""BINARY (RFC 3516): parts without their Content-Transfer-Encoding; APPEND of a literal8."""
import base64
import re

import pytest

from phenmail_protocols.config.settings import Limits
from phenmail_protocols.imap.commands import binary, message
from phenmail_protocols.store import errors
from phenmail_protocols.store.maildir import as_sent
from phenmail_protocols.store.maildir.as_sent import AsSent

PICTURE = bytes(range(256)) * 3 + b"\r\n\r\n--B\n"
TEXT = b"Gr=C3=BC=C3=9Fe,  \t\r\nzwei =\r\nZeilen=0D=0A\r\n"


def part(content, encoding, kind=b"application/octet-stream"):
    return b"Content-Type: %b\r\nContent-Transfer-Encoding: %b\r\n\r\n%b" % (kind, encoding, content)


def multipart(*parts, boundary=b"B"):
    return (b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=%b\r\n\r\n" % boundary
            + b"".join(b"--%b\r\n%b\r\n" % (boundary, each) for each in parts)
            + b"--%b--\r\n" % boundary)


def lines_of_base64(data):
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


INNER = multipart(part(lines_of_base64(PICTURE), b"BASE64"), part(b"8-bit \xff", b"8bit"),
                  boundary=b"inner")
MESSAGE = multipart(
    part(TEXT, b"Quoted-Printable", b"text/plain"), part(lines_of_base64(PICTURE), b"base64"),
    part(b"plain", b"7bit", b"text/plain"), part(INNER, b"8bit", b"message/rfc822"),
    part(b"begin 644 x\r\n", b"x-uuencode"), b"\r\nno header")


@pytest.fixture
def mailbox(client):
    client.append(MESSAGE)
    client.ok("NOOP")
    return client


def item(client, name, number=1):
    """-> (form of the value: "{", "~{" or "", its octets)"""
    line, = client.ok("FETCH %d %s" % (number, name))
    label = name.upper().replace(".PEEK", "").encode()
    label = re.sub(rb"(<\d+)\.\d+>", rb"\1>", label)
    value = re.fullmatch(rb"\* %d FETCH \(%b (?:(~?\{)(\d+)\}\r\n)?(.*)\)" % (
        number, re.escape(label)), line, re.DOTALL)
    assert value, line
    if value.group(1):
        assert len(value.group(3)) == int(value.group(2))
    return (value.group(1) or b"").decode(), value.group(3)


@pytest.mark.parametrize("section, form, octets", [
    ("1", "{", "Grüße,\r\nzwei Zeilen\r\n\r\n".encode("utf-8")),
    ("2", "~{", PICTURE), ("3", "{", b"plain"), ("4.1", "~{", PICTURE), ("4.2", "{", b"8-bit \xff"),
    ("4", "{", INNER), ("", "{", MESSAGE), ("6", "{", b"no header"), ("7", "{", b""),
    ("2.1", "{", b""), ("4.1.9", "{", b"")])
def test_sections_are_decoded(mailbox, section, form, octets):
    assert item(mailbox, "BINARY.PEEK[%s]" % section) == (form, octets)
    assert item(mailbox, "BINARY.SIZE[%s]" % section) == ("", b"%d" % len(octets))


def test_a_message_that_is_no_multipart_has_one_part(client):
    client.append(part(lines_of_base64(b"a\0b"), b"base64"))
    client.ok("NOOP")
    assert item(client, "BINARY.PEEK[1]") == ("~{", b"a\0b")
    assert item(client, "binary.size[1]") == ("", b"3")
    whole = part(b"YQBi\r\n", b"base64")
    assert item(client, "BINARY.PEEK[]") == ("{", whole)


@pytest.mark.parametrize("start, length", [(0, 1), (0, 9999), (5, 100), (255, 2), (777, 1),
                                           (778, 1), (4294967295, 4294967295)])
def test_partial(mailbox, start, length):
    octets = PICTURE[start:start + length]
    assert item(mailbox, "BINARY.PEEK[2]<%d.%d>" % (start, length)) == (
        "~{" if b"\0" in octets else "{", octets)
    assert item(mailbox, "BINARY.PEEK[3]<%d.%d>" % (start, length)) == (
        "{", b"plain"[start:start + length])


def test_it_is_seen_unless_peeked(mailbox):
    mailbox.ok("FETCH 1 (BINARY.PEEK[1] BINARY.SIZE[1])")
    assert b"Seen" not in mailbox.ok("FETCH 1 FLAGS")[0]
    line, = mailbox.ok("FETCH 1 BINARY[3]")
    assert line == b"* 1 FETCH (FLAGS (\\Seen \\Recent) BINARY[3] {5}\r\nplain)"


def test_examined_mailboxes_stay_unseen(mailbox):
    mailbox.ok("EXAMINE INBOX")
    mailbox.ok("FETCH 1 BINARY[3]")
    assert b"Seen" not in mailbox.ok("FETCH 1 FLAGS")[0]


def test_with_other_items(mailbox):
    assert mailbox.ok("UID FETCH 1 (BINARY.SIZE[3] BODY.PEEK[3] BINARY.PEEK[3]<1.2>)") == [
        b"* 1 FETCH (UID 1 BINARY.SIZE[3] 5 BODY[3] {5}\r\nplain BINARY[3]<1> {2}\r\nla)"]


@pytest.mark.parametrize("name", ["BINARY.PEEK[5]", "BINARY.SIZE[5]", "BINARY[5]<0.1>"])
def test_unknown_encoding(mailbox, name):
    """The request fails; what else it asks for is sent."""
    assert mailbox.ask("FETCH 1 (BODY.PEEK[3] %s BINARY.PEEK[3])" % name)[-2:] == [
        b"* 1 FETCH (" + (b"FLAGS (\\Seen \\Recent) " if "PEEK" not in name and "SIZE" not in name
                          else b"") + b"BODY[3] {5}\r\nplain BINARY[3] {5}\r\nplain)",
        b"NO [UNKNOWN-CTE] Unknown Content-Transfer-Encoding"]
    lines = mailbox.ask("UID FETCH 1 BINARY.SIZE[5]")
    assert lines[0] == b"* 1 FETCH (UID 1)" and lines[-1].startswith(b"NO [UNKNOWN-CTE]")
    assert len(mailbox.ask("FETCH 1 BINARY.SIZE[5]")) == 1
    mailbox.ok("NOOP")


def test_broken_encodings_are_decoded_as_far_as_possible(client):
    """RFC 2045 6.7 and 6.8."""
    client.append(multipart(part(b"A=zz=\r\n =C", b"quoted-printable"),
                            part(b"YW*Jj\x80\r\nZA", b"base64"), part(b"=", b"base64")))
    client.ok("NOOP")
    assert item(client, "BINARY.PEEK[1]")[1] == b"A=zz =C"
    assert item(client, "BINARY.PEEK[2]")[1] == b"abcd"
    assert item(client, "BINARY.PEEK[3]")[1] == b""


@pytest.mark.parametrize("command", [
    "FETCH 1 BINARY", "FETCH 1 BINARY[TEXT]", "FETCH 1 BINARY[1.MIME]", "FETCH 1 BINARY[0]",
    "FETCH 1 BINARY[1", "FETCH 1 BINARY[1]<0>", "FETCH 1 BINARY[1]<0.0>",
    "FETCH 1 BINARY.SIZE[1]<0.1>", "FETCH 1 BINARY.SIZE", "FETCH 1 BINARY.PEEK.SIZE[1]",
    "FETCH 1 BINARY[1.]", "FETCH 1 BINARY[HEADER.FIELDS (To)]", "FETCH 1 BINARY[-1]"])
def test_syntax_errors(mailbox, command):
    answer, = mailbox.ask(command)
    assert re.match(rb"BAD FETCH: expected .* at octet \d+$", answer)


def test_expunged_messages(client, connect):
    client.append(MESSAGE)
    client.ok("NOOP")
    other = connect()
    other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    other.ok("EXPUNGE")
    assert client.ask("FETCH 1 (BINARY.PEEK[2] BINARY.SIZE[2])") == [
        b"* 1 FETCH (BINARY[2] NIL BINARY.SIZE[2] 0)", b"OK [EXPUNGEISSUED] FETCH completed"]


# -- large messages

LARGE = b"".join(b"%07d\0" % number for number in range(150000))  # 1.2 MB


@pytest.fixture(params=[b"base64", b"quoted-printable", b"8bit", b"lines"])
def large(request, client, tmp_path):
    """-> (client, the decoded octets)"""
    octets = LARGE
    if request.param == b"base64":
        content = lines_of_base64(octets)
    elif request.param == b"quoted-printable":
        content = octets.replace(b"\0", b"=00=\r\n")
    else:
        content = octets = octets.replace(b"9", b"\r\n") if request.param == b"lines" else octets
    encoding = b"binary" if request.param == b"lines" else request.param
    data = multipart(part(content, encoding), part(b"end", b"7bit"))
    assert len(data) > message.SMALL * 4
    (tmp_path / "mail" / "new" / "1.foreign.host").write_bytes(data.replace(b"\r\n", b"\n"))
    client.ok("SELECT INBOX")
    return client, octets


def test_large_parts(large):
    client, octets = large
    assert item(client, "BINARY.PEEK[1]") == ("~{", octets)
    assert item(client, "BINARY.SIZE[1]") == ("", b"%d" % len(octets))
    assert item(client, "BINARY.PEEK[1]<1000001.77>") == ("~{", octets[1000001:1000078])


def test_a_large_part_in_pieces_is_decoded_once(large, monkeypatch):
    client, octets = large
    client.ok("FETCH 1 BODYSTRUCTURE")
    read, real = [], message.Message.read

    def counted(self, start, end):
        for chunk in real(self, start, end):
            read.append(len(chunk))
            yield chunk
    monkeypatch.setattr(message.Message, "read", counted)
    size, found = 65536, []
    for start in range(0, len(octets) + size, size):
        found.append(item(client, "BINARY.PEEK[1]<%d.%d>" % (start, size))[1])
    assert b"".join(found) == octets and found[-1] == b""
    assert sum(read) < 12 * len(octets)  # chunks have up to 256 KB; from the beginning it is 20
    assert item(client, "BINARY.PEEK[1]<10.90>")[1] == octets[10:100]


def test_of_another_message_nothing_is_known(large):
    client, octets = large
    assert item(client, "BINARY.PEEK[1]<900000.10>")[1] == octets[900000:900010]
    client.ok("CREATE other")
    client.append(multipart(part(lines_of_base64(LARGE[::-1]), b"base64")), "other")
    client.ok("SELECT other")
    assert item(client, "BINARY.PEEK[1]<900010.10>")[1] == LARGE[::-1][900010:900020]


def test_a_decoder_that_differs_ends_the_connection(client, tmp_path, monkeypatch):
    """A literal that is shorter than announced would be the end of everything that follows."""
    client.append(multipart(part(lines_of_base64(LARGE), b"base64")))
    client.ok("NOOP")
    monkeypatch.setattr(binary._Decoded, "measure", lambda self: (len(LARGE) + 1, True))
    client.send(b"a FETCH 1 BINARY.PEEK[1]\r\n")
    client.socket.settimeout(10)
    received = b""
    while True:
        data = client.socket.recv(65536)
        if not data:
            break
        received += data
    assert b"a OK" not in received


# -- APPEND

def appended(client, data, mark=b"~{%d+}"):
    """APPEND -> the message as stored"""
    answer = client.ask(b"APPEND INBOX " + mark % len(data) + b"\r\n" + data)
    assert answer[-1].startswith(b"OK [APPENDUID"), answer[-1]
    lines = client.ok("FETCH * BODY.PEEK[]")
    assert b"\0" not in lines[-1]
    return lines[-1].partition(b"\r\n")[2][:-1]


def test_text_stays_as_it_is(client):
    for data in (MESSAGE, b"A: b\r\n\r\n\xff", b"A: b", b"\r\nx\r\n",
                 multipart(part(b"lines\r\nof text\r\n", b"binary"))):
        assert appended(client, data) == data


def test_line_ends_of_text_become_crlf(client):
    assert appended(client, b"A: b\n\na\nb\rc\r\n") == b"A: b\r\n\r\na\r\nb\r\nc\r\n"


@pytest.mark.parametrize("mark", [b"~{%d+}", b"~{%d}"])
@pytest.mark.parametrize("encoding", [b"binary", b"BINARY", b"8bit", b"7bit"])
@pytest.mark.parametrize("content", [b"\0", b"a\0b\nc\rd\r\n", PICTURE, LARGE],
                         ids=["nul", "lines", "picture", "large"])
def test_parts_with_nul_become_base64(client, encoding, content, mark):
    data = multipart(part(b"text", b"7bit"), part(content, encoding), part(b"more", b"8bit"),
                     boundary=b"other")
    client.send(b"a APPEND INBOX " + mark % len(data) + b"\r\n")
    if b"+" not in mark:
        assert client.line().startswith(b"+ ")
    client.send(data + b"\r\n")
    assert client.until(b"a ")[-1].startswith(b"a OK [APPENDUID")
    client.ok("NOOP")
    assert item(client, "BODY.PEEK[]")[1] == multipart(
        part(b"text", b"7bit"), part(lines_of_base64(content)[:-2], b"base64"),
        part(b"more", b"8bit"), boundary=b"other")
    assert item(client, "BINARY.PEEK[2]") == ("~{", content)
    assert b'"base64" ' in client.ok("FETCH 1 BODYSTRUCTURE")[0]


def test_line_ends_of_binary_parts_survive(client):
    stored = appended(client, multipart(part(b"a\nb\rc\r\n\r", b"binary"), part(b"\n", b"8bit")))
    assert stored == multipart(part(b"YQpiDWMNCg0=", b"base64"), part(b"\r\n", b"8bit"))
    assert item(client, "BINARY.PEEK[1]")[1] == b"a\nb\rc\r\n\r"


def test_a_message_that_is_no_multipart(client):
    assert appended(client, b"Subject: x\r\nTo: y\r\n\r\na\0b") == (
        b"Subject: x\r\nTo: y\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        b"YQBi\r\n")
    assert item(client, "BINARY.PEEK[1]", 1)[1] == b"a\0b"
    assert appended(client, b"Mime-Version: 1.0\r\nContent-transfer-encoding: \r\n binary\r\nA: b\n"
                            b"\n\0\1") == (
        b"Mime-Version: 1.0\r\nA: b\r\nContent-Transfer-Encoding: base64\r\n\r\nAAE=\r\n")
    assert appended(client, b"\r\n\0") == (
        b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\nAA==\r\n")


def test_messages_inside(client):
    inner = b"Subject: inner\r\n\r\n\0"
    stored = appended(client, multipart(part(inner, b"binary", b"message/rfc822"), part(b"", b"7bit")))
    assert b"Content-Transfer-Encoding: binary" in stored  # of the message, which has lines of text
    assert item(client, "BINARY.PEEK[1.1]")[1] == b"\0"
    assert b'"inner"' in client.ok("FETCH 1 BODYSTRUCTURE")[0]


@pytest.mark.parametrize("data", [
    b"Subject: \0\r\n\r\nx", b"Subject: a\0\r\n\r\n\0",
    multipart(part(b"YQ\0Jj", b"base64")), multipart(part(b"\0", b"quoted-printable")),
    multipart(part(b"\0", b"x-uuencode")), multipart(b"A: \0\r\n\r\nx"),
    b"pre\0amble".join(multipart(b"\r\n").split(b"--B\r\n", 1)), multipart(b"\r\n") + b"\0",
    b"Content-Type: multipart/mixed; boundary=never\r\n\r\n\0", b"A: b\0",
    multipart(*[part(b"\0", b"binary")] * 10001),
], ids=["header", "both", "base64", "qp", "unknown", "part", "preamble", "epilogue", "empty",
        "no body", "many"])
def test_nul_elsewhere_is_refused(client, tmp_path, data):
    client.send(b"a APPEND INBOX ~{%d+}\r\n%b\r\n" % (len(data), data))
    assert client.until(b"a ")[-1].startswith(b"a NO [UNKNOWN-CTE] ")
    assert client.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]
    assert not list((tmp_path / "mail" / "tmp").iterdir())


def test_a_plain_literal_still_has_no_nul(client):
    assert client.append(b"A: b\r\n\r\n\0")[-1].startswith(b"BAD")


def test_with_utf8(connect):
    client = connect(login=False)
    client.log_in()
    client.ok("ENABLE UTF8=ACCEPT")
    client.ok("SELECT INBOX")
    data = "Subject: Grüße\r\n".encode("utf-8") + part(b"\0\r", b"binary")
    client.ok(b"APPEND INBOX UTF8 (~{%d+}\r\n%b)" % (len(data), data))
    line, = client.ok("FETCH 1 (BODY.PEEK[HEADER.FIELDS (Subject)] BINARY.PEEK[1])")
    assert "Grüße".encode("utf-8") in line and line.endswith(b"BINARY[1] ~{2}\r\n\0\r)")


def test_with_flags_and_multiappend(client):
    one, two = part(b"\0" * 300000, b"binary"), b"A: b\r\n\r\n"
    lines = client.ask(b"APPEND INBOX (\\Seen) ~{%d+}\r\n%b {%d+}\r\n%b (x) ~{%d+}\r\n%b" % (
        len(one), one, len(two), two, len(one), one))
    assert re.match(rb"OK \[APPENDUID \d+ 1:3\]", lines[-1])
    assert client.ok("FETCH 1:3 (FLAGS BINARY.SIZE[1])") == [
        b"* 1 FETCH (FLAGS (\\Seen \\Recent) BINARY.SIZE[1] 300000)",
        b"* 2 FETCH (FLAGS (\\Recent) BINARY.SIZE[1] 0)",
        b"* 3 FETCH (FLAGS (\\Recent x) BINARY.SIZE[1] 300000)"]


def test_one_that_cannot_be_stored_cancels_all(client, tmp_path):
    good, bad = part(b"\0" * 300000, b"binary"), b"A: \0\r\n\r\n"
    lines = client.ask(b"APPEND INBOX ~{%d+}\r\n%b ~{%d+}\r\n%b" % (len(good), good, len(bad), bad))
    assert lines[-1].startswith(b"NO [UNKNOWN-CTE]")
    assert client.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]
    assert not list((tmp_path / "mail" / "tmp").iterdir())


def test_refused_before_it_is_sent(server, connect):
    client = connect(server=server._replace(limits=Limits(message_size=10)))
    client.send(b"a APPEND INBOX ~{11}\r\n")
    assert client.line().startswith(b"a NO [TOOBIG]")
    client.send(b"b APPEND nowhere ~{9}\r\n")
    assert client.line().startswith(b"b NO [TRYCREATE]")


@pytest.mark.parametrize("command", [b"SELECT ~{5+}\r\nINBOX", b"SEARCH TEXT ~{1+}\r\na",
                                     b"APPEND ~{5+}\r\nINBOX {5+}\r\nA: b\n", b"LOGIN ~{1+}\r\nu p",
                                     b"APPEND INBOX ~~{5+}\r\nA: b\n", b"APPEND INBOX ~ {5+}\r\nA: b\n"])
def test_a_literal8_is_for_messages_only(client, command):
    assert client.ask(command)[-1].startswith(b"BAD")
    client.ok("NOOP")


@pytest.mark.parametrize("method", ["__init__", "write", "chunks"])
def test_the_disk_is_full(client, tmp_path, monkeypatch, method):
    data = part(LARGE, b"binary")

    def full(self, *arguments):
        raise errors.NoSpace()
    with monkeypatch.context() as patch:
        patch.setattr(AsSent, method, full)
        lines = client.ask(b"APPEND INBOX ~{%d+}\r\n%b" % (len(data), data))
        assert lines[-1].startswith(b"NO [OVERQUOTA]")
    assert not list((tmp_path / "mail" / "tmp").iterdir())
    appended(client, data)


def test_a_client_that_disconnects_leaves_nothing(connect, tmp_path, monkeypatch):
    monkeypatch.setattr(as_sent, "_IN_MEMORY", 10)
    client = connect()
    client.send(b"a APPEND INBOX ~{100000}\r\n")
    assert client.line().startswith(b"+ ")
    client.send(b"x" * 50000)
    client.close()
    assert not list((tmp_path / "mail" / "tmp").iterdir())


def test_by_compressed_connections(client):
    client.compress()
    appended(client, part(LARGE, b"binary"))
    assert item(client, "BINARY.PEEK[1]") == ("~{", LARGE)
