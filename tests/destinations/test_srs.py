"""The sender rewriting scheme: there and back, and nobody else's way through."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.destinations import srs
from phenmail_protocols.mail.address import Address

KEY = b"k" * 32
NOW = 1790000000.0
DAY = 86400.0


def back(address, key=KEY, now=NOW):
    return srs.reverse(address.local, key, now)


@pytest.mark.parametrize("text", ["a@b.example", "first.last+tag@sub.example.org",
                                  '"odd user"@example.org', "a=b=c@example.org",
                                  "ünï@example.org", "prvs=123=a@example.org"])
def test_there_and_back(text):
    sender = Address.parse(text)
    rewritten = srs.forward(sender, "ours.example", KEY, NOW)
    assert rewritten.domain == "ours.example" and srs.is_rewritten(rewritten.local)
    assert Address.parse(str(rewritten)) == rewritten
    assert back(rewritten) == sender


def test_case_may_be_lost_on_the_way():
    rewritten = srs.forward(Address.parse("anna@b.example"), "ours.example", KEY, NOW)
    assert back(rewritten._replace(local=rewritten.local.lower())) == Address("anna", "b.example")
    assert back(rewritten._replace(local=rewritten.local.upper())) == Address("ANNA", "b.example")


def test_two_forwarders_before_us():
    first = srs.forward(Address.parse("a@b.example"), "one.example", b"1", NOW)
    second = srs.forward(first, "two.example", b"2", NOW)
    third = srs.forward(second, "three.example", b"3", NOW)
    assert second.local.startswith("SRS1=") and third.local.startswith("SRS1=")
    assert len(third.local) <= len(second.local), "it does not grow with each forwarder"
    # The way back goes to the first forwarder at once, and from there to the author.
    assert back(third, b"3") == first
    assert back(second, b"2") == first
    assert back(first, b"1") == Address("a", "b.example")


@pytest.mark.parametrize("change", [
    lambda local: local.replace("b.example", "c.example"), lambda local: local + "x",
    lambda local: "SRS0=AAAAAAAA" + local[13:],
    lambda local: local[:14] + "AA" + local[16:], lambda local: "SRS1" + local[4:],
])
def test_what_was_changed_leads_nowhere(change):
    rewritten = srs.forward(Address.parse("a@b.example"), "ours.example", KEY, NOW)
    with pytest.raises(srs.SrsError):
        srs.reverse(change(rewritten.local), KEY, NOW)


def test_another_servers_address_leads_nowhere():
    rewritten = srs.forward(Address.parse("a@b.example"), "ours.example", b"another", NOW)
    with pytest.raises(srs.SrsError, match="not made by this server"):
        back(rewritten)


@pytest.mark.parametrize("days, ends", [(0, False), (srs.DAYS, False), (srs.DAYS + 1, True),
                                        (500, True), (-1, False), (-2, True)])
def test_an_address_ends_after_some_weeks(days, ends):
    rewritten = srs.forward(Address.parse("a@b.example"), "ours.example", KEY, NOW)
    if ends:
        with pytest.raises(srs.SrsError, match="too old"):
            back(rewritten, now=NOW + days * DAY)
    else:
        assert back(rewritten, now=NOW + days * DAY) == Address("a", "b.example")


def test_a_sender_that_would_be_too_long_stays():
    sender = Address.parse("a" * 50 + "@b.example")
    assert srs.forward(sender, "ours.example", KEY, NOW) == sender


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_every_text_ends_in_an_address_or_a_clear_error(text):
    for local in (text, "SRS0=" + text, "SRS1=" + text):
        with pytest.raises(srs.SrsError):
            srs.reverse(local, KEY, NOW)
