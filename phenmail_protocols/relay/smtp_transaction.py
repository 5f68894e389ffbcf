"""One mail transaction: MAIL, RCPT for each recipient, DATA, and the message.

If the server offers PIPELINING, the whole envelope goes out in one write, and a small message with
its final dot in another. smtplib cannot do this: its `mail` and `rcpt` wait for each reply, and
its `data` copies the whole message into memory.

1. Each recipient gets exactly one Reply.
2. It is a success only if RCPT was accepted and the reply to the final dot begins with 2xx. If
   that reply is cut off, it still counts: sending again would make a duplicate.
3. If our file cannot be read, the final dot is not sent, so the server drops the message.
4. Afterwards the connection is closed, or ready for the next MAIL.

RFC 5321 3.3, 4.1.1.2 and 4.1.1.3, RFC 2920 (PIPELINING), RFC 1870 (SIZE), RFC 6152 (8BITMIME),
RFC 6531 (SMTPUTF8), RFC 3461 4 and RFC 6533 (DSN).
"""
import re
from itertools import chain
from typing import NamedTuple, Optional, Tuple

from ..mail.address import Address, AddressError, ascii_domain
from ..mail.reply import Reply
from ..net.dots import stuff
from .smtp_replies import reply_of
from .smtp_wire import Lost, temporary

# Commands in one write. With more, both sides could block: the server stops reading while nobody
# reads its replies (RFC 2920 3.1).
_BATCH = 100
_PIECE = 128 * 1024  # bytes of the message per read; a message up to this size goes in one write
_NOT_XTEXT = re.compile(rb"[^\x21-\x2a\x2c-\x3c\x3e-\x7e]")
# Either a character that already is \x{HEX}, which stays, or one that has to become it.
_UNITEXT = re.compile(r"(\\x\{[0-9A-F]{2,6}\})|[^\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e]")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_LONGEST_ENVID, _LONGEST_ORCPT = 100, 500  # as written (RFC 3461 4.4 and 4.2)


class Unsendable(ValueError):
    """An address that cannot be sent to this server; str() says why."""


class Extensions(NamedTuple):
    """The service extensions of an EHLO reply.

    `size`: the largest message in bytes, 0 for no limit, None if SIZE is not offered; `auth`: names
    of mechanisms in upper case.
    """
    pipelining: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    dsn: bool = False
    starttls: bool = False
    size: Optional[int] = None
    auth: Tuple[str, ...] = ()


def read_extensions(features):
    """smtplib's `esmtp_features` -> Extensions. A size that is not a number counts as no limit."""
    size = features.get("size")
    if size is not None:
        size = int(size) if size.isdecimal() and len(size) < 19 else 0
    offered = ["pipelining", "8bitmime", "smtputf8", "dsn", "starttls"]
    return Extensions(*[name in features for name in offered], size=size,
                      auth=tuple(features.get("auth", "").upper().split()))


