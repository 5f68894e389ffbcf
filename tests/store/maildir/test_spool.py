"""Lines that are sorted, or kept in parts, in temporary files."""
import random

import pytest

from phenmail_protocols.store.maildir import spool


@pytest.fixture(params=["disk", "memory"], autouse=True)
def disk(request, monkeypatch):
    """Small runs and blocks; on a full disk, memory does as well."""
    monkeypatch.setattr(spool, "_RUN", 10)
    monkeypatch.setattr(spool, "_TOGETHER", 3)
    monkeypatch.setattr(spool, "_BLOCK", 32)
    if request.param == "memory":
        def fails(*_):
            raise OSError(28, "no space left")
        monkeypatch.setattr(spool.os, "pwrite", fails)


def lines(count):
    chosen = random.Random(count)
    return ["%06d\0name-ä\udcff\0:2,S" % chosen.randrange(1000) for _ in range(count)]


@pytest.mark.parametrize("count", [0, 1, 9, 10, 41, 200])
def test_lines_come_in_order(tmp_path, count):
    given, sorted_lines = lines(count), spool.SortedLines(str(tmp_path))
    for at in range(0, count, 3):
        sorted_lines.extend(given[at:at + 3])
    assert sorted_lines.count == count
    assert list(sorted_lines) == sorted(given)
    assert not list(tmp_path.iterdir())  # the file has no name


def test_parts_keep_their_lines_in_the_order_of_adding(tmp_path):
    given, parts = lines(500), spool.Parts(str(tmp_path))
    for number, line in enumerate(given):
        parts.add(number * number, line)
    for part in range(spool.PARTS):
        wanted = [line for number, line in enumerate(given)
                  if number * number % spool.PARTS == part]
        assert list(parts.take(part)) == wanted
        assert list(parts.take(part)) == []
    assert not list(tmp_path.iterdir())
