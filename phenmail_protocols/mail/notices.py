"""Notices about a message's delivery: multipart/report as mail programs and list servers understand it (DSN).

Pure: values in, wire octets out.  It knows no queue and no settings, and asks no clock.  What it writes comes from strangers
in part (replies, addresses, the message itself), so each field goes through `mail.writing`.

RFC 3464 (delivery-status), RFC 3461 6 (what is returned), RFC 6522 (multipart/report), RFC 6533 (the forms with UTF-8),
RFC 3834 (Auto-Submitted), RFC 5322 3.6.4 (References).
"""
import re
from typing import NamedTuple, Optional

from . import dates, headers, noticetext
from .address import Address, AddressError, ascii_domain
from .writing import embedded, encoded_words, field, fits_in_7_bits, is_ascii, quoted_printable

FAILED, DELAYED, RELAYED, DELIVERED, EXPANDED = "failed", "delayed", "relayed", "delivered", "expanded"

_MESSAGE_ID = re.compile(rb"<[!#-'*+\-./0-9=?A-Z^_`a-z{|}~]{1,200}@[!#-'*+\-./0-9=?A-Z^_`a-z{|}~\[\]:]{1,200}>")
_MOST_REFERENCES = 20
_IN_QUOTED_PRINTABLE = b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
_NOT_IN_A_NAME = re.compile("[^0-9A-Za-z._-]+")
_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_TYPED = re.compile(r"[A-Za-z0-9-]+;[^;]")


class Fate(NamedTuple):
    """What became of one recipient.

    `address`; `orcpt`: as in mail.envelope.Recipient.  `status`: as in "5.1.1" (RFC 3463).  `said`: the last answer with its
    codes, one line; `host`: the server that said it, "" for this one; `is_verbatim`: in these
    words.  Moments are epoch seconds or None.
    """
    address: Address
    status: str
    said: str = ""
    host: str = ""
    orcpt: Optional[str] = None
    last_attempt: Optional[float] = None
    retried_until: Optional[float] = None
    is_verbatim: bool = True


class Original(NamedTuple):
    """The message that a notice is about.

    `content`: its octets in wire form, all of them where `whole`, else its header only.  `arrived`: epoch seconds.
    `envid`: its ENVID, decoded.  `smtputf8`: its header or an address needs RFC 6531.
    """
    content: bytes
    whole: bool
    arrived: float
    envid: Optional[str] = None
    smtputf8: bool = False


class Cover(NamedTuple):
    """What a notice itself is written with.

    `to`: its reader.  `host`: the name of this server (A-labels).  `postmaster`: whom it comes from, an address.
    `identity`: the left half of its Message-ID.  `boundary`: 1 to 60 letters and digits that nobody can foresee.
    `subject`, `warning`: the configuration's words for a failure, or None.
    """
    to: Address
    host: str
    postmaster: Address
    identity: str
    boundary: str
    subject: Optional[str] = None
    warning: Optional[str] = None


class Notice(NamedTuple):
    """A finished notice: its octets in wire form as a tuple of chunks, and what its envelope must say of it."""
    chunks: tuple
    eight_bit: bool
    smtputf8: bool


def build(kind, fates, original, cover, now, to_postmaster=False):
    """A notice of one kind (FAILED, DELAYED, RELAYED, DELIVERED, EXPANDED) about some recipients of one message -> Notice.

    `fates`: Fate values.  `now`: epoch seconds.  `to_postmaster`: its reader is the postmaster, since the sender of the
    message can't be told.  Its envelope's sender has to be the null one (RFC 3464 2).
    """
    zone = dates.local_zone(int(now))

    def date(epoch):
        return dates.format_header(int(epoch), zone)

    header = headers.split_header(original.content)[0]
    parts = (_text_part(_words(kind, fates, header, original.whole, cover, date, to_postmaster)),
             _status_part(kind, fates, original, cover.host, date),
             _returned_part(original, header))
    chunks = []
    for part in parts:
        chunks.append(b"\r\n--%s\r\n" % cover.boundary.encode("ascii"))
        chunks.extend(part)
    chunks.append(b"\r\n--%s--\r\n" % cover.boundary.encode("ascii"))
    body_is_ascii = all([is_ascii(chunk) for chunk in chunks])
    chunks.insert(0, _header(kind, header, cover, date(now), to_postmaster, body_is_ascii))
    return Notice(tuple(chunks), not (body_is_ascii and is_ascii(chunks[0])), not is_ascii(chunks[0]))


def _header(kind, original_header, cover, date, to_postmaster, body_is_ascii):
    subject = cover.subject if cover.subject and kind == FAILED and not to_postmaster else noticetext.subject(
        kind, original_header, to_postmaster)
    lines = [
        field("From", "Mail Delivery System <%s>" % str(cover.postmaster), utf8=True),
        field("To", "<%s>" % str(plain(cover.to)), utf8=True),
        field("Subject", encoded_words(subject)),
        field("Date", date),
        field("Message-ID", "<%s@%s>" % (_NOT_IN_A_NAME.sub("_", cover.identity).strip(".") or "notice", cover.host)),
        references(original_header),
        field("Auto-Submitted", "auto-replied"),
        field("MIME-Version", "1.0"),
        field("Content-Type", 'multipart/report; report-type=delivery-status; boundary="%s"' % cover.boundary),
        b"" if body_is_ascii else field("Content-Transfer-Encoding", "8bit"),
        b"\r\n", b"This is a notice about the delivery of a message, in MIME form.\r\n",
    ]
    return b"".join(lines)


