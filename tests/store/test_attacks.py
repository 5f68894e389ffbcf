"""Attacks on the store: odd files, other programs, races, and files left open."""
import gc
import os
import shutil
import threading

import pytest

from phenmail_protocols.store import errors
from phenmail_protocols.store.indexing import index, numbering
from phenmail_protocols.store.maildir import content, filenames, tree, uidlist
from phenmail_protocols.store.rescanning import measuring

from .conftest import drop_foreign, drop_index, rebuilt, uids, whole

MESSAGES = 4  # in `inbox`


# Files of other programs


@pytest.mark.parametrize("name", [
    b"1.\xff\xfe.host", "1.Gr\xfc\xdfe.host".encode(), b"1.\r.host",
    b"1.tab\there"])
def test_a_file_name_may_have_any_bytes(house, inbox, name):
    with open(os.path.join(os.fsencode(house.folder), b"new", name),
              "wb") as file:
        file.write(b"A: b\n\nc\n")
    inbox.look()
    assert uids(inbox) == [1, 2, 3, 4, 5]
    inbox.change_flags([5], "add", ["\\Seen"])
    before = whole(inbox)
    assert rebuilt(house, inbox) == before


def test_flag_letters_may_have_any_bytes(house, inbox):
    with open(os.path.join(os.fsencode(house.folder), b"cur",
                           b"1.a.b:2,S\xff"), "wb") as file:
        file.write(b"A: b\n\nc\n")
    inbox.look()
    assert inbox.rows([5]).flags[0] == {"\\Seen"}


def test_folders_links_and_pipes_are_not_messages(house, inbox):
    os.mkdir(house.folder + "/cur/folder")
    os.symlink("/etc/passwd", house.folder + "/cur/link:2,S")
    os.symlink("/nowhere", house.folder + "/new/dangling")
    os.mkfifo(house.folder + "/new/fifo")
    drop_foreign(house)
    inbox.look()
    assert uids(inbox) == [1, 2, 3, 4, 5]
    modseq = inbox.state().highestmodseq
    files = len(os.listdir("/proc/self/fd"))
    os.utime(house.folder + "/new", (1, 1))
    os.utime(house.folder + "/cur", (1, 1))
    inbox.look()
    assert inbox.state().highestmodseq == modseq
    assert len(os.listdir("/proc/self/fd")) <= files
    assert house.put("next").uid == 6


def test_a_file_that_can_not_be_read_does_not_hide_the_others(
        house, inbox, monkeypatch):
    drop_foreign(house, name="1.broken.x")
    drop_foreign(house, name="2.whole.x")
    real = measuring.measure_file

    def measure_file(path, name):
        if "broken" in name:
            raise OSError(5, "Input/output error")
        return real(path, name)
    monkeypatch.setattr(measuring, "measure_file", measure_file)
    inbox.look()
    assert list(inbox.rows([1, 2, 3, 4, 5, 6]).uids) == [1, 2, 3, 4, 6]
    assert sorted(whole(inbox)) == uids(inbox) == [1, 2, 3, 4, 6]


def test_files_that_differ_in_their_flags_alone_are_all_kept(house, inbox):
    # A folder of files 1, 2, 3 copied into cur, and later another such one.
    texts = set()
    for turn, names in enumerate(([""], [""], [":2,FS", ":2,SF", ":2,S"])):
        for number in range(40):
            for name in names:
                text = b"A: %d %d%s\n\nb\n" % (turn, number, name.encode())
                texts.add(text.replace(b"\n", b"\r\n"))
                drop_foreign(house, "%d%s" % (number, name), "cur", text)
        inbox.look()
    assert texts <= {data for data, _ in whole(inbox).values()}


def test_two_names_of_one_file_are_one_message(house, inbox):
    name = os.listdir(house.folder + "/new")[0]
    for letters in ("S", "F"):
        os.link(house.folder + "/new/" + name,
                "%s/cur/%s:2,%s" % (house.folder, name, letters))
    inbox.look()
    assert uids(inbox) == [1, 2, 3, 4]
    assert len(os.listdir(house.folder + "/cur")) == 1


def test_a_flag_on_a_file_in_new_is_kept(house, inbox):
    drop_foreign(house, name="1.x.y:2,FS", part="new")  # offlineimap
    inbox.look()
    assert inbox.rows([5]).flags[0] == {"\\Flagged", "\\Seen"}


def test_a_copy_does_not_keep_another_programs_uid_in_its_name(house, inbox):
    drop_foreign(house, name="1.x.y,S=27,W=30,U=77")
    inbox.look()
    inbox.copy([5], "Archive")
    name, = os.listdir(house.folder + "/.Archive/new")
    assert ",U=" not in name


