"""Keywords and their letters: no keyword is lost, only keywords are shown, and no letter ever has
two meanings."""
import errno
import os
import random
from contextlib import closing

import pytest

from phenmail_protocols.store import errors
from phenmail_protocols.store.maildir import keywords

from .conftest import drop_foreign, drop_index

LINES = [b"0 \xc3\xa4", b"0 x)y", b"0 a b", b"0 a\x07b", b"0 \xff", b"0 \\Seen", b"0 x\"y", b"0 ",
         b"0", b"0 " + b"k" * 300]
EVERY = ["k%d" % number for number in range(26)]


MESSAGES = 3  # in `inbox`


def flags(mailbox, uid=1):
    return set(mailbox.rows([uid]).flags[0])


def file_of(house, mailbox=""):
    return os.path.join(house.folder, mailbox, keywords.FlagLetters.NAME)


def say(house, data, mailbox=""):
    path = file_of(house, mailbox)
    with open(path + ".new", "wb") as file:
        file.write(data)
    os.rename(path + ".new", path)


def said(house, mailbox=""):
    with open(file_of(house, mailbox), "rb") as file:
        return file.read()


def letters(house, part="cur"):
    names = os.listdir(os.path.join(house.folder, part))
    return {name.rpartition(",")[2] for name in names if ":2," in name}


# -- more than there are letters

def test_a_keyword_without_a_free_letter_is_left_out(house, inbox):
    inbox.change_flags([1], "add", EVERY)
    assert inbox.state().keywords_full and inbox.keywords() == (tuple(EVERY), True)
    assert inbox.change_flags([2], "add", ["\\Seen", "$Forwarded", "k3"]).changed == [2]
    assert flags(inbox, 2) == {"\\Seen", "k3"}
    assert inbox.change_flags([2], "replace", ["\\Flagged", "$Forwarded", "K4"]).changed == [2]
    assert flags(inbox, 2) == {"\\Flagged", "k4"}
    assert inbox.change_flags([2], "add", ["$Forwarded"]).changed == []
    assert inbox.change_flags([2], "remove", ["$Forwarded", "k4"]).changed == [2]
    uid = house.put("new", flags=["\\Seen", "$Junk", "k0"]).uid
    assert flags(inbox, uid) == {"\\Seen", "k0"}


def test_copy_and_move_keep_what_they_can(house, inbox):
    house.account.create("other")
    inbox.change_flags([1], "add", ["\\Seen", "new", "k7", "K9"])
    other = house.account.open("other")
    uid = house.put(name="other", flags=EVERY).uid
    assert flags(other, uid) == set(EVERY)
    copied = inbox.copy([1, 2], "other")
    assert flags(other, copied.pairs[0][1]) == {"\\Seen", "k7", "k9"}
    moved = inbox.move([1], "other")
    assert flags(other, moved.pairs[0][1]) == {"\\Seen", "k7", "k9"}
    assert inbox.state().count == 2
    other.close()


def test_letters_that_no_message_has_are_used_again(house, inbox):
    inbox.change_flags([1], "add", EVERY)
    inbox.change_flags([1], "remove", ["k5", "k6"])
    assert not inbox.state().keywords_full
    inbox.change_flags([1], "add", ["one", "two", "three"])
    assert len(flags(inbox)) == 26 and len(flags(inbox) & {"one", "two", "three"}) == 2
    inbox.remove([1])
    assert not inbox.state().keywords_full
    inbox.change_flags([2], "add", ["new%d" % number for number in range(26)])
    assert len(flags(inbox, 2)) == 26


def test_a_command_uses_no_letter_twice(house, inbox):
    """No message has a letter yet that the command is about to use."""
    inbox.change_flags([1], "add", EVERY)
    inbox.change_flags([1], "remove", EVERY[:2])
    inbox.change_flags([1], "add", ["new", "k0"])
    assert {"new", "k0"} <= flags(inbox) and "k1" not in flags(inbox)
    house.account.create("other")
    for number, name in enumerate(["a", "b", "c"], 1):
        inbox.change_flags([number], "replace", [name])
    house.put(name="other", flags=EVERY[:24])
    copied = inbox.copy([1, 2, 3], "other")
    with closing(house.account.open("other")) as other:
        shown = [flags(other, new) for _, new in copied.pairs]
    assert sorted(map(len, shown)) == [0, 1, 1] and len(set().union(*shown)) == 2


