"""The IMAP source: lists and reads the messages of mailboxes on another server.

RFC 3501; with UIDPLUS (RFC 4315), CONDSTORE (RFC 7162), IDLE, NAMESPACE where the server has them.
"""
from ..connecting import connect
from ..source import PIECE, Box, BoxGone, FetchError, MessageGone, Source, Unreadable
from . import idle as imap_idle
from . import replies as imap_replies
from .client import Bounds, Dropped, ImapClient, ReadOnly, Refused, begin_tls
from .login import log_in
from .names import learn, quoted
from .replies import grouped, number

WINDOW = 1000  # messages that are listed with one command
BATCH = 100  # messages that are read with one command, if they have at most PIECE octets together
_LISTED = "(UID RFC822.SIZE FLAGS INTERNALDATE)"
_LISTING = Bounds(lines=4 << 20)  # keywords may be many
_NAMING = Bounds(lines=4 << 20, kept=1 << 20)
_READING = Bounds(literal=PIECE, kept=2 * PIECE, dropped=BATCH * PIECE)
_SEARCHING = Bounds(line=2 << 20, lines=3 << 20)
# Response codes of a refused SELECT that concern this mailbox alone (RFC 5530).
_NO_BOX = ("", "NONEXISTENT", "TRYCREATE", "NOPERM", "CANNOT", "CORRUPTION")
_MORE_PIECES = 20  # that a message may have beyond those of the most octets
MOST_UID = (1 << 32) - 1


