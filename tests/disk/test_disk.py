"""Durable writes, locks and names."""
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenmail_protocols.disk import atomic, locks, names


def test_write_file_replaces_whole_and_leaves_no_temporary(tmp_path):
    path = str(tmp_path / "file")
    atomic.write_file(path, b"one")
    atomic.write_file(path, b"two")
    assert open(path, "rb").read() == b"two"
    assert os.listdir(str(tmp_path)) == ["file"]
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_write_file_that_fails_keeps_the_old_bytes(tmp_path, monkeypatch):
    path = str(tmp_path / "file")
    atomic.write_file(path, b"one")

    def fail(_):
        raise OSError(5, "the disk is broken")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError):
        atomic.write_file(path, b"two")
    assert open(path, "rb").read() == b"one"
    assert os.listdir(str(tmp_path)) == ["file"]


def test_threads_share_a_sync(tmp_path, monkeypatch):
    flushes = []
    begun, go_on = threading.Event(), threading.Event()

    def slow(path):
        flushes.append(path)
        begun.set()
        assert go_on.wait(10)
    monkeypatch.setattr(atomic, "sync_directory", slow)
    sync = atomic.DirectorySync(str(tmp_path))
    threads = [threading.Thread(target=sync.sync) for _ in range(6)]
    threads[0].start()
    assert begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    while sum(thread.is_alive() for thread in threads) < 6:
        pass
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert 2 <= len(flushes) < 6, "the late threads should share a sync"


def test_a_failed_sync_raises(tmp_path):
    sync = atomic.DirectorySync(str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError):
        sync.sync()


def test_a_lock_excludes_and_times_out(tmp_path):
    path = str(tmp_path / "lock")
    with locks.FileLock(path, 1):
        with pytest.raises(locks.LockTimeout):
            with locks.FileLock(path, 0):
                pass
    with locks.FileLock(path, 0):
        pass


@given(st.text(max_size=80))
def test_any_name_becomes_one_safe_component_and_comes_back(name):
    try:
        component = names.encode(name)
    except ValueError:
        return
    assert "/" not in component and not component.startswith(".")
    assert names.decode(component) == name


def test_two_names_never_share_a_component():
    assert names.encode("a%2fb") != names.encode("a/b")
    with pytest.raises(ValueError):
        names.decode("A%2F")


@pytest.mark.parametrize("keep", [True, False])
def test_a_lock_whose_file_was_replaced_still_excludes(tmp_path, keep):
    path = str(tmp_path / "lock")
    lock = locks.FileLock(path, 1, keep=keep)
    with lock:
        pass
    os.unlink(path)
    with lock:
        with pytest.raises(locks.LockTimeout):
            with locks.FileLock(path, 0):
                pass
    lock.close()


def test_a_missing_lock_file_is_not_made_without_create(tmp_path):
    path = str(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        locks.FileLock(path, 0, create=False).acquire()
    assert not os.path.exists(path)
    open(path, "w").close()
    with locks.FileLock(path, 0, create=False):
        with pytest.raises(locks.LockTimeout):
            locks.FileLock(path, 0, create=False).acquire()


def test_only_old_temporary_files_are_removed(tmp_path):
    left = [".mail.jcfg.12.345.tmp", ".srs.key.1.2.tmp", "." + "a" * 16 + "." + "0f" * 8 + ".tmp"]
    others = ["notes.12.345.tmp", ".mine.tmp", ".a.1.tmp", "message", ".a.1.2.tmp.old"]
    for name in left + others:
        (tmp_path / name).write_bytes(b"x")
    atomic.remove_stale(str(tmp_path))
    assert sorted(os.listdir(str(tmp_path))) == sorted(left + others)
    for name in left + others:
        os.utime(str(tmp_path / name), (0, 0))
    atomic.remove_stale(str(tmp_path))
    assert sorted(os.listdir(str(tmp_path))) == sorted(others)
    atomic.remove_stale(str(tmp_path / "nowhere"))
