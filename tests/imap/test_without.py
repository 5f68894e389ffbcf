"""The switch "without": what is off is neither offered, understood nor sent.

A new capability needs a row in USES, and in config/imap_extensions.py.
"""
import imaplib
import json
import os

import pytest

import phenmail
from phenmail_protocols.config.imap_extensions import NEEDS, switched_off
from phenmail_protocols.imap import capabilities

from . import wire

MESSAGE = b"From: a@example.org\r\nSubject: hello\r\n\r\nHow are you?\r\n"
PLAIN = "AHUAcA=="  # u, p

#: Extension -> commands that only it allows: BAD without it, and not BAD with it. INBOX is
#: selected and has a message. What precedes a semicolon is sent first.
USES = {
    "ID": ["ID NIL"],
    "LITERAL+": ["SEARCH TEXT {3+}\r\nyou", "APPEND INBOX {8+}\r\nA: b\r\n\r\n"],
    "ENABLE": ["ENABLE CONDSTORE"],
    "IDLE": ["IDLE\r\nDONE"],
    "NAMESPACE": ["NAMESPACE"],
    "UNSELECT": ["UNSELECT"],
    "UIDPLUS": ["UID EXPUNGE 1"],
    "MOVE": ["MOVE 1 Archive", "UID MOVE 1 Archive"],
    "CHILDREN": ['LIST "" * RETURN (CHILDREN)'],
    "LIST-EXTENDED": ['LIST (SUBSCRIBED) "" *', 'LIST "" (INBOX Sent)',
                      'LIST "" * RETURN (SUBSCRIBED)', 'LIST () "" *', 'LIST "" * RETURN ()'],
    "LIST-STATUS": ['LIST "" * RETURN (STATUS (MESSAGES))'],
    "SPECIAL-USE": ['LIST (SPECIAL-USE) "" *', 'LIST "" * RETURN (SPECIAL-USE)'],
    "CREATE-SPECIAL-USE": ["CREATE Old (USE (\\Archive))"],
    "OBJECTID": ["STATUS Sent (MAILBOXID)", "FETCH 1 EMAILID", "FETCH 1 (UID THREADID)",
                 "SEARCH EMAILID M1", "SEARCH THREADID T1"],
    "QUOTA": ['GETQUOTA ""', "GETQUOTAROOT INBOX", 'SETQUOTA "" ()'],
    "QUOTA=RES-STORAGE": ["STATUS Sent (DELETED-STORAGE)"],
    "QUOTA=RES-MESSAGE": ["STATUS Sent (DELETED)"],
    "STATUS=SIZE": ["STATUS Sent (SIZE)", 'LIST "" * RETURN (STATUS (SIZE))'],
    "APPENDLIMIT": ["STATUS Sent (APPENDLIMIT)"],
    "WITHIN": ["SEARCH YOUNGER 9", "SEARCH NOT OLDER 9", "SORT (DATE) UTF-8 OLDER 9"],
    "CONDSTORE": ["SELECT INBOX (CONDSTORE)", "STATUS Sent (HIGHESTMODSEQ)", "FETCH 1 MODSEQ",
                  "FETCH 1 FLAGS (CHANGEDSINCE 1)", "SEARCH MODSEQ 1",
                  "STORE 1 (UNCHANGEDSINCE 9) +FLAGS (x)",
                  "NOTIFY SET (selected (MessageNew (MODSEQ) MessageExpunge))"],
    "QRESYNC": ["ENABLE QRESYNC; UID FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)",
                "ENABLE QRESYNC; SELECT INBOX (QRESYNC (1 1))"],
    "ESEARCH": ["SEARCH RETURN () ALL", "UID SEARCH RETURN (COUNT) ALL"],
    "SEARCHRES": ["SEARCH RETURN (SAVE) ALL", "FETCH $ FLAGS", "SEARCH $", "COPY $ Sent"],
    "SORT": ["SORT (DATE) UTF-8 ALL", "UID SORT (REVERSE SIZE) UTF-8 ALL"],
    "SORT=DISPLAY": ["SORT (DISPLAYFROM) UTF-8 ALL", "SORT (REVERSE DISPLAYTO) UTF-8 ALL"],
    "ESORT": ["SORT RETURN (MIN) (DATE) UTF-8 ALL"],
    "THREAD=ORDEREDSUBJECT": ["THREAD ORDEREDSUBJECT UTF-8 ALL"],
    "THREAD=REFERENCES": ["THREAD REFERENCES UTF-8 ALL", "UID THREAD REFERENCES UTF-8 ALL"],
    "UTF8=ACCEPT": ["APPEND INBOX UTF8 (~{8}\r\nA: b\r\n\r\n)"],
    "MULTIAPPEND": ["APPEND INBOX {8+}\r\nA: b\r\n\r\n {8+}\r\nA: b\r\n\r\n"],
    "BINARY": ["FETCH 1 BINARY[1]", "FETCH 1 (BINARY.PEEK[1]<0.9>)", "FETCH 1 BINARY.SIZE[]",
               "APPEND INBOX ~{8+}\r\nA: b\r\n\r\n"],
    "PREVIEW": ["FETCH 1 PREVIEW", "FETCH 1 (UID PREVIEW (LAZY))"],
    "COMPRESS=DEFLATE": ["COMPRESS DEFLATE"],
    "NOTIFY": ["NOTIFY NONE", "NOTIFY SET (selected (MessageNew (UID) MessageExpunge))"],
}
#: The same before login. A mechanism that is unknown gets NO.
USES_BEFORE_LOGIN = {
    "SASL-IR": ["AUTHENTICATE PLAIN " + PLAIN],
    "STARTTLS": ["STARTTLS"],
    "AUTH=PLAIN": ["AUTHENTICATE PLAIN\r\n" + PLAIN],
    "AUTH=LOGIN": ["AUTHENTICATE LOGIN\r\ndQ==\r\ncA=="],
    "AUTH=CRAM-MD5": ["AUTHENTICATE CRAM-MD5\r\n*"],
    "AUTH=SCRAM-SHA-256": ["AUTHENTICATE SCRAM-SHA-256\r\n*"],
}
#: Extension -> (command that is allowed without it, what only it adds to the responses).
DATA = {
    "UIDPLUS": [("APPEND INBOX {8+}\r\nA: b\r\n\r\n", b"APPENDUID"), ("COPY 1 Sent", b"COPYUID"),
                ("MOVE 1 Sent", b"COPYUID")],
    "CHILDREN": [('LIST "" *', b"Children")],
    "SPECIAL-USE": [('LIST "" *', b"\\Sent"), ('LIST "" * RETURN (CHILDREN)', b"\\Sent")],
    "OBJECTID": [("SELECT INBOX", b"MAILBOXID"), ("DELETE x; CREATE x", b"MAILBOXID")],
    "CONDSTORE": [("SELECT INBOX", b"MODSEQ"), ("ENABLE CONDSTORE", b"ENABLED CONDSTORE"),
                  ("NOTIFY SET STATUS (mailboxes Sent (MessageNew MessageExpunge FlagChange))",
                   b"MODSEQ")],
    "QRESYNC": [("SELECT INBOX", b"[CLOSED]"), ("ENABLE QRESYNC", b"ENABLED QRESYNC")],
    "UTF8=ACCEPT": [("UNSELECT; ENABLE UTF8=ACCEPT", b"ENABLED UTF8=ACCEPT")],
}