def test_an_unknown_flag_letter_survives_a_change(house, inbox):
    name, = [name for name in os.listdir(house.folder + "/new")
             if "message 2" in open(house.folder + "/new/" + name).read()]
    os.rename(house.folder + "/new/" + name,
              house.folder + "/cur/" + name + ":2,R")
    inbox.change_flags([2], "add", ["\\Seen"])
    inbox.look()
    assert inbox.rows([2]).flags[0] == {"\\Answered", "\\Seen"}


def test_missing_parts_of_a_folder_are_made(house, inbox):
    inbox.change_flags([1, 2, 3, 4], "add", ["\\Seen"])
    house.account.create("a")
    house.close()
    for folder in house.folder, house.folder + "/.a":
        os.rmdir(folder + "/new")  # a backup without empty folders
        shutil.rmtree(folder + "/tmp")
    house.open()
    assert house.account.status("INBOX").messages == 4
    assert house.account.status("a").messages == 0
    assert house.put("five").uid == 5
    house.put("one", name="a")


# Dovecot's files


def test_names_in_dovecots_list_may_have_their_flags(house, tmp_path):
    folder = tmp_path / "dovecot"
    for part in ("cur", "new", "tmp"):
        os.makedirs(str(folder / part))
    (folder / "cur" / "1.a.b,S=9:2,S").write_bytes(b"A: b\n\nc\n\n")
    (folder / uidlist.NAME).write_bytes(
        b"3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n"
        b"25006 :1.a.b,S=9:2,\n")
    mailbox = house.store.account(str(folder)).open("INBOX")
    assert uids(mailbox) == [25006]


def test_a_newer_uidvalidity_is_another_mailbox(house, inbox):
    old = inbox.uidvalidity
    uidlist.UidList(house.folder).replace(uidlist.Header(old + 5, 7, 7, 9), [])
    put = house.put("delivered all the same")
    assert put.uidvalidity == old + 5 and put.uid >= 7
    with pytest.raises(errors.NotFound):
        inbox.state()
    again = house.account.open("INBOX")
    assert again.uidvalidity == old + 5
    assert len(whole(again)) == 5


@pytest.mark.parametrize("header", [
    b"3 V5 N9 M9999999999999999999\n", b"3 V5 N4294967295\n",
    b"3 V5 N9 P\xff\xfe\n", b"3 V5 N9\n2147483647 :damaged.line\n"])
def test_a_damaged_list_costs_uids_but_not_the_mailbox(house, inbox, header):
    inbox.close()
    house.close()
    drop_index(house)
    with open(os.path.join(house.folder, uidlist.NAME), "wb") as file:
        file.write(header)
    house.open()
    for _ in range(2):
        put = house.put()
        assert put.uid < 1 << 30
    house.close()
    drop_index(house)
    house.open()
    mailbox = house.account.open("INBOX")
    assert put.uid in uids(mailbox)
    assert len(whole(mailbox)) == 6


# Other processes


def test_a_mailbox_recreated_by_another_process_is_a_new_one(house):
    house.account.create("a")
    first = house.put("one", name="a")
    here = house.account.open("a")
    other = house.another()
    there = other.account(house.folder)
    there.delete("a")
    there.create("a")
    second = house.put("two", name="a", account=there)
    assert second.uidvalidity != first.uidvalidity
    with pytest.raises(errors.NotFound):
        here.state()
    third = house.put("three", name="a")
    assert third.uidvalidity == second.uidvalidity
    assert third.uid > second.uid
    other.close()


def test_a_mailbox_whose_uids_are_lost_while_open_is_a_new_one(house, inbox):
    old = inbox.uidvalidity
    drop_index(house)
    os.unlink(os.path.join(house.folder, uidlist.NAME))
    put = house.put("five")
    if put.uidvalidity != old:
        with pytest.raises(errors.NotFound):
            inbox.state()
    again = house.account.open("INBOX")
    assert again.uidvalidity == put.uidvalidity
    assert len(whole(again)) == 5


def test_a_keyword_of_another_program_keeps_its_letter(house, inbox):
    inbox.change_flags([1], "add", ["one"])
    with open(house.folder + "/dovecot-keywords", "ab") as file:
        file.write(b"1 theirs\n")  # Dovecot
    inbox.change_flags([2], "add", ["ours"])
    with open(house.folder + "/dovecot-keywords", "rb") as file:
        assert file.read() == b"0 one\n1 theirs\n2 ours\n"


