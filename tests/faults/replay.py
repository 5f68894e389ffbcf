"""What a disk holds after a power loss, made from the journal of the disk layer.

The strict disk is the least that POSIX allows, below what any real file system does:

1. A file has the bytes (and the size) that it had at its last fsync or fdatasync; never synced: it
   is empty. ext4 and XFS do leave empty files for `write, rename` without fsync. An fsync covers
   what was finished when it began.
2. A folder has the entries that it had at its own last fsync: creating, renaming, linking and
   unlinking lasts only after that. ext4 and btrfs also make a new file's entry durable with the
   file's fsync, and XFS does mostly; POSIX does not, so neither does this disk.
3. A rename between two folders is two changes, each as durable as its folder: both or neither name
   may be left. Journaling file systems keep it whole; ext2, FAT and some network ones do not. A
   rename inside a folder is one change: every Maildir program sets flags by it, and ext3/4, XFS,
   btrfs, F2FS, ZFS, UBIFS and JFFS2 all keep it whole.
4. A failed fsync loses what was pending for good: Linux marks those pages clean, and the next fsync
   succeeds without them.
5. Times come back as of the last fsync.

`random` lets any part of the unsynced operations survive: whole, torn at a 512-byte sector, as a
size without its bytes (zeros), in any order between files; names change independently (as in 2 and
3) or, in every second case, up to one instant (a journaling file system).
"""
import os
import shutil
import stat

SECTOR = 512


class Unwatchable(Exception):
    """A file was changed in a way that the layer cannot see (mmap, stdio): its journal proves
    nothing."""


class Node:
    """A file, folder or link: what is durable, and the operations since then. It outlives its
    names."""

    __slots__ = ("kind", "data", "pending", "entries", "live", "mtime", "doomed", "inode", "device")

    def __init__(self, kind, inode, device, data=b""):
        self.kind = kind            # "file", "folder", "link"
        self.inode, self.device = inode, device
        self.data = data            # durable bytes (bytearray) of a file, text of a link
        # file: (sequence, offset or None, bytes or size); folder: (sequence, name, Node or None)
        self.pending = []
        self.entries = {}           # folder: durable name -> Node
        self.live = {}              # folder: name -> Node as the processes see it
        self.mtime = None           # nanoseconds, durable
        self.doomed = set()         # sequences of writes that no later fsync makes durable

    def settle(self, begin):
        """Makes everything up to operation `begin` durable."""
        kept = []
        for change in self.pending:
            if change[0] > begin or change[0] in self.doomed:
                kept.append(change)
            elif self.kind == "folder":
                _set_entry(self.entries, change)
            else:
                _write(self.data, change)
        self.pending = kept


def _set_entry(entries, change):
    _, name, node = change
    if node is None:
        entries.pop(name, None)
    else:
        entries[name] = node


def _write(data, change):
    _, offset, value = change
    if offset is None:
        _resize(data, value)
        return
    if len(data) < offset:
        _resize(data, offset)
    data[offset:offset + len(value)] = value


def _resize(data, size):
    if size < len(data):
        del data[size:]
    else:
        data.extend(bytes(size - len(data)))


