"""What bad input gets from the running program: BAD with the place in the line for syntax, NO with a
response code for the rest. It never reads or writes outside the user's folder, or more than its
limits."""
import os
import re

import pytest

from phenmail_protocols.config.settings import Limits

from . import running

MESSAGE = b"Subject: hello\r\n\r\nHow are you?\r\n"
LARGEST = 1 << 20  # octets of a message


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("bad") / "root"
    with running.server(root, limits={"message-size": LARGEST}) as server:
        with running.Client(server) as client:
            for _ in range(3):
                client.append(MESSAGE)
        yield server


@pytest.fixture
def connect(server):
    clients = []

    def connect(**more):
        clients.append(running.Client(server, **more))
        return clients[-1]
    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def client(connect):
    return connect()


# -- syntax: BAD, and where

#: Each mistake is behind the "¦".
MISTAKES = """
    FETCH 1 ¦NOTHING
    FETCH ¦0 FLAGS
    FETCH ¦1:x FLAGS
    FETCH ¦4294967296 FLAGS
    FETCH 1 BINARY[¦0]
    FETCH 1 BINARY[1]<0¦>
    FETCH 1 BINARY.SIZE[1¦.MIME]
    FETCH 1 FLAGS (¦CHANGEDUNTIL 1)
    FETCH 1 FLAGS (CHANGEDSINCE ¦-1)
    FETCH 1 FLAGS (CHANGEDSINCE ¦9223372036854775808)
    FETCH 1 FLAGS (CHANGEDSINCE ¦18446744073709551616)
    FETCH 1 FLAGS (CHANGEDSINCE 1 ¦VANISHED)
    UID FETCH 1 FLAGS (¦VANISHED)
    FETCH $¦:1 FLAGS
    STORE 1 (¦CHANGEDSINCE 1) FLAGS (x)
    STORE 1 (UNCHANGEDSINCE ¦9223372036854775808) FLAGS (x)
    STORE 1 (UNCHANGEDSINCE 1)¦+FLAGS (x)
    STORE 1 +FLAGS (¦\\Recent)
    SEARCH MODSEQ ¦9223372036854775808
    SEARCH MODSEQ "/flags/\\\\Seen" ¦none 1
    SEARCH ¦FRUIT
    SEARCH RETURN (¦FEW) ALL
    SEARCH OLDER ¦0
    SEARCH YOUNGER ¦4294967296
    SEARCH SINCE ¦yesterday
    SORT ¦DATE UTF-8 ALL
    SORT (¦SIZES) UTF-8 ALL
    SORT (DATE ¦SIZE,TO) UTF-8 ALL
    SORT (REVERSE ¦REVERSE DATE) UTF-8 ALL
    SORT RETURN (¦PARTIAL 1:2) (DATE) UTF-8 ALL
    SORT (DATE) UTF-8 ¦FRUIT
    THREAD ¦SUBJECT UTF-8 ALL
    THREAD REFERENCES UTF-8¦
    SELECT INBOX (¦FAST)
    SELECT INBOX (QRESYNC (¦0 1))
    SELECT INBOX (QRESYNC (¦4294967296 1))
    SELECT INBOX (QRESYNC (1 ¦9223372036854775808))
    SELECT INBOX (QRESYNC (1 1 ¦*))
    SELECT INBOX (QRESYNC (1 1 ¦1:*))
    SELECT INBOX (QRESYNC (1 1 ¦$))
    SELECT INBOX (QRESYNC (1 1 ¦))
    SELECT INBOX (QRESYNC (1 1 1:3 (1:3 ¦1:*)))
    SELECT INBOX (QRESYNC (1 1 1:3 (1:3¦)))
    STATUS INBOX (¦SEEN)
    LIST (¦HIDDEN) "" *
    LIST "" * RETURN (¦HIDDEN)
    LIST "" * RETURN (STATUS (¦SEEN))
    CREATE box (¦FOR (\\Sent))
    CREATE box (USE ¦\\Sent)
    CREATE box (USE (¦Sent))
    GETQUOTA ¦(x)
    GETQUOTAROOT¦
    SETQUOTA "" ¦STORAGE 1
    SETQUOTA "" (STORAGE ¦x)
    SETQUOTA "" (STORAGE ¦9223372036854775808)
    SEARCH EMAILID ¦(x)
    SEARCH THREADID x ¦y
    FETCH 1 (EMAILID ¦x)
    NOTIFY SET (¦FRUIT (MessageNew))
    NOTIFY SET (SELECTED (MessageNew (¦FRUIT)))
    NOTIFY SET (¦)
    ENABLE ¦(CONDSTORE)
    ID ¦name
    COMPRESS ¦(DEFLATE)
    UID EXPUNGE ¦0
    MOVE 1¦
    UID MOVE ¦a Sent
    COPY 1 Sent¦ Trash
    APPEND INBOX (¦\\Nonsense) {9}
    APPEND INBOX ¦"yesterday" {9}
"""


