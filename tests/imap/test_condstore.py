"""CONDSTORE and QRESYNC (RFC 7162)."""
import re

import pytest

from phenmail_protocols.store import errors
from phenmail_protocols.store.indexing import expunged
from phenmail_protocols.store.mailbox import Mailbox

LETTER = b"From: a@b\r\n\r\nx\r\n"


@pytest.fixture
def seeded(client):
    for _ in range(5):
        client.append(LETTER)
    client.ok("NOOP")
    return client


def modseqs(client, numbers="1:*"):
    """{UID: mod-sequence}"""
    lines = client.ok("UID FETCH %s (MODSEQ)" % numbers)
    return {int(uid): int(modseq) for uid, modseq in
            (re.search(rb"UID (\d+) MODSEQ \((\d+)\)", line).groups()
             for line in lines if b"FETCH" in line)}


def highest(lines):
    found = [re.search(rb"HIGHESTMODSEQ (\d+)", line) for line in lines]
    return int([each.group(1) for each in found if each][-1])


def select(client, parameters="", mailbox="INBOX"):
    lines = client.ask("SELECT %s%s" % (mailbox, " (%s)" % parameters if parameters else ""))
    assert lines[-1].startswith(b"OK [READ-WRITE]"), lines
    return lines[:-1]


def test_select_gives_the_highest_mod_sequence(seeded):
    assert highest(select(seeded)) == max(modseqs(seeded).values())
    assert highest(select(seeded, "CONDSTORE")) >= 1
    assert highest(select(seeded, mailbox="Trash")) >= 1  # empty


def test_mod_sequences_only_grow(seeded):
    before = modseqs(seeded)
    seeded.ok("STORE 2 +FLAGS (\\Flagged)")
    after = modseqs(seeded)
    assert after[2] > max(before.values()) and {**before, 2: 0} == {**after, 2: 0}
    seeded.ok("STORE 2 +FLAGS (\\Flagged)")  # 3.1: it was set already
    assert modseqs(seeded) == after
    uid = int(re.search(rb"APPENDUID \d+ (\d+)", seeded.append(LETTER)[-1]).group(1))
    seeded.ok("NOOP")
    assert modseqs(seeded)[uid] > max(after.values())


@pytest.mark.parametrize("enabling", [
    "SELECT INBOX (CONDSTORE)", "EXAMINE INBOX (CONDSTORE)", "STATUS INBOX (HIGHESTMODSEQ)",
    "FETCH 1 (MODSEQ)", "SEARCH MODSEQ 1", "FETCH 1 (FLAGS) (CHANGEDSINCE 1)", "ENABLE CONDSTORE",
    "STORE 1 (UNCHANGEDSINCE 1) +FLAGS (\\Seen)", "ENABLE QRESYNC",
    'LIST "" INBOX RETURN (STATUS (HIGHESTMODSEQ))'])
def test_condstore_enabling_commands(seeded, connect, enabling):
    other = connect()
    other.ok("STORE 1 +FLAGS (\\Answered)")
    assert not [line for line in seeded.ok("NOOP") if b"MODSEQ" in line]
    lines = seeded.ok(enabling)
    if "SELECT" not in enabling and "EXAMINE" not in enabling:
        assert len([line for line in lines if b"OK [HIGHESTMODSEQ" in line]) == 1
    other.ok("STORE 2 +FLAGS (\\Answered)")
    line, = [line for line in seeded.ok("NOOP") if b"FETCH" in line]
    assert re.fullmatch(rb"\* 2 FETCH \(UID 2 FLAGS \(.*\) MODSEQ \(\d+\)\)", line)
    assert not [line for line in seeded.ok("SEARCH MODSEQ 1") if b"HIGHESTMODSEQ" in line]


def test_status(seeded):
    line, = [line for line in seeded.ok("STATUS INBOX (MESSAGES HIGHESTMODSEQ)")
             if b"STATUS" in line]
    assert line == b"* STATUS INBOX (MESSAGES 5 HIGHESTMODSEQ %d)" % max(modseqs(seeded).values())


def test_conditional_store(seeded, connect):
    known = max(modseqs(seeded).values())
    other = connect()
    other.ok("STORE 2,4 +FLAGS (\\Flagged)")
    seeded.ok("NOOP")
    lines = seeded.ask("STORE 1:5 (UNCHANGEDSINCE %d) +FLAGS.SILENT (\\Deleted)" % known)
    assert lines[-1].startswith(b"OK [MODIFIED 2,4] ")
    told = {int(line.split()[1]): line for line in lines[:-1] if b"FETCH" in line}
    assert sorted(told) == [1, 2, 3, 4, 5]
    assert re.fullmatch(rb"\* 1 FETCH \(MODSEQ \(\d+\)\)", told[1])
    assert b"FLAGS (\\Flagged" in told[2] and b"Deleted" not in told[2]
    assert sorted(seeded.ok("SEARCH DELETED")[0].split()[2:]) == [b"1", b"3", b"5"]
    lines = seeded.ask("UID STORE 4,2 (unchangedsince %d) +FLAGS (\\Deleted)" % known)
    assert lines[-1].startswith(b"OK [MODIFIED 2,4] ")