def everything():
    """All capabilities that can be switched off."""
    found = set(capabilities.ALWAYS + capabilities.LOGGED_IN) | set(USES_BEFORE_LOGIN)
    return found - {"IMAP4rev1"}


def rows(table):
    return [(name, use) for name in sorted(table) for use in table[name]]


def tried(server, use, login):
    """-> (names of the capabilities, the lines that answer `use`)."""
    with wire.Client(server) as client:
        if login:
            client.log_in("INBOX")
        names = client.ok("CAPABILITY")[0].decode().split()[2:]
        if login:
            client.send(b"m APPEND INBOX {%d}\r\n" % len(MESSAGE))
            client.line()
            client.send(MESSAGE + b"\r\n")
            client.until(b"m OK")
            client.ok("NOOP")
        for before in use.split("; ")[:-1]:
            client.ask(before)
        return {name.replace("APPENDLIMIT=", "APPENDLIMIT ").split()[0] for name in names}, (
            client.ask(use.split("; ")[-1]))


@pytest.fixture
def server(tls_server):
    """It offers everything."""
    directory = tls_server.directory
    directory.everyone_has = lambda secret, sending=False: True
    return tls_server


def test_every_capability_has_its_rows():
    assert everything() == set(USES) | set(USES_BEFORE_LOGIN) == set(NEEDS)


def test_every_capability_is_offered(server, connect):
    client = connect(login=False)
    shown = client.ok("CAPABILITY")[0] + client.ask("LOGIN u p")[-1]
    for name in everything():
        assert b" %b" % name.encode() in shown, name


@pytest.mark.parametrize("name, use", rows(USES) + rows(USES_BEFORE_LOGIN))
def test_what_is_off_is_unknown(server, name, use):
    login = name in USES
    names, answer = tried(server, use, login)
    assert name in names
    if name not in ("AUTH=CRAM-MD5", "AUTH=SCRAM-SHA-256"):  # these were cancelled
        assert not answer[-1].startswith(b"BAD"), answer
    names, answer = tried(server._replace(without=switched_off([name])), use, login)
    assert not switched_off([name]) & names
    assert answer[-1].startswith(b"NO [CANNOT]" if name.startswith("AUTH=") else b"BAD"), answer


@pytest.mark.parametrize("name, use, data", [
    (name,) + row for name, row in rows(DATA)])
def test_what_is_off_is_not_sent(server, name, use, data):
    _, answer = tried(server, use, True)
    assert data in b"\n".join(answer)
    _, answer = tried(server._replace(without=switched_off([name])), use, True)
    assert answer[-1].startswith(b"OK") and data not in b"\n".join(answer)


