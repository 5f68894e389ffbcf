"""What mail programs list: the first time, and again."""
from ..table import median
from .side_by_side import Question, compare, first_and_warm, selected

MAIL_PROGRAM = (
    b"FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (DATE FROM SENDER "
    b"SUBJECT TO CC "
    b"MESSAGE-ID REFERENCES CONTENT-TYPE IN-REPLY-TO REPLY-TO)])")
ENVELOPES = b"FETCH 1:* (ENVELOPE)"
STRUCTURES = b"FETCH 1:* (BODYSTRUCTURE)"
ITEMS = (("what a mail program lists", MAIL_PROGRAM, "List", 0.8, 0.4),
         ("ENVELOPE", ENVELOPES, "Envelopes", 1.2, 0.4),
         ("BODYSTRUCTURE", STRUCTURES, "Structures", None, None))
FLAGS, UNSEEN, BODIES = "FETCH 1:* (UID FLAGS)", "SEARCH UNSEEN", "1000 bodies"


def _questions():
    for name, _, _, first, warm in ITEMS:
        yield Question(name + ", first", at_most=first)
        yield Question(name + ", warm", at_most=warm)
    yield Question(FLAGS, at_most=0.9)
    yield Question(UNSEEN)
    yield Question(BODIES, at_most=1.1)


def run(bench):
    return compare(bench, list(_questions()), _turn, mailboxes=[item[2] for item in ITEMS])


def _turn(server, number, bench):
    for name, command, mailbox, _, _ in ITEMS:
        client = selected(server, "%s%d" % (mailbox, number))
        _expect(client.command(b"FETCH 1:* (UID FLAGS)"), bench.mailbox)
        first, warm = first_and_warm(client, command, 3)
        yield name + ", first", first
        yield name + ", warm", warm
        client.close()
    client = selected(server)
    for name, command in ((FLAGS, b"FETCH 1:* (UID FLAGS)"), (UNSEEN, b"SEARCH UNSEEN"),
                          (BODIES, b"FETCH 1:%d (BODY.PEEK[])" % min(bench.mailbox, 1000))):
        yield name, median([client.timed(command)[0] for _ in range(5)])
    client.close()


def _expect(answer, count):
    found = answer.count(b" FETCH (")
    if found != count:
        raise AssertionError("the server sent %d messages of %d" % (found, count))
