"""Addresses: the strict ones of envelopes and the ugly ones of header fields."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.mail import address
from phenmail_protocols.mail.address import (
    Address,
    AddressError,
    Group,
    Mailbox,
    parse_address_list,
    strict_mailboxes,
)


@pytest.mark.parametrize("text, local, domain, wire", [
    ("user@example.org", "user", "example.org", None),
    ("User.Name+tag@EXAMPLE.Org", "User.Name+tag", "example.org", "User.Name+tag@example.org"),
    ('"odd user"@example.org', "odd user", "example.org", None),
    (r'"a\"b\\c"@example.org', r'a"b\c', "example.org", None),
    ('"plain"@example.org', "plain", "example.org", "plain@example.org"),
    ('"a@b"@example.org', "a@b", "example.org", None),
    ("user@[192.0.2.1]", "user", "[192.0.2.1]", None),
    ("user@[IPv6:2001:DB8::1]", "user", "[ipv6:2001:db8::1]", "user@[ipv6:2001:db8::1]"),
    ("user@localhost", "user", "localhost", None),
    ("j\u00f6rg@B\u00dcCHER.example", "j\u00f6rg", "xn--bcher-kva.example",
     "j\u00f6rg@xn--bcher-kva.example"),
    ("a@fa\u00df.example", "a", "xn--fa-hia.example", "a@xn--fa-hia.example"),
    ("a@b\u00fccher\u3002example", "a", "xn--bcher-kva.example", "a@xn--bcher-kva.example"),
    ("a@" + "\u00fc" * 40 + ".example", "a", "xn--tda" + "a" * 39 + ".example",
     "a@xn--tda" + "a" * 39 + ".example"),
    (".a@example.org", ".a", "example.org", '".a"@example.org'),
    ("a.@example.org", "a.", "example.org", '"a."@example.org'),
    ("a..b@example.org", "a..b", "example.org", '"a..b"@example.org'),
    ("..@example.org", "..", "example.org", '".."@example.org'),
    ("a_b@under_score.example", "a_b", "under_score.example", None),
])
def test_parse_and_write(text, local, domain, wire):
    parsed = Address.parse(text)
    assert parsed == (local, domain) and str(parsed) == (wire or text)
    assert Address.parse(str(parsed)) == parsed


@pytest.mark.parametrize("text", [
    "", "user", "@example.org", "user@", "a b@example.org", '"open@example.org',
    '"a"b@example.org', "user@-a.example", "user@a-.example", "user@a..b", "user@.a", "user@a.",
    "user@exa mple", "user@[1.2.3]",
    "user@[IPv6:zz]", "user@[192.0.2.1", "user@[]", "u\r\n@example.org", "user@example.org\n",
    "user\n@example.org", '"a\nb"@example.org', "u\u0085@example.org",
    "a" * 300 + "@example.org", "a@" + "b" * 64 + ".example", "a@" + "b." * 200 + "c",
    "user@example.org\udc80", "<user@example.org>", "user@example.org.",
    "user@b\u00fccher.example\u3002", "user@x\uff20y.\u00fc", "user@\u2603.example",
    "user@a.\uff3b127.0.0.1\uff3d"])
def test_refused(text):
    with pytest.raises(AddressError):
        Address.parse(text)


@settings(max_examples=120, deadline=None)
@given(st.text(max_size=30) | st.lists(st.sampled_from(['"', "\\", "@", ".", "a", "[", "]", "-",
                                                        "\r\n", "\u00e9"]),
                                                        max_size=12).map("".join))
def test_any_text_parses_to_what_it_writes_or_is_refused(text):
    try:
        parsed = Address.parse(text)
    except AddressError:
        return
    assert Address.parse(str(parsed)) == parsed and not set("\r\n\0") & set(str(parsed))


def test_what_people_read():
    assert Address.parse("a.b@xn--fa-hia.example").shown() == "a.b@fa\u00df.example"
    assert Address.parse("postmaster@[192.0.2.1]").shown() == "postmaster@[192.0.2.1]"


def box(local, domain, name=None, route=None):
    return Mailbox(name, route, local, domain)


A = box(b"a", b"b.example")


@pytest.mark.parametrize("value, addresses", [
    (b"", []),
    (b"  (nobody) ", []),
    (b"a@b.example", [A]),
    (b".x@b.example, <..x@b.example>", [box(b".x", b"b.example"), box(b"..x", b"b.example")]),
    (b"x.@b.example, Y <x..y@b.example>", [box(b"x.", b"b.example"),
                                           box(b"x..y", b"b.example", b"Y")]),
    (b"(c) . x @b.example (d)", [box(b".x", b"b.example", b"d")]),
    (b"g: ...x...@b.example;", [Group(b"g", (box(b"...x...", b"b.example"),))]),
    (b" a@b.example , a@b.example", [A, A]),
    (b"<a@b.example>", [A]),
    (b"Joe Q. Public <a@b.example>", [A._replace(name=b"Joe Q. Public")]),
    (b'"Public,  \\"Joe\\"" <a@b.example>', [A._replace(name=b'Public,  "Joe"')]),
    (b'"folded\r\n name"\r\n <a@b.example>', [A._replace(name=b"folded name")]),
    (b"=?utf-8?Q?J=C3=B6rg?= <a@b.example>", [A._replace(name=b"=?utf-8?Q?J=C3=B6rg?=")]),
    (b"J\xc3\xb6rg <a@b.example>", [A._replace(name=b"J\xc3\xb6rg")]),
    (b"a@b.example (Joe)", [A._replace(name=b"Joe")]),
    (b"a@b.example (J(o)e \\) x)", [A._replace(name=b"J(o)e ) x")]),
    (b"<@x.example,@y.example:a@b.example>", [A._replace(route=b"@x.example,@y.example")]),
    (b'"a b"@[192.0.2.1]', [box(b"a b", b"[192.0.2.1]")]),
    (b"a . b @ c . example", [box(b"a.b", b"c.example")]),
    (b", a@b.example, , a@b.example,", [A, A]),
    (b"Friends: a@b.example, Joe <a@b.example>;", [Group(b"Friends",
                                                         (A, A._replace(name=b"Joe")))]),
    (b"undisclosed-recipients:;", [Group(b"undisclosed-recipients", ())]),
    (b"One: a@b.example; , a@b.example, Two:;", [Group(b"One", (A,)), A, Group(b"Two", ())]),
    (b"Open: a@b.example", [Group(b"Open", (A,))]),
    (b"a", [box(b"a", b"MISSING_DOMAIN")]),
    (b"a@", [box(b"MISSING_MAILBOX", b"MISSING_DOMAIN", b"a")]),
    (b"@b.example", [box(b"MISSING_MAILBOX", b"b.example")]),
    (b"Joe Public", [box(b"MISSING_MAILBOX", b"MISSING_DOMAIN", b"Joe Public")]),
    (b"Joe <>", [box(b"MISSING_MAILBOX", b"MISSING_DOMAIN", b"Joe")]),
    (b"Joe <a@b.example", [box(b"a", b"SYNTAX_ERROR", b"Joe")]),
    (b"Joe <a b@c>, x@y", [box(b"a", b"SYNTAX_ERROR", b"Joe")]),
    (b'"open <a@b.example>', [box(b"MISSING_MAILBOX", b"MISSING_DOMAIN")]),
])
def test_address_lists(value, addresses):
    assert parse_address_list(value) == addresses


_PIECES = st.lists(st.sampled_from([b"a", b"b.example", b"@", b"<", b">", b",", b";", b":", b'"',
                                    b"(", b")", b"\\", b" ", b".", b"[", b"]",
                                    b"\r\n ", b"a@b.example", b"Joe <a@b.example>", b"\xe9"])
                                    | st.binary(max_size=3), max_size=20).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(_PIECES)
def test_any_bytes_give_a_list(value):
    for entry in parse_address_list(value):
        for mailbox in entry.members if isinstance(entry, Group) else (entry,):
            assert mailbox.domain and b"\n" not in b"".join(half or b"" for half in mailbox)


@settings(max_examples=150, deadline=None)
@given(_PIECES)
def test_the_usual_form_is_only_a_short_cut(value):
    class Never:
        @staticmethod
        def match(*_):
            return None
    quick, usual = parse_address_list(value), address._USUAL
    address._USUAL = Never
    try:
        assert parse_address_list(value) == quick
    finally:
        address._USUAL = usual


def test_long_values_are_linear():
    for piece in (b"a@b,", b"(", b'"', b"<", b"a@[", b"x:", b"a.", b"@a:", b",", b" ", b"\\",
                  b'"a" ', b"<@"):
        parse_address_list(piece * 100000)


@pytest.mark.parametrize("value, locals_", [
    (b"", []), (b" a@x", [b"a"]), (b'"b@x" <a@x>', [b"a"]), (b"a@x (b@x)", [b"a"]),
    (b"Us: a@x, B <b@x>;, c@x", [b"a", b"b", b"c"]),
    (b" a@x,\r\n b@x ,", [b"a", b"b"]), (b"=?utf-8?q?A?= <a@x>", [b"a"]),
    (b"a@x <b@x>", None), (b"<a@x> b@x", None), (b"a@x; b@x", None), (b"a@x (<b@x>", None),
    (b'a@x, "<b@x>', None), (b"a@x\\", None),
    (b"Us: a@x", None), (b"<@b@x:a@x>", None),
])
def test_strict_mailboxes(value, locals_):
    found = strict_mailboxes(value)
    assert (None if found is None else [mailbox.local for mailbox in found]) == locals_


def test_more_mailboxes_than_are_read_are_not_vouched_for():
    assert strict_mailboxes(b"a@x, " * 10001) is None
