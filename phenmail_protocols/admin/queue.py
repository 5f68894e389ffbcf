"""The word ``queue``: what waits to be sent, for people and as JSON, and what an operator may do with it.

It works through the spool alone, so beside a running server as well as without one: each change takes the message's claim, and is then
announced to who serves the queue.  Knows no terminal: it gives back values and lines of text.
"""
import time
from typing import NamedTuple

from ..mail import dates, headers
from ..mail.reply import Reply
from ..queue import retry as retries
from ..queue.model import DONE, TO, WAITING
from ..queue.spool import Broken, Busy, NoSuchMessage, SpoolError

DROPPED = Reply(550, "5.7.1", "The message was dropped from the queue by the operator of this server")
ALL = "all"

_PATIENCE = 2.0  # seconds to wait for a message that is being sent
_RECIPIENTS_SHOWN = 3  # of a message in the list
_HEADER_SHOWN = 65536  # octets


class Result(NamedTuple):
    """What became of an order for one message: `text` is a line for people; `done` False: it was not followed."""
    identity: str
    done: bool
    text: str


# Looking.

def list_lines(spool, now):
    """The queue for people -> iterator of lines.  `now`: epoch seconds.  Raises SpoolError."""
    messages = octets = 0
    for message in spool.messages():
        messages += 1
        octets += message.size
        yield "%s  %s, %s old, from %s%s" % (
            message.identity, _size(message.size), _duration(now - message.arrived), _sender(message),
            ", held" if message.held else "")
        unfinished = [recipient for recipient in message.recipients if not recipient.over]
        for recipient in unfinished[:_RECIPIENTS_SHOWN]:
            yield "    " + _recipient_line(recipient, message.held, now)
        if len(unfinished) > _RECIPIENTS_SHOWN:
            yield "    and %d more" % (len(unfinished) - _RECIPIENTS_SHOWN)
    yield "%d message%s, %s" % (messages, "" if messages == 1 else "s", _size(octets)) if messages else "The queue is empty."
    broken = spool.broken()
    if broken:
        yield "Set aside because they can't be read (the log says why): %s" % ", ".join(broken)


def list_values(spool):
    """The queue for programs -> list of what `json` writes, a dict each (see `values`).  Raises SpoolError."""
    return [values(message) for message in spool.messages()]


def show_lines(spool, identity, now):
    """One message for people, with its header -> list of lines.  Raises NoSuchMessage, Broken, SpoolError."""
    message = _read(spool, identity)
    lines = ["message     " + identity, "from        " + _sender(message),
             "size        %d octets" % message.size,
             "arrived     " + _moment(message.arrived)]
    lines += ["held        until it is released"] if message.held else []
    lines += ["signed as   " + _clean(message.signed_as)] if message.signed_as else []
    for recipient in message.recipients:
        lines += ["", "to          " + _clean(recipient.address.shown()),
                  "            " + _standing(recipient, message.held, now)]
        lines += ["            " + _way(recipient.via)] if recipient.via else []
        lines += ["last reply  " + _reply_text(recipient.reply)] if recipient.reply else []
        lines += ["last try    %s, %d in all" % (_moment(recipient.last), recipient.attempts)] if recipient.attempts else []
        if recipient.status == WAITING and recipient.next > now:
            lines.append("next try    " + _moment(recipient.next))
    return lines + [""] + _header(spool, message)


def show_values(spool, identity):
    """One message for programs -> dict: `values`, and "header" with the message's header as text.  Raises NoSuchMessage, SpoolError."""
    message = _read(spool, identity)
    return dict(values(message), header="\n".join(_header(spool, message)))


def values(message):
    """A Message as what `json` writes: times in epoch seconds, None for what is not known yet.

    {"id", "sender", "arrived", "size", "held", "signed_as", "recipients": [{"address", "via", "status", "owed", "attempts", "last",
    "next", "reply": {"code", "enhanced", "text", "host", "said"} or None}]}; "via" as in
    queue.model.Recipient, None for another server; "said": the server's own words, "" for ours.
    """
    return {
        "id": message.identity, "sender": str(message.sender) if message.sender else None, "arrived": message.arrived,
        "size": message.size, "held": message.held, "signed_as": message.signed_as or None,
        "recipients": [{
            "address": str(each.address), "via": each.via or None, "status": each.status, "owed": each.owed or None,
            "attempts": each.attempts, "last": each.last or None, "next": each.next if each.status == WAITING else None,
            "reply": dict(each.reply._asdict()) if each.reply else None} for each in message.recipients]}


# Orders.

def retry(spool, which):
    """Try a message now, or `ALL` of them but those that are held -> list of Result.  Raises SpoolError where the queue can't be read."""
    if which != ALL:
        return [_order(spool, which, _due_now, "will be tried now", held="is held, release it first")]
    identities = [message.identity for message in spool.messages() if not message.held]
    # What is being sent needs no order, so nobody waits for it.
    return [_order(spool, identity, _due_now, "will be tried now", patience=0) for identity in identities]


