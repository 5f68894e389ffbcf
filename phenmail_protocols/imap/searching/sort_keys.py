"""The keys by which SORT and THREAD compare messages (RFC 5256, RFC 5957).

They are read from a header once and cached as bytes in the index, like ENVELOPE.

Pure. Texts are folded for comparison (text/collation.py) when they are read, so that sorting
compares plain strings.
"""
import hashlib
from typing import NamedTuple, Optional, Tuple

from ...mail import address, dates, headers
from ...mail.conversations import BaseSubject, base_subject, identities
from ...mail.decoding import to_text
from ...text.collation import fold

#: The fields that are read.
FIELDS = frozenset((b"date", b"subject", b"from", b"to", b"cc", b"message-id", b"in-reply-to",
                    b"references"))
LONGEST = 256  # only so many characters of a name, an address or a base subject are compared
MOST_REFERENCES = 100  # of a message; the last ones are used

_BETWEEN = "\x1f"


class SortKeys(NamedTuple):
    """`sent` is in seconds since 1970, None if the Date field is invalid. `identity` is None if the
    message has no valid Message-ID; it and `references` are digests."""
    sent: Optional[int]
    subject: BaseSubject
    sender: str  # FROM, TO, CC: the mailbox of the first address
    to: str
    cc: str
    display_from: str
    display_to: str
    identity: Optional[str]
    references: Tuple[str, ...]


def read(header):
    """Read the keys from a message's header, or from its FIELDS alone."""
    found = headers.collect(header, FIELDS)

    def last(name):
        return found[name][-1] if name in found else b""

    moment = dates.parse_header_date(last(b"date")) if b"date" in found else None
    sender, to, cc = (_first_address(last(name)) for name in (b"from", b"to", b"cc"))
    subject = base_subject(headers.decode(last(b"subject")))
    known = identities(last(b"message-id"))
    references = identities(last(b"references")) or identities(last(b"in-reply-to"))[:1]
    return SortKeys(
        None if moment is None else moment.epoch,
        BaseSubject(subject.text[:LONGEST], subject.reply),
        _mailbox(sender), _mailbox(to), _mailbox(cc), _display(sender), _display(to),
        _digest(known[0]) if known else None, tuple(map(_digest, references[-MOST_REFERENCES:])))


def to_bytes(keys):
    """The cached form: one line for each key."""
    return "\n".join((
        "" if keys.sent is None else str(keys.sent), "R" if keys.subject.reply else "",
        keys.subject.text, keys.sender, keys.to, keys.cc, keys.display_from, keys.display_to,
        keys.identity or "", _BETWEEN.join(keys.references))).encode("utf-8", "replace")


def from_bytes(data):
    """The cached form -> SortKeys."""
    sent, reply, subject, sender, to, cc, display_from, display_to, identity, references = (
        data.decode("utf-8").split("\n"))
    return SortKeys(int(sent) if sent else None, BaseSubject(subject, bool(reply)), sender, to, cc,
                    display_from, display_to, identity or None,
                    tuple(references.split(_BETWEEN)) if references else ())


#: Criterion -> the number of its line in the cached form.
_COLUMNS = {"SUBJECT": 2, "FROM": 3, "TO": 4, "CC": 5, "DISPLAYFROM": 6, "DISPLAYTO": 7}


def column(criterion, kept):
    """The values of one criterion in a list of cached keys, as bytes. They sort like the texts,
    because UTF-8 preserves the order of characters."""
    line = _COLUMNS[criterion]
    return [data.split(b"\n", line + 1)[line] for data in kept]


def sent(data, arrival):
    """The sent date of cached keys in epoch seconds; `arrival` if it is invalid (RFC 5256 2.2)."""
    date = data[:data.index(b"\n")]
    return int(date) if date else arrival


def _first_address(value):
    """The first entry of an address field as ENVELOPE has it, or None."""
    entries = address.parse_address_list(value)
    return entries[0] if entries else None


def _mailbox(entry):
    """addr-mailbox (RFC 3501 7.4.2): the local part, or the name of a group."""
    if entry is None:
        return ""
    return _folded(to_text(entry.name if isinstance(entry, address.Group) else entry.local))


def _display(entry):
    """RFC 5957 section 3: the name, or the address if there is no name."""
    if entry is None:
        return ""
    name = headers.decode(entry.name) if entry.name else ""
    if name or isinstance(entry, address.Group):
        return _folded(name)
    return _folded("%s@%s" % (to_text(entry.local), to_text(entry.domain)))


def _folded(text):
    # Cut again: folding may turn one character into 18.
    return " ".join(fold(text[:LONGEST]).split())[:LONGEST]


def _digest(identity):
    """A digest of a Message-ID: 64 bits are small and suffice to link messages."""
    return hashlib.sha256(identity).hexdigest()[:16]
