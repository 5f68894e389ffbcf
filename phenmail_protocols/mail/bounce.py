"""Delivery status notifications: bounces, and notices of delay or success, as multipart/report.

Values in, wire octets out; no queue, no settings, no clock. Replies, addresses and the message
itself come from strangers, so every field of theirs goes through `mail.writing`.

RFC 3464 (delivery-status), RFC 3461 section 6 (what is returned), RFC 6522 (multipart/report),
RFC 6533 (the forms with UTF-8), RFC 3463 (status codes), RFC 3834 (Auto-Submitted), RFC 5322
section 3.6.4 (References).
"""
import re
from typing import NamedTuple, Optional

from . import dates, headers
from .address import Address, AddressError, ascii_domain
from .decoding import to_text
from .writing import (
    embedded,
    encoded_words,
    field,
    fits_in_7_bits,
    is_ascii,
    printable,
    quoted_printable,
    text_part,
)

FAILED, DELAYED, RELAYED = "failed", "delayed", "relayed"
DELIVERED, EXPANDED = "delivered", "expanded"

_MESSAGE_ID = re.compile(rb"<[!#-'*+\-./0-9=?A-Z^_`a-z{|}~]{1,200}"
                         rb"@[!#-'*+\-./0-9=?A-Z^_`a-z{|}~\[\]:]{1,200}>")
_MOST_REFERENCES = 20
_NOT_IN_A_NAME = re.compile("[^0-9A-Za-z._-]+")
_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_TYPED = re.compile(r"[A-Za-z0-9-]+;[^;]")


class Fate(NamedTuple):
    """What happened to one recipient.

    `status`: as "5.1.1" (RFC 3463). `said`: the last reply with its codes, one line. `host`: the
    server that gave it, "" for this one. `orcpt`: as in mail.envelope.Recipient. `is_verbatim`:
    `said` is exactly what the host sent. Moments are epoch seconds or None.
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

    `content`: its octets in wire form; only the header unless `whole`. `arrived`: epoch seconds.
    `envid`: its ENVID, decoded. `smtputf8`: its header or an address needs RFC 6531.
    """
    content: bytes
    whole: bool
    arrived: float
    envid: Optional[str] = None
    smtputf8: bool = False


class Cover(NamedTuple):
    """What a notice itself is written with.

    `to`: who reads it. `host`: this server's name (A-labels). `postmaster`: the notice's author.
    `identity`: the left half of its Message-ID. `boundary`: 1 to 60 unpredictable letters and
    digits. `subject`, `warning`: the configured texts for a failure, or None.
    """
    to: Address
    host: str
    postmaster: Address
    identity: str
    boundary: str
    subject: Optional[str] = None
    warning: Optional[str] = None


class Notice(NamedTuple):
    """A finished notice: its wire octets as a tuple of chunks, and what MAIL FROM must declare."""
    chunks: tuple
    eight_bit: bool
    smtputf8: bool


def build(kind, fates, original, cover, now, to_postmaster=False):
    """A notice of one kind (FAILED, DELAYED, ...) about recipients of one message -> Notice.

    `fates`: Fate values; `now`: epoch seconds. `to_postmaster`: the postmaster reads it, because
    the message's sender cannot be notified. Send it from the null sender (RFC 3464 section 2).
    """
    zone = dates.local_zone(int(now))

    def date(epoch):
        return dates.format_header(int(epoch), zone)

    header = headers.split_header(original.content)[0]
    if cover.warning and kind == FAILED and not to_postmaster:
        text = _filled_in(cover.warning, _reason(kind, fates, date), header)
    else:
        text = _built_in(kind, fates, header, original.whole, cover, date, to_postmaster)
    boundary = cover.boundary.encode("ascii")
    chunks = []
    fields, text = text_part(text)
    parts = ((fields + b"\r\n", text), _status_part(kind, fates, original, cover.host, date),
             _returned_part(original, header))
    for part in parts:
        chunks.append(b"\r\n--%s\r\n" % boundary)
        chunks.extend(part)
    chunks.append(b"\r\n--%s--\r\n" % boundary)
    body_is_ascii = all([is_ascii(chunk) for chunk in chunks])
    own_header = _header(kind, header, cover, date(now), to_postmaster, body_is_ascii)
    smtputf8 = not is_ascii(own_header)
    return Notice((own_header,) + tuple(chunks), smtputf8 or not body_is_ascii, smtputf8)


