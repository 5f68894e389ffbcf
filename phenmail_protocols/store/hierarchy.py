"""The mailboxes of an account by their names: LIST, CREATE, DELETE, RENAME (RFC 3501 6.3).

The functions with an `account` and a name are methods of Account.
"""
import logging
import os

from ..disk import atomic
from . import copying, errors
from .indexing.index import MessageRow
from .maildir import files, folders, listing, special_use, tree
from .maildir.keywords import FlagLetters
from .maildir.uidlist import NAME as UIDLIST
from .model import INBOX, SEPARATOR, MailboxInfo

MOST = 10000  # mailboxes of an account, so that nobody fills the disk and its index with folders
log = logging.getLogger("phenmail.store")


def mailboxes(account, look=lambda: None):
    """A list of MailboxInfo, sorted by name, INBOX first.

    `look()` is called for each name and may raise to end the work.
    """
    names = selectable(account, look)
    parents = set()
    for name in names:
        look()
        while SEPARATOR in name:
            name = name.rpartition(SEPARATOR)[0]
            parents.add(name)
    subscribed = set(account.subscriptions())
    uses = special_use.distribute(_given_uses(account, names, look))
    found = []
    for name in sorted(names | parents, key=lambda name: (name != INBOX, name)):
        look()
        found.append(MailboxInfo(name, name in names, name in parents, uses.get(name, ()),
                                 name in subscribed))
    return found


def selectable(account, look=lambda: None):
    """The names of the mailboxes that can be opened, as a set; `look` as for `mailboxes`."""
    with account.reading():
        folder_names = os.listdir(account.folder)
    names = {INBOX}
    for folder in folder_names:
        look()
        if folder.startswith(".") and account.tree.has(folder):
            name = folders.name_of(folder)
            if name is not None:
                names.add(name)
    return names


def arrival_keys(account, since=0):
    """The keys with which messages in any mailbox were staged (see Account.stage) since a time
    (epoch seconds) -> iterator of str. It lists the folders, not the index."""
    for name in selectable(account):
        try:
            yield from listing.arrival_keys(account.tree.path_of(folders.folder_of(name)), since)
        except OSError as error:
            raise errors.from_os(error) from error


def _given_uses(account, names, look=lambda: None):
    given = {}
    for name in names:
        look()
        given[name] = special_use.given(account.tree.path_of(folders.folder_of(name)))
    return given


def create(account, name, special_uses=()):
    """Make a mailbox with these special uses; returns its identifier (str), as in model.Status.

    Raises errors.Exists, errors.InvalidName, errors.ImpossibleUse, errors.Limit.
    """
    with account.writing():
        return _create_locked(account, name, special_uses).row.mailbox_id


def _create_locked(account, name, special_uses=()):
    """The new Mailbox; its folder is removed again if the transaction fails."""
    folders.require_new(name)
    folder = folders.folder_of(name)
    if account.tree.has(folder):
        raise errors.Exists()
    _check_uses(account, special_uses)
    if sum(entry.startswith(".") for entry in os.listdir(account.folder)) >= MOST:
        raise errors.Limit("There are too many mailboxes: at most %d." % MOST)
    made = []
    account.deleted_locked(folder)  # if another program has removed such a folder
    account.transaction.on_failure(
        tree.unmake, made, (tree.MAILDIRFOLDER, UIDLIST, FlagLetters.NAME, special_use.FILE))
    account.tree.make_mailbox(folder, made)
    if special_uses:
        special_use.give(account.tree.path_of(folder), special_uses)
    account.index.remove_folder(folder)
    mailbox = account.mailbox_locked(name)
    mailbox.ready_locked()
    account.names_changed_locked()
    return mailbox


def _check_uses(account, special_uses):
    """A use that another mailbox has by its name alone can still be given."""
    given = _given_uses(account, selectable(account)) if special_uses else {}
    for use in special_uses:
        if use not in special_use.USES:
            raise errors.ImpossibleUse("No mailbox can have the special use %s." % use)
        for name in sorted(given):
            if use in given[name]:
                raise errors.ImpossibleUse(
                    'The mailbox "%s" has the special use %s.' % (name, use))


