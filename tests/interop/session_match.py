"""A random session, played with two servers at once."""
import random
import re

from tests.imap import response_values
from tests.imap.mailbox_model import BrokenConnection
from tests.interop.random_session import Session
from tests.interop.session_differences import EXPLAINED, PARTING, Difference

STEPS = 60
# Before these, NOOP announces what the other connection changed. Without it, they may or may not be
# about those changes.
SEE_ALL = "(UID )?(FETCH|SEARCH|SORT|THREAD|COPY|MOVE|EXPUNGE|CLOSE|STATUS)|UID STORE|LIST .*STATUS"
# After these, NOOP: we announce what the other connection changed at the end of these commands,
# Dovecot at that of the next one.
SEE_LATER = "ENABLE|APPEND"
CRASHES_DOVECOT = "(UID )?THREAD REFERENCES"  # 2.3.19 sometimes ends there and logs nothing
NOT_COMPARED = {"\\marked", "\\unmarked", "\\archive", "\\drafts", "\\junk", "\\sent", "\\trash"}


class Match:
    """Plays a session with both servers: `sides` are two lists of Clients, ours and Dovecot's.

    `history`: [(connection, command), …]; `differences`: [(length of the history, Difference), …],
    those that nothing explains.
    """

    def __init__(self, sides, seed):
        self._sides = sides
        self._dice = random.Random(seed)
        self._session = Session(self._dice)
        self._labels = {}  # mailbox -> [(ours, theirs), …]: HIGHESTMODSEQ at the same moments
        self._validities = {}  # mailbox -> (ours, theirs)
        self._parted = False
        self.differences = []
        self.history = []

    def play(self):
        for command in self._session.beginning():
            self._do(0, command)
        for step in range(STEPS):
            connection = self._dice.randrange(len(self._sides[0]))
            ours = self._sides[0][connection]
            uids = [uid for uid, _ in ours.messages if uid is not None]
            command = self._session.next(
                ours.mailbox, ours.writable, uids, len(self._labels.get(ours.mailbox, ())),
                [client.mailbox or "" for client in self._sides[0]])
            if re.match(SEE_ALL, command):
                self._do(connection, "NOOP")
            if "(QRESYNC" in command:
                self._do(connection, "ENABLE QRESYNC")
            self._do(connection, command)
            if re.match(SEE_LATER, command):
                self._do(connection, "NOOP")
            if step % 4 == 3 and not self._parted:
                self.compare_views()
            if self.differences or self._parted:  # what follows would differ, too
                return

    def _do(self, connection, command):
        self.history.append((connection, command))
        clients = [side[connection] for side in self._sides]
        box = clients[0].mailbox
        try:
            answers = [client.ask(self._written(command, box, side), b"DONE\r\n")
                       for side, client in enumerate(clients)]
        except BrokenConnection as broken:
            if broken.client is clients[0] or not re.match(CRASHES_DOVECOT, command):
                raise
            self._parted = True
            return
        found = [comparable(command, answer) for answer in answers]
        lost_date = False
        if found[0] != found[1] and re.match("(UID )?(SORT|THREAD|SEARCH|FETCH)", command):
            found.append(comparable(command, clients[1].ask(self._written(command, box, 1))))
            lost_date = clients[1].ask("SEARCH SENTBEFORE 1-Jan-2000").data != [("SEARCH",)]
        for what in found[0]:
            if found[0][what] != found[1][what]:
                self._differs(Difference(command, box, what, [each[what] for each in found],
                                         tuple(answer.tagged for answer in answers), lost_date))
        if command.startswith("SUBSCRIBE") and answers[0].status != answers[1].status:
            clients[0].ask("UN" + command)
        self._learn(command, clients, answers)
        for client in clients:
            client.fill_in()
            if ".SILENT" in command:
                client.forget_flags([uid for uid, _ in client.messages])

    def _differs(self, difference):
        if any(parts(difference) for parts, _ in PARTING):
            self._parted = True
        elif not any(explains(difference) for explains, _ in EXPLAINED):
            self.differences.append((len(self.history), difference))

    def _written(self, command, box, side):
        command = re.sub(r"\{(modseq|after):(\d+)\}", lambda found: str(
            self._labels[box][int(found.group(2))][side] + (found.group(1) == "after")), command)
        return re.sub(r"\{validity:(.*?)\}", lambda found: str(
            self._validities[found.group(1)][side]), command)

    def _learn(self, command, clients, answers):
        words = command.split()
        box = clients[0].mailbox
        if words[0] in ("SELECT", "EXAMINE") and answers[0].status == answers[1].status == "OK":
            validity = tuple(int(answer.codes["UIDVALIDITY"][0]) for answer in answers)
            if self._validities.get(box) != validity:
                self._validities[box], self._labels[box] = validity, []
            values = [answer.codes.get("HIGHESTMODSEQ") for answer in answers]
            if all(values):
                self._labels[box].append(tuple(int(value[0]) for value in values))
        if words[0] == "STATUS" and words[1] != box and self._labels.get(words[1]):
            values = [response_values.items(answer.data[-1][2]).get("HIGHESTMODSEQ")
                      for answer in answers if answer.data]
            if len(values) == 2 and all(values):
                self._labels[words[1]].append(tuple(map(int, values)))

    def compare_views(self):
        for clients in zip(*self._sides):
            for client in clients:
                if client.mailbox:
                    assert client.ask("NOOP").status == "OK"
                    client.fill_in()
            for what in "mailbox", "messages":
                ours, theirs = [getattr(client, what) for client in clients]
                if ours != theirs:
                    self._differs(Difference("", None, what, [ours, theirs], (None, None), False))