def _header(kind, original_header, cover, date, to_postmaster, body_is_ascii):
    if cover.subject and kind == FAILED and not to_postmaster:
        subject = cover.subject
    else:
        subject = "Notice not delivered" if to_postmaster else _SUBJECTS[kind]
        about = _original_subject(original_header)
        subject = "%s: %s" % (subject, about) if about else subject
    identity = _NOT_IN_A_NAME.sub("_", cover.identity).strip(".") or "notice"
    return b"".join([
        field("From", "Mail Delivery System <%s>" % str(cover.postmaster), utf8=True),
        field("To", "<%s>" % str(plain(cover.to)), utf8=True),
        field("Subject", encoded_words(subject)),
        field("Date", date),
        field("Message-ID", "<%s@%s>" % (identity, cover.host)),
        references(original_header),
        field("Auto-Submitted", "auto-replied"),
        field("MIME-Version", "1.0"),
        field("Content-Type",
              'multipart/report; report-type=delivery-status; boundary="%s"' % cover.boundary),
        b"" if body_is_ascii else field("Content-Transfer-Encoding", "8bit"),
        b"\r\n", b"This is a delivery status notification in MIME format.\r\n",
    ])


def references(header):
    """A message's header -> In-Reply-To and References of an answer to it (bytes), b"" if the
    message has no usable Message-ID."""
    found = headers.collect(header, frozenset((b"message-id", b"references")))
    name = _MESSAGE_ID.search(found.get(b"message-id", [b""])[0])
    if name is None:
        return b""
    name = name.group().decode("ascii")
    chain = [each.decode("ascii") for value in found.get(b"references", [])
             for each in _MESSAGE_ID.findall(value)]
    chain = [each for each in chain[-_MOST_REFERENCES:] if each != name]
    return field("In-Reply-To", name) + field("References", " ".join(chain + [name]))


def plain(address):
    """An Address -> the same in US-ASCII if it has such a form, else unchanged."""
    if is_ascii(address.local.encode("utf-8", "replace")):
        try:
            return address._replace(domain=ascii_domain(address.domain))
        except AddressError:
            pass
    return address


# The parts. Each is a tuple of chunks: the part's header, then its body.


def _raw_part(media_type, data):
    """Octets as they are, declared as 8bit if they need it."""
    encoding = b"" if is_ascii(data) else b"Content-Transfer-Encoding: 8bit\r\n"
    return b"Content-Type: %s\r\n%s\r\n" % (media_type, encoding), data


def _status_part(kind, fates, original, host, date):
    """RFC 3464 section 2.1: fields about the message, then a block of fields for each recipient.
    RFC 6533 section 4 is the same in UTF-8."""
    utf8 = original.smtputf8
    data = b"".join([
        field("Original-Envelope-Id", original.envid, utf8) if original.envid else b"",
        field("Reporting-MTA", "dns; %s" % host), field("Arrival-Date", date(original.arrived))]
        + [b"\r\n" + _recipient_fields(kind, fate, utf8, date) for fate in fates])
    return _raw_part(b"message/global-delivery-status" if utf8 else b"message/delivery-status",
                     data)


def _recipient_fields(kind, fate, utf8, date):
    """RFC 3464 section 2.3, in its order."""
    status = fate.status
    if not _STATUS.fullmatch(status):
        status = {FAILED: "5.0.0", DELAYED: "4.0.0"}.get(kind, "2.0.0")
    lines = []
    if fate.orcpt and _TYPED.match(fate.orcpt):
        lines.append(field("Original-Recipient", _original_recipient(fate.orcpt, utf8), utf8))
    lines += [field("Final-Recipient", _final_recipient(fate.address, utf8), utf8),
              field("Action", kind), field("Status", status)]
    if fate.host:
        lines.append(field("Remote-MTA", "dns; %s" % fate.host))
    if fate.said:
        # A text that no server sent has a type of our own: names that begin with X- are free (RFC
        # 3464 section 2.1.2).
        code_type = "smtp" if fate.host and fate.is_verbatim else "X-phenmail"
        lines.append(field("Diagnostic-Code", "%s; %s" % (code_type, fate.said), utf8))
    if fate.last_attempt:
        lines.append(field("Last-Attempt-Date", date(fate.last_attempt)))
    if fate.retried_until and kind == DELAYED:
        lines.append(field("Will-Retry-Until", date(fate.retried_until)))
    return b"".join(lines)