def delete(account, name, look=lambda: None):
    """Delete a mailbox and its messages; mailboxes below it stay.

    Raises errors.NotFound; errors.InvalidName for INBOX. Once the mailbox is gone, `look()` is
    called for each of its files. If it raises, the remaining files are removed later.
    """
    if not folders.folder_of(name):
        raise errors.InvalidName("INBOX cannot be deleted.")
    _remove_files(account.despite_full_disk(lambda: _delete(account, name)), look)


def _delete(account, name):
    """Rename the mailbox's folder to a path in tmp, which is returned.

    This one rename deletes the mailbox. Whatever can fail comes before it; whatever comes after it
    is repaired by the next use if it fails now.
    """
    folder = folders.folder_of(name)
    with account.writing():
        if not account.tree.has(folder):
            raise errors.NotFound()
        account.tree.make()  # its tmp may be missing
        deleted = account.tree.folder_for_deletion()
        account.index.remove_folder(folder)
        os.rename(account.tree.path_of(folder), deleted)
        account.transaction.settle(lambda: atomic.sync_directory(account.folder))
        account.deleted_locked(folder)
        account.names_changed_locked()
    return deleted


def _remove_files(deleted, look):
    """Remove a deleted mailbox's files until `look()` raises.

    Failures are harmless: the mailbox is deleted, and remaining files are removed later like any
    old temporary file.
    """
    try:
        for folder, names, file_names in os.walk(deleted, topdown=False):
            for name in file_names + [name for name in names
                                      if os.path.islink(folder + "/" + name)]:
                look()
                os.unlink(os.path.join(folder, name))
            os.rmdir(folder)
    except Exception as error:
        log.info("%s: the rest of this deleted mailbox will be removed later: %s", deleted, error)


def rename(account, old, new):
    """Rename a mailbox and all below it; if it is INBOX, move its messages instead.

    Raises errors.NotFound, errors.Exists, errors.InvalidName.
    """
    old, new = folders.canonical(old), folders.canonical(new)
    if old == INBOX:
        _rename_inbox(account, new)
        return
    if (new + SEPARATOR).startswith(old + SEPARATOR) and new != old:
        raise errors.InvalidName("A mailbox cannot be moved below itself.")
    folders.require_new(new)
    with account.writing():
        for source, target in _plan_renames(account, folders.folder_of(old),
                                            folders.folder_of(new)):
            mailbox = account.mailbox_locked(folders.name_of(source))
            mailbox.ready_locked()
            old_path, new_path = account.tree.path_of(source), account.tree.path_of(target)
            os.rename(old_path, new_path)
            account.transaction.on_failure(files.undo_rename, new_path, old_path)
            account.renamed_locked(mailbox, target)
        account.names_changed_locked()
        atomic.sync_directory(account.folder)


def _plan_renames(account, old, new):
    """[(folder, new folder)] for a rename; it raises before anything is renamed.

    No mailbox may have the new name, not even if only mailboxes below the old name move (RFC 3501
    6.3.5). The shortest name goes first, because one rename may make room for the next: if `a/b`
    becomes `a`, then `a/b/b` becomes `a/b`.
    """
    sources = [folder for folder in sorted(os.listdir(account.folder), key=len)
               if (folder == old or folder.startswith(old + ".")) and account.tree.has(folder)]
    if not sources:
        raise errors.NotFound()
    renames = [(folder, new + folder[len(old):]) for folder in sources]
    for target in [new] + [target for _, target in renames]:
        if folders.name_of(target) is None:
            raise errors.InvalidName("This mailbox name is too long.")
        if not target or new == old or target not in sources and account.tree.has(target):
            raise errors.Exists()
    return renames


def _rename_inbox(account, new):
    """RFC 3501 6.3.5: the messages move, and INBOX stays, empty."""
    with account.writing():
        target = _create_locked(account, new)
        inbox = account.mailbox_locked(INBOX)
        inbox.ready_locked(look=True)
        copying.move_locked(
            inbox, [MessageRow(*row) for row in account.index.messages(inbox.row.id)], target)
