"""The UID list: reading it back, and what a crash leaves of it."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenmail_protocols.store.maildir import uidlist

from ..conftest import read_uid_list


@given(st.binary(max_size=300))
def test_the_uid_list_parser_never_raises(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("list")
    (folder / uidlist.NAME).write_bytes(data)
    header, lines = read_uid_list(folder)
    assert header is None or header.uidvalidity > 0
    assert all(0 < uid < 1 << 31 for uid in lines.values())


def test_the_uid_list_comes_back_and_its_torn_tail_does_not(tmp_path):
    header = uidlist.Header(7, 5, 1025, 9, "1.2", "0a" * 16, b" Xabc")
    uidlist.UidList(str(tmp_path)).replace(header, [(1, "a"), (2, "b,S=1"), (3, "a")])
    assert read_uid_list(tmp_path) == (header, {"a": 3, "b,S=1": 2})
    with open(str(tmp_path / uidlist.NAME), "ab") as file:
        file.write(b"4 :torn")
    assert read_uid_list(tmp_path)[1] == {"a": 3, "b,S=1": 2}
    (tmp_path / uidlist.NAME).write_bytes(b"\0" * 40)
    assert read_uid_list(tmp_path)[0] is None


@pytest.mark.parametrize("tail", [
    b"4 :torn", b"\0" * 40, b"\0" * 4096, b"\0" * 20000, b"4 :to" + b"\0" * 9000, b"x" * 4097])
def test_a_torn_end_spoils_no_later_line(tmp_path, tail):
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
