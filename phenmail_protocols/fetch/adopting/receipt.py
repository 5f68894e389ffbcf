"""The receipt of a copied account: both sides compared, message by message and octet by octet.

A message here is found by the key in its file name, read from the disk as a mail program would get
it, and its hash compared with that of the octets from the other server.
"""
import contextlib
import hashlib
from typing import Any, Dict, NamedTuple, Optional, Tuple

from ...mail.headers import first, split_header
from ...mail.writing import printable
from ...store import errors
from ..source import Box, BoxGone, MessageGone, Unreadable
from .here import Everywhere, Here
from .ledger import AS, Ledger
from .plan import Labels, Move
from .remote import TooLarge

_NAMED = 100  # messages of a mailbox that the receipt names
_BATCH = 64
_HEADER = 65536  # octets of a message in which its Message-ID is looked for


class Row(NamedTuple):
    """One mailbox. `there`, `here`: messages there, and those of them that are here; `identical`:
    those with the same octets; `differing`: (Message-ID, why) of the first of the others; `more`:
    how many are not named; `fetched`: messages that fetching has brought or will bring,
    which are not counted elsewhere."""
    source: str
    target: str
    there: int
    here: int
    identical: int
    differing: Tuple[Tuple[str, str], ...] = ()
    more: int = 0
    fetched: int = 0

    @property
    def is_whole(self):
        """Whether each message there is here, with the same octets."""
        return self.there == self.here == self.identical


class Comparison:
    """Compares according to a Plan.

    `connection`: a connection.Connection; `owner`: copying.Owner; `account`: the store's Account;
    `folder`: that of the ledgers; `progress`: a Progress; `afresh`: read every message there again,
    else the hashes of the ledgers are believed where there is one; `fetched`: as for Copier.
    """

    def __init__(self, connection, owner, account, folder, progress, afresh, fetched=None):
        self._connection = connection
        self._owner = owner
        self._account = account
        self._folder = folder
        self._progress = progress
        self._afresh = afresh
        self._fetched = fetched

    def rows(self, plan):
        """Yield a Row for each mailbox. Raises FetchError, Stopped, StoreError, OSError."""
        for move in plan.moves:
            self._progress.box(move.source)
            try:
                yield self._connection.persistently(lambda: self._of(move, plan))
            except BoxGone:
                self._progress.say("%s does not exist there any more" % move.source)

    def _of(self, move, plan):
        remote, by_label = self._connection.remote, {}
        with _Mailboxes(self._account) as here:
            if move.by_label and self._fetched is not None:
                by_label = self._fetched.by_label(remote, self._owner.account, plan.labels,
                                                  here.everywhere)
            box = remote.open(move.source)
            labels = Labels(plan, move.target) if move.by_label else None
            with Ledger(self._folder, self._owner.account, box.name, box.validity,
                        move.target) as ledger:
                return self._row(_Sides(move, box, here, ledger, labels, by_label))

    def _row(self, sides):
        counted, batch = _Counted(), []
        for entry in self._connection.remote.entries(lambda uid: True):
            batch.append(entry)
            if len(batch) == _BATCH:
                self._compare(sides, counted, batch)
                batch = []
        self._compare(sides, counted, batch)
        return Row(sides.move.source, sides.move.target, counted.there, counted.here,
                   counted.identical, tuple(counted.differing), counted.more, counted.fetched)

    def _compare(self, sides, counted, entries):
        digests = {}  # UID there -> hash of its octets there
        for entry in entries:
            line = sides.ledger.line(entry.uid)
            if not self._afresh and line is not None and len(line.digest) == 64:
                digests[entry.uid] = line.digest
        unknown = [entry for entry in entries if entry.uid not in digests]
        for entry, pieces in self._connection.remote.bodies(unknown):
            digest = hashlib.sha256()
            try:
                for piece in pieces:
                    digest.update(piece)
            except MessageGone:
                continue
            except (TooLarge, Unreadable):
                digests[entry.uid] = ""
                continue
            digests[entry.uid] = digest.hexdigest()
        for entry in entries:
            if entry.uid in digests:  # else it was removed there just now
                self._one(sides, counted, entry, digests[entry.uid])
            self._progress.advance(1, entry.size)

    def _one(self, sides, counted, entry, digest):
        line = sides.ledger.line(entry.uid)
        places = self._places(sides, line, entry)
        found = [sides.here.digest(*place) or sides.here.elsewhere(place[1]) for place in places]
        missing = [name for (name, _), each in zip(places, found) if each is None]
        if self._is_fetched(sides, entry, digest, places, found):
            counted.fetched += 1
            return
        counted.there += 1
        if missing:
            counted.differs(lambda: self._name(entry), lambda: "not in %s%s" % (
                ", ".join(missing), _why_missing(line, sides.labels)))
            return
        counted.here += 1
        if all(each == digest for each in found):
            counted.identical += 1
        else:
            counted.differs(lambda: self._name(entry), lambda: self._why_different(entry, found[0]))

    def _places(self, sides, line, entry):
        """[(mailbox here, key)] where a message should be that was copied."""
        if line is not None and line.reason.startswith(AS + " "):
            _, key, name = line.reason.split(" ", 2)
            return [(name, key)]
        names = (sides.move.target,)
        if sides.labels is not None:
            names = [name for name in sides.labels.places(entry.labels, ())[0]
                     if entry.msgid not in sides.by_label.get(name, ())]
        return [(name, self._owner.key(sides.box, name, entry)) for name in names]

    def _is_fetched(self, sides, entry, digest, places, found):
        """Whether fetching has brought a message, or will bring it."""
        if self._fetched is None or not self._fetched.is_begun:
            return False
        if not places:
            return True
        if None in found:
            return self._fetched.takes(sides.box, entry.uid)
        return sides.labels is None and found[0] != digest and sides.here.ends_like(
            places[0][1], entry.size, digest)

    def _name(self, entry):
        header = split_header(self._connection.remote.header(entry.uid)[:_HEADER])[0]
        value = first(header, b"message-id")
        name = printable((value or b"").decode("utf-8", "replace").strip())[:200]
        return name or "UID %d, without Message-ID" % entry.uid

    def _why_different(self, entry, here):
        """Read the message there again. `here`: hash of ours."""
        digest, last = hashlib.sha256(), b""
        try:
            for _, pieces in self._connection.remote.bodies([entry]):
                for piece in pieces:
                    piece = last + piece
                    last = piece[-1:] if piece[-1:] == b"\r" else b""
                    digest.update(_with_crlf(piece[:len(piece) - len(last)]))
        except (MessageGone, TooLarge, Unreadable):
            return "it cannot be read there"
        digest.update(_with_crlf(last))
        if digest.hexdigest() == here:
            return ("some of its lines end in a bare LF or CR there; here all end in CR LF "
                    "(RFC 5322 2.3)")
        return "its octets are others"


