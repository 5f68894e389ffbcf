"""COMPRESS (RFC 4978). All octets after the tagged OK are compressed; see net/deflate.py.

STARTTLS cannot follow: COMPRESS is only valid after the login, STARTTLS only before it.
"""
from ..command_row import AFTER_LOGIN, Row
from ..session import COMPRESS, CommandFailed, Step

MECHANISMS = {"DEFLATE": "COMPRESS=DEFLATE"}


def compress(session, _):
    if session.compresses:
        raise CommandFailed(b"DEFLATE is active already", b"COMPRESSIONACTIVE")
    session.compresses = True
    return Step(COMPRESS, text=b"DEFLATE active")


ROWS = (
    Row("COMPRESS", AFTER_LOGIN, lambda scan: scan.one_of(MECHANISMS, "a compression mechanism"),
        compress, extension="COMPRESS=DEFLATE"),
)
