"""IDLE (RFC 2177). The handler waits and announces; see its `_idle`."""
from ..command_row import AFTER_LOGIN, Row
from ..session import IDLE, Misuse, Step


def idle(session, _):
    return Step(IDLE, prompt=b"idling", resume=_done)


def _done(line):
    if line.upper() != b"DONE":
        raise Misuse(b"IDLE: expected DONE")


ROWS = (
    Row("IDLE", AFTER_LOGIN, None, idle, extension="IDLE"),
)
