"""What must be true of an account, known only from what clients asked and were answered.

The oracle never looks at a file. It hears of requests before they are made and of answers when they
have come (`hear`), is shown what a client can read (`Reading`, from `readers.py`) when nobody else
is at work, and says which promises are broken (`check` returns sentences; none is good).

The promises: what was accepted is there; (mailbox, UIDVALIDITY, UID) names the same bytes forever;
UIDVALIDITY stays, unless its loss was expected; a message that was seen stays unless its removal
was asked; new messages come above all that a client could have read before; UIDNEXT is above every
UID; acknowledged flags are kept through SIGKILL; a message's MODSEQ and a mailbox's never fall; one
(UID, MODSEQ) has one set of flags. A power loss excuses three things: flags may be as before,
removed messages may come back (same UID, same bytes), and a message may have got a new, higher UID.
"""
import copy
import hashlib
import re
from typing import NamedTuple, Optional

_TOKEN = re.compile(rb"^X-Token: (\S+)\r$", re.M)
_SUM = re.compile(rb"^X-Sum: ([0-9a-f]{64})\r$", re.M)


class Seen(NamedTuple):
    """One message as a client reads it."""
    digest: str                 # sha256 of the bytes as served
    token: Optional[str]
    flags: frozenset            # without \\Recent
    modseq: int                 # 0: not asked
    trouble: str                # what is wrong with the bytes by themselves, else ""


class Reading(NamedTuple):
    """One mailbox as a client reads it in one go."""
    uidvalidity: int
    uidnext: int
    highestmodseq: int          # 0: not asked
    messages: dict              # UID -> Seen


