"""What the files of a mailbox say, taken into the index.

The Maildir is the truth: other programs drop files into it, rename them
(flags) and remove them; a crash leaves a file without its row, or a line in
the UID list without its file. All of that is found here, by comparing names.

A folder is listed again when its mtime is another than at the last listing,
and once more when it was written to within GRAIN of that listing: a later
change in the same tick of the file system's clock would not show.
"""
import logging
import os
import re
import time

from . import maildir
from .errors import NotFound
from .index import MailboxRow, MessageRow
from .uidlist import BLOCK, Header
from ..disk import atomic

GRAIN = 2.0  # seconds; FAT has the coarsest clock
JUMP = 1 << 20  # more numbers than are given out between two backups
STEP = 1 << 16  # files written over in place, or only a chown at each start
_U = re.compile(r",U=\d+")
_log = logging.getLogger("phenmail.store")


def is_due(mailbox):
    """Must the folder be listed? Raises FileNotFoundError when it's gone."""
    times = maildir.times(mailbox.path)
    if times == (mailbox.row.new_time, mailbox.row.cur_time):
        return False
    if mailbox.scanned is None or mailbox.scanned[0] != times:
        return True
    return time.time() - max(times) / 1e9 > GRAIN


def adopt(account, mailbox):
    """Make the index row of a folder that the index doesn't know."""
    header, listed = mailbox.list.read()
    is_new = header is None
    if is_new:
        header = Header(
            new_uidvalidity(account), 1, 1 + BLOCK, 1 + BLOCK,
            account.identity,
            b" G" + os.urandom(16).hex().encode("ascii"))
        mailbox.list.replace(header, [])
    mailbox.be_same_locked(header.uidvalidity)
    mailbox.row = account.index.add_mailbox(MailboxRow(
        0, mailbox.folder, header.uidvalidity, 1, 1, 1, 0, 0, 0, 0))
    if not is_new:
        mailbox.row = resume(account, mailbox.row, mailbox.list)
    rescan(account, mailbox, known_uids=listed)
    if not is_new:  # what was new to somebody once is not new again
        mailbox.save_locked(recent=mailbox.row.uidnext)


def new_uidvalidity(account):
    """One that no mailbox of the account ever had.

    The last one is in the index and, for when that is lost, in the name of an
    empty file, as Dovecot does it (``dovecot-uidvalidity.`` and eight
    hexadecimal digits).
    """
    stem = os.path.join(account.folder, "dovecot-uidvalidity")
    noted = _noted_uidvalidities(account.folder)
    last = max([int(account.index.value("uidvalidity", 0))] + noted + [
        row.uidvalidity for row in account.index.mailboxes()])
    value = max(int(time.time()), last + 1) & 0xFFFFFFFF
    new = "%s.%08x" % (stem, value)
    if noted:
        os.rename("%s.%08x" % (stem, max(noted)), new)
        atomic.sync_directory(account.folder)
    else:
        atomic.write_file(new, b"")
    account.index.set_value("uidvalidity", value)
    return value


def _noted_uidvalidities(folder):
    return [int(name[-8:], 16) for name in os.listdir(folder)
            if re.match("dovecot-uidvalidity\\.[0-9a-f]{8}$", name)]


def resume(account, row, listed):
    """Go past every number of a mailbox that may have been given out: row.

    After power loss, and for an index that was lost, these are below the
    ceilings; in a restored or copied folder, which the marker in the list's
    header tells, somewhere above.
    """
    uidnext = max(row.uidnext, listed.header.uid_ceiling)
    modseq = max(row.modseq, listed.header.modseq_ceiling)
    if listed.is_copy(account.identity):
        jump = STEP if listed.has_inode_of(account.identity) else JUMP
        uidnext, modseq = uidnext + jump, modseq + jump
        _log.warning(
            "%s: this is a restored or copied folder; new messages get UIDs "
            "from %d on", listed.path, uidnext)
    listed.raise_ceilings(uidnext, 0, modseq, account.identity)
    account.index.touch_messages(row.id, modseq)
    row = row._replace(uidnext=uidnext, modseq=modseq, list_inode=0,
                       list_size=0, new_time=0, cur_time=0)
    account.index.update_mailbox(row)
    return row


