"""Users' own `mail.jcfg`, read again only after the file changed.

One broken file affects only its user: it raises BrokenUser and is logged once.
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
    """What distinguishes one state of a file from another; None if there is no file.

    Raises OSError if stat fails, or if it is not a regular file (opening a pipe would wait for
    its other end).
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "no regular file", path)
    return (status.st_mtime_ns, status.st_ino, status.st_size, status.st_ctime_ns)


def file_state(path: str) -> Union[Signature, int]:
    """Like `signature`; if that raises, the error number, which is a state as well."""
    try:
        return signature(path)
    except OSError as error:
        return error.errno or 0


class Seen:
    """The files on which a result depends, each with its state before it was opened.

    So a file that changes while it is read has another state afterwards.
    """

    __slots__ = ("_states",)

    def __init__(self, path: str) -> None:
        self._states = {path: file_state(path)}

    def add(self, path: str) -> None:
        if path not in self._states:
            self._states[path] = file_state(path)

    def is_unchanged(self) -> bool:
        """Whether reading again would give the same result."""
        return all(file_state(path) == seen for path, seen in self._states.items())


class UserFiles:
    """The settings of users by their folder; any thread may ask.

    `load(folder, looked_for)` returns the UserSettings of one user, and the defaults if there is
    no file. It calls `looked_for` with the path of each file before it opens it, and raises
    ConfigError or OSError.
    """

    def __init__(self, load: Callable[[str, Callable[[str], None]], UserSettings]) -> None:
        self._load = load
        self.defaults = UserSettings(None, None, None, None, None, "", "", False)
        self._kept: dict = {}  # folder -> (Seen, settings or error text), the oldest first
        self._lock = threading.Lock()

    def settings(self, folder: str) -> UserSettings:
        """The settings of the user of a folder. Raises BrokenUser."""
        kept = self._kept.get(folder)
        if kept is None or not kept[0].is_unchanged():
            path = os.path.join(folder, FILE)
            seen = Seen(path)
            kept = (seen, self._read(folder, path, seen))
            with self._lock:
                self._kept.pop(folder, None)
                while len(self._kept) >= CAPACITY:
                    del self._kept[next(iter(self._kept))]
                self._kept[folder] = kept
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
        except Exception as error:  # a defect of ours must not stop everybody's mail
            log.exception("%s cannot be read", path)
            text = "%s: %r" % (path, error)
        log.error("cannot use a user's configuration, so their mail and logins must wait: %s",
                  text)
        return text
