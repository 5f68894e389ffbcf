"""Flags as letters of a file name and back, with the keywords of one folder.

The keywords' letters stand in ``dovecot-keywords``: lines of a number (0 is
``a``) and the keyword. Dovecot writes that file too, and people edit it: what
is no keyword there stays in the file, keeps its letter, and is shown nowhere.
"""
import errno
import logging
import os
import re

from ..disk import atomic
from ..disk.plain import read_plain, set_aside_unless_plain
from . import model

LETTERS = "abcdefghijklmnopqrstuvwxyz"
LONGEST = 255    # octets of a keyword: all 26 fit into what is read
_MOST = 65536    # octets of the file that are read
# What open_plain says of a link, a folder, a pipe: our file takes its place.
_NO_FILE = (errno.ELOOP, errno.EISDIR, errno.EINVAL, errno.ENXIO)
_SYSTEM_OF = {"D": model.DRAFT, "F": model.FLAGGED, "R": model.ANSWERED,
              "S": model.SEEN, "T": model.DELETED}
_LETTER_OF = {flag.lower(): letter for letter, flag in _SYSTEM_OF.items()}
# RFC 3501 section 9: an atom, of which a keyword is one.
_ATOM = re.compile(r"""[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]+""")
_log = logging.getLogger("phenmail.store")


def is_keyword(text):
    """Can this str be a keyword that is kept and shown?"""
    return len(text) <= LONGEST and _ATOM.fullmatch(text) is not None


def on_disk(folder):
    """The letters a to z that any file name of the folder has, as a set."""
    found = set()
    for part in ("cur", "new"):
        try:
            names = os.listdir(os.path.join(folder, part))
        except FileNotFoundError:  # backups leave empty ones out
            continue
        for name in names:
            found.update(name.partition(":2,")[2])
    return found.intersection(LETTERS)


class FlagLetters:
    """The letters of one folder. Not for threads: the caller has a lock."""

    NAME = "dovecot-keywords"

    def __init__(self, folder):
        self._folder = folder
        self._path = os.path.join(folder, self.NAME)
        self._sets = {}  # letters -> flags
        self._interned = {}  # equal sets are one object
        self._stamp = None
        self._failed = False  # it could not be read, so it is not written
        self._table = {}  # letter -> what the file says, bytes
        self._others = []  # lines that say nothing of a letter
        self._shown = {}  # letter -> keyword
        self._letters = {}  # keyword in lower case -> its letters
        #: letters that messages have, or had since this was made
        self.seen = set()
        self.read()

    def read(self):
        """Take in the file if it is another than before: did it change?"""
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
        self._sets.clear()
        self._interned.clear()
        self._shown, self._letters = {}, {}
        for letter in sorted(table):
            self._show(letter, table[letter].decode("latin-1"))
        return True

    def _data(self):
        """What is in the file; None where it can't be read now, and what was
        known before stands."""
        try:
            data = read_plain(self._path, _MOST)
        except OSError as error:
            if not self._failed:
                _log.warning("%s is not read: %s", self._path, error)
            return b"" if error.errno in _NO_FILE else None
        return data if len(data) < _MOST else data[:data.rfind(b"\n") + 1]

    def _show(self, letter, keyword):
        """Keywords compare without case (RFC 3501 2.3.2): one may have two
        letters, and is shown as it is spelt for the first."""
        if is_keyword(keyword):
            letters = self._letters.get(keyword.lower(), "")
            self._shown[letter] = self._shown[letters[0]] if letters else keyword
            self._letters[keyword.lower()] = letters + letter

    @property
    def keywords(self):
        """All keywords, a tuple of str: each once, those without messages
        too."""
        return tuple(dict.fromkeys(self._shown.values()))

    def flags(self, letters):
        """The interned frozenset for ``letters``; unknown letters are none."""
        flags = self._sets.get(letters)
        if flags is None:
            self.seen.update(letters)
            flags = frozenset(filter(None, map(self._flag, letters)))
            flags = self._interned.setdefault(flags, flags)
            self._sets[letters] = flags
        return flags

    def _flag(self, letter):
        return _SYSTEM_OF.get(letter) or self._shown.get(letter)

    def letters(self, flags):
        """The letters for ``flags``, all of them for a keyword with several.

        Keywords without letters, and other flags that begin with a backslash,
        have none.
        """
        return "".join(sorted({letter for flag in flags for letter in (
            _LETTER_OF.get(flag.lower()) or self._letters.get(flag.lower(), ""))}))

    def letter_each(self, flags):
        """As ``letters``, but one for each flag."""
        return "".join(sorted({(
            _LETTER_OF.get(flag.lower()) or self._letters.get(flag.lower(), ""))[:1]
            for flag in flags}))

    @property
    def unknown(self):
        """There is a file, but it could never be read: what do letters mean?"""
        return self._failed and self._stamp is None

    def missing(self, flags):
        """The keywords among ``flags`` that have no letter, each once."""
        new = {}
        for flag in flags:
            if flag.lower() not in self._letters and not flag.startswith("\\"):
                new.setdefault(flag.lower(), flag)
        return list(new.values())

    def add(self, keywords, flags, indexed):
        """Give each of ``keywords`` a letter, durably, as long as there are.

        A letter can be had that no message has: not by its file's name, which
        other programs change, and not by the index (``indexed``: a str or set
        of letters). Those of a keyword without messages come last, and never
        one of ``flags``, which somebody is about to set. Logs what is left out
        as there are not enough. Raises OSError where the file can't be written.
        """
        keywords = list(filter(is_keyword, keywords))
        used = on_disk(self._folder).union(indexed, self.letters(flags))
        free = [letter for letter in LETTERS if letter not in used]
        free.sort(key=lambda letter: (letter in self._table, letter in self._shown))
        given = dict(zip(free, keywords))
        before = self._table
        if given:
            self._write(dict(before, **{letter: keyword.encode("ascii")
                                        for letter, keyword in given.items()}))
            # Another program may have used such a letter just now, for what
            # the file said before.
            if not on_disk(self._folder).isdisjoint(given):
                self._write(before)
                given = {}
        if len(given) < len(keywords):
            _log.info("%s: no letter for the keywords %s", self._path,
                         " ".join(keywords[len(given):]))

    def _write(self, table):
        if self._failed:
            raise OSError(errno.EIO, "it could not be read", self._path)
        lines = [b"%d %s" % (LETTERS.index(letter), table[letter])
                 for letter in sorted(table)]
        set_aside_unless_plain(self._path)
        atomic.write_file(self._path, b"".join(
            line + b"\n" for line in lines + self._others))
        self.read()


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
