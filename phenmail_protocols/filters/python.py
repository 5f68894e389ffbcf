"""Code filters as `filters.Rules` want them run: those that have leave, as the owner of the user's folder.

`python_permission` says what may run, `python_pool` runs it.  Loaded with the first code filter that is asked.  Any thread may call it.
"""
from ..children.python_answer import failed
from ..children.python_pool import CodeFilters
from ..disk import beneath
from .python_permission import CodeLeave


class Scripts:
    """`root`: config.root.Root; `authorizations`: accounts.authorization.Authorizations; `settings()`: the settings in force."""

    def __init__(self, root, authorizations, settings):
        now = settings()
        self._leave = CodeLeave(root, authorizations, settings)
        self._code_filters = CodeFilters(now.python, now.run_as)

    def run(self, rule, folder, letter):
        """Ask a code filter of the user of a mail folder about a filters.Letter -> codeanswer.Result.  Raises OSError."""
        code, why = self._leave.code(rule, folder)
        if code is None:
            return failed(why)
        status = beneath.folder_status(folder)
        return self._code_filters.run(code, letter.path, letter, (status.st_uid, status.st_gid))

    def stop(self):
        """No script is begun any more, and none runs.  May be called again."""
        self._code_filters.stop()