class Disk:
    """Starts with a folder's content (all of it durable) and follows the journal, record by
    record."""

    def __init__(self, folder):
        self._nodes, self._device = {}, os.stat(folder).st_dev
        self.top = self._scan(folder)
        self.answers = []           # the marks, in order

    def _scan(self, path):
        status = os.lstat(path)
        if stat.S_ISDIR(status.st_mode):
            node = Node("folder", status.st_ino, status.st_dev)
            node.live = {name: self._scan(os.path.join(path, name)) for name in os.listdir(path)}
            node.entries = dict(node.live)
        elif status.st_ino in self._nodes:
            return self._nodes[status.st_ino]
        elif stat.S_ISLNK(status.st_mode):
            node = Node("link", status.st_ino, status.st_dev, os.readlink(path))
        elif stat.S_ISREG(status.st_mode):
            with open(path, "rb") as file:
                node = Node("file", status.st_ino, status.st_dev, bytearray(file.read()))
        else:
            # a socket: no power loss brings it back
            node = Node("link", status.st_ino, status.st_dev, None)
        node.mtime = status.st_mtime_ns
        self._nodes[status.st_ino] = node
        return node

    def _find(self, path):
        node = self.top
        for name in path.split("/"):
            if name:
                node = node.live[name]
        return node

    def _enter(self, record, path, node):
        folder, _, name = path.rpartition("/")
        parent = self._find(folder)
        parent.pending.append((record.sequence, name, node))
        _set_entry(parent.live, (0, name, node))

    def follow(self, records):
        """Applies them all; returns itself."""
        for record in records:
            self.apply(record)
        return self

    def apply(self, record):
        """Takes one record of the journal. Raises Unwatchable."""
        getattr(self, "_apply_" + record.operation)(record)

    def _apply_create(self, record):
        node = self._nodes[record.inode] = Node("file", record.inode, self._device, bytearray())
        if record.path:
            self._enter(record, record.path, node)

    def _apply_mkdir(self, record):
        node = self._nodes[record.inode] = Node("folder", record.inode, self._device)
        self._enter(record, record.path, node)

    def _apply_symlink(self, record):
        node = self._nodes[record.inode] = Node("link", record.inode, self._device,
                                                os.fsdecode(record.data))
        self._enter(record, record.path, node)

    def _apply_write(self, record):
        self._nodes[record.inode].pending.append((record.sequence, record.offset, record.data))

    def _apply_truncate(self, record):
        self._nodes[record.inode].pending.append((record.sequence, None, record.offset))

    def _apply_fsync(self, record):
        node = self._nodes[record.inode]
        if record.error:
            node.doomed.update(change[0] for change in node.pending)
            return
        node.settle(record.begin)
        if record.mtime:
            node.mtime = record.mtime

    _apply_fsyncdir = _apply_fsync

    def _apply_sync(self, record):
        for node in self._nodes.values():
            node.settle(record.begin)

    def _apply_link(self, record):
        self._enter(record, record.target, self._nodes[record.inode])

    def _apply_rename(self, record):
        node = self._nodes[record.inode]
        self._enter(record, record.path, None)
        self._enter(record, record.target, node)

    def _apply_unlink(self, record):
        self._enter(record, record.path, None)

    _apply_rmdir = _apply_unlink

    def _apply_mmap(self, record):
        if not record.path.endswith("-shm"):
            raise Unwatchable("%s is mapped shared and writable" % record.path)

    def _apply_stdio(self, record):
        raise Unwatchable("%s is opened for writing with stdio" % record.path)

    def _apply_mark(self, record):
        self.answers.append(record.data)

    def _apply_utime(self, record):
        pass                        # durable with the next fsync, whose record has the time

    _apply_flush = _apply_utime

    # Disks after the power loss.

    def strict(self, folder):
        """Makes `folder` (the root itself or an empty one) hold the least that must be there."""
        _Image(lambda node: node.entries, lambda node: node.data).write(self.top, folder)

    def kept(self, folder):
        """Makes it hold all that was done: what SIGKILL leaves."""
        _Image(lambda node: node.live, _all_bytes).write(self.top, folder)

    def random(self, folder, dice):
        """Makes it hold one of the disks that are possible, chosen by `dice` (random.Random)."""
        sequences = sorted({change[0] for node in self._folders() for change in node.pending})
        cut = dice.choice([0] + sequences) if dice.random() < 0.5 else None
        _Image(lambda node: _some_entries(node, dice, cut),
               lambda node: _some_bytes(node, dice)).write(self.top, folder)

    def _folders(self):
        return [node for node in self._nodes.values() if node.kind == "folder"]

    def differences(self, folder, skip=("-shm",)):
        """How `folder` differs from what the journal says (list of str): not empty means that
        something escaped the layer."""
        found = []
        self._compare(self.top, folder, "", skip, found)
        return found

    def _compare(self, node, folder, path, skip, found):
        actual = set(os.listdir(folder))
        for name in sorted(actual ^ set(node.live)):
            found.append("%s/%s is only %s" % (path, name, "on the disk" if name in actual
                                               else "in the journal"))
        for name in sorted(actual & set(node.live)):
            child, below = node.live[name], os.path.join(folder, name)
            if child.kind == "folder":
                self._compare(child, below, path + "/" + name, skip, found)
            elif child.kind == "file" and not name.endswith(skip):
                with open(below, "rb") as file:
                    if file.read() != bytes(_all_bytes(child)):
                        found.append("%s/%s has other bytes" % (path, name))


