"""The Maildir is the truth and UIDs never lie: foreign programs, other
processes, lost indexes, power loss, restored backups."""
import errno
import os
import shutil
import threading
import time

import pytest

from phenmail_protocols.store import errors
from phenmail_protocols.store.indexing import account_index, index, numbering
from phenmail_protocols.store.maildir import uidlist

from .conftest import drop_foreign, drop_index, read_uid_list, rebuilt, uids, whole


@pytest.fixture
def inbox(house):
    for number in range(1, 5):
        house.put("message %d" % number, flags=["\\Seen", "blue"] * (
            number % 2))
    mailbox = house.account.open("INBOX")
    yield mailbox
    mailbox.close()


def test_a_dropped_file_is_found_and_measured(house, inbox):
    drop_foreign(house, text=b"A: b\n\nmixed\r\nends\n\r\n")
    inbox.look()
    found = whole(inbox)
    assert found[5][0] == b"A: b\r\n\r\nmixed\r\nends\r\n\r\n"
    assert inbox.rows([5]).sizes[0] == len(found[5][0])


def test_a_wrong_size_in_a_file_name_is_ignored(house, inbox):
    drop_foreign(house, name="1.a.b,S=7,W=9")
    inbox.look()
    assert inbox.rows([5]).sizes[0] == len(b"Subject: foreign\r\n\r\nhello\r\n")


def test_another_programs_rename_changes_flags_and_calls_watchers(house, inbox):
    path, = [name for name in os.listdir(house.folder + "/new")
             if "message 2" in open(house.folder + "/new/" + name).read()]
    told = threading.Event()
    inbox.watch(told.set)
    serial = inbox.state().serial
    os.rename(house.folder + "/new/" + path,
              house.folder + "/cur/" + path + ":2,FS")
    inbox.look()
    assert told.is_set()
    assert inbox.changes(serial).changed == [2]
    assert inbox.rows([2]).flags[0] == {"\\Flagged", "\\Seen"}


def test_flags_that_are_set_in_new_are_kept(house, inbox):
    """mutt flags an unread message in new by adding an info part to its name."""
    path, = [name for name in os.listdir(house.folder + "/new")
             if "message 2" in open(house.folder + "/new/" + name).read()]
    os.rename(house.folder + "/new/" + path,
              house.folder + "/new/" + path + ":2,F")
    inbox.look()
    assert inbox.rows([2]).flags[0] == {"\\Flagged"}
    assert path + ":2,F" in os.listdir(house.folder + "/cur")
    assert len(whole(inbox)) == 4


def test_letters_in_the_wrong_order_are_sorted(house, inbox):
    drop_foreign(house, name="1.x.y:2,SF", part="cur")
    drop_foreign(house, name="2.x.y", part="cur")
    inbox.look()
    names = os.listdir(house.folder + "/cur")
    assert "1.x.y:2,FS" in names and "2.x.y:2," in names
    inbox.change_flags([5, 6], "add", ["\\Answered"])
    assert set(inbox.rows([5]).flags[0]) == {
        "\\Answered", "\\Flagged", "\\Seen"}


def test_a_file_that_vanishes_is_expunged(house, inbox):
    for name in os.listdir(house.folder + "/new"):
        os.unlink(house.folder + "/new/" + name)
    inbox.look()
    assert sorted(whole(inbox)) == [1, 3]


def test_a_file_that_comes_back_gets_a_new_uid(house, inbox):
    name = os.listdir(house.folder + "/new")[0]
    path = house.folder + "/new/" + name
    data = open(path, "rb").read()
    os.unlink(path)
    inbox.look()
    open(path, "wb").write(data)
    inbox.look()
    assert max(whole(inbox)) == 5
    before = whole(inbox)
    assert rebuilt(house, inbox) == before


def test_another_program_renames_between_listing_and_reading(house, inbox):
    for name in os.listdir(house.folder + "/cur"):
        base = name.partition(":")[0]
        os.rename(house.folder + "/cur/" + name,
                  house.folder + "/cur/" + base + ":2,RS")
    assert sorted(whole(inbox)) == [1, 2, 3, 4]
    assert inbox.change_flags([1], "add", ["\\Flagged"]).changed == [1]
    inbox.remove([3])
    inbox.look()
    assert sorted(whole(inbox)) == [1, 2, 4]


