"""The values in IMAP servers' answers, and the names of mailboxes."""
import pytest

from phenmail_protocols.fetch import imap_replies
from phenmail_protocols.fetch.connecting import Contexts
from phenmail_protocols.fetch.imap_names import Names, from_namespace, quoted
from phenmail_protocols.fetch.imap_replies import Literal, Nonsense
from phenmail_protocols.fetch.source import Throttled


@pytest.mark.parametrize("uids, text", [
    ([], ""), ([7], "7"), ([1, 2, 3], "1:3"), ([1, 3, 4, 9], "1,3:4,9")])
def test_sets_of_uids(uids, text):
    assert imap_replies.uid_set(uids) == text


def test_tokens():
    parts = [(b'1 (UID 5 BODY[]<0> {3}', b"(a)"), (b' X "a\\"b" Y {2}', b'""'), b" Z NIL)"]
    found = imap_replies.tokens(parts)
    assert found == [b"1", b"(", b"UID", b"5", b"BODY[]<0>", b"(a)", b"X", b'"a\\"b"', b"Y", b'""',
                     b"Z", b"NIL", b")"]
    assert [imap_replies.string(token) for token in found[5:12:2]] == [b"(a)", b'a"b', b'""', None]
    assert isinstance(found[5], Literal)


def test_a_literal_is_no_parenthesis():
    items = imap_replies.fetched([(b"1 (UID 5 BODY[]<0> {1}", b"("), b")"])
    assert items == {b"UID": b"5", b"BODY[]<0>": b"("}
    items = imap_replies.fetched([(b"1 (FLAGS (a {1}", b")"), b" b) UID 5)"])
    assert items == {b"FLAGS": [b"a", b")", b"b"], b"UID": b"5"}


@pytest.mark.parametrize("text", [b"", b"x", b"-1", b"+1", b"1" * 20, b"\xb2", b"9223372036854775808"])
def test_what_is_no_number(text):
    with pytest.raises(Nonsense):
        imap_replies.number(text)


def test_dates():
    assert imap_replies.date(b'" 1-Jan-1970 01:00:00 +0100"') == 0.0
    assert imap_replies.date(b'"1-Jan-1970 01:00:00 +0100"') == 0.0
    assert imap_replies.date(b'"31-Feb-2020 01:00:00 +0100"') is None
    assert imap_replies.date(b"NIL") is None
    assert imap_replies.date([]) is None
    assert imap_replies.date(None) is None


def test_searched():
    assert imap_replies.searched([b"9 2 5 (MODSEQ 7)", None, b"2"]) == [2, 5, 9]


def test_shown_is_printable_and_short():
    assert imap_replies.shown(b"a\x1b[0m\xff\r\nb") == "a?[0m\ufffd??b"
    assert len(imap_replies.shown(b"x" * 10000)) == imap_replies.MOST_TEXT


def test_suggested_backoff():
    error = imap_replies.refusal("h", "FETCH", "Throttled. Suggested Backoff Time: 5 seconds")
    assert isinstance(error, Throttled) and error.seconds == 5.0


# Names

def test_namespace():
    names = from_namespace([b'(("INBOX." "." "X-P" ("a" "b"))("#o" "/")) NIL (("#shared/" "/"))'])
    assert (names.separator, names.prefix, names.others) == (".", "INBOX.", ("#shared/",))
    assert from_namespace([b"NIL NIL NIL"]) is None
    assert from_namespace([b")) ((("]) is None


@pytest.mark.parametrize("names, name, wire", [
    (Names("/"), "inbox", b"INBOX"), (Names("/"), "Lists/dev", b"Lists/dev"),
    (Names("."), "Lists/dev", b"Lists.dev"), (Names("."), "Lists.dev", b"Lists.dev"),
    (Names(".", "INBOX."), "Lists/dev", b"INBOX.Lists.dev"),
    (Names(".", "INBOX."), "INBOX/Lists", b"INBOX.Lists"),
    (Names("\\"), "a/b", b"a\\b"), (Names(""), "a/b", b"a/b"),
    (Names("."), "a\u2215b/c", b"a/b.c"), (Names("/"), "\u00fc & co", b"&APw- &- co")])
def test_a_users_name_at_the_server(names, name, wire):
    assert names.candidates(name)[0] == wire
    assert len(names.candidates(name)) <= 8


@pytest.mark.parametrize("names, wire, name", [
    (Names("/"), b"InBox", "Inbox"), (Names("."), b"a.b/c", "a/b\u2215c"),
    (Names("/"), b"a.b/c", "a.b/c"), (Names(".", "INBOX."), b"INBOX.a", "a"),
    (Names(".", "INBOX."), b"INBOX.", None), (Names("/", "", ("user/",)), b"user/x", None),
    (Names("/"), b"\xc3\xbc", None), (Names("/"), b"&APw-", "\u00fc"), (Names("/"), b"a&b", "a&b")])
def test_a_servers_name_for_the_user(names, wire, name):
    assert names.shown(wire) == name


def test_candidates_have_no_line_end():
    for name in ("a\r\nb", "\0", "\ud800", "a\x7fb"):
        for wire in Names(".", "INBOX.").candidates(name):
            assert all(32 <= octet < 127 for octet in wire)
    assert quoted(b'a"\\') == '"a\\"\\\\"'


def test_contexts_are_shared(monkeypatch):
    from phenmail_protocols.fetch import connecting
    contexts = Contexts()
    first = contexts.get(True)
    assert contexts.get(True) is first and contexts.get(False) is not first
    assert contexts.get(False) is contexts.get(False)
    monkeypatch.setattr(connecting.time, "monotonic", lambda: 1e12)
    assert contexts.get(True) is not first
