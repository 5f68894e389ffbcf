"""Trace fields (Received, Return-Path, Delivered-To) and the loops they reveal.

RFC 5321 4.4 and 6.3, RFC 3848 and 6531 4.3 (names of protocols). Pure; knows no store and no
policy.
"""
import re

from ..mail import dates, headers
from ..mail.writing import embedded, is_ascii

# RFC 5321 6.3 says that 100 Received fields show a loop. That many only waste time; 50 is the
# limit of other servers.
MOST_HOPS = 50
_CHUNK = 131072  # octets of a message that are held at a time

_END = b"\r\n\r\n"
_FETCHED = ("IMAP", "POP3")
_UNSAFE = re.compile("[^!-'*-\\[\\]-~]")  # no space, parenthesis, backslash, control


class Origin:
    """Where a message came from; one for all messages of a connection after its greeting.

    `protocol`: "SMTP", "ESMTPSA", "LMTP", … as `protocol_name` says. `helo`: what the
    client calls itself, or "". `peer`: its address as text, "" for a Unix socket.
    `tls`: (version, cipher) or None. `account`: the login's name, or None.
    "" as protocol: this server or the program that embeds it wrote the message. "IMAP", "IMAPS",
    "POP3", "POP3S": it was fetched from the server `helo`, whose address `peer` need not be known.
    """

    __slots__ = ("protocol", "helo", "peer", "tls", "account", "_head", "_by")

    def __init__(self, protocol="", helo="", peer="", tls=None, account=None):
        self.protocol = protocol
        self.helo = helo
        self.peer = peer
        self.tls = tls
        self.account = account
        self._head = None
        self._by = None

    def head(self, by):
        """The part of the Received field that all its messages share -> bytes.

        Rendered once: a connection may bring thousands of messages.
        """
        if self._head is None or self._by != by:
            self._head = self._render(by).encode("utf-8", "replace")
            self._by = by
        return self._head

    def _render(self, by):
        if not self.protocol:
            return "Received: by %s (phenmail) id " % by
        name = _UNSAFE.sub("?", self.helo) or "unknown"
        if self.protocol.startswith(_FETCHED):
            return "Received: from %s\r\n\tby %s (phenmail) with %s id " % (name, by, self.protocol)
        lines = ["Received: from %s (%s)" % (name, literal(self.peer))]
        if self.tls:
            lines.append("\t(using %s with cipher %s)" % tuple(
                _UNSAFE.sub("?", part) for part in self.tls))
        lines.append("\tby %s (phenmail) with %s id " % (by, self.protocol))
        return "\r\n".join(lines)


def protocol_name(base, tls, authenticated, smtputf8=False):
    """The `with` word of RFC 3848 and RFC 6531 4.3; `base` is "SMTP", "ESMTP" or "LMTP"."""
    if base == "SMTP":
        return base
    if smtputf8:
        base = "UTF8LMTP" if base == "LMTP" else "UTF8SMTP"
    return base + ("S" if tls else "") + ("A" if authenticated else "")


def literal(peer):
    """An IP address as text -> address literal (RFC 5321 4.1.3); "" -> "local"."""
    if not peer:
        return "local"
    return "[IPv6:%s]" % peer if ":" in peer else "[%s]" % peer


class Stamp:
    """The current time as text, rendered once a second."""

    def __init__(self, clock):
        """`clock()` gives epoch seconds."""
        self._clock = clock
        self._current = (None, b"")

    def now(self):
        """-> (epoch int, the date-time of RFC 5322 3.3 in the local zone as bytes)."""
        epoch = int(self._clock())
        current = self._current  # a pair, swapped whole: threads share this
        if current[0] != epoch:
            text = dates.format_header(epoch, dates.local_zone(epoch))
            current = self._current = (epoch, text.encode("ascii"))
        return current


def received(origin, by, identity, recipient, date):
    """A whole Received field, CRLF included -> bytes.

    `identity` and `date` are bytes; `recipient` is an Address if the message has only one, else
    None (RFC 5321 7.2: the field must not show one recipient to another). An address that is not
    ASCII is left out, or an ASCII message would need SMTPUTF8 further on.
    """
    if recipient is None or not is_ascii(str(recipient).encode("utf-8", "replace")):
        return b"%s%s; %s\r\n" % (origin.head(by), identity, date)
    return b"%s%s\r\n\tfor <%s>; %s\r\n" % (
        origin.head(by), identity, str(recipient).encode("ascii"), date)


def return_path(sender):
    """The Return-Path field of final delivery; `sender` None is <>.

    A sender that is not ASCII came with SMTPUTF8.
    """
    path = "" if sender is None else str(sender)
    return b"Return-Path: <%s>\r\n" % path.encode("utf-8", "replace")


def delivered_to(address):
    """The Delivered-To field, which reveals a loop over other servers. ASCII, as in `received`."""
    return b"Delivered-To: %s\r\n" % embedded(str(address)).encode("ascii")


def hops(lowered):
    """Received fields in a header block (bytes, lower case, CRLF) -> int."""
    return lowered.count(b"\r\nreceived:") + lowered.startswith(b"received:")


def was_received(lowered, host):
    """Whether a header block (bytes, lower case) has a Received field of this server. `host`: its
    name."""
    return b"by %s (phenmail) " % host.lower().encode("utf-8") in lowered


def delivered_already(lowered, address):
    """Whether a header block (bytes, lower case) says it was delivered to the address before."""
    field = b"\r\n" + delivered_to(address).lower()
    return field in lowered or lowered.startswith(field[2:])


def traced_octets(message, recipient, body):
    """A queued message for a program or plugin -> its octets, a bounded number at a time.

    LF line ends, Return-Path and Delivered-To on top. `body`: a file, at its beginning.
    """
    head = return_path(message.sender) + delivered_to(recipient) + message.head
    yield head.replace(b"\r\n", b"\n")
    half = b""  # of a line's end
    for piece in iter(lambda: body.read(_CHUNK), b""):
        piece = half + piece
        half = b"\r" if piece.endswith(b"\r") else b""
        piece = piece[:len(piece) - len(half)].replace(b"\r\n", b"\n")
        if piece:
            yield piece
    if half:
        yield half


def header_end(data, start):
    """The offset behind the empty line that ends a header block, 0 if it is not there yet.

    `start`: where to begin the search.
    """
    if data[:2] == b"\r\n":
        return 2
    found = data.find(_END, start)
    return 0 if found < 0 else found + len(_END)


def begins_with_field(header):
    """Whether the first line can be a field. A leading "From " line (mbox) counts as one."""
    line = header[:header.find(b"\n") + 1]
    name, colon, _ = line.partition(b":")
    return (not line or line == b"\r\n" or line.startswith(b"From ")
            or (colon and name and b" " not in name.rstrip(b" \t") and name[:1] > b" "))


def without_return_path(header):
    """RFC 5321 4.4: a delivered message has one Return-Path, ours."""
    kept = [field.raw for field in headers.fields(header) if field.name.lower() != b"return-path"]
    return b"".join(kept) + (b"\r\n" if header.endswith(_END) else b"")
