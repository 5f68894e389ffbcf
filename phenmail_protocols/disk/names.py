"""Any name as one safe path component, and back.

Letters, digits and `-_+=@,` stay, and so does a dot that is not the first character. Every other
byte of the UTF-8 form becomes `%` and two hexadecimal digits. So the result is never `.`, `..` or
hidden, and has no separator.
"""
import re

_UNSAFE = re.compile(rb"^\.|[^A-Za-z0-9_+=@,.-]")


def encode(name):
    """The file name for `name` (str); ValueError if `name` is empty or the result has over 255
    bytes."""
    safe = _UNSAFE.sub(lambda match: b"%%%02x" % ord(match.group()),
                       name.encode("utf-8", "surrogateescape"))
    if not 0 < len(safe) <= 255:
        raise ValueError("expected a name of 1 to 255 bytes")
    return safe.decode("ascii")


def decode(component):
    """The name that `encode` turned into `component`; ValueError if there is none."""
    data = re.sub(rb"%([0-9a-f]{2})", lambda match: bytes([int(match.group(1), 16)]),
                  component.encode("ascii"))
    name = data.decode("utf-8", "surrogateescape")
    if encode(name) != component:
        raise ValueError("not the encoded form of a name: %r" % component)
    return name