@pytest.mark.parametrize("flag", ["\\Deleted", "$New"])
def test_unchanged_since_nothing_always_fails(seeded, flag):
    lines = seeded.ask("STORE 1 (UNCHANGEDSINCE 0) +FLAGS (%s)" % flag)
    assert lines[-1].startswith(b"OK [MODIFIED 1] ")


def test_a_message_named_twice_is_stored_once(seeded):
    known = max(modseqs(seeded).values())
    lines = seeded.ask("STORE 3,2:4,3 (UNCHANGEDSINCE %d) +FLAGS (\\Deleted)" % known)
    assert lines[-1].startswith(b"OK STORE") and len(lines) == 4


def test_silent_store_tells_the_mod_sequence(seeded):
    seeded.ok("ENABLE CONDSTORE")
    line, = seeded.ok("STORE 1 +FLAGS.SILENT (\\Seen)")
    assert re.fullmatch(rb"\* 1 FETCH \(MODSEQ \(\d+\)\)", line)
    line, = seeded.ok("UID STORE 1 -FLAGS (\\Seen)")
    assert re.fullmatch(rb"\* 1 FETCH \(UID 1 FLAGS \(.*\) MODSEQ \(\d+\)\)", line)


def test_silent_store_tells_what_others_changed(seeded, connect):
    """RFC 3501 6.4.6: changes by others are sent even so."""
    seeded.ok("ENABLE CONDSTORE")
    other = connect()
    other.ok("STORE 1:2 +FLAGS (\\Flagged)")
    told = seeded.ok("STORE 1,3 +FLAGS.SILENT (\\Seen)")
    told += seeded.ok("NOOP")
    assert [re.sub(rb" \\Recent|\\Recent ?| MODSEQ \(\d+\)|UID \d+ ", b"", line) for line in told] == [
        b"* 3 FETCH (MODSEQ (8))", rb"* 1 FETCH (FLAGS (\Flagged \Seen))",
        rb"* 2 FETCH (FLAGS (\Flagged))"]


def test_reading_tells_the_mod_sequence(seeded):
    seeded.ok("ENABLE CONDSTORE")
    line, = seeded.ok("FETCH 1 BODY[]")
    assert re.search(rb"FLAGS \(\\Seen.*\) MODSEQ \(\d+\) BODY\[\]", line)


def test_changed_since(seeded):
    known = max(modseqs(seeded).values())
    assert seeded.ok("FETCH 1:* (FLAGS) (CHANGEDSINCE %d)" % known) == []
    seeded.ok("STORE 2,4 +FLAGS.SILENT (\\Flagged)")
    lines = seeded.ok("FETCH 1:3 (UID) (CHANGEDSINCE %d)" % known)
    assert len(lines) == 1 and re.fullmatch(rb"\* 2 FETCH \(UID 2 MODSEQ \(\d+\)\)", lines[0])
    lines = seeded.ok("UID FETCH 1:* (FLAGS BODY.PEEK[]) (CHANGEDSINCE %d)" % known)
    assert [line.split()[1] for line in lines] == [b"2", b"4"]
    assert len(seeded.ok("UID FETCH 1:* ENVELOPE (CHANGEDSINCE 0)")) == 5


