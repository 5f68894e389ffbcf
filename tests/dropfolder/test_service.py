"""Drop folders: what other programs put there is filed once it rests, set aside or kept for later;
and nothing leads elsewhere."""
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from phenmail_protocols.accounts.directory import Directory
from phenmail_protocols.config import loader
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.delivery.router import Router
from phenmail_protocols.dropfolder import files, service, watch
from phenmail_protocols.dropfolder.service import DropFolders
from phenmail_protocols.filters.screening import Screening
from phenmail_protocols.store import errors
from phenmail_protocols.store.filestore import FileStore
from tests.served import served

MESSAGE = b"Return-Path: <sender@example.net>\nFrom: someone@example.com\nSubject: x\n\nhello\n"
DOMAINS = {
    "example.org": {"alice": "/alice/mail", "info": ":alice", "bert": "/bert/mail",
                    "zoe": "/zoe/mail", "*": "/rest/mail",
                           "postmaster": ":alice", "abuse": ":alice"}}


class House:
    """A root with alice, bert and zoe, and the drop folders of all; its clock goes on with
    `pass_by` only."""

    def __init__(self, path, **settings):
        self.root = Root(path)
        self.root.create()
        values = dict({"sender-domain": "example.org", "domains": DOMAINS}, **settings)
        checked = loader.server_from_dict(values, self.root, False, lambda: "example.org")
        self.store = FileStore()
        self.directory = Directory(checked, self.root)
        self.router = Router(self.directory, self.store)
        self.time = os.stat(path).st_mtime
        self.drops = DropFolders(self.directory, self.router, lambda: self.time)
        for user in ("alice", "bert", "zoe", "rest"):
            os.makedirs(self.path(user), exist_ok=True)

    def path(self, user, *names):
        return os.path.join(os.path.realpath(self.root.path), user, "mail", *names)

    def drop(self, name="one", data=MESSAGE, user="alice"):
        path = self.path(user, "delivery", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        # The disk's clock is the test's.
        os.utime(path, (self.time, self.time))
        return path

    def pass_by(self, seconds=1.0):
        self.time += seconds

    def look(self, times=2, seconds=1.0):
        """The first sees, the second takes."""
        for _ in range(times):
            self.drops.look()
            self.pass_by(seconds)

    def inbox(self, user="alice"):
        mailbox = self.store.account(self.path(user)).open("INBOX")
        try:
            return served(mailbox)
        finally:
            mailbox.close()

    def left(self, user="alice", *names):
        path = self.path(user, "delivery", *names)
        return sorted(os.listdir(path)) if os.path.isdir(path) else []

    def log(self, user="alice"):
        with open(self.path(user, "mail.log")) as file:
            return file.read()


@pytest.fixture
def house(tmp_path):
    made = House(str(tmp_path))
    yield made
    made.store.close()


def fail(house, monkeypatch, error, users=("alice",)):
    """The store of these users fails until the list is emptied."""
    account, failing = house.store.account, set(users)

    def of(folder):
        if any(folder == house.path(user) for user in failing):
            raise error
        return account(folder)
    monkeypatch.setattr(house.store, "account", of)
    return failing


# What is taken

def test_a_file_is_filed_and_removed(house):
    house.drop()
    house.look()
    message, = house.inbox()
    assert message.startswith(
        b"Return-Path: <sender@example.net>\r\nDelivered-To: alice@example.org\r\n"
        b"Received: by example.org (phenmail) id ")
    assert message.endswith(b"From: someone@example.com\r\nSubject: x\r\n\r\nhello\r\n")
    assert message.count(b"Return-Path") == 1
    assert house.left() == []


def test_folders_without_drop_folder_are_left_alone(house):
    house.look(3)
    assert [name for user in ("alice", "bert", "rest")
            for name in os.listdir(house.path(user))] == []


def test_a_cheap_look(house, monkeypatch):
    house.look(1)
    asked = []
    stamps = files.stamps
    monkeypatch.setattr(files, "stamps", lambda path, parts=(): asked.append(path)
                        or stamps(path, parts))
    monkeypatch.setattr(service, "signature",
                        lambda path: pytest.fail("settings are not asked each time"))
    house.drops.look()
    assert sorted(asked) == [house.path(user, "delivery")
                             for user in ("alice", "bert", "rest", "zoe")]


def test_an_unchanged_folder_is_not_listed(house, monkeypatch):
    os.makedirs(house.path("alice", "delivery"))
    house.pass_by(1e4)
    house.look()
    monkeypatch.setattr(service, "Opened", lambda *_: pytest.fail("nothing changed"))
    house.look(1)


def test_a_folder_that_changed_just_now_is_listed_again(house):
    os.makedirs(house.path("alice", "delivery"))
    house.look(1, 0)
    state = os.stat(house.path("alice", "delivery"))
    house.drop()
    os.utime(house.path("alice", "delivery"), ns=(state.st_atime_ns, state.st_mtime_ns))
    house.look()
    assert len(house.inbox()) == 1


def test_crlf_files_and_mbox_lines(house):
    house.drop(data=b"From x Mon\r\nSubject: a\r\n\r\nb\r\n")
    house.look()
    assert house.inbox()[0].endswith(b"\r\nSubject: a\r\n\r\nb\r\n")
    assert b"Return-Path: <>\r\n" in house.inbox()[0]


def test_names_with_a_dot_are_left_alone(house):
    house.drop(".one")
    house.drop("new/.one")
    house.look(3)
    assert house.left() == [".one", "new"] and house.left("alice", "new") == [".one"]
    assert house.inbox() == []


def test_a_maildir_is_read(house):
    for name in ("new/1.host", "cur/2.host:2,S", "tmp/3.host", "4"):
        house.drop(name)
    house.look()
    assert len(house.inbox()) == 3
    assert house.left() == ["cur", "new", "tmp"] and house.left("alice", "tmp") == ["3.host"]
    assert house.left("alice", "new") == house.left("alice", "cur") == []


def test_what_comes_into_a_maildir_later_is_seen(house):
    house.drop("new/1.host")
    house.look()
    house.pass_by(100)
    house.look(3)
    house.drop("new/2.host")
    house.look()
    assert len(house.inbox()) == 2


def test_the_settings_name_another_folder_and_may_change(house):
    inner = house.path("alice", "in")
    os.makedirs(inner)
    with open(house.path("alice", "mail.jcfg"), "w") as file:
        file.write('{"delivery": "/alice/mail/in"}')
    house.drop()
    os.rename(house.path("alice", "delivery", "one"), os.path.join(inner, "one"))
    house.look()
    assert len(house.inbox()) == 1 and os.listdir(inner) == []
    os.unlink(house.path("alice", "mail.jcfg"))
    house.drop("two")
    house.pass_by(10)
    house.look()
    assert len(house.inbox()) == 2


def test_a_user_whose_settings_are_broken_waits(house):
    with open(house.path("alice", "mail.jcfg"), "w") as file:
        file.write("{")
    house.drop()
    house.drop("one", user="bert")
    house.look()
    assert house.left() == ["one"] and len(house.inbox("bert")) == 1


def test_the_catch_all_is_postmaster(house):
    house.drop(user="rest")
    house.look()
    assert b"Delivered-To: postmaster@example.org\r\n" in house.inbox("rest")[0]


def test_in_the_order_of_their_age(house):
    for name in ("c", "a", "b"):
        house.drop(name, b"Subject: %s\n\n" % name.encode())
        house.pass_by(10)
    house.look()
    assert [message.split(b"Subject: ")[1][:1] for message in house.inbox()] == [b"c", b"a", b"b"]


# Files that are still written

def test_a_file_that_changes_is_not_taken(house):
    path = house.drop()
    for _ in range(4):
        house.look(1, 0.9)
        with open(path, "ab") as file:
            file.write(b"more\n")
        os.utime(path, (house.time, house.time))
    assert house.inbox() == []
    house.look()
    assert house.inbox()[0].endswith(b"hello\r\n" + b"more\r\n" * 4)


def test_an_old_file_that_grows_beside_a_clock_that_is_wrong(house):
    path = house.drop()
    os.utime(path, (1, 1))
    house.pass_by(1e6)
    house.drops.look()
    assert house.inbox() == [], "one look proves nothing"
    house.time -= 2e6
    house.look()
    assert len(house.inbox()) == 1


def test_a_file_that_changes_while_it_is_read_comes_again(house, monkeypatch):
    path = house.drop()
    begin = house.router.begin

    def write_and_begin(*arguments, **options):
        monkeypatch.setattr(house.router, "begin", begin)
        with open(path, "ab") as file:
            file.write(b"more\n")
        return begin(*arguments, **options)
    monkeypatch.setattr(house.router, "begin", write_and_begin)
    house.pass_by(100)
    house.look()
    assert house.inbox() == [] and house.left() == ["one"]
    house.look()
    assert len(house.inbox()) == 1 and house.inbox()[0].endswith(b"more\r\n")


@pytest.mark.parametrize("replace", [True, False])
def test_a_file_that_is_written_over_before_its_removal_stays(house, monkeypatch, replace):
    path = house.drop()
    remove = files.Opened.remove

    def write_and_remove(self, *arguments):
        monkeypatch.setattr(files.Opened, "remove", remove)
        house.drop(".two", b"Subject: second\n\n")
        if replace:
            os.rename(house.path("alice", "delivery", ".two"), path)
        else:
            with open(path, "ab") as file:
                file.write(b"more\n")
        return remove(self, *arguments)
    monkeypatch.setattr(files.Opened, "remove", write_and_remove)
    house.pass_by(100)
    house.look()
    assert len(house.inbox()) == 1 and "one" in house.left()
    house.look()
    assert len(house.inbox()) == 2
    assert (b"Subject: second" if replace else b"more") in house.inbox()[1]
    assert "one" not in house.left()


# Crashes

def test_killed_before_the_removal_it_comes_twice(house, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed
    house.drop()
    house.drops.look()
    house.pass_by()
    with monkeypatch.context() as patch:
        patch.setattr(files.Opened, "remove", killed)
        with pytest.raises(Killed):
            house.drops.look()
    house.drops = DropFolders(house.directory, house.router, lambda: house.time)
    house.look()
    assert len(house.inbox()) == 2 and house.left() == []


_KILLED = """
import os, signal, sys
from phenmail_protocols.delivery import router
from phenmail_protocols.dropfolder import files
from tests.dropfolder.test_service import House
owner = {"Incoming": router.Incoming, "Opened": files.Opened}[sys.argv[2]]
action = getattr(owner, sys.argv[3])
def killed(*arguments, **options):
    if sys.argv[4] == "after":
        action(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, sys.argv[3], killed)
House(sys.argv[1]).look(3)
"""


@pytest.mark.parametrize("owner, action, when, copies", [
    ("Incoming", "write", "before", 1), ("Incoming", "finish", "before", 1),
    ("Incoming", "finish", "after", 2),
    ("Opened", "remove", "before", 2), ("Opened", "remove", "after", 1),
    ("Opened", "set_aside", "before", 0), ("Opened", "set_aside", "after", 0)])
def test_kill_9_at_each_step(tmp_path, owner, action, when, copies):
    """It comes once or twice, and is set aside once; it is never lost."""
    house = House(str(tmp_path))
    try:
        house.drop(data=MESSAGE if copies else b"")
        top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        done = subprocess.call([sys.executable, "-c", _KILLED, str(tmp_path), owner, action, when],
                               cwd=top, timeout=60)
        assert done == -signal.SIGKILL
        house.look(3)
        assert len(house.inbox()) == copies
        assert house.left() == ([] if copies else ["failed"])
        assert house.left("alice", "failed") == ([] if copies else ["one"])
    finally:
        house.store.close()


def test_it_is_removed_only_when_it_is_kept(house, monkeypatch):
    seen = []
    remove = files.Opened.remove
    monkeypatch.setattr(files.Opened, "remove",
                        lambda *arguments: seen.append(len(house.inbox())) or remove(*arguments))
    house.drop()
    house.look()
    assert seen == [1]


def test_what_can_not_be_removed_is_filed_once(house, monkeypatch, caplog):
    def failing(*_):
        raise OSError(1, "Operation not permitted")
    house.drop()
    with monkeypatch.context() as patch:
        patch.setattr(files.Opened, "remove", failing)
        house.look(50)
    assert len(house.inbox()) == 1 and caplog.text.count("filed but not removed") in (2, 3)
    house.look(100)
    assert len(house.inbox()) == 1 and house.left() == []


# What cannot be filed

@pytest.mark.parametrize("data, why", [
    (b"Subject: x\n\n\0\n", "NUL"), (b"Received: x\n" * 60 + b"\n", "Mail loop"), (b"", "empty")])
def test_what_is_refused_is_set_aside(house, caplog, data, why):
    house.drop(data=data)
    house.drop("two")
    house.look()
    assert house.left() == ["failed"] and house.left("alice", "failed") == ["one"]
    assert len(house.inbox()) == 1
    with open(house.path("alice", "delivery", "failed", "one"), "rb") as file:
        assert file.read() == data
    assert why in house.log() and "failed/one" in house.log()
    assert caplog.text.count("cannot be filed") == 1
    house.look(5)
    assert caplog.text.count("cannot be filed") == 1, "it rests there"


def test_what_the_users_own_program_was_given_is_no_loop(house):
    house.drop(
        data=b"Return-Path: <bob@example.net>\nDelivered-To: alice@example.org\nReceived: x\n"
             b"Subject: x\n\nhello\n")
    house.look()
    message, = house.inbox()
    assert house.left() == [] and message.count(b"Return-Path:") == 1
    assert message.endswith(b"\r\n\r\nhello\r\n")


def test_too_large(tmp_path):
    house = House(str(tmp_path), limits={"message-size": 70000})
    try:
        house.drop("fits", b"A: b\n\n" + b"x" * 60000)
        house.drop("file", b"A: b\n\n" + b"x" * 70000)
        house.drop("wire", b"A: b\n\n" + b"\n" * 60000)
        begun, begin = [], house.router.begin
        house.router.begin = lambda *arguments, **options: begun.append(arguments) or begin(
            *arguments, **options)
        house.look()
        assert len(begun) == 2, "what is too large by itself is not read"
        assert house.left("alice", "failed") == ["file", "wire"] and len(house.inbox()) == 1
        assert os.listdir(house.path("alice", "tmp")) == []
    finally:
        house.store.close()


def test_names_in_failed_are_kept(house, caplog):
    for _ in range(3):
        house.drop("n" * 255, b"")
        house.drop(b"\xff\nWARNING".decode("utf-8", "surrogateescape"), b"")
        house.look()
    assert all("\n" not in record.getMessage() for record in caplog.records)
    assert len(house.left("alice", "failed")) == 6
    assert len(house.log().splitlines()) == 6


def test_what_is_no_file(house, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(MESSAGE)
    drop = house.path("alice", "delivery")
    os.makedirs(drop)
    os.symlink(str(secret), os.path.join(drop, "link"))
    os.symlink("/nowhere", os.path.join(drop, "dangling"))
    os.symlink(str(tmp_path), os.path.join(drop, "cur"))
    os.mkfifo(os.path.join(drop, "pipe"))
    os.mkdir(os.path.join(drop, "folder"))
    with socket.socket(socket.AF_UNIX) as sock:
        here = os.open(drop, os.O_RDONLY)
        try:
            sock.bind("/proc/self/fd/%d/socket" % here)
        finally:
            os.close(here)
    house.look()
    assert house.left("alice", "failed") == ["cur", "dangling", "folder", "link", "pipe", "socket"]
    assert house.left() == ["failed"] and house.inbox() == [] and secret.read_bytes() == MESSAGE


@pytest.mark.parametrize("make",
                         [lambda path, secret: os.symlink(secret, path),
                          lambda path, _: os.mkfifo(path)])
def test_what_takes_the_place_of_a_file(house, tmp_path, monkeypatch, make):
    """Between the look and the opening: a link is not followed, a pipe not waited for."""
    secret = tmp_path / "secret"
    secret.write_bytes(MESSAGE)
    path = house.drop()
    check = files.Opened._check

    def swap(self, status):
        check(self, status)
        if os.path.isfile(path) and not os.path.islink(path):
            os.unlink(path)
            make(path, str(secret))
    monkeypatch.setattr(files.Opened, "_check", swap)
    looking = threading.Thread(target=house.look, args=(30,), daemon=True)
    looking.start()
    looking.join(20)
    assert not looking.is_alive(), "it waits for the pipe"
    assert house.inbox() == [] and house.left("alice", "failed") == ["one"]


def test_a_second_name_is_waited_for_and_then_refused(house):
    os.makedirs(house.path("alice", "delivery", "tmp"))
    for name in ("short", "long"):
        house.drop(".x")
        os.rename(house.path("alice", "delivery", ".x"),
                  house.path("alice", "delivery", "tmp", name))
        os.link(house.path("alice", "delivery", "tmp", name), house.path("alice", "delivery", name))
    house.look()
    assert house.left() == ["long", "short", "tmp"]
    os.unlink(house.path("alice", "delivery", "tmp", "short"))
    house.look(1)
    assert house.left() == ["long", "tmp"] and len(house.inbox()) == 1
    house.look(10)
    assert house.left("alice", "failed") == ["long"] and len(house.inbox()) == 1


def test_files_of_strangers(house, monkeypatch):
    house.drop()
    house.drop("two")
    euid, fstat, taken = os.geteuid(), os.fstat, os.stat(
        house.path("alice", "delivery", "one")).st_ino

    def other_owner(function):
        def changed(*arguments, **options):
            status = function(*arguments, **options)
            if status.st_ino != taken:
                return status
            values = list(status)
            values[4] = euid + 77
            return os.stat_result(values,
                                  {"st_mtime_ns": status.st_mtime_ns, "st_mtime": status.st_mtime,
                                   "st_ctime": status.st_ctime})
        return changed
    monkeypatch.setattr(os, "fstat", other_owner(fstat))
    house.look()
    assert house.left("alice", "failed") == ["one"] and "not the folder's owner" in house.log()
    assert len(house.inbox()) == 1


def test_no_right_to_read(house, monkeypatch):
    path = house.drop()
    os.chmod(path, 0)
    if os.geteuid() == 0:
        opens = os.open

        def refuse(name, flags, *arguments, **options):
            if name == "one" and flags == files._FILE:
                raise PermissionError(13, "Permission denied")
            return opens(name, flags, *arguments, **options)
        monkeypatch.setattr(os, "open", refuse)
    house.look()
    assert house.left("alice", "failed") == ["one"] and "no permission to read" in house.log()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_failed_belongs_to_the_user_where_the_server_is_root(house):
    house.drop(data=b"")
    for path in (house.path("alice", "delivery"), house.path("alice", "delivery", "one")):
        os.chown(path, 4711, 4712)
    house.look()
    status = os.stat(house.path("alice", "delivery", "failed"))
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (4711, 4712, 0o700)
    house.drop("mine")
    os.chown(house.path("alice", "delivery", "mine"), 4711, 4712)
    house.drop("stranger")
    os.chown(house.path("alice", "delivery", "stranger"), 4713, 4712)
    house.look()
    assert len(house.inbox()) == 1 and house.left("alice", "failed") == ["one", "stranger"]


def test_failed_that_can_not_be_made_keeps_the_file(house, caplog):
    os.makedirs(house.path("alice", "delivery"))
    os.symlink("/tmp", house.path("alice", "delivery", "failed"))
    house.drop(data=b"")
    house.drop("two")
    house.look(30)
    assert house.left() == ["failed", "one"] and len(house.inbox()) == 1
    assert caplog.text.count("one: not filed") == 2


# What fails for now

def test_what_fails_for_now_is_tried_again_less_and_less_often(house, monkeypatch, caplog):
    failing = fail(house, monkeypatch, errors.NoSpace())
    house.drop()
    house.drop("one", user="bert")
    house.look(100)
    assert house.left() == ["one"] and len(house.inbox("bert")) == 1
    assert caplog.text.count("not filed") in (3, 4), "after 10, 20, 40 seconds"
    house.look(40, 1000.0)
    assert caplog.text.count("not filed") <= 44
    failing.clear()
    house.look(2, 1000.0)
    assert len(house.inbox()) == 1 and house.left() == []


def test_one_that_always_fails_does_not_hold_up_others(house, monkeypatch):
    house.drop("poison", b"Subject: poison\n\n")
    begin = house.router.begin

    def poisoned(envelope, origin, destinations, **options):
        incoming = begin(envelope, origin, destinations, **options)
        return Poisoned(incoming)

    class Poisoned:
        def __init__(self, incoming):
            self.incoming, self.size, self.data = incoming, 0, b""

        def write(self, data):
            self.data += data
            self.incoming.write(data)

        def finish(self, apart):
            if b"poison" in self.data:
                raise RuntimeError("poison")
            return self.incoming.finish(apart)

        def abort(self):
            self.incoming.abort()
    monkeypatch.setattr(house.router, "begin", poisoned)
    house.look()
    for number in range(20):
        house.drop(str(number))
        house.look()
        assert len(house.inbox()) == number + 1
    assert house.left() == ["poison"]


def test_one_that_fails_alone_makes_no_other_wait(house, monkeypatch):
    house.drop()
    begin = house.router.begin
    monkeypatch.setattr(house.router, "begin", lambda *_, **__: 1 / 0)
    house.look(75)
    monkeypatch.setattr(house.router, "begin", begin)
    house.drop("two")
    house.look()
    assert house.left() == ["one"] and len(house.inbox()) == 1


def test_a_full_disk_is_not_asked_by_each_file(house, monkeypatch, caplog):
    fail(house, monkeypatch, errors.NoSpace())
    for number in range(50):
        house.drop(str(number))
    house.look(100)
    assert len(house.left()) == 50 and caplog.text.count("not filed") < 6


# Fairness

def test_one_user_gets_some_filed_and_the_next_ones_turn_comes(house, monkeypatch):
    monkeypatch.setattr(service, "_MOST_FILES", 3)
    for number in range(10):
        house.drop(str(number))
    house.drop(user="zoe")
    house.look(2)
    assert len(house.inbox()) == 3 and len(house.inbox("zoe")) == 1
    assert house.drops._watches[house.path("alice")].wait == 0
    house.look(3)
    assert len(house.inbox()) == 10


def test_large_ones_count_more(house, monkeypatch):
    monkeypatch.setattr(service, "_MOST_OCTETS", 100)
    for number in range(4):
        house.drop(str(number), b"A: b\n\n" + b"x" * 100)
    house.look(2)
    assert len(house.inbox()) == 1
    house.look(3)
    assert len(house.inbox()) == 4


def test_a_crowd_of_files_has_its_turn(house, monkeypatch):
    monkeypatch.setattr(watch, "_MOST", 4)
    for number in range(10):
        house.drop(str(number))
    house.look(10)
    assert len(house.inbox()) == 10 and house.left() == []


# Where a drop folder may be

def settings_of(house, text):
    with open(house.path("alice", "mail.jcfg"), "w") as file:
        file.write('{"delivery": "%s"}' % text)


def test_a_link_inside_the_owners_folder(house):
    house.drop()
    os.rename(house.path("alice", "delivery"), os.path.join(house.root.path, "alice", "elsewhere"))
    os.symlink("../elsewhere", house.path("alice", "delivery"))
    house.look()
    assert len(house.inbox()) == 1


@pytest.mark.parametrize("target",
                         ["../../bert/mail", "../../bert/mail/delivery", "../../..", "/etc",
                          "../../device/system/mail"])
def test_a_link_that_leads_to_others(house, caplog, target):
    house.drop(user="bert", name=".one")
    os.symlink(target, house.path("alice", "delivery"))
    house.look(200)
    assert caplog.text.count("is not used as a drop folder: it is outside") == 1
    assert not os.path.exists(house.path("bert", "delivery", "failed"))


def test_a_mail_folder_that_becomes_a_link_to_anothers(house, caplog):
    house.drop(user="bert")
    house.drops.look()
    os.rename(house.path("alice"), house.path("alice") + ".away")
    os.symlink("../bert/mail", house.path("alice"))
    house.look()
    assert b"Delivered-To: bert@example.org\r\n" in house.inbox("bert")[0]
    assert len(house.inbox("bert")) == 1
    assert "alice/mail/delivery is not used as a drop folder: it is outside" in caplog.text


@pytest.mark.parametrize("where",
                         ["/alice/mail", "/alice", "/alice/mail/new", "/alice/mail/.Lists",
                          "/alice/mail/.Lists/cur"])
def test_mail_that_is_filed_is_not_filed_again(house, caplog, where):
    house.drop()
    house.look()
    os.makedirs(house.path("alice", ".Lists", "cur"))
    settings_of(house, where)
    house.pass_by(10)
    house.look(5)
    assert len(house.inbox()) == 1 and os.path.exists(house.path("alice", "mail.jcfg"))
    assert caplog.text.count("is not used as a drop folder") == 1


@pytest.mark.parametrize("where",
                         ["/device/system/mail", "/device/system", "/device/system/mail/queue",
                          "/device/system/mail/queue/in"])
def test_the_servers_own_files_are_no_mail(tmp_path, caplog, where):
    house = House(str(tmp_path), domains={"example.org": {"root": "/device/mail"}})
    try:
        os.makedirs(house.path("device"))
        place = os.path.join(house.root.path, *where.split("/"))
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, "a.key"), "wb") as file:
            file.write(MESSAGE)
        with open(house.path("device", "mail.jcfg"), "w") as file:
            file.write('{"delivery": "%s"}' % where)
        house.look(100)
        assert os.listdir(place).count("a.key") == 1
        assert caplog.text.count("it overlaps a folder of the server") == 1
    finally:
        house.store.close()


def test_a_link_that_is_put_in_the_way_is_not_followed(house, monkeypatch):
    """Between the check of the path and its opening."""
    house.drop(user="bert")
    house.drop()
    opened = service.Opened

    def swap(base, inner):
        path = house.path("alice", "delivery")
        if not os.path.islink(path):
            os.rename(path, path + ".away")
            os.symlink("../../bert/mail/delivery", path)
        return opened(base, inner)
    monkeypatch.setattr(service, "Opened", swap)
    house.drops._look_at(house.drops._watches.setdefault(house.path("alice"), watch.Watch()),
                         house.path("alice"),
                         house.directory.mail_folders())
    assert house.left("bert") == ["one"] and house.inbox() == []


def test_a_folder_from_which_nothing_can_be_removed(house, monkeypatch, caplog):
    house.drop()
    monkeypatch.setattr(files.Opened, "is_writable", lambda self: False)
    house.look(5)
    assert house.inbox() == [] and "cannot be removed" in caplog.text


def test_a_file_where_the_folder_should_be(house, caplog):
    with open(house.path("alice", "delivery"), "w"):
        pass
    house.drop(user="bert")
    house.look(5)
    assert len(house.inbox("bert")) == 1
    assert caplog.text.count("is not used as a drop folder: Not a directory") == 1


def test_users_who_are_gone_are_forgotten(house):
    house.drop()
    house.look(1)
    with_alice = house.directory.mail_folders()
    house.directory.mail_folders = lambda: {house.path("bert"): with_alice[house.path("bert")]}
    house.look(3)
    assert list(house.drops._watches) == [house.path("bert")] and house.left() == ["one"]


# The router

def test_what_the_router_is_told(house, monkeypatch):
    told = []
    begin = house.router.begin

    def noted(envelope, origin, destinations, may_refuse, was_here):
        told.append(
            (str(envelope.sender), [str(each.address) for each in envelope.recipients], may_refuse,
             origin.protocol))
        return begin(envelope, origin, destinations, may_refuse=may_refuse, was_here=was_here)
    monkeypatch.setattr(house.router, "begin", noted)
    house.drop()
    house.look()
    assert told == [("sender@example.net", ["alice@example.org"], False, "")]


def test_users_filters_are_asked(house):
    sent = []
    house.router.screening = Screening(house.directory, None, lambda: "example.org",
                                       lambda *notice: sent.append(notice))
    with open(house.path("alice", "filters.jcfg"), "w") as file:
        file.write(
            '{"filters": [{"type": "match", "content": "gone", "action": "reject:no"},'
            ' {"type": "match", "content": "x", "action": "accept:Lists"}]}')
    house.drop()
    house.drop("two", b"Subject: gone\n\n")
    house.look()
    assert house.left() == [] and house.inbox() == [] and sent == []
    assert len(os.listdir(house.path("alice", ".Lists", "new"))) == 1


# The thread

def test_the_thread_files_and_ends(house, monkeypatch):
    removed, remove = threading.Event(), files.Opened.remove

    def noted(*arguments):
        try:
            return remove(*arguments)
        finally:
            removed.set()
    monkeypatch.setattr(files.Opened, "remove", noted)
    house.drop()
    drops = DropFolders(house.directory, house.router, lambda: house.time + 10, period=0.05)
    drops.start()
    try:
        assert removed.wait(10), "nothing was filed"
        assert [thread.name for thread in threading.enumerate()].count("phenmail-delivery") == 1
    finally:
        drops.stop(10)
    assert "phenmail-delivery" not in [thread.name for thread in threading.enumerate()]
    assert len(house.inbox()) == 1 and house.left() == []


def test_a_stop_leaves_what_is_not_filed(house):
    house.drop()
    house.drops.look()
    house.pass_by()
    house.drops.stop()
    house.drops.look()
    assert house.left() == ["one"] and house.inbox() == []


def test_a_stop_in_the_middle_of_a_message_leaves_it(house, monkeypatch):
    house.drop(data=MESSAGE + b"x" * 300000)
    begin = house.router.begin
    monkeypatch.setattr(house.router, "begin",
                        lambda *arguments, **options: house.drops.stop()
                        or begin(*arguments, **options))
    house.look()
    assert house.left() == ["one"] and house.inbox() == []
    assert os.listdir(house.path("alice", "tmp")) == []
