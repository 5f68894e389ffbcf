"""Identifiers in Message-ID, In-Reply-To and References."""
import pytest

from phenmail_protocols.mail.message_id import identities


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
def test_a_megabyte_takes_no_time(piece):
    assert identities(piece * (1000000 // len(piece))) == []