def test_search(seeded):
    known = max(modseqs(seeded).values())
    seeded.ok("STORE 2,4 +FLAGS.SILENT (\\Flagged)")
    top = max(modseqs(seeded).values())
    assert seeded.ok("SEARCH MODSEQ %d" % (known + 1)) == [b"* SEARCH 2 4 (MODSEQ %d)" % top]
    assert seeded.ok('SEARCH MODSEQ "/flags/\\\\draft" all %d' % (known + 1)) == [
        b"* SEARCH 2 4 (MODSEQ %d)" % top]
    assert seeded.ok("SEARCH NOT MODSEQ %d 1" % (known + 1))[0].startswith(b"* SEARCH 1 (MODSEQ ")
    assert seeded.ok("SEARCH MODSEQ %d" % (top + 1)) == [b"* SEARCH"]
    assert seeded.ok("UID SORT (REVERSE ARRIVAL REVERSE SIZE) UTF-8 MODSEQ %d"
                     % (known + 1))[0] in (
        b"* SORT 4 2 (MODSEQ %d)" % top, b"* SORT 2 4 (MODSEQ %d)" % top)
    seeded.ok("STORE 2 +FLAGS.SILENT (\\Answered)")
    new = modseqs(seeded)
    line, = seeded.ok("SEARCH RETURN (MIN COUNT) MODSEQ 1")
    assert line.endswith(b"MIN 1 COUNT 5 MODSEQ %d" % new[2])
    line, = seeded.ok("SEARCH RETURN (MIN MAX) MODSEQ 1")
    assert line.endswith(b"MIN 1 MAX 5 MODSEQ %d" % max(new[1], new[5]))
    line, = seeded.ok("SEARCH RETURN (MAX) MODSEQ %d" % (new[2] + 1))
    assert line.endswith(b'")')


def test_closed(seeded):
    for command in "SELECT Sent", "EXAMINE INBOX":
        assert seeded.ok(command)[0].startswith(b"* OK [CLOSED] ")
    assert not [line for line in seeded.ok("CLOSE") if b"CLOSED" in line]
    assert not [line for line in seeded.ok("SELECT INBOX") if b"CLOSED" in line]


# -- QRESYNC

def expunge(client, numbers):
    client.ok("UID STORE %s +FLAGS.SILENT (\\Deleted)" % numbers)
    return client.ask("UID EXPUNGE %s" % numbers)


@pytest.mark.parametrize("command", [
    "SELECT INBOX (QRESYNC (1 1))", "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)",
    "SELECT INBOX (QRESYNC)", "SELECT INBOX ()", "SELECT INBOX (QRESYNC (0 1))",
    "SELECT INBOX (QRESYNC (1 9223372036854775808))", "SELECT INBOX (QRESYNC (1 1 $))",
    "SELECT INBOX (FOO)", "FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)",
    "UID FETCH 1:* (FLAGS) (VANISHED)", "STORE 1 (UNCHANGEDSINCE -1) FLAGS ()",
    "FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775808)", "SEARCH MODSEQ x"])
def test_what_is_refused(seeded, command):
    assert seeded.ask(command)[-1].startswith(b"BAD")
    assert len(seeded.ok("FETCH 1:* UID")) == 5  # the mailbox stays selected


def test_vanished_in_place_of_expunge(seeded, connect):
    assert seeded.ok("ENABLE QRESYNC")[0] == b"* ENABLED QRESYNC"
    lines = expunge(seeded, "2,4")
    assert b"* VANISHED 2,4" in lines and not [line for line in lines if b"EXPUNGE" in line[:-1]
                                               and line.startswith(b"*")]
    code = re.match(rb"OK \[HIGHESTMODSEQ (\d+)\] ", lines[-1])
    assert int(code.group(1)) == highest(select(connect()))
    other = connect()
    assert [line for line in expunge(other, "1") if line == b"* 1 EXPUNGE"]
    assert b"* VANISHED 1" in seeded.ok("NOOP")
    assert len(seeded.ok("FETCH 1:* UID")) == 2
    other.ok("STORE 1 +FLAGS (\\Seen)")
    line, = [line for line in seeded.ok("NOOP") if b"FETCH" in line]
    assert b"UID 3 " in line and b"MODSEQ" in line


def test_close_says_no_mod_sequence(seeded):
    seeded.ok("ENABLE QRESYNC")
    seeded.ok("STORE 1 +FLAGS (\\Deleted)")
    lines = seeded.ask("CLOSE")
    assert b"HIGHESTMODSEQ" not in lines[-1]


@pytest.fixture
def away(seeded, connect):
    """(client with QRESYNC that was away, UIDVALIDITY, mod-sequence then): 2 and 3 are gone, 4 is
    flagged, 6 is new."""
    lines = select(seeded)
    validity = int(re.search(rb"UIDVALIDITY (\d+)", b"".join(lines)).group(1))
    seeded.ok("CLOSE")
    known = highest(lines)
    other = connect()
    expunge(other, "2:3")
    other.ok("UID STORE 4 +FLAGS (\\Flagged)")
    other.append(LETTER)
    seeded.ok("ENABLE QRESYNC")
    return seeded, validity, known


def news(lines):
    """What SELECT added to its usual responses."""
    return [re.sub(rb"MODSEQ \(\d+\)", b"MODSEQ (n)", line) for line in lines
            if b"VANISHED" in line or b"FETCH" in line]


FOUR = b"* 2 FETCH (UID 4 FLAGS (\\Flagged) MODSEQ (n))"
SIX = b"* 4 FETCH (UID 6 FLAGS () MODSEQ (n))"


