"""The word ``authorize``: what of a user's waits for the administrator's leave, shown whole, and the leave written.

What is signed is the text that was shown, from memory: a file that changed meanwhile has no leave then. Users own these files and
folders, so they are written without following a link, and keep their owner, mode, comments and order.
"""
import os
import re
from typing import NamedTuple, Tuple

from ..accounts import users
from ..accounts.authorization import EXTERNAL_MDA, FILTER, Authorizations
from ..accounts.userfiles import FILE
from ..config import editing, loader
from ..config.documents import USER
from ..disk import beneath
from ..filters.python_permission import NoCode, code_of
from ..filters.rules import place
from ..filters.user_filters import check_owner

EFFECTS = {EXTERNAL_MDA: "external-MDA is not authorized, so mail goes to the mailbox",
           FILTER: "this code is not authorized, so the filter is passed over"}
_KINDS = {EXTERNAL_MDA: "external-MDA", FILTER: "code filter"}
_NOT_ASCII = re.compile("[^\0-\x7f]")
_MOST_NAMED = 20  # lines whose characters are told by number


class Waiting(NamedTuple):
    """Something without a leave.

    `identity`: whose it is; `kind`: EXTERNAL_MDA or FILTER; `place`: where it stands, for people; `text`: what a leave is given
    for. `file`: the absolute path of the file that the leave is written into; `number`: the filter's place in it, and `code`: how it
    is written there.
    """
    identity: str
    kind: str
    place: str
    text: str
    file: str
    number: int = 0
    code: str = ""

    @property
    def path(self):
        """Where in the file the leave belongs, as editing wants it."""
        return ("authorization",) if self.kind == EXTERNAL_MDA else ("filters", self.number, "authorization")


class Asked(NamedTuple):
    """`waiting`: what can be authorized; `troubles`: str, what can't as it is; `folders`: the mail folders that were looked at."""
    waiting: Tuple[Waiting, ...]
    troubles: Tuple[str, ...]
    folders: Tuple[str, ...]


def asked(root, user):
    """What waits of a user's -> Asked.

    `user`: an address or a login name, else an identity. Raises users.UserError where nobody has a mailbox by that name, ConfigError,
    OSError.
    """
    settings = loader.load_server(root)
    folders = _folders(root, settings, user)
    if not folders:
        raise users.UserError("%s has no mailbox here" % visible(user))
    return _all(root, settings, Authorizations(root.mail_system), folders)


def _all(root, settings, authorizations, folders):
    found = [look(root, settings, authorizations, folder) for folder in folders]
    # Two folders of one identity may name one filter file.
    waiting, troubles = {}, {}
    for each in found:
        waiting.update((one, None) for one in each.waiting)
        troubles.update((one, None) for one in each.troubles)
    return Asked(tuple(waiting), tuple(troubles), folders)


def _folders(root, settings, user):
    try:
        folder = users.mail_folder(settings, user)
    except users.UserError:  # an identity may be no address
        folder = None
    if folder is not None:
        return (folder,)
    folders = {os.path.realpath(action.value) for actions in settings.domains.values() for action in actions.values()
               if action.kind == "mailbox"}
    return tuple(sorted(each for each in folders if root.identity_named(each) == user))


def look(root, settings, authorizations, folder):
    """What waits of the user of a mail folder (links followed) -> Asked. Raises ConfigError, OSError."""
    identity = root.identity_named(folder)
    trusted = root.is_administrators(identity, settings.admin)
    file = os.path.join(folder, FILE)
    user = loader.load_user(file, root)
    waiting, troubles = [], []
    if user.external_mda and not trusted and not authorizations.external_mda(identity, user):
        waiting.append(Waiting(identity, EXTERNAL_MDA, os.path.relpath(file, os.path.realpath(root.path)), user.external_mda,
                               os.path.realpath(file)))
    check_owner(root, user.filters, folder)
    for number, rule in enumerate(loader.load_filters(user.filters, root)):
        if rule.type != "py":
            continue
        try:
            code = code_of(rule, root, identity, settings.admin)
        except NoCode as error:
            troubles.append("%s: this code is not run: %s" % (place(rule), error))
            continue
        if not trusted and not authorizations.holds(identity, FILTER, code, rule.authorization):
            waiting.append(Waiting(identity, FILTER, place(rule), code, _file_of(root, rule), number, rule.code))
    return Asked(tuple(waiting), tuple(troubles), (folder,))


