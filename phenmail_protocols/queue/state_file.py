"""The state file of a queued message: a `model.Message` as a line of JSON, and back. Pure.

The form, version 1. Fields that have their default value in `model` are left out:

    {"version": 1, "sender": ["ann", "example.org"] or null, "arrived": seconds,
     "head": the octets as Latin-1, "size": octets, "eight_bit": bool, "smtputf8": bool,
     "ret": text, "envid": text, "held": bool, "signed_as": text,
     "recipients": [{"address": [local, domain], "notify": [text, ...], "orcpt": text,
                     "status": text, "reply": [code, enhanced, text, host, said],
                     "attempts": count, "next": seconds, "last": seconds, "waited": seconds,
                     "owed": text, "warned": bool, "via": text}, ...]}

The identity is the file's name. Reading is strict: a key or a value that this version does not
write is an error, because a state that is misread would send mail twice, or to nobody.
"""
import json

from ..mail.address import Address
from . import model

VERSION = 1
LARGEST = 64 * 1024 * 1024  # octets; a thousand recipients with the longest replies take some MB
_DIGITS = 20  # of an integer, because Python takes quadratic time for long ones


def encode(message):
    """A Message -> its octets (ASCII)."""
    values = dict(_without_defaults(message), version=VERSION,
                  recipients=[_without_defaults(each) for each in message.recipients])
    del values["identity"]
    return _ENCODER.encode(values).encode("ascii")


def decode(identity, data):
    """Octets -> the Message of that identity.

    Raises ValueError, which says what is wrong, for everything that `encode` does not write.
    """
    try:
        values = _DECODER.decode(data.decode("ascii"))
    except RecursionError:
        raise ValueError("it is nested too deeply")
    if type(values) is not dict or _count(values.pop("version", 0)) != VERSION:
        raise ValueError("it is not a state of version %d" % VERSION)
    required = {"sender", "arrived", "recipients"}
    return model.Message(identity, **_checked(values, _MESSAGE, required))


def _without_defaults(record):
    """A NamedTuple -> dict of the fields that have no default or another value."""
    defaults = record._field_defaults
    return {name: value for name, value in zip(record._fields, record)
            if name not in defaults or value != defaults[name]}


def _checked(values, checks, required):
    """What JSON has -> dict of the model's values. `checks`: {key: what converts its value}."""
    if type(values) is not dict:
        raise ValueError("%r is not an object" % (values,))
    for name in required - values.keys():
        raise ValueError("the key %r is missing" % name)
    for name in values.keys() - checks.keys():
        raise ValueError("the key %r is unknown" % name)
    return {name: checks[name](value) for name, value in values.items()}


# Each takes a value of JSON and returns the model's, or raises ValueError.

def _is(kind, what):
    def check(value):
        if type(value) is not kind:
            raise ValueError("%r is not %s" % (value, what))
        return value
    return check


_text, _bool, _list = _is(str, "a text"), _is(bool, "true or false"), _is(list, "a list")


def _count(value):
    if type(value) is not int or value < 0:
        raise ValueError("%r is not a count" % (value,))
    return value


def _seconds(value):
    # A larger number is none that was ever written: JSON knows 1e999, which is infinite.
    if type(value) not in (int, float) or not -1e300 < value < 1e300:
        raise ValueError("%r is not a number of seconds" % (value,))
    return float(value)


def _texts(value):
    return tuple(map(_text, _list(value)))


def _octets(value):
    return _text(value).encode("latin-1")


def _address(value):
    if len(_list(value)) != 2:
        raise ValueError("%r is not an address" % (value,))
    return Address(*map(_text, value))


def _sender(value):
    return None if value is None else _address(value)


def _reply(value):
    if len(_list(value)) not in (4, 5) or type(value[0]) is not int:  # 0.1.0 wrote no `said`
        raise ValueError("%r is not a reply" % (value,))
    return model.Reply(value[0], *map(_text, value[1:]))


def _one_of(*words):
    def check(value):
        if _text(value) not in words:
            raise ValueError("%r is not one of %s" % (value, ", ".join(words)))
        return value
    return check


def _recipients(value):
    if not _list(value):
        raise ValueError("it has no recipients")
    return tuple(model.Recipient(**_checked(each, _RECIPIENT, {"address"})) for each in value)


def _integer(digits):
    if len(digits) > _DIGITS:
        raise ValueError("a number has %d digits" % len(digits))
    return int(digits)


def _no_constant(name):
    raise ValueError("%s is not a number" % name)


# Octets in Latin-1 are the only value that JSON does not know.
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False,
                            default=lambda octets: octets.decode("latin-1"))
_DECODER = json.JSONDecoder(parse_int=_integer, parse_constant=_no_constant)

_RECIPIENT = {
    "address": _address, "notify": _texts, "orcpt": _text,
    "status": _one_of(model.WAITING, model.DONE), "reply": _reply, "attempts": _count,
    "next": _seconds, "last": _seconds, "waited": _seconds,
    "owed": _one_of("", model.FAILED, model.DELAYED, model.RELAYED, model.DELIVERED,
                    model.EXPANDED),
    "warned": _bool, "via": _text}
_MESSAGE = {
    "sender": _sender, "arrived": _seconds, "head": _octets, "size": _count, "eight_bit": _bool,
    "smtputf8": _bool, "ret": _text, "envid": _text, "held": _bool, "signed_as": _text,
    "recipients": _recipients}
