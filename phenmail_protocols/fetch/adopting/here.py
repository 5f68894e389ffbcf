"""The messages of a mailbox here that were fetched, by the keys in their file names."""
from ...store.maildir.filenames import arrival_key

_ROWS = 1000  # read at once
_SHARES = 256
_KEY, _UID = 16, 4  # octets


class _Records:
    """{key: UID} in 20 octets each. A key is a str of 32 hexadecimal digits, of a hash."""

    def __init__(self):
        self._shares = [bytearray() for _ in range(_SHARES)]  # by the first octet

    def add(self, key, uid):
        record = bytes.fromhex(key)
        self._shares[record[0]] += record + uid.to_bytes(_UID, "big")

    def get(self, key):
        """The UID that was first added for a key, or None."""
        wanted = bytes.fromhex(key)
        share = self._shares[wanted[0]]
        at = share.find(wanted)
        while at % (_KEY + _UID) and at >= 0:  # it is no record, but parts of two
            at = share.find(wanted, at + 1)
        return None if at < 0 else int.from_bytes(share[at + _KEY:at + _KEY + _UID], "big")


class Here:
    """{key: UID} of one mailbox."""

    def __init__(self, account, name):
        """Read the keys of the mailbox `name`. Raises store.errors.StoreError."""
        self._records = _Records()
        mailbox = account.open(name)
        try:
            uid = 0
            while True:
                rows = account.rows_after(mailbox, uid, _ROWS)
                if not rows:
                    break
                uid = rows[-1].uid
                for row in rows:
                    key = arrival_key(row.name, 0)
                    if key is not None:
                        self._records.add(key, row.uid)
        finally:
            mailbox.close()

    def add(self, key, uid):
        """A message was delivered."""
        self._records.add(key, uid)

    def uid(self, key):
        """The UID of the message with that key, or None."""
        return self._records.get(key)


class Everywhere:
    """The keys in all mailboxes of an account, as they were when this object was made."""

    def __init__(self, account):
        """Raises store.errors.StoreError."""
        self._records = _Records()
        for key in account.arrival_keys():
            self._records.add(key, 0)

    def __contains__(self, key):
        return self._records.get(key) is not None
