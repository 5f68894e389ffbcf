"""Random commands in random order: each is answered once, without an internal error."""
import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phenmail_protocols.config.settings import Limits
from phenmail_protocols.store.filestore import FileStore

from . import wire

SETS = ["1", "1:*", "*", "2:4", "9", "5:1,7", "4294967295", "0", "x", "$"]
BOXES = ["INBOX", "Sent", "a", "a/b", "nowhere", '""', "&", "{3+}\r\na\tb", '"a"']
ITEMS = ["FLAGS", "(UID BODY.PEEK[])", "ALL", "BODY[1.2.3]", "BODY[]<2.3>", "BODYSTRUCTURE",
         "BODY.PEEK[HEADER.FIELDS (From X)]<1.2>", "FULL",
         "RFC822.TEXT", "BODY[TEXT", "()", "(BINARY[1] BINARY.PEEK[]<1.5>)", "BINARY.SIZE[2]",
         "MODSEQ", "FLAGS (CHANGEDSINCE 1)", "FLAGS (CHANGEDSINCE 9223372036854775807)",
         "BINARY[1] (CHANGEDSINCE 0 VANISHED)"]
KEYS = ["ALL", "UNSEEN", "NOT 1", "OR SEEN TEXT a", "(FROM x BODY y)", "SENTSINCE 1-Jan-2020",
        "HEADER X \"\"", "CHARSET utf-7 TEXT x",
        "UID 1:*", "KEYWORD k", "SUBJECT {1+}\r\na", "LARGER 1", "(", "NOT", "MODSEQ 0",
         "MODSEQ 9223372036854775808", "RETURN () ALL", "RETURN (SAVE MIN) 1:*", "$", "YOUNGER 9"]
ORDERS = ["SORT (DATE)", "SORT RETURN (COUNT SAVE) (REVERSE SUBJECT DISPLAYTO)", "SORT ()",
          "THREAD REFERENCES", "THREAD ORDEREDSUBJECT", "THREAD"]
CHARSETS = ["UTF-8", "us-ascii", "X"]
KNOWN = ["1 1", "1 1 1:9", "4294967295 9223372036854775807", "1 1 (1:* 1)", "1 0 9,1 (1 1)"]
FLAGS = ["+FLAGS (\\Seen)", "-FLAGS.SILENT (\\Deleted k)", "FLAGS ()", "+FLAGS.SILENT (\\Deleted)",
         "FLAGS \\Recent", "(UNCHANGEDSINCE 0) +FLAGS (k)", "(UNCHANGEDSINCE 99) -FLAGS (k)"]
NOTIFICATIONS = [
    "(selected (MessageNew (UID BODY.PEEK[]<1.2>) MessageExpunge FlagChange))", "(selected NONE)",
    "(selected-delayed (MessageNew MessageExpunge))", "(subtree a (SubscriptionChange))",
    "(personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))",
    "(mailboxes (a INBOX) (MessageNew MessageExpunge))", "(subscribed (Event))", "(inboxes ()"]


def _joined(*lists):
    return st.tuples(*(st.sampled_from(each) for each in lists)).map(" ".join)


COMMANDS = st.one_of(
    _joined(["FETCH", "UID FETCH"], SETS, ITEMS), _joined(["STORE", "UID STORE"], SETS, FLAGS),
    _joined(["SEARCH", "UID SEARCH"], KEYS), _joined(ORDERS, CHARSETS, KEYS),
    _joined(["SELECT INBOX", "EXAMINE a"], ["(QRESYNC (%s))" % known for known in KNOWN]),
    _joined(["COPY", "UID COPY", "MOVE", "UID MOVE"], SETS, BOXES),
    _joined(["SELECT", "EXAMINE", "CREATE", "DELETE", "SUBSCRIBE"], BOXES),
    _joined(["RENAME"], BOXES, BOXES),
    _joined(["LIST", "LSUB"], BOXES,
            ["*", "%", '"*a%"', '(a b) RETURN (STATUS (UNSEEN))', '""']),
    _joined(["STATUS"], BOXES, ["(MESSAGES RECENT)", "(X)"]), _joined(["UID EXPUNGE"], SETS),
    _joined(["NOTIFY SET", "NOTIFY SET STATUS"], NOTIFICATIONS, ["", "(personal (MailboxName))"]),
    st.sampled_from(["NOTIFY NONE", "NOOP", "CHECK", "EXPUNGE", "CLOSE", "UNSELECT", "CAPABILITY", "NAMESPACE",
                     "ID NIL", "ENABLE A", "IDLE\r\nDONE",
                     "IDLE\r\nx", "LOGIN u p", "LOGIN u", "AUTHENTICATE PLAIN\r\n*", "STARTTLS",
                     "FOO", "", "UID",
                     "APPEND a {4+}\r\nA:b\n", "APPEND a (\\Seen k) {5+}\r\nA: \0b",
                     "APPEND nowhere {3+}\r\n\r\n\r", "ENABLE QRESYNC",
                     "ENABLE UTF8=ACCEPT CONDSTORE", "APPEND a ~{9+}\r\n\r\n\0binary",
                     "APPEND a ~{6+}\r\nA: \0b", "APPEND a UTF8 (~{6+}\r\nA: \u00e9)",
                     "APPEND INBOX {5+}\r\nA: b\n (k) ~{5+}\r\n\n\0\r\n\1",
                     "LOGIN {70000+}\r\n" + "x" * 70000]))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    store = FileStore(poll=3600)
    yield wire.server(store, tmp_path_factory.mktemp("imap") / "mail",
                      limits=Limits(errors=1000, login_failures=1000))
    store.close()


@settings(max_examples=100, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture] if hasattr(
    HealthCheck, "function_scoped_fixture") else [])
@given(st.lists(st.tuples(st.booleans(), COMMANDS), min_size=1, max_size=12), st.booleans())
def test_each_command_is_answered_once(server, commands, login):
    heard = _Errors()
    logging.getLogger("phenmail.imap").addHandler(heard)
    try:
        with wire.Client(server) as one, wire.Client(server) as two:
            for client in (one, two):
                if login:
                    client.log_in("INBOX")
            alive = [one, two]
            for second, command in commands + [(False, "NOOP"), (True, "NOOP")]:
                client = two if second else one
                if client in alive and not _answered(client, command):
                    alive.remove(client)
    finally:
        logging.getLogger("phenmail.imap").removeHandler(heard)
    assert not heard.messages


def _answered(client, command):
    """Whether the session goes on: it ends if another one deleted its mailbox."""
    try:
        client.send(b"x " + command.encode() + b"\r\n")
    except OSError:  # after NOTIFY a session may end between commands; its BYE is still there
        pass
    while True:
        line = client.line()
        if line.startswith(b"* BYE The selected mailbox was deleted"):
            return False
        assert line, "the connection ended"
        if line.startswith(b"x "):
            assert b"SERVERBUG" not in line
            return True


class _Errors(logging.Handler):
    """What was logged as an error."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())
