"""The messages of a mailbox here that were fetched, by the keys in their file names."""
from bisect import bisect_left

from ...store.maildir.filenames import arrival_key

_ROWS = 2000  # read at once
_WIDTH, _KEY_WIDTH = 20, 16
_FRESH = 5000  # keys that are held in a dict before they are sorted in


class Here:
    """{key: UID} of one mailbox, in 20 octets for each message.

    A key is a str of 32 hexadecimal digits.
    """

    def __init__(self, account, name):
        """Read the keys of the mailbox `name`. Raises store.errors.StoreError."""
        self._sorted = b""
        self._fresh = {}
        mailbox = account.open(name)
        try:
            self._read(account, mailbox)
        finally:
            mailbox.close()

    def _read(self, account, mailbox):
        uid, records = 0, []
        while True:
            rows = account.rows_after(mailbox, uid, _ROWS)
            if not rows:
                break
            uid = rows[-1].uid
            for row in rows:
                key = arrival_key(row.name, 0)
                if key is not None:
                    records.append(_record(key, row.uid))
        records.sort()
        self._sorted = b"".join(records)

    def add(self, key, uid):
        """A message was delivered."""
        self._fresh[key] = uid
        if len(self._fresh) > _FRESH:
            old = self._sorted
            records = [old[at:at + _WIDTH] for at in range(0, len(old), _WIDTH)]
            records.extend(_record(*each) for each in self._fresh.items())
            records.sort()
            self._sorted, self._fresh = b"".join(records), {}

    def uid(self, key):
        """The UID of the message with that key, or None."""
        found = self._fresh.get(key)
        if found is not None:
            return found
        wanted = bytes.fromhex(key)
        at = bisect_left(_Keys(self._sorted), wanted) * _WIDTH
        if self._sorted[at:at + _KEY_WIDTH] != wanted:
            return None
        return int.from_bytes(self._sorted[at + _KEY_WIDTH:at + _WIDTH], "big")


class Everywhere:
    """The keys in all mailboxes of an account, as they were when this object was made."""

    def __init__(self, account):
        """Raises store.errors.StoreError."""
        self._sorted = b"".join(sorted(_record(key, 0) for key in account.arrival_keys()))

    def __contains__(self, key):
        wanted = bytes.fromhex(key)
        at = bisect_left(_Keys(self._sorted), wanted) * _WIDTH
        return self._sorted[at:at + _KEY_WIDTH] == wanted


def _record(key, uid):
    return bytes.fromhex(key) + uid.to_bytes(_WIDTH - _KEY_WIDTH, "big")


class _Keys:
    """The keys of sorted records, for bisect."""

    def __init__(self, data):
        self._data = data

    def __len__(self):
        return len(self._data) // _WIDTH

    def __getitem__(self, number):
        return self._data[number * _WIDTH:number * _WIDTH + _KEY_WIDTH]
