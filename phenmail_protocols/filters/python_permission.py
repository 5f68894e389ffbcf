"""Which code filters may run, and with which text.

The server's own filters and those of the administrator's identities always; any other where the administrator's signature holds over
the code itself.  A file's code is read once: what was looked at is what runs.  Knows no message and runs nothing; any thread may ask.
"""
import os
from typing import NamedTuple, Optional

from ..accounts.authorization import FILTER
from ..children.python_pool import CODE_OCTETS
from ..disk import beneath

NOT_AUTHORIZED = "the code was not run: the administrator has not authorized this text (authorize)"


class Leave(NamedTuple):
    """`code`: the text that may run, None where none may; `reason`: then why, a line for the user's log."""
    code: Optional[str]
    reason: str = ""


class NoCode(ValueError):
    """The code of a filter can't be had; str() says why."""


class CodeLeave:
    """`root`: config.root.Root; `authorizations`: accounts.authorization.Authorizations; `settings()` gives the settings in force."""

    def __init__(self, root, authorizations, settings):
        self._root = root
        self._authorizations = authorizations
        self._settings = settings

    def code(self, rule, folder):
        """Whether a filter may run -> Leave.  Raises nothing.

        `rule`: a settings.Filter of type "py"; `folder`: the mail folder of its owner, as the directory names it (links followed).
        """
        identity = self._root.identity_named(folder)
        admin = self._settings().admin
        try:
            text = code_of(rule, self._root, identity, admin)
        except NoCode as error:
            return Leave(None, "the code was not run: %s" % error)
        if rule.from_server or self._root.is_administrators(identity, admin):
            return Leave(text)
        if self._authorizations.holds(identity, FILTER, text, rule.authorization):
            return Leave(text)
        return Leave(None, NOT_AUTHORIZED)


def code_of(rule, root, identity, admin):
    """The text of a code filter, from its file where it has one -> str.  Raises NoCode.

    `identity`: whose filter it is.  Its file lies in the folder of that identity, that of a filter of the server's in one of the
    administrator's (`admin`: as in the settings); links inside of such a folder are followed.
    """
    text = rule.code if rule.code_file is None else _content(rule.code_file, root, identity, None if not rule.from_server else admin)
    if not text.strip():
        raise NoCode("there is none")
    if len(text.encode("utf-8", "surrogatepass")) > CODE_OCTETS:
        raise NoCode("it is longer than %d octets" % CODE_OCTETS)
    return text


def _content(path, root, identity, admin):
    path = os.path.realpath(path)
    owner = root.identity_named(path)
    if not (owner == identity if admin is None else root.is_administrators(owner, admin)) or owner is None:
        raise NoCode("its file lies in a folder of somebody else")
    try:
        data, _ = beneath.read(root.identity_folder(owner), path, CODE_OCTETS)
        return data.decode("utf-8")
    except OSError as error:
        raise NoCode("its file %s can't be read: %s" % (os.path.basename(path), error.strerror))
    except UnicodeDecodeError:
        raise NoCode("its file %s is no text in UTF-8" % os.path.basename(path))
