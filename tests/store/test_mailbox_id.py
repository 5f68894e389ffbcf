"""A mailbox's identifier: it lives as long as its UIDVALIDITY, and no two mailboxes have the same.
"""
import os
import shutil

import pytest

from phenmail_protocols.store.maildir import uidlist

from .conftest import drop_index, read_uid_list


def mailbox_id(house, name="Sent"):
    return house.account.status(name).mailbox_id


def path(house, name):
    return os.path.join(house.folder, "." + name)


def without_guid(data):
    first, end, rest = data.partition(b"\n")
    return b" ".join(word for word in first.split() if word[:1] != b"G") + end + rest


def with_guid(guid):
    return lambda data: without_guid(data).replace(b"\n", b" G%b\n" % guid, 1)


def rewrite_list(house, change, name="Sent"):
    listed = os.path.join(path(house, name), uidlist.NAME)
    with open(listed, "rb") as file:
        data = file.read()
    with open(listed + "~", "wb") as file:
        file.write(change(data))
    os.rename(listed + "~", listed)


def test_it_survives_the_index(house):
    house.put(name="Sent")
    before = mailbox_id(house)
    drop_index(house)
    assert mailbox_id(house) == before
    house.open(boot_id="another boot")
    assert mailbox_id(house) == before


def test_it_survives_the_uid_list(house):
    house.put(name="Sent")
    before = mailbox_id(house)
    os.unlink(os.path.join(path(house, "Sent"), uidlist.NAME))
    house.put(name="Sent")
    assert mailbox_id(house) == before
    drop_index(house)
    assert mailbox_id(house) == before


def test_without_both_it_is_another_mailbox(house):
    house.put(name="Sent")
    before = mailbox_id(house)
    os.unlink(os.path.join(path(house, "Sent"), uidlist.NAME))
    drop_index(house)
    assert mailbox_id(house) != before


@pytest.mark.parametrize("change", [
    without_guid, with_guid(b"zz"), with_guid(b"\xff" * 32), with_guid(b"0" * 31)],
    ids=["none", "short", "no ASCII", "one digit missing"])
def test_a_list_without_a_guid_gets_one(house, change):
    house.put(name="Sent")
    before = mailbox_id(house)
    rewrite_list(house, change)
    house.put(name="Sent")
    assert mailbox_id(house) == before  # the index knows it
    rewrite_list(house, change)
    drop_index(house)
    after = mailbox_id(house)
    drop_index(house)
    assert mailbox_id(house) == after != before


def test_another_programs_guid_does_not_replace_ours(house):
    house.put(name="Sent")
    before = mailbox_id(house)
    rewrite_list(house, with_guid(b"a" * 32))
    house.put(name="Sent")
    assert mailbox_id(house) == before
    drop_index(house)
    assert mailbox_id(house) == before


def test_dovecots_guid_is_kept(house):
    house.put(name="Sent")
    rewrite_list(house, with_guid(b"3085F01B7F11094C501100008C4A11C1"))
    drop_index(house)
    assert "3085f01b7f11094c501100008c4a11c1" in mailbox_id(house)


def test_with_another_uidvalidity_it_is_another_mailbox(house):
    house.put(name="Sent")
    before, validity = mailbox_id(house), house.account.status("Sent").uidvalidity
    rewrite_list(house, lambda data: data.replace(b"V%010d" % validity,
                                                  b"V%010d" % (validity + 5), 1))
    house.put(name="Sent")
    assert house.account.status("Sent").uidvalidity == validity + 5
    assert mailbox_id(house) != before


def test_a_copied_folder_is_another_mailbox(house):
    house.put(name="Sent")
    before = mailbox_id(house)
    shutil.copytree(path(house, "Sent"), path(house, "Copy"))
    copy = mailbox_id(house, "Copy")
    assert copy != before == mailbox_id(house)
    drop_index(house)
    assert (mailbox_id(house, "Copy"), mailbox_id(house)) == (copy, before)
    assert read_uid_list(path(house, "Copy"))[0].guid in copy


def test_a_folder_renamed_by_another_program_stays_the_mailbox(house):
    house.put(name="Sent")
    before = mailbox_id(house)
    os.rename(path(house, "Sent"), path(house, "Other"))
    assert mailbox_id(house, "Other") == before


def test_a_restored_backup(house, tmp_path):
    house.put(name="Sent")
    before = mailbox_id(house)
    house.close()
    shutil.copytree(house.folder, str(tmp_path / "backup"))
    shutil.rmtree(house.folder)
    shutil.copytree(str(tmp_path / "backup"), house.folder)
    house.open()
    house.put(name="Sent")
    assert mailbox_id(house) == before
    drop_index(house)
    assert mailbox_id(house) == before


def test_another_process_sees_the_same(house):
    before = house.account.create("new")
    other = house.another()
    try:
        assert other.account(house.folder).status("new").mailbox_id == before
        house.account.rename("new", "renamed")
        assert other.account(house.folder).status("renamed").mailbox_id == before
    finally:
        other.close()