@pytest.mark.parametrize("live", [True, False])
def test_a_deleted_index_changes_nothing(house, inbox, live):
    before = whole(inbox)
    validity = inbox.uidvalidity
    modseq = inbox.state().highestmodseq
    if not live:
        inbox.close()
        house.close()
    drop_index(house)
    if not live:
        house.open()
    mailbox = house.account.open("INBOX")
    assert whole(mailbox) == before
    assert mailbox.uidvalidity == validity
    put = house.put("five")
    assert put.uidvalidity == validity and put.uid > 4
    assert mailbox.state().highestmodseq > modseq
    assert whole(mailbox).keys() - before.keys() == {put.uid}


def test_a_deleted_uid_list_is_written_again(house, inbox):
    before = whole(inbox)
    os.unlink(house.folder + "/" + uidlist.NAME)
    house.put("five")
    house.close()
    drop_index(house)
    house.open()
    after = whole(house.account.open("INBOX"))
    assert {uid: after[uid] for uid in before} == before


def test_losing_both_raises_uidvalidity(house, inbox):
    validity = inbox.uidvalidity
    inbox.close()
    house.close()
    drop_index(house)
    for folder, _, names in os.walk(house.folder):
        if uidlist.NAME in names:
            os.unlink(os.path.join(folder, uidlist.NAME))
    house.open()
    mailbox = house.account.open("INBOX")
    assert len(whole(mailbox)) == 4
    assert mailbox.uidvalidity >= validity


def test_power_loss_resumes_past_the_ceiling(house, inbox):
    validity, modseq = inbox.uidvalidity, inbox.state().highestmodseq
    inbox.close()
    house.open(boot_id="boot 2")
    put = house.put("after")
    assert put.uidvalidity == validity
    assert put.uid > uidlist.BLOCK
    assert house.account.status("INBOX").highestmodseq > modseq


def test_a_restart_alone_gives_the_next_uid(house, inbox):
    inbox.close()
    house.open()
    assert house.put("after").uid == 5


@pytest.mark.parametrize("with_index", [True, False])
def test_a_restored_folder_never_assigns_a_uid_twice(
        house, inbox, tmp_path, with_index):
    inbox.close()
    house.close()
    shutil.copytree(house.folder, str(tmp_path / "backup"))
    house.open()
    later = [house.put("later %d" % n) for n in range(3)]
    modseq = house.account.status("INBOX").highestmodseq
    house.close()
    shutil.rmtree(house.folder)
    shutil.copytree(str(tmp_path / "backup"), house.folder)
    if not with_index:
        drop_index(house)
    house.open()
    put = house.put("other")
    assert (put.uidvalidity, put.uid) not in [tuple(old) for old in later]
    assert put.uid > max(old.uid for old in later)
    assert house.account.status("INBOX").highestmodseq > modseq


def test_a_folder_restored_under_a_live_server_is_noticed(
        house, inbox, tmp_path):
    shutil.copytree(house.folder, str(tmp_path / "backup"))
    later = house.put("later")
    shutil.rmtree(house.folder)
    shutil.copytree(str(tmp_path / "backup"), house.folder)
    put = house.put("other")
    assert put.uid > later.uid


def test_a_broken_index_is_made_anew(house, inbox):
    before = whole(inbox)
    inbox.close()
    house.close()
    drop_index(house)
    with open(os.path.join(house.folder, index.FILE), "wb") as file:
        file.write(b"this is no database at all, is it?" * 100)
    house.open()
    assert whole(house.account.open("INBOX")) == before


def test_two_processes_see_each_other(house, inbox):
    other = house.another()
    account = other.account(house.folder)
    there = account.open("INBOX")
    serial = inbox.state().serial
    put = house.put("from there", account=account)
    there.change_flags([2], "add", ["\\Flagged", "new-word"])
    there.remove([1])
    assert put.uid == 5
    update = inbox.changes(serial)
    assert (update.added, update.removed, update.changed) == ([5], [1], [2])
    assert inbox.rows([2]).flags[0] == {"\\Flagged", "new-word"}
    assert house.put("from here").uid == 6
    assert there.state().uids[-1] == 6
    other.close()


def test_a_line_without_a_message_costs_only_its_uid(house, inbox):
    with open(os.path.join(house.folder, uidlist.NAME), "ab") as file:
        file.write(b"5 :died.before.rename\n6 :torn")
    assert house.put("next").uid == 6


def test_a_message_without_a_row_gets_the_uid_of_its_line(house, inbox):
    drop_foreign(house, name="died.before.commit")
    with open(os.path.join(house.folder, uidlist.NAME), "ab") as file:
        file.write(b"5 :died.before.commit\n")
    assert house.put("next").uid == 6
    assert sorted(whole(inbox)) == [1, 2, 3, 4, 5, 6]


