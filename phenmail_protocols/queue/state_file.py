"""The state file of a queued message: a `model.Message` as a line of JSON, and back.  Pure: knows no file.

The form, version 1.  What has its value from the model's defaults is left out:

    {"version": 1, "sender": ["ann", "example.org"] or null, "arrived": seconds, "head": the octets as Latin-1, "size": octets,
     "eight_bit": bool, "smtputf8": bool, "ret": text, "envid": text, "held": bool, "signed_as": text,
     "recipients": [{"address": [local, domain], "notify": [text, ...], "orcpt": text, "status": text,
                     "reply": [code, enhanced, text, host, said], "attempts": count,
                     "next": seconds, "last": seconds,
                     "waited": seconds, "owed": text, "warned": bool, "via": text}, ...]}

The identity is the file's name and not in it.  Reading is strict: a key or a value that this version does not write is an error.
A state that was misread would send mail twice, or to nobody.
"""
import json

from ..mail.address import Address
from . import model

VERSION = 1
# No state comes near: a thousand recipients with the longest replies are some megabytes.
LARGEST = 64 * 1024 * 1024
_DIGITS = 20  # of an integer; Python takes quadratic time for long ones


def encode(message):
    """A Message -> its octets (ASCII)."""
    values = {"version": VERSION, "sender": message.sender, "arrived": message.arrived}
    for name, _, default in _MESSAGE:
        value = getattr(message, name)
        if value != default:
            values[name] = value
    if message.head:
        values["head"] = message.head.decode("latin-1")
    values["recipients"] = [_without_defaults(recipient) for recipient in message.recipients]
    return _ENCODER.encode(values).encode("ascii")


def decode(identity, data):
    """Octets -> the Message of that identity.  Raises ValueError, which says what is wrong, for all that `encode` does not make."""
    try:
        values = _DECODER.decode(data.decode("ascii"))
    except RecursionError:
        raise ValueError("it is nested too deeply")
    if type(values) is not dict or _count(values.pop("version", 0)) != VERSION:
        raise ValueError("it is no state of version %d" % VERSION)
    recipients = values.pop("recipients", None)
    if type(recipients) is not list or not recipients:
        raise ValueError("it has no recipients")
    found = {"sender": _sender(values.pop("sender", False)), "arrived": _seconds(values.pop("arrived", None)),
             "head": _text(values.pop("head", "")).encode("latin-1")}
    _take(values, _MESSAGE, found)
    return model.Message(identity, recipients=tuple(map(_recipient, recipients)), **found)


def _recipient(values):
    if type(values) is not dict:
        raise ValueError("a recipient is no object")
    found = {"address": _address(values.pop("address", None))}
    _take(values, _RECIPIENT, found)
    return model.Recipient(**found)


def _without_defaults(recipient):
    values = {"address": recipient.address}
    for name, _, default in _RECIPIENT:
        value = getattr(recipient, name)
        if value != default:
            values[name] = value
    return values


def _take(values, fields, found):
    """Put the given ones of `fields`, checked, into `found`; none may be left."""
    for name, check, _ in fields:
        if name in values:
            found[name] = check(values.pop(name))
    if values:
        raise ValueError("nobody knows the key %r" % min(values))


# Each takes a value of JSON and gives the model's, or raises ValueError.

def _text(value):
    if type(value) is not str:
        raise ValueError("%r is no text" % (value,))
    return value


def _bool(value):
    if type(value) is not bool:
        raise ValueError("%r is neither true nor false" % (value,))
    return value


def _count(value):
    if type(value) is not int or value < 0:
        raise ValueError("%r is no count" % (value,))
    return value


def _seconds(value):
    # What is too large for a float was written as Infinity, or was never written.
    if type(value) not in (int, float) or not -1e300 < value < 1e300:
        raise ValueError("%r is no number of seconds" % (value,))
    return float(value)


def _texts(value):
    if type(value) is not list:
        raise ValueError("%r is no list of texts" % (value,))
    return tuple(map(_text, value))


def _address(value):
    if type(value) is not list or len(value) != 2:
        raise ValueError("%r is no address" % (value,))
    return Address(_text(value[0]), _text(value[1]))


def _reply(value):
    # 0.1.0 wrote no `said`.
    if type(value) is not list or len(value) not in (4, 5) or type(value[0]) is not int:
        raise ValueError("%r is no reply" % (value,))
    return model.Reply(value[0], *map(_text, value[1:]))


def _sender(value):
    return None if value is None else _address(value)


def _one_of(*words):
    def check(value):
        if type(value) is not str or value not in words:
            raise ValueError("%r is none of %s" % (value, ", ".join(words)))
        return value
    return check


def _integer(digits):
    if len(digits) > _DIGITS:
        raise ValueError("a number has %d digits" % len(digits))
    return int(digits)


def _no_number(name):
    raise ValueError("%s is no number" % name)


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_DECODER = json.JSONDecoder(parse_int=_integer, parse_constant=_no_number)


def _optional_fields(blank, *checks):
    """(name, check, default) of what may be left out."""
    return tuple((name, check, getattr(blank, name)) for name, check in checks)


_RECIPIENT = _optional_fields(
    model.Recipient(Address("", "")),
    ("notify", _texts), ("orcpt", _text), ("status", _one_of(model.WAITING, model.DONE)), ("reply", _reply), ("attempts", _count),
    ("next", _seconds), ("last", _seconds), ("waited", _seconds),
    ("owed", _one_of("", model.FAILED, model.DELAYED, model.RELAYED, model.DELIVERED, model.EXPANDED)), ("warned", _bool),
    ("via", _text))
_MESSAGE = _optional_fields(
    model.Message("", None, (), 0.0),
    ("size", _count), ("eight_bit", _bool), ("smtputf8", _bool), ("ret", _text), ("envid", _text), ("held", _bool),
    ("signed_as", _text))
