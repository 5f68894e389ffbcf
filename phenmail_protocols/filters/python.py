"""Python filters and slow regular expressions, both run in child processes.

`python_permission` says which code may run and `children.python_filters` runs it, as the owner of
the user's folder. A regular expression is not code, so it needs no permission; those of all users
run as `run-as` or "nobody". Loaded when first needed. Any thread may call it.
"""
from ..children.python_answer import failed
from ..children.python_filters import PythonFilters
from ..disk import open_beneath
from .matching import NotSearched
from .python_permission import PythonPermission

SEARCH_SECONDS = 1.0  # for a regular expression in one text

# The child parses what it gets as a message: an empty header, then pattern and text, in hexadecimal
# because they may contain any character.
_SEARCH = """
import re
pattern, text = [bytes.fromhex(each).decode("utf-8", "surrogatepass")
                 for each in msg.get_payload().split(",")]
if re.search(pattern, text, re.IGNORECASE):
    accept()
"""


class Scripts:
    """`root`: config.root_folder.Root; `authorizations`: accounts.authorization.Authorizations;
    `settings()`: the settings in force.
    """

    def __init__(self, root, authorizations, settings):
        now = settings()
        self._permission = PythonPermission(root, authorizations, settings)
        self._python_filters = PythonFilters(now.python, now.run_as)
        self._searches = PythonFilters(now.python, now.run_as or "nobody", seconds=SEARCH_SECONDS)

    def run(self, rule, folder, message):
        """Ask a Python filter about a rules.FilteredMessage -> python_answer.Result.

        `folder`: the mail folder of the filter's user. Raises OSError.
        """
        code, why = self._permission.code(rule, folder)
        if code is None:
            return failed(why)
        status = open_beneath.folder_status(folder)
        return self._python_filters.run(code, message.path, message,
                                        (status.st_uid, status.st_gid))

    def search(self, pattern, text, folder):
        """Whether a regular expression (str, case ignored) occurs in a text.

        `folder`: of the user, who may have two searches at once. Raises NotSearched, OSError.
        """
        words = ",".join([each.encode("utf-8", "surrogatepass").hex() for each in (pattern, text)])
        found = self._searches.run(_SEARCH, ("\n" + words).encode("ascii"), {}, (0, 0), folder)
        if found.decision is None and found.log_lines:
            raise NotSearched("; ".join(found.log_lines))
        return found.decision is not None

    def stop(self):
        """Start no script and no search, and wait for those that run. Repeatable."""
        self._python_filters.stop()
        self._searches.stop()