def _with_crlf(data):
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


class _Sides(NamedTuple):
    """One mailbox there and what belongs to it. `here`: _Mailboxes; `labels`: plan.Labels or None;
    `by_label`: of handing_over.Fetched."""
    move: Move
    box: Box
    here: Any
    ledger: Ledger
    labels: Optional[Labels]
    by_label: Dict[str, set]


class _Counted:
    def __init__(self):
        self.there = self.here = self.identical = self.more = self.fetched = 0
        self.differing = []

    def differs(self, name, why):
        if len(self.differing) < _NAMED:
            self.differing.append((name(), why()))
        else:
            self.more += 1


class _Mailboxes:
    """The mailboxes here, open. A context manager."""

    def __init__(self, account):
        self._account = account
        self._stack = contextlib.ExitStack()
        self._open = {}
        self._everywhere = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._stack.close()

    def digest(self, name, key, last=None):
        """-> SHA-256 in hex of a message as it is served, or of its `last` octets; None if it is
        not there."""
        if name not in self._open:
            self._open[name] = self._opened(name)
        mailbox, keys = self._open[name]
        uid = keys.uid(key) if mailbox is not None else None
        if uid is None:
            return None
        try:
            with mailbox.content(uid) as content:
                digest = hashlib.sha256()
                for chunk in content.chunks(0 if last is None else max(0, content.size - last)):
                    digest.update(chunk)
                return digest.hexdigest()
        except errors.Expunged:
            return None

    def everywhere(self, key):
        """Whether any mailbox has a message with that key."""
        if self._everywhere is None:
            self._everywhere = Everywhere(self._account)
        return key in self._everywhere

    def elsewhere(self, key, last=None):
        """As `digest`, in any mailbox: fetching may have put it elsewhere."""
        if not self.everywhere(key):
            return None
        for each in self._account.mailboxes():
            digest = self.digest(each.name, key, last) if each.selectable else None
            if digest is not None:
                return digest
        return None

    def ends_like(self, key, size, digest):
        """Whether a message ends in `size` octets with this hash: fetching puts trace fields before
        them."""
        return self.elsewhere(key, size) == digest

    def _opened(self, name):
        try:
            mailbox = self._account.open(name)
        except (errors.NotFound, errors.InvalidName):
            return None, None
        self._stack.callback(mailbox.close)
        return mailbox, Here(self._account, name)


def _why_missing(line, labels):
    if line is None:
        return ": it arrived there after the copying"
    if line.reason and len(line.digest) != 64:
        return ": " + line.reason
    if labels is not None:
        return ": it got other labels there since, or was moved or removed here"
    return ": it was moved or removed here"


def lines(rows):
    """Rows -> list of str, as a table."""
    table = [("mailbox", "there", "here", "byte-identical", "differs")]
    for row in rows:
        name = row.target if row.source == row.target else "%s -> %s" % (row.source, row.target)
        table.append((printable(name), str(row.there), str(row.here), str(row.identical),
                      str(row.there - row.identical)))
    if len(rows) > 1:
        table.append(("all", ) + tuple(str(sum(column)) for column in zip(*[
            (row.there, row.here, row.identical, row.there - row.identical) for row in rows])))
    widths = [max(map(len, column)) for column in zip(*table)]
    text = ["  ".join([line[0].ljust(widths[0])] + [
        cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]) for line in table]
    for row in rows:
        for name, why in row.differing:
            text.append("%s: %s: %s" % (printable(row.source), name, printable(why)))
        if row.more:
            text.append("%s: %d others" % (printable(row.source), row.more))
        if row.fetched:
            text.append("%s: messages that fetching has brought or will bring: %d" % (
                printable(row.source), row.fetched))
    return text
