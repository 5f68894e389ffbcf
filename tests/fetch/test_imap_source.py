"""The IMAP source against a server that behaves well, and one that does not quite."""
import pytest

from phenmail_protocols.fetch.connecting import Contexts
from phenmail_protocols.fetch.imap import source as imap_source
from phenmail_protocols.fetch.imap.source import ImapSource
from phenmail_protocols.fetch.source import (
    PIECE,
    BoxGone,
    FetchError,
    MessageGone,
    RemoteMessage,
    Throttled,
    Unreadable,
)
from tests.fetch.conftest import PASSPHRASE
from tests.fetch.imap_server import Message

LIMIT = 50 << 20


@pytest.fixture
def source(imap_account):
    """`source(server)` -> an ImapSource of it, with Inbox open."""
    opened = []

    def make(server, box="Inbox", limit=LIMIT, **changes):
        opened.append(ImapSource(imap_account(server, **changes), PASSPHRASE, limit))
        if box:
            opened[-1].open(box)
        return opened[-1]
    yield make
    for one in opened:
        one.close()


def never(key):
    return False


def bodies(pairs):
    return {message.key: b"".join(pieces) for message, pieces in pairs}


# Lists

def test_lists_new_messages(imap_server, source):
    server = imap_server([Message(3, b"abc", [b"\\Seen", b"\\Recent", b"work"]), Message(9, b"de")])
    box = ImapSource.open(source(server), "INBOX")
    assert (box.validity, box.next_uid, box.modseq, box.count) == (77, 10, 1, 2)
    assert list(source(server).new(0, never)) == [
        RemoteMessage("3", 3, ("\\Seen", "work"), 1578182400.0),
        RemoteMessage("9", 2, (), 1578182400.0)]


def test_leaves_out_known_and_older_messages(imap_server, source):
    server = imap_server([Message(uid, b"x") for uid in (3, 5, 9)])
    one = source(server)
    assert [m.key for m in one.new(3, lambda key: key == "9")] == ["5"]
    assert list(one.new(9, never)) == []  # "10:*" names 9
    assert list(one.new((1 << 32) - 1, never)) == []


@pytest.mark.parametrize("after", [0, 1, 2999, 3000, 7000, 69000, 69990, 70000])
def test_lists_a_large_mailbox_in_windows(imap_server, source, monkeypatch, after):
    monkeypatch.setattr(imap_source, "WINDOW", 50)
    server = imap_server([Message(uid, b"x") for uid in range(10, 70001, 70)])
    found = [int(m.key) for m in source(server).new(after, never)]
    assert found == [uid for uid in range(10, 70001, 70) if uid > after]
    asked = [arguments for name, arguments in server.commands if name == b"FETCH"]
    assert len(asked) <= 60


def test_a_message_is_never_left_out_when_others_are_expunged(imap_server, source, monkeypatch):
    monkeypatch.setattr(imap_source, "WINDOW", 10)
    server = imap_server([Message(uid, b"x") for uid in range(1, 101)])
    found = []
    for message in source(server).new(0, never):
        found.append(int(message.key))
        if len(found) == 10:
            del server.messages[:10]  # those that were listed: all others move up
        if len(found) == 30:
            del server.messages[:15]
    assert found == list(range(1, 101))


def test_a_message_that_arrives_meanwhile_is_listed(imap_server, source, monkeypatch):
    monkeypatch.setattr(imap_source, "WINDOW", 10)
    server = imap_server([Message(uid, b"x") for uid in range(1, 31)])
    found = []
    for message in source(server).new(0, never):
        found.append(int(message.key))
        if len(found) == 1:
            server.messages.append(Message(31, b"x"))
    assert found == list(range(1, 32))


def test_a_wrong_count_neither_hides_messages_nor_lasts(imap_server, source):
    server = imap_server([Message(5, b"x")])

    def select(session, tag, _):
        session.send(b"* 4000000000 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n")
        session.tagged(tag)
    server.answers[b"SELECT"] = select
    assert [m.key for m in source(server).new(0, never)] == ["5"]
    assert len(server.commands) < 20


def test_flags_of_others_in_between_are_no_new_messages(imap_server, source):
    server = imap_server([Message(1, b"x"), Message(2, b"y")])

    def fetch(session, tag, arguments):
        session.send(b"* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n")
        session.run_fetch(tag, arguments)
    server.answers[b"FETCH"] = fetch
    assert [(m.key, m.size) for m in source(server).new(0, never)] == [("1", 1), ("2", 1)]