def _final_recipient(address, utf8):
    text = str(plain(address))
    if is_ascii(text.encode("utf-8", "replace")):
        return "rfc822; " + text
    return "utf-8; " + (text if utf8 else embedded(text.replace("\\", "\\x{5C}")))


def _original_recipient(orcpt, utf8):
    """`type;address` as the sender gave it; other than US-ASCII has the type utf-8 (RFC 6533)."""
    kind, _, text = orcpt.partition(";")
    if is_ascii(text.encode("utf-8", "replace")):
        return "%s; %s" % (kind, text)
    return "utf-8; " + (text if utf8 else embedded(text))


def _returned_part(original, header):
    """The message or its header: RFC 6522 section 4, RFC 6533 sections 5 and 6."""
    if original.whole:
        return _raw_part(b"message/global" if original.smtputf8 else b"message/rfc822",
                         original.content)
    if original.smtputf8:
        return _raw_part(b"message/global-headers", header)
    if fits_in_7_bits(header):
        return b"Content-Type: text/rfc822-headers\r\n\r\n", header
    return (b"Content-Type: text/rfc822-headers\r\n"
            b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"), quoted_printable(header)


# The text for people: plain English in short lines. What other servers and the message say is
# shown as their words.

_WIDTH = 76
_SUBJECT_LENGTH = 150
_HEADER_LINES = 200
_PLACES = re.compile(r"\{(reason|headers)\}")

_SUBJECTS = {FAILED: "Not delivered", DELAYED: "Delayed", RELAYED: "Relayed",
             DELIVERED: "Delivered", EXPANDED: "Expanded"}

_HAPPENED = {
    FAILED: "Your message could not be delivered. This server has given up for:",
    DELAYED: "Your message is delayed. It could not be delivered yet to:",
    RELAYED: "As you requested: your message was relayed to a server that sends no delivery "
             "notices, for:",
    DELIVERED: "As you requested: your message was delivered to:",
    EXPANDED: "As you requested: your message was delivered, and forwarded to several others who "
              "are not named here, by:",
}
_DOUBLE_BOUNCE = (
    "A message could not be delivered, and its sender cannot be notified: the sender's address is "
    "empty (the message is then probably a notice like this one) or does not accept mail. You "
    "receive this notice as the postmaster. This server has given up for:")
_DELAYED_HELP = ("You need not do anything. This server keeps trying, and will notify you if it "
                 "gives up.")
_GENERAL_HELP = ("If the other server's reply does not help you, reach the recipient in another "
                 "way, or show this notice to {postmaster}.")
_POSTMASTER_HELP = (
    "If you get many such notices, check what is sent from here: a program may use a wrong sender "
    "address, or a login may be stolen. A single notice needs no action.")

_TOO_LARGE = ("The message is larger than the recipient accepts. Send less at a time, or share "
              "large files in another way.")
# What the reader can do, by a status code without its class, or by its subject alone (RFC 3463
# section 3).
_HELP = {
    "1.1": "Check the part before the @ for typing errors: the other server does not know this "
           "name.",
    "1.2": "Check the part after the @ for typing errors: there is no such mail domain.",
    "1.10": "Check the part after the @ for typing errors: this domain accepts no mail at all.",
    "2.1": "The address is disabled at present. Reach the recipient in another way.",
    "2.2": "The mailbox is full. Try again later, or reach the recipient in another way.",
    "2.3": _TOO_LARGE,
    "3.4": "The message is larger than the other server accepts. Send less at a time, or share "
           "large files in another way.",
    "4": "The other server could not be reached, or did not finish. If the address is right, send "
         "the message again later.",
    "6.7": "This address needs servers that support letters of all languages in addresses, and one "
           "on the way does not. Ask the recipient for an address in plain letters.",
    "7": "The other server's policy refuses the message. Only its administrator knows the reason; "
         "the recipient can ask them.",
}
# The same if this server itself refused, or a program that it gives mail to.
_OWN_HELP = {
    "3.4": _TOO_LARGE,
    "7": "A rule of the recipient, or of this server, refuses the message. The recipient may know "
         "the reason.",
}


def _original_subject(header):
    """A message's subject for people: one line, shortened if it is very long; "" for none."""
    text = printable(headers.decode(headers.first(header, b"subject") or b""))
    text = " ".join(text.split())
    return text if len(text) <= _SUBJECT_LENGTH else text[:_SUBJECT_LENGTH].rstrip() + "..."


def _reason(kind, fates, date):
    """The recipients and the replies for them -> text without a final line end.

    Recipients with the same reply are listed together.
    """
    together = {}
    for fate in fates:
        name = "  <%s>" % printable(fate.address.shown())
        together.setdefault(tuple(_said(kind, fate, date)), []).append(name)
    return "\n\n".join(["\n".join(names + list(said)) for said, names in together.items()])


def _said(kind, fate, date):
    """The lines below a recipient's name."""
    lines = []
    if fate.said:
        who = "%s said" % fate.host if fate.host else "This server found"
        lines.append("%s: %s" % (who, fate.said))
    if kind == FAILED and fate.status.startswith("4") and fate.last_attempt:
        lines.append("The last attempt was on %s." % date(fate.last_attempt))
    if kind == DELAYED and fate.retried_until:
        lines.append("This server will retry until %s." % date(fate.retried_until))
    return [wrapped for line in lines for wrapped in _wrap(printable(line), "      ")]


def _built_in(kind, fates, header, whole, cover, date, to_postmaster):
    """The text of a notice for which none is configured -> text with "\\n" line ends."""
    attached = "The message" if whole else "The header of the message"
    # The subject is indented, so that no line of a stranger's begins where ours do.
    paragraphs = [
        _wrap("This is the mail server %s." % cover.host),
        _wrap(_DOUBLE_BOUNCE if to_postmaster else _HAPPENED[kind]),
        [_reason(kind, fates, date)],
        *[_wrap(each) for each in _advice(kind, fates, str(cover.postmaster), to_postmaster)],
        _wrap("%s is attached. Its subject:" % attached)
        + _wrap(_original_subject(header) or "(none)", "      ")]
    return "\n\n".join(["\n".join(lines) for lines in paragraphs]) + "\n"


def _advice(kind, fates, postmaster, to_postmaster):
    if to_postmaster:
        return [_POSTMASTER_HELP]
    if kind == DELAYED:
        return [_DELAYED_HELP]
    if kind != FAILED:
        return []
    found = [_help(fate.status.partition(".")[2], fate.host) for fate in fates]
    found = list(dict.fromkeys(filter(None, found)))
    return found + [_GENERAL_HELP.replace("{postmaster}", postmaster)]


def _help(detail, host):
    """What to do about a status code without its class, or None; `host`: "" for this server."""
    for known in (detail, detail.partition(".")[0]):
        text = not host and _OWN_HELP.get(known) or _HELP.get(known)
        if text:
            return text
    return None


def _filled_in(template, reason, header):
    """The configured text with {reason} and {headers} filled in, once -> text with "\\n" line ends.

    Other braces stay.
    """
    def fill(found):
        return reason if found.group(1) == "reason" else _header_text(header)
    return _PLACES.sub(fill, "\n".join(template.splitlines())) + "\n"


def _header_text(header):
    """A header for people: as it was sent, but only printable characters and the first lines."""
    lines = header.rstrip(b"\r\n").split(b"\n", _HEADER_LINES)[:_HEADER_LINES]
    return "\n".join([printable(to_text(line.rstrip(b"\r"))).rstrip() for line in lines])


def _wrap(text, indent=""):
    import textwrap
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent,
                         break_long_words=False, break_on_hyphens=False)
