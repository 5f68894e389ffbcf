"""What is in a maildrop: the messages that were not fetched before, and their keys.

UIDL (RFC 1939 7) gives each message its key. Where the server has no UIDL, and for messages that
share one UIDL with others, the key is a hash of the header (TOP, or RETR where TOP is missing too)
and the size.

Memory does not grow with the maildrop: the lists are read as streams, at most BATCH new messages
are kept, and a list is read again for the next ones.
"""
import hashlib
import re
import struct
from array import array
from bisect import bisect_left

from .pop_client import Refused
from .source import RemoteMessage

BATCH = 10000  # new messages that are kept at once
MOST = 1000000  # messages in a maildrop
_MORE = 1000  # lines that a list may have beyond what STAT says
_LONGEST = 70  # octets of a UIDL (RFC 1939 7)
_MOST_REPEATS = 5000  # UIDLs that may occur more than once
_HEADER = 64 * 1024  # octets of a header that count for its hash
_AT_ONCE = 100  # headers that are asked for at once
_MOST_SIZE = (1 << 64) - 1
# Some servers write these into the header of a message that was retrieved.
_VOLATILE = re.compile(rb"(?im)^(?:x-)?(?:status|uidl|mozilla-status2?):[^\n]*\n")


class Batch:
    """New messages of a maildrop, in the order of their numbers. `full`: there may be more.

    Arrays, because str and int objects for 10 000 messages would need 2 MB.
    """

    __slots__ = ("numbers", "sizes", "full", "_keys", "_ends")

    def __init__(self):
        self.numbers, self.sizes = array("L"), array("Q")
        self.full = False
        self._keys, self._ends = bytearray(), array("L")

    def __len__(self):
        return len(self.numbers)

    def add(self, number, key):
        """Keep a message, unless there are BATCH of them. `key`: "" if its header is to tell."""
        if len(self.numbers) >= BATCH:
            self.full = True
            return
        self.numbers.append(number)
        self.sizes.append(0)
        self._keys += key.encode("ascii")
        self._ends.append(len(self._keys))

    def key(self, index):
        """The key of the message at `index`."""
        start = self._ends[index - 1] if index else 0
        return self._keys[start:self._ends[index]].decode("ascii")

    def index(self, number):
        """Where message `number` is, or None."""
        found = bisect_left(self.numbers, number)
        if found < len(self.numbers) and self.numbers[found] == number:
            return found
        return None


