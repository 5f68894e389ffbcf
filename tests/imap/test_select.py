"""SELECT, EXAMINE, CLOSE, UNSELECT, and two sessions on one mailbox."""
import pytest

MESSAGE = b"From: a@b\r\n\r\nhello\r\n"


def kept(client, count=1, **more):
    for _ in range(count):
        assert client.append(MESSAGE, **more)[-1].startswith(b"OK [APPENDUID")


def test_select_responses(connect, client):
    kept(client, 2, flags="(\\Seen $Work)")
    kept(client)
    client.ok("UNSELECT")
    lines = client.ask("SELECT INBOX")
    assert lines[-1] == b"OK [READ-WRITE] SELECT completed"
    assert lines[0] == rb"* FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work)"
    assert b"* 3 EXISTS" in lines and b"* 0 RECENT" in lines
    text = b"\n".join(lines)
    assert rb"[PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work \*)]" in text
    assert b"[UNSEEN 3]" in text and b"[UIDNEXT 4]" in text and b"[UIDVALIDITY " in text


def test_select_of_all_seen_has_no_unseen(client):
    kept(client, flags="(\\Seen)")
    assert not any(b"UNSEEN" in line for line in client.ok("SELECT INBOX"))


@pytest.mark.parametrize("command", ["SELECT nowhere", "EXAMINE nowhere"])
def test_a_failed_select_leaves_nothing_selected(client, command):
    assert client.ask(command)[-1].startswith(b"NO [NONEXISTENT]")
    assert client.ask("CHECK")[-1].startswith(b"BAD")


@pytest.mark.parametrize("name", ["inbox", "INBOX", "InBoX", '"inbox"'])
def test_inbox_in_any_case(client, name):
    client.ok("SELECT " + name)


