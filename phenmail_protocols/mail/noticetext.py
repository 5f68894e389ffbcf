"""What a notice about a message's delivery tells people: what happened to whom, what the other server said, what to do.

Plain English in short lines.  The words of other servers and of the message come from strangers and are shown as theirs.  It
knows no MIME and no field of a report; `mail.notices` puts the text where it belongs.  RFC 3463 (status codes).
"""
import re

from . import headers
from .charsets import to_text
from .writing import printable

_WIDTH = 76
_SUBJECT_LENGTH = 150
_HEADER_LINES = 200
_PLACES = re.compile(r"\{(reason|headers)\}")

_SUBJECTS = {"failed": "Not delivered", "delayed": "Delayed", "relayed": "Handed on", "delivered": "Delivered",
             "expanded": "Sent on to a list"}

_HAPPENED = {
    "failed": "Your message could not be delivered. This server has given up for:",
    "delayed": "Your message is late. It could not be delivered yet to:",
    "relayed": "You asked to be told. Your message was handed on to a server that sends no notices of delivery, for:",
    "delivered": "You asked to be told. Your message was delivered to:",
    "expanded": "You asked to be told. Your message was delivered, and sent on to several others, who are not named here, by:",
}
_SENDER_UNTOLD = (
    "A message could not be delivered, and its sender can not be told: the sender's address is empty (then the message is most "
    "often a notice like this one) or takes no mail. So you, as the postmaster, are told. This server has given up for:")
_LATE = "You need not do anything. This server goes on trying, and you will be told if it gives up."
_GENERAL_HELP = (
    "If what the other server said does not help you, reach the recipient in another way, or show this notice to {postmaster}.")
_POSTMASTER_HELP = (
    "If such notices are many, look at what is sent from here: a program with a wrong sender address, or a login that was "
    "stolen. A single one needs nothing.")

# What a reader can do, by the end of the status code or by its subject (RFC 3463 3).
_HELP = {
    "1.1": "Check the part before the @ for typing errors: the other server does not know this name.",
    "1.2": "Check the part behind the @ for typing errors: there is no such mail domain.",
    "1.10": "Check the part behind the @ for typing errors: this domain takes no mail at all.",
    "2.1": "The address is disabled at present. Reach the recipient in another way.",
    "2.2": "The mailbox is full. Try again later, or tell the recipient in another way.",
    "2.3": "The message is larger than the recipient takes. Send less at a time, or share large files in another way.",
    "3.4": "The message is larger than the other server takes. Send less at a time, or share large files in another way.",
    "4": "The other server could not be reached, or did not finish. If the address is right, send the message again later.",
    "6.7": "This address needs servers that know addresses with letters of all languages, and one on the way does not. Ask the "
           "recipient for an address in plain letters.",
    "7": "The other server refuses the message by rules of its own. Its administrator can say which, and the recipient may ask.",
}
# The same where it was this server itself that refused, or what it hands mail to.
_OWN_HELP = {
    "3.4": "The message is larger than the recipient takes. Send less at a time, or share large files in another way.",
    "7": "The recipient's side refuses the message by a rule of its own. The recipient may know which.",
}


def subject(kind, original, to_postmaster=False):
    """The subject of a notice -> text on one line.  `original`: the header of the message, bytes."""
    told = original_subject(original)
    start = "Notice not delivered" if to_postmaster else _SUBJECTS[kind]
    return "%s: %s" % (start, told) if told else start


def original_subject(original):
    """The subject of a message for people, on one line, cut where it is very long; "" for none."""
    text = " ".join(printable(headers.decode(headers.first(original, b"subject") or b"")).split())
    return text if len(text) <= _SUBJECT_LENGTH else text[:_SUBJECT_LENGTH].rstrip() + "..."


def reason(kind, fates, date):
    """Who, and what was said of them -> lines of text, without a line end at the end.

    `fates`: notices.Fate values; those of whom the same was said stand together.  `date(epoch)` writes a moment.
    """
    together = {}
    for fate in fates:
        name = "  <%s>" % printable(fate.address.shown())
        together.setdefault(_said(kind, fate, date), []).append(name)
    return "\n\n".join(["\n".join(names + list(said)) for said, names in together.items()])


def _said(kind, fate, date):
    """What stands below a recipient's name -> tuple of lines."""
    lines = []
    if fate.said:
        lines.append("%s: %s" % ("%s said" % fate.host if fate.host else "This server found", fate.said))
    if kind == "failed" and fate.status.startswith("4") and fate.last_attempt:
        lines.append("It was tried until %s." % date(fate.last_attempt))
    if kind == "delayed" and fate.retried_until:
        lines.append("It will be tried until %s." % date(fate.retried_until))
    return tuple([wrapped for line in lines for wrapped in _wrap(printable(line), "      ")])


def built_in(kind, fates, original, whole, date, host, postmaster, to_postmaster=False):
    """The text of a notice where the configuration has none -> text with "\\n" line ends.

    `original`: the header of the message, bytes; `whole`: all of the message is attached.  `host`: this server's name.
    `postmaster`: whom to ask, text.  `to_postmaster`: it is for the postmaster, as the sender can't be told (a double bounce).
    """
    happened = _SENDER_UNTOLD if to_postmaster else _HAPPENED[kind]
    paragraphs = [_wrap("This is the mail server %s." % host), _wrap(happened), [reason(kind, fates, date)]]
    paragraphs += [_wrap(each) for each in _advice(kind, fates, postmaster, to_postmaster)]
    paragraphs.append(_wrap("%s is attached. Its subject:" % ("The message" if whole else "The header of the message")))
    # No line of a stranger's begins where ours do.
    paragraphs[-1] += _wrap(original_subject(original) or "(none)", "      ")
    return "\n\n".join(["\n".join(lines) for lines in paragraphs]) + "\n"


def _advice(kind, fates, postmaster, to_postmaster):
    if to_postmaster:
        return [_POSTMASTER_HELP]
    if kind == "delayed":
        return [_LATE]
    if kind != "failed":
        return []
    found = []
    for fate in fates:
        detail = fate.status.partition(".")[2]
        help_text = _help(detail, fate.host)
        if help_text and help_text not in found:
            found.append(help_text)
    return found + [_GENERAL_HELP.replace("{postmaster}", postmaster)]


def _help(detail, host):
    """What to do about a status code without its class (RFC 3463), or None; `host`: who said it, "" for this server."""
    for known in (detail, detail.partition(".")[0]):
        text = not host and _OWN_HELP.get(known) or _HELP.get(known)
        if text:
            return text
    return None


def filled_in(template, reason_text, original):
    """The configuration's words with {reason} and {headers} filled in -> text with "\\n" line ends.

    Other braces stay, and what is filled in is not looked at again.
    """
    def fill(found):
        return reason_text if found.group(1) == "reason" else header_text(original)
    return _PLACES.sub(fill, "\n".join(template.splitlines())) + "\n"


def header_text(original):
    """A header for people, as it was sent, without what does not show -> text with "\\n" line ends."""
    lines = original.rstrip(b"\r\n").split(b"\n", _HEADER_LINES)[:_HEADER_LINES]
    return "\n".join([printable(to_text(line.rstrip(b"\r"))).rstrip() for line in lines])


def _wrap(text, indent=""):
    import textwrap
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent,
                         break_long_words=False, break_on_hyphens=False)
