"""Every sentence in the table of requirements names a part of a dialogue; test_dialogs runs the
dialogues."""
import collections
import pathlib

import pytest

from tests.dialogs.transcript import Failed, Transcript

FOLDER = pathlib.Path(__file__).parent
TABLE = FOLDER / "requirements.table"

#: Section -> how many of its sentences demand, forbid or allow something; how many of those bind
#: only clients and later RFCs.
SENTENCES = {
    "3501 6.3.3": (8, 0), "3501 6.3.4": (7, 0), "3501 6.3.5": (12, 0), "3501 6.3.6": (3, 0),
    "3501 6.3.7": (1, 0),
    "3501 6.3.8": (22, 2), "3501 6.3.9": (5, 0),
    "5258 3": (18, 5), "5258 3.1": (11, 3), "5258 3.2": (3, 0), "5258 3.3": (3, 1),
    "5258 3.4": (1, 1), "5258 3.5": (5, 0),
}


def rows():
    with open(str(TABLE), encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    return [tuple(part.strip() for part in line.split("|")) for line in lines if line
            and not line.startswith("#")]


def test_every_sentence_of_each_section_is_there_once():
    found = rows()
    assert all(len(row) == 3 and all(row) for row in found)
    assert len({row[:2] for row in found}) == len(found)
    counted = collections.Counter(section for section, _, _ in found)
    of_clients = collections.Counter(section for section, _, shown in found if shown == "client")
    assert {section: (counted[section], of_clients[section]) for section in counted} == SENTENCES


@pytest.mark.parametrize("section, words, shown", [row for row in rows() if row[2] != "client"])
def test_its_dialogue_shows_it(section, words, shown):
    name, part = shown.split(": ")
    transcript = Transcript(str(FOLDER / "imap" / (name + ".txt")))
    answers = [kind for _, kind, _, _ in transcript.part(part) if kind in "<*"]
    assert answers, "%s: %s: nothing that the server says is looked at" % (name, part)


def test_a_part_that_no_dialogue_has_is_an_error(tmp_path):
    path = tmp_path / "some.txt"
    path.write_text("# == one: what it is\nC: NOOP\nS: OK\n# == two\n# == three\nS: +\n",
                    encoding="utf-8")
    transcript = Transcript(str(path))
    assert [step[1] for step in transcript.part("one")] == [">", "<"] and not transcript.part("two")
    with pytest.raises(KeyError):
        transcript.part("four")
    path.write_text("# == one\n# == one\n", encoding="utf-8")
    with pytest.raises(Failed):
        Transcript(str(path))
