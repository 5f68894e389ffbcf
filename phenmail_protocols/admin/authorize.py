"""The command `authorize`: show what awaits the administrator's approval, and approve it.

The text that was shown is signed, from memory, so a file that changed meanwhile is not approved.
Users own these files and folders: they are written without following a link, and keep their owner,
mode, comments and order.
"""
import os
import re
import sys
from typing import NamedTuple, Tuple

from ..accounts import users
from ..accounts.authorization import EXTERNAL_MDA, FILTER, Authorizations
from ..accounts.userfiles import FILE
from ..config import editing, loader
from ..config.documents import USER
from ..disk import open_beneath
from ..filters.python_permission import NoCode, code_of
from ..filters.rules import place
from ..filters.user_filters import check_owner
from .terminal import DONE, FAILED, confirm, show

EFFECTS = {EXTERNAL_MDA: "external-MDA is not approved, so mail goes to the mailbox",
           FILTER: "this code is not approved, so the filter is skipped"}
_KINDS = {EXTERNAL_MDA: "external-MDA", FILTER: "Python filter"}
_NOT_ASCII = re.compile("[^\0-\x7f]")
_MOST_NAMED = 20  # lines whose characters are listed by number


class Waiting(NamedTuple):
    """Something that awaits approval.

    `identity`: whose it is; `kind`: EXTERNAL_MDA or FILTER; `place`: where it is, for people;
    `text`: what is signed. `file`: the absolute path of the file that gets the signature. Of a
    filter also: `number`, its index in that file, and `code`, unchanged from there.
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
        """The key of the signature in the file, as config.editing takes it."""
        return (("authorization",) if self.kind == EXTERNAL_MDA
                else ("filters", self.number, "authorization"))


class Found(NamedTuple):
    """`waiting`: what can be approved; `problems`: what cannot (str); `folders`: the mail folders
    that were read."""
    waiting: Tuple[Waiting, ...]
    problems: Tuple[str, ...]
    folders: Tuple[str, ...]


def run(root, options, user):
    """Without --yes it asks before it writes."""
    found = find(root, user)
    show(text_lines(found))
    if not found.waiting:
        return FAILED if found.problems else DONE
    if not options.yes and not confirm("Approve all of this? (yes or no) "):
        print("phenmail: nothing was approved", file=sys.stderr)
        return FAILED
    lines, is_done = approve(root, found)
    show(lines)
    return DONE if is_done and not found.problems else FAILED


def find(root, user):
    """What awaits approval for a user -> Found.

    `user`: an address or a login name, else an identity. Raises UserError if nobody of that name
    has a mailbox, ConfigError, OSError.
    """
    settings = loader.load_server(root)
    folders = _folders(root, settings, user)
    if not folders:
        raise users.UserError("no such user: %s" % visible(user))
    return _all(root, settings, Authorizations(root.mail_system), folders)


def _all(root, settings, authorizations, folders):
    all_found = [find_in_folder(root, settings, authorizations, folder) for folder in folders]
    # Two folders of one identity may name one filter file.
    return Found(tuple(dict.fromkeys(one for each in all_found for one in each.waiting)),
                 tuple(dict.fromkeys(one for each in all_found for one in each.problems)), folders)


def _folders(root, settings, user):
    try:
        folder = users.mail_folder(settings, user)
    except users.UserError:  # not an address, but perhaps an identity
        folder = None
    if folder is not None:
        return (folder,)
    folders = {os.path.realpath(action.value) for actions in settings.domains.values()
               for action in actions.values() if action.kind == "mailbox"}
    return tuple(sorted(each for each in folders if root.identity_named(each) == user))


def find_in_folder(root, settings, authorizations, folder):
    """What awaits approval in a mail folder (a path without links) -> Found.

    Raises ConfigError, OSError.
    """
    identity = root.identity_named(folder)
    trusted = root.is_administrators(identity, settings.admin)
    file = os.path.join(folder, FILE)
    user = loader.load_user(file, root)
    waiting, problems = [], []
    if user.external_mda and not trusted and not authorizations.external_mda(identity, user):
        waiting.append(Waiting(
            identity, EXTERNAL_MDA, os.path.relpath(file, os.path.realpath(root.path)),
            user.external_mda, os.path.realpath(file)))
    check_owner(root, user.filters, folder)
    for number, rule in enumerate(loader.load_filters(user.filters, root)):
        if rule.type != "py":
            continue
        try:
            code = code_of(rule, root, identity, settings.admin)
        except NoCode as error:
            problems.append("%s: this code cannot run: %s" % (place(rule), error))
            continue
        if not (trusted or authorizations.holds(identity, FILTER, code, rule.authorization)):
            # The filter may be in an included file; rule.place begins with its path in the root.
            path = os.path.join(root.path, rule.place.rpartition(":")[0])
            waiting.append(Waiting(identity, FILTER, place(rule), code, os.path.realpath(path),
                                   number, rule.code))
    return Found(tuple(waiting), tuple(problems), (folder,))


def approve(root, found):
    """Sign everything in `found.waiting` -> (lines for people, whether all is approved).

    Raises UserError, LockTimeout or OSError if it could not begin; ValueError or OSError if the key
    can be neither read nor created.
    """
    authorizations = Authorizations(root.mail_system)
    lines, is_done = [], True
    with users.locked(root):
        for each in found.waiting:
            signature = authorizations.sign(each.identity, each.kind, each.text)
            users.give(root, authorizations.path)
            try:
                _write(root, each, signature)
            except (OSError, ValueError) as error:
                is_done = False
                lines.append("not approved: %s: %s" % (
                    visible(each.place), getattr(error, "strerror", None) or error))
                continue
            lines.append("approved: %s" % visible(each.place))
    left = _all(root, loader.load_server(root), authorizations, found.folders).waiting
    unsigned = {(each.identity, each.kind, each.text) for each in left}
    for each in found.waiting:
        if is_done and (each.identity, each.kind, each.text) in unsigned:
            lines.append("still not approved: %s: a file that it includes has another text; change "
                         "it there" % visible(each.place))
            is_done = False
    return lines, is_done


class Changed(ValueError):
    """The file is not what was shown."""


def _write(root, waiting, signature):
    if root.identity_named(waiting.file) != waiting.identity:
        raise Changed("the file is in another user's folder")
    folder = root.identity_folder(waiting.identity)
    data, status = open_beneath.read(folder, waiting.file, USER.octets)
    source = data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    if waiting.kind == FILTER and not _is_unchanged(source, waiting):
        raise Changed("the file has changed; run authorize again")
    edited = editing.set_member(source, waiting.path, signature).encode("utf-8")
    open_beneath.replace(folder, waiting.file,
                    edited.replace(b"\n", b"\r\n") if b"\r\n" in data else edited, status)


def _is_unchanged(source, waiting):
    try:
        rule = editing.read(source)["filters"][waiting.number]
        return (rule["type"], rule["code"]) == ("py", waiting.code)
    except (KeyError, IndexError, TypeError):
        return False


# Text for people. What a user wrote must neither hide nor look like a line of ours.


def text_lines(found):
    """Found -> list of str."""
    lines = []
    for each in found.waiting:
        shown = each.text.split("\n")
        if not shown[-1]:
            shown.pop()
        lines.append("%s: %s of %s, %d lines, %d octets" % (
            visible(each.place), _KINDS[each.kind], visible(each.identity), len(shown),
            len(each.text.encode("utf-8", "surrogatepass"))))
        lines.extend(["  | " + visible(line) for line in shown])
        lines.extend("  " + line for line in _look_alikes(shown))
    lines.extend("cannot be approved: " + visible(line) for line in found.problems)
    return lines or ["nothing awaits approval"]


def visible(text):
    """A text in which each invisible character (control, direction mark, any blank but the space)
    is replaced by its number."""
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else "<U+%04X>" % ord(char) for char in text])


def _look_alikes(lines):
    """Characters outside US-ASCII by number: letters of two scripts may look the same."""
    found = [(number, _NOT_ASCII.findall(line)) for number, line in enumerate(lines, 1)]
    found = [(number, chars) for number, chars in found if chars]
    for number, chars in found[:_MOST_NAMED]:
        yield "line %d has characters outside US-ASCII: %s" % (
            number, " ".join("U+%04X" % ord(char) for char in sorted(set(chars))))
    if len(found) > _MOST_NAMED:
        yield "and %d more lines have such characters" % (len(found) - _MOST_NAMED)
