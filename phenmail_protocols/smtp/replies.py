"""SMTP's wire form of a reply, and the replies whose text is fixed.

RFC 5321 4.2, RFC 2034. A fixed reply is rendered once, when this file is imported.
"""
from ..mail.reply import Reply

# RFC 5321 4.5.3.1.5: a reply line has at most 512 octets, code and CRLF included.
_LINE = 510

_rendered = {}  # fixed Reply -> octets


def wire(reply, *more):
    """A reply -> octets, CRLF included; `more`: the texts of further lines.

    Line ends and characters outside ASCII are replaced, so no text can begin a second reply.
    """
    return more == () and _rendered.get(reply) or _render(reply, more)


def _render(reply, more):
    texts = (reply.text,) + more
    enhanced = reply.enhanced + " " if reply.enhanced else ""
    lines = []
    for number, text in enumerate(texts, 1):
        separator = " " if number == len(texts) else "-"
        text = text.replace("\r", " ").replace("\n", " ")
        line = "%d%s%s%s" % (reply.code, separator, enhanced, text)
        lines.append(line.encode("ascii", "replace")[:_LINE] + b"\r\n")
    return b"".join(lines)


def _fixed(code, enhanced, text):
    reply = Reply(code, enhanced, text)
    _rendered[reply] = _render(reply, ())
    return reply


OK = _fixed(250, "2.0.0", "Ok")
BYE = _fixed(221, "2.0.0", "Goodbye")
RESET = _fixed(250, "2.0.0", "Ok, reset")
SENDER_OK = _fixed(250, "2.1.0", "Sender ok")
RECIPIENT_OK = _fixed(250, "2.1.5", "Recipient ok")
CHUNK_OK = _fixed(250, "2.0.0", "Chunk received")
GO_AHEAD = _fixed(354, "", "Start mail input, end with <CRLF>.<CRLF>")
TLS_READY = _fixed(220, "2.0.0", "Ready to start TLS")
AUTHENTICATED = _fixed(235, "2.7.0", "Authentication succeeded")
MAY_EXIST = _fixed(252, "2.5.0", "Cannot VRFY user, but will accept message and attempt delivery")

STOPPING = _fixed(421, "4.3.2", "Service shutting down, try again later")
IDLE = _fixed(421, "4.4.2", "Idle timeout, closing connection")
TOO_MANY_ERRORS = _fixed(421, "4.7.0", "Too many errors, closing connection")
NOT_SMTP = _fixed(421, "4.7.0", "This is a mail server, closing connection")
INTERNAL = _fixed(421, "4.3.0", "Internal error, closing connection; try again later")
TOO_MANY_LOGINS = _fixed(421, "4.7.0", "Too many failed logins, closing connection")

LINE_TOO_LONG = _fixed(500, "5.5.2", "Line too long")
UNKNOWN_COMMAND = _fixed(500, "5.5.1", "Unknown command, HELP lists the commands")
NO_LIST = _fixed(502, "5.5.1", "Mailing lists cannot be expanded")
GREET_FIRST = _fixed(503, "5.5.1", "Send EHLO first")
ALREADY_TLS = _fixed(503, "5.5.1", "TLS is already active")
NO_CERTIFICATE = _fixed(454, "4.7.0", "TLS is not available: the server has no certificate")
ALREADY_LOGGED_IN = _fixed(503, "5.5.1", "Already authenticated")
NO_MECHANISM = _fixed(504, "5.5.4", "Authentication mechanism not supported")
ENCRYPT_FIRST = _fixed(538, "5.7.11", "Encryption required for this mechanism, use STARTTLS first")
LOGIN_FIRST = _fixed(530, "5.7.0", "Authentication required")
TLS_FIRST = _fixed(530, "5.7.0", "Use STARTTLS first, then authenticate")

NEEDS_SMTPUTF8 = _fixed(553, "5.6.7", "This address requires the SMTPUTF8 parameter (RFC 6531)")
TOO_MANY_RECIPIENTS = _fixed(452, "4.5.3",
                             "Too many recipients, send the rest in another transaction")
TOO_LARGE = _fixed(552, "5.3.4", "The message is too large")
BARE_LINE_END = _fixed(550, "5.6.0",
                       "The message contains a CR or LF that is not part of CRLF (RFC 5321 2.3.8)")