@pytest.mark.parametrize("line", [line[4:] for line in MISTAKES.splitlines() if line.strip()])
def test_syntax_errors_name_the_place(client, line):
    command = line.replace("¦", "")
    if line.endswith("{9}"):
        command += "\r\nA: b\r\n\r\nx"
        client.send(b"t1 " + command.split("\r\n", 1)[0].encode() + b"\r\n")
        assert client.line().startswith(b"+ ")
        client.send(command.split("\r\n", 1)[1].encode() + b"\r\n")
        answer = client.line()[3:]
    else:
        answer, = client.ask(command)
    name = " ".join(command.split()[:2 if command.startswith("UID") else 1])
    place = len("t1 ") + line.index("¦") + 1
    assert re.fullmatch(rb"BAD %b: expected .+ at octet %d" % (name.encode(), place), answer), answer
    client.ok("NOOP")


def test_of_a_further_message(client):
    client.send(b"a APPEND INBOX {5+}\r\nA: b\n (\\Nonsense) {5+}\r\nA: b\n\r\n")
    assert client.line() == (
        b"a BAD APPEND, after a message: expected one of \\Answered \\Flagged \\Deleted \\Seen"
        b" \\Draft or a keyword at octet 3")
    client.ok("NOOP")


def test_ten_errors_in_a_row_end_the_connection(client):
    mistakes = [line[4:].replace("¦", "") for line in MISTAKES.splitlines() if line.strip()]
    for command in mistakes[:Limits().errors]:
        assert client.ask(command)[-1].startswith(b"BAD ")
    assert client.line() == b"* BYE Too many errors, closing connection"
    assert client.line() == b""


# -- numbers that are not there

@pytest.mark.parametrize("command", [
    "FETCH 9 FLAGS", "FETCH 2:9 BINARY.SIZE[1]", "FETCH 9 FLAGS (CHANGEDSINCE 1)",
    "STORE 9 +FLAGS (x)", "STORE 9 (UNCHANGEDSINCE 9) +FLAGS (x)", "COPY 9 Sent", "MOVE 9 Sent",
    "FETCH 4294967295 FLAGS"])
def test_message_numbers_that_do_not_exist(client, command):
    """RFC 3501 9: seq-number."""
    assert client.ask(command)[-1] == b"BAD No such message"


@pytest.mark.parametrize("command", [
    "UID FETCH 9 (FLAGS BINARY[1])", "UID FETCH 9 FLAGS (CHANGEDSINCE 1)",
    "UID STORE 9 +FLAGS (x)", "UID STORE 9 (UNCHANGEDSINCE 1) +FLAGS (x)", "UID COPY 9 Sent",
    "UID MOVE 4294967295 Sent", "UID EXPUNGE 9"])
def test_uids_that_do_not_exist_are_ignored(client, command):
    """RFC 3501 6.4.8."""
    assert [line for line in client.ask(command) if b"HIGHESTMODSEQ" not in line] == [
        b"OK %b completed" % command[:command.index(" ", 4)].encode()]


@pytest.mark.parametrize("command, answer", [
    ("SEARCH 9", b"* SEARCH"), ("SEARCH UID 9", b"* SEARCH"), ("SORT (DATE) UTF-8 9", b"* SORT"),
    ("UID SORT (DATE) UTF-8 UID 9:4294967295", b"* SORT 3"),
    ("THREAD REFERENCES UTF-8 9:10", b"* THREAD")])
def test_searching_for_them_finds_nothing(client, command, answer):
    """As Dovecot does. 9:n includes no message, n:* the last one."""
    found = client.ok(command)
    assert found == [answer if b" 3" not in answer else b"* SORT"]


@pytest.mark.parametrize("command", ["FETCH 1 FLAGS", "FETCH * FLAGS", "COPY 1:* Sent",
                                     "STORE * FLAGS (x)"])
def test_an_empty_mailbox_has_no_number(client, command):
    client.ok("SELECT Drafts")
    assert client.ask(command) == [b"BAD No such message"]


# -- mod-sequences, and what a client claims to know

