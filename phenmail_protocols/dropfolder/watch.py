"""What is remembered of one user's drop folder from one look to the next: which files rest, which wait, when to look again.

Knows names, states and moments (epoch seconds); touches the disk through dropfiles.Opened only, and files nothing.
"""
import stat

from . import files

# A file that was written to within this many seconds may still be written.
REST = 1.0
# A folder that changed within this many seconds of its listing is listed again: the clock's grain hides a change (FAT: 2 s).
GRAIN = 2.0
# Some programs give a file its name by a link, and remove the old name a moment later.
_LINKED = 10.0
# Seconds until a file is tried again: doubled each time.  The folder's other files wait less long.
_FIRST, _LONGEST, _LONGEST_PAUSE = 10.0, 900.0, 60.0
# Seconds between two looks where a file is about to rest.
_SOON, NEVER = 0.25, float("inf")
# Files of one folder that are known at a time; the rest has its turn when these are gone.
_MOST = 1000


class Entry:
    """One file: `since` when it was first seen in this `state`; `due` when it is tried, `attempts` how often it was."""

    __slots__ = ("state", "since", "looks", "attempts", "due", "is_filed")

    def __init__(self, state, now):
        self.state = state
        self.since = now
        self.looks = 0
        self.attempts = 0
        self.due = 0.0
        self.is_filed = False  # only its removal failed


class Watch:
    """One drop folder over time.  One thread.  `wait`: seconds until it wants to be looked at again, before the others.

    `path`: where it is, `settings`: the signature of the user's settings that said so, `asked`: when they were asked;
    `complaint`: what the log was told last.
    """

    __slots__ = ("path", "settings", "asked", "complaint", "wait", "_entries", "_parts", "_stamps", "_due", "_pause", "_pauses", "_failed")

    def __init__(self):
        self.path = None
        self.settings = None
        self.asked = None
        self.complaint = ""
        self._pause = 0.0  # until then nothing of it is tried
        self._pauses = 0
        self._failed = None  # which file failed last, since one was filed
        self.forget()

    def forget(self):
        """There is no such folder (now)."""
        self._entries = {}  # (part, name) -> Entry
        self._parts = ()
        self._stamps = None  # as dropfiles.stamps; None: it is to be listed
        self._due = 0.0  # when it is listed although nothing changed
        self.wait = NEVER

    def is_quiet(self, now):
        """Whether there is nothing to look for, by one stat mostly.  Raises OSError."""
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
        """List the folder -> ((part, name), Entry) of the files that can be taken, those that were never tried first, then by age."""
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
                entries[key], can_be_taken = _seen(entry, opened.status(*key), now)
            except FileNotFoundError:
                continue
            if can_be_taken:
                found.append((key, entries[key]))
        self._entries = entries
        self._stamps = before if all(now - stamp[2] / 1e9 > GRAIN for stamp in before) else None
        found.sort(key=lambda each: (each[1].attempts, each[1].state.mtime, each[0]))
        return found

    def gone(self, key):
        """What had this name is dealt with, or is another now."""
        self._entries.pop(key, None)
        self._failed, self._pauses = None, 0
        self._stamps = None  # what was written into a file shows in no list of names

    def later(self, key, entry, now, is_folders):
        """It failed for now -> seconds until it is tried again.

        `is_folders`: what failed may fail with the folder's other files too.  They all wait when it does with a second one.
        """
        wait = min(_FIRST * 2 ** min(entry.attempts, 10), _LONGEST)
        entry.attempts += 1
        entry.due = now + wait
        if is_folders and key != self._failed:
            if self._failed is not None:
                self.pause(now)
            self._failed = key
        return wait

    def pause(self, now):
        """Nothing of this folder is tried for a while."""
        self._pause = now + min(_FIRST * 2 ** min(self._pauses, 10), _LONGEST_PAUSE)
        self._pauses += 1

    def looked(self, now, is_more):
        """The look is over; `is_more`: files that rest were left for the next one."""
        waiting = [entry.due for entry in self._entries.values()]
        self._due = min(waiting) if waiting else now + _LONGEST
        self.wait = 0.0 if is_more else _SOON if 0.0 in waiting else NEVER


def _seen(entry, status, now):
    """What lies under a name now, and its Entry so far or None -> (Entry, whether it can be taken).

    It is when it was seen twice in one state, and that is a second old: by our clock, or by the disk's.
    """
    state = files.state_of(status)
    if entry is None or entry.state != state or now < entry.since:
        entry = Entry(state, now)
    entry.looks += 1
    if now < entry.due <= now + _LONGEST:
        return entry, False
    entry.due = 0.0
    watched = now - entry.since
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and watched < _LINKED:
        return entry, False
    return entry, entry.looks > 1 and (watched >= REST or now - max(status.st_mtime, status.st_ctime) >= REST)
