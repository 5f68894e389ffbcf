"""Notices of delivery as other programs read them: Python's email, field by field."""
import email
import email.policy
import email.utils
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.mail import bounce
from phenmail_protocols.mail.address import Address
from phenmail_protocols.mail.bounce import (
    DELAYED,
    DELIVERED,
    EXPANDED,
    FAILED,
    RELAYED,
    Cover,
    Fate,
    Original,
)

NOW, ARRIVED, TRIED = 1720000000.0, 1719900000.0, 1719990000.0
ANN, BOB = Address("ann", "example.org"), Address("bob", "example.net")
HEADER = (b"From: Ann <ann@example.org>\r\nSubject: Lunch?\r\nMessage-ID: <two@example.org>\r\n"
          b"References: <one@example.org>\r\n\r\n")
MESSAGE = HEADER + b"At noon.\r\n"
COVER = Cover(ANN, "mail.example.org", Address("postmaster", "mail.example.org"), "failed.5f.1",
              "notice0123456789")
REFUSED = Fate(BOB, "5.1.1", "550 5.1.1 No such user here", "mx.example.net",
               "rfc822;bob+list@example.net", TRIED)
HOSTILE = st.text(max_size=80) | st.lists(st.sampled_from(
    ["\r\nAction: delivered", "\r\n\r\nFinal-Recipient: rfc822; eve@example.org",
     "\r\n--notice0123456789", "\r\n.\r\n", "\n",
     "\r", "\0", "\u2028", "\ud800", " ", "x" * 1200, "\u00e9" * 400, ";", "{reason}", "{headers}",
     "{", "%s"]),
    max_size=6).map("".join)


def built(kind=FAILED, fates=(REFUSED,), content=MESSAGE, whole=True, cover=COVER, **changes):
    to_postmaster = changes.pop("to_postmaster", False)
    return bounce.build(kind, fates, Original(content, whole, ARRIVED, **changes), cover, NOW,
                         to_postmaster)


def read(notice):
    """-> (the message, its three parts) as Python's email reads them."""
    message = email.message_from_bytes(b"".join(notice.chunks), policy=email.policy.default)
    assert not message.defects
    assert message.get_content_type() == "multipart/report"
    parts = list(message.iter_parts())
    assert len(parts) == 3, "the report has %d parts" % len(parts)
    return message, parts


def blocks(notice):
    """The delivery-status -> one list of (name, value) for each block."""
    found = []
    for block in read(notice)[1][1].get_payload():
        assert not block.defects
        found.append([(name, str(value)) for name, value in block.items()])
    return found


def text_of(notice):
    return read(notice)[1][0].get_content().replace("\r\n", "\n")


def moment(text):
    return email.utils.parsedate_to_datetime(text).timestamp()


def test_its_own_header():
    message, _ = read(built())
    assert message["From"].addresses[0].display_name == "Mail Delivery System"
    assert message["From"].addresses[0].addr_spec == "postmaster@mail.example.org"
    assert message["To"].addresses[0].addr_spec == "ann@example.org"
    assert message["Subject"] == "Not delivered: Lunch?"
    assert message["Date"].datetime.timestamp() == NOW
    assert message["Message-ID"] == "<failed.5f.1@mail.example.org>"
    assert message["In-Reply-To"] == "<two@example.org>"
    assert message["References"] == "<one@example.org> <two@example.org>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Content-Type"].params["report-type"] == "delivery-status"
    assert message["MIME-Version"] == "1.0"


def test_a_failure_field_by_field():
    about_message, about_bob = blocks(built(envid="QQ314159"))
    assert about_message[:2] == [("Original-Envelope-Id", "QQ314159"),
                                 ("Reporting-MTA", "dns; mail.example.org")]
    assert about_message[2][0] == "Arrival-Date" and moment(about_message[2][1]) == ARRIVED
    assert about_bob[:-1] == [
        ("Original-Recipient", "rfc822; bob+list@example.net"),
        ("Final-Recipient", "rfc822; bob@example.net"),
        ("Action", "failed"), ("Status", "5.1.1"), ("Remote-MTA", "dns; mx.example.net"),
        ("Diagnostic-Code", "smtp; 550 5.1.1 No such user here")]
    assert about_bob[-1][0] == "Last-Attempt-Date" and moment(about_bob[-1][1]) == TRIED


@pytest.mark.parametrize("kind, status", [
    (FAILED, "5.4.7"), (DELAYED, "4.2.1"), (RELAYED, "2.0.0"), (DELIVERED, "2.1.5"),
    (EXPANDED, "2.0.0")])
