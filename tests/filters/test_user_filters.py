"""Filter files: read when they change, asked before the server's, reported once if broken."""
import os

import pytest

from phenmail_protocols.config import loader
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.config.settings import Filter, UserSettings
from phenmail_protocols.filters import user_filters
from phenmail_protocols.filters.user_filters import FilterFiles

GLOBAL = (Filter("match", content="x", action="discard", from_server=True),)
ONE = '{"filters": [{"type": "match", "content": "a", "action": "accept:One"}]}'


class House:
    """A user's folder, and FilterFiles that count how often they read."""

    def __init__(self, path):
        self.root = Root(path)
        self.folder = os.path.join(self.root.path, "alice", "mail")
        os.makedirs(self.folder)
        self.reads = 0
        self.files = FilterFiles(self.root, self.load)
        self.time = 1e9

    def load(self, path, root, files):
        self.reads += 1
        return loader.load_filters(path, root, files)

    def write(self, text, name="filters.jcfg"):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        self.time += 10
        os.utime(path, (self.time, self.time))

    def rules(self, use_global=False, given=GLOBAL, name="filters.jcfg"):
        user = UserSettings(None, None, None, None, None, "",
                            name and os.path.join(self.folder, name), use_global)
        rules, told = self.files.rules(user, self.folder, given)
        return [rule.action for rule in rules.filters], told


@pytest.fixture
def house(tmp_path):
    return House(str(tmp_path))


def test_no_file_is_no_filter_and_reads_nothing(house):
    assert house.rules() == ([], ()) and house.reads == 0
    assert house.rules(True) == (["discard"], ())


def test_a_file_is_read_when_it_changes(house):
    house.write(ONE)
    assert [house.rules() for _ in range(3)] == [(["accept:One"], ())] * 3 and house.reads == 1
    house.write(ONE.replace("One", "Two"))
    assert house.rules() == (["accept:Two"], ()) and house.reads == 2
    os.unlink(os.path.join(house.folder, "filters.jcfg"))
    assert house.rules() == ([], ())
    house.write(ONE)
    assert house.rules() == (["accept:One"], ())


def test_a_user_without_settings_has_the_file_beside_the_mail(house):
    house.write(ONE)
    assert house.rules(name="") == (["accept:One"], ())


def test_the_servers_filters_come_after_the_users_own(house):
    house.write(ONE)
    assert house.rules(True)[0] == ["accept:One", "discard"]
    assert house.rules(False)[0] == ["accept:One"]
    assert house.rules(True, GLOBAL + GLOBAL)[0] == ["accept:One", "discard", "discard"]


def test_an_included_file_counts_as_well(house):
    house.write('{"include": ["more.jcfg"]}')
    assert "more.jcfg" in house.rules()[1][0]
    house.write(ONE, "more.jcfg")
    assert house.rules() == (["accept:One"], ())
    house.write(ONE.replace("One", "Two"), "more.jcfg")
    assert house.rules() == (["accept:Two"], ())


def test_a_broken_file_is_told_once_for_each_change_and_decides_nothing(house):
    house.write('{"filters": [{"type": "match", "content": "a", "action": "burn"}]}')
    actions, told = house.rules(True)
    assert actions == [] and len(told) == 1 and "alice/mail/filters.jcfg:1:" in told[0]
    assert "INBOX" in told[0]
    assert [house.rules(True) for _ in range(3)] == [([], ())] * 3
    house.write('{"filters": [')
    assert "alice/mail/filters.jcfg:1:" in house.rules(True)[1][0]
    house.write(ONE)
    assert house.rules(True) == (["accept:One", "discard"], ())


def test_many_mistakes_are_a_few_lines(house):
    house.write('{"filters": [%s]}' % ", ".join(['{"type": "no"}'] * 50))
    told = house.rules()[1]
    assert len(told) == 6 and told[-1].endswith("and 45 more")


def test_what_is_no_file_is_told_and_not_waited_for(house):
    os.mkfifo(os.path.join(house.folder, "filters.jcfg"))
    actions, told = house.rules()
    assert actions == [] and "not a regular file" in told[0]
    assert house.rules() == ([], ())


def test_a_file_that_can_not_be_read_is_told(house, monkeypatch):
    house.write(ONE)

    def load(path, root, files):
        raise MemoryError()

    house.files = FilterFiles(house.root, load)
    assert "cannot be read" in house.rules()[1][0] and house.rules() == ([], ())


def test_a_flaw_is_told_and_the_others_work(house):
    house.write('{"filters": [{"type": "match", "content": "a", "action": "accept:../bob"},\n%s]}'
                % ONE[13:-2])
    actions, told = house.rules()
    assert actions == ["accept:../bob", "accept:One"] and len(told) == 1
    assert "alice/mail/filters.jcfg:1: " in told[0] and "mailbox" in told[0]
    assert house.rules()[1] == ()


def test_somebody_elses_file_is_refused_whatever_leads_to_it(house):
    other = os.path.join(house.root.path, "bob", "mail")
    os.makedirs(other)
    with open(os.path.join(other, "filters.jcfg"), "w") as file:
        file.write(ONE)
    os.symlink(os.path.join(other, "filters.jcfg"), os.path.join(house.folder, "filters.jcfg"))
    actions, told = house.rules()
    assert actions == [] and "inside the folder of its owner alice" in told[0]


def test_a_bounded_number_of_users_is_kept(house, monkeypatch):
    monkeypatch.setattr(user_filters, "_MOST_USERS", 3)
    for number in range(10):
        house.write(ONE, "f%d" % number)
        assert house.rules(name="f%d" % number) == (["accept:One"], ())
    assert len(house.files._kept) == 3
