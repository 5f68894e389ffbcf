"""Copies the mail of an account on another server, mailbox by mailbox.

For each message, in this order: its octets go to a temporary file whose name has the message's key;
the file is synced; it becomes a message here (store.Account.deliver_all, durable when it returns);
the ledger gets a line. A process that is killed anywhere in between leaves the message uncopied, or
copied and recognized by its key. Nothing is changed at the other server.

What goes wrong for a while (a lost connection, a full disk, the other server's limits) is waited
for (connection.py).
"""
import contextlib
import hashlib

from ...store import errors
from .. import identity
from ..source import PIECE, BoxGone, FetchError, MessageGone, Throttled, Unreadable
from .connection import PAUSE, Connection
from .here import Everywhere, Here
from .ledger import AS, NOT_COPIED, UNKNOWN, Ledger, Line, heads
from .plan import Labels
from .remote import TooLarge

_MESSAGES, _OCTETS = 64, 4 << 20  # of one batch, whose messages are delivered together
_ROUNDS = 3  # lists of a mailbox: messages may arrive there meanwhile
_HERE, _MISSING, _LEFT = "here", "missing", "left"
_SYSTEM_FLAGS = {flag.lower(): flag for flag in (
    "\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")}


class Owner:
    """Makes the keys of messages. `account`: identity.account_key of the account there."""

    def __init__(self, account):
        self.account = account

    def key(self, box, target, entry):
        """The key of a message in the mailbox `target` here -> 32 hexadecimal digits.

        `box`: the source.Box there. It is the key that fetching gives the message, except that
        Gmail's messages have one X-GM-MSGID in all mailboxes.
        """
        if entry.msgid:
            return identity.name_key(self.account, target, "X-GM-MSGID", entry.msgid)
        return identity.name_key(self.account, box.name, box.validity, "%d" % entry.uid)