def test_an_interrupted_move_out_of_new_is_one_message(house, inbox):
    name = os.listdir(house.folder + "/new")[0]
    os.link(house.folder + "/new/" + name,
            house.folder + "/cur/" + name + ":2,S")
    inbox.look()
    assert len(whole(inbox)) == 4
    assert name not in os.listdir(house.folder + "/new")


def test_dovecots_list_is_understood(house, tmp_path):
    folder = tmp_path / "dovecot"
    for part in ("cur", "new", "tmp"):
        os.makedirs(str(folder / part))
    (folder / "cur" / "1.a.b,S=9:2,Sa").write_bytes(b"A: b\n\nc\n\n")
    (folder / uidlist.NAME).write_bytes(
        b"3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n"
        b"25006 W12 :1.a.b,S=9\n25021 :gone\n")
    (folder / "dovecot-keywords").write_bytes(b"0 $Forwarded\n")
    account = house.store.account(str(folder))
    mailbox = account.open("INBOX")
    assert mailbox.uidvalidity == 1275660208
    assert whole(mailbox) == {25006: (
        b"A: b\r\n\r\nc\r\n\r\n", {"\\Seen", "$Forwarded"})}
    put = house.put(account=account)
    assert put.uid >= 25022
    header = read_uid_list(folder)[0]
    assert header.guid == "3085f01b7f11094c501100008c4a11c1"


