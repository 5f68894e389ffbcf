"""The built-in plugin `mail`: answers each message with an acknowledgment that contains it.

RFC 3834: the answer has no envelope sender and says that a program wrote it, and messages from
programs are not answered. Of a large message only the header is returned, because a forged sender
did not ask for it.
"""
import logging
import os

from ..delivery.sending import MailRefused
from ..mail import dates, headers
from ..mail.address import Address
from ..mail.automatic import correspondent, subject
from ..mail.bounce import plain, references
from ..mail.writing import encoded_words, field, fits_in_7_bits, is_ascii, quoted_printable

_LARGEST_ECHO = 256 * 1024
_TEXT = """\
Your message to %s arrived here on
%s.

%s follows unchanged. A program wrote this
acknowledgment; nobody reads replies to it.
"""

log = logging.getLogger("phenmail.delivery")


class Echo:
    """Answers through the MailServer that it was started with. `origin` limits the rate."""

    concurrent = True

    def __init__(self):
        self._server = None

    def start(self, server):
        """`server`: app.MailServer."""
        self._server = server

    def mail_received(self, message, origin, parameters):
        """The parameters are not used."""
        obstacle = _is_own(origin) or origin.obstacle()
        if obstacle:
            log.info("%s: not echoed: %s", origin.identity, obstacle)
            return
        try:
            self._server.send_mail("", origin.sender, acknowledgment(message.as_bytes(), origin))
        except MailRefused as error:
            if any([outcome.reply.temporary for outcome in error.outcomes]):
                raise  # the queue retries
            log.info("%s: not echoed: %s", origin.identity, error)


def _is_own(origin):
    """Why there is no answer if an address wrote to itself, under any tag; else ""."""
    if origin.sender and correspondent(Address.parse(origin.sender)) == correspondent(
            Address.parse(origin.recipient)):
        return "its sender is the address itself"
    return ""


def acknowledgment(content, origin):
    """The answer to a message -> bytes.

    `content`: the message with LF line ends; `origin`: email_message.Origin.
    """
    header = headers.split_header(content)[0]
    is_whole = len(content) <= _LARGEST_ECHO
    boundary = os.urandom(15).hex()
    moment = int(origin.arrived)
    date = dates.format_header(moment, dates.local_zone(moment))
    text = _TEXT % (origin.recipient, date, "It" if is_whole else "Its header")
    parts = (_text(text.encode("utf-8", "replace")), _original(content, header, is_whole))
    body = b"".join([b"\n--%s\n%s" % (boundary.encode("ascii"), part) for part in parts])
    return b"".join([
        field("From", "<%s>" % _address(origin.recipient), utf8=True),
        field("To", "<%s>" % _address(origin.sender), utf8=True),
        field("Subject", encoded_words(subject(header))),
        references(header),
        field("Auto-Submitted", "auto-replied"),
        field("X-Auto-Response-Suppress", "All"),
        field("MIME-Version", "1.0"),
        field("Content-Type", 'multipart/mixed; boundary="%s"' % boundary),
        b"" if is_ascii(body) else field("Content-Transfer-Encoding", "8bit"),
        b"\n", body, b"\n--%s--\n" % boundary.encode("ascii")])


def _address(text):
    return str(plain(Address.parse(text)))


def _text(text):
    if is_ascii(text):
        return b"Content-Type: text/plain; charset=us-ascii\n\n" + text
    return (b"Content-Type: text/plain; charset=utf-8\n"
            b"Content-Transfer-Encoding: quoted-printable\n\n" + quoted_printable(text))


def _original(content, header, is_whole):
    """The message, or its header as text: RFC 6522 4, RFC 6533 6."""
    if not is_whole:
        if fits_in_7_bits(header.replace(b"\n", b"\r\n")):
            return b"Content-Type: text/rfc822-headers\n\n" + header
        return (b"Content-Type: text/rfc822-headers\n"
                b"Content-Transfer-Encoding: quoted-printable\n\n" + quoted_printable(header))
    if not is_ascii(header):
        return b"Content-Type: message/global\nContent-Transfer-Encoding: 8bit\n\n" + content
    encoding = b"" if is_ascii(content) else b"Content-Transfer-Encoding: 8bit\n"
    return b"Content-Type: message/rfc822\n" + encoding + b"\n" + content
