"""A user's log: lines, bounds, and a folder that nobody trusts."""
import os
import threading

import pytest

from phenmail_protocols.filters.user_log import FILE, OLD_FILE, UserLog


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path)


def content(folder, name=FILE):
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


def test_a_line_has_a_moment_and_what_it_is_about(folder):
    log = UserLog(lambda: 1782000000.7)
    assert log.tell(folder, ("one", "two"), "1a.2b") and log.tell(folder, ("three",))
    lines = content(folder).decode().splitlines()
    assert [line[26:] for line in lines] == ["1a.2b: one", "1a.2b: two", "three"]
    assert lines[0][:8] == "2026-06-" and lines[0][19] == " " and lines[0][20] in "+-"
    assert os.stat(os.path.join(folder, FILE)).st_mode & 0o777 == 0o600


def test_no_control_character_gets_in_and_lines_end(folder):
    UserLog().tell(folder, ("a\r\nb\0c\x1b[31m\u2028\u202ed\ud800" + "x" * 10000,))
    data = content(folder)
    assert data.count(b"\n") == 1 and len(data) < 600
    assert data.decode("utf-8").rstrip("\n").isprintable()


def test_two_generations_of_bounded_size(folder):
    log = UserLog(most=1000)
    for number in range(200):
        log.tell(folder, ("line %d" % number,))
    new, old = content(folder), content(folder, OLD_FILE)
    assert sorted(os.listdir(folder)) == [FILE, OLD_FILE]
    assert 0 < len(new) <= 1000 and 900 < len(old) <= 1000
    assert [line.split()[-1]
            for line in (old
                         + new).decode().splitlines()] == [str(number)
                                                           for number in range(200)][-len(
        (old + new).splitlines()):]


def test_a_line_larger_than_the_file_is_written(folder):
    log = UserLog(most=10)
    assert log.tell(folder, ("a" * 100,)) and log.tell(folder, ("b" * 100,))
    assert b"b" in content(folder) and b"a" * 100 in content(folder, OLD_FILE)


@pytest.mark.parametrize("make", [
    lambda path, other: os.symlink(other, path),
    lambda path, other: os.link(other, path),
    lambda path, other: os.mkfifo(path),
    lambda path, other: os.mkdir(path),
], ids=["symlink", "hard link", "pipe", "folder"])
def test_what_is_no_log_is_left_alone(tmp_path, make):
    folder, other = str(tmp_path / "mail"), str(tmp_path / "other")
    os.mkdir(folder)
    with open(other, "w") as file:
        file.write("mine")
    make(os.path.join(folder, FILE), other)
    assert not UserLog().tell(folder, ("line",))
    with open(other) as file:
        assert file.read() == "mine"


def test_a_link_in_place_of_the_old_log_is_replaced(tmp_path):
    folder, other = str(tmp_path / "mail"), str(tmp_path / "other")
    os.mkdir(folder)
    with open(other, "w") as file:
        file.write("mine")
    os.symlink(other, os.path.join(folder, OLD_FILE))
    log = UserLog(most=50)
    for _ in range(5):
        assert log.tell(folder, ("line",))
    with open(other) as file:
        assert file.read() == "mine"
    assert not os.path.islink(os.path.join(folder, OLD_FILE))


def test_no_folder_and_no_time_hinder_nobody(folder):
    assert not UserLog().tell(os.path.join(folder, "gone"), ("line",))
    assert not UserLog(lambda: 1 / 0).tell(folder, ("line",))


def test_threads_lose_no_line(folder):
    log = UserLog(most=20000)
    threads = [threading.Thread(target=lambda: [log.tell(folder, ("line",)) for _ in range(50)])
               for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (content(folder) + (content(folder, OLD_FILE)
                               if os.path.exists(os.path.join(folder, OLD_FILE))
                               else b"")).count(b"line\n") == 400
