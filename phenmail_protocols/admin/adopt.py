"""The command `adopt`: copy all mail of an account on another server to a user of this one.

It works beside a running server and without one. Nothing is changed at the other server. It can be
stopped at any time; the same command resumes.
"""
import os
import sys

from ..accounts import users
from ..accounts.directory import Directory
from ..config import loader
from ..config.lookup import Lookup
from ..disk.owned_folder import OwnedFolder
from ..fetch import identity
from ..fetch.adopting import receipt
from ..fetch.adopting.adoption import Adoption
from ..fetch.adopting.connection import Stopped
from ..fetch.adopting.handing_over import Fetched
from ..fetch.adopting.progress import Progress, amount, duration
from ..fetch.connecting import Contexts
from ..fetch.service import CONFIG, STATES
from ..fetch.source import FetchError
from ..mail.writing import printable
from ..store.errors import StoreError
from ..store.filestore import FileStore
from ..store.maildir.space import free_space
from . import adopt_account
from .terminal import DONE, FAILED, confirm, show

_FOLDER = "mail-fetcher.adopted"  # for the ledgers
_NAMED = 30  # mailboxes that are shown before the copying


def run(root, options, address):
    try:
        return _run(root, options, address)
    except (FetchError, Stopped, StoreError) as error:
        print("phenmail: %s" % printable(str(error)), file=sys.stderr)
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on where it was.", file=sys.stderr)
    return FAILED


def _run(root, options, address):
    settings = loader.load_server(root)
    user, folder = local_user(root, settings, address, vars(options)["as"])
    check_owner(root, folder)
    account = adopt_account.choose(root, folder, address, vars(options)["from"])
    store = FileStore(reserve=settings.limits.disk_reserve,
                      limit_of=Directory(settings, root).quota)
    try:
        mail = store.account(folder)
        with _adoption(root, folder, account, mail, settings.limits.message_size) as adoption:
            survey = adoption.survey()
            show(_survey_lines(survey, account, user, folder, mail))
            if options.compare:
                return _receipt(adoption, survey, afresh=True)
            if not options.yes and not confirm("Copy this? (yes) "):
                return FAILED
            adoption.copy(survey)
            code = _receipt(adoption, survey, afresh=False)
            adopt_account.go_on(root, folder, account, options.yes, lambda: (
                adoption.let_fetching_begin(survey, [box for box, _ in account.settings.boxes])))
            return code
    finally:
        store.close()


def local_user(root, settings, address, name):
    """-> (address, mail folder) of the user here who gets the mail.

    `name`: as written after --as, or None: the user with the same address, or the same name, or the
    only one. Raises users.UserError.
    """
    own = Lookup(settings.sender_domain, settings.domains)
    for each in (name,) if name is not None else (address, address.partition("@")[0]):
        end = own.end(own.find_login(each))
        if end is not None and end.action.kind == "mailbox":
            return end.address.shown(), os.path.realpath(end.action.value)
    if name is not None:
        raise users.UserError("no such user: %s" % name)
    found = [line for line in users.list_users(root) if line.kind == "mailbox"]
    if len(found) != 1:
        raise users.UserError("which user gets the mail of %s? name them with --as USER" % address)
    return found[0].address, os.path.realpath(found[0].value)


def check_owner(root, folder):
    """Files that root makes in a user's folder would be root's; and the user could lead root to
    any other file, if only one folder on the way to them were the user's."""
    identity = root.identity_of(folder)
    if identity is None:
        raise users.UserError("%s is outside the root folder %s, where the notes about what was "
                              "copied lie" % (folder, root.path))
    own = root.identity_folder(identity)
    for path in folder, os.path.join(own, CONFIG, _FOLDER):
        while len(path) >= len(own):
            owner = os.stat(path).st_uid if os.path.exists(path) else None
            if hasattr(os, "geteuid") and owner not in (None, os.geteuid()):
                raise users.UserError("%s belongs to another user (uid %d): run this command as "
                                      "that user" % (path, owner))
            path = os.path.dirname(path)


def _adoption(root, folder, account, mail, largest):
    from ..fetch.adopting.imap_remote import open_remote
    owner, contexts = root.identity_of(folder), Contexts()
    key = identity.account_key(account.settings)
    fetched = Fetched(lambda: OwnedFolder(root.identity_folder(owner), CONFIG, STATES), key)

    def connect():
        return open_remote(account.settings, account.passphrase, largest, None, contexts)

    ledgers = os.path.join(root.identity_folder(owner), CONFIG, _FOLDER, key)
    return Adoption(connect, key, mail, ledgers, _progress(), largest, account.settings.limit,
                    fetched)


def _progress():
    def write(text):
        encoding = sys.stdout.encoding or "ascii"
        sys.stdout.write(printed(text, encoding))
        sys.stdout.flush()

    return Progress(write, sys.stdout.isatty())


def printed(text, encoding):
    """A text as it can be written in this encoding."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _survey_lines(survey, account, user, folder, mail):
    """What will be done -> list of str."""
    lines = ["%s on %s, to %s" % (account.settings.username, account.settings.server, user), ""]
    for move in survey.plan.moves[:_NAMED]:
        messages, octets = survey.counts[move.source]
        target = "one mailbox for each label" if move.by_label else move.target
        lines.append("  %-36s %8d messages %10s" % (printable(
            move.source if move.source.upper() == target.upper()
            else "%s -> %s" % (move.source, target)), messages, amount(octets)))
    if len(survey.plan.moves) > _NAMED:
        lines.append("  and %d other mailboxes" % (len(survey.plan.moves) - _NAMED))
    for name, why in survey.plan.left_out:
        lines.append("  %s is left out: %s" % (printable(name), why))
    lines.append("")
    lines.append("%d messages, %s%s; it takes about %s. Nothing is changed at %s." % (
        survey.messages, amount(survey.octets),
        " (%d were copied before)" % survey.copied if survey.copied else "",
        duration(survey.seconds), account.settings.server))
    return lines + list(_warnings(survey, folder, mail))


def _warnings(survey, folder, mail):
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    left = survey.octets * max(0, survey.messages - survey.copied) // max(1, survey.messages)
    if left > free_space(folder):
        yield "The disk has only %s left." % amount(free_space(folder))
    limit = mail.quota.limit()
    if limit is not None:
        used = mail.quota.usage().plus(left, max(0, survey.messages - survey.copied))
        if any(most is not None and each > most for each, most in zip(used, limit)):
            yield "That is more than the quota of this user."


def _receipt(adoption, survey, afresh):
    rows = adoption.receipt(survey, afresh)
    print()
    show(receipt.lines(rows))
    return DONE if all(row.there == row.here for row in rows) else FAILED
