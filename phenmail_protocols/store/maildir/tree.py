"""The mail folder of an account: a Maildir++ tree.

Backups often leave empty folders out. So a missing `new`, `cur` or `tmp` is made again wherever
it is needed, and a mailbox counts as present if only one of its parts or files is left.
"""
import os
import stat
import time

from ...disk import atomic
from ..model import INBOX
from . import folders, uidlist
from .filenames import unique_name
from .subscriptions import Subscriptions

PARTS = ("tmp", "new", "cur")
MAILDIRFOLDER = "maildirfolder"  # an empty file that marks a Maildir++ sub-folder
_DELETED = "deleted-"  # in tmp: a mailbox that was deleted and whose files are still to be removed


class Tree:
    """The folders of one account, by their names below `path` ("" is INBOX's)."""

    def __init__(self, path):
        self.path = path
        self.subscriptions = Subscriptions(path)

    def make(self):
        """Make the Maildir and a new user's mailboxes, or the missing parts of the Maildir."""
        if is_whole(self.path):
            return
        if not self.has(""):
            for name in folders.FIRST_MAILBOXES:
                self.make_mailbox(folders.folder_of(name))
            for name in (INBOX,) + folders.FIRST_MAILBOXES:
                self.subscriptions.add(name)
        make_maildir(self.path)  # last: once INBOX exists, all others exist

    def make_mailbox(self, folder, made=None):
        """Make a mailbox's folder, durably; `made` as for `make_maildir`."""
        path = self.path_of(folder)
        make_maildir(path, made)
        try:
            os.close(os.open(os.path.join(path, MAILDIRFOLDER),
                             os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            pass
        atomic.sync_directory(path)

    def path_of(self, folder):
        return os.path.join(self.path, folder) if folder else self.path

    def has(self, folder):
        """Is there a mailbox with this folder?"""
        path = self.path_of(folder)
        return ((os.path.isdir(path + "/cur") or os.path.isdir(path + "/new")
                 or os.path.isfile("%s/%s" % (path, uidlist.NAME))
                 or os.path.isfile("%s/%s" % (path, MAILDIRFOLDER)))
                and not self.leads_away(path))

    def leads_away(self, path):
        """Is a mailbox's folder, or a part of it, a link to another user's files?

        A user can make such a link in their own folder. If we run as root we must not read or
        write for them what they may not.
        """
        return any([self.is_strange_link(each)
                    for each in (path, path + "/cur", path + "/new", path + "/tmp")])

    def is_strange_link(self, path):
        """Is `path` a link to something that does not belong to the owner of the mail folder?"""
        if not os.path.islink(path):
            return False
        try:
            return os.stat(path).st_uid != os.stat(self.path).st_uid
        except OSError:
            return True

    def folder_for_deletion(self):
        """A new path in tmp. A mailbox's folder that is renamed to it is deleted: if a crash
        leaves files in it, `remove_stale` removes them."""
        return os.path.join(self.path, "tmp", _DELETED + unique_name())


def make_maildir(path, made=None):
    """Make the folder with its three parts, durably; it may exist.

    The paths that were made are appended to the list `made`, for `unmake`, also if it raises
    OSError.
    """
    made = [] if made is None else made
    _make_directory(path, made)
    for part in PARTS:
        _make_directory(os.path.join(path, part), made)
    for directory in made:
        atomic.sync_directory(os.path.dirname(directory))


def unmake(made, files):
    """Undo `make_maildir`: remove the folders it made, and in them the files named `files`.

    Raises OSError if a folder holds anything else; that folder stays.
    """
    for directory in reversed(made):
        for name in files:
            try:
                os.unlink(os.path.join(directory, name))
            except FileNotFoundError:
                pass
        os.rmdir(directory)


def is_whole(path):
    """Does the folder have all three parts?"""
    return all([os.path.isdir("%s/%s" % (path, part)) for part in PARTS])


def _make_directory(path, made):
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if parent != path:
        _make_directory(parent, made)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    made.append(path)


def remove_stale(path, seconds=atomic.STALE_SECONDS):
    """Remove the temporary files that crashed deliveries left in `tmp` (Maildir's rule), and our
    own temporary files beside the mailboxes."""
    try:
        mailboxes = [name for name in os.listdir(path) if name.startswith(".")]
    except OSError:
        mailboxes = []
    for folder in [path] + [os.path.join(path, name) for name in mailboxes]:
        atomic.remove_stale(folder, seconds)
    directory = os.path.join(path, "tmp")
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for name in names:
        target = os.path.join(directory, name)
        try:  # ctime: a staged message may have any mtime
            if time.time() - os.lstat(target).st_ctime > seconds:
                _remove(target)
        except OSError:
            pass


def _remove(target):
    if not stat.S_ISDIR(os.lstat(target).st_mode):
        os.unlink(target)
    elif os.path.basename(target).startswith(_DELETED):
        import shutil
        shutil.rmtree(target, ignore_errors=True)
