"""Ten clients at once, each with a mailbox of 10 000 messages open: commands a second."""
from ..clients import many
from .side_by_side import KEPT, Question, compare, selected

NAME = "10 clients, commands a second"
CLIENTS, COMMANDS = 10, 400  # of each client
MESSAGES = 10000


def run(bench):
    return compare(bench, [Question(NAME, at_least=0.7)], _turn, kept=MESSAGES)


def _turn(server, number, bench):
    client = selected(server)
    client.command(b"FETCH 1:* (ENVELOPE)")
    client.close()
    yield NAME, many.rate(server.ports["imap"], KEPT, CLIENTS, COMMANDS)
