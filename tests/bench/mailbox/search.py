"""SEARCH in headers and in texts."""
from .. import messages
from ..table import median
from .side_by_side import Question, compare, selected

SUBJECT, RARE, COMMON = "SEARCH SUBJECT", "SEARCH TEXT, in 100 messages", "SEARCH TEXT, in all"
SOME, NONE = "SEARCH TEXT, in one of 500", "SEARCH BODY, in none"
_COMMANDS = (
    (SUBJECT, b"SEARCH SUBJECT harbour", 0.5),
    (RARE, b"SEARCH TEXT " + messages.RARE.encode("ascii"), None),
    (SOME, b"SEARCH TEXT " + messages.NEEDLE.encode("ascii"), 0.7),
    (COMMON, b"SEARCH TEXT other.example", 0.7),
    (NONE, b"SEARCH BODY kraken", None))
_WARM = {RARE: 25.0}  # milliseconds


def _questions():
    for name, _, bar in _COMMANDS:
        yield Question(name + ", first")
        yield Question(name + ", warm", at_most=bar, milliseconds=_WARM.get(name))


def run(bench):
    return compare(bench, list(_questions()), _turn)


def _turn(server, number, bench):
    client = selected(server)
    for name, command, _ in _COMMANDS:
        yield name + ", first", client.timed(command)[0]
    server.child.rest()  # until the index of texts is built
    for name, command, _ in _COMMANDS:
        yield name + ", warm", median([client.timed(command)[0] for _ in range(3)])
    client.close()
