"""Flags as letters of a file name, and back; the keywords of one folder.

`dovecot-keywords` says which letter stands for which keyword: each line is a number (0 is `a`) and
the keyword. Dovecot and people write this file too. A line that we cannot show as a keyword
(RFC 3501 section 9: an atom) stays in the file and keeps its letter.

A letter must never change its meaning while a message has it. So a letter is given to a keyword
only if no message has it, neither by its file name nor by the index (`FlagLetters.add`).
"""
import errno
import logging
import os
import re

from ...disk import atomic
from ...disk.regular_files import read_plain, set_aside_unless_plain
from .. import model

LETTERS = "abcdefghijklmnopqrstuvwxyz"
LONGEST = 255    # octets of a keyword: a file with 26 of them is below _MOST
_NAMED = 5       # keywords that a line of the log names: the client chooses how many there are
_MOST = 65536    # octets of the file that are read
# What open_plain raises for a link, a folder, a pipe. Our file replaces such a thing.
_NO_FILE = (errno.ELOOP, errno.EISDIR, errno.EINVAL, errno.ENXIO)
_SYSTEM_OF = {"D": model.DRAFT, "F": model.FLAGGED, "R": model.ANSWERED,
              "S": model.SEEN, "T": model.DELETED}
_LETTER_OF = {flag.lower(): letter for letter, flag in _SYSTEM_OF.items()}
_ATOM = re.compile(r"""[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+""")
log = logging.getLogger("phenmail.store")


def is_keyword(text):
    """Can this str be a keyword that we keep and show?"""
    return len(text) <= LONGEST and _ATOM.fullmatch(text) is not None


def in_log(keywords):
    """Keywords as the log names them: not more than the first few."""
    named = [keyword[:LONGEST] for keyword in keywords[:_NAMED]]
    others = len(keywords) - _NAMED
    return " ".join(named) + (" and %d others" % others if others > 0 else "")


def letters_on_disk(folder):
    """The set of letters a to z in the names of the folder's files."""
    found = set()
    for part in ("cur", "new"):
        try:
            names = os.listdir(os.path.join(folder, part))
        except FileNotFoundError:  # backups leave empty folders out
            continue
        for name in names:
            found.update(name.partition(":2,")[2])
    return found.intersection(LETTERS)


