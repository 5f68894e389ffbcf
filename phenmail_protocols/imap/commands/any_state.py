"""CAPABILITY, NOOP, LOGOUT (RFC 3501 6.1), ID (RFC 2971)."""
from .. import responses
from ..command_row import ANY_STATE, Row
from ..session import CLOSE, Misuse, Step
from ..syntax import command_grammar

# RFC 2971 3.3: how many fields, octets of a name, octets of a value.
FIELDS, NAME, VALUE = 30, 30, 1024


def capability(session, _):
    session.write(b"* " + session.capability_code() + responses.CRLF)


def noop(session, _):
    """The session announces what happened after each command."""


def logout(session, _):
    session.deselect()
    session.say_goodbye(b"Logging out")
    return Step(CLOSE)


def identify(session, fields):
    """What the client says about itself is not used."""
    if len(fields) > FIELDS or any(len(name) > NAME or len(value or "") > VALUE
                                   for name, value in fields):
        raise Misuse(b"ID takes at most 30 fields, names of 30 and values of 1024 characters")
    words = [responses.string(word.encode("utf-8"))
             for field in session.service.identity for word in field]
    session.write(b"* ID (" + b" ".join(words) + b")\r\n")


ROWS = (
    Row("CAPABILITY", ANY_STATE, None, capability),
    Row("NOOP", ANY_STATE, None, noop),
    Row("LOGOUT", ANY_STATE, None, logout),
    Row("ID", ANY_STATE, command_grammar.identify, identify, extension="ID"),
)
