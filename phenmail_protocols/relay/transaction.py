"""One mail transaction on a connection: MAIL, RCPT for each recipient, DATA, the message. RFC 5321 3.3, RFC 2920 (pipelining).

What was said of each recipient comes back as one Reply each. Where the server pipelines, the whole envelope goes out in one
write, and a small message with its final dot in another. Knows how a transaction goes, nothing of greetings, TLS, or where the
message came from.
"""
from itertools import chain

from ..mail.reply import Reply
from ..net.dots import stuff
from .commands import NotSayable, mail, rcpt
from .replies import reply_of
from .wire import Lost, later

# Commands in one write. More could block both sides: the server stops reading while nobody takes its answers (RFC 2920 3.1).
_BATCH = 100
_PIECE = 128 * 1024  # octets of the message that are read at once; up to here it is sent in one write


class Transaction(object):
    """For one message (model.Message) on a wire.Wire; `host` names the server in replies. Use it once."""

    __slots__ = ("_wire", "_host", "_offer", "_deadlines", "_message")

    def __init__(self, wire, host, offer, deadlines, message):
        self._wire = wire
        self._host = host
        self._offer = offer
        self._deadlines = deadlines
        self._message = message

    def run(self, recipients, body):
        """A list with the Reply for each of `recipients`; `body` is the message's file. Leaves the connection closed, or ready
        for the next transaction. Raises Lost where not even MAIL was answered (or with 421): nothing was tried, and the
        connection is closed."""
        replies = [None] * len(recipients)
        lines, asked = self._envelope(recipients, replies)
        if not asked:
            return replies
        heard = []
        try:
            final = self._exchange(lines, heard, body)
        except Lost as lost:
            self._wire.close()
            if not heard:
                raise
            final = lost.reply
        except OSError as error:  # ours, not the connection's: without its final dot the server forgets the message
            self._wire.close()
            final = later("4.3.0", "cannot read the queued message: %s" % error)
        self._judge(heard, asked, final, replies)
        return replies

    def _envelope(self, recipients, replies):
        """(the lines of MAIL, RCPT…, DATA; for each RCPT the recipient's index). Who cannot be named gets the Reply here."""
        smtputf8 = self._message.smtputf8 and self._offer.smtputf8
        lines, asked = [], []
        try:
            lines.append(mail(self._message, self._offer))
        except NotSayable as error:
            replies[:] = [_not_ascii(error)] * len(recipients)
            return lines, asked
        for index, recipient in enumerate(recipients):
            try:
                lines.append(rcpt(recipient, self._offer, smtputf8))
                asked.append(index)
            except NotSayable as error:
                replies[index] = _not_ascii(error)
        lines.append(b"DATA\r\n")
        return lines, asked

    def _exchange(self, lines, heard, body):
        """All of it; `heard` gets the answers to `lines`. Returns the Reply for the recipients that RCPT accepted. Raises Lost,
        OSError (the file)."""
        self._say(lines, heard)
        accepted = any(answer.code < 300 for answer in heard[1:len(lines) - 1])
        answer = heard[-1] if len(heard) == len(lines) else None
        if answer is not None and answer.code == 354:
            if accepted and heard[0].code < 300:
                return self._send_message(body)
            # It waits for a message that nobody is to get (RFC 2920 section 3.1): an empty one is refused, or goes nowhere.
            self._wire.send(b".\r\n", self._deadlines.piece)
            self._hear(self._deadlines.end)
        elif heard[0].code < 300:
            self._reset()
        return None if answer is None else reply_of(answer, self._host)

    def _say(self, lines, heard):
        """Sends the envelope as far as it makes sense and takes the answers."""
        wire, last = self._wire, len(lines) - 1
        step = _BATCH if self._offer.pipelining else 1
        for start in range(0, len(lines), step):
            if start and (heard[0].code >= 300 or start == last and all(answer.code >= 300 for answer in heard[1:])):
                return
            batch = lines[start:start + step]
            wire.send(b"".join(batch), self._deadlines.command)
            for position in range(start, start + len(batch)):
                heard.append(self._hear(self._deadlines.command) if position < last else self._hear_data())

    def _hear(self, seconds):
        """The next answer, which is 2xx, 4xx or 5xx. Raises Lost, with 421 too: the server closes then (RFC 5321 section 3.8)."""
        answer = self._wire.read_reply(seconds)
        if answer.code == 421:
            raise Lost(reply_of(answer, self._host))
        if 300 <= answer.code < 400:
            raise self._out_of_step(answer)
        return answer

    def _hear_data(self):
        answer = self._wire.read_reply(self._deadlines.data)
        if answer.code == 354:
            return answer
        if answer.code == 421:
            raise Lost(reply_of(answer, self._host))
        if answer.code < 400:
            raise self._out_of_step(answer)
        return answer

    def _out_of_step(self, answer):
        return Lost(later("4.5.0", "%s answers with %d where that cannot be" % (self._host, answer.code)))

    def _send_message(self, body):
        """The message with its final dot -> the Reply to it. Raises Lost, OSError (the file)."""
        body.seek(0)
        first = body.read(_PIECE)
        whole = len(first) < _PIECE
        try:
            if whole:
                self._wire.send(b"".join(stuff((self._message.head, first))), self._deadlines.piece)
            else:
                for piece in stuff(chain((self._message.head, first), iter(lambda: body.read(_PIECE), b""))):
                    self._wire.send(piece, self._deadlines.piece)
        except Lost:
            said = self._wire.last_words()
            if said is not None and said.code >= 400:
                self._wire.close()
                return reply_of(said, self._host)
            raise
        try:
            return reply_of(self._hear(self._deadlines.end), self._host)
        except Lost as lost:
            if lost.reply.code == 421:
                raise
            begun = self._wire.unfinished()
            if begun is not None and begun.code < 300:  # it took the message
                self._wire.close()
                return reply_of(begun, self._host)
            raise Lost(lost.reply._replace(text="the whole message was sent, and may have arrived, but " + lost.reply.text))

    def _reset(self):
        """Ends a transaction that came to nothing, so that the next MAIL is not the second one."""
        try:
            self._wire.send(b"RSET\r\n", self._deadlines.command)
            if self._hear(self._deadlines.command).code >= 400:
                self._wire.close()
        except Lost:
            self._wire.close()

    def _judge(self, heard, asked, final, replies):
        """Fills in `replies`: a refused MAIL is everybody's, a refused RCPT its recipient's, the rest share `final`."""
        refused = heard[0] if heard[0].code >= 300 else None
        for position, index in enumerate(asked, 1):
            answer = refused or (heard[position] if position < len(heard) else None)
            if answer is None or answer.code < 300:
                replies[index] = final
            else:
                replies[index] = _usual(reply_of(answer, self._host)) if refused is None else reply_of(answer, self._host)


def _usual(reply):
    """RFC 5321 section 4.5.3.1.10: a server that counts recipients should say 452; what says 552 for that means the same."""
    return reply._replace(code=452, enhanced="4.5.3") if reply.code == 552 and reply.enhanced == "5.5.3" else reply


def _not_ascii(error):
    return Reply(553, "5.6.7", "%s, and the server does not take internationalized addresses (SMTPUTF8)" % error)