def test_a_uidvalidity_is_never_used_again(house, monkeypatch):
    monkeypatch.setattr(numbering.time, "time", lambda: 1000.0)  # a Pi boots
    house.account.create("a")
    first = house.put(name="a")
    house.account.delete("a")
    house.close()
    drop_index(house)
    house.open()
    house.account.create("a")
    assert house.put(name="a").uidvalidity > first.uidvalidity


def test_a_rename_onto_a_name_whose_folder_was_removed(house):
    house.account.create("a")
    house.account.create("b")
    put = house.put(name="a")
    shutil.rmtree(house.folder + "/.b")
    house.account.rename("a", "b")
    status = house.account.status("b")
    assert (status.messages, status.uidvalidity) == (1, put.uidvalidity)


def test_an_unfinished_recovery_is_done_again(house, inbox, monkeypatch):
    inbox.close()
    house.open(boot_id="boot 2")
    real = index.Index.set_value

    def fail(self, key, value):
        if key == "boot":
            raise OSError(28, "No space left on device")
        real(self, key, value)
    monkeypatch.setattr(index.Index, "set_value", fail)
    with pytest.raises(errors.NoSpace):
        house.put()
    monkeypatch.undo()
    assert house.put().uid > uidlist.BLOCK


def test_an_index_from_a_backup_resumes_past_the_ceiling(house, inbox):
    inbox.close()
    house.close()
    path = os.path.join(house.folder, index.FILE)
    shutil.copy(path, path + ".old")
    house.open()
    last = [house.put() for _ in range(3)][-1]
    mailbox = house.account.open("INBOX")
    mailbox.change_flags([1], "add", ["\\Seen"])
    modseq = mailbox.state().highestmodseq
    mailbox.remove([last.uid])
    mailbox.close()
    with house.account.writing():
        house.account.mailbox_locked("INBOX").compact_list_locked()
    house.close()
    index.remove(path)
    os.rename(path + ".old", path)
    house.open()
    assert house.put().uid > last.uid
    assert house.account.status("INBOX").highestmodseq > modseq


# Threads


def test_watchers_are_called_with_no_lock_held(house, inbox):
    other = house.another()
    free = []

    def told():
        def probe():
            if house.account.lock.thread_lock.acquire(timeout=1):
                house.account.lock.thread_lock.release()
                free.append(True)
        thread = threading.Thread(target=probe)
        thread.start()
        thread.join()
    watch = inbox.watch(told)
    house.put("elsewhere", account=other.account(house.folder))
    inbox.state()
    watch.close()
    other.close()
    assert free


def test_a_failing_watcher_does_not_stop_the_others(house, inbox):
    told = []
    watches = [inbox.watch(lambda: 1 / 0), inbox.watch(lambda: told.append(1))]
    assert house.put("five").uid == 5
    assert told
    for watch in watches:
        watch.close()


def test_an_account_in_use_is_never_made_twice(house):
    held = house.account
    for number in range(100):
        house.store.account("%s-%d" % (house.folder, number))
    mailbox = held.open("INBOX")
    told = threading.Event()
    watch = mailbox.watch(told.set)
    house.put("new", account=house.store.account(house.folder))
    assert told.is_set()
    watch.close()
    mailbox.close()


def test_unused_accounts_are_forgotten(house):
    before = len(os.listdir("/proc/self/fd"))
    for number in range(100):
        house.put(account=house.store.account(
            "%s-%d" % (house.folder, number)))
    gc.collect()
    assert len(house.store._all()) < 80
    assert len(os.listdir("/proc/self/fd")) < before + 400


def test_closing_an_account_loses_no_change_of_an_open_mailbox(house, inbox):
    serial = inbox.state().serial
    house.account.close()
    other = house.another()
    put = house.put("meanwhile", account=other.account(house.folder))
    other.close()
    assert inbox.changes(serial).added == [put.uid]


def test_many_mailboxes_keep_few_files_open(house):
    others = len(os.listdir("/proc/self/fd"))
    for number in range(60):
        house.account.create("m%d" % number)
        house.put(name="m%d" % number)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(60):
        house.account.status("m%d" % number)
        house.account.open("m%d" % number).close()
    assert len(os.listdir("/proc/self/fd")) <= before
    assert before - others < 20
    loaded = [mailbox for mailbox in house.account._mailboxes.values()
              if mailbox.columns is not None]
    assert len(loaded) < 10


def test_a_mailbox_deleted_while_its_messages_are_read(house):
    house.account.create("a")
    put = house.put(name="a")
    mailbox = house.account.open("a")
    found = mailbox.contents([put.uid, put.uid])
    next(found)[1].close()
    house.account.delete("a")
    assert next(found)[1] is None
    mailbox.close()