def resume_alone(account, row):
    """``resume`` for a mailbox whose list is lost: how far, nobody knows."""
    account.index.update_mailbox(row._replace(
        uidnext=row.uidnext + JUMP, modseq=row.modseq + JUMP,
        list_inode=0, list_size=0, new_time=0, cur_time=0))


def relist(account, row, listed, lines):
    """Give the list back what it lost to a power failure and the index kept.

    ``lines``: ``{name: uid}`` as the list has it. Otherwise an index that is
    deleted later would take these UIDs with it. ``resume`` flushes them.
    """
    lost = [message[:2] for message in account.index.messages(row.id)
            if lines.get(message[1]) != message[0]]
    if lost:
        listed.append(lost)


def rescan(account, mailbox, known_uids=None):
    """List the folder and take in the difference.

    ``known_uids``: ``{name: uid}`` whose UIDs hold although they lie below
    the next UID: the index is being made anew.
    """
    if known_uids is None and _is_unchanged(account, mailbox):
        return
    if account.leads_elsewhere(mailbox.path):
        raise NotFound()
    listed = _read_list(account, mailbox)
    if listed is None:
        adopt(account, mailbox)
        return
    if account.is_there(mailbox.folder) or not mailbox.folder:
        maildir.make(mailbox.path)  # backups leave empty parts out
    floor = mailbox.row.uidnext
    if known_uids is not None:
        listed, floor = known_uids, 1
    when = time.time()
    times = maildir.times(mailbox.path)
    found, odd = maildir.survey(mailbox.path)
    if odd:
        maildir.mend(mailbox.path)
        found = maildir.listing(mailbox.path)
    if mailbox.letters.read():
        mailbox.reload_locked()
    rows = list(map(MessageRow._make, account.index.messages(mailbox.row.id)))
    missing = [row for row in rows if row.name not in found]
    if missing:  # a file renamed while it was listed can be missed, once
        again = maildir.listing(mailbox.path)
        found = dict(again, **{
            name: entry for name, entry in found.items() if name in again})
        missing = [row for row in missing if row.name not in again]
    _apply(account, mailbox, rows, missing, found, listed, floor)
    _settle(mailbox, times, when, len(listed), len(found))


def _is_unchanged(account, mailbox):
    """Are the files just those that the index knows? Then all is settled.

    So it is after our own changes, which show in the times as everybody's do.
    """
    row = mailbox.row
    stamp = row.list_inode, row.list_size
    if mailbox.list.stamp() != stamp or not mailbox.list.is_open(*stamp):
        return False
    if mailbox.letters.read():
        mailbox.reload_locked()
    when = time.time()
    times = maildir.times(mailbox.path)
    for fresh, settled in ((1, row.new_time), (0, row.cur_time)):
        if times[1 - fresh] != settled and (
                maildir.file_names(mailbox.path, fresh)
                != account.index.file_names(
                    row.id, fresh, "" if fresh else maildir.INFO)):
            return False
    _settle(mailbox, times, when, 0, 0)
    return True


def _read_list(account, mailbox):
    """``{name: uid}``; the file is written anew where it is lost or old.

    None when its UIDVALIDITY is newer than the index's: somebody made the
    mailbox anew. Raises errors.NotFound if the old one is open.
    """
    row = mailbox.row
    header, listed = mailbox.list.read()
    if header is not None and header.uidvalidity == row.uidvalidity:
        return listed
    if header is not None and header.uidvalidity > row.uidvalidity:
        mailbox.be_same_locked(header.uidvalidity)
        account.index.remove_mailbox(row.id)
        mailbox.row = None
        return None
    rows = account.index.messages(row.id)
    mailbox.list.replace(
        Header(row.uidvalidity, row.uidnext, row.uidnext + BLOCK,
               row.modseq + BLOCK, account.identity), [(message[0], message[1])
                                   for message in rows])
    return {message[1]: message[0] for message in rows}


