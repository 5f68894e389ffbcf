"""The copies of one message for mailboxes of this server.

Recipients whose addresses end in one folder with one tag share one copy, whose Delivered-To is the first of them.
The first copy takes the message's octets as they come; the others are made from it at the end.  Nothing becomes
visible in any mailbox before every copy is whole and synced.  Knows no envelope, no queue, no protocol; raises
answers.Refused and the store's errors.
"""
import logging

from ..store.errors import StoreError
from . import answers, trace

log = logging.getLogger("phenmail.delivery")


class Mailboxes:
    """`store`: store.filestore.FileStore; `sender`: Address or None; `name`: what the log calls the message (str)."""

    __slots__ = ("answers", "_store", "_sender", "_name", "_targets", "_first", "_copies", "_shared_from", "_looping",
                 "stopped")

    def __init__(self, store, sender, name):
        self.answers = {}  # key -> answers.Answer
        self.stopped = False  # a mailbox failed, and with it all
        self._store = store
        self._sender = sender
        self._name = name
        self._targets = {}  # key -> (Destination, the address for Delivered-To)
        self._first = None  # key of the copy that the message streams into
        self._copies = {}  # key -> store Staged
        self._shared_from = 0  # where in the first copy's file begins what all share
        self._looping = ()

    def __len__(self):
        return len(self._targets)

    def add(self, destination, address):
        """One more recipient -> the key under which `answers` will have its answer."""
        key = (destination.folder, destination.tag)
        self._targets.setdefault(key, (destination, address))
        return key

    def look_for_loops(self, lowered):
        """`lowered`: the header block in lower case.  Raises Refused where every copy would come round again."""
        if b"delivered-to:" in lowered:
            self._looping = {key for key, (_, address) in self._targets.items()
                             if trace.delivered_already(lowered, address)}
            if len(self._looping) == len(self._targets):
                raise answers.Refused(answers.LOOP)

    def open(self, header):
        """The message begins with this block, Received included.  Raises StoreError."""
        self._first = next(iter(self._targets))
        staged = self._copies[self._first] = self._stage(self._first)
        self._shared_from = staged.file_size
        staged.write(header)

    def write(self, data):
        self._copies[self._first].write(data)

    def _stage(self, key):
        """A new copy that holds what is its recipient's own -> store Staged."""
        destination, address = self._targets[key]
        staged = self._store.account(destination.folder).stage()
        try:
            staged.write(trace.return_path(self._sender) + trace.delivered_to(address))
        except BaseException:
            staged.discard()
            raise
        return staged

    def prepare(self, apart):
        """The message is whole: every copy is made and on the disk, none is delivered.  Raises Refused, StoreError.

        `apart`: a copy that can't be made has its own answer, and the others go on.
        """
        if self._copies[self._first].has_nul:
            raise answers.Refused(answers.HAS_NUL)
        if self._looping and not apart:
            raise answers.Refused(answers.LOOP)
        if len(self._targets) > 1:
            self._copies[self._first].sync()
            for key in self._targets:
                if key != self._first:
                    self._copy(key, apart)
            for key in self._looping:
                self.answers[key] = answers.LOOP

    def _copy(self, key, apart):
        first = self._copies[self._first]
        try:
            staged = self._copies[key] = self._stage(key)
            staged.copy_from(first, self._shared_from)
            staged.sync()
        except StoreError as error:
            if not apart:
                raise
            self._failed(key, error)

    def _failed(self, key, error):
        log.warning("%s: %r", self._name, error)
        self.answers[key] = answers.of_store_error(error)

    def deliver(self, kept, apart):
        """Make the copies visible; `kept`: the Answer for those that are.

        Without `apart` the first failure ends it: promise 4 of `delivery.router`.
        """
        for key, (destination, _) in self._targets.items():
            if key in self.answers:
                continue
            try:
                self._store.account(destination.folder).deliver("INBOX", self._copies[key])
            except StoreError as error:
                self._failed(key, error)
                if not apart:
                    self._stop(self.answers.pop(key))
                    return
            else:
                self.answers[key] = kept

    def _stop(self, answer):
        self.stopped = True
        log.warning("%s: %d mailboxes have it already", self._name, len(self.answers))
        for key in self._targets:
            self.answers.setdefault(key, answer)

    def discard(self):
        """What was not delivered is removed.  May be called at any time and again."""
        for staged in self._copies.values():
            staged.discard()