def validity(client):
    lines = b" ".join(client.ok("SELECT INBOX"))
    return int(re.search(rb"UIDVALIDITY (\d+)", lines).group(1))


def test_mod_sequences_at_their_limits(client):
    everything = {b"1", b"2", b"3"}

    def numbers(command):
        return {line.split()[1] for line in client.ok(command) if b" FETCH " in line}
    assert numbers("FETCH 1:* FLAGS (CHANGEDSINCE 0)") == everything
    assert numbers("FETCH 1:* FLAGS (CHANGEDSINCE 9223372036854775807)") == set()
    assert client.ok("SEARCH MODSEQ 0")[0].startswith(b"* SEARCH 1 2 3 (MODSEQ ")
    assert client.ok("SEARCH MODSEQ 9223372036854775807") == [b"* SEARCH"]
    refused = client.ask("STORE 1 (UNCHANGEDSINCE 0) +FLAGS.SILENT (x)")[-1]
    assert refused.startswith(b"OK [MODIFIED 1]")
    accepted = client.ask("STORE 1 (UNCHANGEDSINCE 9223372036854775807) -FLAGS.SILENT (x)")[-1]
    assert accepted == b"OK STORE completed"


@pytest.mark.parametrize("known, told", [
    ("{same} 0", {1, 2, 3}), ("{same} 1", {1, 2, 3}), ("{same} 9223372036854775807", set()),
    ("{same} 1 2", {2}), ("{same} 1 77:99", set()), ("{same} 1 1:4294967295", {1, 2, 3}),
    ("{same} 1 4294967295:1", {1, 2, 3}), ("{same} 1 2,2,2:2", {2}),
    ("{same} 1 1:3 (1:3 7:9)", {1, 2, 3}), ("{same} 1 1:3 (3,2,1 1)", {1, 2, 3}),
    ("{same} 1 (4294967295 4294967295)", {1, 2, 3}),
    ("{same} 1 1:3 (1:4294967295 1:4294967295)", {1, 2, 3}),
    ("{other} 1", set()), ("{other} 1 1:3 (1:3 1:3)", set()), ("1 0 1", set()),
    ("{same} 1 %s" % ",".join(map(str, range(4000001, 0, -800))), {1}),
], ids=lambda value: value[:40] if isinstance(value, str) else None)
def test_what_a_client_claims_to_know(client, known, told):
    """QRESYNC: whatever it says, it hears of no message that is there as vanished. With another
    UIDVALIDITY it hears nothing more (RFC 7162 3.2.5.1)."""
    client.ok("ENABLE QRESYNC")
    same = validity(client)
    lines = client.ok("SELECT INBOX (QRESYNC (%s))" % known.format(same=same, other=same + 1))
    assert {int(line.split()[1]) for line in lines if b" FETCH " in line} == told
    assert b"* 3 EXISTS" in lines and b"UIDVALIDITY %d" % same in b" ".join(lines)
    assert not any(b"VANISHED" in line for line in lines)
    vanished = [line for line in client.ok("UID FETCH 1:4294967295 FLAGS (CHANGEDSINCE 1 VANISHED)")
                if b"VANISHED" in line]
    assert not vanished


@pytest.mark.parametrize("command", [
    "SELECT INBOX (QRESYNC (1 1))", "UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)"])
def test_qresync_must_be_enabled(client, command):
    assert client.ask(command)[-1] == b"BAD QRESYNC must be enabled first"


# -- literals

@pytest.mark.parametrize("command, answer", [
    (b"APPEND INBOX {%d}" % (LARGEST + 1), b"NO [TOOBIG]"),
    (b"APPEND INBOX ~{%d}" % (LARGEST + 1), b"NO [TOOBIG]"),
    (b"APPEND INBOX UTF8 (~{%d}" % (LARGEST + 1), b"NO [TOOBIG]"),
    (b"APPEND INBOX (\\Nonsense) {%d}" % (LARGEST + 1), b"BAD [TOOBIG]"),
    (b"APPEND INBOX {0}", b"NO [CANNOT]"), (b"APPEND nowhere {9}", b"NO [TRYCREATE]"),
    (b"APPEND {99999}", b"BAD [TOOBIG]"), (b"SELECT {99999}", b"BAD [TOOBIG]"),
    (b"SEARCH TEXT {99999}", b"BAD [TOOBIG]"), (b"SEARCH TEXT {18446744073709551616}", b"BAD [TOOBIG]"),
    (b"SORT (DATE) UTF-8 TEXT {99999}", b"BAD [TOOBIG]"),
    (b"THREAD REFERENCES UTF-8 SUBJECT {99999}", b"BAD [TOOBIG]"),
    (b"FETCH 1 BODY[HEADER.FIELDS ({99999}", b"BAD [TOOBIG]"), (b'LIST "" {99999}', b"BAD [TOOBIG]"),
    (b'ID ("name" {99999}', b"BAD [TOOBIG]"), (b"FRUIT {99999}", b"BAD [TOOBIG]")])
