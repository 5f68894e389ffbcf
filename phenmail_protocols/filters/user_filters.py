"""Which filters hold for a user: those of the user's file, read again only when it changed, then the server's.

Knows files by what stat says of them; knows no message.  A file that can't be used means no filter at all, not even the
server's: what would have come before them is not known.  Then mail goes to INBOX, and the user's log is told once for each
change of the file.  Any thread may ask.
"""
import logging
import os
import threading
from typing import NamedTuple, Tuple

from ..accounts.userfiles import Seen
from ..config.loader import load_filters
from ..config.problems import ConfigError, Problem, brief
from .rules import Rules, place

log = logging.getLogger("phenmail.delivery")

_MOST_USERS = 512  # whose filters are kept in memory

NO_RULES = Rules(())


class _Kept(NamedTuple):
    """`seen`: accounts.userfiles.Seen; `given`: the server's filters of that moment."""
    seen: Seen
    given: Tuple
    rules: Rules


class FilterFiles:
    """`root`: config.root.Root.  `load(path, root, looked_for) -> tuple of Filter`: as config.loader.load_filters."""

    def __init__(self, root, load=load_filters):
        self._root = root
        self._load = load
        self._kept = {}  # path of the filter file -> _Kept
        self._lock = threading.Lock()

    def rules(self, user, folder, global_filters):
        """The filters of a user -> (Rules, lines for the user's log, mostly none).  Raises nothing.

        `user`: settings.UserSettings; `folder`: the mail folder; `global_filters`: settings.Settings.global_filters.
        """
        # A user without mail.jcfg has default settings, which know no folder.
        path = user.filters or os.path.join(folder, "filters.jcfg")
        given = global_filters if user.use_global_filters else ()
        kept = self._kept.get(path)
        if kept is not None and kept.given is given and kept.seen.is_unchanged():
            return kept.rules, ()
        return self._read(path, folder, given)

    def _read(self, path, folder, given):
        seen, told = Seen(path), ()
        try:
            rules = self._rules(path, folder, given, seen)
            told = tuple(brief(["%s: %s" % (place(rule), flaw) for rule, flaw in rules.flaws]))
        except ConfigError as error:
            rules, told = NO_RULES, _broken(error.brief())
        except OSError as error:
            rules, told = NO_RULES, _broken(["%s: %s" % (os.path.basename(path), error.strerror)])
        except Exception:
            log.exception("%s: these filters can't be used", path)
            rules, told = NO_RULES, _broken(["%s: it can't be read" % os.path.basename(path)])
        if told:
            log.warning("%s: %s", path, "; ".join(told))
        self._keep(path, _Kept(seen, given, rules))
        return rules, told

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
    """A filter file belongs to whom its mail folder belongs to, whatever links lead to it.  Raises ConfigError."""
    owner = root.identity_of(folder)
    if root.identity_of(path) != owner:
        raise ConfigError([Problem(os.path.relpath(path, root.path), 0, 0, "", None, "a file inside the folder of its owner %s" % owner)])


def _broken(lines):
    return tuple(["the filters can't be used, so mail goes to INBOX: " + line for line in lines])
