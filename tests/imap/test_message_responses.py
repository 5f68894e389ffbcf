"""ENVELOPE, BODY and BODYSTRUCTURE of plain, nested and malformed messages."""
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.imap.fetching import message_responses
from phenmail_protocols.mail import structure

_WORD = re.compile(rb'(\()|(\))|"((?:[^"\\\r\n]|\\["\\])*)"|\{([0-9]+)\}\r\n|(NIL)|([0-9]+)')


def read(wire):
    """A parenthesised value -> nested lists of bytes, int and None; fails on anything else."""
    stack, at = [[]], 0
    while at < len(wire):
        word = _WORD.match(wire, at)
        assert word, wire[at:at + 40]
        at = word.end()
        opening, closing, quoted, literal, nil, number = word.groups()
        if opening:
            stack.append([])
        elif closing:
            done = stack.pop()
            stack[-1].append(done)
        elif literal is not None:
            stack[-1].append(wire[at:at + int(literal)])
            at += int(literal)
        else:
            stack[-1].append(None if nil else int(number) if number else re.sub(
                rb"\\(.)", rb"\1", quoted))
        if not opening and wire[at:at + 1] == b" ":
            at += 1
            assert wire[at:at + 1] not in (b" ", b")", b"")
    assert len(stack) == 1 and len(stack[0]) == 1
    return stack[0][0]


def envelope(*lines):
    return read(message_responses.envelope(b"".join(line + b"\r\n" for line in lines) + b"\r\n"))


def message(*lines):
    return structure.scan(b"".join(line + b"\r\n" for line in lines))


JOE, ANN = [b"Joe", None, b"joe", b"example.org"], [None, None, b"ann", b"example.net"]


def test_a_whole_envelope():
    assert envelope(b"Date: Wed, 17 Jul 1996 02:23:25 -0700", b"From: Joe <joe@example.org>",
                    b"Sender: ann@example.net", b"Reply-To: ann@example.net",
                    b"To: ann@example.net, Joe <joe@example.org>", b"Cc: ann@example.net",
                    b"Bcc: joe@example.org", b"Subject: =?utf-8?q?a_b?=",
                    b"In-Reply-To: <1@x>", b"Message-ID: <2@x>") == [
        b"Wed, 17 Jul 1996 02:23:25 -0700", b"=?utf-8?q?a_b?=", [JOE], [ANN], [ANN], [ANN, JOE],
        [ANN], [[None, None, b"joe", b"example.org"]],
        b"<1@x>", b"<2@x>"]


def test_sender_and_reply_to_are_from_where_they_say_nothing():
    assert envelope(b"From: Joe <joe@example.org>")[2:5] == [[JOE]] * 3
    assert envelope(b"From: Joe <joe@example.org>", b"Sender:", b"Reply-To: ")[2:5] == [[JOE]] * 3


def test_an_envelope_of_nothing():
    assert read(message_responses.envelope(b"")) == [None] * 10


def test_an_empty_field_is_an_empty_string():
    assert envelope(b"Subject:", b"Message-ID: ")[1::8] == [b"", b""]


def test_groups_are_bracketed_by_nil_hosts():
    """RFC 3501 7.4.2: the start has the group's name as mailbox, the end has only NILs."""
    assert envelope(b"To: Friends: joe@example.org, ann@example.net;, Nobody:;")[5] == [
        [None, None, b"Friends", None], [None, None, b"joe", b"example.org"], ANN, [None] * 4,
        [None, None, b"Nobody", None], [None] * 4]


def test_a_route_is_shown():
    assert envelope(b"To: <@a.example,@b.example:joe@example.org>")[5] == [[
        None, b"@a.example,@b.example", b"joe", b"example.org"]]


def test_repeated_fields():
    """Addresses are joined; of other fields the last one counts."""
    assert envelope(b"To: ann@example.net", b"Subject: one", b"to: Joe <joe@example.org>",
                    b"SUBJECT: two")[1:6:4] == [b"two", [ANN, JOE]]


def test_folded_and_8_bit_fields():
    assert envelope(b"Subject: one", b"  two", b"From: \xe9 <joe@example.org>")[1:3] == [
        b"one two", [[b"\xe9", None, b"joe", b"example.org"]]]


@pytest.mark.parametrize("place, name", [(0, b"Date"), (8, b"In-Reply-To"), (9, b"Message-ID")])
@pytest.mark.parametrize("value, shown", [
    (b"\r\n <a@b>", b"<a@b>"), (b"\r\n\t<a@b>", b"<a@b>"), (b" \r\n  \t<a@b>", b"<a@b>"),
    (b"\r\n \r\n <a@b>", b"<a@b>"),
    (b" <a@b>\r\n ", b"<a@b>"), (b" <a@b> \t", b"<a@b>"), (b" <a@b>\r\n <c@d>", b"<a@b> <c@d>"),
    (b" <a@b>,\r\n\t<c@d>", b"<a@b>, <c@d>"),
    (b" <a  b@c>", b"<a  b@c>"), (b"", b""), (b"  ", b""), (b"\r\n ", b"")])
def test_folds_and_blanks_around_a_structured_field_are_no_part_of_it(place, name, value, shown):
    assert envelope(name + b":" + value)[place] == shown


