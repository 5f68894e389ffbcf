"""The header fields that people search, in the form in which a search compares them.

They are derived from a message once and kept, so that searches need not read it. Everything is
folded by `textsearch`, as in a search that reads the message, so both give the same results. Pure.
"""
from typing import Dict, FrozenSet, List, Optional, Union

from . import dates, textsearch
from .headers import collect

#: The fields whose values are kept.
TEXTS = ("subject", "from", "to", "cc", "bcc", "message-id", "in-reply-to")
#: Those of them that are also kept as lists of addresses, under the name and " address".
ADDRESSES = ("from", "to", "cc", "bcc")
#: The fields that are read.
FIELDS: FrozenSet[bytes] = frozenset(name.encode("ascii") for name in TEXTS + ("date",))
LONGEST = 8192  # octets of all values of a message; if there are more, none are kept

# Separates the values of several fields with one name. It never occurs in UTF-8, so no key matches
# across two values.
_BETWEEN = b"\xff"
_DAY = 86400


def read(header: bytes, arrival: int) -> Optional[Dict[str, Union[bytes, int, None]]]:
    """A message's header, or its FIELDS alone -> {name: value}, or None if the values are too long.

    The TEXTS, and `from address` and so on, have the folded values of all fields with that name, or
    None if there is no such field. `day` is the day in the first Date field (days since 1970); if
    that is invalid, the day of `arrival` (epoch seconds).
    """
    found = collect(header, FIELDS)
    day = sent_day(found.get(b"date"))
    values: Dict[str, Union[bytes, int, None]] = {"day": arrival // _DAY if day is None else day}
    for name in TEXTS:
        raw = found.get(name.encode("ascii"))
        values[name] = _joined(raw, textsearch.field_text)
        if name in ADDRESSES:
            values[name + " address"] = _joined(raw, textsearch.address_text)
    length = sum([len(value) for value in values.values() if isinstance(value, bytes)])
    return values if length <= LONGEST else None


def sent_day(values: Optional[List[bytes]]) -> Optional[int]:
    """The values of a message's Date fields -> the day in the first one (days since 1970), or None
    if that is invalid."""
    moment = dates.parse_header_date(values[0]) if values else None
    return None if moment is None else (moment.epoch + moment.zone * 60) // _DAY


def needle(text: str) -> bytes:
    """A text to search for -> the octets that a matching value must contain."""
    return textsearch.field_key(text).encode("utf-8", "surrogatepass")


def _joined(raw: Optional[List[bytes]], fold) -> Optional[bytes]:
    if raw is None:
        return None
    return _BETWEEN.join([fold(value).encode("utf-8", "surrogatepass") for value in raw])