def _file_of(root, rule):
    """The file in which a filter is written, which may be an included one; its name is a path below the root."""
    return os.path.realpath(os.path.join(root.path, rule.place.rpartition(":")[0]))


def write(root, asked):
    """Write the leave for all that waits -> (lines for people, whether all is done).

    In: Asked, of which people saw every text. Raises users.UserError, LockTimeout, OSError where nothing could be begun, and
    ValueError, OSError where the key can't be had.
    """
    authorizations = Authorizations(root.mail_system)
    told, right = [], True
    with users.locked(root):
        for each in asked.waiting:
            leave = authorizations.sign(each.identity, each.kind, each.text)
            users.give(root, authorizations.path)
            try:
                _write(root, each, leave)
            except (OSError, ValueError) as error:
                right = False
                told.append("not authorized: %s: %s" % (visible(each.place), getattr(error, "strerror", None) or error))
                continue
            told.append("authorized: %s" % visible(each.place))
    left = _all(root, loader.load_server(root), authorizations, asked.folders).waiting
    for each in asked.waiting:
        if right and (each.identity, each.kind, each.text) in [(one.identity, one.kind, one.text) for one in left]:
            told.append("still not authorized: %s: a file that it includes says something else; change it there" % visible(each.place))
            right = False
    return told, right


class Changed(ValueError):
    """The file is not any more what was looked at."""


def _write(root, waiting, leave):
    if root.identity_named(waiting.file) != waiting.identity:
        raise Changed("the file lies in a folder of somebody else")
    folder = root.identity_folder(waiting.identity)
    data, status = beneath.read(folder, waiting.file, USER.octets)
    source = data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    if waiting.kind == FILTER and not _stands_there(source, waiting):
        raise Changed("the file changed meanwhile; look at it again")
    edited = editing.set_member(source, waiting.path, leave).encode("utf-8")
    beneath.replace(folder, waiting.file, edited.replace(b"\n", b"\r\n") if b"\r\n" in data else edited, status)


def _stands_there(source, waiting):
    try:
        rule = editing.read(source)["filters"][waiting.number]
        return (rule["type"], rule["code"]) == ("py", waiting.code)
    except (KeyError, IndexError, TypeError):
        return False


# Words


def text_lines(asked):
    """Asked for people -> list of str. No text can look like a line of ours, nor hide anything."""
    lines = []
    for each in asked.waiting:
        shown = each.text.split("\n")
        if not shown[-1]:
            shown.pop()
        lines.append("%s: %s of %s, %d lines, %d octets" % (visible(each.place), _KINDS[each.kind], visible(each.identity), len(shown),
                                                           len(each.text.encode("utf-8", "surrogatepass"))))
        lines.extend(["  | " + visible(line) for line in shown])
        lines.extend("  " + line for line in _look_alikes(shown))
    lines.extend("not to be authorized: " + visible(line) for line in asked.troubles)
    return lines or ["nothing waits for authorization"]


def visible(text):
    """A text in which each character that would not show (controls, blanks but the space, direction marks) is its number."""
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else "<U+%04X>" % ord(char) for char in text])


def _look_alikes(lines):
    """Characters that may look like others, by number: letters of two scripts can't be told apart by eye."""
    found = [(number, _NOT_ASCII.findall(line)) for number, line in enumerate(lines, 1)]
    found = [(number, chars) for number, chars in found if chars]
    for number, chars in found[:_MOST_NAMED]:
        yield "line %d has characters outside US-ASCII: %s" % (number, " ".join("U+%04X" % ord(char) for char in sorted(set(chars))))
    if len(found) > _MOST_NAMED:
        yield "and %d more lines have such characters" % (len(found) - _MOST_NAMED)