@pytest.mark.parametrize("name", sorted(name for name in NEEDS if NEEDS[name]))
def test_what_needs_it_is_off_too(name):
    for needed in NEEDS[name]:
        assert needed in NEEDS and name in switched_off([needed])
    assert switched_off([name]).isdisjoint(NEEDS[name])


def test_a_thread_algorithm_alone(server):
    one = server._replace(without=switched_off(["THREAD=REFERENCES"]))
    assert tried(one, "THREAD REFERENCES UTF-8 ALL", True)[1] == [
        b"BAD THREAD: expected a threading algorithm (ORDEREDSUBJECT) at octet 11"]
    assert tried(one, "THREAD ORDEREDSUBJECT UTF-8 ALL", True)[1][-1].startswith(b"OK")
    none = server._replace(without=switched_off(["THREAD=REFERENCES", "THREAD=ORDEREDSUBJECT"]))
    assert tried(none, "THREAD REFERENCES UTF-8 ALL", True)[1] == [b"BAD unknown command"]


def test_errors_name_only_what_is_known(server):
    off = server._replace(without=switched_off(
        ["STATUS=SIZE", "CONDSTORE", "APPENDLIMIT", "OBJECTID", "QUOTA"]))
    assert tried(off, "STATUS INBOX (SIZE)", True)[1] == [
        b"BAD STATUS: expected a STATUS item "
        b"(MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN) at octet 18"]


@pytest.mark.parametrize("size", [8, 100000, 0])
@pytest.mark.parametrize("command", ["APPEND INBOX", "SEARCH TEXT"])
def test_a_literal_that_does_not_wait_is_never_read_as_commands(server, connect, command, size):
    client = connect(server=server._replace(without=frozenset(["LITERAL+"])))
    injected = b"x DELETE Archive\r\n" * 6000
    client.send(b"a %b {%d+}\r\n" % (command.encode(), size) + injected[:size] + b"\r\nb NOOP\r\n")
    assert client.line() == b"a BAD Literals without waiting are not supported"
    assert client.line() == b"b OK NOOP completed"


def test_without_everything_mail_is_still_read(server, connect):
    client = connect(server=server._replace(without=switched_off(NEEDS)))
    assert client.ok("CAPABILITY") == [b"* CAPABILITY IMAP4rev1"]
    client.send(b"a APPEND INBOX (\\Seen) {%d}\r\n" % len(MESSAGE))
    client.line()
    client.send(MESSAGE + b"\r\n")
    client.until(b"a OK")
    client.ok("NOOP")
    assert client.ok("FETCH 1 (FLAGS BODY[TEXT])") == [
        b"* 1 FETCH (FLAGS (\\Seen \\Recent) BODY[TEXT] {14}\r\nHow are you?\r\n)"]
    assert client.ok("SEARCH UNSEEN") == [b"* SEARCH"]
    assert b'* LIST () "/" INBOX' in client.ok('LIST "" *')


# -- where it is written

def test_a_users_own_set_counts_after_login(server, connect):
    directory = server.directory
    directory.settings = directory.settings._replace(without=frozenset(["ID", "MOVE"]))
    client = connect(login=False, server=server._replace(without=frozenset(["IDLE"])))
    client.ok("ID NIL")
    assert b" ID " in client.greeting and b" IDLE " not in client.greeting
    answer = client.ask("LOGIN u p")[-1]
    assert all(b" %b " % name not in answer for name in (b"ID", b"IDLE", b"MOVE"))
    for command in "ID NIL", "IDLE", "UID MOVE 1 Sent":
        assert client.ask(command) == [b"BAD unknown command"]


def offered(port, user=None):
    client = imaplib.IMAP4("127.0.0.1", port)
    if user is not None:
        client.login(user, "secret")
    names = client.capability()[1][0].decode().split()
    client.logout()
    return set(names)


def test_in_the_configuration(tmp_path):
    users = {"alice@example.org": "secret", "bob@example.org": "secret"}
    listen = {"host": "127.0.0.1", "port": 0, "tls": "none"}
    options = dict(root=str(tmp_path), users=users, settings={
        "smtp": False, "relay": False, "pop": False,
        "imap": {"without": ["id"], "listen": [listen, dict(listen, without=["CONDSTORE"])]}})
    with phenmail.MailServer(**options) as server:
        path = os.path.join(server.directory.account("bob").folder, "mail.jcfg")
        with open(path) as file:
            values = json.load(file)
        with open(path, "w") as file:
            json.dump(dict(values, without=["SORT"]), file)
        first, second = [each.port for each in server.listening if each.name == "imap"]
        assert offered(first).isdisjoint({"ID"}) and "IDLE" in offered(first)
        assert {"CONDSTORE", "QRESYNC", "SORT"} <= offered(first, "alice")
        assert offered(second, "alice").isdisjoint({"ID", "CONDSTORE", "QRESYNC"})
        assert "SORT" in offered(second, "alice")
        assert offered(first, "bob").isdisjoint({"ID", "SORT", "SORT=DISPLAY", "ESORT"})
        assert "CONDSTORE" in offered(first, "bob")