class Copier:
    """Copies according to a plan.

    `connect()`: a logged in Remote; `owner`: an Owner; `account`: the store's Account; `folder`:
    that of the ledgers; `progress`: a Progress; `largest`: octets of a message; `allowance`: an
    Allowance or None; `fetched`: a handing_over.Fetched or None.
    """

    def __init__(self, connect, owner, account, folder, progress, largest, allowance=None,
                 fetched=None):
        self._connection = Connection(connect, progress)
        self._owner = owner
        self._account = account
        self._folder = folder
        self._progress = progress
        self._largest = largest
        self._allowance = allowance
        self._fetched = fetched
        self._copied = 0  # messages
        self._earlier = {}  # digest -> [(key, mailbox here)]; see _learn_earlier
        self._here = {}  # mailbox here -> Here
        self._everywhere = Everywhere(account)

    # The whole

    def run(self, plan):
        """Copy all mailboxes of a Plan. Raises Stopped, LoginRefused, StoreError, OSError."""
        make_mailboxes(self._account, plan)
        for move in plan.moves:
            self.copy(move, plan)

    def copy(self, move, plan):
        """Copy one mailbox; its target must exist. Raises as `run` does."""
        self._progress.box(move.source)
        self._here = {}
        try:
            for _ in range(_ROUNDS):
                if not self._connection.persistently(lambda: self._round(move, plan),
                                                     lambda: self._copied):
                    break
        except BoxGone:
            self._progress.say("%s does not exist there any more" % move.source)

    def close(self):
        """Log out."""
        if self._allowance is not None:
            self._allowance.note()
        self._connection.close()

    # One mailbox

    def _round(self, move, plan):
        """Copy what is not here yet -> whether anything was copied."""
        remote, by_label = self._connection.remote, {}
        if move.by_label and self._fetched is not None:
            by_label = self._fetched.by_label(remote, self._owner.account, plan.labels,
                                              self._everywhere.__contains__)
        box = remote.open(move.source)
        work = _Work(box, move, Labels(plan, move.target) if move.by_label else None, by_label)
        with Ledger(self._folder, self._owner.account, box.name, box.validity,
                    move.target) as ledger:
            self._learn_earlier(work, ledger)
            batch, octets, before = [], 0, self._copied
            for entry in self._connection.remote.entries(
                    lambda uid: uid not in ledger and not self._is_left(box, uid)):
                if batch and (len(batch) >= _MESSAGES or octets + entry.size > _OCTETS):
                    self._copy_batch(work, ledger, batch)
                    batch, octets = [], 0
                batch.append(entry)
                octets += entry.size
            if batch:
                self._copy_batch(work, ledger, batch)
        return self._copied > before

    def _is_left(self, box, uid):
        return self._fetched is not None and self._fetched.takes(box, uid)

    def _learn_earlier(self, work, ledger):
        """Of a virtual mailbox, or of one whose UIDVALIDITY has changed: the messages that were
        copied from elsewhere, or before the change. They are recognized by their hashes."""
        self._earlier = {}
        for head in heads(self._folder, self._owner.account):
            box, validity = head["box"], head["validity"]
            if box == work.box.name and validity == work.box.validity:
                continue
            if not work.move.virtual and box != work.box.name:
                continue
            with Ledger(self._folder, self._owner.account, box, validity, "") as other:
                for line in other.lines():
                    if len(line.digest) == 64 and not line.reason.startswith(AS + " "):
                        old = work.box._replace(name=box, validity=validity)
                        key = self._owner.key(old, head["target"], _Numbered(line.uid))
                        self._earlier.setdefault(line.digest, []).append((key, head["target"]))
        if self._earlier and not work.move.virtual:  # two equal messages stay two
            for line in ledger.lines():
                if line.reason.startswith(AS + " ") and self._earlier.get(line.digest):
                    self._earlier[line.digest].pop(0)

    def _copy_batch(self, work, ledger, entries):
        """Copy some messages, and note it."""
        wanted = []
        work.coming = set()
        for entry in entries:
            places, flags = self._places(work, entry)
            missing = [name for name, state in places if state == _MISSING]
            if not missing:
                if all(state == _HERE for _, state in places):
                    ledger.add([Line(entry.uid, entry.size, UNKNOWN)])
                self._progress.advance(1, entry.size)
            elif entry.size > self._largest:
                self._too_large(ledger, entry)
            else:
                wanted.append((entry, missing, flags))
        arrived = []
        with contextlib.ExitStack() as stack:
            try:
                self._receive(work, ledger, wanted, stack, arrived)
            except FetchError:
                self._deliver(work, ledger, arrived)
                raise
            self._deliver(work, ledger, arrived)

    def _places(self, work, entry):
        """-> ([(mailbox here, whether the message is _HERE, _MISSING, or _LEFT to fetching)], its
        flags)."""
        flags = _flags(entry.flags)
        names = (work.move.target,)
        if work.labels is not None:
            names, flags = work.labels.places(entry.labels, flags)
        places = []
        for name in names:
            key = self._owner.key(work.box, name, entry)
            # Fetching may have put it elsewhere, or another program may have moved it.
            if (self._at(name).uid(key) is not None or key in self._everywhere
                    or key in work.coming):
                places.append((name, _HERE))
            else:
                is_left = entry.msgid in work.by_label.get(name, ())
                places.append((name, _LEFT if is_left else _MISSING))
            work.coming.add(key)
        return places, flags

    def _at(self, name):
        if name not in self._here:
            make_mailbox(self._account, name)
            self._here[name] = Here(self._account, name)
        return self._here[name]

    def _receive(self, work, ledger, wanted, stack, arrived):
        """Read messages into temporary files, and append each to `arrived`: (entry, names here,
        flags, synced Staged, digest)."""
        by_uid = {entry.uid: (entry, names, flags) for entry, names, flags in wanted}
        for entry, pieces in self._connection.remote.bodies([entry for entry, _, _ in wanted]):
            entry, names, flags = by_uid[entry.uid]
            staged = stack.enter_context(self._stage(work, names[0], entry))
            digest = hashlib.sha256()
            try:
                for piece in self._pieces(work, entry, pieces):
                    digest.update(piece)
                    staged.write(piece)
            except MessageGone:
                continue
            except TooLarge:
                self._too_large(ledger, entry)
                continue
            except Unreadable as error:  # the next run tries it again
                ledger.add([Line(entry.uid, entry.size, NOT_COPIED, str(error))])
                self._progress.advance(1, entry.size)
                continue
            staged.sync(entry.date)
            arrived.append((entry, names, flags, staged, digest.hexdigest()))
            if self._allowance is not None:
                self._allowance.check()

    def _too_large(self, ledger, entry):
        ledger.add([Line(entry.uid, entry.size, NOT_COPIED,
                         "larger than the limit of %d octets (message-size)" % self._largest)])
        self._progress.advance(1, entry.size)

    def _stage(self, work, name, entry, twin=None):
        return self._account.stage(twin, self._owner.key(work.box, name, entry))

    def _pieces(self, work, entry, pieces):
        """The octets of a message. A large one goes on where the connection was cut."""
        offset, cuts = 0, 0
        while True:
            try:
                for piece in pieces:
                    offset += len(piece)
                    if self._allowance is not None:
                        self._allowance.take(len(piece))
                    yield piece
                return
            except (MessageGone, Throttled, Unreadable):
                raise
            except FetchError as error:
                cuts += 1
                if offset < PIECE * cuts:
                    raise
                self._connection.close()
                self._progress.pause(PAUSE, str(error))
            if self._connection.remote.open(work.move.source).validity != work.box.validity:
                raise FetchError("%s was replaced there" % work.move.source)
            pieces = self._connection.remote.rest(entry, offset)

    def _deliver(self, work, ledger, arrived):
        """Make messages of the temporary files, mailbox by mailbox, then note them."""
        lines, by_name, twins = [], {}, contextlib.ExitStack()
        with twins:
            for entry, names, flags, staged, digest in arrived:
                line = Line(entry.uid, entry.size, digest)
                known = self._take_earlier(work, digest)
                if known:
                    lines.append(line._replace(reason="%s %s %s" % ((AS,) + known)))
                    continue
                lines.append(line)
                for name in names:
                    each = staged
                    if name != names[0]:
                        each = twins.enter_context(self._stage(work, name, entry, staged))
                        each.sync(entry.date)
                    by_name.setdefault(name, []).append((entry, each, flags))
            left_out = {}
            for name, messages in by_name.items():
                self._add(work, name, messages, left_out)
        ledger.add([line._replace(reason="keywords not kept: %s" % " ".join(left_out[line.uid]))
                    if line.uid in left_out else line for line in lines])
        self._copied += len(lines)
        for line in lines:
            self._progress.advance(1, line.size)

    def _take_earlier(self, work, digest):
        """(key, mailbox here) of a message that is here already, or None."""
        found = self._earlier.get(digest)
        if not found:
            return None
        return found[0] if work.move.virtual else found.pop(0)

    def _add(self, work, name, messages, left_out):
        batch = [(staged, flags) for _, staged, flags in messages]
        try:
            delivered = self._account.deliver_all(name, batch)
        except errors.NotFound:  # the user has removed the mailbox meanwhile
            make_mailbox(self._account, name)
            delivered = self._account.deliver_all(name, batch)
        here = self._at(name)
        for (entry, _, _), each in zip(messages, delivered):
            here.add(self._owner.key(work.box, name, entry), each.uid)
            if each.left_out:
                left_out.setdefault(entry.uid, []).extend(each.left_out)


