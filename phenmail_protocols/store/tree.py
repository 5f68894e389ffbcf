"""The mailboxes of an account as a tree of names: list, make, rename, remove.

Functions over an Account; see account.py for the rules about locks.
"""
import logging
import os

from ..disk import atomic
from . import changing, errors, folders, keywords, maildir, uidlist
from .index import MessageRow
from .model import INBOX, SEPARATOR, MailboxInfo

MAILDIRFOLDER = "maildirfolder"  # tells Maildir++ programs what this is
_log = logging.getLogger("phenmail.store")


def mailboxes(account, look=lambda: None):
    """See Account.mailboxes."""
    with account.reading():
        folder_names = os.listdir(account.folder)
    selectable = {INBOX}
    for folder in folder_names:
        look()
        if folder.startswith(".") and account.is_there(folder):
            name = folders.name_of(folder)
            if name is not None:
                selectable.add(name)
    parents = set()
    for name in selectable:
        look()
        while SEPARATOR in name:
            name = name.rpartition(SEPARATOR)[0]
            parents.add(name)
    subscribed = set(account.subscriptions())
    found = []
    for name in sorted(selectable | parents,
                       key=lambda name: (name != INBOX, name)):
        look()
        found.append(MailboxInfo(
            name, name in selectable, name in parents,
            folders.special_use(name) if name in selectable else None,
            name in subscribed))
    return found


def make_folder(account, folder, made=None):
    """Make a mailbox's folder, durably; ``made`` as for ``maildir.make``."""
    path = account.path(folder)
    maildir.make(path, made)
    try:
        os.close(os.open(os.path.join(path, MAILDIRFOLDER),
                         os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass
    atomic.sync_directory(path)


def create(account, name):
    """Make a mailbox. Raises errors.Exists, errors.InvalidName."""
    with account.writing():
        _create_locked(account, name)


def _create_locked(account, name):
    """The new Mailbox; its folder goes again if the transaction fails."""
    folder = folders.folder_of(name)
    if account.is_there(folder):
        raise errors.Exists()
    made = []
    account.guard.undo_locked(maildir.unmake, made, (
        MAILDIRFOLDER, uidlist.NAME, keywords.FlagLetters.NAME))
    make_folder(account, folder, made)
    left = account.index.mailbox(folder)
    if left is not None:  # its folder went without a word to the index
        account.index.remove_mailbox(left.id)
    mailbox = account.mailbox_locked(name)
    mailbox.ready_locked()
    return mailbox


def delete(account, name, look=lambda: None):
    """Remove a mailbox and its messages; see Account.delete."""
    if not folders.folder_of(name):
        raise errors.InvalidName("INBOX can't be deleted.")
    grave = account.despite_full_disk(lambda: _bury(account, name))
    _clear(grave, look)


def _bury(account, name):
    """Move a mailbox's folder to where it will be removed: the new path.

    That one rename deletes it: what can fail comes before, and what is left
    to do after it is done by the next use where it fails now.
    """
    folder = folders.folder_of(name)
    with account.writing():
        if not account.is_there(folder):
            raise errors.NotFound()
        account.make_tree_locked()  # its tmp may be missing
        grave = os.path.join(account.folder, "tmp",
                             maildir.GRAVE + maildir.unique_name())
        row = account.index.mailbox(folder)
        if row is not None:
            account.index.remove_mailbox(row.id)
        os.rename(account.path(folder), grave)
        account.guard.settle_locked(
            lambda: atomic.sync_directory(account.folder))
        account.gone_locked(folder)
    return grave


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
            account.rename_locked(mailbox, target)
        atomic.sync_directory(account.folder)


def _moves(account, old, new):
    """[(folder, new folder)] for a rename; refuses before it begins.

    Nothing may have the new name, even where only names below the old one
    move (RFC 3501 6.3.5). A folder that moves makes room for another: where
    ``a/b`` becomes ``a``, ``a/b/b`` becomes ``a/b``. The shortest goes first.
    """
    sources = [folder for folder in sorted(os.listdir(account.folder), key=len)
               if (folder == old or folder.startswith(old + "."))
               and account.is_there(folder)]
    if not sources:
        raise errors.NotFound()
    moves = [(folder, new + folder[len(old):]) for folder in sources]
    for target in [new] + [target for _, target in moves]:
        if folders.name_of(target) is None:
            raise errors.InvalidName("That mailbox name is too long.")
        if (not target or new == old
                or target not in sources and account.is_there(target)):
            raise errors.Exists()
    return moves


def _rename_inbox(account, new):
    """RFC 3501 6.3.5: the messages move, and INBOX stays, empty."""
    with account.writing():
        target = _create_locked(account, new)
        inbox = account.mailbox_locked(INBOX)
        inbox.ready_locked(look=True)
        changing.move_locked(inbox, [
            MessageRow(*row) for row in account.index.messages(inbox.row.id)
        ], target)