def test_a_letter_that_only_a_file_has_is_not_used_again(house, inbox):
    """Another program set it, and the store has not looked yet."""
    inbox.change_flags([1], "add", EVERY)
    inbox.change_flags([1], "remove", ["k0"])
    drop_foreign(house, "1700000000.1.elsewhere:2,a", "cur")
    inbox.change_flags([2], "add", ["new"])
    assert flags(inbox, 2) == set()
    inbox.look()
    assert flags(inbox, 4) == {"k0"}


@pytest.mark.parametrize("part", ["cur", "new"])
def test_letters_without_a_keyword_are_left_alone(house, inbox, part):
    drop_foreign(house, "1700000000.1.elsewhere:2,acS", part)
    inbox.change_flags([1], "add", ["new", "newer"])
    inbox.look()
    assert flags(inbox, 1) == {"new", "newer"} and flags(inbox, 4) == {"\\Seen"}
    assert said(house) == b"1 new\n3 newer\n"
    drop_index(house)
    house.open()
    with closing(house.account.open("INBOX")) as again:
        assert flags(again, 4) == {"\\Seen"}


def test_all_letters_unknown(house, inbox):
    drop_foreign(house, "1700000000.1.elsewhere:2,abcdefghijklmnopqrstuvwxyz", "cur")
    inbox.look()
    assert inbox.state().keywords_full
    inbox.change_flags([1], "add", ["\\Seen", "new"])
    assert flags(inbox) == {"\\Seen"} and flags(inbox, 4) == set()


def test_another_process_uses_the_letter_meanwhile(house, inbox, monkeypatch):
    inbox.change_flags([1], "add", EVERY)
    inbox.change_flags([1], "remove", ["k0"])
    before = said(house)
    write, once = keywords.atomic.write_file, []

    def meanwhile(path, data, *more):
        if not once:
            once.append(drop_foreign(house, "1700000000.1.elsewhere:2,a", "cur"))
        write(path, data, *more)
    monkeypatch.setattr(keywords.atomic, "write_file", meanwhile)
    inbox.change_flags([2], "add", ["new", "\\Seen"])
    assert said(house) == before and flags(inbox, 2) == {"\\Seen"}
    inbox.look()
    assert flags(inbox, 4) == {"k0"}


def test_two_processes_see_the_same(house, inbox):
    other = house.another()
    theirs = other.account(house.folder).open("INBOX")
    inbox.change_flags([1], "add", EVERY)
    theirs.change_flags([1], "remove", ["k3"])
    theirs.change_flags([2], "add", ["theirs"])
    inbox.change_flags([3], "add", ["ours", "\\Seen"])
    for mailbox in (inbox, theirs):
        mailbox.look()
        assert [flags(mailbox, uid) for uid in (1, 2, 3)] == [
            set(EVERY) - {"k3"}, {"theirs"}, {"\\Seen"}]
    theirs.close()
    other.close()


# -- the file

@pytest.mark.parametrize("line", LINES)
def test_an_odd_line_is_not_shown_and_stays(house, inbox, line):
    inbox.change_flags([1], "add", ["fine", "better"])
    say(house, line + b"\n1 better\n")
    inbox.change_flags([2], "add", ["new", "\\Seen"])
    assert flags(inbox, 1) == {"better"} and flags(inbox, 2) == {"new", "\\Seen"}
    assert inbox.keywords()[0] == ("better", "new")
    assert line in said(house).split(b"\n") or line == b"0 "
    drop_index(house)
    house.open()
    with closing(house.account.open("INBOX")) as again:
        assert flags(again, 1) == {"better"} and again.state().keywords == ("better", "new")


