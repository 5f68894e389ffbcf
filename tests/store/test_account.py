"""Mailboxes as a tree: create, delete, rename, list, status, subscribe."""
import os

import pytest

from phenmail_protocols.store import errors

from .conftest import whole


def names(account):
    return [info.name for info in account.mailboxes() if info.selectable]


def test_a_new_user_has_the_special_mailboxes(house):
    infos = {info.name: info for info in house.account.mailboxes()}
    assert sorted(infos) == [
        "Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"]
    assert infos["Sent"].special_uses == ("\\Sent",)
    assert infos["Trash"].subscribed
    assert infos["INBOX"].special_uses == ()


def test_an_existing_maildir_gets_no_mailboxes(house, tmp_path):
    for part in ("cur", "new", "tmp"):
        os.makedirs(str(tmp_path / "old" / part))
    account = house.store.account(str(tmp_path / "old"))
    assert names(account) == ["INBOX"]


def test_create_and_delete_keep_mailboxes_below(house):
    account = house.account
    account.create("Lists/dev")
    infos = {info.name: info for info in account.mailboxes()}
    assert not infos["Lists"].selectable and infos["Lists"].children
    account.create("Lists")
    with pytest.raises(errors.Exists):
        account.create("Lists")
    account.delete("Lists")
    assert "Lists/dev" in names(account)
    with pytest.raises(errors.NotFound):
        account.delete("Lists")
    assert not [name for name in os.listdir(house.folder + "/tmp")]


def test_a_mailbox_made_again_has_a_new_uidvalidity(house):
    account = house.account
    account.create("a")
    first = house.put(name="a")
    account.delete("a")
    account.create("a")
    again = house.put(name="a")
    assert again.uidvalidity > first.uidvalidity


@pytest.mark.parametrize("name", [
    "", "/", "a//b", "a/", "/a", "a\nb", "a\x00b", "x" * 300])
def test_invalid_names_are_refused(house, name):
    with pytest.raises(errors.InvalidName):
        house.account.create(name)


def test_inbox_folds_case_and_can_not_be_deleted(house):
    house.put(name="inBoX")
    assert house.account.status("Inbox").messages == 1
    with pytest.raises(errors.InvalidName):
        house.account.delete("inbox")
    with pytest.raises(errors.Exists):
        house.account.create("Inbox")


def test_rename_includes_children_and_keeps_uids(house):
    account = house.account
    account.create("a")
    account.create("a/b")
    put = house.put(name="a/b")
    mailbox = account.open("a/b")
    account.rename("a", "z/y")
    assert {"z/y", "z/y/b"} <= set(names(account))
    assert "a" not in names(account)
    assert mailbox.name == "z/y/b"
    assert account.status("z/y/b").uidvalidity == put.uidvalidity
    assert whole(mailbox)[put.uid][0].endswith(b"body\r\n")
    mailbox.close()


def test_a_refused_rename_changes_nothing(house):
    account = house.account
    account.create("a")
    account.create("b")
    with pytest.raises(errors.Exists):
        account.rename("a", "b")
    with pytest.raises(errors.NotFound):
        account.rename("nothing", "c")
    with pytest.raises(errors.InvalidName):
        account.rename("a", "a/below")
    with pytest.raises(errors.InvalidName):
        account.rename("a", "x" * 300)
    assert {"a", "b"} <= set(names(account))


def test_rename_of_inbox_moves_its_messages(house):
    house.put("one")
    house.account.rename("INBOX", "Old")
    assert house.account.status("INBOX").messages == 0
    assert house.account.status("Old").messages == 1


def test_subscriptions_outlive_the_mailbox(house):
    account = house.account
    account.subscribe("Nowhere/Grüße")
    account.unsubscribe("Sent")
    house.open()
    subscribed = house.account.subscriptions()
    assert "Nowhere/Grüße" in subscribed and "Sent" not in subscribed


def test_status_counts(house):
    house.put()
    house.put(flags=["\\Seen"])
    status = house.account.status("INBOX")
    assert (status.messages, status.unseen, status.recent) == (2, 1, 2)
    assert status.uidnext == 3
    mailbox = house.account.open("INBOX")
    assert mailbox.claim_recent() == 1
    assert house.account.status("INBOX").recent == 0
    mailbox.close()


def test_a_mailbox_deleted_while_open_is_not_found(house):
    house.account.create("a")
    mailbox = house.account.open("a")
    told = []
    mailbox.watch(lambda: told.append(1))
    house.account.delete("a")
    assert told
    with pytest.raises(errors.NotFound):
        mailbox.state()
    mailbox.close()


def test_subscriptions_are_written_and_read_as_dovecot_does(house):
    """A dot or backslash in a component is escaped as in a folder's name. Version 1 separates
    components with dots."""
    account = house.account
    account.subscribe("v1.2/Grüße")
    account.subscribe("back\\slash")
    path = os.path.join(account.folder, "subscriptions")
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    assert lines[0] == b"V\t2" and b"v1\\2e2\tGr&APwA3w-e" in lines and b"back\\5cslash" in lines
    assert {"v1.2/Grüße", "back\\slash"} <= set(account.subscriptions())
    with open(path, "wb") as file:
        file.write(b"INBOX\nLists.dev\nv1\\2e2\n")
    assert account.subscriptions() == ["INBOX", "Lists/dev", "v1.2"]
