"""Replies as values, and their wire form (RFC 1939 3, RFC 2449 8, RFC 3206).

Every text that a client sees and that needs nothing filled in stands here, rendered
once.  Knows nothing of sessions or of why something is refused.
"""
from ..accounts import sasl
from ..store import errors

# RFC 1939 3: a reply line has at most 512 octets, CRLF included.
_TEXT = 480

# Response codes (RFC 2449 8.1, RFC 3206 4).
IN_USE, AUTH, TEMPORARY, PERMANENT = "IN-USE", "AUTH", "SYS/TEMP", "SYS/PERM"


class Reply:
    """One status line: `positive`, `code` of RFC 2449 or None, `text`.

    `wire` is what is sent, CRLF included.  Line ends and characters outside ASCII in
    the text are replaced, so no text can begin a second reply.
    """

    __slots__ = ("positive", "code", "text", "wire")

    def __init__(self, positive, text, code=None):
        self.positive = positive
        self.code = code
        self.text = _clean(text)
        shown = "[%s] %s" % (code, self.text) if code else self.text
        self.wire = ("%s %s\r\n" % ("+OK" if positive else "-ERR", shown)).encode("ascii")

    def __repr__(self):
        return "Reply(%r)" % self.wire


def _clean(text):
    text = text.replace("\r", " ").replace("\n", " ").replace("\0", " ")
    return text.encode("ascii", "replace").decode("ascii")[:_TEXT]


def ok(text):
    """A positive Reply."""
    return Reply(True, text)


def error(text, code=None):
    """A negative Reply."""
    return Reply(False, text, code)


def listing(reply, lines):
    """A positive Reply and an iterable of lines (bytes without CRLF, none begins with a dot) -> wire bytes."""
    return reply.wire + b"".join([line + b"\r\n" for line in lines]) + b".\r\n"


def of_login_failure(failure):
    """A sasl.Failure -> Reply."""
    return error(failure.text, LOGIN_CODES.get(failure.kind))


def of_store_error(failure):
    """A store.errors.StoreError -> Reply."""
    return error(str(failure), next(code for kind, code in STORE_CODES if isinstance(failure, kind)))


# Kind of sasl.Failure -> response code (RFC 3206).  Other kinds are errors of the client.
LOGIN_CODES = {sasl.REFUSED: AUTH, sasl.TEMPORARY: TEMPORARY}

# store.errors -> response code.  Nothing in a user's hands mends any of the last but waiting.
STORE_CODES = (
    (errors.InUse, IN_USE),
    (errors.NotFound, PERMANENT),
    (errors.InvalidName, PERMANENT),
    (errors.StoreError, TEMPORARY),
)

DONE = ok("Done")
GO_ON = ok("Now PASS")
TLS_READY = ok("Begin TLS now")
UTF8_ON = ok("UTF-8 is welcome")
CAPABILITIES = ok("These are offered")
MECHANISMS = ok("These mechanisms are offered")
LANGUAGES = ok("These languages are spoken")
LANGUAGE_SET = ok("i-default You get English texts")

STOPPING = error("The server is stopping, come back later", TEMPORARY)
TOO_LONG = error("This took too long and was stopped, try again later", TEMPORARY)
INTERNAL = error("Something failed here, try again later", TEMPORARY)
TOO_MANY_ERRORS = error("Too many errors, goodbye")
TOO_MANY_LOGINS = error("Too many failed logins, goodbye", AUTH)
LINE_TOO_LONG = error("The line is too long")
NOT_POP3 = error("This is a mail server, goodbye")
UNKNOWN_COMMAND = error("Unknown command, CAPA tells what there is")

LOG_IN_FIRST = error("Log in first")
LOGGED_IN = error("You are logged in already")
USER_FIRST = error("Say USER first")
TLS_FIRST = error("Passphrases are taken over TLS only, use STLS first")
NO_APOP = error("APOP is not offered here")
NO_MECHANISM = error("That mechanism is not offered here")
ALREADY_TLS = error("TLS is on already")
NO_CERTIFICATE = error("TLS is not available, there is no certificate")
NO_LANGUAGE = error("That language is not spoken here")

NO_MESSAGE = error("There is no message of that number")
DELETED = error("That message is marked as deleted")
GONE = error("That message was removed by another program; it is not there any more when you connect again", TEMPORARY)
