"""New messages that come at the same time share one transaction.

Ten connections deliver at once; each alone would lock, begin, number, commit
and flush. Instead the first leads: it files all that wait, lets the next
leader begin, flushes the folders once, and wakes those whose messages it
filed. Who comes alone leads alone, and pays nothing for it.
"""
import threading

from . import changing, errors
from .model import Delivered

# What would meet each of a batch alone just as well, only later.
_FOR_ALL = (errors.InUse, errors.NoSpace)


class Filing:
    """One account's queue of messages that are staged and synced."""

    def __init__(self, account):
        self._account = account
        self._lock = threading.Lock()
        self._waiting = []
        self._busy = False  # somebody leads

    def file(self, name, staged, flags):
        """File a synced Staged into the mailbox ``name``, durably: Delivered.

        Raises errors.StoreError; the message is then in no mailbox.
        """
        request = _Request(name, staged, flags)
        with self._lock:
            self._waiting.append(request)
            leads = not self._busy
            self._busy = True
        if not leads:
            request.wake.acquire()
        if not request.settled:
            self._lead()
        if request.error is not None:
            raise request.error
        return request.delivered

    def _lead(self):
        with self._lock:
            batch, self._waiting = self._waiting, []
        try:
            try:
                places = self._file_all(batch)
            finally:
                self._pass_on()
            self._sync(places)
        finally:
            for request in batch:
                if request.delivered is None and request.error is None:
                    request.error = errors.Unavailable()
                request.settled = True
                request.wake.release()

    def _pass_on(self):
        """Whoever waits longest leads next."""
        with self._lock:
            if self._waiting:
                self._waiting[0].wake.release()
            else:
                self._busy = False

    def _file_all(self, batch):
        """Settle all of ``batch`` but for the flush: {(mailbox, fresh):
        requests}. One that can't be filed doesn't hold up the others."""
        try:
            with self._account.writing():
                places = self._file_locked(batch)
        except Exception as error:
            if len(batch) == 1 or isinstance(error, _FOR_ALL):
                for request in batch:
                    request.error = error
                return {}
            places = {}
            for request in batch:
                for place, requests in self._file_all([request]).items():
                    places.setdefault(place, []).extend(requests)
            return places
        for requests in places.values():
            for request in requests:
                request.staged.delivered()
        return places

    def _file_locked(self, batch):
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
            self._file_into_locked(mailbox, requests, places)
        return places

    def _file_into_locked(self, mailbox, requests, places):
        letters = mailbox.letters_locked(
            [request.flags for request in requests], despite_faults=True)
        left_out = [tuple(mailbox.letters.missing(request.flags))
                    for request in requests]  # as of now: they may get some
        rows = changing.add_locked(
            mailbox, [request.staged for request in requests], letters)
        for request, row, missing in zip(requests, rows, left_out):
            request.delivered = Delivered(
                mailbox.row.uidvalidity, row.uid, missing)
            places.setdefault((mailbox, row.fresh), []).append(request)

    def _sync(self, places):
        for (mailbox, fresh), requests in places.items():
            try:
                mailbox.sync(fresh)
            except errors.StoreError as error:
                mailbox.take_back(sorted(
                    request.delivered.uid for request in requests))
                for request in requests:
                    request.error = error


class _Request:
    __slots__ = ("name", "staged", "flags", "wake", "settled", "error",
                 "delivered")

    def __init__(self, name, staged, flags):
        self.name = name
        self.staged = staged
        self.flags = flags
        self.wake = threading.Lock()
        self.wake.acquire()
        self.settled = False
        self.error = None
        self.delivered = None