class ImapSource(Source):
    """See source.Source. `contexts`, `began`: see connecting.connect."""

    def __init__(self, account, passphrase, limit, token=None, contexts=None, began=None):
        self.limit = limit
        wire = connect(account, begin_tls, contexts, began)
        try:
            self.client = ImapClient(wire)
            log_in(self.client, account, passphrase, token)
            self._names = learn(self.client)
        except BaseException:
            wire.close()
            raise
        self._idles = "IDLE" in self.client.capabilities
        self._condstore = " (CONDSTORE)" if "CONDSTORE" in self.client.capabilities else ""
        self._box, self._name = None, None  # the open Box, and its name at the server
        self._writable = False
        # How many messages the mailbox had when it was listed, and were expunged until then.
        self._listed = self._expunged = 0
        # How often a piece that is short, but not the last one by the announced size, is doubted.
        self._doubts = 3

    @property
    def server(self):
        return self.client.server

    # Mailboxes

    def list_boxes(self):
        found = {}
        data = self.client.run("list", '""', "*", bounds=_NAMING)
        for parts in grouped(data):
            attributes, _, name = self.client.parsed("LIST", imap_replies.listed, parts)
            if b"\\noselect" in attributes or b"\\nonexistent" in attributes:
                continue
            shown = self._names.shown(name)
            if shown is not None:
                found[shown] = True
        return tuple(found)

    def open(self, name):
        self._box = None
        refusals = []
        for candidate in self._names.candidates(name):
            try:
                try:
                    # Courier keeps UIDs that it gives in EXAMINE for that session only.
                    self._select(candidate, True)
                except ReadOnly:
                    self._select(candidate, False)  # `remove` will say it
            except Refused as error:
                if error.is_bad or imap_replies.code(error.text) not in _NO_BOX:
                    raise
                refusals.append(error.text)
                continue
            self._name = candidate
            self._box = self._opened(name)
            self._looked()
            return self._box
        raise BoxGone("%s has no mailbox %s%s" % (
            self.server, name, ": " + refusals[0] if refusals else ""))

    def _select(self, name, writable):
        self.client.imap.exists = 0
        try:
            self.client.run("select", quoted(name) + self._condstore, not writable, what="SELECT")
        except Refused as error:
            if not error.is_bad or not self._condstore:
                raise
            self._condstore = ""
            self.client.run("select", quoted(name), not writable, what="SELECT")
        self._writable = writable

    def _opened(self, name):
        """The Box that SELECT or EXAMINE has opened."""
        values = {kind: self.client.parsed("SELECT", imap_replies.last_number,
                                           self.client.untagged(kind))
                  for kind in ("UIDVALIDITY", "UIDNEXT", "HIGHESTMODSEQ")}
        if not values["UIDVALIDITY"] or self.client.untagged("UIDNOTSTICKY"):
            raise FetchError("%s gives the messages of %s no lasting UIDs" % (self.server, name))
        return Box(name, values["UIDVALIDITY"], values["UIDNEXT"], values["HIGHESTMODSEQ"],
                   self.client.imap.exists)

    # Lists of messages

    def new(self, after, known):
        # UIDs say what is asked for. Sequence numbers only help to guess how many messages a range
        # of UIDs has, because they shift when another client expunges messages.
        if not self.client.imap.exists:
            self.client.run("noop")
            if not self.client.imap.exists:
                return
        low, place, high = after + 1, self._first_place(after), 0
        while high != "*" and low <= MOST_UID:
            if place + WINDOW <= self.client.imap.exists:
                place += WINDOW
                high = max(self._uid_at(place - 1), low + WINDOW - 1)
            else:
                high = "*"
                self._looked()
            # "n:*" names the last message even if its UID is lower (RFC 3501 6.4.8).
            found = [message for message in self._list("%d:%s" % (low, high), _LISTED)
                     if low <= int(message.key) <= (MOST_UID if high == "*" else high)]
            for message in found:
                if not known(message.key):
                    yield message
            if not found:
                place = self.client.imap.exists  # the count was wrong: ask for the rest
            low = MOST_UID if high == "*" else high + 1

    def _looked(self):
        """All messages are listed that the mailbox is known to have now."""
        self._listed, self._expunged = self.client.imap.exists, self.client.imap.expunged

    def _expected(self):
        """How many messages the mailbox has if none is new."""
        return self._listed - (self.client.imap.expunged - self._expunged)

    def _first_place(self, after):
        """About the sequence number of the first message with an UID above `after`."""
        low, high = 1, max(1, self.client.imap.exists - WINDOW + 1)
        # Mostly few are new, so the first look is near the end.
        if high > 1 and after and self._uid_at(high) <= after:
            return high
        while low < high and after:
            middle = (low + high) // 2
            if self._uid_at(middle) <= after:
                low = middle + 1
            else:
                high = middle
        return low

    def _uid_at(self, place):
        """The UID of the message with this sequence number, 0 if there is none (any more)."""
        try:
            data = self.client.run("fetch", "%d" % place, "(UID)", bounds=_LISTING)
        except Refused:
            return 0
        for items in self._fetched(data):
            if b"UID" in items:
                return min(self.client.parsed("FETCH", number, items[b"UID"]), MOST_UID)
        return 0

    def _list(self, uids, items):
        """UID FETCH -> list of RemoteMessage by ascending UID."""
        data = self.client.run("uid", "FETCH", uids, items, bounds=_LISTING, what="FETCH")
        # The server may add the new flags of others, without what else was asked for.
        needed = {b"INTERNALDATE", b"RFC822.SIZE"} if items is _LISTED else {b"FLAGS"}
        found = {}
        for values in self._fetched(data):
            if b"UID" in values and not needed.isdisjoint(values):
                message = self.client.parsed("FETCH", imap_replies.message, values)
                found[int(message.key)] = message
        return [found[uid] for uid in sorted(found)]

    def changed_flags(self, since):
        if not self._box.modseq:
            return
        self.client.run("noop")  # some servers look for changes only between commands
        uids = self._search("MODSEQ %d" % (since + 1))
        for start in range(0, len(uids), BATCH):
            chosen = imap_replies.uid_set(uids[start:start + BATCH])
            yield from self._list(chosen, "(UID FLAGS)")

    def _search(self, key):
        """UID SEARCH -> ascending list of UIDs."""
        data = self.client.run("uid", "SEARCH", key, bounds=_SEARCHING, what="SEARCH")
        return self.client.parsed("SEARCH", imap_replies.searched, data)

    # Messages

    def read(self, message, offset=0):
        return self._pieces(message, offset, self._piece(message, offset))

    def _pieces(self, message, offset, piece):
        """`piece`, which begins at `offset`, and those after it."""
        if not piece and not offset and message.size:
            raise FetchError("%s sends nothing of message %s, which has %d octets" % (
                self.server, message.key, message.size))
        for _ in range(self.limit // PIECE + _MORE_PIECES):
            offset += len(piece)
            if offset > self.limit:
                raise FetchError("%s sent more than %d octets of a message" % (
                    self.server, self.limit))
            if piece:
                yield piece
            is_short = len(piece) < PIECE
            if is_short and not (piece and offset < message.size and self._doubts):
                return
            piece = self._piece(message, offset)
            if is_short and not piece:
                self._doubts -= 1
        raise FetchError("%s sends a message in too small pieces" % self.server)

    def _piece(self, message, offset):
        """Up to PIECE octets from `offset` on. Raises MessageGone, Unreadable."""
        try:
            found = self._bodies([message], offset)
        except Refused as error:
            if imap_replies.code(error.text) == "EXPUNGEISSUED":
                raise  # a new connection shows whether it was this one (RFC 5530)
            raise Unreadable(str(error))
        piece = found.get(message.key)
        if piece is None:
            if self._has(message):
                raise Unreadable("%s gives nothing of a message" % self.server)
            raise MessageGone("message %s is no longer in %s" % (message.key, self._box.name))
        if isinstance(piece, Dropped):
            raise FetchError("%s sent more than was asked for" % self.server)
        return piece

    def _has(self, message):
        """Whether a message is still there."""
        data = self.client.run("uid", "FETCH", message.key, "(UID FLAGS)", bounds=_LISTING,
                               what="FETCH")
        return any(items.get(b"UID") == message.key.encode() for items in self._fetched(data))

    def _bodies(self, messages, offset=0):
        """{key: up to PIECE octets from `offset` on} of those that the server has."""
        uids = imap_replies.uid_set(int(message.key) for message in messages)
        wanted = "(UID BODY.PEEK[]<%d.%d>)" % (offset, PIECE)
        data = self.client.run("uid", "FETCH", uids, wanted, bounds=_READING, what="FETCH")
        found = {}
        for items in self._fetched(data):
            body = self.client.parsed("FETCH", imap_replies.body, items, offset)
            if body is not None and b"UID" in items:
                found["%d" % self.client.parsed("FETCH", number, items[b"UID"])] = body
        return found

    def read_all(self, messages):
        batch, octets = [], 0
        for message in messages:
            if batch and (octets + message.size > PIECE or len(batch) == BATCH):
                yield from self._read_batch(batch)
                batch, octets = [], 0
            batch.append(message)
            octets += message.size
        if batch:
            yield from self._read_batch(batch)

    def _read_batch(self, batch):
        """Several messages with one command; what did not come whole is read by `read`."""
        try:
            bodies = self._bodies(batch) if len(batch) > 1 else {}
        except Refused:
            bodies = {}  # one of them cannot be read; which, `read` will say
        for message in batch:
            body = bodies.pop(message.key, None)
            if body is None or isinstance(body, Dropped):
                yield message, self._late(message)
            else:
                yield message, self._pieces(message, 0, body)

    # Removing

    def remove(self, messages):
        uids = sorted(int(message.key) for message in messages)
        if uids and not self._writable:
            raise ReadOnly("%s allows no changes in the mailbox" % self.server)
        for start in range(0, len(uids), BATCH):
            chosen = uids[start:start + BATCH]
            uid_set = imap_replies.uid_set(chosen)
            self.client.run("uid", "STORE", uid_set, "+FLAGS.SILENT", "(\\Deleted)", what="STORE")
            if "UIDPLUS" in self.client.capabilities:
                self.client.run("xatom", "UID", "EXPUNGE", uid_set, what="UID EXPUNGE")
        if uids and "UIDPLUS" not in self.client.capabilities:
            self._expunge_only(set(uids))

    def _expunge_only(self, uids):
        """EXPUNGE, if it removes no other message than these."""
        if uids.issuperset(self._search("DELETED")):
            self.client.run("expunge", bounds=_LISTING)

    # Waiting

    @property
    def can_wait(self):
        return self._idles

    def wait(self, seconds, wake):
        if not self._idles:
            raise NotImplementedError
        if self.client.imap.exists > self._expected():
            return True
        try:
            return imap_idle.wait(self.client, self._expected, seconds, wake)
        except Refused:
            self._idles = False
            raise NotImplementedError

    def close(self):
        self.client.close()

    def abort(self):
        self.client.wire.abort()

    # What the server sent

    def _fetched(self, data):
        for parts in grouped(data):
            yield self.client.parsed("FETCH", imap_replies.fetched, parts)