def test_more_addresses_than_an_answer_shows():
    """One answer shows 10 000 of them, those of messages inside it too; and reads 20 fields of a
    name."""
    many = b"".join(b"a%d@b," % number for number in range(9000))
    found = envelope(b"To: " + many, b"Cc: " + many, b"Bcc: " + many)
    assert [len(found[place] or ()) for place in (5, 6, 7)] == [9000, 1000, 0]
    assert len(envelope(*[b"To: a@b"] * 200)[5]) == 20
    people = b", ".join([b"Some One <some.one%d@example.org>" % number for number in range(1500)])
    groups = envelope(b"To: g: " + people + b";", b"Cc: " + many, b"Bcc: h: " + people + b";")
    assert [len(groups[place] or ()) for place in (5, 6, 7)] == [
        1502, 8499, 0], "groups and their members count"


def test_a_plain_message():
    part = message(b"Subject: x", b"", b"one", b"two")
    plain = [b"text", b"plain", [b"charset", b"us-ascii"], None, None, b"7bit", 10, 2]
    assert read(message_responses.body(part)) == plain
    assert read(message_responses.bodystructure(part)) == plain + [None, None, None, None]


def test_a_leaf_with_everything():
    part = message(b"MIME-Version: 1.0", b'Content-Type: Image/PNG; name="a \\"b\\".png"',
                   b"Content-ID: <i@x>", b"Content-Description: d", b"Content-MD5: q",
                   b"Content-Transfer-Encoding: BASE64",
                   b"Content-Disposition: attachment; filename=f", b"Content-Language: de, en",
                   b"Content-Location: u",
                   b"", b"AAAA")
    found = read(message_responses.bodystructure(part))
    assert [word.lower() for word in found[:2]] == [b"image",
                                                    b"png"] and found[5].lower() == b"base64"
    assert found[2:5] + found[6:] == [[b"name", b'a "b".png'], b"<i@x>", b"d", 6, b"q",
                                      [b"attachment", [b"filename", b"f"]], [b"de", b"en"], b"u"]


MULTIPART = (b"MIME-Version: 1.0", b"Content-Type: multipart/Mixed; boundary=b", b"", b"--b", b"",
             b"one", b"--b", b"Content-Type: message/rfc822", b"",
             b"From: joe@example.org", b"Subject: inside", b"", b"two", b"", b"--b--")


def test_a_multipart_with_a_message_inside():
    part = message(*MULTIPART)
    text, inner, kind, parameters, *rest = read(message_responses.bodystructure(part))
    assert text == [b"text", b"plain", [b"charset", b"us-ascii"], None, None, b"7bit", 3, 0, None,
                    None, None, None]
    assert kind.lower() == b"mixed" and parameters == [b"boundary", b"b"] and rest == [
        None, None, None]
    assert inner[:2] == [b"message", b"rfc822"] and inner[7][1] == b"inside"
    assert inner[8] == [b"text", b"plain", [b"charset", b"us-ascii"], None, None, b"7bit", 5, 1,
                        None, None, None, None]
    assert inner[6] == len(b"From: joe@example.org\r\nSubject: inside\r\n\r\ntwo\r\n")
    assert inner[9] == 4 and inner[10:] == [None] * 4
    short = read(message_responses.body(part))
    assert len(short) == 3 and short[0] == text[:8] and len(short[1]) == 10
    assert short[1][8] == inner[8][:8]


def test_a_message_part_whose_inside_was_not_read_still_has_one():
    """Encoded message/rfc822 (forbidden by RFC 2046 5.2.1, but sent) is not scanned. The grammar
    requires envelope, body and lines all the same."""
    part = message(b"MIME-Version: 1.0", b"Content-Type: message/rfc822",
                   b"Content-Transfer-Encoding: base64", b"", b"AAAA")
    part.message = None
    found = read(message_responses.bodystructure(part))
    assert found[7] == [None] * 10 and found[8][:2] == [b"text", b"plain"]
    assert len(found[8]) == 12 and found[9] == 1
    assert len(read(message_responses.body(part))[8]) == 8


def test_the_deepest_tree_and_many_parts():
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (
        depth, depth) for depth in range(200))
    read(message_responses.bodystructure(structure.scan(b"MIME-Version: 1.0\r\n" + nested)))
    many = (b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
            + (b"--b\r\n\r\n%s\r\n" % (b"x" * 100)) * 3000 + b"--b--\r\n")
    assert len(read(message_responses.body(structure.scan(many)))) == 3001


_PIECES = st.sampled_from([b"From", b"To", b":", b"Content-Type: ", b"multipart/mixed",
                           b"message/rfc822", b"; boundary=b", b"\r\n", b"\r\n\r\n", b"--b",
                           b"--b--",
                           b'"', b"\\", b"(", b")", b"<", b">", b"@", b",", b";", b"a", b" ", b"\0",
                           b"\xff", b"\r", b"\n", b"Subject: ", b"MIME-Version: 1.0\r\n"])


@settings(max_examples=150, deadline=None)
@given(st.lists(_PIECES, max_size=30).map(b"".join))
def test_any_message_gives_well_formed_answers(data):
    assert len(read(message_responses.envelope(data))) == 10
    part = structure.scan(data)
    assert read(message_responses.body(part)) and read(message_responses.bodystructure(part))
    assert b"\0" not in message_responses.bodystructure(part) + message_responses.envelope(data)


@pytest.mark.parametrize("data", [b"\0", b"Subject: a\0b\r\n\r\n", b"From: \0 <a\0@b>\r\n\r\n"])
def test_nul_never_goes_out(data):
    assert b"\0" not in message_responses.envelope(data)
