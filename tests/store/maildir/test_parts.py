"""Small parts: folder names, the UID list, reading as served, columns."""
import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.store import errors
from phenmail_protocols.store.columns import Columns
from phenmail_protocols.store.maildir import content, folders, listing, uidlist

from ..conftest import read_uid_list


@pytest.mark.parametrize("name, folder", [
    ("INBOX", ""), ("inbox", ""), ("Sent", ".Sent"),
    ("Lists/dev", ".Lists.dev"), ("INBOX/a", ".INBOX.a"),
    ("a.b", ".a\\2eb"), ("a\\b", ".a\\5cb"), ("~x", ".\\7ex"),
    ("Entwürfe", ".Entw&APw-rfe"), ("a&b", ".a&-b"), ("..", ".\\2e\\2e")])
def test_names_and_folders(name, folder):
    assert folders.folder_of(name) == folder
    assert folders.folder_of(folders.name_of(folder)) == folder


@pytest.mark.parametrize("folder", [".a&b", ".\xfc", "..", ".a..b", ".a/"])
def test_folders_that_are_no_mailbox(folder):
    assert folders.name_of(folder) is None


@given(st.text(min_size=1, max_size=60))
def test_every_name_is_refused_or_comes_back(name):
    try:
        folder = folders.folder_of(name)
    except errors.InvalidName:
        return
    assert "/" not in folder and folder not in (".", "..")
    assert len(os.fsencode(folder)) <= 255
    assert folders.name_of(folder) == folders.canonical(name)


@given(st.binary(max_size=300))
def test_the_uid_list_parser_never_raises(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("list")
    (folder / uidlist.NAME).write_bytes(data)
    header, lines = read_uid_list(folder)
    assert header is None or header.uidvalidity > 0
    assert all(0 < uid < 1 << 31 for uid in lines.values())


def test_the_uid_list_comes_back_and_its_torn_tail_does_not(tmp_path):
    header = uidlist.Header(7, 5, 1025, 9, "1.2", b" Gabc")
    uidlist.UidList(str(tmp_path)).replace(header, [(1, "a"), (2, "b,S=1"), (3, "a")])
    assert read_uid_list(tmp_path) == (header, {"a": 3, "b,S=1": 2})
    with open(str(tmp_path / uidlist.NAME), "ab") as file:
        file.write(b"4 :torn")
    assert read_uid_list(tmp_path)[1] == {"a": 3, "b,S=1": 2}
    (tmp_path / uidlist.NAME).write_bytes(b"\0" * 40)
    assert read_uid_list(tmp_path)[0] is None


@pytest.mark.parametrize("tail", [
    b"4 :torn", b"\0" * 40, b"\0" * 4096, b"\0" * 20000, b"4 :to" + b"\0" * 9000, b"x" * 4097])
def test_what_a_crash_left_at_the_end_spoils_no_later_line(tmp_path, tail):
    header = uidlist.Header(7, 5, 1025, 9)
    uidlist.UidList(str(tmp_path)).replace(header, [(1, "a"), (2, "b")])
    with open(str(tmp_path / uidlist.NAME), "ab") as file:
        file.write(tail)
    for line in (3, "c"), (4, "d"):
        listed = uidlist.UidList(str(tmp_path))
        assert listed.read() == header
        listed.append([line])
        listed.close()
    assert read_uid_list(tmp_path) == (header, {"a": 1, "b": 2, "c": 3, "d": 4})


def test_a_list_without_a_line_end_is_lost(tmp_path):
    (tmp_path / uidlist.NAME).write_bytes(b"\0" * 9000)
    assert uidlist.UidList(str(tmp_path)).read() is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"ab"]), max_size=30),
       st.integers(0, 40), st.integers(0, 40))
def test_chunks_are_a_slice_of_the_whole(tmp_path_factory, pieces, start,
                                         length):
    data = b"".join(pieces)
    folder = tmp_path_factory.mktemp("content")
    path = str(folder / "file")
    with open(path, "wb") as file:
        file.write(data)
    size = len(data) + listing._bare_line_ends(io.BytesIO(data))
    old, content.CHUNK = content.CHUNK, 3
    try:
        positions = content.Positions()
        with content.Content(path, size, positions) as message:
            wire = message.whole()
            assert len(wire) == size
            assert b"".join(message.chunks()) == wire
            for _ in range(2):
                assert b"".join(message.chunks(start, length)) == (
                    wire[start:start + length])
    finally:
        content.CHUNK = old


def test_many_small_pieces_of_a_big_message_are_read_once_or_twice(
        tmp_path, monkeypatch):
    """Also where a chunk holds several: the place where it began stays."""
    wire = b"line\r\n" * 10000
    path = tmp_path / "file"
    path.write_bytes(wire.replace(b"\r\n", b"\n"))
    monkeypatch.setattr(content, "CHUNK", 500)
    read, pread = [], os.pread
    monkeypatch.setattr(
        content.os, "pread",
        lambda file, most, at: read.append(most) or pread(file, most, at))
    with content.Content(str(path), len(wire), content.Positions()) as message:
        for start in range(0, len(wire), 100):
            assert b"".join(message.chunks(start, 100)) == (
                wire[start:start + 100])
    assert len(read) <= 2 * len(wire) // 100


@given(st.lists(st.integers(1, 200), unique=True),
       st.lists(st.integers(1, 200), unique=True))
def test_rows_are_those_asked_for(present, asked):
    present.sort()
    asked.sort()
    columns = Columns([(uid, "S" * (uid % 2), uid, uid * 10, uid)
                       for uid in present], frozenset)
    rows = columns.rows(asked)
    assert list(rows.uids) == [uid for uid in asked if uid in present]
    assert list(rows.sizes) == [uid * 10 for uid in rows.uids]
