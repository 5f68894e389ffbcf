"""STORE, EXPUNGE, COPY, MOVE: their effects, and what the sessions are told."""
import pytest

MESSAGE = b"From: a@b\r\n\r\nhello\r\n"


@pytest.fixture
def three(client):
    client.append(MESSAGE, flags="(\\Seen)")
    client.append(MESSAGE, flags="($Work)")
    client.append(MESSAGE)
    return client


def flags(client, number):
    line, = client.ok("FETCH %d FLAGS" % number)
    return set(line[line.index(b"FLAGS (") + 7:-2].decode().split()) - {"\\Recent"}


@pytest.mark.parametrize("command, result", [
    ("FLAGS (\\Flagged)", {"\\Flagged"}), ("+FLAGS (\\Flagged)", {"\\Flagged", "\\Seen"}),
    ("-FLAGS (\\Seen)", set()),
    ("-FLAGS (\\Flagged)", {"\\Seen"}), ("FLAGS ()", set()),
    ("+FLAGS \\Flagged Two", {"\\Flagged", "\\Seen", "Two"}),
    ("+flags ($work)", {"\\Seen", "$Work"}),
])
@pytest.mark.parametrize("silent", ["", ".SILENT"])
def test_store(three, command, result, silent):
    word, _, rest = command.partition(" ")
    lines = three.ok("STORE 1 %s%s %s" % (word, silent, rest))
    told = [line for line in lines if b" FETCH " in line]
    assert len(told) == (not silent)
    assert {flag.lower() for flag in flags(three, 1)} == {flag.lower() for flag in result}
    assert three.ok("NOOP") == []


def test_store_answers_for_each_message(three):
    assert [line[:8] for line in three.ok("STORE 1:3 +FLAGS (\\Seen)")] == [
        b"* 1 FETC", b"* 2 FETC", b"* 3 FETC"]
    assert three.ok("UID STORE 2 -FLAGS (\\Seen)") == [rb"* 2 FETCH (UID 2 FLAGS (\Recent $Work))"]
    assert three.ok("UID STORE 77 +FLAGS (\\Seen)") == []
    assert three.ask("STORE 4 +FLAGS (\\Seen)")[-1].startswith(b"BAD")
    assert three.ask("STORE 1 +FLAGS (\\Recent)")[-1].startswith(b"BAD")


def test_a_new_keyword_is_announced_before_it_is_seen(three):
    lines = three.ok("STORE 1 +FLAGS (New)")
    assert lines[0].startswith(b"* FLAGS ") and b"New" in lines[0] and b"FETCH" in lines[2]
    assert len(lines) == 3
    assert lines[1].startswith(b"* OK [PERMANENTFLAGS (") and b"New \\*)" in lines[1]


def test_too_many_keywords(three):
    answers = [three.ask("STORE 1 +FLAGS.SILENT (k%d)" % number)[-1] for number in range(30)]
    assert answers == [b"OK STORE completed"] * 30
    lines = three.ok("STORE 1 +FLAGS (more \\Flagged)")
    assert b"\\Flagged" in lines[-1] and b"k24" in lines[-1] and b"k25" not in lines[-1]
    assert b"more" not in lines[-1]
    three.ok("UNSELECT")
    permanent, = [line for line in three.ok("SELECT INBOX") if b"PERMANENTFLAGS" in line]
    assert b"\\*" not in permanent


def test_expunge(three):
    assert three.ok("EXPUNGE") == []
    three.ok("STORE 1,3 +FLAGS.SILENT (\\Deleted)")
    assert three.ok("EXPUNGE") == [b"* 3 EXPUNGE", b"* 1 EXPUNGE", b"* 1 RECENT"]
    assert three.ok("FETCH 1 UID") == [b"* 1 FETCH (UID 2)"]


def test_uid_expunge_removes_only_named_messages(three):
    three.ok("STORE 1:2 +FLAGS.SILENT (\\Deleted)")
    assert three.ok("UID EXPUNGE 2:3,99") == [b"* 2 EXPUNGE", b"* 2 RECENT"]
    assert three.ok("SEARCH DELETED") == [b"* SEARCH 1"]


def test_copy(three):
    three.ok("CREATE other")
    answer = three.ask("COPY 2:3 other")[-1]
    assert answer.startswith(b"OK [COPYUID ") and b" 2:3 1:2]" in answer
    three.ok("SELECT other")
    assert flags(three, 1) == {"$Work"}
    assert three.ok("FETCH 1 BODY.PEEK[]")[0].endswith(MESSAGE + b")")


def test_copy_of_nothing_and_to_nowhere(three):
    assert three.ask("UID COPY 77 Sent") == [b"OK UID COPY completed"]
    assert three.ask("COPY 1 nowhere")[-1].startswith(b"NO [TRYCREATE]")
    assert three.ask("COPY 9 Sent")[-1].startswith(b"BAD")


@pytest.mark.parametrize("command", ["COPY", "MOVE"])
def test_copy_and_move_fail_for_messages_just_expunged(three, connect, command):
    """RFC 2180 4.4: all messages that the numbers name, or none."""
    other = connect()
    other.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    other.ok("EXPUNGE")
    assert three.ask(command + " 1:3 Sent")[-1].startswith(b"NO [EXPUNGEISSUED]")
    assert three.ok("STATUS Sent (MESSAGES)") == [b"* STATUS Sent (MESSAGES 0)"]


def test_copy_into_the_selected_mailbox(three):
    lines = three.ask("COPY 1 INBOX")
    assert b"* 4 EXISTS" in lines and b" 1 4]" in lines[-1]


def test_move(three, connect):
    other = connect()
    lines = three.ask("MOVE 1,3 Sent")
    assert lines[0].startswith(b"* OK [COPYUID ") and b" 1,3 1:2]" in lines[0]
    assert lines[1:] == [b"* 3 EXPUNGE", b"* 1 EXPUNGE", b"* 1 RECENT", b"OK MOVE completed"]
    assert other.ok("NOOP") == [b"* 3 EXPUNGE", b"* 1 EXPUNGE"]
    assert three.ok("STATUS Sent (MESSAGES)") == [b"* STATUS Sent (MESSAGES 2)"]


def test_uid_move(three):
    lines = three.ask("UID MOVE 2:* Sent")
    assert [line.split(b" ")[2] for line in lines[1:3]] == [b"EXPUNGE", b"EXPUNGE"]
    assert three.ask("UID MOVE 2 Sent") == [b"OK UID MOVE completed"]
    assert three.ask("MOVE 1 nowhere")[-1].startswith(b"NO [TRYCREATE]")
    assert three.ok("SEARCH ALL") == [b"* SEARCH 1"]
