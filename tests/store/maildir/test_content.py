"""Reading a message as it is served, whole and in pieces."""
import os

from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.store.maildir import content


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
    size = content.served_size(path)
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