def test_literals_over_the_limit_are_refused_before_they_are_sent(client, command, answer):
    client.send(b"a " + command + b"\r\n")
    assert client.line().startswith(b"a " + answer)
    client.ok("NOOP")


@pytest.mark.parametrize("first", [b"{%d+}", b"~{%d+}"])
def test_a_further_message_over_the_limit(client, first):
    client.send(b"a APPEND INBOX " + first % len(MESSAGE) + b"\r\n" + MESSAGE
                + b" {%d}\r\n" % (LARGEST + 1))
    assert client.line().startswith(b"a NO [TOOBIG]")
    assert client.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 3)"]


def test_who_sends_them_anyway(client):
    """The literal is dropped; nothing in it is a command."""
    injected = b"x DELETE Archive\r\n" * ((LARGEST >> 4) + 1)
    client.send(b"a APPEND INBOX {%d+}\r\n%b\r\nb NOOP\r\n" % (len(injected), injected))
    assert client.line().startswith(b"a NO [TOOBIG]")
    assert client.line().startswith(b"b OK")
    client.ok("STATUS Archive (MESSAGES)")


def test_a_compression_bomb(client):
    """64 MB in 64 KB: no line has so many octets, so the connection ends."""
    client.compress()
    bomb = client._deflate(b"x" * (64 << 20))
    assert len(bomb) < 100000
    client.socket.sendall(bomb)
    assert client.line() == b""


# -- names of mailboxes

NAMED = ("CREATE {}", "DELETE {}", "RENAME {} box", "RENAME Archive {}", "SELECT {}",
         "EXAMINE {}", "STATUS {} (MESSAGES SIZE)", "COPY 1 {}", "UID MOVE 1 {}", "SUBSCRIBE {}")
INVALID = [
    b'"/"', b'"/etc/passwd"', b'"a//b"', b'""', b'"a\x01b"', b'"a\x7fb"', b"{3+}\r\na\rb",
    b"{3+}\r\na\nb", b'"a\tb"', b'"a\xffb"', b"{2+}\r\n\xc3(", b"&AA0-", b"&AAAA-", b"&AC8-",
    b"&2AA-", b"a&b", b"/".join([b"x" * 60] * 100), b"x" * 60000, b"/".join([b"x"] * 20000)]


@pytest.mark.parametrize("command", NAMED)
@pytest.mark.parametrize("name", INVALID, ids=lambda name: repr(name[:20]))
def test_invalid_names_are_refused(client, name, command):
    answer = client.ask(command.encode().replace(b"{}", name))[-1]
    assert answer.startswith((b"NO [CANNOT] ", b"NO [NONEXISTENT] ")), answer
    assert all(32 <= octet < 127 for octet in answer)
    client.ok("NOOP")


@pytest.mark.parametrize("name", INVALID, ids=lambda name: repr(name[:20]))
def test_invalid_names_in_questions(client, name):
    """Both are allowed for mailboxes that do not exist (RFC 9208 4.1.2, RFC 5465 6)."""
    for command in b"GETQUOTAROOT " + name, (
            b"NOTIFY SET (MAILBOXES " + name + b" (MessageNew MessageExpunge))"):
        assert re.match(rb"OK |NO \[CANNOT\] ", client.ask(command)[-1])
    client.ok("NOOP")


@pytest.mark.parametrize("name", INVALID, ids=lambda name: repr(name[:20]))
def test_an_append_to_an_invalid_name_is_refused_before_the_message_is_sent(client, name):
    client.send(b"a APPEND " + name + b" {9}\r\n")
    assert client.line().startswith((b"a NO [CANNOT] ", b"a BAD "))
    client.ok("NOOP")


@pytest.mark.parametrize("name", [b"{3+}\r\na\0b", b'"a\0b"', b'"' + b"x" * 70000 + b'"'],
                         ids=["literal", "quoted", "line"])
def test_no_command_takes_nul_or_too_long_a_line(client, name):
    for command in NAMED[:8]:
        assert client.ask(command.encode().replace(b"{}", name))[-1].startswith(b"BAD ")
    client.ok("NOOP")