def test_an_unreadable_message_raises_a_store_error(
        house, inbox, monkeypatch):
    def fail(*_):
        raise OSError(24, "Too many open files")
    monkeypatch.setattr(content.os, "open", fail)
    with pytest.raises(errors.StoreError):
        inbox.content(1)


def test_a_mailbox_is_renamed_during_deliveries(house):
    """The mailbox is renamed between adding a message and syncing its folder."""
    house.account.create("a0")
    stop = threading.Event()
    failed = []

    def rename():
        number = 0
        while not stop.is_set():
            house.account.rename("a%d" % number, "a%d" % (1 - number))
            number = 1 - number
    thread = threading.Thread(target=rename)
    thread.start()
    try:
        for number in range(60):
            try:
                house.put(name="a%d" % (number % 2))
            except errors.NotFound:
                pass
            except errors.StoreError as error:
                failed.append(error)
    finally:
        stop.set()
        thread.join()
    assert not failed


# Permissions, leftovers


def test_the_index_is_readable_by_its_owner_only(house):
    old = os.umask(0o022)
    try:
        house.put()
        modes = {name: os.stat(os.path.join(house.folder, name)).st_mode
                 for name in os.listdir(house.folder)
                 if name.startswith(index.FILE)}
    finally:
        os.umask(old)
    assert len(modes) == 3, "the log and its map were to be there"
    assert {mode & 0o077 for mode in modes.values()} == {0}


def test_old_files_in_tmp_are_removed(house):
    house.put()
    os.makedirs(house.folder + "/tmp/deleted-1.x/cur")
    open(house.folder + "/tmp/deleted-1.x/cur/1:2,", "w").close()
    old = house.folder + "/tmp/1.old"
    open(old, "w").close()
    for path in (old, house.folder + "/tmp/deleted-1.x"):
        os.utime(path, (1, 1))
    tree.remove_stale(house.folder, seconds=-1)
    assert os.listdir(house.folder + "/tmp") == []


def test_an_old_date_does_not_make_a_staged_message_stale(house):
    with house.account.stage() as staged:
        staged.write(b"A: b\r\n\r\n")
        staged.sync(date=1000)
        tree.remove_stale(house.folder)
        assert house.account.deliver("INBOX", staged).uid == 1


def test_odd_host_names_make_plain_file_names(monkeypatch):
    monkeypatch.setattr(filenames.socket, "gethostname",
                        lambda: "gr\xfc\xdfe,S=1:/x y")
    name = filenames.unique_name()
    name.encode("ascii")
    assert not set(",:/ ") & set(name)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0,
                    reason="folders of two users are made by root")
@pytest.mark.parametrize("part", ["", "/cur", "/new", "/tmp"])
def test_a_link_to_another_users_mail_is_not_a_mailbox(house, inbox, tmp_path, part):
    other = house.store.account(str(tmp_path / "other"))
    house.put("secret", account=other)
    for folder, owner in ((house.folder, 1234), (str(tmp_path / "other"), 4321)):
        for path, _, _ in os.walk(folder):
            os.chown(path, owner, owner)
    stolen = os.path.join(house.folder, ".Stolen")
    if part:
        for each in ("cur", "new", "tmp"):
            if "/" + each != part:
                os.makedirs(os.path.join(stolen, each))
    os.symlink(str(tmp_path / "other") + part, stolen + part)
    assert "Stolen" not in [each.name for each in house.account.mailboxes()]
    with pytest.raises(errors.NotFound):
        house.account.open("Stolen")
    with pytest.raises(errors.NotFound):
        house.put("mine", "Stolen")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0,
                    reason="folders of two users are made by root")
def test_a_mailbox_replaced_by_such_a_link_is_gone(house, inbox, tmp_path):
    house.account.create("Mine")
    opened = house.account.open("Mine")
    other = house.store.account(str(tmp_path / "other"))
    house.put("secret", account=other)
    for folder, owner in ((house.folder, 1234), (str(tmp_path / "other"), 4321)):
        for path, _, _ in os.walk(folder):
            os.chown(path, owner, owner)
    shutil.rmtree(os.path.join(house.folder, ".Mine"))
    os.symlink(str(tmp_path / "other"), os.path.join(house.folder, ".Mine"))
    with pytest.raises(errors.StoreError):
        opened.look()
        opened.content(1)
    opened.close()


def test_a_link_to_the_users_own_folder_is_a_mailbox(house, inbox, tmp_path):
    house.account.create("Mine")
    os.symlink(os.path.join(house.folder, ".Mine"),
               os.path.join(house.folder, ".Again"))
    assert "Again" in [each.name for each in house.account.mailboxes()]
