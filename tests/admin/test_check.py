"""What `check` reports about root folders with and without mistakes."""
import json
import os

import pytest

from phenmail_protocols.accounts import users
from phenmail_protocols.admin import check, init
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.mail.address import Address
from phenmail_protocols.queue import spool
from phenmail_protocols.queue.model import Message, Recipient
from phenmail_protocols.store.filestore import FileStore


@pytest.fixture
def root(tmp_path):
    root = Root(str(tmp_path / "root"))
    init.make_root(root, "alice", "example.org")
    return root


def configure(root, **changes):
    values = {"sender-domain": "example.org", "domains": {"example.org": {
        "postmaster": ":alice", "abuse": ":alice", "alice": "/alice/mail"}}}
    values.update(changes)
    with open(root.configuration, "w") as file:
        json.dump(values, file)


def user_file(root, text):
    path = os.path.join(root.path, "alice", "mail", "mail.jcfg")
    with open(path, "w") as file:
        file.write(text)


def test_a_new_root_is_right(root):
    report = check.check(root)
    assert (report.errors, report.warnings) == ([], [])


def test_all_mistakes_of_a_file_are_told_with_their_places(root):
    with open(root.configuration, "w") as file:
        file.write('{\n "imap": 3,\n "smpt": true\n}')
    report = check.check(root)
    assert any(":2:" in line and "imap" in line for line in report.errors)
    assert any(":3:" in line and "smtp" in line for line in report.errors)


def test_fetched_accounts_are_checked(root):
    folder = os.path.join(root.path, "alice", "system", "config")
    os.makedirs(folder)
    with open(os.path.join(folder, "mail-fetcher.jcfg"), "w") as file:
        json.dump(
            {"accounts": [
                {"server": "imap.example.org", "username": "a", "passphrase": "b",
                 "boxes": [{"Inbox": "accept:a/../b"}]},
                {"server": "imap.example.org", "protocol": "pop", "username": "b",
                 "passphrase": "b", "boxes": ["Inbox", "Sent"]}]}, file)
    report = check.check(root)
    assert any("accept:a/../b: no mailbox" in line for line in report.errors)
    assert any("POP3 has one mailbox" in line for line in report.warnings)
    assert any("mail-fetcher.jcfg: 2 accounts" in line for line in report.notes)


def test_a_broken_dkim_key_is_told(root):
    path = os.path.join(root.mail_system, "dkim.key")
    with open(path, "w") as file:
        file.write("no key")
    os.chmod(path, 0o644)
    errors = check.check(root).errors
    assert any("dkim.key" in line for line in errors), errors


def test_what_waits_and_what_was_set_aside_is_told(root):
    queue = spool.Spool(os.path.join(root.mail_system, "queue"))
    for name in ("one", "two"):
        with queue.begin(name) as arriving:
            arriving.write(b"Subject: x\r\n\r\n")
            arriving.commit(Message(name, None, (Recipient(
                Address("x", "example.com")),), 1.0))
    with open(os.path.join(root.mail_system, "queue", "two.state"), "w") as file:
        file.write("{")
    with pytest.raises(spool.Broken):
        queue.read("two")
    report = check.check(root)
    assert any(line.startswith("1 message") for line in report.notes), report
    assert any("two: its state cannot be read" in line for line in report.warnings), report
    assert any("DANE-TA" in line for line in report.notes), report


def test_a_users_broken_file_is_told(root):
    user_file(root, '{"passphrase": 12}')
    assert any("passphrase" in line for line in check.check(root).errors)


@pytest.mark.parametrize("text, words", [
    ('{"filters": [\n{"type": "match", "content": "a", "action": "burn"}]}',
     ("alice/mail/filters.jcfg:2:45", "accept")),
    ('{"filters": [\n{"type": "match", "content": "a", "action": "accept:../bob"}]}',
     ("alice/mail/filters.jcfg:2: ", "cannot be a mailbox"))])
def test_filters_that_do_not_work_are_told_with_their_places(root, text, words):
    with open(os.path.join(root.path, "alice", "mail", "filters.jcfg"), "w") as file:
        file.write(text)
    error, = check.check(root).errors
    assert all(word in error for word in words)


