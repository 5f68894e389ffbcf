"""What was copied from one mailbox of another server: a text file, one line for each message.

The lines are written after the delivery, and serve the receipt and a later run: a message that the
user has moved or removed here meanwhile is not copied again. A killed process may leave the last
messages without a line: their keys are in their file names here, and their hashes are computed
again. So nothing is synced.

    {"account": …, "box": …, "validity": …, "target": …}     the first line, JSON
    UID SIZE SHA256 [reason]        a message; the SHA-256 of its octets as the server sent them.
                                    "?": it is here, but was not read again; "-": it is not here
"""
import hashlib
import json
import os
from array import array
from bisect import bisect_left
from typing import NamedTuple

_LONGEST = 65536  # octets of a line
_REASON = 2000  # characters
UNKNOWN, NOT_COPIED = "?", "-"
AS = "as"


class Line(NamedTuple):
    """`digest`: 64 hexadecimal digits, UNKNOWN or NOT_COPIED; `reason`: why it was not copied,
    "as KEY MAILBOX" if another message here is it, or what is different here."""
    uid: int
    size: int
    digest: str
    reason: str = ""


class Ledger:
    """The file of one mailbox, in 12 octets of memory for each message. A context manager."""

    def __init__(self, folder, account, box, validity, target):
        """Open the file, or make it. `folder`: must exist; `account`, `box`: names there;
        `target`: the mailbox here. Raises OSError."""
        self.head = {"account": account, "box": box, "validity": validity, "target": target}
        self._uids = array("I")  # ascending
        self._offsets = array("Q")  # where the last line of each begins
        self._not_copied = set()  # UIDs
        self._path = os.path.join(folder, _file_name(account, box, validity))
        self._file = open(self._path, "a+b")
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise

    def _read(self):
        end = 0
        self._file.seek(0)
        for data in _lines(self._file):
            line = _parse(data) if end else None
            if line is not None:
                self._note(line, end)
            end += len(data)
        self._file.truncate(end)  # without a half line of a killed process
        if not end:
            self._file.write(json.dumps(self.head).encode("ascii") + b"\n")
            self._file.flush()

    def _note(self, line, offset):
        at = len(self._uids)
        if at and line.uid <= self._uids[-1]:
            at = bisect_left(self._uids, line.uid)
        if at < len(self._uids) and self._uids[at] == line.uid:
            self._offsets[at] = offset
        else:
            self._uids.insert(at, line.uid)
            self._offsets.insert(at, offset)
        self._not_copied.discard(line.uid)
        if line.digest == NOT_COPIED:
            self._not_copied.add(line.uid)

    def __contains__(self, uid):
        """Whether a message was copied."""
        at = bisect_left(self._uids, uid)
        return at < len(self._uids) and self._uids[at] == uid and uid not in self._not_copied

    def __len__(self):
        """How many messages were copied."""
        return len(self._uids) - len(self._not_copied)

    def add(self, lines):
        """Append Lines. Raises OSError."""
        offset = self._file.seek(0, os.SEEK_END)
        for line in lines:
            reason = " ".join(line.reason.split())[:_REASON]
            data = ("%d %d %s %s" % (line.uid, line.size, line.digest, reason)).rstrip().encode(
                "utf-8", "replace") + b"\n"
            self._file.write(data)
            self._note(line, offset)
            offset += len(data)
        self._file.flush()

    def line(self, uid):
        """The last Line of a message, or None."""
        at = bisect_left(self._uids, uid)
        if at == len(self._uids) or self._uids[at] != uid:
            return None
        self._file.seek(self._offsets[at])
        return _parse(self._file.readline(_LONGEST))

    def lines(self):
        """Yield the last Line of each message, by UID."""
        for uid in list(self._uids):
            yield self.line(uid)

    def close(self):
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def _file_name(account, box, validity):
    return hashlib.sha256(("%s\0%s\0%d" % (account, box, validity)).encode(
        "utf-8", "surrogatepass")).hexdigest()[:32] + ".ledger"


def _lines(file):
    """The whole lines of a file."""
    while True:
        data = file.readline(_LONGEST)
        if not data.endswith(b"\n"):
            return
        yield data


def _parse(data):
    """A line's octets -> Line, or None."""
    parts = data.decode("utf-8", "replace").rstrip("\n").split(" ", 3)
    try:
        return Line(int(parts[0]), int(parts[1]), parts[2], parts[3] if len(parts) > 3 else "")
    except (ValueError, IndexError):
        return None


def heads(folder, account):
    """The first lines of all ledgers of an account in a folder, as dicts; oldest first."""
    found = []
    for name in os.listdir(folder):
        if not name.endswith(".ledger"):
            continue
        path = os.path.join(folder, name)
        try:
            with open(path, "rb") as file:
                head = json.loads(file.readline(_LONGEST).decode("utf-8"))
            if head["account"] == account:
                found.append((os.stat(path).st_mtime, name, head))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return [head for _, _, head in sorted(found, key=lambda each: each[:2])]
