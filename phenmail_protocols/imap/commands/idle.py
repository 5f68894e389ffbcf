"""IDLE (RFC 2177): the client hears what happens until it says DONE."""
from ..session import IDLE, Misuse, Step


def idle(session, _):
    return Step(IDLE, prompt=b"Idling.", resume=_done)


def _done(line):
    if line.upper() != b"DONE":
        raise Misuse(b"Only DONE ends IDLE.")
    return Step(text=b"Idled.")
