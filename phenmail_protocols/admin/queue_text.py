"""The queued messages as text for people, and as values for JSON."""
from ..mail import dates, headers
from ..queue.model import DONE, TO, WAITING
from ..queue.spool import Broken, NoSuchMessage

_RECIPIENTS_SHOWN = 3  # of a message in the list
_HEADER_SHOWN = 65536  # bytes


def list_lines(spool, now):
    """The whole queue -> iterator of lines. `now`: epoch seconds. Raises SpoolError."""
    messages = octets = 0
    for message in spool.messages():
        messages += 1
        octets += message.size
        yield "%s  %s, %s old, from %s%s" % (
            message.identity, _size(message.size), _duration(now - message.arrived),
            _sender(message), ", held" if message.held else "")
        unfinished = [recipient for recipient in message.recipients if not recipient.over]
        for recipient in unfinished[:_RECIPIENTS_SHOWN]:
            line = "    %s: %s" % (_clean(recipient.address.shown()),
                                   _state(recipient, message.held, now))
            yield (line + "; last reply: " + _reply_text(recipient.reply)
                   if recipient.reply else line)
        if len(unfinished) > _RECIPIENTS_SHOWN:
            yield "    and %d more" % (len(unfinished) - _RECIPIENTS_SHOWN)
    yield ("%d message%s, %s" % (messages, "" if messages == 1 else "s", _size(octets))
           if messages else "The queue is empty.")
    broken = spool.broken()
    if broken:
        yield ("Not sent because their state cannot be read (see the server's log): %s"
               % ", ".join(broken))


def list_values(spool):
    """The whole queue -> list of dict, each as `values` gives it. Raises SpoolError."""
    return [values(message) for message in spool.messages()]


def show_lines(spool, identity, now):
    """One message with its header -> list of lines. Raises SpoolError."""
    message = _read(spool, identity)
    lines = ["message     " + identity, "from        " + _sender(message),
             "size        %d octets" % message.size,
             "arrived     " + _moment(message.arrived)]
    lines += ["held        until it is released"] if message.held else []
    lines += ["signed as   " + _clean(message.signed_as)] if message.signed_as else []
    for recipient in message.recipients:
        lines += ["", "to          " + _clean(recipient.address.shown()),
                  "            " + _state(recipient, message.held, now)]
        lines += ["            " + _way(recipient.via)] if recipient.via else []
        lines += ["last reply  " + _reply_text(recipient.reply)] if recipient.reply else []
        if recipient.attempts:
            lines.append("last try    %s, attempt %d" % (_moment(recipient.last),
                                                        recipient.attempts))
        if recipient.status == WAITING and recipient.next > now:
            lines.append("next try    " + _moment(recipient.next))
    return lines + [""] + _header(spool, message)


def show_values(spool, identity):
    """One message -> `values` of it with its header as "header". Raises SpoolError."""
    message = _read(spool, identity)
    return dict(values(message), header="\n".join(_header(spool, message)))


def values(message):
    """A queue.model.Message -> dict for JSON: times in epoch seconds, None for what is unknown.

    {"id", "sender", "arrived", "size", "held", "signed_as", "recipients": [{"address", "via",
    "status", "owed", "attempts", "last", "next", "reply": {"code", "enhanced", "text", "host",
    "said"} or None}]}. "via": as in queue.model.Recipient, None for another server; "said": the
    other server's own words, "" in replies of this server.
    """
    return {
        "id": message.identity, "sender": str(message.sender) if message.sender else None,
        "arrived": message.arrived, "size": message.size, "held": message.held,
        "signed_as": message.signed_as or None,
        "recipients": [{
            "address": str(each.address), "via": each.via or None, "status": each.status,
            "owed": each.owed or None, "attempts": each.attempts, "last": each.last or None,
            "next": each.next if each.status == WAITING else None,
            "reply": dict(each.reply._asdict()) if each.reply else None}
            for each in message.recipients]}


def _read(spool, identity):
    try:
        return spool.read(identity)
    except NoSuchMessage as error:
        if identity in spool.broken():
            raise Broken(why(spool, identity, error))
        raise


def why(spool, identity, error):
    """The text of a SpoolError about one message."""
    if isinstance(error, NoSuchMessage) and identity in spool.broken():
        return "the state of %s cannot be read, see the server's log" % identity
    return str(error)


def _state(recipient, held, now):
    if recipient.over:
        return "done"
    if recipient.status == DONE:
        return "done, a notice to the sender is due: " + recipient.owed
    if held:
        return "held"
    if recipient.next <= now:
        return "to be sent now"
    return "next try in %s" % _duration(recipient.next - now)


def _way(via):
    """Who takes the message, if not another server."""
    if via.startswith(TO):
        return _clean("a filter of the user sends it to %s" % via[len(TO):])
    return "for a program, plugin or forward of this server"


def _reply_text(reply):
    return _clean("%d %s %s%s" % (reply.code, reply.enhanced, reply.text,
                                  " (%s)" % reply.host if reply.host else ""))


def _header(spool, message):
    """The header as it will be sent -> list of lines."""
    with spool.body(message.identity) as file:
        header, _ = headers.split_header(message.head + file.read(_HEADER_SHOWN))
    text = header.decode("utf-8", "replace").rstrip("\r\n").replace("\r\n", "\n")
    return [_clean(line) for line in text.split("\n")]


def _sender(message):
    return _clean(message.sender.shown() if message.sender else "<>")


def _clean(text):
    """Text of strangers must not move the terminal's cursor; a tab is harmless."""
    return "".join(character if character.isprintable() or character == "\t" else "\ufffd"
                   for character in str(text))


def _moment(seconds):
    return dates.format_header(int(seconds), dates.local_zone(int(seconds)))


def _duration(seconds):
    """Seconds -> "12 min". If the clock went back, 0 s."""
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
