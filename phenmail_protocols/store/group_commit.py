"""New messages that arrive at the same time share one transaction and one sync of the folder.

If ten connections deliver at once, each alone would lock, begin, assign a UID, commit and sync.
Instead the first one becomes the leader. It adds all messages that wait, syncs the folders, and
wakes the threads whose messages it added. Then the thread that has waited longest becomes the
leader. A single delivery is its own leader, at no extra cost.
"""
import threading
from itertools import islice

from . import adding, errors
from .flags import letters_locked
from .model import Delivered

# Each message of a batch would meet these errors alone, too.
_FOR_ALL = (errors.InUse, errors.NoSpace)


class GroupCommit:
    """One account's queue of messages that are staged and synced."""

    def __init__(self, account):
        self._account = account
        self._lock = threading.Lock()
        self._waiting = []
        self._has_leader = False

    def add(self, name, messages, limit, turn=None):
        """Add messages, (synced Staged, flags) each, to the mailbox `name`, durably and together.

        `limit`: of AccountQuota.limit_for_addition. `turn`: see Account.deliver. Returns a
        Delivered for each. Raises errors.StoreError; none is in the mailbox then.
        """
        request = _Request(name, messages, limit)
        if turn is not None:
            turn.wait()
        with self._lock:
            self._waiting.append(request)
            leads = not self._has_leader
            self._has_leader = True
        if turn is not None:
            turn.passed()
        if not leads:
            request.wake.acquire()
        if not request.settled:
            self._lead()
        if request.error is not None:
            raise request.error
        if request.warns:
            self._account.quota.warn(limit)
        return request.delivered

    def _lead(self):
        with self._lock:
            batch, self._waiting = self._waiting, []
        done = False
        try:
            self._sync(self._add_all(batch))
            done = True
        finally:
            for request in batch:
                if request.error is None and not (done and request.delivered):
                    request.error = errors.Unavailable()  # it may not be durable
                request.settled = True
            self._pass_lead()
            for request in batch:
                request.wake.release()

    def _pass_lead(self):
        with self._lock:
            if self._waiting:
                self._waiting[0].wake.release()
            else:
                self._has_leader = False

    def _add_all(self, batch):
        """Add a batch, without the sync: {(mailbox, fresh): requests}.

        One request that fails does not stop the others.
        """
        try:
            with self._account.writing():
                places = self._add_locked(batch)
        except Exception as error:
            if len(batch) == 1 or isinstance(error, _FOR_ALL):
                for request in batch:
                    request.error = error
                return {}
            places = {}
            for request in batch:
                for place, requests in self._add_all([request]).items():
                    places.setdefault(place, []).extend(requests)
            return places
        for requests in places.values():
            for request in requests:
                for staged, _ in request.messages:
                    staged.delivered()
        return places

    def _add_locked(self, batch):
        names = {}
        for request in batch:
            request.error = None
            names.setdefault(request.name, []).append(request)
        places = {}
        for name, requests in names.items():
            try:
                mailbox = self._account.mailbox_locked(name)
                mailbox.ready_locked()
            except errors.StoreError as error:
                for request in requests:
                    request.error = error
                continue
            requests = self._admitted_locked(requests)
            if requests:
                self._add_to_mailbox_locked(mailbox, requests, places)
        return places

    def _admitted_locked(self, requests):
        """The requests that fit into the user's quota; the others get their error."""
        admitted, room = [], None
        for request in requests:
            if request.limit is not None:
                room = room or self._account.quota.room_locked()
                try:
                    size = sum(staged.size for staged, _ in request.messages)
                    request.warns = room.take(request.limit, size, len(request.messages))
                except errors.OverQuota as error:
                    request.error = error
                    continue
            admitted.append(request)
        return admitted

    def _add_to_mailbox_locked(self, mailbox, requests, places):
        messages = [each for request in requests for each in request.messages]
        letters = letters_locked(mailbox, [flags for _, flags in messages], despite_faults=True)
        # As of now: another request may get these keywords letters later.
        left_out = [tuple(mailbox.flag_letters.missing(flags)) for _, flags in messages]
        rows = adding.add_staged_locked(mailbox, [staged for staged, _ in messages], letters,
                                        at_once=len(messages) > len(requests))
        added = zip(rows, left_out)
        for request in requests:
            request.delivered = []
            for row, missing in islice(added, len(request.messages)):
                delivered = Delivered(mailbox.row.uidvalidity, row.uid, missing)
                request.delivered.append(delivered)
                places.setdefault((mailbox, row.fresh), []).append(request)

    def _sync(self, places):
        for (mailbox, fresh), requests in places.items():
            requests = [request for request in requests if request.error is None]
            try:
                mailbox.sync(fresh)
            except errors.StoreError as error:
                mailbox.take_back(sorted({each.uid for request in requests
                                          for each in request.delivered}))
                for request in requests:
                    request.error = error


class _Request:
    __slots__ = ("name", "messages", "limit", "wake", "settled", "error", "delivered", "warns")

    def __init__(self, name, messages, limit=None):
        self.name = name
        self.messages = messages
        self.limit = limit
        self.wake = threading.Lock()
        self.wake.acquire()
        self.settled = False
        self.error = None
        self.delivered = None
        self.warns = False  # the user is to be warned that the account is nearly full
