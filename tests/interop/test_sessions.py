"""The same random sessions with us and with Dovecot, on the same messages: each difference is
explained, or the test fails."""
import calendar
import functools
import os
import random
import re
import shlex
import shutil
import socket
import subprocess
from typing import NamedTuple, Optional

import pytest

from tests.imap import response_values
from tests.imap.mailbox_model import Client
from tests.interop.house import SECONDS, ok
from tests.interop.random_session import KNOWN_IDS, Session
from tests.interop.test_dovecot import dovecot  # noqa: F401 - a fixture
from tests.interop.test_dovecot_order import letter

SEEDS = [int(seed) for seed in os.environ.get("SESSIONS", "1 2 3 4").split()]
STEPS = 60
CONNECTIONS = 2
# Before these, NOOP announces what the other connection changed. Without it, they may or may not be
# about those changes.
SEE_ALL = ("FETCH", "SEARCH", "SORT", "THREAD", "COPY", "MOVE", "EXPUNGE", "CLOSE", "STATUS",
           'LIST "" % RETURN (STATUS')
CRASHES_DOVECOT = "(UID )?THREAD REFERENCES"  # 2.3.19 sometimes ends there and logs nothing


def our_client(house, user):
    stream = house.trust().wrap_socket(
        socket.create_connection((house.host, house.ports["imaps"]), SECONDS),
        server_hostname=house.host)
    client = greeted(stream.makefile("rb"), stream.sendall, stream.close)
    assert client.ask("LOGIN %s %s" % (user.name, user.passphrase)).status == "OK"
    return client


