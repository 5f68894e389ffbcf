"""Users' own `mail.jcfg`, read again only when the file changed.

Knows folders and stat; knows no names and no passphrase.  One broken file is
its user's trouble only: it is told as BrokenUser and written to the log once.
"""

import errno
import logging
import os
import stat
import threading
from typing import Callable, Optional, Tuple, Union

from ..config.problems import ConfigError
from ..config.settings import UserSettings

log = logging.getLogger("phenmail.accounts")

FILE = "mail.jcfg"
CAPACITY = 512      # users whose file is kept in memory

Signature = Optional[Tuple[int, int, int, int]]


class BrokenUser(Exception):
    """A user's file that cannot be used; str() says what is wrong, for the log."""


def signature(path: str) -> Signature:
    """What tells one state of a file from another; None where there is no file.

    Raises OSError where the file system does not say, or where there is
    something that is no file (opening a pipe would wait for its other end).
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "no regular file", path)
    return (status.st_mtime_ns, status.st_ino, status.st_size, status.st_ctime_ns)


def state(path: str) -> Union[Signature, int]:
    """As `signature`; where stat fails the error's number, which is another state too."""
    try:
        return signature(path)
    except OSError as error:
        return error.errno or 0


class Seen:
    """The files that a result came from, each with its state from before it was opened.

    What changes while it is read has another state afterwards.
    """

    __slots__ = ("_states",)

    def __init__(self, path: str) -> None:
        self._states = {path: state(path)}

    def add(self, path: str) -> None:
        if path not in self._states:
            self._states[path] = state(path)

    def is_unchanged(self) -> bool:
        """Whether reading again would give the same result."""
        return all(state(path) == seen for path, seen in self._states.items())


class UserFiles:
    """The settings of users by their folder; any thread may ask.

    `load(folder, looked_for) -> UserSettings` reads one, calls `looked_for` with
    the path of each file before it is opened, and raises ConfigError or OSError;
    a folder without a file has the default settings.
    """

    def __init__(self, load: Callable[[str, Callable[[str], None]], UserSettings]) -> None:
        self._load = load
        self.defaults = UserSettings(None, None, None, None, None, "", "", False)
        self._kept: dict = {}  # folder -> (Seen, settings or error text)
        self._lock = threading.Lock()

    def settings(self, folder: str) -> UserSettings:
        """The settings of the user of a folder.  Raises BrokenUser."""
        kept = self._kept.get(folder)
        if kept is None or not kept[0].is_unchanged():
            path = os.path.join(folder, FILE)
            seen = Seen(path)
            kept = (seen, self._read(folder, path, seen))
            self._keep(folder, kept)
        if isinstance(kept[1], str):
            raise BrokenUser(kept[1])
        return kept[1]

    def _read(self, folder: str, path: str, seen: Seen) -> Union[UserSettings, str]:
        try:
            return self._load(folder, seen.add)
        except ConfigError as error:
            text = "\n".join(error.brief())
        except OSError as error:
            text = "%s: %s" % (path, error.strerror)
        except Exception as error:
            log.exception("%s: it cannot be read", path)
            text = "%s: %r" % (path, error)
        log.error("a user's configuration cannot be used, so this user is refused for now: %s",
                  text)
        return text

    def _keep(self, folder: str, kept: Tuple) -> None:
        with self._lock:
            self._kept.pop(folder, None)
            while len(self._kept) >= CAPACITY:
                del self._kept[next(iter(self._kept))]
            self._kept[folder] = kept
