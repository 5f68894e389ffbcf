"""The file that says what was copied."""
import os

import pytest

from phenmail_protocols.fetch.adopting.ledger import Ledger, Line, heads

DIGEST = "ab" * 32
NAME = ("me@there", "B\u00fccher/x", 7, "B\u00fccher/x")


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path)


def path(folder):
    name, = os.listdir(folder)
    return os.path.join(folder, name)


def test_lines_stay(folder):
    lines = [Line(1, 10, DIGEST), Line(4000000000, 20, "?"), Line(3, 30, "-", "too  \n large \ud800")]
    with Ledger(folder, *NAME) as ledger:
        ledger.add(lines)
        assert [1 in ledger, 3 in ledger, 2 in ledger, 4000000000 in ledger] == [
            True, False, False, True]
    with Ledger(folder, *NAME) as ledger:
        assert list(ledger.lines()) == [lines[0], Line(3, 30, "-", "too large ?"), lines[1]]
        ledger.add([Line(3, 30, DIGEST, "as x y")])
        assert 3 in ledger and ledger.line(3) == Line(3, 30, DIGEST, "as x y")
        assert ledger.line(2) is None and ledger.line(4000000001) is None
    with Ledger(folder, *NAME) as ledger:
        assert ledger.line(3).digest == DIGEST and 3 in ledger
    assert [head["target"] for head in heads(folder, "me@there")] == ["B\u00fccher/x"]
    assert heads(folder, "other@there") == []


@pytest.mark.parametrize("end", [b"5", b"5 10 ", b"5 10 %s" % (b"ab" * 32), b"\xff\xfe", b"x" * 70000])
def test_a_half_line_is_removed(folder, end):
    with Ledger(folder, *NAME) as ledger:
        ledger.add([Line(1, 10, DIGEST)])
    with open(path(folder), "ab") as file:
        file.write(end)
    with Ledger(folder, *NAME) as ledger:
        assert 1 in ledger and 5 not in ledger
        ledger.add([Line(6, 10, DIGEST)])
    with Ledger(folder, *NAME) as ledger:
        assert [line.uid for line in ledger.lines()] == [1, 6]


def test_a_half_head(folder):
    with Ledger(folder, *NAME):
        pass
    with open(path(folder), "r+b") as file:
        file.truncate(5)
    assert heads(folder, NAME[0]) == []
    with Ledger(folder, *NAME) as ledger:
        ledger.add([Line(1, 10, DIGEST)])
    with Ledger(folder, *NAME) as ledger:
        assert 1 in ledger
    assert len(heads(folder, NAME[0])) == 1


def test_other_validities_have_other_files(folder):
    for validity in 7, 8:
        with Ledger(folder, NAME[0], NAME[1], validity, "x") as ledger:
            ledger.add([Line(validity, 10, DIGEST)])
    assert sorted(head["validity"] for head in heads(folder, NAME[0])) == [7, 8]
