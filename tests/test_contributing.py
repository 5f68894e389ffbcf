"""CONTRIBUTING.txt is true: rooms, floors, and the files that it names."""
import os
import re

from tests.test_floors import FLOORS

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(TOP, "phenmail_protocols")

with open(os.path.join(TOP, "CONTRIBUTING.txt"), encoding="utf-8") as _file:
    TEXT = _file.read()


def test_rooms_and_floors():
    shown, floor = {}, None
    for number, room in re.findall(r"^    (\d| )  ([a-z0-9_]+)  +\S", TEXT, re.MULTILINE):
        floor = int(number) if number.strip() else floor
        shown[room] = floor
    assert shown == FLOORS


def test_every_room_is_a_folder_or_a_file():
    for room in set(FLOORS) - {"phenmail", "fetch"}:
        assert any(os.path.exists(os.path.join(PROGRAM, room + end)) for end in ("", ".py")), room
    folders = {name for name in os.listdir(PROGRAM)
               if os.path.exists(os.path.join(PROGRAM, name, "__init__.py"))}
    assert folders <= set(FLOORS)


def test_what_it_names_is_there():
    named = set(
        re.findall(
            r"(?<![\w/.])((?:tests|conf|stubs|[a-z0-9]+)/[a-z0-9_/.-]+?)(?=[\s,;:)]|\.\s|::)",
            TEXT))
    assert len(named) > 30
    missing = [name for name in sorted(named)
               if not any(os.path.exists(os.path.join(base, name)) for base in (TOP, PROGRAM))]
    assert missing == []


def test_the_index_answers_ten_questions():
    section = TEXT.partition("Where is ...?\n-------------\n")[2].partition("\n\n\n")[0]
    rows = re.findall(r"^    (\S.*?)   +([a-z_/]+\.py)(?: \(.*\))?$", section, re.MULTILINE)
    assert len(rows) == len(section.strip().splitlines()) == 10
    assert [path for _, path in rows if not os.path.exists(os.path.join(PROGRAM, path))] == []


def test_it_is_one_page_of_plain_lines():
    lines = TEXT.splitlines()
    assert len(lines) < 200 and max(map(len, lines)) <= 100
