"""Dates of IMAP and of header fields."""
import calendar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.mail import dates
from phenmail_protocols.mail.dates import DateError, Moment

MOMENT = calendar.timegm((1996, 7, 17, 9, 44, 25))


def test_internal_date_there_and_back():
    assert dates.parse_internal(b"17-Jul-1996 02:44:25 -0700") == (MOMENT, -420)
    assert dates.parse_internal(b" 1-feb-2024 00:00:00 +0530") == (
        calendar.timegm((2024, 1, 31, 18, 30, 0)), 330)
    assert dates.format_internal(MOMENT) == b"17-Jul-1996 09:44:25 +0000"
    assert dates.format_header(MOMENT, -420) == "Wed, 17 Jul 1996 02:44:25 -0700"
    assert dates.format_header(MOMENT) == "Wed, 17 Jul 1996 09:44:25 +0000"


@pytest.mark.parametrize("text", [
    b"", b"17-Jul-1996", b"7-Jul-1996 02:44:25 -0700", b"32-Jul-1996 02:44:25 -0700",
    b"31-Jun-1996 02:44:25 -0700", b"29-Feb-1900 00:00:00 +0000",
    b"17-Foo-1996 02:44:25 -0700", b"17-Jul-1996 24:44:25 -0700", b"17-Jul-1996 02:60:25 -0700",
    b"17-Jul-1996 02:44:25 0700", b"17-Jul-0000 02:44:25 +0000",
    b"17-Jul-1996 02:44:25 -0760", b"17-Jul-1996 02:44:25 -0700 ", b"17-Jul-1996 02:44:25 -0700\n",
    b"17-Jul-96 02:44:25 -0700"])
def test_no_internal_date(text):
    with pytest.raises(DateError):
        dates.parse_internal(text)


@settings(max_examples=120, deadline=None)
@given(st.integers(-10**11, 10**12), st.integers(-840, 840))
def test_formats_are_read_again(epoch, zone):
    inside = max(-62135596800, min(epoch, 253402300799))
    assert dates.parse_internal(dates.format_internal(epoch)) == (inside, 0)
    if 0 <= epoch < 250000000000:
        assert dates.parse_header_date(dates.format_header(epoch, zone).encode()) == (epoch, zone)


@pytest.mark.parametrize("value, date, zone", [
    (b"Wed, 17 Jul 1996 02:44:25 -0700", (1996, 7, 17, 2, 44, 25), -420),
    (b" 17 Jul 1996 02:44 +0000", (1996, 7, 17, 2, 44, 0), 0),
    (b"Wed,17 Jul 96 2:4:5 EST", (1996, 7, 17, 2, 4, 5), -300),
    (b"Wed, 17 July 2096 02:44:25 GMT (a (nested) comment)", (2096, 7, 17, 2, 44, 25), 0),
    (b"17 Jul 49 00:00:00 Z", (2049, 7, 17, 0, 0, 0), 0),
    (b"17 Jul 50 00:00:00 X", (1950, 7, 17, 0, 0, 0), 0),
    (b"17 Jul 103 00:00:00", (2003, 7, 17, 0, 0, 0), 0),
    (b"Wed Jul 17 02:44:25 1996", (1996, 7, 17, 2, 44, 25), 0),
    (b"Wed Jul 17 02:44:25 PDT 1996", (1996, 7, 17, 2, 44, 25), -420),
    (b"17-Jul-1996 02:44:25 +0530", (1996, 7, 17, 2, 44, 25), 330),
    (b"Wed, 17 Jul 1996", (1996, 7, 17, 0, 0, 0), 0),
    (b"1996-07-17T02:44:25+02:00", (1996, 7, 17, 2, 44, 25), 120),
    (b"1996-07-17", (1996, 7, 17, 0, 0, 0), 0),
    (b"Wed, 17 Jul 1996 02:44:25 Somewhere/Else", (1996, 7, 17, 2, 44, 25), 0),
    (b"Wed, 17 Jul\r\n 1996 02.44.25 -0000", (1996, 7, 17, 2, 44, 25), 0),
])
def test_header_dates(value, date, zone):
    assert dates.parse_header_date(value) == Moment(calendar.timegm(date) - zone * 60, zone)


@pytest.mark.parametrize("value", [b"", b"<HR>", b"soon", b"Wed, 99 Jul 1996 02:44:25",
                                   b"17 Jul 02:44:25", b"17 Jul 1996 99:99:99", b"Thu, 17 Foo 1996",
                                   b"0000-00-00"])
def test_no_header_date(value):
    assert dates.parse_header_date(value) is None


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([b"17", b"Jul", b"1996", b"02:44:25", b"-0700", b" ", b",", b"-",
                                 b"T", b"(", b")", b"9" * 30]) | st.binary(max_size=4),
                max_size=12).map(b"".join))
def test_any_bytes(value):
    found = dates.parse_header_date(value)
    assert found is None or isinstance(found.epoch, int) and -6039 <= found.zone <= 6039
    try:
        dates.parse_internal(value)
    except DateError:
        pass


def test_local_zone_is_in_minutes():
    assert -1440 < dates.local_zone(MOMENT) < 1440