def test_a_keyword_with_two_letters_is_shown_and_removed_as_one(house, inbox):
    say(house, b"0 Work\n1 work\n2 WORK\n2 other\n2 last\n")
    drop_foreign(house, "1700000000.1.elsewhere:2,abc", "cur")
    inbox.look()
    assert flags(inbox, 4) == {"Work", "last"} and inbox.keywords()[0] == ("Work", "last")
    inbox.change_flags([1, 4], "add", ["wORK"])
    assert flags(inbox, 1) == {"Work"} and letters(house) >= {"a", "abc"}
    inbox.change_flags([4], "remove", ["work"])
    assert flags(inbox, 4) == {"last"}
    inbox.change_flags([1, 4], "replace", ["work"])
    assert flags(inbox, 4) == {"Work"}


@pytest.mark.parametrize("data", [
    b"", b"\n\n", b"26 x\n999 y\n", b"-1 x\n", b"\xc2\xb2 x\n", b"1e1 x\n", b"0x1 y\n",
    b"\x00" * 100, b"no number\n", b"00000000000 x\n"])
def test_a_keyword_file_without_keywords(house, inbox, data):
    say(house, data)
    inbox.change_flags([1], "add", ["new"])
    assert flags(inbox) == {"new"} and inbox.keywords() == (("new",), False)
    assert all(line in said(house) for line in data.split(b"\n") if line)


@pytest.mark.parametrize("make", [
    os.mkdir, os.mkfifo, lambda path: os.symlink("/etc/passwd", path)])
def test_something_else_in_the_place_of_the_keyword_file(house, inbox, make):
    make(file_of(house))
    inbox.change_flags([1], "add", ["new", "\\Seen"])
    assert flags(inbox) - {"new"} == {"\\Seen"}
    house.open()
    with closing(house.account.open("INBOX")) as again:
        assert flags(again) - {"new"} == {"\\Seen"}


def test_a_huge_file_is_read_within_a_bound(house, inbox):
    with open(file_of(house), "wb") as file:
        file.write(b"0 first\n")
        file.truncate(400 << 20)
    drop_foreign(house, "1700000000.1.elsewhere:2,a", "cur")
    inbox.look()
    assert flags(inbox, 4) == {"first"}
    inbox.change_flags([1], "add", ["new"])
    assert flags(inbox, 1) == {"new"} and os.stat(file_of(house)).st_size < 200000


def test_the_keyword_file_is_removed(house, inbox):
    inbox.change_flags([1], "add", ["a", "b"])
    os.unlink(file_of(house))
    inbox.change_flags([2], "add", ["c"])
    assert flags(inbox, 1) == set() and flags(inbox, 2) == {"c"}
    assert said(house) == b"2 c\n"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_on_a_full_disk_only_the_new_keyword_is_left_out(house, inbox, monkeypatch, code):
    def full(path, data, *more):
        raise OSError(code, os.strerror(code))
    with monkeypatch.context() as patch:
        patch.setattr(keywords.atomic, "write_file", full)
        assert inbox.change_flags([1], "add", ["new", "\\Seen"]).left_out == ("new",)
        delivered = house.put("four", flags=["new", "\\Seen"])
    assert flags(inbox) == flags(inbox, delivered.uid) == {"\\Seen"}
    assert delivered.left_out == ("new",)
    assert inbox.change_flags([1], "add", ["new"]).left_out == ()
    assert flags(inbox) == {"new", "\\Seen"}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_loses_no_keyword_of_a_copy(house, inbox, monkeypatch, code):
    """If the client then removed the original, the keyword would be lost."""
    house.account.create("other")
    inbox.change_flags([1], "add", ["new", "\\Seen"])
    other = house.account.open("other")

    def full(path, data, *more):
        raise OSError(code, os.strerror(code))
    with monkeypatch.context() as patch:
        patch.setattr(keywords.atomic, "write_file", full)
        for refused in (lambda: inbox.copy([1, 2], "other"), lambda: inbox.move([1, 2], "other"),
                        lambda: house.account.rename("INBOX", "another")):
            with pytest.raises(errors.StoreError):
                refused()
            assert inbox.state().count == 3 and other.state().count == 0
            assert flags(inbox) == {"new", "\\Seen"}
        assert len(inbox.move([2], "other").pairs) == 1  # it has no keyword
    assert flags(other, inbox.move([1], "other").pairs[0][1]) == {"new", "\\Seen"}
    other.close()


