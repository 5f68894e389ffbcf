"""The state of one user's drop folder between two looks at it.

A file may be taken when it rests: two looks saw it in the same state, and that state is a second
old. Names and states are remembered, nothing is filed here, and the disk is read through
files.Opened only. All moments are epoch seconds.
"""
import stat

from . import files

# A file that changed within this many seconds may still be written.
REST = 1.0
# A folder that changed within this many seconds of its listing is listed again, because the clock
# of its file system may be too coarse to show a second change (FAT: 2 s).
GRAIN = 2.0
# Some programs name a file by a link, and remove the old name a moment later.
_LINKED = 10.0
# Seconds until a file is retried, doubled each time; the whole folder pauses less long.
_FIRST, _LONGEST, _LONGEST_PAUSE = 10.0, 900.0, 60.0
# Seconds between two looks if a file is about to rest.
_SOON, NEVER = 0.25, float("inf")
# The most files of one folder that are remembered; others follow when these are gone.
_MOST = 1000


class Entry:
    """One file. `key`: (part, name), as files.Opened names it; `since`: when it was first seen in
    this `state`; `due`: when it is retried; `attempts`: how often it failed."""

    __slots__ = ("key", "state", "since", "looks", "attempts", "due", "is_filed")

    def __init__(self, key, state, now):
        self.key = key
        self.state = state
        self.since = now
        self.looks = 0
        self.attempts = 0
        self.due = 0.0
        self.is_filed = False  # only its removal failed


class Watch:
    """One drop folder. For one thread.

    `path`: where it is; `settings`: the signature of the user's settings that said so; `checked`:
    when they were read; `complaint`: what was logged last; `wait`: seconds until the folder needs
    a look before all others do.
    """

    __slots__ = ("path", "settings", "checked", "complaint", "wait", "_entries", "_parts",
                 "_stamps", "_due", "_pause", "_pauses", "_failed")

    def __init__(self):
        self.path = None
        self.settings = None
        self.checked = None
        self.complaint = ""
        self._pause = 0.0  # until then nothing of it is tried
        self._pauses = 0
        self._failed = None  # the key of the file that failed last, since one was filed
        self.forget()

    def forget(self):
        """There is no such folder (now)."""
        self._entries = {}  # key -> Entry
        self._parts = ()
        self._stamps = None  # as files.stamps; None: the folder must be listed
        self._due = 0.0  # when to list it, even if it did not change
        self.wait = NEVER

    def is_quiet(self, now):
        """Whether nothing has to be done; usually one stat decides. Raises OSError."""
        if now < self._pause <= now + _LONGEST_PAUSE:
            self.wait = NEVER
            return True
        found = files.stamps(self.path, self._parts)
        if not found and self._parts:
            found = files.stamps(self.path)
        if not found:
            if self._entries or self._stamps is not None:
                self.forget()
            return True
        return found == self._stamps and now < self._due <= now + _LONGEST

    def rested(self, opened, now):
        """List the folder -> [Entry] of the files that can be taken: those that never failed
        first, then by age."""
        self._parts = opened.parts
        before = opened.stamps()
        entries, found, room = {}, [], _MOST - len(self._entries)
        for key in opened.names():
            entry = self._entries.get(key)
            if entry is None:
                room -= 1
                if room < 0:
                    continue
            try:
                entry, can_be_taken = _seen(key, entry, opened.status(*key), now)
            except FileNotFoundError:
                continue
            entries[key] = entry
            if can_be_taken:
                found.append(entry)
        self._entries = entries
        is_old = all(now - stamp[2] / 1e9 > GRAIN for stamp in before)
        self._stamps = before if is_old else None
        found.sort(key=lambda entry: (entry.attempts, entry.state.mtime, entry.key))
        return found

    def gone(self, entry):
        """The file is filed, or its name is another file's now."""
        self._entries.pop(entry.key, None)
        self._failed, self._pauses = None, 0
        self._stamps = None  # the names do not show what was written into a file

    def later(self, entry, now, may_be_folder):
        """The file failed for now -> seconds until it is retried.

        `may_be_folder`: the cause may affect the folder's other files. If it happens with a second
        file, all of them pause.
        """
        wait = min(_FIRST * 2 ** min(entry.attempts, 10), _LONGEST)
        entry.attempts += 1
        entry.due = now + wait
        if may_be_folder and entry.key != self._failed:
            if self._failed is not None:
                self.pause(now)
            self._failed = entry.key
        return wait

    def pause(self, now):
        """Try nothing of this folder for a while."""
        self._pause = now + min(_FIRST * 2 ** min(self._pauses, 10), _LONGEST_PAUSE)
        self._pauses += 1

    def looked(self, now, is_more):
        """The look is over; `is_more`: files that rest were left for the next one."""
        waiting = [entry.due for entry in self._entries.values()]
        self._due = min(waiting) if waiting else now + _LONGEST
        self.wait = 0.0 if is_more else _SOON if 0.0 in waiting else NEVER


def _seen(key, entry, status, now):
    """Compare a file with its Entry so far, or None -> (Entry, whether the file can be taken).

    Its age is that by our clock or by the disk's, whichever is greater.
    """
    state = files.state_of(status)
    if entry is None or entry.state != state or now < entry.since:
        entry = Entry(key, state, now)
    entry.looks += 1
    if now < entry.due <= now + _LONGEST:
        return entry, False
    entry.due = 0.0
    watched = now - entry.since
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and watched < _LINKED:
        return entry, False
    age = max(watched, now - max(status.st_mtime, status.st_ctime))
    return entry, entry.looks > 1 and age >= REST