def test_changed_flags(imap_server, source):
    server = imap_server([Message(1, b"x", [b"\\Seen"], modseq=5), Message(2, b"x", modseq=9)])
    one = source(server)
    assert list(one.changed_flags(5)) == [RemoteMessage("2", 0)]
    assert list(one.changed_flags(4)) == [RemoteMessage("1", 0, ("\\Seen",)), RemoteMessage("2", 0)]


def test_no_changed_flags_without_condstore(imap_server, source):
    server = imap_server([Message(1, b"x")], b"IMAP4rev1 AUTH=PLAIN")

    def select(session, tag, _):
        session.send(b"* 1 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n")
        session.tagged(tag)
    server.answers[b"SELECT"] = select
    assert list(source(server).changed_flags(0)) == []


# Messages

def test_reads_a_large_message_in_pieces_and_from_an_offset(imap_server, source):
    body = bytes(bytearray(range(256))) * (5 * PIECE // 512)
    server = imap_server([Message(4, body)])
    one = source(server)
    [message] = one.new(0, never)
    pieces = list(one.read(message))
    assert b"".join(pieces) == body
    assert [len(piece) for piece in pieces] == [PIECE, PIECE, PIECE // 2]
    assert b"".join(one.read(message, PIECE + 7)) == body[PIECE + 7:]


@pytest.mark.parametrize("length", [PIECE - 1, PIECE, PIECE + 1])
def test_sizes_about_a_piece(imap_server, source, length):
    body = b"z" * length
    one = source(imap_server([Message(1, body), Message(2, body)]))
    assert bodies(one.read_all(one.new(0, never))) == {"1": body, "2": body}


def test_reads_many_with_few_commands(imap_server, source):
    sent = {str(uid): b"Subject: %d\r\n\r\n" % uid for uid in range(1, 1001, 3)}
    server = imap_server([Message(int(uid), body) for uid, body in sorted(
        sent.items(), key=lambda pair: int(pair[0]))])
    one = source(server)
    assert bodies(one.read_all(one.new(0, never))) == sent
    assert server.names().count(b"FETCH") < 10


@pytest.mark.parametrize("announced", [0, 1, 100, 4 << 30])
@pytest.mark.parametrize("length", [1, 99, 5000, PIECE, 2 * PIECE + 5])
def test_every_octet_whatever_the_size_said(imap_server, source, announced, length):
    body = b"q" * length
    one = source(imap_server([Message(1, body, size=announced), Message(2, body, size=announced)]))
    assert bodies(one.read_all(one.new(0, never))) == {"1": body, "2": body}
    [first, _] = one.new(0, never)
    assert b"".join(one.read(first)) == body


def test_many_small_sizes_that_are_lies_do_not_fill_the_memory(imap_server, source, monkeypatch):
    kept = []
    bodies_of = ImapSource._bodies

    def look(self, *arguments):
        found = bodies_of(self, *arguments)
        kept.append(sum(map(len, found.values())))
        return found
    monkeypatch.setattr(ImapSource, "_bodies", look)
    body = b"l" * (200 * 1024)
    one = source(imap_server([Message(uid, body, size=10) for uid in range(1, 21)]))
    for _, pieces in one.read_all(one.new(0, never)):
        assert b"".join(pieces) == body
    assert max(kept) <= 2 * PIECE


def test_short_pieces_are_only_doubted_a_few_times(imap_server, source):
    server = imap_server([Message(uid, b"short", size=5000) for uid in range(1, 51)])
    one = source(server)
    assert set(bodies(one.read_all(one.new(0, never))).values()) == {b"short"}
    assert server.names().count(b"FETCH") < 10


def test_a_server_that_gives_less_than_asked_for_is_asked_on(imap_server, source):
    server = imap_server([Message(1, b"0123456789" * 3000)])

    def fetch(session, tag, arguments):
        session.run_fetch(tag, arguments.replace(b".%d>" % PIECE, b".4096>"))
    server.answers[b"FETCH"] = fetch
    one = source(server)
    [message] = one.new(0, never)
    assert b"".join(one.read(message)) == b"0123456789" * 3000


def test_one_octet_at_a_time_ends(imap_server, source):
    server = imap_server([Message(1, b"0123456789" * 3000)])

    def fetch(session, tag, arguments):
        session.run_fetch(tag, arguments.replace(b".%d>" % PIECE, b".1>"))
    server.answers[b"FETCH"] = fetch
    one = source(server, limit=PIECE)
    [message] = one.new(0, never)
    with pytest.raises(FetchError, match="too small pieces"):
        list(one.read(message))


def test_more_than_the_limit_is_refused(imap_server, source):
    one = source(imap_server([Message(1, b"x" * 3 * PIECE, size=5)]), limit=2 * PIECE)
    [message] = one.new(0, never)
    got = []
    with pytest.raises(FetchError, match="more than 524288 octets"):
        got.extend(one.read(message))
    assert sum(map(len, got)) <= 2 * PIECE


def test_an_empty_body_of_a_message_that_has_one_is_no_message(imap_server, source):
    one = source(imap_server([Message(1, b"", size=500), Message(2, b"")]))
    first, second = one.new(0, never)
    with pytest.raises(FetchError, match="sends nothing of message 1"):
        list(one.read(first))
    assert list(one.read(second)) == []


@pytest.mark.parametrize("answer", [b'BODY[]<0> "a \\"b\\\\"', b'BODY[] {5}\r\na "b\\',
                                    b'FLAGS (\\Seen) BODY[]<0> {5}\r\na "b\\',
                                    b'body[]<0> ~{5}\r\na "b\\'])
def test_forms_of_a_body(imap_server, source, answer):
    server = imap_server([Message(1, b"")])
    one = source(server)

    def fetch(session, tag, _):
        session.send(b"* 1 FETCH (%s UID 1)\r\n" % answer)
        session.tagged(tag)
    server.answers[b"FETCH"] = fetch
    assert b"".join(one.read(RemoteMessage("1", 5))) == b'a "b\\'


def test_a_server_that_ignores_the_offset_is_refused(imap_server, source):
    server = imap_server([Message(1, b"x" * 3 * PIECE)])

    def fetch(session, tag, arguments):
        start = arguments.index(b"<") + 1
        session.run_fetch(tag, arguments[:start] + b"0" + arguments[arguments.rindex(b"."):])
    one = source(server)
    [message] = one.new(0, never)
    server.answers[b"FETCH"] = fetch
    with pytest.raises(FetchError, match="invalid answer to FETCH"):
        list(one.read(message))


def test_a_message_that_is_gone_does_not_stop_the_others(imap_server, source):
    server = imap_server([Message(uid, b"x%d" % uid) for uid in (1, 2, 3)])
    one = source(server)
    messages = list(one.new(0, never))
    del server.messages[1]
    found = {}
    for message, pieces in one.read_all(messages):
        try:
            found[message.key] = b"".join(pieces)
        except MessageGone as gone:
            found[message.key] = str(gone)
    assert found == {"1": b"x1", "2": "message 2 is no longer in Inbox", "3": b"x3"}


def test_a_message_that_the_server_cannot_read_does_not_stop_the_others(imap_server, source):
    server = imap_server([Message(uid, b"x%d" % uid) for uid in (1, 2, 3)])
    one = source(server)
    messages = list(one.new(0, never))

    def fetch(session, tag, arguments):
        chosen = session.chosen(arguments.split(b" ")[1], True)
        if any(message.uid == 2 for _, message in chosen):
            session.tagged(tag, b"NO [SERVERBUG] broken message")
        else:
            session.run_fetch(tag, arguments)
    server.answers[b"FETCH"] = fetch
    found = {}
    for message, pieces in one.read_all(messages):
        try:
            found[message.key] = b"".join(pieces)
        except FetchError as error:
            found[message.key] = str(error)
    assert found == {"1": b"x1", "3": b"x3",
                     "2": "localhost refused FETCH: [SERVERBUG] broken message"}


def test_a_message_that_is_there_and_not_given_is_not_gone(imap_server, source):
    server = imap_server([Message(uid, b"x%d" % uid) for uid in (1, 2, 3)])
    one = source(server)
    messages = list(one.new(0, never))

    def fetch(session, tag, arguments):
        if b"BODY" in arguments and [2] == [
                message.uid for _, message in session.chosen(arguments.split(b" ")[1], True)]:
            session.tagged(tag)
        else:
            session.run_fetch(tag, arguments)
    server.answers[b"FETCH"] = fetch
    with pytest.raises(Unreadable, match="localhost gives nothing of a message"):
        list(one.read(messages[1]))
    del server.messages[1]
    with pytest.raises(MessageGone):
        list(one.read(messages[1]))


# Mailboxes

def test_lists_boxes_that_can_be_opened(imap_server, source):
    server = imap_server()
    server.namespace = b'(("INBOX." ".")) (("user." ".")) (("shared." ".")("" "."))'
    server.boxes = [
        (b"\\HasChildren", b".", b"INBOX"), (b"\\Noselect", b".", b'"INBOX.Lists"'),
        (b"", b".", b'"INBOX.Lists.dev"'), (b"", b".", b'"INBOX.B&APw-cher"'),
        (b"", b".", b"{9}\r\nINBOX.a/b"), (b"\\NonExistent", b".", b"INBOX.gone"),
        (b"", b".", b"user.other"), (b"", b".", b"shared.all"), (b"", b".", b"INBOX.R&D"),
        (b"", b".", b"NIL")]
    one = source(server, box=None)
    names = one.list_boxes()
    assert names == ("Inbox", "Lists/dev", "B\u00fccher", "a\u2215b", "R&D", "NIL")
    real = {name.strip(b'"').split(b"\n")[-1] for attributes, _, name in server.boxes
            if b"\\No" not in attributes}

    def select(session, tag, arguments):
        if arguments.split(b" (")[0].strip(b'"') in real:
            session.run_select(tag, arguments)
        else:
            session.tagged(tag, b"NO there is none")
    server.answers[b"SELECT"] = select
    for name in names:
        assert one.open(name).name == name
    assert one.open("INBOX/Lists/dev").name == "INBOX/Lists/dev"
    with pytest.raises(BoxGone, match="localhost has no mailbox Lists: there is none"):
        one.open("Lists")


def test_separator_by_list_without_namespace(imap_server, source):
    server = imap_server(capabilities=b"IMAP4rev1 AUTH=PLAIN")
    server.boxes = [(b"\\Noselect", b"\\\\", b'""')]
    source(server, "a/b")
    assert (b"SELECT", b'"a\\\\b"') in server.commands


@pytest.mark.parametrize("text, seconds", [
    (b"[THROTTLED] later", None), (b"[LIMIT] too many", None), (b"[UNAVAILABLE] x", None),
    (b"[OVERQUOTA] Account exceeded command or bandwidth limits", None),
    (b"Account exceeded command or bandwidth limits. (Failure)", None),
    (b"Request is throttled. Suggested Backoff Time: 92432 milliseconds", 92.432)])
@pytest.mark.parametrize("command", [b"SELECT", b"FETCH", b"LIST", b"SEARCH"])
@pytest.mark.parametrize("kind", [b"NO", b"BYE"])
def test_throttling(imap_server, source, text, seconds, command, kind):
    server = imap_server([Message(1, b"x")])
    one = source(server)

    def answer(session, tag, _):
        session.send((b"* BYE " if kind == b"BYE" else tag + b" NO ") + text + b"\r\n")
    server.answers[command] = answer
    with pytest.raises(Throttled) as caught:
        one.open("Inbox")
        one.list_boxes()
        list(one.changed_flags(0))
        list(one.read(RemoteMessage("1", 1)))
    assert caught.value.seconds == seconds
    assert text.decode() in str(caught.value)


def test_uids_that_do_not_last_are_refused(imap_server, source):
    server = imap_server([Message(1, b"x")])

    def select(session, tag, _):
        session.send(b"* 1 EXISTS\r\n")
        session.tagged(tag)
    server.answers[b"SELECT"] = select
    with pytest.raises(FetchError, match="no lasting UIDs"):
        source(server)


# Removing

def test_removes_only_what_was_named(imap_server, source):
    server = imap_server([Message(1, b"a"), Message(2, b"b", [b"\\Deleted"]), Message(3, b"c")])
    one = source(server)
    first, _, third = one.new(0, never)
    one.remove([third, first])
    assert [message.uid for message in server.messages] == [2]
    assert (b"EXPUNGE", b"UID 1,3") in server.commands


@pytest.mark.parametrize("others, left", [((), []), ((2,), [1, 2, 3])])
def test_removes_without_uidplus_if_nobody_elses_go_with_them(imap_server, source, others, left):
    server = imap_server([Message(uid, b"a", [b"\\Deleted"] if uid in others else [])
                          for uid in (1, 2, 3)], b"IMAP4rev1 AUTH=PLAIN")
    one = source(server, remove=True)
    one.remove([m for m in one.new(0, never) if others == () or m.key != "2"])
    assert [message.uid for message in server.messages] == left
    assert all(b"\\Deleted" in message.flags for message in server.messages)


def test_a_refused_removal_is_told(imap_server, source):
    server = imap_server([Message(1, b"a")])
    one = source(server)
    [message] = one.new(0, never)
    server.answers[b"EXPUNGE"] = lambda session, tag, _: session.tagged(tag, b"NO read-only")
    with pytest.raises(FetchError, match="localhost refused UID EXPUNGE: read-only"):
        one.remove([message])


def test_a_mailbox_that_is_read_only_is_read(imap_server, source):
    server = imap_server([Message(1, b"a")])
    select = server.answers[b"SELECT"] = lambda session, tag, _: (
        session.send(b"* 1 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n"),
        session.tagged(tag, b"OK [READ-ONLY] done"))
    server.answers[b"SELECT"] = select
    one = source(server, remove=True)
    [message] = one.new(0, never)
    assert b"".join(one.read(message)) == b"a"
    with pytest.raises(FetchError, match="localhost allows no changes in the mailbox"):
        one.remove([message])
    assert b"STORE" not in server.names()


# Its end

def test_abort_ends_a_wait_at_once(imap_server, source):
    import threading
    server = imap_server([Message(1, b"a")])
    one = source(server)
    reached = threading.Event()

    def fetch(session, tag, _):
        reached.set()
        session.file.readline()
    server.answers[b"FETCH"] = fetch
    thread = threading.Thread(target=lambda: reached.wait(10) and one.abort())
    thread.start()
    with pytest.raises(FetchError, match="stopped"):
        list(one.new(0, never))
    thread.join()


def test_close_says_logout_and_may_be_called_again(imap_server, imap_account):
    server = imap_server()
    with ImapSource(imap_account(server), PASSPHRASE, LIMIT, contexts=Contexts()) as one:
        pass
    assert server.names()[-1] == b"LOGOUT"
    one.close()


def test_a_server_that_knows_no_parameters_of_select(imap_server, source):
    server = imap_server([Message(1, b"a")])

    def select(session, tag, arguments):
        if b"(" in arguments:
            session.tagged(tag, b"BAD what is this?")
        else:
            session.run_select(tag, arguments)
    server.answers[b"SELECT"] = select
    one = source(server)
    assert [message.key for message in one.new(0, never)] == ["1"]
    one.open("Inbox")
    assert server.names().count(b"SELECT") == 3


@pytest.mark.parametrize("text, gone", [
    (b"no", True), (b"[NONEXISTENT] no", True), (b"[NOPERM] no", True), (b"[SERVERBUG] x", False),
    (b"[INUSE] x", False)])
def test_only_a_missing_mailbox_is_gone(imap_server, source, text, gone):
    server = imap_server()
    server.answers[b"SELECT"] = lambda session, tag, _: session.tagged(tag, b"NO " + text)
    with pytest.raises(FetchError) as caught:
        source(server)
    assert isinstance(caught.value, BoxGone) == gone


def test_a_prefix_outside_ascii(imap_server, source):
    server = imap_server()
    server.namespace = b'(("M&APw-ll." ".")) NIL NIL'
    server.boxes = [(b"", b".", b"M&APw-ll.a")]
    one = source(server, box=None)
    assert one.list_boxes() == ("a",)
    one.open("a")
    assert (b"SELECT", b'"M&APw-ll.a" (CONDSTORE)') in server.commands


def test_a_message_without_a_date_is_not_left_out(imap_server, source):
    server = imap_server([Message(1, b"x")])
    one = source(server)

    def fetch(session, tag, _):
        session.send(b"* 1 FETCH (UID 1 RFC822.SIZE 5 FLAGS ())\r\n"
                     b"* 2 FETCH (UID 2 RFC822.SIZE 5 INTERNALDATE NIL)\r\n")
        session.tagged(tag)
    server.answers[b"FETCH"] = fetch
    assert list(one.new(0, never)) == [RemoteMessage("1", 5), RemoteMessage("2", 5)]


def test_many_mailboxes_and_namespaces_take_no_long_time(imap_server, source):
    import time
    server = imap_server()
    server.namespace = b'(("" "/")) ((%s)) NIL' % b")(".join(
        b'"o%d/" "/"' % number for number in range(2000))
    server.boxes = [(b"", b"/", b"m%d" % number) for number in range(20000)]
    one = source(server, box=None)
    begun = time.monotonic()
    assert len(one.list_boxes()) == 20000
    assert time.monotonic() - begun < 5
