"""The header fields that people search, in the form in which a search compares them.

They are derived from a message once and kept, so that a search need not read it. Everything is
folded by `textsearch`, as for a message that is read: both give the same results. Pure.
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
LONGEST = 8192  # octets of all values of a message that are kept

# Between the values of several fields of one name. No text has it in UTF-8, so none matches across.
_BETWEEN = b"\xff"
_DAY = 86400


def read(header: bytes, arrival: int) -> Optional[Dict[str, Union[bytes, int, None]]]:
    """A message's header, or its FIELDS alone -> {what: value}, or None if it is too long.

    `subject` and the other TEXTS, `from address` and the like: the texts of all fields of that
    name, None without one. `day`: the day that the first Date field names (days since 1970);
    if it is unreadable, the day of `arrival` (seconds).
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
    """The values of a message's Date fields -> the day that the first names (days since 1970), None
    if it is unreadable."""
    moment = dates.parse_header_date(values[0]) if values else None
    return None if moment is None else (moment.epoch + moment.zone * 60) // _DAY


def needle(text: str) -> bytes:
    """A text to search for -> the octets that a matching value contains."""
    return textsearch.field_key(text).encode("utf-8", "surrogatepass")


def _joined(raw: Optional[List[bytes]], fold) -> Optional[bytes]:
    if raw is None:
        return None
    return _BETWEEN.join([fold(value).encode("utf-8", "surrogatepass") for value in raw])
