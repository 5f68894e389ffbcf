"""The filters of each user: those of the user's file, then the server's.

A file is read again only if stat says that it changed. If a file cannot be used, no filter
applies, not even the server's, because the broken filters might have decided first. Mail then
goes to INBOX, with a line in the user's log once for each change of the file. Any thread may ask.
"""
import logging
import os
import threading
from typing import NamedTuple, Tuple

from ..accounts.userfiles import Seen
from ..config.loader import load_filters
from ..config.problems import ConfigError, Problem, brief
from .rules import Rules, place

log = logging.getLogger("phenmail.filters")

_MOST_USERS = 512  # whose filters are kept in memory

NO_RULES = Rules(())


class _Kept(NamedTuple):
    """`seen`: accounts.userfiles.Seen; `given`: the server's filters at that time."""
    seen: Seen
    given: Tuple
    rules: Rules


class FilterFiles:
    """`root`: config.root_folder.Root. `load`: as config.loader.load_filters."""

    def __init__(self, root, load=load_filters):
        self._root = root
        self._load = load
        self._kept = {}  # path of the filter file -> _Kept
        self._lock = threading.Lock()

    def rules(self, user, folder, global_filters):
        """The filters of a user -> (Rules, lines for the user's log). Raises nothing.

        `user`: settings.UserSettings; `folder`: the mail folder; `global_filters`: those of
        settings.Settings.
        """
        # A user without mail.jcfg has default settings, which know no folder.
        path = user.filters or os.path.join(folder, "filters.jcfg")
        given = global_filters if user.use_global_filters else ()
        kept = self._kept.get(path)
        if kept is not None and kept.given is given and kept.seen.is_unchanged():
            return kept.rules, ()
        return self._read(path, folder, given)

    def _read(self, path, folder, given):
        seen, log_lines = Seen(path), ()
        try:
            rules = self._rules(path, folder, given, seen)
            log_lines = tuple(brief(["%s: %s" % (place(rule), flaw) for rule, flaw in rules.flaws]))
        except ConfigError as error:
            rules, log_lines = NO_RULES, _broken(error.brief())
        except OSError as error:
            why = "%s: %s" % (os.path.basename(path), error.strerror)
            rules, log_lines = NO_RULES, _broken([why])
        except Exception:
            log.exception("%s: these filters cannot be used", path)
            rules, log_lines = NO_RULES, _broken(["%s: it cannot be read" % os.path.basename(path)])
        if log_lines:
            log.warning("%s: %s", path, "; ".join(log_lines))
        self._keep(path, _Kept(seen, given, rules))
        return rules, log_lines

    def _rules(self, path, folder, given, seen):
        if not given and not os.path.lexists(path):
            return NO_RULES
        check_owner(self._root, path, folder)
        return Rules(self._load(path, self._root, seen.add) + tuple(given))

    def _keep(self, path, kept):
        with self._lock:
            self._kept.pop(path, None)
            while len(self._kept) >= _MOST_USERS:
                del self._kept[next(iter(self._kept))]
            self._kept[path] = kept


def check_owner(root, path, folder):
    """Raise ConfigError if a filter file, links resolved, lies in another identity's folder than
    its mail folder."""
    owner = root.identity_of(folder)
    if root.identity_of(path) != owner:
        raise ConfigError([Problem(os.path.relpath(path, root.path), 0, 0, "", None,
                                   "a file inside the folder of its owner %s" % owner)])


def _broken(lines):
    return tuple(["the filters cannot be used, so mail goes to INBOX: " + line for line in lines])
