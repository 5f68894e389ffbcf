"""Mail that no program may answer (RFC 3834)."""
import pytest

from phenmail_protocols.mail.address import Address
from phenmail_protocols.mail.automatic import obstacle

BOB = Address("bob", "example.net")


@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("field, words", [
    ("Auto-Submitted: auto-generated; x=y", "Auto-Submitted"),
    ("AUTO-SUBMITTED: whatever", "Auto-Submitted"),
    ("Precedence: bulk", "Precedence"), ("Precedence:\r\n list", "Precedence"),
    ("Precedence: junk", "Precedence"),
    ("List-Id: <a.b>", "list"), ("X-Auto-Response-Suppress: DR, All", "Suppress"),
    ("X-Spam-Flag: yes", "spam")])
def test_fields_that_say_so(field, words, end):
    header = ("Subject: x\r\n" + field + "\r\n\r\n").replace("\r\n", end).encode()
    assert words in obstacle(BOB, header)


@pytest.mark.parametrize("field", ["Auto-Submitted: no", "Auto-Submitted: No (by hand); x=y",
                                   "Precedence: normal", "X-Spam-Flag: NO"])
def test_people_may_be_answered(field):
    assert obstacle(BOB, field.encode() + b"\r\n\r\n") == ""


@pytest.mark.parametrize("local", ["MAILER-DAEMON", "dev-request", "owner-dev", "noreply+1",
                                   "bounce-1"])
def test_programs_by_their_names(local):
    assert "program" in obstacle(Address(local, "example.net"), b"")


def test_nobody_is_not_answered():
    assert "no sender" in obstacle(None, b"")