def test_examine_changes_nothing(client, connect):
    kept(client, flags="(\\Deleted)")
    reader = connect(None)
    lines = reader.ask("EXAMINE INBOX")
    assert lines[-1].startswith(b"OK [READ-ONLY]") and any(
        b"[PERMANENTFLAGS ()]" in line for line in lines)
    for command in ("STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "UID EXPUNGE 1", "MOVE 1 Sent"):
        assert reader.ask(command)[-1].startswith(b"NO [READ-ONLY]"), command
    assert reader.ok("FETCH 1 BODY[]")[0].startswith(b"* 1 FETCH (BODY[] {")
    reader.ok("COPY 1 Sent")
    reader.ok("CLOSE")
    assert client.ok("FETCH 1 FLAGS") == [rb"* 1 FETCH (FLAGS (\Deleted \Recent))"]


def test_recent_goes_to_one_session(client, connect):
    client.ok("UNSELECT")
    kept(client, 2)
    assert b"* 2 RECENT" in connect(None).ok("EXAMINE INBOX")
    assert b"* 2 RECENT" in client.ok("SELECT INBOX")
    assert b"* 0 RECENT" in connect(None).ok("SELECT INBOX")
    assert client.ok("SEARCH RECENT") == [b"* SEARCH 1 2"]


def test_close_removes_silently(client, connect):
    kept(client, 2, flags="(\\Deleted)")
    kept(client)
    other = connect()
    assert client.ok("CLOSE") == []
    assert client.ask("CLOSE")[-1].startswith(b"BAD")
    assert other.ok("NOOP") == [b"* 2 EXPUNGE", b"* 1 EXPUNGE"]


def test_unselect_removes_nothing(client):
    kept(client, flags="(\\Deleted)")
    client.ok("UNSELECT")
    assert b"* 1 EXISTS" in client.ok("SELECT INBOX")


def test_a_session_sees_the_changes_of_another(client, connect):
    other = connect()
    kept(client, 2)
    assert other.ok("NOOP") == [b"* 2 EXISTS", b"* 0 RECENT"]
    client.ok("STORE 1 +FLAGS (\\Flagged)")
    assert other.ok("NOOP") == [rb"* 1 FETCH (UID 1 FLAGS (\Flagged))"]
    other.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    other.ok("EXPUNGE")
    assert client.ok("NOOP") == [b"* 2 EXPUNGE", b"* 1 RECENT"]


@pytest.mark.parametrize("command", ["FETCH 3 FLAGS", "STORE 3 +FLAGS.SILENT (\\Seen)",
                                     "SEARCH ALL"])
def test_no_expunge_during_fetch_store_search(client, connect, command):
    other = connect()
    kept(client, 3)
    other.ok("NOOP")
    client.ok("STORE 1:2 +FLAGS (\\Deleted)")
    client.ok("EXPUNGE")
    assert not [line for line in other.ok(command) if b"EXPUNGE" in line]
    assert other.ok("NOOP")[:2] == [b"* 2 EXPUNGE", b"* 1 EXPUNGE"]
    assert other.ok("FETCH 1 UID") == [b"* 1 FETCH (UID 3)"]


@pytest.mark.parametrize("command", ["UID FETCH 3 FLAGS", "UID STORE 3 +FLAGS.SILENT (\\Seen)",
                                     "UID SEARCH ALL", "CHECK",
                                     "COPY 3 Sent", "STATUS Sent (MESSAGES)"])
def test_expunge_may_be_told_in_other_commands(client, connect, command):
    other = connect()
    kept(client, 3)
    other.ok("NOOP")
    client.ok("STORE 1:2 +FLAGS (\\Deleted)")
    client.ok("EXPUNGE")
    lines = other.ok(command)
    assert [line for line in lines if b"EXPUNGE" in line] == [b"* 2 EXPUNGE", b"* 1 EXPUNGE"]


def test_messages_that_are_gone_but_not_yet_told(client, connect):
    other = connect()
    kept(client, 3)
    other.ok("NOOP")
    client.ok("STORE 2 +FLAGS (\\Deleted)")
    client.ok("EXPUNGE")
    lines = other.ask("FETCH 1:3 (UID BODY.PEEK[])")
    assert [line[:18] for line in lines[:-1]] == [b"* 1 FETCH (UID 1 B", b"* 3 FETCH (UID 3 B",
                                                  b"* 2 FETCH (UID 2 B"]
    assert lines[2] == b"* 2 FETCH (UID 2 BODY[] NIL)"
    assert lines[-1].startswith(b"OK [EXPUNGEISSUED]")
    assert other.ask("STORE 2:3 +FLAGS (\\Seen)")[-1].startswith(b"OK [EXPUNGEISSUED]")
    assert other.ok("FETCH 3 FLAGS") == [b"* 3 FETCH (FLAGS (\\Seen))"]
    other.ok("STORE 2:3 +FLAGS.SILENT (\\Seen)")
    assert other.ok("SEARCH ALL") == [b"* SEARCH 1 3"]
    assert other.ask("COPY 1:3 Sent")[-1].startswith(b"NO [EXPUNGEISSUED]")
    assert other.ok("STATUS Sent (MESSAGES)") == [b"* STATUS Sent (MESSAGES 0)"]


NILS = b"ENVELOPE (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
EMPTY = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0'


@pytest.mark.parametrize("items, answer", [
    ("UID", b"UID 2"), ("FLAGS", b"FLAGS (\\Deleted)"), ("RFC822.SIZE", b"RFC822.SIZE 0"),
    ("INTERNALDATE", b'INTERNALDATE "01-Jan-1970 00:00:00 +0000"'), ("BODY[]", b"BODY[] NIL"),
    ("BODY[TEXT]<3.9>", b"BODY[TEXT]<3> NIL"), ("BODY[1.MIME]", b"BODY[1.MIME] NIL"),
    ("BODY.PEEK[HEADER.FIELDS (From)]", b"BODY[HEADER.FIELDS (From)] NIL"),
    ("RFC822", b"RFC822 NIL"), ("RFC822.TEXT", b"RFC822.TEXT NIL"), ("ENVELOPE", NILS),
    ("BODY", b"BODY " + EMPTY + b")"), ("BODYSTRUCTURE", b"BODYSTRUCTURE " + EMPTY
                                        + b" NIL NIL NIL NIL)"),
    ("(FLAGS BODY[])", b"FLAGS (\\Deleted) BODY[] NIL"),
    ("(BODY[] UID ENVELOPE)", b"UID 2 " + NILS + b" BODY[] NIL"),
])
def test_an_expunged_message_by_its_number_is_an_empty_one(client, connect, items, answer):
    """RFC 2180 4.1.3: a program shows a NO to its user. A UID that is gone is ignored."""
    other = connect()
    kept(client, 2)
    other.ok("NOOP")
    client.ok("STORE 2 +FLAGS (\\Deleted)")
    client.ok("EXPUNGE")
    assert other.ask("FETCH 2 " + items) == [b"* 2 FETCH (" + answer + b")",
                                             b"OK [EXPUNGEISSUED] FETCH completed"]
    assert other.ask("FETCH 1 " + items)[-1] == b"OK FETCH completed"
    assert other.ask("UID FETCH 2 " + items) == [b"* 2 EXPUNGE", b"OK UID FETCH completed"]


@pytest.mark.parametrize("command", ["STORE 1:2 +FLAGS (\\Seen)", "STORE 2 FLAGS (\\Seen)",
                                     "STORE 2 -FLAGS.SILENT (\\Seen)",
                                     "FETCH 1:2 FLAGS", "SEARCH ALL"])
def test_no_expunge_while_numbers_are_in_use(client, connect, command):
    other = connect()
    kept(client, 2)
    other.ok("NOOP")
    client.ok("STORE 2 +FLAGS (\\Deleted)")
    client.ok("EXPUNGE")
    lines = other.ok(command)
    assert not any(b"EXPUNGE" in line for line in lines)
    assert other.ok("NOOP")[0] == b"* 2 EXPUNGE"


@pytest.mark.parametrize("command", ["COPY", "MOVE"])
def test_copy_of_an_expunged_message_tells_so_and_works_the_next_time(client, connect, command):
    other = connect()
    kept(client, 3)
    other.ok("NOOP")
    client.ok("STORE 2 +FLAGS (\\Deleted)")
    client.ok("EXPUNGE")
    lines = other.ask(command + " 2:3 Sent")
    assert lines[0] == b"* 2 EXPUNGE" and lines[-1].startswith(b"NO [EXPUNGEISSUED]")
    other.ok(command + " 2 Sent")
    assert other.ok("STATUS Sent (MESSAGES)") == [b"* STATUS Sent (MESSAGES 1)"]


def test_the_selected_mailbox_is_deleted_by_another(client, connect):
    client.ok("CREATE gone")
    other = connect("gone")
    client.ok("DELETE gone")
    other.send(b"x NOOP\r\n")
    assert other.line().startswith(b"* BYE")
    assert other.line() == b""


def test_deleting_the_own_selected_mailbox_leaves_it(client):
    client.ok("CREATE gone")
    client.ok("SELECT gone")
    client.ok("DELETE gone")
    assert client.ask("FETCH 1 FLAGS")[-1].startswith(b"BAD")
    client.ok("SELECT INBOX")


def test_the_selected_mailbox_is_renamed(client, connect):
    client.ok("CREATE old")
    other = connect("old")
    client.ok("RENAME old new")
    kept(client, mailbox="new")
    assert other.ok("NOOP") == [b"* 1 EXISTS", b"* 1 RECENT"]


def test_a_message_whose_file_another_program_removed(client, tmp_path):
    """Before the store has noticed that it is gone, it is an empty message, too."""
    kept(client, 2)
    client.ok("NOOP")
    folder = tmp_path / "mail"
    first = min((path for part in ("new", "cur") for path in (folder / part).iterdir()),
                key=lambda path: path.name)
    first.unlink()
    lines = client.ask("FETCH 1:2 (UID BODY.PEEK[TEXT])")
    assert lines[-1].startswith(b"OK [EXPUNGEISSUED]") and len(lines) == 3
    assert sum(line.endswith(b"BODY[TEXT] NIL)") for line in lines) == 1
