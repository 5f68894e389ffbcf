"""What was fetched from one account: a plain file that only grows, and the same in memory.

Each line (state_lines.py) is written after each delivery and not synced: a killed process loses
none, a power failure the last ones. That is why "+" is synced before the first delivery, and why
the names of files in the mailbox say what they are (identity.py).

The user owns the folder and may put anything there. A line of another form is ignored; what is no
regular file, or too large, is set aside, and counts as a lost file.
"""
import json
import logging
import os
import time
from array import array

from ...disk.owned_folder import write_all
from .known import Numbers, Ranges
from .state_lines import LINE, joined, lines, named, seconds

log = logging.getLogger("phenmail.fetch")

LARGEST = 64 * 1024 * 1024  # octets of a file that are read
_MOST_NOTES = 1000000  # content keys and source keys that a rewrite keeps: the last ones
_MOST_BOXES = 1000
_SMALL = 256 * 1024  # octets of a file that is not worth a rewrite
GONE = 2 ** 32 - 1  # instead of the time of a source key
_SLACK = 86400  # seconds by which clocks may have jumped


class Mailbox:
    """What is known of one mailbox at the source.

    `validity`: its UIDVALIDITY; `done`: Ranges of UIDs that need nothing more; `is_complete`: every
    message was looked at once since the UIDVALIDITY changed; `ignored_until`: epoch seconds, 0 if
    no mail is ignored, None until `first_look`; `delivered`: what `remove` waits for: (array of
    UIDs, array of the times of their delivery).
    """

    __slots__ = ("name", "validity", "done", "is_complete", "ignored_until", "delivered")

    def __init__(self, name, validity):
        self.name = name
        self.ignored_until = None
        self.restart(validity)

    def restart(self, validity):
        """The mailbox has another UIDVALIDITY: its UIDs mean nothing any more."""
        self.validity = validity
        self.done = Ranges()
        self.is_complete = False
        self.delivered = array("Q"), array("Q")