def test_every_kind(kind, status):
    notice = built(kind, (REFUSED._replace(status=status, retried_until=NOW + 86400),), HEADER,
                   False)
    about_bob = dict(blocks(notice)[1])
    assert (about_bob["Action"], about_bob["Status"]) == (kind, status)
    assert ("Will-Retry-Until" in about_bob) == (kind == DELAYED)
    if kind == DELAYED:
        assert moment(about_bob["Will-Retry-Until"]) == NOW + 86400
    text = text_of(notice)
    assert "<bob@example.net>" in text and "No such user here" in text
    assert ("given up" in text) == (kind == FAILED)


@pytest.mark.parametrize("kind, status, expected", [
    (FAILED, "", "5.0.0"), (DELAYED, "4.x", "4.0.0"), (RELAYED, "2.0.0\r\n", "2.0.0"),
    (FAILED, "4.4.7", "4.4.7")])
def test_a_broken_status_becomes_a_general_one(kind, status, expected):
    assert dict(blocks(built(kind, (REFUSED._replace(status=status),)))[1])["Status"] == expected


def test_several_recipients_in_one_notice():
    fates = [REFUSED._replace(address=Address("user%d" % number, "example.net"))
             for number in range(3)]
    fates.append(Fate(Address("zoe", "example.com"), "4.4.1", "451 4.4.1 No answer",
                      last_attempt=TRIED))
    notice = built(fates=fates)
    assert [dict(block)["Final-Recipient"] for block in blocks(notice)[1:]] == [
        "rfc822; user0@example.net", "rfc822; user1@example.net", "rfc822; user2@example.net",
        "rfc822; zoe@example.com"]
    text = text_of(notice)
    assert text.count("mx.example.net said") == 1, "the same words stand once"
    assert "This server found: 451 4.4.1 No answer" in text and "The last attempt was on" in text


def test_what_no_server_said_has_no_remote_mta():
    about = dict(blocks(built(fates=(Fate(BOB, "5.1.2", "550 5.1.2 There is no such domain"),)))[1])
    assert about["Diagnostic-Code"] == "X-phenmail; 550 5.1.2 There is no such domain"
    assert not {"Remote-MTA", "Original-Recipient", "Last-Attempt-Date"} & set(about)


def test_the_built_in_text_helps():
    text = text_of(built())
    assert "This is the mail server mail.example.org." in text and "Lunch?" in text
    assert "mx.example.net said: 550 5.1.1 No such user here" in text
    assert "typing errors" in text and "postmaster@mail.example.org" in text
    assert "The message is attached. Its subject:\n      Lunch?\n" in text
    assert max(map(len, text.splitlines())) <= 78
    full = text_of(built(fates=(REFUSED._replace(status="5.2.2"),), whole=False))
    assert "mailbox is full" in full and "The header of the message is attached." in full
    unknown = text_of(built(fates=(REFUSED._replace(status="5.0.0"),)))
    assert "reach the recipient in another way" in unknown.replace("\n", " ")


def test_who_refused_is_said_rightly():
    ours = text_of(built(fates=(Fate(BOB, "5.7.0", "550 5.7.0 There is no such room"),)))
    assert "other server's policy" not in ours
    assert "A rule of the recipient, or of this server, refuses" in " ".join(ours.split())
    theirs = text_of(built(fates=(Fate(BOB, "5.7.0", "550 5.7.0 No", "mx.example.net"),)))
    assert "other server's policy refuses" in " ".join(theirs.split())


def test_a_link_in_an_answer_stays_whole():
    link = "https://mx.example.net/why?" + "x" * 100
    assert "      %s\n" % link in text_of(
        built(fates=(REFUSED._replace(said="550 5.7.1 See " + link),)))


def test_the_configurations_words():
    cover = COVER._replace(subject="Retour: \u00e9chec",
                           warning="D\u00e9sol\u00e9 {name} {0} {{reason}} "
                                   "%s\n{reason}\n--\n{headers}")
    notice = built(cover=cover, fates=(REFUSED._replace(said="550 5.1.1 {headers} {reason}"),))
    message, parts = read(notice)
    assert message["Subject"] == "Retour: \u00e9chec"
    said = "  <bob@example.net>\n      mx.example.net said: 550 5.1.1 {headers} {reason}"
    assert text_of(notice) == "D\u00e9sol\u00e9 {name} {0} {%s} %%s\n%s\n--\n%s\n" % (
        said, said, HEADER.decode().replace("\r\n", "\n").rstrip())
    assert parts[0]["Content-Transfer-Encoding"] == "quoted-printable"


