"""POP3: the first login of all to a maildrop of 10 000, and RETR of 1000 messages."""
import os
import time

from .. import messages
from ..clients.pop3 import Pop3
from .side_by_side import Question, compare

LOGIN, RETR = "POP3 login, 10 000 messages, the first of all", "POP3 RETR of 1000"
QUESTIONS = (Question(LOGIN, at_most=2), Question(RETR, at_most=1.4))
MAILDROP = 10000
_INDEXES = ("dovecot", "phenmail-index", "phenmail-marker")  # how their names begin


def run(bench):
    original = bench.original()
    return compare(bench, QUESTIONS, _turn, kept=0, prepare=lambda server: messages.copy(
        original, server.maildir, MAILDROP))


def _turn(server, number, bench):
    server.stop()
    for name in os.listdir(server.maildir):
        if name.startswith(_INDEXES):
            os.unlink(os.path.join(server.maildir, name))
    server.start()
    client = Pop3(server.ports["pop3"])
    began = time.perf_counter()
    count = client.login()
    yield LOGIN, time.perf_counter() - began
    began = time.perf_counter()
    for each in range(1, min(count, 1000) + 1):
        client.retrieve(each)
    yield RETR, time.perf_counter() - began
    client.close()
