"""Base subjects by RFC 5256 section 2.1, and message identifiers."""
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenmail_protocols.mail.conversations import base_subject, identities


@pytest.mark.parametrize("text, base, reply", [
    ("", "", False), ("Hello", "hello", False), ("  Hello \t world ", "hello world", False),
    ("Re: Hello", "hello", True), ("RE : Hello", "hello", True), ("fw: Hello", "hello", True),
    ("Fwd: Hello", "hello", True), ("Re:Re: fwd: Hello", "hello", True),
    ("Re[2]: Hello", "hello", True), ("re [a b] : Hello", "hello", True),
    ("[list] Hello", "hello", False), ("[list] Re: Hello", "hello", True),
    ("Re: [list] Re: [other] Hello", "hello", True), ("[a][b] Hello", "hello", False),
    ("[list]", "[list]", False), ("[a] [b]", "[b]", False), ("Re: [list]", "[list]", True),
    ("Hello (fwd)", "hello", True), ("Hello (fwd)(FWD) ", "hello", True), ("(fwd)", "", True),
    ("[fwd: Hello]", "hello", True), ("[Fwd: Re: Hello (fwd)]", "hello", True),
    ("[fwd: [fwd: Hello]]", "hello", True), ("[fwd: Hello", "[fwd: hello", False),
    ("Re", "re", False), ("Regarding: x", "regarding: x", False), ("Re:", "", True),
    ("Re: Re", "re", True), ("Aw: Hello", "aw: hello", False),
    ("[un[even] x", "[un[even] x", False),
    ("Stra\u00dfe", "strasse", False), ("RE: \u0130stanbul", "istanbul", True),
])
def test_base(text, base, reply):
    assert base_subject(text) == (base, reply)


@pytest.mark.parametrize("piece",
                         ["(fwd)", "re: ", "[a]", "[fwd:", "]", "[", " ", "re[a]", "[a] re"])
def test_long_subjects_take_no_time(piece):
    begun = time.process_time()
    base_subject(piece * 100000)
    base_subject(piece * 100000 + "x")
    assert time.process_time() - begun < 0.5


@given(st.text(st.sampled_from("re:fwd[] ()Rx"), max_size=30))
def test_a_base_is_its_own_base(text):
    base = base_subject(text).text
    assert base_subject(base).text == base or base.startswith("[") or base.endswith("]")


@pytest.mark.parametrize("value, expected", [
    (b"<a@b>", [b"a@b"]), (b" <a@b> <c@d>\r\n <e@f>", [b"a@b", b"c@d", b"e@f"]), (b"", []),
    (b"nothing", []), (b"<a>", []), (b"<a@b", []), (b"<@b>", []), (b"a@b", []),
    (b"<\"a\"@b>", [b"a@b"]), (b"<\"a\\\"b\"@c>", [b"a\"b@c"]),
    (b"<a@[1.2.3.4]>", [b"a@[1.2.3.4]"]),
    (b"Your mail of Monday <a@b>", [b"a@b"]), (b"<a@b><c@d>", [b"a@b", b"c@d"]),
    (b"< a@b >", [b"a@b"]), (b"<x <a@b>", [b"a@b"]),
])
def test_identities(value, expected):
    assert identities(value) == expected


@pytest.mark.parametrize("piece", [b"<", b"<a", b"<\"", b"<a@", b"<\"\\", b" ", b"< "])
def test_a_megabyte_of_identifiers_takes_no_time(piece):
    assert identities(piece * (1000000 // len(piece))) == []