class Transaction:
    """Sends one message (queue.model.Message) over a smtp_wire.Wire. Use it once.

    `host` names the server in replies.
    """

    __slots__ = ("_wire", "_host", "_extensions", "_deadlines", "_message")

    def __init__(self, wire, host, extensions, deadlines, message):
        self._wire = wire
        self._host = host
        self._extensions = extensions
        self._deadlines = deadlines
        self._message = message

    def run(self, recipients, body):
        """-> a list with the Reply for each of `recipients`; `body`: the message's file.

        Raises Lost, with the connection closed, if not even MAIL was answered: nothing was tried.
        """
        replies = [None] * len(recipients)
        lines, asked = self._envelope(recipients, replies)
        if not asked:
            return replies
        answers = []
        try:
            final = self._exchange(lines, answers, body)
        except Lost as lost:
            self._wire.close()
            if not answers:
                raise
            final = lost.reply
        except OSError as error:  # of our file
            self._wire.close()
            final = temporary("4.3.0", "cannot read the queued message: %s" % error)
        self._assign(answers, asked, final, replies)
        return replies

    def _envelope(self, recipients, replies):
        """-> (the lines of MAIL, RCPT …, DATA; for each RCPT its recipient's index).

        Recipients whose address cannot be sent get their Reply here.
        """
        smtputf8 = self._message.smtputf8 and self._extensions.smtputf8
        lines, asked = [], []
        try:
            lines.append(mail(self._message, self._extensions))
        except Unsendable as error:
            replies[:] = [Reply(553, "5.6.7", str(error))] * len(recipients)
            return lines, asked
        for index, recipient in enumerate(recipients):
            try:
                lines.append(rcpt(recipient, self._extensions, smtputf8))
                asked.append(index)
            except Unsendable as error:
                replies[index] = Reply(553, "5.6.7", str(error))
        lines.append(b"DATA\r\n")
        return lines, asked

    def _exchange(self, lines, answers, body):
        """Send everything -> the Reply for the recipients that were accepted by RCPT.

        `answers` gets the replies to `lines`. Raises Lost, OSError (of the file).
        """
        self._send_envelope(lines, answers)
        is_accepted = any(answer.code < 300 for answer in answers[1:len(lines) - 1])
        answer = answers[-1] if len(answers) == len(lines) else None
        if answer is not None and answer.code == 354:
            if is_accepted and answers[0].code < 300:
                return self._send_message(body)
            # The server expects a message though it accepted no recipient (RFC 2920 3.1). It
            # refuses an empty one, or discards it.
            self._wire.send(b".\r\n", self._deadlines.piece)
            self._hear(self._deadlines.end)
        elif answers[0].code < 300:
            self._reset()
        return None if answer is None else reply_of(answer, self._host)

    def _send_envelope(self, lines, answers):
        """Send `lines` in batches, until it makes no sense to go on, and read the replies."""
        last = len(lines) - 1
        step = _BATCH if self._extensions.pipelining else 1
        for start in range(0, len(lines), step):
            if start and (answers[0].code >= 300 or start == last and all(
                    answer.code >= 300 for answer in answers[1:])):
                return
            batch = lines[start:start + step]
            self._wire.send(b"".join(batch), self._deadlines.command)
            for position in range(start, start + len(batch)):
                answers.append(self._hear(self._deadlines.data, is_data=True) if position == last
                               else self._hear(self._deadlines.command))

    def _hear(self, seconds, is_data=False):
        """The next reply: 4xx, 5xx, and 2xx or, to DATA, 354.

        Raises Lost for any other, and for 421: the server then closes (RFC 5321 3.8).
        """
        answer = self._wire.read_reply(seconds)
        if answer.code == 421:
            raise Lost(reply_of(answer, self._host))
        if answer.code >= 400 or (answer.code == 354 if is_data else answer.code < 300):
            return answer
        raise Lost(temporary("4.5.0", "unexpected reply %d from %s" % (answer.code, self._host)))

    def _send_message(self, body):
        """Send the message and its final dot -> the Reply to it. Raises Lost, OSError (file)."""
        body.seek(0)
        first = body.read(_PIECE)
        pieces = stuff(chain((self._message.head, first), iter(lambda: body.read(_PIECE), b"")))
        if len(first) < _PIECE:
            pieces = (b"".join(pieces),)
        try:
            for piece in pieces:
                self._wire.send(piece, self._deadlines.piece)
        except Lost:
            answer = self._wire.last_reply()
            if answer is not None and answer.code >= 400:
                self._wire.close()
                return reply_of(answer, self._host)
            raise
        try:
            return reply_of(self._hear(self._deadlines.end), self._host)
        except Lost as lost:
            if lost.reply.code == 421:
                raise
            begun = self._wire.unfinished()
            if begun is not None and begun.code < 300:
                self._wire.close()
                return reply_of(begun, self._host)
            raise Lost(lost.reply._replace(
                text="the whole message was sent, and may have arrived, but " + lost.reply.text))

    def _reset(self):
        """RSET, so that the next MAIL does not meet an open transaction."""
        try:
            self._wire.send(b"RSET\r\n", self._deadlines.command)
            if self._hear(self._deadlines.command).code >= 400:
                self._wire.close()
        except Lost:
            self._wire.close()

    def _assign(self, answers, asked, final, replies):
        """Fill in `replies`: a refused MAIL holds for all recipients, a refused RCPT for its own,
        and `final` for the others."""
        refusal = answers[0] if answers[0].code >= 300 else None
        for position, index in enumerate(asked, 1):
            answer = refusal or (answers[position] if position < len(answers) else None)
            if answer is None or answer.code < 300:
                replies[index] = final
                continue
            reply = reply_of(answer, self._host)
            if refusal is None and (reply.code, reply.enhanced) == (552, "5.5.3"):
                # A server that limits recipients should say 452, but some say 552 (RFC 5321
                # 4.5.3.1.10).
                reply = reply._replace(code=452, enhanced="4.5.3")
            replies[index] = reply