def comparable(command, answer):
    """{what: value} of an answer."""
    words = command.replace("UID ", "").split()
    found = {"status": answer.status, "code": answer.tagged,
             "data": sorted((plain(data, command) for data in answer.data), key=repr)}
    for name in ("APPENDUID", "COPYUID", "MODIFIED"):
        if name in answer.codes:
            values = answer.codes[name]
            found[name] = [response_values.uids(value) for value in values[name != "MODIFIED":]]
        else:
            found[name] = None
    found["fetched"] = None
    if words[0] == "FETCH" or "QRESYNC (" in command:
        found["fetched"] = {
            each.number: {item.upper(): value for item, value in each.items.items()
                          if item != "MODSEQ"} for each in answer.fetched}
        for row in found["fetched"].values():
            if "FLAGS" in row:
                row["FLAGS"] = sorted(set(row["FLAGS"]) - {"\\Recent"})
    return found


def plain(data, command):
    """A response of mailbox_model.DATA without what servers may choose."""
    kind, values = data[0], data[1:]
    if kind in ("SEARCH", "SORT"):  # (MODSEQ n) may follow
        numbers = [value for value in values if isinstance(value, str)]
        return kind, sorted(numbers) if kind == "SEARCH" else numbers
    if kind == "ESEARCH":
        uid = "UID" in values[1:2]
        found = response_values.items(values[1 + uid:])
        found.pop("MODSEQ", None)
        if "ALL" in found:
            found["ALL"] = response_values.uids(found["ALL"])
        return kind, uid, sorted(found.items())
    if kind == "STATUS":
        found = response_values.items(values[1])
        found.pop("HIGHESTMODSEQ", None)
        found.pop("UIDVALIDITY", None)
        return kind, values[0], sorted(found.items())
    if kind in ("LIST", "LSUB"):
        attributes = {each.lower().replace("nonexistent", "noselect")  # which the former implies
                      for each in values[0]} - NOT_COMPARED
        if "CHILDREN" not in command:  # they may be sent, and need not
            attributes -= {"\\haschildren", "\\hasnochildren"}
        return (kind, values[2], sorted(attributes)) + values[3:]
    if kind == "ENABLED":
        return kind, sorted(values)
    return data
