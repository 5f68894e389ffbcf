"""Any name as one safe path component, and back.

Letters, digits and ``-_+=@,`` stand for themselves, and so does a dot that
isn't the first character; every other byte of the UTF-8 form becomes ``%``
and two hexadecimal digits. Nothing that comes out is ``.``, ``..``, hidden,
or has a separator in it.
"""
import re

_UNSAFE = re.compile(rb"^\.|[^A-Za-z0-9_+=@,.-]")


def encode(name):
    """The file name for ``name`` (str); ValueError where there is none.

    An empty name, or one whose form is over 255 bytes, has none.
    """
    safe = _UNSAFE.sub(lambda match: b"%%%02x" % ord(match.group()),
                       name.encode("utf-8", "surrogateescape"))
    if not 0 < len(safe) <= 255:
        raise ValueError("a name of 1 to 255 bytes was expected")
    return safe.decode("ascii")


def decode(component):
    """The name whose ``encode`` gave ``component``; ValueError for others."""
    data = re.sub(rb"%([0-9a-f]{2})",
                  lambda match: bytes([int(match.group(1), 16)]),
                  component.encode("ascii"))
    name = data.decode("utf-8", "surrogateescape")
    if encode(name) != component:
        raise ValueError("not the encoded form of a name: %r" % component)
    return name