def mail(message, extensions):
    """MAIL for a queue.model.Message. Raises Unsendable."""
    smtputf8 = message.smtputf8 and extensions.smtputf8
    path = b"" if message.sender is None else _path(message.sender, smtputf8)
    words = [b"MAIL FROM:<%s>" % path]
    if extensions.size is not None and message.size:
        words.append(b"SIZE=%d" % message.size)
    if extensions.eight_bit and message.eight_bit:
        words.append(b"BODY=8BITMIME")
    if smtputf8:
        words.append(b"SMTPUTF8")
    if extensions.dsn:
        if message.ret:
            words.append(b"RET=" + message.ret.encode("ascii"))
        envid = xtext(message.envid) if message.envid else b""
        if 0 < len(envid) <= _LONGEST_ENVID:
            words.append(b"ENVID=" + envid)
    return _line(words)


def rcpt(recipient, extensions, smtputf8):
    """RCPT for a queue.model.Recipient; `smtputf8`: MAIL has that. Raises Unsendable."""
    words = [b"RCPT TO:<%s>" % _path(recipient.address, smtputf8)]
    if extensions.dsn:
        if recipient.notify:
            words.append(b"NOTIFY=" + ",".join(recipient.notify).encode("ascii"))
        original = _original(recipient.orcpt) if recipient.orcpt else b""
        if 0 < len(original) <= _LONGEST_ORCPT:
            words.append(b"ORCPT=" + original)
    return _line(words)


def _line(words):
    line = b" ".join(words)
    if _CONTROL.search(line):
        raise Unsendable("an address or parameter contains a control character")
    return line + b"\r\n"


def _path(address, smtputf8):
    """An address as written in the angle brackets; without SMTPUTF8 its domain is in A-labels."""
    try:
        return str(address).encode("ascii")
    except UnicodeEncodeError:
        if smtputf8:
            return str(address).encode("utf-8")
    try:
        return str(Address(address.local, ascii_domain(address.domain))).encode("ascii")
    except (AddressError, UnicodeEncodeError):
        raise Unsendable("%s is not ASCII, and the server does not support internationalized "
                         "addresses (SMTPUTF8)" % (address,))


def xtext(text):
    """RFC 3461 4: bytes of UTF-8 that are not graphic ASCII, "+" and "=" become +XX."""
    return _NOT_XTEXT.sub(lambda found: b"+%02X" % ord(found.group()), text.encode("utf-8"))


def _original(orcpt):
    """type;address as the value of ORCPT, or b"" if it cannot be written.

    A UTF-8 address is written in the form that needs no SMTPUTF8 (RFC 6533 3, utf-8-addr-xtext).
    """
    kind, semicolon, address = orcpt.partition(";")
    try:
        start = (kind + semicolon).encode("ascii")
    except UnicodeEncodeError:
        return b""
    if kind.lower() != "utf-8":
        return start + xtext(address)
    return start + _UNITEXT.sub(
        lambda found: found.group(1) or "\\x{%02X}" % ord(found.group()), address).encode("ascii")
