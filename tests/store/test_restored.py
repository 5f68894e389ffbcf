"""Maildirs from a backup, and links, pipes and folders in the place of our files."""
import os
import resource
import shutil
import stat
import threading
import tracemalloc

import pytest

from phenmail_protocols.store import errors
from phenmail_protocols.store.indexing import index
from phenmail_protocols.store.maildir import keywords, tree, uidlist

from .conftest import drop_index, uids, whole

FILES = [uidlist.NAME, keywords.FlagLetters.NAME, "subscriptions", index.FILE, index.FILE + "-wal",
         "phenmail.lock"]
MADE = [name for name in FILES if name != "phenmail.lock"]


def parts(folder):
    return sorted(name for name in os.listdir(folder) if name in tree.PARTS)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("name", ["INBOX", "Archive"])
@pytest.mark.parametrize("lost", [
    ("tmp",), ("new",), ("cur",), ("tmp", "new"), ("tmp", "new", "cur")])
def test_missing_parts_are_made_anew(house, name, lost, live):
    house.put("before", name, ["\\Flagged"])
    folder = house.account.tree.path_of("" if name == "INBOX" else "." + name)
    if not live:
        house.close()
    kept = "cur" not in lost
    for part in lost:
        shutil.rmtree(os.path.join(folder, part))
    if not live:
        house.open()
    account = house.account
    put = house.put("after", name)
    mailbox = account.open(name)
    assert len(uids(mailbox)) == 1 + kept and put.uid in uids(mailbox)
    mailbox.change_flags([put.uid], "add", ["\\Seen"])
    mailbox.copy([put.uid], "Sent")
    house.account.status(name)
    assert parts(folder) == ["cur", "new", "tmp"]
    account.delete("Archive")
    assert "Archive" not in [info.name for info in account.mailboxes()]
    mailbox.close()


@pytest.mark.parametrize("kept", [uidlist.NAME, "maildirfolder"])
def test_a_mailbox_restored_with_a_single_file_is_usable(house, kept):
    account = house.account
    account.create("Lists/dev")
    put = house.put(name="Lists/dev")
    folder = account.tree.path_of(".Lists.dev")
    house.close()
    for part in tree.PARTS + ("maildirfolder", uidlist.NAME):
        path = os.path.join(folder, part)
        if part != kept:
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    assert os.listdir(folder) == [kept]
    house.open()
    assert "Lists/dev" in [info.name for info in house.account.mailboxes() if info.selectable]
    again = house.put(name="Lists/dev")
    assert (again.uidvalidity, again.uid) > (put.uidvalidity, put.uid)
    assert house.account.status("Lists/dev").messages == 1


def spoil(path, kind, tmp_path):
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        os.makedirs(os.path.join(path, "below"))
    elif kind == "link":
        os.symlink(str(tmp_path / "theirs"), path)
    elif kind == "sparse":
        with open(path, "wb") as file:
            file.truncate(400 << 20)
    else:
        with open(path, "wb") as file:
            file.write(b"1 :" + b"x" * (3 << 20))


@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "sparse", "long line"])
@pytest.mark.parametrize("name", FILES)
def test_something_else_in_the_place_of_our_files_does_no_harm(house, tmp_path, name, kind):
    """Every call ends soon, nothing is read or written through a link, and memory stays small.
    Except in the place of the lock, the mailbox works."""
    house.put("before")
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"another user's\n")
    os.chmod(str(theirs), 0o640)
    house.close()
    spoil(os.path.join(house.folder, name), kind, tmp_path)
    errors_found = []

    def use():
        try:
            house.open()
            house.put("after", flags=["Word"])
            house.account.subscribe("INBOX/x")
            assert "INBOX/x" in house.account.subscriptions()
            mailbox = house.account.open("INBOX")
            assert len(whole(mailbox)) == 2
            mailbox.close()
        except errors.StoreError as error:
            errors_found.append(error)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    worker = threading.Thread(target=use, daemon=True)
    worker.start()
    worker.join(20)
    assert not worker.is_alive()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20000
    assert theirs.read_bytes() == b"another user's\n"
    assert stat.S_IMODE(os.stat(str(theirs)).st_mode) == 0o640
    allowed = name in ("phenmail.lock", "subscriptions") and kind != "pipe"
    assert not errors_found or allowed


def test_a_far_too_large_uid_list_is_set_aside(house):
    """With the index all UIDs stay. Without it nobody knows them, so UIDVALIDITY changes."""
    first = house.put("one")
    path = os.path.join(house.folder, uidlist.NAME)
    for lose_index, same in ((False, True), (True, False)):
        house.close()
        spoil(path, "sparse", None)
        if lose_index:
            drop_index(house)
        house.open()
        status = house.account.status("INBOX")
        assert (status.uidvalidity == first.uidvalidity) == same
        assert status.uidvalidity >= first.uidvalidity
        assert os.path.getsize(path) < 10000
        assert os.path.getsize(path + ".unusable") == 400 << 20


def test_subscriptions_are_bounded_and_a_long_file_is_not_cut_short(house):
    house.put()
    path = os.path.join(house.folder, "subscriptions")
    with open(path, "wb") as file:
        file.write(b"V\t2\n\n" + b"".join(b"name%d\n" % number for number in range(40000)))
    size = os.path.getsize(path)
    assert len(house.account.subscriptions()) < 30000
    with pytest.raises(errors.Limit):
        house.account.unsubscribe("name1")
    assert os.path.getsize(path) == size


def test_lines_of_removed_messages_cost_no_memory(house):
    """Lines of removed messages are not kept in memory."""
    path = os.path.join(house.folder, uidlist.NAME)
    house.put()
    house.close()
    with open(path, "ab") as file:
        for number in range(2, 8000):
            file.write(b"%d :gone.%d\n" % (number, number))
    house.open()
    mailbox = house.account.open("INBOX")
    assert house.put().uid == 8000
    assert os.path.getsize(path) < 131072  # written anew
    drop_index(house)
    assert house.account.status("INBOX").uidnext > 8000
    mailbox.close()


def test_taking_in_many_files_needs_little_memory(house):
    """UIDs follow the time of arrival, although the files are taken in slice by slice."""
    house.put()
    cur = os.path.join(house.folder, "cur")
    count = 6000
    for number in range(count):
        seconds = 1400000000 + number * 7919 % 1000003
        with open("%s/%d.M%dP7.elsewhere:2,S" % (cur, seconds, number), "wb") as file:
            file.write(b"A: %d\n\nb\n" % number)
    tracemalloc.start()
    mailbox = house.account.open("INBOX")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 400 * count
    rows = [row[:2] for row in house.account.index.messages(mailbox.row.id)]
    assert len(rows) == count + 1
    assert rows[1:] == sorted(rows[1:], key=lambda row: int(row[1].partition(".")[0]))
    mailbox.close()