def _all_bytes(node):
    data = bytearray(node.data)
    for change in node.pending:
        _write(data, change)
    return data


def _some_entries(node, dice, cut):
    entries = dict(node.entries)
    if cut is not None:
        for change in node.pending:
            if change[0] <= cut:
                _set_entry(entries, change)
        return entries
    for history in _histories(node.pending):
        sequences = sorted({change[0] for change in history})
        last = dice.choice([0] + sequences)
        for change in history:
            if change[0] <= last:
                _set_entry(entries, change)
    return entries


def _histories(changes):
    """The changes of a folder in groups that are independent of each other: names that a rename in
    the folder ties are in one."""
    group_of, names_of = {}, {}
    for sequence, name, _ in changes:
        tied = {name} | names_of.setdefault(sequence, set())
        names_of[sequence].add(name)
        whole = set().union(*[group_of.get(each, {each}) for each in tied])
        for each in whole:
            group_of[each] = whole
    groups = {}
    for change in changes:
        groups.setdefault(min(group_of[change[1]]), []).append(change)
    return [groups[key] for key in sorted(groups)]


def _some_bytes(node, dice):
    data = bytearray(node.data)
    chance = dice.choice((0.0, 0.5, 0.9, 1.0))
    for sequence, offset, value in node.pending:
        if dice.random() > chance:
            if offset is not None and dice.random() < 0.3 and len(data) < offset + len(value):
                # the size came to the disk, the bytes did not
                _resize(data, offset + len(value))
        elif offset is not None and dice.random() < 0.2:
            sectors = dice.randint(0, len(value) // SECTOR)
            _write(data, (sequence, offset, value[:max(0, sectors * SECTOR - offset % SECTOR)]))
        else:
            _write(data, (sequence, offset, value))
    return data


class _Image:
    """Makes a folder hold a tree of nodes; hard links stay links, times are restored.

    What the folder already holds as it should be is not touched, inode and ctime included: a file
    that survives is the same file.
    """

    def __init__(self, entries, data):
        self._entries, self._data, self._written = entries, data, {}

    def write(self, node, folder):
        wanted = {name: child for name, child in self._entries(node).items() if child.data
                  is not None}
        for name in sorted(set(os.listdir(folder)) | set(wanted)):
            path = os.path.join(folder, name)
            child = wanted.get(name)
            if child is None or not self._is_it(child, path):
                _remove(path)
            if child is None:
                continue
            if child.kind == "folder":
                if not os.path.isdir(path):
                    os.mkdir(path, 0o700)
                self.write(child, path)
            elif child.kind == "link":
                if not os.path.islink(path):
                    os.symlink(child.data, path)
            elif child in self._written:
                if not os.path.exists(path):
                    os.link(self._written[child], path)
            else:
                self._write_file(child, path)
        _set_mtime(folder, node.mtime)

    def _is_it(self, node, path):
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return True
        return node.inode == status.st_ino and node.device == status.st_dev

    def _write_file(self, node, path):
        data = bytes(self._data(node))
        self._written[node] = path
        if os.path.exists(path):
            with open(path, "rb") as file:
                if file.read() == data:
                    _set_mtime(path, node.mtime)
                    return
        with open(path, "wb", 0) as file:
            file.write(data)
        os.chmod(path, 0o600)
        _set_mtime(path, node.mtime)


def _set_mtime(path, mtime):
    if mtime and os.stat(path).st_mtime_ns != mtime:
        os.utime(path, ns=(mtime, mtime))


def _remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def empty(folder):
    """Takes everything out of a folder."""
    for name in os.listdir(folder):
        _remove(os.path.join(folder, name))