def references(header):
    """The header of a message -> In-Reply-To and References of what answers it (bytes), so that they stand beside each other;
    nothing where the message has no usable name."""
    found = headers.collect(header, frozenset((b"message-id", b"references")))
    name = _MESSAGE_ID.search(found.get(b"message-id", [b""])[0])
    if name is None:
        return b""
    name = name.group().decode("ascii")
    chain = [each.decode("ascii") for value in found.get(b"references", []) for each in _MESSAGE_ID.findall(value)]
    chain = [each for each in chain[-_MOST_REFERENCES:] if each != name]
    return field("In-Reply-To", name) + field("References", " ".join(chain + [name]))


def _words(kind, fates, header, whole, cover, date, to_postmaster):
    if cover.warning and kind == FAILED and not to_postmaster:
        return noticetext.filled_in(cover.warning, noticetext.reason(kind, fates, date), header)
    return noticetext.built_in(kind, fates, header, whole, date, cover.host, str(cover.postmaster), to_postmaster)


def _text_part(text):
    """Plain US-ASCII where that is enough, else UTF-8 that any server can carry."""
    data = text.encode("utf-8", "replace").replace(b"\n", b"\r\n")
    if fits_in_7_bits(data):
        return b"Content-Type: text/plain; charset=us-ascii\r\n\r\n", data
    return b"Content-Type: text/plain; charset=utf-8\r\n" + _IN_QUOTED_PRINTABLE, quoted_printable(data)


def _status_part(kind, fates, original, host, date):
    """RFC 3464 2.1: fields about the message, then a block of fields for each recipient; or RFC 6533 4, the same in UTF-8."""
    blocks = [_message_fields(original, host, date)]
    blocks.extend([b"\r\n" + _recipient_fields(kind, fate, original.smtputf8, date) for fate in fates])
    data = b"".join(blocks)
    media_type = b"message/global-delivery-status" if original.smtputf8 else b"message/delivery-status"
    return b"Content-Type: %s\r\n%s\r\n" % (media_type, b"" if is_ascii(data) else b"Content-Transfer-Encoding: 8bit\r\n"), data


def _message_fields(original, host, date):
    lines = [field("Original-Envelope-Id", original.envid, original.smtputf8) if original.envid else b"",
             field("Reporting-MTA", "dns; %s" % host), field("Arrival-Date", date(original.arrived))]
    return b"".join(lines)


def _recipient_fields(kind, fate, utf8, date):
    """RFC 3464 2.3, in its order."""
    status = fate.status if _STATUS.fullmatch(fate.status) else {FAILED: "5.0.0", DELAYED: "4.0.0"}.get(kind, "2.0.0")
    lines = []
    if fate.orcpt and _TYPED.match(fate.orcpt):
        lines.append(field("Original-Recipient", _original_recipient(fate.orcpt, utf8), utf8))
    lines += [field("Final-Recipient", _final_recipient(fate.address, utf8), utf8),
              field("Action", kind), field("Status", status)]
    if fate.host:
        lines.append(field("Remote-MTA", "dns; %s" % fate.host))
    if fate.said:
        # What no server said has a type of our own (RFC 3464 2.1.2: names that begin with X- are nobody's).
        kind_of_code = "smtp" if fate.host and fate.is_verbatim else "X-phenmail"
        lines.append(field("Diagnostic-Code", "%s; %s" % (kind_of_code, fate.said), utf8))
    if fate.last_attempt:
        lines.append(field("Last-Attempt-Date", date(fate.last_attempt)))
    if fate.retried_until and kind == DELAYED:
        lines.append(field("Will-Retry-Until", date(fate.retried_until)))
    return b"".join(lines)


def plain(address):
    """An Address -> the same in US-ASCII where it has such a form: its domain in A-labels when the local part needs no UTF-8."""
    if is_ascii(address.local.encode("utf-8", "replace")):
        try:
            return address._replace(domain=ascii_domain(address.domain))
        except AddressError:
            pass
    return address


def _final_recipient(address, utf8):
    text = str(plain(address))
    if is_ascii(text.encode("utf-8", "replace")):
        return "rfc822; " + text
    return "utf-8; " + (text if utf8 else embedded(text.replace("\\", "\\x{5C}")))


def _original_recipient(orcpt, utf8):
    """`type;address` as the sender gave it; letters outside US-ASCII have the type utf-8 (RFC 6533 3)."""
    kind, _, text = orcpt.partition(";")
    if is_ascii(text.encode("utf-8", "replace")):
        return "%s; %s" % (kind, text)
    return "utf-8; " + (text if utf8 else embedded(text))


def _returned_part(original, header):
    """The message, or its header: RFC 6522 4, RFC 6533 5 and 6."""
    if original.whole:
        media_type = b"message/global" if original.smtputf8 else b"message/rfc822"
        honest = b"" if is_ascii(original.content) else b"Content-Transfer-Encoding: 8bit\r\n"
        return b"Content-Type: %s\r\n%s\r\n" % (media_type, honest), original.content
    if original.smtputf8:
        honest = b"" if is_ascii(header) else b"Content-Transfer-Encoding: 8bit\r\n"
        return b"Content-Type: message/global-headers\r\n%s\r\n" % honest, header
    if fits_in_7_bits(header):
        return b"Content-Type: text/rfc822-headers\r\n\r\n", header
    return b"Content-Type: text/rfc822-headers\r\n" + _IN_QUOTED_PRINTABLE, quoted_printable(header)