def make_message(token, dice, size=None):
    """A message that can be told and checked whatever trace lines are put before it: CRLF bytes."""
    size = dice.choice((0, 40, 700, 2000, 9000, 70000)) if size is None else size
    body = b"".join(b"%016x line of %s\r\n" % (dice.getrandbits(64), token.encode())
                    for _ in range(size // 40))
    return (
        b"From: oracle@example.org\r\nTo: user@example.org\r\nSubject: %s\r\nX-Token: %s\r\n"
        b"X-Sum: %s\r\n\r\n"
        % (token.encode(), token.encode(), hashlib.sha256(body).hexdigest().encode()) + body)


def read_message(data, flags=frozenset(), modseq=0, size=None):
    """A Seen of a message's served bytes; `size` is what the server said about it (RFC822.SIZE)."""
    head, _, body = data.partition(b"\r\n\r\n")
    token, expected = _TOKEN.search(head + b"\r\n"), _SUM.search(head + b"\r\n")
    trouble = ""
    if not token or not expected:
        trouble = "%d bytes without a whole header" % len(data)
    elif hashlib.sha256(body).hexdigest().encode() != expected.group(1):
        trouble = "the body of %s is not what was sent" % token.group(1).decode()
    elif size is not None and size != len(data):
        trouble = "%d bytes served, but the size is said to be %d" % (len(data), size)
    return Seen(hashlib.sha256(data).hexdigest(), token and token.group(1).decode(),
                frozenset(flags), modseq, trouble)


# What is known of a message under one UID.
SURE, LEAVING, MOVING, GONE, LOOSE = "must be there", "removal asked", "move asked", "removed", "anything"


class Oracle:
    """Keys are tuples (mailbox, UIDVALIDITY, UID). Deep copies are independent."""

    def __init__(self):
        self.sent = set()           # tokens that may exist
        self.kept = set()           # tokens that must exist somewhere
        # tokens whose removal was asked, maybe before the sender heard that they were accepted
        self.leaving = set()
        # tokens that must exist nowhere: the sender was told that there is no space
        self.refused = set()
        self.named = {}             # key -> digest, forever
        self.tokens = {}            # key -> token
        self.state = {}             # key -> SURE, …
        self.flags = {}             # key -> acknowledged flags; missing: not known
        self.modseq = {}            # key -> highest seen
        self.marked = {}            # (key, modseq) -> flags
        self.validity = {}          # mailbox -> UIDVALIDITY
        self.uidnext = {}           # (mailbox, UIDVALIDITY) -> as read last
        self.highest = {}           # (mailbox, UIDVALIDITY) -> HIGHESTMODSEQ
        self.untracked = set()      # mailboxes in which others change flags
        self.broken = []            # what answers alone already showed
        self.renumbered = 0         # messages that a power loss gave a new UID

    def clone(self):
        return copy.deepcopy(self)

    # What clients ask and are answered. A line is a dict: {"ask", "ok" or "saw": verb, …} as
    # `worker.py` prints them.

    def hear(self, line):
        """Takes one request or answer in."""
        for kind in ("ask", "ok", "saw"):
            if kind in line:
                getattr(self, "_%s_%s" % (kind, line[kind]))(line)
        if line.get("failed") and line["error"] == "NoSpace" and line["token"]:
            self.refused.add(line["token"])

    def _ask_deliver(self, line):
        self.sent.add(line["token"])

    def _ok_deliver(self, line):
        self.sent.add(line["token"])
        if line["token"] not in self.leaving:
            self.kept.add(line["token"])
        if "uid" in line:
            self._name((line["mailbox"], line["validity"], line["uid"]), line["digest"],
                       line["token"])
            if "flags" in line:
                self.flags[line["mailbox"], line["validity"],
                           line["uid"]] = frozenset(line["flags"])

    def _saw_tokens(self, line):
        """A client read which message has a UID."""
        for mailbox, validity, uid, token in line["tokens"]:
            key = mailbox, validity, uid
            if self.tokens.setdefault(key, token) != token:
                self.broken.append("%s is %s, before it was %s"
                                   % (_text(key), token, self.tokens[key]))
            self.state.setdefault(key, SURE)

    def _ask_flags(self, line):
        for key in _keys(line):
            self.flags.pop(key, None)

    def _ok_flags(self, line):
        for mailbox, validity, uid, flags in line["set"]:
            self.flags[mailbox, validity, uid] = frozenset(flags)

    def _ask_remove(self, line):
        for key in _keys(line):
            self.state[key] = LEAVING
            self.leaving.add(self.tokens.get(key))
            self.kept.discard(self.tokens.get(key))
            self.flags.pop(key, None)

    def _ok_remove(self, line):
        for key in _keys(line):
            self.state[key] = GONE

    def _ask_discard(self, line):
        """POP3: whichever UID the message has, and however many copies, it may go."""
        self.leaving.update(line["tokens"])
        self.kept.difference_update(line["tokens"])
        for key, token in self.tokens.items():
            if token in line["tokens"]:
                self.state[key] = LEAVING

    def _ok_discard(self, line):
        # a message that came twice is removed once: what is left says the next reading
        pass

    def _ask_copy(self, line):
        pass

    def _ok_copy(self, line):
        for source, target in line["pairs"]:
            source, target = tuple(source), tuple(target)
            self._name(target, self.named.get(source), self.tokens.get(source))

    def _ask_move(self, line):
        for key in _keys(line):
            self.state[key] = MOVING
            self.flags.pop(key, None)

    def _ok_move(self, line):
        self._ok_copy(line)
        for source, _ in line["pairs"]:
            self.state[tuple(source)] = GONE

    def _name(self, key, digest, token):
        """A UID was told: it names these bytes from now on."""
        if digest is not None and self.named.setdefault(key, digest) != digest:
            self.broken.append("%s was given to a second message (%s and %s)"
                               % (_text(key), self.tokens.get(key), token))
        self.tokens.setdefault(key, token)
        if self.state.get(key, SURE) in (SURE, LOOSE):
            self.state[key] = SURE
        validity = self.validity.setdefault(key[0], key[1])
        if validity < key[1]:
            self.broken.append("%s: UIDVALIDITY %d, before it was %d"
                               % (_text(key), key[1], validity))

    # What happened to the machine.

    def checkpoint(self):
        """What is known now, for `restored`."""
        return self.clone()

    def restored(self, old):
        """The mail folder is again as it was at the checkpoint `old`: what came later may be lost,
        what went later may be back."""
        for key, state in self.state.items():
            if old.state.get(key) != state:
                self.state[key] = LOOSE
        for key in list(self.flags):
            if old.flags.get(key) != self.flags[key]:
                del self.flags[key]
        self.kept &= old.kept

    # What a client reads.

    def check(self, readings, power_lost=False, may_renew=False):
        """`readings`: {mailbox: Reading} of all mailboxes. Returns the broken promises and takes
        what it saw as the new state.

        `power_lost`: the power failed since the last check; `may_renew`: UIDVALIDITY may have risen
        (all that knew it was destroyed).
        """
        broken, self.broken = self.broken, []
        for mailbox, reading in sorted(readings.items()):
            broken += self._check_mailbox(mailbox, reading, power_lost, may_renew)
        present = {seen.token for reading in readings.values()
                   for seen in reading.messages.values()}
        broken += ["%s was accepted and is nowhere" % token
                   for token in sorted(self.kept - present)]
        for mailbox in set(self.validity) - set(readings):
            broken.append("mailbox %s is gone" % mailbox)
        return broken

    def _check_mailbox(self, mailbox, reading, power_lost, may_renew):
        broken = []
        validity = self.validity.get(mailbox)
        if validity not in (None, reading.uidvalidity):
            if not may_renew or reading.uidvalidity < validity:
                broken.append("%s: UIDVALIDITY is %d and was %d"
                              % (mailbox, reading.uidvalidity, validity))
        self.validity[mailbox] = reading.uidvalidity
        at = mailbox, reading.uidvalidity
        known = [key[2] for key in self.tokens if key[:2] == at]
        broken += self._check_numbers(at, reading, known)
        for uid, seen in sorted(reading.messages.items()):
            broken += self._check_message(at + (uid,), seen, power_lost)
        if validity == reading.uidvalidity:
            broken += self._check_missing(at, reading, known, power_lost)
        self.uidnext[at] = max(reading.uidnext, self.uidnext.get(at, 0))
        self.highest[at] = max(reading.highestmodseq, self.highest.get(at, 0))
        return broken

    def _check_numbers(self, at, reading, known):
        broken = []
        uids = set(reading.messages) | set(known)
        if uids and max(uids) >= reading.uidnext:
            broken.append("%s: UIDNEXT is %d, but %d was used"
                          % (at[0], reading.uidnext, max(uids)))
        if reading.uidnext < self.uidnext.get(at, 0):
            broken.append("%s: UIDNEXT fell from %d to %d"
                          % (at[0], self.uidnext[at], reading.uidnext))
        if 0 < reading.highestmodseq < self.highest.get(at, 0):
            broken.append("%s: HIGHESTMODSEQ fell from %d to %d"
                          % (at[0], self.highest[at], reading.highestmodseq))
        for uid in sorted(set(reading.messages) - set(known)):
            if uid < self.uidnext.get(at, 0):
                broken.append("%s: message %d appeared below UIDNEXT %d"
                              % (at[0], uid, self.uidnext[at]))
        return broken

    def _check_message(self, key, seen, power_lost):
        broken = []
        if seen.trouble:
            broken.append("%s: %s" % (_text(key), seen.trouble))
        elif seen.token not in self.sent:
            broken.append("%s: %s was never sent" % (_text(key), seen.token))
        elif seen.token in self.refused:
            broken.append("%s: %s was refused for want of space, but it is there"
                          % (_text(key), seen.token))
        if self.named.setdefault(key, seen.digest) != seen.digest:
            broken.append("%s named %s before, now it is %s"
                          % (_text(key), self.tokens.get(key), seen.token))
        if self.state.get(key) == GONE and not power_lost:
            broken.append("%s is back although its removal was answered" % _text(key))
        broken += self._check_flags(key, seen, power_lost)
        self.tokens[key] = seen.token
        self.state[key] = SURE
        return broken

    def _check_flags(self, key, seen, power_lost):
        broken = []
        expected = self.flags.get(key)
        if expected is not None and expected != seen.flags and not power_lost and key[
                0] not in self.untracked:
            broken.append("%s: flags %s were acknowledged, now %s"
                          % (_text(key), sorted(expected), sorted(seen.flags)))
        if seen.modseq:
            if seen.modseq < self.modseq.get(key, 0):
                broken.append("%s: MODSEQ fell from %d to %d"
                              % (_text(key), self.modseq[key], seen.modseq))
            before = self.marked.setdefault((key, seen.modseq), seen.flags)
            if before != seen.flags:
                broken.append("%s: MODSEQ %d had flags %s, now %s"
                              % (_text(key), seen.modseq, sorted(before), sorted(seen.flags)))
            self.modseq[key] = max(seen.modseq, self.modseq.get(key, 0))
        self.flags[key] = seen.flags
        return broken

    def _check_missing(self, at, reading, known, power_lost):
        broken = []
        here = {seen.token for seen in reading.messages.values()}
        for uid in sorted(set(known) - set(reading.messages)):
            key = at + (uid,)
            if self.state.get(key) != SURE:
                self.state[key] = GONE if self.state.get(key) != LOOSE else LOOSE
            elif power_lost and self.tokens[key] in here:
                self.renumbered += 1
                self.state[key] = LOOSE
            else:
                broken.append("%s: %s is not there any more" % (_text(key), self.tokens[key]))
                self.state[key] = LOOSE
        return broken


def _keys(line):
    return [tuple(key) for key in line["keys"]]


def _text(key):
    return "%s/%d/%d" % key
