"""The copies of one message for mailboxes of this server.

Recipients whose addresses end in one folder with one tag share one copy.  The message's octets are written once: where it goes
to several mailboxes, they hold links to one file, which therefore has no Delivered-To.  Nothing becomes visible in any mailbox
before every copy is whole and synced, and every user's filters have said what they want.  Knows no envelope, no queue, no
protocol; raises answers.Refused and the store's errors.

What a filter asks for is done where it can be: a mailbox that can't be made is INBOX, a flag that can't be kept is left out, and
the user's log is told.
"""
import logging

from ..filters.verdict import ACCEPT, FORWARD, REJECT
from ..store.errors import Exists, NotFound, StoreError
from ..store.model import INBOX
from . import answers, trace

log = logging.getLogger("phenmail.delivery")

_TRIES = 4  # at filing one message, each another way


class Mailboxes:
    """`store`: store.filestore.FileStore; `sender`: Address or None; `name`: what the log calls the message (str)."""

    __slots__ = ("answers", "start", "stopped", "_store", "_sender", "_name", "_targets", "_first", "_looping")

    def __init__(self, store, sender, name):
        self.answers = {}  # key -> answers.Answer
        self.start = 0  # where in the file begins what came with the message, Received included
        self.stopped = False  # a mailbox failed, and with it all
        self._store = store
        self._sender = sender
        self._name = name
        self._targets = {}  # key -> _Target
        self._first = None  # the _Target whose copy takes the message's octets
        self._looping = ()

    def __len__(self):
        return len(self._targets)

    def add(self, destination, address):
        """One more recipient -> the key under which `answers` will have its answer."""
        key = (destination.folder, destination.tag)
        if key not in self._targets:
            self._targets[key] = _Target(destination, address)
        return key

    @property
    def staged(self):
        """The store's Staged that takes the message, once it is open."""
        return self._first.staged

    def look_for_loops(self, lowered):
        """`lowered`: the header block in lower case.  Raises Refused where every copy would come round again."""
        if b"delivered-to:" in lowered:
            self._looping = {key for key, target in self._targets.items()
                             if trace.delivered_already(lowered, target.address)}
            if len(self._looping) == len(self._targets):
                raise answers.Refused(answers.LOOP)

    def open(self, header):
        """The message begins with this block, Received included.  Raises StoreError."""
        self._first = next(iter(self._targets.values()))
        staged = self._first.staged = self._account(self._first).stage()
        own = trace.return_path(self._sender)
        if len(self._targets) == 1:
            own += trace.delivered_to(self._first.address)
        staged.write(own)
        self.start = staged.file_size
        staged.write(header)

    def write(self, data):
        self._first.staged.write(data)

    def _account(self, target):
        return self._store.account(target.destination.folder)

    def prepare(self, apart):
        """The message is whole.  Raises Refused.  `apart`: each recipient has its own answer."""
        if self._first.staged.has_nul:
            raise answers.Refused(answers.HAS_NUL)
        if self._looping:
            if not apart:
                raise answers.Refused(answers.LOOP)
            for key in self._looping:
                self.answers[key] = answers.LOOP

    # Filters.

    def ask(self, screening, letter, refusal):
        """Every user's filters are asked.  Raises Refused, StoreError.

        `letter(address, tag)`: what they look at, a filters.rules.FilteredMessage.  `refusal`: who can be told that a user's filter refuses the
        message: "each" (every recipient has its own answer), "all" (where all of them refuse it) or "none".  Where nobody can, that
        copy is discarded.
        """
        until = screening.until()
        for key, target in self._targets.items():
            rules = screening.rules(target.destination.folder) if key not in self.answers else None
            if rules is not None:
                self._first.staged.flush()
                target.letter = letter(target.address, target.destination.tag)
                target.verdict = screening.verdict(rules, target.destination.folder, target.letter, until)
        refusing = {key: target for key, target in self._targets.items() if target.kind == REJECT}
        if refusing and (refusal == "each" or refusal == "all" and len(refusing) == len(self._targets)):
            for key, target in refusing.items():
                target.is_refused = True
                self.answers[key] = answers.by_filter(target.verdict.reason)
            if refusal == "all":
                self.finished(screening)
                raise answers.Refused(next(iter(self.answers.values())))

    def onward(self):
        """Who gets the message besides, by users' rules -> [(key, whether it is a copy, the Address that it goes on to)]."""
        return [(key, target.is_filed, address) for key, target in self._targets.items() for address in target.onward]

    def failed(self):
        """The keys of those who don't have it, and to whom it is brought again."""
        return {key for key, answer in self.answers.items() if answer.code >= 400}

    def finished(self, screening):
        """The message is kept, or refused: users' logs, and answers of those who are away.  Who did not get it is told nothing: it
        comes again."""
        for key, target in self._targets.items():
            if target.verdict is not None and (target.is_refused or self._has(key)):
                screening.finished(target.destination.folder, target.verdict, target.letter, target.is_refused, self._name)

    # Copies.

    def link(self, apart):
        """Every copy that is to be filed is made and on the disk, none is delivered.  Raises StoreError.

        `apart`: a copy that can't be made has its own answer, and the others go on.
        """
        if len(self._targets) == 1:
            return  # its delivery syncs it
        first = self._first.staged
        first.sync()
        for key, target in self._targets.items():
            if key in self.answers or target.staged is not None or not target.is_filed:
                continue
            try:
                target.staged = self._account(target).stage(first)
            except StoreError as error:
                if not apart:
                    raise
                self._failed(key, error)

    def _failed(self, key, error):
        log.warning("%s: %r", self._name, error)
        self.answers[key] = answers.of_store_error(error)

    def deliver(self, kept, apart):
        """Make the copies visible; `kept`: the Answer for those that are, and whose message goes nowhere else.

        Without `apart` the first failure ends it: promise 4 of `delivery.router`.
        """
        for key, target in self._targets.items():
            if key in self.answers:
                continue
            try:
                if target.is_filed:
                    self._file(target)
            except StoreError as error:
                self._failed(key, error)
                if not apart:
                    self._stop(self.answers.pop(key))
                    return
            else:
                if not target.onward:
                    self.answers[key] = kept

    def settle(self, kept):
        """What goes on is queued: now those whose message goes there have their answer, too."""
        for key in self._targets:
            self.answers.setdefault(key, kept)

    def filed(self, key):
        """Whether there is a copy of this key in a mailbox now."""
        return key in self._targets and self._targets[key].is_filed and self._has(key)

    def _has(self, key):
        return key in self.answers and self.answers[key].code == 250

    def _file(self, target):
        account, verdict = self._account(target), target.verdict
        mailbox, flags = (INBOX, ()) if verdict is None else (verdict.mailbox, verdict.flags)
        for _ in range(_TRIES):
            try:
                left_out = account.deliver(mailbox, target.staged, flags).left_out
                if left_out:
                    target.tell("the mailbox has too many different flags, so the message lacks %s"
                                % ", ".join(left_out))
                return
            except NotFound:
                mailbox = self._made(account, mailbox, target)
        raise NotFound()

    def _made(self, account, name, target):
        """A mailbox that a filter named -> its name, or INBOX, where it can't be made."""
        try:
            account.create(name)
            account.subscribe(name)  # or many mail programs would not show it
        except Exists:
            return name
        except StoreError as error:
            target.tell('the mailbox "%s" could not be made (%s), so the message went to INBOX' % (name, error))
            return INBOX
        return name

    def _stop(self, answer):
        self.stopped = True
        log.warning("%s: %d mailboxes have it already", self._name, len(self.answers))
        for key in self._targets:
            self.answers.setdefault(key, answer)

    def discard(self):
        """What was not delivered is removed.  May be called at any time and again."""
        for target in self._targets.values():
            if target.staged is not None:
                target.staged.discard()


class _Target:
    """One copy: for whom it is, and what is to be done with it."""

    __slots__ = ("destination", "address", "staged", "letter", "verdict", "is_refused")

    def __init__(self, destination, address):
        self.destination = destination
        self.address = address
        self.staged = self.letter = self.verdict = None
        self.is_refused = False

    @property
    def kind(self):
        return ACCEPT if self.verdict is None else self.verdict.kind

    @property
    def is_filed(self):
        return self.kind == ACCEPT

    @property
    def onward(self):
        """Addresses."""
        if self.verdict is None or self.kind == REJECT:
            return ()
        return self.verdict.copies + ((self.verdict.forward,) if self.kind == FORWARD else ())

    def tell(self, line):
        """A line for the user's log."""
        self.verdict = self.verdict._replace(log_lines=self.verdict.log_lines + (line,))
