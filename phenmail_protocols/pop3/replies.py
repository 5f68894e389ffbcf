"""Replies as values, and their wire form (RFC 1939 3, RFC 2449 8, RFC 3206).

A reply whose text is fixed is rendered once, when this file is imported.
"""
from ..accounts import sasl
from ..store import errors

_TEXT = 480  # characters: RFC 1939 3 allows 512 octets in a line, with status, code and CRLF

# Response codes (RFC 2449 8.1, RFC 3206 4).
IN_USE, AUTH, TEMPORARY, PERMANENT = "IN-USE", "AUTH", "SYS/TEMP", "SYS/PERM"


class Reply:
    """One status line: `positive`, `code` of RFC 2449 or None, `text`; `wire`: its octets.

    Line ends and characters outside ASCII are replaced, so no text can begin a second reply.
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
    """A positive Reply and lines (bytes without CRLF, none begins with a dot) -> octets."""
    return reply.wire + b"".join([line + b"\r\n" for line in lines]) + b".\r\n"


def of_login_failure(failure):
    """A sasl.Failure -> Reply."""
    return error(failure.text, LOGIN_CODES.get(failure.kind))


def of_store_error(failure):
    """A store.errors.StoreError -> Reply."""
    code = next(code for kind, code in STORE_CODES if isinstance(failure, kind))
    return error(str(failure), code)


# Kind of sasl.Failure -> response code (RFC 3206). Other kinds are errors of the client.
LOGIN_CODES = {sasl.REFUSED: AUTH, sasl.TEMPORARY: TEMPORARY}

# store.errors -> response code.
STORE_CODES = (
    (errors.InUse, IN_USE),
    (errors.NotFound, PERMANENT),
    (errors.InvalidName, PERMANENT),
    (errors.StoreError, TEMPORARY),
)

OK = ok("Done")
SEND_PASS = ok("Send PASS")
TLS_READY = ok("Begin TLS negotiation now")
UTF8_ON = ok("UTF-8 enabled")
CAPABILITIES = ok("Capability list follows")
MECHANISMS = ok("Mechanism list follows")
LANGUAGES = ok("Language list follows")
LANGUAGE_SET = ok("i-default Language is English")

STOPPING = error("Server shutting down, try again later", TEMPORARY)
TOO_LONG = error("The command took too long, try again later", TEMPORARY)
INTERNAL = error("Internal error, try again later", TEMPORARY)
TOO_MANY_ERRORS = error("Too many errors, closing connection")
TOO_MANY_LOGINS = error("Too many failed logins, closing connection", AUTH)
LINE_TOO_LONG = error("Line too long")
NOT_POP3 = error("This is a mail server, closing connection")
UNKNOWN_COMMAND = error("Unknown command, CAPA lists the capabilities")

LOG_IN_FIRST = error("Log in first")
LOGGED_IN = error("Already logged in")
USER_FIRST = error("Send USER first")
TLS_FIRST = error("TLS required to send a passphrase, use STLS first")
NO_APOP = error("APOP is not available")
NO_MECHANISM = error("Authentication mechanism not supported")
ALREADY_TLS = error("TLS is already active")
NO_CERTIFICATE = error("TLS is not available: the server has no certificate")
NO_LANGUAGE = error("Language not supported")

NO_MESSAGE = error("No such message")
DELETED = error("Message is marked as deleted")
GONE = error("Message was removed by another program", TEMPORARY)