def _apply(account, mailbox, rows, missing, found, listed, floor):
    names = {row.name for row in rows}
    arrived = [name for name in found if name not in names]
    if missing and arrived:
        rows, missing, arrived = _take_new_names(
            account, mailbox, rows, missing, arrived)
    changed = [(row, found[row.name]) for row in rows
               if row.name in found
               and found[row.name][:2] != (row.fresh, row.letters)]
    uidnext = max([mailbox.row.uidnext] + [
        uid + 1 for uid in listed.values()])
    if not (missing or arrived or changed):
        if uidnext != mailbox.row.uidnext:
            mailbox.save_locked(uidnext=uidnext)
        return
    measured = _measured(mailbox.path, arrived, found)
    if not (missing or measured or changed):
        return  # no messages, or gone again
    numbered = _number(measured, listed, floor, uidnext)
    modseq = mailbox.row.modseq + 1
    uidnext = max([uidnext] + [uid + 1 for uid, _ in numbered])
    header = mailbox.list.header
    if uidnext > header.uid_ceiling or modseq >= header.modseq_ceiling:
        first = mailbox.row.uidnext
        mailbox.list.raise_ceilings(
            first, uidnext - first, modseq, account.identity)
    new = [MessageRow(uid, name, *(found[name][:2] + measured[name]
                                   + (modseq,))) for uid, name in numbered]
    mailbox.list.append([(row.uid, row.name) for row in new
                         if listed.get(row.name) != row.uid])
    index, box = account.index, mailbox.row.id
    index.remove_messages(box, [row.uid for row in missing], modseq)
    index.set_flags(box, [
        (fresh, letters, modseq, row.uid)
        for row, (fresh, letters, _) in changed])
    index.add_messages(box, new)
    mailbox.save_locked(uidnext=uidnext, modseq=modseq)
    mailbox.reload_locked()


def _take_new_names(account, mailbox, rows, missing, arrived):
    """mbsync writes its own UID into names (",U=7"): still that message.

    Returns rows, missing and arrived without the renamed ones.
    """
    gone = {_U.sub("", row.name): row for row in missing}
    renamed = {}
    for name in arrived:
        row = gone.get(_U.sub("", name))
        if row is not None:
            renamed[row.uid] = row._replace(name=name)
    if renamed:
        account.index.rename_messages(mailbox.row.id, [
            (row.name, uid) for uid, row in renamed.items()])
        mailbox.list.append([
            (uid, row.name) for uid, row in sorted(renamed.items())])
    names = {row.name for row in renamed.values()}
    return ([renamed.get(row.uid, row) for row in rows],
            [row for row in missing if row.uid not in renamed],
            [name for name in arrived if name not in names])


def _number(arrived, listed, floor, uidnext):
    """[(uid, name)] ascending: listed UIDs that were never visible hold."""
    held = {}
    for name in arrived:
        if listed.get(name, 0) >= floor:
            held.setdefault(listed[name], name)
    kept = set(held.values())
    others = sorted((name for name in arrived if name not in kept),
                    key=_arrival)
    return sorted(held.items()) + list(enumerate(others, uidnext))


def _arrival(name):
    seconds = name.partition(".")[0]
    return int(seconds) if seconds.isdigit() else 0, name


def _measured(path, names, found):
    """``{name: (size, date)}`` of those that can be read."""
    measured = {}
    for name in names:
        fresh, _, file_name = found[name]
        try:
            measured[name] = maildir.measure("%s/%s/%s" % (
                path, "new" if fresh else "cur", file_name), name)
        except FileNotFoundError:
            pass  # gone again
        except OSError as error:  # one bad file doesn't hide the others
            _log.warning("%s is left out: %s", file_name, error)
    return measured


def _settle(mailbox, times, when, lines, messages):
    """Remember what was listed, if no later change can hide behind it."""
    mailbox.scanned = times, when
    if lines > 2 * messages + 1000:
        mailbox.compact_list_locked()
    stamp = mailbox.list.stamp()
    settled = tuple(each if when - each / 1e9 > GRAIN else 0
                    for each in times)
    row = mailbox.row
    if (settled + stamp) != (row.new_time, row.cur_time, row.list_inode,
                             row.list_size):
        mailbox.save_locked(
            new_time=settled[0], cur_time=settled[1],
            list_inode=stamp[0], list_size=stamp[1])
