"""One account on another server that is adopted by a user of this one."""
import contextlib
import os
from typing import NamedTuple

from ...disk.locks import FileLock, LockTimeout
from ..source import BoxGone
from . import plan, progress
from .allowance import Allowance
from .connection import Connection, Stopped
from .copying import Copier, Owner
from .ledger import Ledger, heads
from .plan import INBOX
from .receipt import Comparison

_LOCK, _ALLOWANCE = "adopt.lock", "octets-today"


class Survey(NamedTuple):
    """What there is to do. `plan`: a Plan; `counts`: {name there: (messages, octets)}; `copied`:
    messages that an earlier run has copied; `seconds`: about how long it takes."""
    plan: plan.Plan
    counts: dict
    copied: int
    messages: int
    octets: int
    seconds: float


class Adoption:
    """See the package's docstring. A context manager; one at a time for an account and user.

    `connect()`: a logged in remote.Remote; `name`: what distinguishes the account for ever
    (identity.account_key); `account`: the store's Account; `folder`: for the ledgers; `shown`: a
    progress.Progress; `largest`: octets of a message; `limit`: octets a day, None for none;
    `fetched`: a handing_over.Fetched.

    All methods raise FetchError, Stopped, StoreError, OSError.
    """

    def __init__(self, connect, name, account, folder, shown, largest, limit, fetched):
        self._connect = connect
        self._owner = Owner(name)
        self._account = account
        self._folder = folder
        self._progress = shown
        self._largest = largest
        self._limit = limit
        self._fetched = fetched
        self._allowance = None
        self._lock = None

    def __enter__(self):
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        lock = FileLock(os.path.join(self._folder, _LOCK), 0)
        try:
            lock.acquire()
        except LockTimeout:
            raise Stopped("another process is copying this account")
        self._lock = lock
        if self._limit:
            self._allowance = Allowance(os.path.join(self._folder, _ALLOWANCE), self._limit)
        return self

    def __exit__(self, *exception):
        self._lock.release()

    def survey(self):
        """Look at the account there -> Survey."""
        with contextlib.closing(self._connect()) as remote:
            made = self._plan(remote)
            counts = {}
            for move in made.moves:
                messages, octets = remote.counts(move.source)
                counts[move.source] = messages, octets or 0
            copied = self._copied(made)
        messages = sum(each for each, _ in counts.values())
        octets = sum(each for _, each in counts.values())
        left = max(0, messages - copied)
        return Survey(made, counts, copied, messages, octets, progress.estimate(
            left, octets * left // messages if messages else 0, self._limit or 0))

    def _plan(self, remote):
        fixed = {head["box"]: head["target"] for head in heads(self._folder, self._owner.account)}
        return plan.make(remote.listed(), remote.has_labels, remote.personal(), fixed)

    def _copied(self, made):
        sources, count = {move.source for move in made.moves}, 0
        latest = {head["box"]: head for head in heads(self._folder, self._owner.account)}
        for name in sources.intersection(latest):
            head = latest[name]
            with Ledger(self._folder, self._owner.account, name, head["validity"],
                        head["target"]) as ledger:
                count += len(ledger)
        return count

    def copy(self, survey):
        """Copy what is not here yet."""
        self._progress.begin(survey.messages, survey.octets)
        copier = Copier(self._connect, self._owner, self._account, self._folder, self._progress,
                        self._largest, self._allowance, self._fetched)
        try:
            copier.run(survey.plan)
        finally:
            copier.close()

    def let_fetching_begin(self, survey, boxes):
        """Copy what has arrived meanwhile, and let fetching go on after that.

        `boxes`: names of mailboxes there that will be fetched. Does nothing if that has begun.
        """
        if self._fetched.is_begun:
            return
        found = []
        with contextlib.closing(self._connect()) as remote:
            remote.listed()
            for name in boxes:
                with contextlib.suppress(BoxGone):
                    box = remote.open(INBOX if name.upper() == INBOX else name)
                    found.append((box, box.next_uid - 1))
        self.copy(survey)
        self._fetched.begin_after(found)

    def receipt(self, survey, afresh):
        """Compare both sides -> list of receipt.Row. `afresh`: read everything there again."""
        self._progress.begin(survey.messages, survey.octets)
        with contextlib.closing(Connection(self._connect, self._progress)) as connection:
            return list(Comparison(connection, self._owner, self._account, self._folder,
                                   self._progress, afresh, self._fetched).rows(
                                       survey.plan))