def test_a_file_that_was_never_read_loses_no_keyword(house, inbox, monkeypatch):
    inbox.change_flags([1], "add", ["old"])
    house.account.create("other")
    house.close()

    def fails(path, most):
        raise OSError(errno.EIO, "Input/output error")
    house.open()
    with monkeypatch.context() as patch:
        patch.setattr(keywords, "read_plain", fails)
        again = house.account.open("INBOX")
        for refused in (lambda: again.change_flags([1], "replace", ["\\Seen"]),
                        lambda: again.move([1], "other"),
                        lambda: again.change_flags([1], "add", ["old"]),
                        lambda: again.change_flags([1], "remove", ["old"])):
            with pytest.raises(errors.Unavailable):
                refused()
        again.change_flags([1], "add", ["\\Flagged"])
    house.account.mailboxes()
    again.change_flags([1], "add", ["\\Seen"])
    assert flags(again) == {"old", "\\Flagged", "\\Seen"}
    again.close()


def test_a_file_that_can_not_be_read_now_is_not_written(house, inbox, monkeypatch):
    inbox.change_flags([1], "add", ["old"])
    before = said(house)
    read = keywords.read_plain

    def fails(path, most):
        raise OSError(errno.EIO, "Input/output error")
    say(house, before + b"1 theirs\n")
    monkeypatch.setattr(keywords, "read_plain", fails)
    inbox.change_flags([2], "add", ["new", "\\Seen"])
    assert flags(inbox, 1) == {"old"} and flags(inbox, 2) == {"\\Seen"}
    assert said(house) == before + b"1 theirs\n"
    monkeypatch.setattr(keywords, "read_plain", read)
    inbox.change_flags([2], "add", ["new"])
    assert flags(inbox, 2) == {"new", "\\Seen"} and said(house) == b"0 old\n1 theirs\n2 new\n"


def test_a_long_keyword_is_left_out(inbox):
    inbox.change_flags([1], "add", ["x" * 256, "y" * 255, "\\Seen"])
    assert flags(inbox) == {"y" * 255, "\\Seen"}


# -- all of it

@pytest.mark.parametrize("seed", range(8))
def test_no_letter_ever_means_two_things(house, inbox, seed):
    """A random run against a model: every flag shown was set, and only keywords that cannot be kept
    are missing."""
    dice = random.Random(seed)
    names = ["w%d" % number for number in range(32)]
    model = {uid: set() for uid in (1, 2, 3)}
    for _ in range(150):
        uid, some = dice.choice([1, 2, 3]), set(dice.sample(names, dice.randrange(1, 6)))
        mode = dice.choice(["add", "add", "remove", "replace"])
        inbox.change_flags([uid], mode, sorted(some) + ["\\Seen"] * (mode != "remove"))
        expected = {"add": model[uid] | some, "remove": model[uid] - some, "replace": some}[mode]
        shown = {uid: flags(inbox, uid) - {"\\Seen"} for uid in model}
        used = set().union(*model.values())
        assert shown[uid] <= expected
        assert all(shown[other] == model[other] for other in model if other != uid)
        assert shown[uid] == expected or len(used | shown[uid]) == 26
        model[uid] = shown[uid]
        assert inbox.state().keywords_full == (len(set().union(*model.values())) == 26)
    drop_index(house)
    house.open()
    with closing(house.account.open("INBOX")) as again:
        assert {uid: flags(again, uid) - {"\\Seen"} for uid in model} == model
