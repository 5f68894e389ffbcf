"""Commands of every state: CAPABILITY, NOOP, LOGOUT (RFC 3501 6.1), ID (RFC 2971)."""
from .. import responses
from ..session import CLOSE, Misuse, Step

FIELDS, NAME, VALUE = 30, 30, 1024  # RFC 2971 3.3: how many fields, characters of a name, of a value


def capability(session, _):
    session.write(responses.capability(session.capabilities()))
    return Step(text=b"That is what there is.")


def noop(session, _):
    return Step(text=b"Nothing done.")


def logout(session, _):
    session.deselect()
    session.say_goodbye(b"Goodbye.")
    return Step(CLOSE, text=b"Logged out.")


def identify(session, arguments):
    """What the client says of itself is looked at no further."""
    fields = arguments.fields
    if len(fields) > FIELDS or any(len(name) > NAME or len(value or "") > VALUE for name, value in fields):
        raise Misuse(b"At most 30 fields, with names of 30 and values of 1024 characters.")
    session.write(responses.id_line(session.service.identity))
    return Step(text=b"Pleased to meet you.")