@pytest.mark.parametrize("more, told", [
    ("", [b"* VANISHED (EARLIER) 2:3", FOUR, SIX]),
    (" 1:5", [b"* VANISHED (EARLIER) 2:3", FOUR]),
    (" 1,3,5", [b"* VANISHED (EARLIER) 3"]),
    (" 1:5 (1 1)", [b"* VANISHED (EARLIER) 2:3", FOUR]),
    (" 1:5 (1,2 1,2)", [b"* VANISHED (EARLIER) 2:3", FOUR]),
    (" (1 1)", [b"* VANISHED (EARLIER) 2:3", FOUR, SIX]),
    (" 1:5 (1:4294967295 1:4294967295)", [b"* VANISHED (EARLIER) 2:3", FOUR]),
])
def test_resynchronize(away, more, told):
    client, validity, known = away
    assert news(select(client, "QRESYNC (%d %d%s)" % (validity, known, more))) == told
    client.ok("CLOSE")
    assert news(select(client, "QRESYNC (%d %d%s)" % (validity, highest(select(client)),
                                                      more))) == []


def test_another_uidvalidity(away):
    client, validity, known = away
    assert news(select(client, "QRESYNC (%d %d)" % (validity + 1, known))) == []


def test_what_is_too_long_ago(away):
    client, validity, _ = away
    lines = news(select(client, "QRESYNC (%d 0)" % validity))
    assert lines[0] == b"* VANISHED (EARLIER) 2:3" and len(lines) == 5


def test_vanished_in_fetch(away):
    client, _, known = away
    select(client)
    lines = client.ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d VANISHED)" % known)
    assert news(lines)[0] == b"* VANISHED (EARLIER) 2:3"
    assert [line.split()[4] for line in lines[1:]] == [b"4", b"6"]
    lines = client.ok("UID FETCH 3:4 (FLAGS) (VANISHED CHANGEDSINCE %d)" % known)
    assert news(lines)[0] == b"* VANISHED (EARLIER) 3"


def test_the_last_messages_may_be_gone(seeded, connect):
    known = highest(select(seeded, "CONDSTORE"))
    seeded.ok("ENABLE QRESYNC")
    expunge(seeded, "4:5")
    lines = seeded.ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d VANISHED)" % known)
    assert lines == [b"* VANISHED (EARLIER) 4:5"]


def test_what_is_not_announced_yet_is_no_earlier_news(seeded, connect):
    known = highest(select(seeded, "CONDSTORE"))
    seeded.ok("ENABLE QRESYNC")
    expunge(connect(), "2")
    lines = seeded.ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d VANISHED)" % known)
    assert lines == [b"* VANISHED 2"]


def test_a_resynchronisation_that_fails_selects_nothing(away, monkeypatch):
    client, validity, known = away

    def broken(*arguments):
        raise errors.Unavailable()
    with monkeypatch.context() as patch:
        patch.setattr(Mailbox, "expunged_since", broken)
        lines = client.ask("SELECT INBOX (QRESYNC (%d %d))" % (validity, known))
    assert lines[-1].startswith(b"NO")
    assert client.ask("SEARCH ALL")[-1].startswith(b"BAD")  # RFC 3501 6.3.1


def test_too_many_expunged_messages_are_told_by_what_is_left(away, monkeypatch):
    client, validity, known = away
    monkeypatch.setattr(expunged, "_MOST", 1)
    assert news(select(client, "QRESYNC (%d %d)" % (validity, known)))[0] == (
        b"* VANISHED (EARLIER) 2:3")


def test_what_was_not_announced_is_not_covered_by_highestmodseq(seeded, connect):
    """A client that is cut off here would otherwise never hear of the expunged message."""
    before = max(modseqs(connect()).values())
    expunge(connect(), "2")
    line = [line for line in seeded.ok("FETCH 1 (MODSEQ)") if b"HIGHESTMODSEQ" in line][0]
    assert int(re.search(rb"HIGHESTMODSEQ (\d+)", line).group(1)) == before


def test_sparse_match_data_hides_nothing(seeded, connect):
    """The client has 1, 2 and 4; 3, which a backup brought back, and 2 are gone in the end."""
    lines = select(seeded)
    validity = int(re.search(rb"UIDVALIDITY (\d+)", b"".join(lines)).group(1))
    expunge(connect(), "2")
    seeded.ok("ENABLE QRESYNC")
    told = news(select(seeded, "QRESYNC (%d %d 1:2,4 (1,3 1,4))" % (validity, highest(lines))))
    assert told == [b"* VANISHED (EARLIER) 2"]