class FlagLetters:
    """The letters of one folder. Callers hold the account's lock."""

    NAME = "dovecot-keywords"

    def __init__(self, folder):
        self._folder = folder
        self._path = os.path.join(folder, self.NAME)
        self._sets = {}  # letters -> flags
        self._interned = {}  # equal sets are one object
        self._stamp = None
        self._failed = False  # it could not be read, so it must not be written
        self._table = {}  # letter -> the keyword's bytes in the file
        self._others = []  # lines that do not name a letter
        self._shown = {}  # letter -> keyword
        self._letters = {}  # keyword in lower case -> its letters
        #: letters that messages have, or had since this object was made
        self.seen = set()
        self.read()
        self.changed = False  # another program changed what letters mean

    def read(self):
        """Read the file if it changed; returns whether a letter's meaning changed."""
        try:
            status = os.lstat(self._path)
            stamp = status.st_ino, status.st_mtime_ns, status.st_size
        except FileNotFoundError:
            stamp = None
        if stamp == self._stamp:
            return False
        data = self._data() if stamp else b""
        self._failed = data is None
        if self._failed:
            return False
        self._stamp = stamp
        table, self._others = _parse(data)
        if table == self._table:
            return False
        self._table = table
        self.changed = True
        self._sets.clear()
        self._interned.clear()
        self._shown, self._letters = {}, {}
        for letter in sorted(table):
            self._show(letter, table[letter].decode("latin-1"))
        return True

    def _data(self):
        """The file's bytes; None if it cannot be read now, so that the old table stays."""
        try:
            data = read_plain(self._path, _MOST)
        except OSError as error:
            if not self._failed:
                log.warning("%s cannot be read; the keywords known so far stay: %s",
                            self._path, error)
            return b"" if error.errno in _NO_FILE else None
        return data if len(data) < _MOST else data[:data.rfind(b"\n") + 1]

    def _show(self, letter, keyword):
        """Keywords compare without case (RFC 3501 2.3.2). So one may have two letters; it is shown
        as spelt for the first."""
        if is_keyword(keyword):
            letters = self._letters.get(keyword.lower(), "")
            self._shown[letter] = self._shown[letters[0]] if letters else keyword
            self._letters[keyword.lower()] = letters + letter

    @property
    def keywords(self):
        """A tuple of all keywords, each once, including those that no message has."""
        return tuple(dict.fromkeys(self._shown.values()))

    def flags(self, letters):
        """The interned frozenset for `letters`; unknown letters are left out."""
        flags = self._sets.get(letters)
        if flags is None:
            self.seen.update(letters)
            flags = frozenset(filter(None, map(self._flag, letters)))
            flags = self._interned.setdefault(flags, flags)
            self._sets[letters] = flags
        return flags

    def _flag(self, letter):
        return _SYSTEM_OF.get(letter) or self._shown.get(letter)

    def _letters_of(self, flag):
        return _LETTER_OF.get(flag.lower()) or self._letters.get(flag.lower(), "")

    def letters(self, flags):
        """All letters for `flags`, sorted; a keyword may have several.

        Keywords without a letter, and unknown flags that begin with a backslash, are left out.
        """
        return "".join(sorted({letter for flag in flags for letter in self._letters_of(flag)}))

    def letter_each(self, flags):
        """As `letters`, but one letter for each flag."""
        return "".join(sorted({self._letters_of(flag)[:1] for flag in flags}))

    @property
    def unknown(self):
        """Is there a file that was never readable? Then the meaning of letters is unknown."""
        return self._failed and self._stamp is None

    def missing(self, flags):
        """The keywords among `flags` that have no letter, each once."""
        new = {}
        for flag in flags:
            if flag.lower() not in self._letters and not flag.startswith("\\"):
                new.setdefault(flag.lower(), flag)
        return list(new.values())

    def add(self, keywords, flags, indexed):
        """Give each of `keywords` a letter, durably, as long as letters are free.

        A letter is free if no message has it: neither in its file's name, which other programs
        change, nor in the index (`indexed`: its letters). Letters that stand for a keyword without
        messages are taken last, and those of `flags` never: the caller is about to set them.
        Keywords for which no letter is left are logged. Raises OSError if the file cannot be
        written.
        """
        keywords = list(filter(is_keyword, keywords))
        used = letters_on_disk(self._folder).union(indexed, self.letters(flags))
        free = [letter for letter in LETTERS if letter not in used]
        free.sort(key=lambda letter: (letter in self._table, letter in self._shown))
        given = dict(zip(free, keywords))
        before = self._table
        if given:
            self._write(dict(before, **{letter: keyword.encode("ascii")
                                        for letter, keyword in given.items()}))
            # Another program may have set such a letter just now, with its old meaning.
            if not letters_on_disk(self._folder).isdisjoint(given):
                self._write(before)
                given = {}
        if len(given) < len(keywords):
            log.info("%s: no letter is free for the keywords %s, so they are not stored",
                     self._path, in_log(keywords[len(given):]))

    def _write(self, table):
        if self._failed:
            raise OSError(errno.EIO, "cannot be read, and so is not written", self._path)
        lines = [b"%d %s" % (LETTERS.index(letter), table[letter]) for letter in sorted(table)]
        set_aside_unless_plain(self._path)
        atomic.write_file(self._path, b"".join(line + b"\n" for line in lines + self._others))
        changed, _ = self.changed, self.read()
        self.changed = changed  # no message had the new letters


def _parse(data):
    """({letter: octets of its keyword}, the other lines)."""
    table, others = {}, []
    for line in data.split(b"\n"):
        number, _, keyword = line.partition(b" ")
        keyword = keyword.rstrip(b"\r")
        if len(number) < 4 and number.isdigit() and int(number) < len(LETTERS) and keyword:
            table[LETTERS[int(number)]] = keyword
        elif line.strip():
            others.append(line)
    return table, others