def test_the_configurations_words_are_for_failures_of_senders():
    cover = COVER._replace(subject="Echec", warning="Perdu.")
    for notice in (built(DELAYED, cover=cover), built(cover=cover, to_postmaster=True)):
        message, parts = read(notice)
        assert "Echec" not in message["Subject"] and "Perdu" not in parts[0].get_content()


def test_a_double_bounce_says_why_the_postmaster_reads_it():
    notice = built(to_postmaster=True)
    assert read(notice)[0]["Subject"] == "Notice not delivered: Lunch?"
    assert "as the postmaster" in text_of(notice).replace("\n", " ")


def test_the_whole_message_comes_back():
    _, parts = read(built())
    assert parts[2].get_content_type() == "message/rfc822"
    assert parts[2]["Content-Transfer-Encoding"] is None
    assert parts[2].get_payload(0).get_content() == "At noon.\r\n"
    assert b"\r\n\r\n" + MESSAGE + b"\r\n--notice0123456789--\r\n" in b"".join(built().chunks)
    assert not built().eight_bit and not built().smtputf8


def test_the_header_comes_back():
    _, parts = read(built(whole=False))
    assert parts[2].get_content_type() == "text/rfc822-headers"
    assert parts[2].get_content().replace("\r\n", "\n") == HEADER.decode().replace("\r\n", "\n")
    assert b"At noon" not in b"".join(built(whole=False).chunks)


def test_8_bit_content_is_declared():
    notice = built(content=HEADER + b"caf\xe9\r\n")
    message, parts = read(notice)
    assert notice.eight_bit and not notice.smtputf8
    assert message["Content-Transfer-Encoding"] == parts[2]["Content-Transfer-Encoding"] == "8bit"
    assert parts[1]["Content-Transfer-Encoding"] is None
    assert parts[0]["Content-Transfer-Encoding"] is None


def test_a_header_with_8_bits_is_encoded():
    header = HEADER.replace(b"Lunch", b"D\xe9jeuner")
    notice = built(content=header, whole=False)
    _, parts = read(notice)
    assert not notice.eight_bit and parts[2]["Content-Transfer-Encoding"] == "quoted-printable"
    assert parts[2].get_payload(decode=True).replace(b"\r\n",
                                                     b"\n").rstrip() == header.replace(
        b"\r\n", b"\n").rstrip()


@pytest.mark.parametrize("whole, media_type", [(True, "message/global"),
                                               (False, "message/global-headers")])
def test_a_message_in_utf8(whole, media_type):
    header = HEADER.replace(b"Ann <ann", "J\u00f6rg <j\u00f6rg".encode())
    fates = (REFUSED._replace(address=Address("\u03b4\u03bf\u03ba", "\u03c0.example"),
                              orcpt="utf-8;\u03b4@\u03c0.example",
                              said="550 5.1.1 \u03bd\u03bf"),)
    notice = built(content=header, whole=whole, smtputf8=True, fates=fates,
                   cover=COVER._replace(to=Address("j\u00f6rg", "b\u00fccher.example")))
    assert notice.eight_bit and notice.smtputf8
    _, parts = read(notice)
    assert parts[1].get_content_type() == "message/global-delivery-status"
    assert parts[1]["Content-Transfer-Encoding"] == "8bit"
    assert parts[2].get_content_type() == media_type
    assert parts[2]["Content-Transfer-Encoding"] == "8bit"
    for line in ("To: <j\u00f6rg@b\u00fccher.example>",
                 "Original-Recipient: utf-8; \u03b4@\u03c0.example",
                 "Final-Recipient: utf-8; \u03b4\u03bf\u03ba@\u03c0.example",
                 "Diagnostic-Code: smtp; 550 5.1.1 \u03bd\u03bf"):
        assert ("\r\n%s\r\n" % line).encode() in b"".join(notice.chunks)


def test_addresses_in_ascii_where_nobody_promised_utf8():
    fates = (REFUSED._replace(address=Address("caf\u00e9\\", "example.net"),
                              orcpt="utf-8;caf\u00e9@example.net",
                              said="550 caf\u00e9"),
             REFUSED._replace(address=Address("bob", "b\u00fccher.example"), orcpt="nonsense"))
    notice = built(fates=fates, cover=COVER._replace(to=Address("ann", "b\u00fccher.example")))
    assert not notice.eight_bit and not notice.smtputf8
    assert read(notice)[0]["To"].addresses[0].addr_spec == "ann@xn--bcher-kva.example"
    first, second = map(dict, blocks(notice)[1:])
    # str() quotes the backslash of the local part, and RFC 6533 writes each of the two.
    assert first["Final-Recipient"] == 'utf-8; "caf\\x{E9}\\x{5C}\\x{5C}"@example.net'
    assert first["Original-Recipient"] == "utf-8; caf\\x{E9}@example.net"
    assert first["Diagnostic-Code"] == "smtp; 550 caf?"
    assert second["Final-Recipient"] == "rfc822; bob@xn--bcher-kva.example"
    assert "Original-Recipient" not in second


