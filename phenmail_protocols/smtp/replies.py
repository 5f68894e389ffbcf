"""Replies as values, and their wire form (RFC 5321 4.2, RFC 2034).

Every text that a client sees and that needs nothing filled in stands here,
rendered once.  Knows nothing of sessions or of why something is refused.
"""

# RFC 5321 4.5.3.1.5: a reply line has at most 512 octets, code and CRLF included.
_TEXT = 480


class Reply:
    """One reply: `code` int, `enhanced` such as "2.1.0" or None, `lines` of text.

    `wire` is what is sent, CRLF included.  Line ends and characters outside
    ASCII in the text are replaced, so no text can begin a second reply.
    """

    __slots__ = ("code", "enhanced", "lines", "wire")

    def __init__(self, code, enhanced, *lines):
        self.code = code
        self.enhanced = enhanced
        self.lines = tuple(_clean(line) for line in lines)
        self.wire = b"".join(self._wire_lines())

    def _wire_lines(self):
        prefix = "%s " % self.enhanced if self.enhanced else ""
        last = len(self.lines) - 1
        for number, line in enumerate(self.lines):
            separator = " " if number == last else "-"
            yield ("%d%s%s%s\r\n" % (self.code, separator, prefix, line)).encode("ascii")

    def __repr__(self):
        return "Reply(%r)" % self.wire


def _clean(text):
    text = text.replace("\r", " ").replace("\n", " ")
    return text.encode("ascii", "replace").decode("ascii")[:_TEXT]


OK = Reply(250, "2.0.0", "Ok")
BYE = Reply(221, "2.0.0", "Goodbye")
RESET = Reply(250, "2.0.0", "Ok, forgotten")
SENDER_OK = Reply(250, "2.1.0", "Sender ok")
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient ok")
CHUNK_OK = Reply(250, "2.0.0", "Octets taken")
GO_AHEAD = Reply(354, None, "Go ahead, end with <CRLF>.<CRLF>")
TLS_READY = Reply(220, "2.0.0", "Ready to start TLS")
AUTHENTICATED = Reply(235, "2.7.0", "Authentication succeeded")
MAY_EXIST = Reply(252, "2.5.0", "Not told here; send mail and it is tried")

STOPPING = Reply(421, "4.3.2", "The service is stopping, come back later")
IDLE = Reply(421, "4.4.2", "Nothing was heard for too long, closing")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors, closing")
NOT_SMTP = Reply(421, "4.7.0", "This is a mail server, closing")
INTERNAL = Reply(421, "4.3.0", "Something failed here, closing; try again later")
TOO_MANY_LOGINS = Reply(421, "4.7.0", "Too many failed logins, closing")

LINE_TOO_LONG = Reply(500, "5.5.2", "The line is too long")
RESPONSE_TOO_LONG = Reply(500, "5.5.6", "The response is too long (RFC 4954 4)")
NO_LIST = Reply(502, "5.5.1", "Lists are not expanded here")
GREET_FIRST = Reply(503, "5.5.1", "Say EHLO first")
ALREADY_TLS = Reply(503, "5.5.1", "TLS is on already")
NO_CERTIFICATE = Reply(454, "4.7.0", "TLS is not available, there is no certificate")
ALREADY_LOGGED_IN = Reply(503, "5.5.1", "Logged in already")
NO_MECHANISM = Reply(504, "5.5.4", "This mechanism is not offered")
AUTH_CANCELLED = Reply(501, "5.7.0", "Authentication cancelled")
ENCRYPT_FIRST = Reply(538, "5.7.11", "Use STARTTLS first, a password is not taken in the clear")
LOGIN_FIRST = Reply(530, "5.7.0", "Log in first (AUTH)")
TLS_FIRST = Reply(530, "5.7.0", "Use STARTTLS, then log in (AUTH)")

NEEDS_SMTPUTF8 = Reply(553, "5.6.7", "This address needs the parameter SMTPUTF8 (RFC 6531)")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients, send the rest in another transaction")
TOO_LARGE = Reply(552, "5.3.4", "The message is larger than what is taken here")
BARE_LINE_END = Reply(550, "5.6.0", "The message has a CR or LF that is not part of CRLF (RFC 5321 2.3.8)")
