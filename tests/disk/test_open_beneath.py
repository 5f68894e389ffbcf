"""Files in other users' folders: no link is followed, nobody waits, owner and mode stay."""
import errno
import os
import stat
import threading

import pytest

from phenmail_protocols.disk import open_beneath


@pytest.fixture
def house(tmp_path):
    (tmp_path / "alice" / "mail").mkdir(parents=True)
    (tmp_path / "bob" / "mail").mkdir(parents=True)
    (tmp_path / "alice" / "mail" / "mine").write_bytes(b"mine")
    (tmp_path / "bob" / "mail" / "mine").write_bytes(b"bob's")
    return tmp_path


def at(house, *parts):
    return os.path.join(str(house), *parts)


def read(house, *parts, most=100):
    return open_beneath.read(at(house, "alice"), at(house, "alice", *parts), most)[0]


def test_a_file_is_read_whole(house):
    assert read(house, "mail", "mine") == b"mine"
    assert read(house, "mail", "mine", most=4) == b"mine"
    with pytest.raises(OSError) as caught:
        read(house, "mail", "mine", most=3)
    assert caught.value.errno == errno.EFBIG


@pytest.mark.parametrize("number, put", [
    (errno.ELOOP, lambda house: os.symlink(at(house, "bob", "mail", "mine"),
                                           at(house, "alice", "x"))),
    (errno.ELOOP, lambda house: os.symlink("mail/mine", at(house, "alice", "x"))),
    (errno.EINVAL, lambda house: os.mkfifo(at(house, "alice", "x"))),
    (errno.EINVAL, lambda house: os.mkdir(at(house, "alice", "x"))),
    (errno.ENOENT, lambda house: None)])
def test_anything_but_a_file_is_refused_at_once(house, number, put):
    put(house)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(OSError) as caught:
        read(house, "x")
    assert caught.value.errno == number
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("parts", [("alice", "link", "mine"), ("link", "mail", "mine")])
def test_no_folder_on_the_way_is_a_link(house, parts):
    os.symlink(at(house, "bob", "mail"), at(house, "alice", "link"))
    os.symlink(at(house, "bob"), at(house, "link"))
    with pytest.raises(OSError) as caught:
        open_beneath.read(at(house, parts[0]), at(house, *parts), 100)
    assert caught.value.errno in (errno.ELOOP, errno.ENOTDIR)


@pytest.mark.parametrize("parts", [("bob", "mail", "mine"), ("alice",), ("alice2", "mine"), ()])
def test_a_path_outside_of_the_folder_is_refused(house, parts):
    with pytest.raises(OSError) as caught:
        open_beneath.read(at(house, "alice"), at(house, *parts), 100)
    assert caught.value.errno == errno.EINVAL


def test_a_file_is_replaced_and_keeps_its_mode(house):
    path = at(house, "alice", "mail", "mine")
    os.chmod(path, 0o640)
    _, status = open_beneath.read(at(house, "alice"), path, 100)
    open_beneath.replace(at(house, "alice"), path, b"new", status)
    now = os.stat(path)
    assert (now.st_uid, now.st_gid) == (status.st_uid, status.st_gid)
    assert stat.S_IMODE(now.st_mode) == 0o640
    assert read(house, "mail", "mine") == b"new"
    assert os.listdir(at(house, "alice", "mail")) == ["mine"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0,
                    reason="only root can give files away")
def test_the_owner_stays_when_root_writes(house):
    path = at(house, "alice", "mail", "mine")
    os.chown(path, 4711, 4712)
    _, status = open_beneath.read(at(house, "alice"), path, 100)
    open_beneath.replace(at(house, "alice"), path, b"new", status)
    assert (os.stat(path).st_uid, os.stat(path).st_gid) == (4711, 4712)


def test_nothing_is_written_through_a_link(house):
    path = at(house, "alice", "mail", "mine")
    _, status = open_beneath.read(at(house, "alice"), path, 100)
    os.rename(at(house, "alice", "mail"), at(house, "alice", "old"))
    os.symlink(at(house, "bob", "mail"), at(house, "alice", "mail"))
    with pytest.raises(OSError):
        open_beneath.replace(at(house, "alice"), path, b"new", status)
    with open(at(house, "bob", "mail", "mine"), "rb") as file:
        assert file.read() == b"bob's"
    assert os.listdir(at(house, "bob", "mail")) == ["mine"]


def test_folder_status_follows_no_link(house):
    path = at(house, "alice", "mail")
    assert open_beneath.folder_status(path)[:2] == os.stat(path)[:2]
    assert open_beneath.folder_status("/")[:2] == os.stat("/")[:2]
    os.symlink("bob", at(house, "carol"))
    os.symlink(at(house, "bob", "mail"), at(house, "alice", "link"))
    for parts in (("carol", "mail"), ("alice", "link"), ("alice", "mail", "mine"),
                  ("alice", "gone")):
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        with pytest.raises(OSError):
            open_beneath.folder_status(at(house, *parts))
        assert not before or len(os.listdir("/proc/self/fd")) == before


def test_a_failed_replacement_leaves_only_the_old_file(house, monkeypatch):
    path = at(house, "alice", "mail", "mine")
    _, status = open_beneath.read(at(house, "alice"), path, 100)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "full")
    monkeypatch.setattr(open_beneath.os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        open_beneath.replace(at(house, "alice"), path, b"new", status)
    monkeypatch.undo()
    assert read(house, "mail", "mine") == b"mine"
    assert os.listdir(at(house, "alice", "mail")) == ["mine"]


def test_parallel_replacements_do_not_mix(house):
    path = at(house, "alice", "mail", "mine")
    _, status = open_beneath.read(at(house, "alice"), path, 100)
    threads = [threading.Thread(target=open_beneath.replace,
                                args=(at(house, "alice"), path, letter * 50000, status))
               for letter in (b"a", b"b", b"c", b"d")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    data = read(house, "mail", "mine", most=100000)
    assert len(data) == 50000 and len(set(data)) == 1
    assert os.listdir(at(house, "alice", "mail")) == ["mine"]
