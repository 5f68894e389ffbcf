"""The copies of one message for mailboxes of this server.

Recipients whose addresses lead to one folder with one tag share one copy. The message is written
once: several mailboxes get links to one file, which therefore has no Delivered-To. Nothing becomes
visible in any mailbox before every copy is complete and synced, and before every user's filters
have run. Knows no envelope, no queue and no protocol; raises MessageRefused and StoreError.

A user's filter cannot stop a delivery: if the mailbox that it names cannot be created, the message
goes to INBOX; a flag that cannot be stored is left out; the user's log says so.
"""
import logging
import os

from ..filters.verdict import ACCEPT, FORWARD, REJECT
from ..store.errors import Exists, NotFound, OverQuota, StoreError
from ..store.model import INBOX
from . import recipient_replies, trace
from .recipient_replies import MessageRefused

log = logging.getLogger("phenmail.delivery")

_TRIES = 4  # attempts to file one message, in case the mailbox vanishes meanwhile
_CHUNK = 131072


class Mailboxes:
    """`store`: store.filestore.FileStore; `sender`: Address or None; `name`: for the log (str);
    `placing`: placing.Placing of a fetched message, which has one recipient, or None."""

    __slots__ = ("replies", "top", "_store", "_sender", "_name", "_placing", "_targets",
                 "_message_at", "_body_at")

    def __init__(self, store, sender, name, placing=None):
        self.replies = {}  # key -> Reply
        self._store = store
        self._sender = sender
        self._name = name
        self._placing = placing
        self._targets = {}  # key -> _Target
        # Offsets in the first copy's file: our Received field, the message as it came, its body.
        self.top = self._message_at = self._body_at = 0

    def __len__(self):
        return len(self._targets)

    def add(self, destination, address):
        """One more recipient -> its key in `replies`."""
        key = (destination.folder, destination.tag)
        if key not in self._targets:
            self._targets[key] = _Target(destination, address)
        return key

    @property
    def staged(self):
        """The store's Staged of the first copy, which takes the message once it is open."""
        return self._first.staged

    @property
    def _first(self):
        return next(iter(self._targets.values()))

    def look_for_loops(self, lowered):
        """Refuse recipients who had this message before; `lowered`: its header in lower case.

        Raises MessageRefused if all of them had it.
        """
        if b"delivered-to:" in lowered:
            self.replies.update((key, recipient_replies.LOOP) for key,
                                target in self._targets.items()
                                if trace.delivered_already(lowered, target.address))
            if len(self.replies) == len(self._targets):
                raise MessageRefused(recipient_replies.LOOP)

    def open(self, received, header):
        """Begin with our Received field and the message's header. Raises StoreError."""
        first = self._first
        account, placing = self._account(first), self._placing
        staged = first.staged = (account.stage() if placing is None
                                 else account.stage(key=placing.key))
        own = trace.return_path(self._sender)
        if len(self._targets) == 1:
            own += trace.delivered_to(first.address)
        staged.write(own)
        self.top = staged.file_size
        staged.write(received + header)
        self._message_at = self.top + _file_length(received)
        self._body_at = staged.file_size

    def write(self, data):
        self.staged.write(data)

    def _account(self, target):
        return self._store.account(target.destination.folder)

    def prepare(self, apart):
        """The message is complete. Raises MessageRefused. `apart`: as in Incoming.finish."""
        if self.staged.has_nul:
            raise MessageRefused(recipient_replies.HAS_NUL)
        if self.replies and not apart:
            raise MessageRefused(recipient_replies.LOOP)

    def source(self):
        """-> (path of the file, offset in it where the message as it came begins)."""
        self.staged.flush()
        return self.staged.path, self._message_at

    def add_field(self, field):
        """Put a whole field on top of the message."""
        self.staged.insert(self.top, field)
        self._body_at += _file_length(field)

    def body(self):
        """The bytes behind the header, CRLF line ends, a bounded number at a time."""
        staged = self.staged
        staged.flush()
        for offset in range(self._body_at, staged.file_size, _CHUNK):
            yield os.pread(staged.descriptor, _CHUNK, offset).replace(b"\n", b"\r\n")

    # Filters

    def filter(self, screening, filtered, refusal):
        """Run every user's filters. Raises MessageRefused, StoreError.

        `screening`: filters.screening.Screening. `filtered(address, tag)` -> FilteredMessage.
        `refusal`: what the reply can say of a filter that rejects the message: "each" recipient has
        their own reply, "all" (a refusal only if all recipients reject it) or "none". A rejected
        copy of which the reply says nothing is discarded.
        """
        until = screening.until()
        for key, target in self._targets.items():
            folder = target.destination.folder
            rules = screening.rules(folder) if key not in self.replies else None
            if rules is not None:
                self.staged.flush()
                target.message = filtered(target.address, target.destination.tag)
                target.verdict = screening.verdict(rules, folder, target.message, until)
                if self._placing is not None and self._placing.quiet:
                    target.verdict = target.verdict._replace(vacation=None)
        refusing = {key: target for key, target in self._targets.items() if target.kind == REJECT}
        everybody = len(refusing) == len(self._targets)
        if refusing and (refusal == "each" or refusal == "all" and everybody):
            for key, target in refusing.items():
                target.is_refused = True
                self.replies[key] = recipient_replies.by_filter(target.verdict.reason)
            if refusal == "all":
                self.finished(screening)
                raise MessageRefused(next(iter(self.replies.values())))

    def let_wait(self, key):
        """The queue delivers this copy later, and runs the user's filters then."""
        self._targets[key].verdict = None
        self._targets[key].waits = True

    def over_quota(self):
        """The keys of the copies that do not fit into the quotas of their users."""
        return [key for key, target in self._targets.items()
                if target.is_filed and key not in self.replies and not self._fits(target)]

    def _fits(self, target):
        try:
            self._store.require_room(target.destination.folder, self.staged.size)
        except OverQuota:
            return False
        return True

    def onward(self):
        """What users' filters send elsewhere -> [(key, whether it is a copy, target Address)]."""
        return [(key, target.is_filed, address)
                for key, target in self._targets.items() for address in target.onward]

    def failed(self):
        """The keys of recipients whose own copy failed."""
        return {key for key, reply in self.replies.items() if not reply.delivered}

    def finished(self, screening):
        """The message was delivered or refused: write users' logs, run vacation.

        Recipients whose delivery failed are left out: the sender repeats the message.
        """
        for key, target in self._targets.items():
            if target.verdict is not None and (target.is_refused or self._has(key)):
                screening.finished(target.destination.folder, target.verdict, target.message,
                                   target.is_refused, self._name)

    # Copies

    def deliver(self, kept, apart):
        """Make the copies visible; `kept`: the Reply for those that are, and that go nowhere else.

        Without `apart` the first failure ends it with MessageRefused (promise 4 of `incoming`).
        """
        if len(self._targets) > 1:
            self._link(apart)
        for key, target in self._targets.items():
            if key in self.replies:
                continue
            try:
                if target.is_filed:
                    self._file(target)
            except StoreError as error:
                failure = self._failure(error)
                if not apart:
                    log.warning("%s: %d mailboxes have it already, and will get it again",
                                self._name, len(self.replies))
                    raise MessageRefused(failure)
                self.replies[key] = failure
            else:
                if not (target.onward or target.waits):
                    self.replies[key] = kept

    def _link(self, apart):
        """Make every further copy, synced but not yet visible. Raises StoreError.

        `apart`: if one cannot be made, only its recipient's reply says so.
        """
        first = self.staged
        first.sync()  # a single copy is synced by its delivery
        for key, target in self._targets.items():
            if key in self.replies or target.staged is not None or not target.is_filed:
                continue
            try:
                target.staged = self._account(target).stage(first)
            except StoreError as error:
                if not apart:
                    raise
                self.replies[key] = self._failure(error)

    def _failure(self, error):
        log.warning("%s: %r", self._name, error)
        return recipient_replies.of_storage_error(error)

    def settle(self, kept):
        """The queue has what goes elsewhere: `kept` is now the Reply for those recipients, too."""
        for key in self._targets:
            self.replies.setdefault(key, kept)

    def filed(self, key):
        """Whether a copy for this key is in a mailbox now."""
        return key in self._targets and self._targets[key].is_filed and self._has(key)

    def _has(self, key):
        return key in self.replies and self.replies[key].delivered

    def _file(self, target):
        account, verdict = self._account(target), target.verdict
        mailbox, flags = (INBOX, ()) if verdict is None else (verdict.mailbox, verdict.flags)
        placing, options = self._placing, {}
        if placing is not None:
            if placing.is_here:
                return
            mailbox = placing.mailbox or mailbox
            options = {"date": placing.date, "turn": placing.turn}
            flags = tuple(flags) + tuple([flag for flag in placing.flags if flag not in flags])
        for _ in range(_TRIES):
            try:
                left_out = account.deliver(mailbox, target.staged, flags, **options).left_out
                if left_out:
                    target.tell("the mailbox has too many different flags, so the message lacks %s"
                                % ", ".join(left_out))
                return
            except NotFound:
                mailbox = self._created(account, mailbox, target)
        raise NotFound()

    def _created(self, account, name, target):
        """Create a mailbox that a filter named -> its name, or INBOX if it cannot be created."""
        try:
            account.create(name)
            account.subscribe(name)  # many mail programs show only subscribed mailboxes
        except Exists:
            return name
        except StoreError as error:
            target.tell('the mailbox "%s" could not be created (%s), so the message went to INBOX'
                        % (name, error))
            return INBOX
        return name

    def discard(self):
        """Remove what was not delivered. May be called at any time and again."""
        for target in self._targets.values():
            if target.staged is not None:
                target.staged.discard()


class _Target:
    """One copy: its recipient, and what the user's filters decided."""

    __slots__ = ("destination", "address", "staged", "message", "verdict", "is_refused", "waits")

    def __init__(self, destination, address):
        self.destination = destination
        self.address = address
        self.staged = self.message = self.verdict = None
        self.is_refused = self.waits = False

    @property
    def kind(self):
        return ACCEPT if self.verdict is None else self.verdict.kind

    @property
    def is_filed(self):
        return self.kind == ACCEPT and not self.waits

    @property
    def onward(self):
        """The addresses to which the message also goes, or goes instead."""
        if self.verdict is None or self.kind == REJECT:
            return ()
        return self.verdict.copies + ((self.verdict.forward,) if self.kind == FORWARD else ())

    def tell(self, line):
        """Add a line for the user's log."""
        if self.verdict is None:  # no filter ran, so the user's log gets nothing of this message
            log.warning("%s: %s", self.destination.folder, line)
            return
        self.verdict = self.verdict._replace(log_lines=self.verdict.log_lines + (line,))


def _file_length(octets):
    """How many bytes whole lines take in a file, where they end with LF alone."""
    return len(octets) - octets.count(b"\n")