def dovecot_client(command):
    child = subprocess.Popen(shlex.split(command), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def send(data):
        child.stdin.write(data)
        child.stdin.flush()

    def close():
        child.stdin.close()
        child.wait(SECONDS)
        child.stdout.close()
    return greeted(child.stdout, send, close)


def greeted(file, send, close):
    client = Client(functools.partial(response_values.read, file), send, close)
    assert response_values.read(file)
    return client


class Difference(NamedTuple):
    """`what` differs in the answers to `command`; `box`: the selected mailbox; `found`: our
    answer, Dovecot's, and for SORT and THREAD what Dovecot says when it is asked again; `codes`:
    the codes of the tagged response_values."""
    command: str
    box: Optional[str]
    what: str
    found: list
    codes: tuple

    @property
    def ours(self):
        return self.found[0]

    @property
    def theirs(self):
        return self.found[1]

    @property
    def words(self):
        return self.command.replace("UID ", "").split() or [""]


class Match:
    """Plays a session with both servers: `sides` are two lists of Clients."""

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
        for step in range(STEPS):
            connection = self._dice.randrange(CONNECTIONS)
            ours = self._sides[0][connection]
            uids = [uid for uid, _ in ours.messages if uid is not None]
            command = self._session.next(
                ours.mailbox, ours.writable, uids, len(self._labels.get(ours.mailbox, ())),
                [client.mailbox or "" for client in self._sides[0]])
            if command.replace("UID ", "").startswith(SEE_ALL):
                self._do(connection, "NOOP")
            if "(QRESYNC" in command:
                self._do(connection, "ENABLE QRESYNC")
            self._do(connection, command)
            if step % 4 == 3 and not self._parted:
                self.compare_views()
            if self.differences or self._parted:  # what follows would differ, too
                return

    def _do(self, connection, command):
        self.history.append((connection, command))
        clients = [side[connection] for side in self._sides]
        box = clients[0].mailbox
        written = [self._written(command, box, side) for side in (0, 1)]
        answers = [clients[0].ask(written[0], b"DONE\r\n")]
        try:
            answers.append(clients[1].ask(written[1], b"DONE\r\n"))
        except EOFError:
            if not re.match(CRASHES_DOVECOT, command):
                raise
            self._parted = True
            return
        found = [comparable(command, answer) for answer in answers]
        if found[0] != found[1] and re.match("(UID )?(SORT|THREAD)", command):
            again = clients[1].ask(written[1])
            found.append(comparable(command, again))
        for what in found[0]:
            if found[0][what] != found[1][what]:
                self._differs(Difference(command, box, what, [each[what] for each in found],
                                         tuple(answer.tagged for answer in answers)))
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
        for connection in range(CONNECTIONS):
            clients = [side[connection] for side in self._sides]
            for client in clients:
                if client.mailbox:
                    assert client.ask("NOOP").status == "OK"
                    client.fill_in()
            for what in "mailbox", "messages":
                ours, theirs = [getattr(client, what) for client in clients]
                if ours != theirs:
                    self._differs(Difference("", None, what, [ours, theirs], (None, None)))


# What is compared


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
        attributes = {each.lower() for each in values[0]} - {"\\marked", "\\unmarked"}
        if "CHILDREN" not in command:  # they may be sent, and need not
            attributes -= {"\\haschildren", "\\hasnochildren"}
        return (kind, values[2], sorted(attributes)) + values[3:]
    if kind == "ENABLED":
        return kind, sorted(values)
    return data


def _reasonless(it):
    return it.what == "code" and it.theirs is None and it.ours in (
        "NONEXISTENT", "CANNOT", "ALREADYEXISTS", "TRYCREATE", "EXPUNGEISSUED")


def _read_only(it):
    return it.codes[0] == "READ-ONLY" and it.words[0] in ("STORE", "EXPUNGE", "SELECT") and (
        it.what in ("status", "code", "MODIFIED"))


def _more_codes(it):
    return it.what == "code" and (it.ours, it.theirs) in (
        ("HIGHESTMODSEQ", None), (None, "HIGHESTMODSEQ"), ("EXPUNGEISSUED", "HIGHESTMODSEQ"))


def _status_of_selected(it):
    return it.what == "code" and (it.ours, it.theirs) == (None, "CLIENTBUG")


def _rename_to_itself(it):
    return it.what == "code" and it.words[0] == "RENAME" and it.words[1] == it.words[2]


def _enabled_nothing(it):
    return it.command == "ENABLE NOTHING" and it.what == "data"


def _unknown_name(it):
    return it.words[0] == "SUBSCRIBE" and (it.ours, it.theirs) == ("OK", "NO")


def _nothing_to_copy(it):
    return it.words[0] in ("MOVE", "COPY") and (it.ours, it.theirs) == ("NO", "OK")


def _only_saved(it):
    return "RETURN (SAVE) " in it.command and it.what == "data" and not it.ours


def _higher_than_all(it):
    return it.what == "data" and re.search(r"NOT .*MODSEQ \{after", it.command)


def _sorted_at_last(it):
    return it.what == "data" and len(it.found) > 2 and it.found[2] == it.ours


def _skipped_a_uid(it):
    if it.what not in ("APPENDUID", "COPYUID") or None in it.found:
        return False
    (*ours_before, ours), (*theirs_before, theirs) = it.found
    return ours_before == theirs_before and len({
        their - our for our, their in zip(ours, theirs)}) == 1


# A difference -> why it is none that a mail program minds.
EXPLAINED = (
    (_reasonless, "RFC 5530 has response codes for these; Dovecot sends few of them"),
    (_read_only, "after EXAMINE, Dovecot says OK to STORE and EXPUNGE, and does nothing"),
    (_more_codes, "RFC 7162 asks for HIGHESTMODSEQ after commands that expunged: Dovecot sends it "
                  "after others, too, and we after EXPUNGE also if there was nothing to expunge"),
    (_status_of_selected, "RFC 3501 6.3.10 tells programs not to; Dovecot complains"),
    (_rename_to_itself, "two things are wrong with it at once"),
    (_enabled_nothing, "RFC 5161 3.2 wants ENABLED also if nothing was; Dovecot sends none"),
    (_unknown_name, "RFC 3501 6.3.6 leaves it open whether unknown names can be subscribed to"),
    (_nothing_to_copy, "Dovecot looks at the target only if there is a message to copy"),
    (_only_saved, "SAVE alone suppresses ESEARCH (RFC 5182 2.1); Dovecot sends an empty one"),
    (_higher_than_all, "NOT MODSEQ of a number that no message has reached yet means all: Dovecot "
                       "finds none"),
    (_sorted_at_last, "Dovecot's first answer can be out of order; it numbers subjects and "
                      "addresses while it sorts"),
)
# After these, the mailboxes of the two differ, and the session ends.
PARTING = (
    (_skipped_a_uid, "Dovecot sometimes leaves out UIDs, or we do (RFC 3501 2.3.1.1 allows it)"),
)


def played(house, user, dovecot, folder, seed):  # noqa: F811
    """A Match that was played on a new user's mailboxes, which are copied for Dovecot."""
    dice = random.Random(seed)
    for name in ("cur", "new", "tmp"):
        os.mkdir(os.path.join(user.folder, name))
    for number in range(8):
        path = os.path.join(user.folder, "new", "10%d.M1P1.here" % number)
        with open(path, "wb") as file:
            file.write(letter(dice, number, KNOWN_IDS))
        day = calendar.timegm((2003, 1, dice.randint(1, 28), 0, 0, 0))
        os.utime(path, (day, day))
    client = house.imap(user, "INBOX")
    ok(client.create("a"))
    client.logout()
    copy = os.path.join(str(folder), "copy")
    shutil.copytree(user.folder, copy)
    other = dovecot(copy)
    sides = ([our_client(house, user) for _ in range(CONNECTIONS)],
             [dovecot_client(other.command) for _ in range(CONNECTIONS)])
    match = Match(sides, seed)
    try:
        match.play()
    finally:
        for each in sides[0] + sides[1]:
            each.close()
    return match


@pytest.fixture
def house(running):
    """The server; the sessions may provoke BAD, but no other error."""
    yield running
    complaints = running.complaints(bad=False)
    assert not complaints, complaints


@pytest.mark.parametrize("seed", SEEDS)
def test_both_give_the_same_answers(house, user, dovecot, tmp_path, seed):  # noqa: F811
    match = played(house, user, dovecot, tmp_path, seed)
    assert not match.differences, "\n".join(
        map(str, match.history[:match.differences[0][0]] + match.differences[:3]))