def hold(spool, identity):
    """Stop a message until it is released -> [Result]."""
    return [_order(spool, identity, lambda message: message._replace(held=True), "is held")]


def release(spool, identity):
    """Let a held message go on -> [Result]."""
    return [_order(spool, identity, lambda message: message._replace(held=False), "is released")]


def drop(spool, identity, bounce, clock=time.time):
    """Give a message up for all who still wait for it -> [Result].

    `bounce`: the sender is told, as far as he wants it (RFC 3461 4.1); else nobody is, not even of what failed before.
    """
    if not bounce:
        return [_order(spool, identity, _forget, "is dropped")]
    now = clock()
    return [_order(spool, identity, lambda message: _give_up(message, now), "is dropped, its sender will be told")]


def _due_now(message):
    return message._replace(recipients=tuple(
        each._replace(next=0.0) if each.status == WAITING else each for each in message.recipients))


def _forget(message):
    return message._replace(recipients=tuple(each._replace(status=DONE, owed="") for each in message.recipients))


def _give_up(message, now):
    """A held message would not tell its sender either."""
    return message._replace(held=False, recipients=tuple(
        _refused(each, now) if each.status == WAITING else each for each in message.recipients))


def _refused(recipient, now):
    """The rules of who is told are those of any failure; but there was no attempt."""
    given_up = retries.after_failure(recipient, DROPPED, now, retries.Policy(), 0.5)
    return given_up._replace(attempts=recipient.attempts, last=recipient.last, waited=recipient.waited)


def _order(spool, identity, change, text, patience=None, held=None):
    """Change one message, and say so to who serves the queue.  `held`: why nothing is done where it is held; None: it is done."""
    try:
        with spool.claim(identity, timeout=_PATIENCE if patience is None else patience) as claim:
            if held and claim.message.held:
                return Result(identity, False, "%s %s" % (identity, held))
            claim.update(change)
    except Busy:
        return Result(identity, False, "%s is being sent at this moment, try again in a while" % identity)
    except SpoolError as error:
        return Result(identity, False, _why(spool, identity, error))
    try:
        spool.changed(identity)
    except SpoolError as error:
        return Result(identity, True, "%s %s, but a running server finds it later only: %s" % (identity, text, error))
    return Result(identity, True, "%s %s" % (identity, text))


def _read(spool, identity):
    try:
        return spool.read(identity)
    except NoSuchMessage as error:
        if identity in spool.broken():
            raise Broken(_why(spool, identity, error))
        raise


def _why(spool, identity, error):
    if isinstance(error, NoSuchMessage) and identity in spool.broken():
        return "%s was set aside because it can't be read, the log says why" % identity
    return str(error)


# Text.

def _recipient_line(recipient, held, now):
    line = "%s: %s" % (_clean(recipient.address.shown()), _standing(recipient, held, now))
    return "%s; last reply: %s" % (line, _reply_text(recipient.reply)) if recipient.reply else line


def _standing(recipient, held, now):
    if recipient.over:
        return "done"
    if recipient.status == DONE:
        return "done, the sender is to be told: " + recipient.owed
    if held:
        return "held"
    if recipient.next <= now:
        return "to be sent now"
    return "next try in %s" % _duration(recipient.next - now)


def _way(via):
    """Who takes it, where that is no other server."""
    if via.startswith(TO):
        return _clean("sent on to %s, as a rule of the user says" % via[len(TO):])
    return "handed over on this server"


def _reply_text(reply):
    return _clean("%d %s %s%s" % (reply.code, reply.enhanced, reply.text, " (%s)" % reply.host if reply.host else ""))


def _header(spool, message):
    """The header as it will be sent -> list of lines."""
    with spool.body(message.identity) as file:
        header, _ = headers.split_header(message.head + file.read(_HEADER_SHOWN))
    return [_clean(line) for line in header.decode("utf-8", "replace").rstrip("\r\n").replace("\r\n", "\n").split("\n")]


def _sender(message):
    return _clean(message.sender.shown() if message.sender else "<>")


def _clean(text):
    """What a sender wrote must not move the terminal's cursor."""
    return "".join(character if character.isprintable() or character == "\t" else "\ufffd" for character in str(text))


def _moment(seconds):
    return dates.format_header(int(seconds), dates.local_zone(int(seconds)))


def _duration(seconds):
    """Seconds -> "12 min"; a clock that went back gives 0 s."""
    seconds = max(0, seconds)
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return "%d %s" % (seconds // unit, name)
    return "%d days" % (seconds // 86400)


def _size(octets):
    for unit, name in ((1 << 20, "MB"), (1 << 10, "KB")):
        if octets >= unit:
            return "%.1f %s" % (octets / unit, name)
    return "%d octets" % octets