def test_delivery_fails_while_the_disk_is_full(house, inbox, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")
    before = whole(inbox)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(errors.NoSpace):
        house.put("does not fit")
    monkeypatch.undo()
    assert whole(inbox) == before
    assert os.listdir(house.folder + "/tmp") == []
    assert house.put("fits").uid == 5


def test_a_failed_transaction_leaves_no_file(house, inbox, monkeypatch):
    before = whole(inbox)
    monkeypatch.setattr(index.Index, "commit", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        house.put("not committed")
    monkeypatch.undo()
    assert whole(inbox) == before
    assert house.put("five").uid >= 5
    assert len(whole(inbox)) == 5


def test_mbsyncs_own_uid_in_a_name_makes_no_new_message(house, inbox):
    before = whole(inbox)
    for part in ("new", "cur"):
        for name in os.listdir(house.folder + "/" + part):
            base, colon, info = name.partition(":")
            os.rename("%s/%s/%s" % (house.folder, part, name),
                      "%s/%s/%s,U=%d%s%s" % (house.folder, part, base, 7,
                                             colon, info))
    inbox.look()
    assert whole(inbox) == before
    assert all(",U=7" in name for name in os.listdir(house.folder + "/new"))
    inbox.close()
    house.close()
    drop_index(house)
    house.open()
    assert whole(house.account.open("INBOX")) == before


def test_the_header_suits_dovecots_reading_of_the_next_uid(house):
    """Dovecot takes N, or the last line's UID, as the next UID. If N were a ceiling, Dovecot would
    take our later messages for old ones that reappeared."""
    for _ in range(3):
        house.put()
    header, listed = read_uid_list(house.folder)
    assert header.uidnext <= min(listed.values())
    assert header.uid_ceiling > max(listed.values())


def test_a_chown_at_every_start_costs_few_numbers(house, inbox):
    """A chown changes the marker's ctime, as a restore does, but not its inode."""
    inbox.close()
    house.close()
    marker = os.path.join(house.folder, "phenmail-marker")
    os.chmod(marker, os.stat(marker).st_mode)
    house.open()
    first = house.put().uid
    for _ in range(3):
        house.close()
        os.chmod(marker, os.stat(marker).st_mode)
        house.open()
    assert 4 < first < house.put().uid < first + (1 << 18)


def test_flags_of_a_failed_change_are_taken_back(house, inbox, monkeypatch):
    """A \\Deleted that was refused must not let a later EXPUNGE remove it."""
    before = whole(inbox)

    def files():
        return sorted(os.listdir(house.folder + "/cur")
                      + os.listdir(house.folder + "/new"))
    names = files()
    monkeypatch.setattr(index.Index, "commit", lambda self: 1 / 0)
    for mode in ("add", "replace"):
        with pytest.raises(ZeroDivisionError):
            inbox.change_flags([1, 2, 3, 4], mode, ["\\Deleted"])
    monkeypatch.undo()
    assert files() == names
    assert inbox.expunge() == []
    assert whole(inbox) == before


def test_a_backup_that_is_restored_twice_names_no_two_messages_alike(house, tmp_path):
    house.put("old")
    house.close()
    backup = str(tmp_path / "backup")
    shutil.copytree(house.folder, backup)
    known, modseqs = {}, []
    for text, later in (("monday", 0), ("tuesday", 100000), ("no clock", -10 ** 9)):
        shutil.rmtree(house.folder)
        shutil.copytree(backup, house.folder)
        with pytest.MonkeyPatch().context() as patch:
            now = time.time() + later
            patch.setattr(numbering.time, "time", lambda: now)
            house.open()
            put = house.put(text)
        mailbox = house.account.open("INBOX")
        modseqs.append(mailbox.state().highestmodseq)
        mailbox.close()
        house.close()
        assert known.setdefault((put.uidvalidity, put.uid), text) == text
    assert modseqs[0] < modseqs[1]


def test_the_last_message_goes_with_the_index(house):
    """A session that sees it must be told, although the new index finds nothing."""
    house.put("the only one")
    mailbox = house.account.open("INBOX")
    since = mailbox.state().highestmodseq
    name, = os.listdir(house.folder + "/new")
    os.unlink(house.folder + "/new/" + name)
    drop_index(house)
    mailbox.look()
    assert uids(mailbox) == [] and mailbox.expunged_since(since) is None
    assert house.account.status("INBOX").messages == 0
    mailbox.close()


def test_a_mailbox_that_another_program_removed_is_made_anew(house):
    house.account.create("Work")
    for _ in range(3):
        house.put(name="Work")
    house.account.open("Work").close()
    shutil.rmtree(house.folder + "/.Work")
    house.account.create("Work")
    mailbox = house.account.open("Work")
    assert uids(mailbox) == []
    put = house.put(name="Work")
    assert uids(mailbox) == [put.uid] and put.uidvalidity == mailbox.uidvalidity
    mailbox.close()


def test_a_removed_mailbox_spoils_none_that_takes_its_name(house):
    """A session has New selected, another program removes it, and Old is renamed to New."""
    for name in ("Old", "New"):
        house.account.create(name)
        house.put(name=name)
    selected, old = house.account.open("New"), house.account.open("Old")
    validity = old.uidvalidity
    old.close()
    shutil.rmtree(house.folder + "/.New")
    house.account.rename("Old", "New")
    for call in (selected.look, selected.state, selected.expunge):
        try:
            call()
        except errors.NotFound:
            pass
    renamed = house.account.open("New")
    assert (renamed.uidvalidity, uids(renamed)) == (validity, [1])
    assert read_uid_list(house.folder + "/.New")[0].uidvalidity == validity
    renamed.close()
    selected.close()


def test_flags_of_a_restored_index_are_told_without_the_uid_list(house, inbox, tmp_path):
    inbox.change_flags([1], "add", ["\\Flagged"])
    house.close()
    backup = str(tmp_path / "backup")
    shutil.copytree(house.folder, backup)
    house.open()
    mailbox = house.account.open("INBOX")
    mailbox.change_flags([1], "remove", ["\\Flagged"])
    since = mailbox.state().highestmodseq
    mailbox.close()
    house.close()
    shutil.rmtree(house.folder)
    shutil.copytree(backup, house.folder)
    os.unlink(os.path.join(house.folder, uidlist.NAME))
    house.open()
    mailbox = house.account.open("INBOX")
    assert min(mailbox.rows(uids(mailbox)).modseqs) > since
    mailbox.close()


def test_keywords_that_another_program_named_later_get_a_new_mod_sequence(house, inbox):
    path, = [name for name in os.listdir(house.folder + "/new") if "message 2" in open(
        house.folder + "/new/" + name).read()]
    os.rename(house.folder + "/new/" + path, house.folder + "/cur/" + path + ":2,z")
    inbox.look()
    since = inbox.state().highestmodseq
    with open(house.folder + "/dovecot-keywords", "a") as file:
        file.write("25 $Work\n")
    os.utime(house.folder + "/cur")
    inbox.look()
    rows = inbox.rows([2])
    assert rows.flags[0] == {"$Work"} and rows.modseqs[0] > since


def test_a_full_disk_while_the_marker_is_made_skips_no_number(house, monkeypatch):
    house.put()
    house.close()
    os.unlink(house.folder + "/phenmail-marker")
    write_file = account_index.atomic.write_file

    def full(*arguments):
        raise OSError(errno.ENOSPC, "full")
    house.boot = "another boot"
    with monkeypatch.context() as patch:
        patch.setattr(account_index.atomic, "write_file", full)
        try:
            house.open(boot_id="another boot")
            house.put()
        except errors.StoreError:
            pass
    assert account_index.atomic.write_file is write_file
    assert house.put().uid > uidlist.BLOCK


def test_a_delivery_to_a_removed_mailbox_finds_it_gone(house):
    house.account.create("Work")
    house.account.open("Work").close()
    shutil.rmtree(house.folder + "/.Work")
    with pytest.raises(errors.NotFound):
        house.put(name="Work")