def test_what_waits_for_authorization_is_told(root):
    folder = os.path.join(root.path, "alice", "mail")
    user_file(root, '{"passphrase": "%s", "external-MDA": "/bin/cat"}' % ("0" * 64))
    os.mkfifo(os.path.join(folder, "pipe.py"))
    with open(os.path.join(folder, "filters.jcfg"), "w") as file:
        file.write(
            '{"filters": [\n{"type": "py", "code": "accept()"},\n'
            '{"type": "py", "code": "file:pipe.py"}]}')
    before = sorted(os.listdir(root.mail_system))
    report = check.check(root)
    mda, code, pipe = report.warnings
    assert mda.startswith("alice/mail/mail.jcfg: external-MDA is not approved")
    assert "authorize alice" in mda
    assert code.startswith("alice/mail/filters.jcfg:2: this code is not approved")
    assert pipe.startswith("alice/mail/filters.jcfg:3: ") and "not a regular file" in pipe
    assert sorted(
        os.listdir(root.mail_system)) == before, "check changes nothing, it makes no key either"
    configure(root, admin=["alice"])
    assert check.check(root).warnings == [pipe]


def test_a_key_that_others_know_is_told(root):
    path = os.path.join(root.mail_system, "authorization.key")
    with open(path, "wb") as file:
        file.write(b"k" * 32)
    os.chmod(path, 0o640)
    assert any("authorization.key" in line and "chmod" in line for line in check.check(root).errors)
    os.chmod(path, 0o600)
    assert check.check(root).errors == []
    os.rename(path, path + "-")
    os.symlink(path + "-", path)
    assert any("authorization.key" in line for line in check.check(root).errors)


def test_the_servers_filters_are_looked_at_too(root):
    configure(root,
              **{"global-filters": [{"type": "match", "content": "a", "action": "accept:/etc"}]})
    assert any("the server's filter" in line and "mailbox" in line
               for line in check.check(root).errors)


def test_a_user_without_a_passphrase_is_told(root):
    user_file(root, "{}")
    assert any("passwd" in line for line in check.check(root).warnings)


def test_a_missing_postmaster_is_told(root):
    configure(root, domains={"example.org": {"alice": "/alice/mail"}})
    warnings = " ".join(check.check(root).warnings)
    assert "postmaster" in warnings and "abuse" in warnings


def test_mail_folders_are_counted_and_left_alone(root):
    folder = os.path.join(root.path, "alice", "mail")
    store = FileStore(poll=3600)
    account = store.account(folder)
    with account.stage() as staged:
        staged.write(b"a: b\r\n\r\n")
        account.deliver("INBOX", staged)
    assert any("6 mailboxes, 1 messages" in line
               for line in check.check(root).notes)
    with account.stage() as staged:
        staged.write(b"a: b\r\n\r\n")
        assert account.deliver("INBOX", staged).uid == 2
    store.close()


def test_a_folder_that_can_not_be_read_is_an_error(root):
    folder = os.path.join(root.path, "alice", "mail")
    os.makedirs(os.path.join(folder, "cur"))
    with open(os.path.join(folder, "new"), "w"):
        pass  # a file where a folder must be
    assert any("alice/mail" in line for line in check.check(root).errors)


def test_a_root_without_configuration(tmp_path):
    report = check.check(Root(str(tmp_path)))
    assert len(report.errors) == 1 and "mail.jcfg" in report.errors[0]


def test_the_first_user_can_be_admin(tmp_path):
    root = Root(str(tmp_path))
    first = init.make_root(root, "eve", "example.org", admin=True)
    assert first.address == "eve@example.org"
    assert [user.admin for user in users.list_users(root)
            if user.address == first.address] == [True]
    assert init.is_needed(root) is False
    assert first.passphrase in init.welcome(first)


@pytest.mark.parametrize("kind",
                         ["control", "large", "no UTF-8", "pipe", "folder", "link to itself",
                          "broken key"])
@pytest.mark.parametrize("name",
                         ["mail/mail.jcfg", "mail/filters.jcfg", "system/config/mail-fetcher.jcfg"])
def test_whatever_is_wrong_with_a_users_file_is_told_with_its_name(root, name, kind):
    path = os.path.join(root.path, "alice", *name.split("/"))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)
    texts = {"control": b"{\x01 5}", "large": b'{"x":[' + b"0," * (2 << 20) + b"0]}",
             "no UTF-8": b"\xff", "broken key": b'{"x\\z": 5}'}
    if kind in texts:
        with open(path, "wb") as file:
            file.write(texts[kind])
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        os.mkdir(path)
    else:
        os.symlink(os.path.basename(path), path)
    report = check.check(root)
    assert any("alice/" + name in line and "None" not in line
               for line in report.errors), report.errors
