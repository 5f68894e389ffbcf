"""The mailboxes of an account as a tree of names: list, make, rename, remove.

Functions over an Account; see account.py for the rules about locks.
"""
import logging
import os

from . import errors, folders, maildir
from .model import INBOX, SEPARATOR, MailboxInfo
from ..disk import atomic

_log = logging.getLogger("phenmail.store")


def mailboxes(account):
    """A MailboxInfo a mailbox, sorted by name, INBOX first."""
    with account.reading():
        folder_names = os.listdir(account.folder)
    selectable = {INBOX}
    for folder in folder_names:
        if folder.startswith(".") and account.is_there(folder):
            name = folders.name_of(folder)
            if name is not None:
                selectable.add(name)
    parents = set()
    for name in selectable:
        while SEPARATOR in name:
            name = name.rpartition(SEPARATOR)[0]
            parents.add(name)
    subscribed = set(account.subscriptions())
    return [MailboxInfo(name, name in selectable, name in parents,
                        folders.special_use(name), name in subscribed)
            for name in sorted(selectable | parents,
                               key=lambda name: (name != INBOX, name))]


def make_folder(account, folder):
    """Make a mailbox's folder, durably."""
    path = account.path(folder)
    maildir.make(path)
    try:
        os.close(os.open(os.path.join(path, "maildirfolder"),
                         os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass
    atomic.sync_directory(path)


def create(account, name):
    """Make a mailbox. Raises errors.Exists, errors.InvalidName."""
    folder = folders.folder_of(name)
    with account.writing():
        if account.is_there(folder):
            raise errors.Exists()
        make_folder(account, folder)
        account.mailbox_locked(name).ready_locked()


def delete(account, name, look=lambda: None):
    """Remove a mailbox and its messages; see Account.delete."""
    if not folders.folder_of(name):
        raise errors.InvalidName("INBOX can't be deleted.")
    with account.writing():
        mailbox = account.mailbox_locked(name)
        mailbox.ready_locked()
        grave = os.path.join(
            account.folder, "tmp", "deleted-" + maildir.unique_name())
        os.rename(mailbox.path, grave)  # gone at once, whatever comes after
        account.index.remove_mailbox(mailbox.row.id)
        mailbox.gone_locked()
    atomic.sync_directory(account.folder)
    _clear(grave, look)


def _clear(grave, look):
    """Remove a deleted mailbox's files, unless ``look()`` raises.

    The mailbox is gone already, and what is left here is removed later like
    any old temporary file: so nothing that happens here is an error.
    """
    try:
        for folder, names, files in os.walk(grave, topdown=False):
            for name in files + [name for name in names
                                 if os.path.islink(folder + "/" + name)]:
                look()
                os.unlink(os.path.join(folder, name))
            os.rmdir(folder)
    except Exception as error:
        _log.info("%s: will be removed later: %s", grave, error)


def rename(account, old, new):
    """Rename a mailbox and all below it; INBOX's messages move instead.

    Raises errors.NotFound, errors.Exists, errors.InvalidName.
    """
    old, new = folders.canonical(old), folders.canonical(new)
    if old == INBOX:
        _rename_inbox(account, new)
        return
    if (new + SEPARATOR).startswith(old + SEPARATOR) and new != old:
        raise errors.InvalidName("A mailbox can't move below itself.")
    with account.writing():
        for source, target in _moves(account, folders.folder_of(old),
                                     folders.folder_of(new)):
            mailbox = account.mailbox_locked(folders.name_of(source))
            mailbox.ready_locked()
            os.rename(account.path(source), account.path(target))
            account.guard.made_locked(
                account.path(target), account.path(source))
            account.renamed_locked(mailbox, target)
    atomic.sync_directory(account.folder)


def _moves(account, old, new):
    """[(folder, new folder)] for a rename; refuses before it begins."""
    sources = [folder for folder in sorted(os.listdir(account.folder))
               if (folder == old or folder.startswith(old + "."))
               and account.is_there(folder)]
    if not sources:
        raise errors.NotFound()
    moves = [(folder, new + folder[len(old):]) for folder in sources]
    for _, target in moves:
        if folders.name_of(target) is None:
            raise errors.InvalidName("That mailbox name is too long.")
        if not target or account.is_there(target):
            raise errors.Exists()
    return moves


def _rename_inbox(account, new):
    """RFC 3501 6.3.5: the messages move, and INBOX stays, empty."""
    create(account, new)
    inbox = account.open(INBOX)
    try:
        state = inbox.state()
        inbox.move(state.uids[:state.count], new)
    finally:
        inbox.close()
