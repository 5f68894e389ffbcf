"""The IMAP date-time (RFC 3501 section 9) and the Date field (RFC 5322 sections 3.3 and 4.3).

Moments are epoch seconds (int, UTC), zones are minutes east of UTC. Pure: it reads no clock.
"""
import re
import time
from typing import NamedTuple, Optional

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_MONTH_NUMBERS = {name.lower().encode(): number for number, name in enumerate(MONTHS, 1)}
_INTERNAL = re.compile(rb"( \d|\d\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
_COMMENT = re.compile(rb"\([^()]*\)")
_WORD = re.compile(rb"[A-Za-z]+|[+-]?[0-9]+|[:/.]")
_CLOCK = re.compile(rb"(\d{1,2})[:.](\d{1,2})(?:[:.](\d{1,2}))?")
_ISO = re.compile(rb"\s*(\d{4})-(\d\d?)-(\d\d?)(?=\D|$)T?")
_NUMERIC_ZONE = re.compile(rb"([+-])(\d\d):?(\d\d)$")
# RFC 5322 section 4.3. UT, military letters and unknown names mean zone 0.
_ZONES = {b"est": -300, b"edt": -240, b"cst": -360, b"cdt": -300, b"mst": -420, b"mdt": -360,
          b"pst": -480, b"pdt": -420}
_LONGEST = 256  # octets of a Date field that are looked at
_DAYS_OF_MONTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# 0001-01-01 00:00:00 and 9999-12-31 23:59:59: IMAP years have four digits.
_FIRST_MOMENT, _LAST_MOMENT = -62135596800, 253402300799


class DateError(ValueError):
    """The bytes are not a date of the grammar that was asked for."""


class Moment(NamedTuple):
    """`epoch`: seconds; `zone`: minutes, as it was written.

    The day as written is (epoch + zone * 60) // 86400.
    """
    epoch: int
    zone: int


def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a proleptic Gregorian date. Raises DateError."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= year <= 9999 or not 1 <= month <= 12:
        raise DateError("no such month")
    if not 1 <= day <= (29 if month == 2 and leap else _DAYS_OF_MONTHS[month - 1]):
        raise DateError("no such day")
    # Years begin in March here, so that the leap day is the last day of its year.
    shifted = year - (month <= 2)
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return shifted * 365 + shifted // 4 - shifted // 100 + shifted // 400 + day_of_year - 719468


def _moment(date, clock, zone: int) -> Moment:
    hour, minute, second = clock
    if hour > 23 or minute > 59 or second > 60:
        raise DateError("no such time of day")
    return Moment(_days(*date) * 86400 + hour * 3600 + minute * 60 + second - zone * 60, zone)


def parse_internal(text: bytes) -> Moment:
    """`17-Jul-1996 02:44:25 -0700` (IMAP date-time without quotes) -> Moment. Raises DateError."""
    found = _INTERNAL.fullmatch(text)
    if found is None:
        raise DateError("expected dd-Mon-yyyy hh:mm:ss +zzzz")
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
    number = _MONTH_NUMBERS.get(month.lower())
    if number is None or int(zone_minutes) > 59:
        raise DateError("no such month or zone")
    zone = int(zone_hours) * 60 + int(zone_minutes)
    return _moment((int(year), number, int(day)), (int(hour), int(minute), int(second)),
                   -zone if sign == b"-" else zone)


def _broken_down(epoch: int):
    """gmtime; a moment outside the years 1 to 9999 becomes the nearest one inside."""
    return time.gmtime(max(_FIRST_MOMENT, min(int(epoch), _LAST_MOMENT)))


def format_internal(epoch: int) -> bytes:
    """Epoch seconds -> the IMAP date-time in UTC, without quotes: b"17-Jul-1996 09:44:25 +0000"."""
    t = _broken_down(epoch)
    return b"%02d-%s-%04d %02d:%02d:%02d +0000" % (
        t.tm_mday, MONTHS[t.tm_mon - 1].encode(), t.tm_year, t.tm_hour, t.tm_min, t.tm_sec)


def format_header(epoch: int, zone: int = 0) -> str:
    """Epoch seconds -> a Date field's value: "Wed, 17 Jul 1996 02:44:25 -0700" (RFC 5322 section
    3.3)."""
    t = _broken_down(epoch + zone * 60)
    return "%s, %02d %s %04d %02d:%02d:%02d %s%02d%02d" % (
        WEEKDAYS[t.tm_wday], t.tm_mday, MONTHS[t.tm_mon - 1], t.tm_year, t.tm_hour, t.tm_min,
        t.tm_sec, "-" if zone < 0 else "+", abs(zone) // 60, abs(zone) % 60)


def local_zone(epoch: int) -> int:
    """Minutes east of UTC of this machine's zone at a moment."""
    return (time.localtime(epoch).tm_gmtoff or 0) // 60


def parse_header_date(value: bytes) -> Optional[Moment]:
    """A Date field's value -> Moment, or None if no day can be read from it. Never raises.

    Day name, seconds, zone and even the time may be missing; the year may have two digits (RFC 5322
    section 4.3); ISO 8601 and the order of asctime are accepted.
    """
    text = _without_comments(value[:_LONGEST])
    clock_found = _CLOCK.search(text)
    clock = tuple(int(part or 0) for part in clock_found.groups()) if clock_found else (0, 0, 0)
    rest = text[clock_found.end():] if clock_found else b""
    before = text[:clock_found.start()] if clock_found else text
    date = _iso_date(before) or _written_date(before, rest)
    if date is None:
        return None
    try:
        return _moment(date, clock, _zone(rest))
    except DateError:
        return None


def _without_comments(text: bytes) -> bytes:
    while True:
        shorter = _COMMENT.sub(b" ", text)
        if shorter == text:
            return text
        text = shorter


def _iso_date(text: bytes):
    found = _ISO.match(text)
    return tuple(int(part) for part in found.groups()) if found else None


def _written_date(before: bytes, after: bytes):
    """`Wed, 17 Jul 1996`, `17-Jul-96`, or `Wed Jul 17` with the year after the time (asctime)
    -> (year, month, day) or None."""
    month, numbers = None, []
    for word in _WORD.findall(before.replace(b"-", b" ")):
        if word.isdigit():
            numbers.append(word)
        elif month is None:
            month = _MONTH_NUMBERS.get(word[:3].lower())
    if len(numbers) == 1:
        numbers += [word for word in _WORD.findall(after)
                    if word.isdigit() and len(word) == 4][:1]
    if month is None or len(numbers) < 2:
        return None
    day, year = numbers[:2] if len(numbers[0]) < 3 else (numbers[1], numbers[0])
    return _full_year(year), month, int(day)


def _full_year(digits: bytes) -> int:
    """RFC 5322 section 4.3: two digits mean 1950 to 2049, three are added to 1900."""
    year = int(digits)
    if len(digits) <= 2:
        return year + (2000 if year < 50 else 1900)
    return year + 1900 if len(digits) == 3 else year


def _zone(text: bytes) -> int:
    for word in text.split():
        numeric = _NUMERIC_ZONE.match(word)
        if numeric and int(numeric.group(3)) < 60:
            minutes = int(numeric.group(2)) * 60 + int(numeric.group(3))
            return -minutes if numeric.group(1) == b"-" else minutes
        if word.lower() in _ZONES:
            return _ZONES[word.lower()]
    return 0