@pytest.mark.parametrize("pattern", INVALID + [b"../*", b'"/*"', b"%/../%", b'"*\xff*"'],
                         ids=lambda name: repr(name[:20]))
def test_patterns_list_only_the_users_mailboxes(client, pattern):
    for command in b'LIST "" ' + pattern, b'LSUB "" ' + pattern, b"LIST " + pattern + b" *":
        lines = client.ask(command)
        assert len(lines) == 1 and lines[0].startswith((b"OK ", b"NO [CANNOT] ", b"BAD ")) or (
            pattern == b'""' and b"../" not in b"".join(lines))
    client.ok("NOOP")


#: Names that look like paths, but are names: a folder's name escapes what has a meaning.
STRANGE = [b"..", b"../x", b"a/../../b", b"./a", b".a", b"a.", b".", b'"~"', b'"~root/x"', b'"*"',
           b'"%"', b'"\\\\"', b"cur", b"new", b"tmp/x", b"phenmail-index.sqlite", b"subscriptions",
           b"INBOX/..", b'"mail.jcfg"', b'"\xc3\xa9"', b"&AOk-", b'"a\\"b"', b'"&-"', b"con", b"a:2,S"]


def everything(folder):
    found = set()
    for path, folders, names in os.walk(folder):
        found.update(os.path.join(path, name) for name in folders + names)
    return found


@pytest.mark.parametrize("name", STRANGE, ids=repr)
def test_strange_names_stay_in_the_users_folder(server, client, name):
    def others():
        keys = server.root.mail_system  # the server makes them
        return {path for path in everything(server.root.path) if not path.startswith(
            (running.folder(server) + os.sep, keys))}
    own, others_before = running.folder(server), others()
    mails_before = {path for path in everything(own) if os.path.dirname(path) in (
        os.path.join(own, "cur"), os.path.join(own, "new"))}

    def ok(command):
        return client.ok(command.encode().replace(b"{}", name))
    ok("CREATE {}")
    ok("COPY 1 {}")
    assert b"MESSAGES 1" in ok("STATUS {} (MESSAGES)")[0]
    ok("SUBSCRIBE {}")
    ok("RENAME {} moved")
    ok("RENAME moved {}")
    client.send(b"a APPEND " + name + b" {%d+}\r\n" % len(MESSAGE) + MESSAGE + b"\r\n")
    client.until(b"a OK")
    assert b"* 2 EXISTS" in ok("SELECT {}")
    client.ok("SELECT INBOX")
    assert others() == others_before
    ok("UNSUBSCRIBE {}")
    ok("DELETE {}")
    assert mails_before <= everything(own)
    client.ok("SELECT INBOX")


def test_too_long_a_name_is_not_subscribed(client):
    assert client.ask("SUBSCRIBE " + "x" * 5000)[-1].startswith(b"NO [CANNOT] ")
    assert client.ask('SUBSCRIBE "%s"' % "/".join(["x" * 9] * 500))[-1].startswith(b"NO [CANNOT] ")


# -- the rest: NO, and why

@pytest.mark.parametrize("command, code", [
    ("SORT (DATE) NO-CHARSET ALL", b"BADCHARSET (US-ASCII UTF-8)"),
    ("UID THREAD REFERENCES NO-CHARSET ALL", b"BADCHARSET (US-ASCII UTF-8)"),
    ("SEARCH CHARSET NO-CHARSET ALL", b"BADCHARSET (US-ASCII UTF-8)"),
    ("CREATE INBOX", b"ALREADYEXISTS"), ("CREATE Sent", b"ALREADYEXISTS"),
    ("DELETE INBOX", b"CANNOT"), ("DELETE nowhere", b"NONEXISTENT"),
    ("RENAME nowhere somewhere", b"NONEXISTENT"), ("RENAME Sent Trash", b"ALREADYEXISTS"),
    ("SELECT nowhere", b"NONEXISTENT"), ("STATUS nowhere (MESSAGES)", b"NONEXISTENT"),
    ("COPY 1 nowhere", b"TRYCREATE"), ("UID MOVE 1 nowhere", b"TRYCREATE"),
    ("GETQUOTA nowhere", b"NONEXISTENT"), ('SETQUOTA "" (STORAGE 1)', b"NOPERM"),
    ("CREATE box (USE (\\Fruit))", b"USEATTR"),
    ("NOTIFY SET (PERSONAL (FruitRipe))",
     b"BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)")])
def test_refusals_have_a_response_code(client, command, code):
    assert client.ask(command)[-1].startswith(b"NO [" + code + b"] ")
