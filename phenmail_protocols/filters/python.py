"""Python filters and slow regular expressions, both run in child processes.

`python_permission` says which code may run and `python_pool` runs it, as the owner of the user's
folder.  A regular expression is no code, so it needs no permission; all users' run as `run-as` or
"nobody".  Loaded when first needed.  Any thread may call it.
"""
from ..children.python_answer import failed
from ..children.python_pool import CodeFilters
from ..disk import beneath
from .matching import NotSearched
from .python_permission import CodeLeave

SEARCH_SECONDS = 1.0  # for a regular expression in one text

# The child parses what it gets as a message: an empty header, then pattern and text, in hexadecimal
# because they may contain any character.
_SEARCH = """
import re
pattern, text = [bytes.fromhex(line).decode("utf-8", "surrogatepass") for line in msg.get_payload().split(",")]
if re.search(pattern, text, re.IGNORECASE):
    accept()
"""


class Scripts:
    """`root`: config.root.Root; `authorizations`: accounts.authorization.Authorizations; `settings()`: the settings in force."""

    def __init__(self, root, authorizations, settings):
        now = settings()
        self._leave = CodeLeave(root, authorizations, settings)
        self._code_filters = CodeFilters(now.python, now.run_as)
        self._searches = CodeFilters(now.python, now.run_as or "nobody", seconds=SEARCH_SECONDS)

    def run(self, rule, folder, letter):
        """Ask a Python filter of the user of a mail folder about a rules.Letter -> python_answer.Result.  Raises OSError."""
        code, why = self._leave.code(rule, folder)
        if code is None:
            return failed(why)
        status = beneath.folder_status(folder)
        return self._code_filters.run(code, letter.path, letter, (status.st_uid, status.st_gid))

    def search(self, pattern, text, folder):
        """Whether a regular expression (str, case ignored) occurs in a text.

        `folder`: of the user, who may have two searches at once.  Raises NotSearched, OSError.
        """
        words = ",".join([each.encode("utf-8", "surrogatepass").hex() for each in (pattern, text)])
        found = self._searches.run(_SEARCH, ("\n" + words).encode("ascii"), {}, (0, 0), folder)
        if found.decision is None and found.told:
            raise NotSearched("; ".join(found.told))
        return found.decision is not None

    def stop(self):
        """Start no script and no search, and wait for those that run.  May be called again."""
        self._code_filters.stop()
        self._searches.stop()
