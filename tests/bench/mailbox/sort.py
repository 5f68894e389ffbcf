"""SORT and THREAD: the first time, and again."""
from .side_by_side import Question, compare, first_and_warm, selected

_COMMANDS = (("SORT (SUBJECT)", b"SORT (SUBJECT) UTF-8 ALL"),
             ("SORT (REVERSE DATE)", b"SORT (REVERSE DATE) UTF-8 ALL"),
             ("THREAD REFERENCES", b"THREAD REFERENCES UTF-8 ALL"))


def _questions():
    for name, _ in _COMMANDS:
        yield Question(name + ", first")
        yield Question(name + ", warm", at_most=0.7)


def run(bench):
    return compare(bench, list(_questions()), _turn, kept=0, mailboxes=("Sorted",))


def _turn(server, number, bench):
    client = selected(server, "Sorted%d" % number)
    for name, command in _COMMANDS:
        first, warm = first_and_warm(client, command, 3)
        yield name + ", first", first
        yield name + ", warm", warm
    client.close()
