"""Mail that has just come through the server, as a new session first lists it."""
from .. import messages
from ..clients.imap import Imap
from .listing import ITEMS
from .side_by_side import Question, compare, selected

APPENDS = 2000


def _name(item):
    return "%s after %d APPENDs" % (item, APPENDS)


def run(bench):
    return compare(bench, [Question(_name(item[0]), at_most=1) for item in ITEMS], _turn, kept=0)


def _turn(server, number, bench):
    names = [(_name(name), command, "%s%d" % (mailbox, number))
             for name, command, mailbox, _, _ in ITEMS]
    client = Imap(server.ports["imap"]).login()
    for _, _, mailbox in names:
        client.command(b"CREATE " + mailbox.encode("ascii"))
        for each in range(min(APPENDS, bench.messages)):
            client.append(mailbox.encode("ascii"), messages.message(each, "fresh-%d" % each))
    client.close()
    for name, command, mailbox in names:
        client = selected(server, mailbox)
        yield name, client.timed(command)[0]
        client.close()