class _Repeats:
    """Finds the keys that occur more than once: a Bloom filter of 1 MB for 100 000 messages.

    `suspects`: among others the keys that were added before.
    """

    def __init__(self, count):
        self._mask = (1 << max(10, min(25, (count * 64).bit_length()))) - 1
        self._bits = bytearray((self._mask + 1) // 8)
        self.suspects = set()

    def add(self, key):
        hashed = hashlib.blake2b(key.encode("ascii"), digest_size=16).digest()
        is_new = False
        for place in struct.unpack("<4I", hashed):
            place &= self._mask
            bit = 1 << (place & 7)
            if not self._bits[place >> 3] & bit:
                self._bits[place >> 3] |= bit
                is_new = True
        if not is_new and len(self.suspects) <= _MOST_REPEATS:
            self.suspects.add(key)


class Listed(RemoteMessage):
    """A RemoteMessage whose number is known. `listing`: where it counts."""


class Listing:
    """The maildrop of one connection, which does not change until its end (RFC 1939 5).

    `client`: pop_client.PopClient, logged in; `count`: messages, as STAT says; `capabilities`: see
    pop_login. `retrieved`: it used RETR, for a server without TOP.
    """

    def __init__(self, client, count, capabilities):
        self._client, self._count, self._capabilities = client, count, capabilities
        self.retrieved = False

    def batches(self, known):
        """Iterator over Batch: the messages of which `known(key)` is false. Raises FetchError.

        Keys that are "" in it are not known yet: see `messages`.
        """
        if not self._count:
            return
        repeats = _Repeats(self._count)
        batch = self._unknown(0, known, (), repeats)
        repeated = self._repeated(repeats.suspects)
        if repeated is None or repeated:
            batch = self._unknown(0, known, repeated)
        while batch:
            self._add_sizes(batch)
            yield batch
            if not batch.full:
                return
            batch = self._unknown(batch.numbers[-1], known, repeated)

    def messages(self, batch, known):
        """Iterator over a batch's messages as RemoteMessage."""
        start = 0
        while start < len(batch):
            if batch.key(start):
                yield self._listed(batch, start, batch.key(start))
                start += 1
                continue
            end = start + 1
            while end < min(len(batch), start + _AT_ONCE) and not batch.key(end):
                end += 1
            for index, key in self._header_keys(batch, range(start, end)):
                if not known(key):
                    yield self._listed(batch, index, key)
            start = end

    def _listed(self, batch, index, key):
        message = Listed(key, batch.sizes[index], number=batch.numbers[index])
        message.listing = self
        return message

    # UIDL and LIST

    def _unknown(self, after, known, repeated, repeats=None):
        """-> Batch of the messages with numbers above `after`.

        `repeated`: keys that several messages have, or None if no message has a key of its own.
        """
        batch = Batch()
        for number, uidl in self._uidl():
            key = "" if repeated is None else key_of(uidl)
            if key and repeats is not None:
                repeats.add(key)
            if number <= after:
                continue
            if not key or key in repeated:
                batch.add(number, "")
            elif not known(key):
                batch.add(number, key)
        return batch

    def _repeated(self, suspects):
        """Those of the keys that more than one message has; None if there are too many."""
        if len(suspects) > _MOST_REPEATS:
            return None
        if not suspects:
            return frozenset()
        counts = dict.fromkeys(suspects, 0)
        for _, uidl in self._uidl():
            key = key_of(uidl)
            if key in counts:
                counts[key] += 1
        return frozenset(key for key, count in counts.items() if count > 1)

    def _uidl(self):
        """Iterator over (number, UIDL), with UIDLs b"" where the server has none."""
        try:
            yield from self._list(b"UIDL")
        except Refused as refused:
            # Other keys than last time would mean that everything is fetched again.
            if refused.code or "UIDL" in self._capabilities:
                raise
            for number, _ in self._list(b"LIST"):
                yield number, b""

    def _list(self, command):
        """Iterator over (number, what follows it), the numbers ascending. Raises Refused."""
        client, last = self._client, 0
        client.ask(command, text=True)
        for line in client.lines(self._count + _MORE):
            number, _, rest = line.partition(b" ")
            if not number.isdigit() or len(number) > 9 or int(number) <= last:
                raise client.failed("sent a bad line in its list: %r" % line[:80])
            last = int(number)
            yield last, rest

    def _add_sizes(self, batch):
        index, wanted = 0, batch.numbers
        for number, rest in self._list(b"LIST"):
            if index < len(wanted) and number == wanted[index]:
                size = rest.partition(b" ")[0]
                if not size.isdigit() or len(size) > 20:
                    raise self._client.failed("sent a bad size in its list: %r" % rest[:80])
                batch.sizes[index] = min(int(size), _MOST_SIZE)
                index += 1

    # Headers

    def _header_keys(self, batch, indexes):
        """The messages at `indexes` of a batch -> list of (index, key)."""
        client, sizes, keys, refused = self._client, batch.sizes, [], []
        step = len(indexes) if "PIPELINING" in self._capabilities else 1
        client.finish()
        for start in range(0, len(indexes), step):
            chunk = indexes[start:start + step]
            client.send(*[b"TOP %d 0" % batch.numbers[index] for index in chunk], text=True)
            for index in chunk:
                try:
                    client.reply()
                    keys.append((index, self._header_key(sizes[index])))
                except Refused:
                    refused.append(index)
        if refused and "TOP" not in self._capabilities:
            keys += self._keys_by_retr(batch, refused)
            keys.sort()
        return keys

    def _keys_by_retr(self, batch, indexes):
        """The same for a server without TOP. A message over the limit is left out."""
        for index in indexes:
            if batch.sizes[index] > self._client.limit:
                continue
            self.retrieved = True
            try:
                self._client.ask(b"RETR %d" % batch.numbers[index], text=True)
            except Refused:
                continue  # perhaps it is there the next time
            yield index, self._header_key(batch.sizes[index])

    def _header_key(self, size):
        """Read a text to its end -> the key of the message, which has `size` octets."""
        header = b""
        for piece in self._client.pieces():
            if len(header) < _HEADER and b"\r\n\r\n" not in header:
                header = (header + piece)[:_HEADER]
        header = header.partition(b"\r\n\r\n")[0].rstrip(b"\r\n") + b"\r\n"
        stable = _VOLATILE.sub(b"", header)
        size -= len(header) - len(stable)
        return "top:" + hashlib.sha256(b"%d\r\n%s" % (size, stable)).hexdigest()


def key_of(uidl):
    """The key of a message: its UIDL, or a hash of one that breaks RFC 1939; "" for none."""
    if not uidl:
        return ""
    if len(uidl) > _LONGEST or min(uidl) < 0x21 or max(uidl) > 0x7e or uidl.startswith(
            (b"top:", b"uidl:")):
        return "uidl:" + hashlib.sha256(uidl).hexdigest()[:60]
    return uidl.decode("ascii")