class State:
    """One account's state. For one thread.

    `once_here`: for notes.Keys; `leaving`: source keys that are removed at the source when its
    connection is closed.

    `open_folder()` -> OwnedFolder of the state files, raises OSError; `name`: the account key;
    `removes`: whether delivered messages are removed at the source, now or later; `clock()`: epoch
    seconds. Every method raises OSError if the disk fails.

    `doubt`: None, or: notes of deliveries since this time (epoch seconds) may be missing.
    """

    def __init__(self, open_folder, name, removes=False, clock=time.time):
        self._open_folder = open_folder
        self._name = name
        self._removes = removes
        self._clock = clock
        self._descriptor = -1
        self.leaving = []
        self.once_here = None  # Numbers: content keys of messages that were, or will be
        self._stamp = None  # of the file as we know it: (inode, size), () if there is none
        self._forget()

    def _forget(self):
        self.mailboxes = {}  # name -> Mailbox
        self.keys = Numbers()  # source key -> time of delivery (POP3)
        self.day = self.octets = 0
        self.doubt = None
        self._is_begun = False  # a "+" is in the file that is not followed by "-"
        self._is_ours = False  # the file has a line of ours
        self._is_torn = False
        self._has_missed = False  # a note could not be written
        self._named = None  # the Mailbox of the last B line
        self._compact = 0  # octets of the file after the last rewrite

    # Reading

    def refresh(self):
        """Read the file, unless it is as this object left it."""
        with self._open_folder() as folder:
            try:
                with folder.read(self._name) as file:
                    status = os.fstat(file.fileno())
                    if (status.st_ino, status.st_size) == self._stamp:
                        return
                    self._forget()
                    if status.st_size > LARGEST:
                        raise ValueError("it has more than %d octets" % LARGEST)
                    self.doubt = 0  # if it says nothing
                    for line in lines(file, LARGEST):
                        self._take(line)
                    self._stamp = status.st_ino, status.st_size
            except FileNotFoundError:
                if self._stamp != ():
                    self._lost()
            except (OSError, ValueError) as error:
                folder.set_aside(self._name)
                log.error("%s: the state of a fetched account was unusable and was set aside: %s",
                          self._name, error)
                self._lost()
        self._is_torn = bool(self._stamp and self._stamp[1])  # the last line may lack its end
        self._compact = max(_SMALL, self._compact)

    def _lost(self):
        """There is no file: only the mailboxes say what was fetched."""
        self._forget()
        self.doubt = 0
        self._stamp = ()

    def _take(self, line):
        found = LINE.match(line)
        if found is None:
            return
        word, *values = [group for group in found.groups() if group is not None]
        word = word.decode()
        if not self._is_ours:
            self._is_ours, self.doubt = True, None
        if word == "B":
            self._take_mailbox(int(values[0]), values[1])
        elif word == "K":
            self.keys[int(values[0], 16)] = seconds(values[1])
        elif word == "+":
            self._is_begun = True
            since = max(0, int(values[0]) - _SLACK)
            self.doubt = since if self.doubt is None else min(self.doubt, since)
        elif word == "-":
            self.doubt, self._is_begun = None, False
        elif word == "T":
            self.day, self.octets = map(int, values)
        elif self._named is not None:
            self._take_of(self._named, word, values)

    def _take_mailbox(self, validity, text):
        name = named(text)
        mailbox = self.mailboxes.get(name) if name is not None else None
        if mailbox is None and name is not None and len(self.mailboxes) < _MOST_BOXES:
            mailbox = self.mailboxes[name] = Mailbox(name, validity)
        if mailbox is not None and mailbox.validity != validity:
            mailbox.restart(validity)
        self._named = mailbox

    def _take_of(self, mailbox, word, values):
        if word == "C":
            mailbox.is_complete = True
        elif word == "I":
            mailbox.ignored_until = int(values[0])
        elif word == "R":
            self._drop(mailbox, int(values[0]), int(values[-1]))
        else:
            uid = int(values[0])
            mailbox.done.add(uid, max(uid, int(values[-1])) if word == "L" else uid)
            if word == "U" and self._removes:
                mailbox.delivered[0].append(uid)
                mailbox.delivered[1].append(int(values[2]))

    def contents(self, mailbox):
        """The content keys of what was delivered from a mailbox under an earlier UIDVALIDITY ->
        Numbers. Reads the file."""
        found, is_earlier = Numbers(), False
        for line in self._all_lines():
            match = LINE.match(line)
            if match is not None and match.group(4):
                is_earlier = (named(match.group(6)) == mailbox.name
                              and int(match.group(5)) != mailbox.validity)
            elif is_earlier and match is not None and match.group(7):
                found[int(match.group(9), 16)] = 1
        return found

    def _all_lines(self):
        try:
            with self._open_folder() as folder, folder.read(self._name) as file:
                yield from lines(file, LARGEST)
        except FileNotFoundError:
            pass

    # Noting

    def mailbox(self, name, validity):
        """The Mailbox of that name with this UIDVALIDITY."""
        mailbox = self.mailboxes.get(name)
        if mailbox is None:
            mailbox = self.mailboxes[name] = Mailbox(name, validity)
        elif mailbox.validity != validity:
            mailbox.restart(validity)
            self._named = None
        return mailbox

    def begin(self):
        """Call it before a delivery: until `close`, notes may be missing."""
        self._open()
        if not self._is_begun:
            self._write("+ %d\n" % self._clock())
            self._is_begun = True
            os.fsync(self._descriptor)

    def delivered(self, mailbox, uid, content):
        """A message of an IMAP mailbox is on our disk. `content`: its content key."""
        now = int(self._clock())
        mailbox.done.add(uid)
        if self._removes:
            mailbox.delivered[0].append(uid)
            mailbox.delivered[1].append(now)
        self._note(mailbox, "U %d %016x %d\n" % (uid, content, now))

    def leave(self, mailbox, first, last=None):
        """Messages of an IMAP mailbox stay at the source."""
        last = first if last is None else last
        mailbox.done.add(first, last)
        self._note(mailbox, "L %d %d\n" % (first, last))

    def first_look(self, mailbox, ignores):
        """The mailbox was seen for the first time. `ignores`: what is older than this moment is
        ignored, even under another UIDVALIDITY."""
        mailbox.ignored_until = int(self._clock()) if ignores else 0
        self._note(mailbox, "I %d\n" % mailbox.ignored_until)

    def complete(self, mailbox):
        """Every message of the mailbox was looked at."""
        if not mailbox.is_complete:
            mailbox.is_complete = True
            self._note(mailbox, "C\n")

    def removed(self, mailbox, count):
        """The first `count` of `mailbox.delivered` are gone at the source."""
        for uid in mailbox.delivered[0][:count]:
            self._note(mailbox, "R %d %d\n" % (uid, uid))
        for each in mailbox.delivered:
            del each[:count]

    def _drop(self, mailbox, first, last):
        uids, times = mailbox.delivered
        # They are removed in the order in which they were delivered.
        while uids and first <= uids[0] <= last:
            del uids[0], times[0]

    def delivered_key(self, key, moment=None):
        """A message of a POP3 server is on our disk. `key`: its source key."""
        self.keys[key] = seconds(self._clock() if moment is None else moment)
        self._note(self.mailbox("", 0), "K %016x %d\n" % (key, self.keys.get(key)))

    def leave_key(self, key):
        """A message of a POP3 server stays there."""
        self.delivered_key(key, 0)

    def gone(self, keys):
        """Messages of a POP3 server were removed there: it may give their keys to others
        (RFC 1939 7)."""
        for key in keys:
            self.delivered_key(key, GONE)

    def count(self, octets):
        """Octets were fetched -> how many today."""
        day = int(self._clock()) // 86400
        self.octets = octets + (self.octets if day == self.day else 0)
        self.day = day
        return self.octets

    def _note(self, mailbox, line):
        if self._named is not mailbox:
            line = "B %d %s\n%s" % (mailbox.validity, json.dumps(mailbox.name), line)
        missed, self._has_missed = self._has_missed, True
        self._open()
        self._write(line)
        self._named, self._has_missed = mailbox, missed

    def _write(self, text):
        data = text.encode("ascii")
        if self._is_torn:
            data = b"?\n" + data  # so that what is torn is no line
        self._is_torn = True
        self._named = None  # if the next line fails, a mailbox's name may be lost
        write_all(self._descriptor, data)
        self._is_torn = False
        self._stamp = self._stamp[0], self._stamp[1] + len(data)

    def _open(self):
        if self._descriptor >= 0:
            return
        with self._open_folder() as folder:
            descriptor = folder.append(self._name, make=not self._stamp)
        status = os.fstat(descriptor)
        known = self._stamp or (status.st_ino, 0)
        if (status.st_ino, status.st_size) != known:
            os.close(descriptor)
            self._stamp = None
            raise OSError("the state of a fetched account changed meanwhile")
        self._descriptor = descriptor
        self._stamp = status.st_ino, status.st_size

    def sync(self):
        """All notes are on the disk once this returns. Call it before anything is removed."""
        if self._descriptor >= 0:
            os.fsync(self._descriptor)

    def end_round(self):
        """Sync, and close the file until the next note; rewrite it if it has grown much."""
        if self._descriptor < 0:
            return
        if self.octets:
            self._write("T %d %d\n" % (self.day, self.octets))
        self.sync()
        self.abandon()
        if self._stamp[1] > 2 * self._compact and self.doubt is None and not self._has_missed:
            try:
                self._rewrite()
            except (OSError, ValueError) as error:
                log.warning("%s: the state of a fetched account could not be rewritten and goes "
                            "on growing: %s", self._name, error)
                self._compact = self._stamp[1]

    def abandon(self):
        """Close the file; what was written stays."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def settle(self):
        """All that was in doubt is noted now."""
        self.doubt = None

    def close(self):
        """A clean end, if nothing is in doubt. The object can be used again."""
        if self._is_begun and self.doubt is None and not self._has_missed:
            self._open()
            self._write("-\n")
            self._is_begun = False
            self.sync()
        self.abandon()

    # Rewriting

    def _rewrite(self):
        """Replace the file by the same without what later lines have overtaken."""
        gone, notes, place = {}, 0, None
        for line in self._all_lines():
            found = LINE.match(line)
            if found is None:
                continue
            if found.group(4):
                place = found.group(5, 6)
            elif found.group(11) == b"R":
                gone.setdefault(place, Ranges()).add(int(found.group(12)),
                                                       int(found.group(13) or found.group(12)))
            notes += found.group(7) is not None or found.group(14) is not None
        with self._open_folder() as folder:
            folder.replace(self._name, joined(self._kept(gone, max(0, notes - _MOST_NOTES))))
            with folder.read(self._name) as file:
                status = os.fstat(file.fileno())
        self._stamp = status.st_ino, status.st_size
        self._compact = max(_SMALL, status.st_size)
        self._named, self._is_torn = None, False

    def _kept(self, gone, surplus):
        """The lines of the new file. `gone`: {place: Ranges of removed UIDs}; `surplus`: how many
        of the oldest notes to leave out."""
        place = written = None
        for line in self._all_lines():
            found = LINE.match(line)
            if found is None:
                continue
            if found.group(4):
                place = found.group(5, 6)
            is_note = found.group(7) is not None or found.group(14) is not None
            surplus -= is_note
            if not is_note or surplus >= 0 or found.group(7) and (
                    place is None or int(found.group(8)) in gone.get(place, ())):
                continue
            if place is not None and place != written:
                written = place
                yield b"B %s %s\n" % place
            yield line + b"\n"
        for mailbox in self.mailboxes.values():
            yield b"B %d %s\n" % (mailbox.validity, json.dumps(mailbox.name).encode("ascii"))
            for first, last in mailbox.done:
                yield b"L %d %d\n" % (first, last)
            if mailbox.ignored_until is not None:
                yield b"I %d\n" % mailbox.ignored_until
            if mailbox.is_complete:
                yield b"C\n"
        yield b"T %d %d\n" % (self.day, self.octets)
        if self._is_begun:
            yield b"+ %d\n" % self._clock()