class _Work:
    """`box`: source.Box; `move`: plan.Move; `labels`: plan.Labels or None; `by_label`: of
    handing_over.Fetched."""

    def __init__(self, box, move, labels, by_label):
        self.box = box
        self.move = move
        self.labels = labels
        self.by_label = by_label
        self.coming = set()  # keys of a batch: a server may have an X-GM-MSGID twice


class _Numbered:
    """What Owner.key needs of an Entry."""
    msgid = ""

    def __init__(self, uid):
        self.uid = uid


def _flags(flags):
    """The flags of a message there that it has here."""
    found = []
    for flag in flags:
        if not flag.startswith("\\"):
            found.append(flag)
        elif flag.lower() in _SYSTEM_FLAGS:
            found.append(_SYSTEM_FLAGS[flag.lower()])
    return found


def make_mailboxes(account, plan):
    """Make the mailboxes of a Plan, and subscribe to them."""
    for name in plan.create:
        make_mailbox(account, name)
    subscribed = set(account.subscriptions())
    for name in plan.subscribe:
        if name not in subscribed:
            account.subscribe(name)


def make_mailbox(account, name):
    """Make sure that there is a mailbox `name`. Raises StoreError."""
    try:
        account.require(name)
    except errors.NotFound:
        try:
            account.create(name)
        except errors.Exists:
            pass