@pytest.mark.parametrize("header, references", [
    (b"Subject: x\r\n\r\n", None), (b"Message-ID: none\r\n\r\n", None),
    (b"Message-ID: <a b@c>\r\n\r\n", None),
    (b"Message-ID: <\xc3\xa9@c>\r\n\r\n", None), (b"Message-ID: (hi)\r\n <a@b>\r\n\r\n", "<a@b>"),
    (b"References: <x@y> junk <z@y>\r\nMessage-ID: <a@[127.0.0.1]>\r\n\r\n",
     "<x@y> <z@y> <a@[127.0.0.1]>")])
def test_it_stands_beside_its_message(header, references):
    assert read(built(content=header))[0]["References"] == references


def test_long_threads_keep_their_end():
    header = b"Message-ID: <last@x>\r\nReferences:" + b"".join(
        b"\r\n <%d@x>" % number for number in range(500)) + b"\r\n\r\n"
    found = read(built(content=header))[0]["References"].split()
    assert found == ["<%d@x>" % number for number in range(480, 500)] + ["<last@x>"]


@settings(max_examples=150)
@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, st.booleans(), st.booleans())
def test_hostile_words_stay_in_their_fields(said, host, name, orcpt, envid, smtputf8, whole):
    fate = Fate(Address(name, host), "5.1.1", said, host, "rfc822;" + orcpt, TRIED)
    words = [re.sub(rb"[\r\n]", b" ", text.encode("utf-8", "replace")) for text in (said, name)]
    content = b"Subject: %s\r\nMessage-ID: %s\r\n\r\n" % tuple(words)
    cover = COVER._replace(to=Address(name, host), identity=envid)
    notice = built(fates=(fate, REFUSED), content=content, whole=whole, envid=envid,
                   smtputf8=smtputf8, cover=cover)
    data = b"".join(notice.chunks)
    assert data.count(b"\r") == data.count(b"\n") == data.count(b"\r\n")
    assert b"\0" not in data.replace(content, b"")
    assert notice.eight_bit or bounce.is_ascii(data)
    pieces = re.split(rb"\r\n--notice0123456789(?:--)?\r\n", data)
    assert len(pieces) == 5 and not pieces[4], "a part more or less"
    names = [line.partition(b":")[0] for line in pieces[0].partition(b"\r\n\r\n")[0].split(b"\r\n")
             if line[:1] != b" "]
    assert len(set(names)) == len(names) and set(names) <= {
        b"From", b"To", b"Subject", b"Date", b"Message-ID", b"In-Reply-To", b"References",
        b"Auto-Submitted", b"MIME-Version",
        b"Content-Type", b"Content-Transfer-Encoding"}
    status = pieces[2].partition(b"\r\n\r\n")[2]
    found = [[line.partition(b":")[0] for line in block.split(b"\r\n") if line and line[:1] != b" "]
             for block in status.split(b"\r\n\r\n")]
    assert len(found) == 3
    assert set(found[0]) <= {b"Original-Envelope-Id", b"Reporting-MTA", b"Arrival-Date"}
    for block in found[1:]:
        assert set(block) <= {b"Original-Recipient", b"Final-Recipient", b"Action", b"Status",
                              b"Remote-MTA", b"Diagnostic-Code",
                              b"Last-Attempt-Date"}
        assert len(block) == len(set(block)) and block.count(b"Action") == 1
    assert all(len(line) <= 998 for piece in (pieces[0], pieces[1], status)
               for line in piece.split(b"\r\n"))


@settings(max_examples=100)
@given(st.lists(st.sampled_from([b"Subject: x", b"\r\n", b"\r\n\r\n", b"Message-ID: <a@b>",
                                 b"--notice", b"\xff", b" ", b"\0",
                                 b"References: "]) | st.binary(max_size=6),
                                 max_size=20).map(b"".join),
       st.booleans(), st.booleans(), HOSTILE)
def test_any_message_comes_back_as_it_was(content, whole, smtputf8, words):
    notice = built(content=content, whole=whole, smtputf8=smtputf8,
                   cover=COVER._replace(subject=words, warning=words))
    data = b"".join(notice.chunks)
    assert notice.eight_bit != bounce.is_ascii(data)
    if whole:
        returned = data.rpartition(b"Content-Type: message/")[2].partition(b"\r\n\r\n")[2]
        assert returned == content + b"\r\n--notice0123456789--\r\n"
