"""Which Python filters may run, and with which text.

Filters of the server and of the administrators' identities may always run. Any other needs the
administrator's signature over the code itself. A file is read once, so the code that was checked
is the code that runs. Knows no message and runs nothing. Any thread may ask.
"""
import os
from typing import NamedTuple, Optional

from ..accounts.authorization import FILTER
from ..children.python_limits import CODE_OCTETS
from ..disk import open_beneath

NOT_AUTHORIZED = "the code was not run: the administrator has not approved it (authorize)"


class Permission(NamedTuple):
    """`code`: the text that may run, or None; `reason`: then why it may not, for the user's log."""
    code: Optional[str]
    reason: str = ""


class NoCode(ValueError):
    """The code of a filter is not available; str() says why."""


class PythonPermission:
    """`root`: config.root_folder.Root; `authorizations`: accounts.authorization.Authorizations;
    `settings()`: the settings in force.
    """

    def __init__(self, root, authorizations, settings):
        self._root = root
        self._authorizations = authorizations
        self._settings = settings

    def code(self, rule, folder):
        """Whether a filter may run -> Permission. Raises nothing.

        `rule`: a settings.Filter of type "py"; `folder`: its owner's mail folder, links resolved.
        """
        identity = self._root.identity_named(folder)
        admin = self._settings().admin
        try:
            text = code_of(rule, self._root, identity, admin)
        except NoCode as error:
            return Permission(None, "the code was not run: %s" % error)
        if rule.from_server or self._root.is_administrators(identity, admin):
            return Permission(text)
        if self._authorizations.holds(identity, FILTER, text, rule.authorization):
            return Permission(text)
        return Permission(None, NOT_AUTHORIZED)


def code_of(rule, root, identity, admin):
    """The text of a Python filter, from its file if it has one -> str. Raises NoCode.

    `identity`: whose filter it is; `admin`: as in the settings. A user's file must lie in the
    user's own folder, and the file of a server's filter in the folder of an administrator. Links
    inside such a folder are followed.
    """
    text = rule.code
    if rule.code_file is not None:
        text = _content(rule, root, identity, admin)
    if not text.strip():
        raise NoCode("it is empty")
    if len(text.encode("utf-8", "surrogatepass")) > CODE_OCTETS:
        raise NoCode("it is longer than %d octets" % CODE_OCTETS)
    return text


def _content(rule, root, identity, admin):
    path = os.path.realpath(rule.code_file)
    owner = root.identity_named(path)
    may_own = root.is_administrators(owner, admin) if rule.from_server else owner == identity
    if owner is None or not may_own:
        raise NoCode("its file is in another user's folder")
    try:
        data, _ = open_beneath.read(root.identity_folder(owner), path, CODE_OCTETS)
        return data.decode("utf-8")
    except OSError as error:
        raise NoCode("cannot read its file %s: %s" % (os.path.basename(path), error.strerror))
    except UnicodeDecodeError:
        raise NoCode("its file %s is not text in UTF-8" % os.path.basename(path))
