"""NOTIFY (RFC 5465): each event and filter, errors, and what ends it.

`watcher` is told without a command (`line`), or at its next NOOP (`news`, which therefore also shows
what it is not told); `other` makes the changes.
"""
import imaplib
import os
import poplib
import re
import smtplib

import pytest

import phenmail
from phenmail_protocols.imap.commands import fetch
from phenmail_protocols.imap.notifying import notifications
from phenmail_protocols.imap.session import CommandFailed
from phenmail_protocols.store import errors
from phenmail_protocols.store.filestore import FileStore

from . import wire

MESSAGE = b"From: a@b\r\nSubject: hi\r\n\r\nhello\r\n"
ALL = "(MessageNew MessageExpunge FlagChange)"
NEW = "(MessageNew MessageExpunge)"


@pytest.fixture
def watcher(connect):
    return connect(None)


@pytest.fixture
def other(connect):
    return connect(None)


def news(client):
    return [line.decode("ascii") for line in client.ok("NOOP")]


def line(client):
    return client.line().decode()


def uidvalidity(client, name):
    found, = client.ok("STATUS %s (UIDVALIDITY)" % name)
    return int(re.search(rb"UIDVALIDITY (\d+)", found).group(1))


# -- the command

def test_only_after_login(connect):
    assert connect(None, login=False).ask("NOTIFY NONE")[-1].startswith(b"BAD")


@pytest.mark.parametrize("command", [
    "NOTIFY SET (personal (MessageNew))", "NOTIFY SET STATUS", "NOTIFY",
    "NOTIFY SET (selected (MailboxName))", "NOTIFY SET (selected NONE) (selected-delayed NONE)"])
def test_bad_arguments_leave_the_earlier_notify(watcher, other, command):
    watcher.ok("NOTIFY SET (personal %s)" % NEW)
    assert watcher.ask(command)[-1].startswith(b"BAD NOTIFY: ")
    other.append(MESSAGE)
    assert line(watcher) == "* STATUS INBOX (UIDNEXT 2 MESSAGES 1 UNSEEN 1)"


def test_an_unsupported_event(watcher):
    assert watcher.ask("NOTIFY SET (personal (AnnotationChange MessageNew MessageExpunge))") == [
        b"NO [BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)] "
        b"Unsupported event"]


def test_a_new_notify_replaces_the_earlier_one(watcher, other):
    other.ok("CREATE a")
    other.ok("CREATE b")
    watcher.ok("NOTIFY SET (mailboxes a %s)" % NEW)
    watcher.ok("NOTIFY SET (mailboxes b %s)" % NEW)
    other.append(MESSAGE, "a")
    other.append(MESSAGE, "b")
    assert news(watcher) == ["* STATUS b (UIDNEXT 2 MESSAGES 1 UNSEEN 1)"]


def test_notify_none(watcher, other):
    """Also the selected mailbox, also in commands (sections 3.1 and 5)."""
    watcher.ok("SELECT INBOX")
    watcher.ok("NOTIFY SET (personal %s) (selected %s)" % (NEW, ALL))
    watcher.ok("NOTIFY NONE")
    other.append(MESSAGE)
    other.append(MESSAGE, "Sent")
    assert news(watcher) == []
    watcher.ok("NOTIFY SET (selected NONE)")
    assert news(watcher) == []
    assert watcher.ok("NOTIFY SET (selected %s)" % ALL) == [b"* 1 EXISTS", b"* 1 RECENT"]


def test_without_the_selected_mailbox_the_client_still_sees_what_it_does_itself(watcher, other):
    for _ in range(3):
        other.append(MESSAGE)
    watcher.ok("SELECT INBOX")
    watcher.ok("NOTIFY NONE")
    other.append(MESSAGE)
    assert watcher.ok("STORE 2 +FLAGS (\\Deleted)") == [
        rb"* 2 FETCH (FLAGS (\Deleted \Recent))"]
    assert b"* 2 EXPUNGE" in watcher.ok("EXPUNGE")
    assert b"* 1 EXPUNGE" in watcher.ok("MOVE 1 Trash")
    watcher.ok("ENABLE QRESYNC")
    watcher.ok("UID STORE 3 +FLAGS.SILENT (\\Deleted)")
    assert b"* VANISHED 3" in watcher.ok("UID EXPUNGE 3")
    assert watcher.ok("UID FETCH 1:* UID") == []
    assert watcher.ok("NOTIFY SET (selected %s)" % NEW)[0] == b"* 1 EXISTS"
    assert watcher.ok("FETCH 1:* UID") == [b"* 1 FETCH (UID 4)"]


# -- STATUS

def test_status_at_once(watcher, other):
    other.append(MESSAGE, "Sent")
    number = uidvalidity(other, "Sent")
    assert [each.decode() for each in watcher.ok("NOTIFY SET STATUS (mailboxes (Sent no) %s)" % NEW)
            ] == ["* STATUS Sent (MESSAGES 1 UIDNEXT 2 UIDVALIDITY %d UNSEEN 1)" % number]
    assert [each.decode() for each in watcher.ok("NOTIFY SET STATUS (mailboxes Sent %s)" % ALL)] == [
        "* STATUS Sent (MESSAGES 1 UIDNEXT 2 UIDVALIDITY %d UNSEEN 1 HIGHESTMODSEQ 2)" % number]
    assert watcher.ok("NOTIFY SET STATUS (mailboxes Sent (MailboxName))") == []
    assert watcher.ok("NOTIFY SET (mailboxes Sent %s)" % ALL) == []
    watcher.ok("SELECT Sent")
    assert watcher.ok("NOTIFY SET STATUS (mailboxes Sent %s)" % ALL) == []


def test_notify_set_implies_noop(watcher, other):
    watcher.ok("SELECT INBOX")
    other.append(MESSAGE)
    assert watcher.ok("NOTIFY SET (selected (MessageNew (FLAGS) MessageExpunge))") == [
        b"* 1 EXISTS", b"* 1 RECENT", rb"* 1 FETCH (UID 1 FLAGS (\Recent))"]


# -- message events of other mailboxes

def test_messages_in_other_mailboxes(watcher, other):
    watcher.ok("NOTIFY SET (personal %s)" % NEW)
    other.ok("SELECT INBOX")
    other.append(MESSAGE)
    assert line(watcher) == "* STATUS INBOX (UIDNEXT 2 MESSAGES 1 UNSEEN 1)"
    other.ok("STORE 1 +FLAGS (\\Seen \\Deleted)")
    assert news(watcher) == []
    other.ok("EXPUNGE")
    assert line(watcher) == "* STATUS INBOX (UIDNEXT 2 MESSAGES 0 UNSEEN 0)"


def test_flags_in_other_mailboxes(watcher, other):
    """Without CONDSTORE the client is told of UNSEEN, if that changed (section 5.1)."""
    other.append(MESSAGE)
    watcher.ok("NOTIFY SET (inboxes %s)" % ALL)
    other.ok("SELECT INBOX")
    other.ok("STORE 1 +FLAGS (\\Flagged)")
    assert news(watcher) == []
    other.ok("STORE 1 +FLAGS (\\Seen)")
    number = uidvalidity(other, "INBOX")
    assert line(watcher) == "* STATUS INBOX (UIDVALIDITY %d UNSEEN 0)" % number
    watcher.ok("ENABLE CONDSTORE")
    other.ok("STORE 1 -FLAGS (\\Flagged)")
    assert line(watcher) == "* STATUS INBOX (UIDVALIDITY %d HIGHESTMODSEQ 5)" % number
    other.ok("STORE 1 -FLAGS (\\Seen)")
    assert line(watcher) == "* STATUS INBOX (UIDVALIDITY %d UNSEEN 1 HIGHESTMODSEQ 6)" % number
    other.append(MESSAGE)
    assert line(watcher) == "* STATUS INBOX (UIDNEXT 3 MESSAGES 2 UNSEEN 2 HIGHESTMODSEQ 7)"


def test_a_recreated_mailbox_has_another_uidvalidity(watcher, other):
    other.ok("CREATE box")
    other.append(MESSAGE, "box")
    watcher.ok("NOTIFY SET (mailboxes box %s)" % ALL)
    other.ok("DELETE box")
    assert news(watcher) == []
    other.ok("CREATE box")
    other.append(MESSAGE, "box")
    assert line(watcher) == "* STATUS box (MESSAGES 1 UIDNEXT 2 UIDVALIDITY %d UNSEEN 1)" % (
        uidvalidity(other, "box"))


def test_own_changes_of_other_mailboxes_are_not_announced(watcher, other):
    """Section 5. What others do in between is."""
    other.append(MESSAGE)
    watcher.ok("SELECT INBOX")
    watcher.ok("NOTIFY SET (personal %s) (selected %s)" % (ALL, ALL))
    watcher.append(MESSAGE, "Sent")
    watcher.ok("COPY 1 Sent")
    assert news(watcher) == []
    other.append(MESSAGE, "Sent")
    assert line(watcher) == "* STATUS Sent (UIDNEXT 4 MESSAGES 3 UNSEEN 3)"


# -- message events of the selected mailbox

def test_new_messages_in_the_selected_mailbox(watcher, other):
    watcher.ok("SELECT INBOX")
    watcher.ok("NOTIFY SET (selected (MessageNew (UID RFC822.SIZE "
               "BODY.PEEK[HEADER.FIELDS (Subject)] BODY.PEEK[TEXT]) MessageExpunge))")
    other.append(MESSAGE)
    assert [line(watcher) for _ in range(3)] == [
        "* 1 EXISTS", "* 1 RECENT",
        "* 1 FETCH (UID 1 RFC822.SIZE %d BODY[HEADER.FIELDS (Subject)] {15}\r\nSubject: hi\r\n\r\n "
        "BODY[TEXT] {7}\r\nhello\r\n)" % len(MESSAGE)]
    watcher.ok("ENABLE CONDSTORE")
    watcher.ok("NOTIFY SET (selected (MessageNew (FLAGS) MessageExpunge))")
    other.append(MESSAGE)
    assert [line(watcher) for _ in range(3)][2] == "* 2 FETCH (UID 2 FLAGS (\\Recent) MODSEQ (3))"


def test_items_that_set_seen(watcher, other):
    watcher.ok("SELECT INBOX")
    watcher.ok("NOTIFY SET (selected (MessageNew (BODY[TEXT]) MessageExpunge FlagChange))")
    other.append(MESSAGE)
    assert line(watcher) == "* 1 EXISTS"
    line(watcher)
    assert line(watcher) == "* 1 FETCH (UID 1 FLAGS (\\Seen \\Recent) BODY[TEXT] {7}\r\nhello\r\n)"
    watcher.ok("EXAMINE INBOX")
    other.append(MESSAGE)
    assert watcher.until(b"* 2 FETCH")[-1] == b"* 2 FETCH (UID 2 BODY[TEXT] {7}\r\nhello\r\n)"


def test_own_messages_in_the_selected_mailbox(watcher, other):
    """EXISTS, but no FETCH (section 5.2)."""
    watcher.ok("SELECT INBOX")
    watcher.ok("NOTIFY SET (selected (MessageNew (UID) MessageExpunge))")
    assert watcher.append(MESSAGE)[:2] == [b"* 1 EXISTS", b"* 1 RECENT"]
    assert watcher.ask("COPY 1 INBOX")[:2] == [b"* 2 EXISTS", b"* 2 RECENT"]
    other.append(MESSAGE)
    assert [line(watcher) for _ in range(3)] == [
        "* 3 EXISTS", "* 3 RECENT", "* 3 FETCH (UID 3)"]


def test_flags_in_the_selected_mailbox(watcher, other):
    other.append(MESSAGE)
    watcher.ok("EXAMINE INBOX")
    other.ok("SELECT INBOX")
    watcher.ok("NOTIFY SET (selected %s)" % NEW)
    other.ok("STORE 1 +FLAGS (\\Seen $Work)")
    assert news(watcher) == []
    told = watcher.ok("NOTIFY SET (selected %s)" % ALL)  # accumulated changes (section 3.1)
    assert told[-1] == rb"* 1 FETCH (UID 1 FLAGS (\Seen \Recent $Work))"
    other.ok("STORE 1 FLAGS ()")
    assert line(watcher) == "* 1 FETCH (UID 1 FLAGS (\\Recent))"


def test_expunge_in_the_selected_mailbox(watcher, other):
    for _ in range(2):
        other.append(MESSAGE)
    watcher.ok("EXAMINE INBOX")
    watcher.ok("NOTIFY SET (selected %s)" % NEW)
    other.ok("SELECT INBOX")
    other.ok("STORE 1:* +FLAGS (\\Deleted)")
    other.ok("UID EXPUNGE 1")
    assert line(watcher) == "* 1 EXPUNGE"
    watcher.ok("ENABLE QRESYNC")
    other.ok("EXPUNGE")
    assert line(watcher) == "* VANISHED 2"


def test_selected_delayed(watcher, other):
    """EXPUNGE waits for a command that allows it; the rest comes at once (section 6.1.2)."""
    for _ in range(2):
        other.append(MESSAGE)
    other.ok("SELECT INBOX")
    watcher.ok("SELECT INBOX")
    watcher.ok("NOTIFY SET (selected-delayed %s)" % ALL)
    other.ok("STORE 1 +FLAGS (\\Deleted)")
    assert line(watcher) == "* 1 FETCH (UID 1 FLAGS (\\Deleted))"
    other.ok("EXPUNGE")
    other.append(MESSAGE)
    assert line(watcher) == "* 3 EXISTS"  # message 1 still has its number
    line(watcher)
    assert sorted(watcher.ok("FETCH 1:3 UID")) == [
        b"* %d FETCH (UID %d)" % (number, number) for number in (1, 2, 3)]
    assert news(watcher) == ["* 1 EXPUNGE"]
    other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    other.ok("EXPUNGE")
    watcher.send(b"i IDLE\r\n")
    assert watcher.until(b"* 1 EXPUNGE")[-2].startswith(b"+ ")
    watcher.send(b"DONE\r\n")
    watcher.until(b"i OK")


def test_selected_means_whatever_mailbox_is_selected(watcher, other):
    watcher.ok("NOTIFY SET (selected (MessageNew (UID) MessageExpunge))")
    other.append(MESSAGE)
    assert news(watcher) == []
    watcher.ok("SELECT INBOX")
    other.append(MESSAGE)
    assert [line(watcher) for _ in range(3)][2] == "* 2 FETCH (UID 2)"
    watcher.ok("SELECT Sent")
    other.append(MESSAGE)
    other.append(MESSAGE, "Sent")
    assert [line(watcher) for _ in range(3)] == ["* 1 EXISTS", "* 1 RECENT", "* 1 FETCH (UID 1)"]
    watcher.ok("UNSELECT")
    other.append(MESSAGE, "Sent")
    assert news(watcher) == []


def test_selecting_changes_which_responses_are_sent(watcher, other):
    watcher.ok("NOTIFY SET (personal %s) (selected %s)" % (NEW, NEW))
    watcher.ok("SELECT INBOX")
    other.append(MESSAGE)
    assert [line(watcher), line(watcher)] == ["* 1 EXISTS", "* 1 RECENT"]
    watcher.ok("UNSELECT")
    assert news(watcher) == []
    other.append(MESSAGE)
    assert line(watcher) == "* STATUS INBOX (UIDNEXT 3 MESSAGES 2 UNSEEN 2)"


def test_what_the_client_did_not_hear_of_the_mailbox_it_leaves(watcher, other):
    watcher.ok("SELECT INBOX")
    watcher.ok("NOTIFY SET (personal %s)" % NEW)  # nothing of the selected mailbox
    other.append(MESSAGE)
    assert news(watcher) == []
    assert watcher.ok("CLOSE") == []
    assert line(watcher) == "* STATUS INBOX (UIDNEXT 2 MESSAGES 1 UNSEEN 1)"


def test_idle_announces_what_notify_asks_for(watcher, other):
    """Section 4."""
    watcher.ok("SELECT INBOX")
    watcher.ok("NOTIFY SET (mailboxes Sent %s)" % NEW)
    watcher.send(b"i IDLE\r\n")
    assert line(watcher).startswith("+ ")
    other.append(MESSAGE)
    other.append(MESSAGE, "Sent")
    assert line(watcher) == "* STATUS Sent (UIDNEXT 2 MESSAGES 1 UNSEEN 1)"
    watcher.send(b"DONE\r\n")
    assert watcher.until(b"i ") == [b"i OK IDLE completed"]


# -- mailbox names and subscriptions

def test_mailbox_names(watcher, other):
    """A new mailbox affects the name above it, too (section 5.4)."""
    watcher.ok("NOTIFY SET (personal (MailboxName))")
    other.ok("CREATE a/b")
    assert [line(watcher), line(watcher)] == [
        '* LIST (\\NonExistent \\HasChildren) "/" a', '* LIST (\\HasNoChildren) "/" a/b']
    other.ok("CREATE a")
    assert line(watcher) == '* LIST (\\HasChildren) "/" a'
    other.ok("RENAME a c")  # nothing about what is below it
    assert line(watcher) == '* LIST (\\HasChildren) "/" c ("OLDNAME" (a))'
    other.ok("RENAME c/b d&-e")
    assert line(watcher) == '* LIST (\\HasNoChildren) "/" d&-e ("OLDNAME" (c/b))'
    other.ok("DELETE c")
    assert line(watcher) == '* LIST (\\NonExistent \\HasNoChildren) "/" c'
    other.append(MESSAGE, "Sent")
    other.ok("SUBSCRIBE d&-e")
    assert news(watcher) == []
    other.ok("DELETE d&-e")
    assert line(watcher) == '* LIST (\\NonExistent \\Subscribed \\HasNoChildren) "/" d&-e'


def test_renames_of_one_after_another(watcher, other):
    other.ok("CREATE a")
    other.ok("CREATE b")
    watcher.ok("NOTIFY SET (personal (MailboxName))")
    watcher.send(b"t APPEND INBOX {9}\r\n")  # so that the changes are compared together
    watcher.until(b"+ ")
    for names in ("b c", "a b"):
        other.ok("RENAME " + names)
    other.ok("CREATE a")
    watcher.send(b"A: b\r\n\r\nx\r\n")
    assert [each for each in watcher.until(b"t OK") if b"LIST" in each] == [
        b'* LIST (\\HasNoChildren) "/" c ("OLDNAME" (b))',
        b'* LIST (\\HasNoChildren) "/" b ("OLDNAME" (a))', b'* LIST (\\HasNoChildren) "/" a']


def test_messages_of_a_renamed_mailbox(watcher, other):
    other.ok("CREATE a/b")
    watcher.ok("NOTIFY SET (subtree (a c) (MailboxName MessageNew MessageExpunge))")
    other.ok("RENAME a c")
    assert line(watcher) == '* LIST (\\HasNoChildren) "/" c/b ("OLDNAME" (a/b))'
    other.append(MESSAGE, "c/b")
    assert line(watcher) == "* STATUS c/b (UIDNEXT 2 MESSAGES 1 UNSEEN 1)"
    other.ok("RENAME c/b d")
    assert line(watcher) == '* LIST (\\HasNoChildren) "/" d ("OLDNAME" (c/b))'
    other.append(MESSAGE, "d")
    assert news(watcher) == []


def test_rename_of_inbox(watcher, other):
    """The messages move to a new mailbox; no LIST for INBOX, which stays (section 5.4)."""
    other.append(MESSAGE)
    watcher.ok("NOTIFY SET (personal (MailboxName MessageNew MessageExpunge))")
    other.ok("RENAME INBOX old")
    number = uidvalidity(other, "old")
    assert sorted(news(watcher)) == [
        '* LIST (\\HasNoChildren) "/" old', "* STATUS INBOX (UIDNEXT 2 MESSAGES 0 UNSEEN 0)",
        "* STATUS old (MESSAGES 1 UIDNEXT 2 UIDVALIDITY %d UNSEEN 1)" % number]


def test_subscriptions(watcher, other):
    watcher.ok("NOTIFY SET (personal (SubscriptionChange))")
    other.ok("CREATE a")
    other.ok("SUBSCRIBE a")
    assert line(watcher) == '* LIST (\\Subscribed \\HasNoChildren) "/" a'
    other.ok("SUBSCRIBE no/such")
    assert line(watcher) == (
        '* LIST (\\NonExistent \\Subscribed \\HasNoChildren) "/" no/such')
    other.ok("UNSUBSCRIBE a")
    assert line(watcher) == '* LIST (\\HasNoChildren) "/" a'
    other.ok("UNSUBSCRIBE Sent")
    assert line(watcher) == '* LIST (\\HasNoChildren \\Sent) "/" Sent'


def test_own_changes_of_names_are_not_announced(watcher, other):
    """Section 5."""
    watcher.ok("NOTIFY SET (personal (MailboxName SubscriptionChange MessageNew MessageExpunge))")
    for command in ("CREATE inbox/x", "CREATE a/", "CREATE a/b", "SUBSCRIBE a/b", "RENAME a c",
                    "UNSUBSCRIBE a/b", "DELETE c", "RENAME INBOX y", "DELETE INBOX/x"):
        assert watcher.ok(command) == []
    assert news(watcher) == []
    other.ok("DELETE c/b")
    assert news(watcher)[-1] == '* LIST (\\NonExistent \\HasNoChildren) "/" c/b'
    watcher.ok("CREATE c/b")
    other.append(MESSAGE, "c/b")
    assert line(watcher).startswith("* STATUS c/b (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ")


def test_news_of_a_new_name_follow_the_response_that_tells_it(watcher, other):
    watcher.ok("CREATE a")
    watcher.ok("NOTIFY SET (personal %s)" % NEW)
    watcher.send(b"t NOOP\r\nu RENAME a")
    watcher.until(b"t OK")
    other.append(MESSAGE, "a")
    watcher.send(b" b\r\n")
    assert line(watcher) == "u OK RENAME completed"
    assert line(watcher) == "* STATUS b (UIDNEXT 2 MESSAGES 1 UNSEEN 1)"


# -- filters

@pytest.mark.parametrize("filters, expected", [
    ("personal", {"INBOX", "Sent", "a", "a/b", "ab"}), ("inboxes", {"INBOX", "Sent", "a", "a/b", "ab"}),
    ("subscribed", {"INBOX", "Sent", "a/b"}), ("subtree a", {"a", "a/b"}),
    ("subtree a/", {"a", "a/b"}), ("subtree (INBOX no a/b)", {"INBOX", "a/b"}),
    ("mailboxes a", {"a"}), ("mailboxes (inbox a/b no/such)", {"INBOX", "a/b"}),
    ("mailboxes \"a*\"", set()), ("mailboxes (\"a\\\"\" //)", set())])
def test_filters(watcher, other, filters, expected):
    for name in ("a", "a/b", "ab"):
        other.ok("CREATE " + name)
    other.ok("SUBSCRIBE a/b")
    watcher.ok("NOTIFY SET (%s %s)" % (filters, NEW))
    for name in ("INBOX", "Sent", "a", "a/b", "ab"):
        other.append(MESSAGE, name)
    assert {each.split()[2] for each in news(watcher)} == expected


def test_several_groups_for_a_mailbox(watcher, other):
    watcher.ok("NOTIFY SET (mailboxes Sent %s) (personal (SubscriptionChange)) (subscribed NONE)"
               % NEW)
    other.append(MESSAGE, "Sent")
    assert line(watcher).startswith("* STATUS Sent ")
    other.ok("UNSUBSCRIBE Sent")
    assert line(watcher).startswith("* LIST (")
    other.append(MESSAGE)
    assert news(watcher) == []


def test_subscribed_is_evaluated_again(watcher, other):
    """Section 6.4."""
    other.ok("CREATE a")
    watcher.ok("NOTIFY SET (subscribed %s)" % NEW)
    other.append(MESSAGE, "a")
    other.ok("SUBSCRIBE a")
    assert news(watcher) == []
    other.append(MESSAGE, "a")
    assert line(watcher) == "* STATUS a (UIDNEXT 3 MESSAGES 2 UNSEEN 2)"
    other.ok("UNSUBSCRIBE a")
    other.append(MESSAGE, "a")
    assert news(watcher) == []


def test_a_named_mailbox_that_is_created_later(watcher, other):
    watcher.ok("NOTIFY SET (mailboxes later (MailboxName MessageNew MessageExpunge))")
    other.ok("CREATE later")
    assert line(watcher) == '* LIST (\\HasNoChildren) "/" later'
    other.append(MESSAGE, "later")
    assert line(watcher).startswith("* STATUS later (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ")


# -- overflow

def test_too_many_mailboxes(watcher, other, monkeypatch):
    monkeypatch.setattr(notifications, "MOST", 7)
    for name in ("a", "b"):  # INBOX and five others are there
        other.ok("CREATE " + name)
    assert watcher.ask("NOTIFY SET (mailboxes INBOX %s)" % NEW) == [
        b"NO [NOTIFICATIONOVERFLOW] At most 7 mailboxes can be watched"]
    other.ok("DELETE a")
    watcher.ok("NOTIFY SET (mailboxes (INBOX b) %s)" % NEW)
    other.append(MESSAGE, "b")
    line(watcher)
    other.ok("SUBSCRIBE one-more")
    assert line(watcher).startswith("* OK [NOTIFICATIONOVERFLOW] ")
    other.append(MESSAGE, "b")
    assert news(watcher) == []


def test_a_client_that_reads_too_slowly(connect, other, monkeypatch):
    """New messages are not kept for it: notifications end."""
    watcher = connect("INBOX")
    watcher.ok("NOTIFY SET (selected (MessageNew (BODY.PEEK[]) MessageExpunge))")
    send_batches, left = fetch.send_batches, []

    def slow(session, plan, uids):
        for last in send_batches(session, plan, uids[:2]):
            yield last
        left.extend(uids[2:])
        raise CommandFailed(b"The command took too long", b"LIMIT")
    monkeypatch.setattr(fetch, "send_batches", slow)
    other.append(MESSAGE)
    lines = watcher.until(b"* OK [NOTIFICATIONOVERFLOW]")
    assert lines[:2] == [b"* 1 EXISTS", b"* 1 RECENT"]
    other.append(MESSAGE)
    assert news(watcher) == []
    monkeypatch.undo()
    assert watcher.ok("NOTIFY SET (selected %s)" % NEW)[0] == b"* 2 EXISTS"


# -- the connection

def test_nothing_is_written_inside_a_command(watcher, other):
    watcher.ok("NOTIFY SET (mailboxes Sent %s)" % NEW)
    watcher.send(b"t APPEND INBOX {9}\r\n")
    assert line(watcher).startswith("+ ")
    other.append(MESSAGE, "Sent")
    watcher.send(b"A: b\r\n\r\nx\r\nu NO")
    assert watcher.until(b"t ")[0] == b"* STATUS Sent (UIDNEXT 2 MESSAGES 1 UNSEEN 1)"
    other.append(MESSAGE, "Sent")
    watcher.send(b"OP\r\n")
    assert watcher.until(b"u ") == [b"* STATUS Sent (UIDNEXT 3 MESSAGES 2 UNSEEN 2)",
                                    b"u OK NOOP completed"]


def test_pipelined_commands(watcher, other):
    watcher.ok("NOTIFY SET (mailboxes Sent %s)" % NEW)
    other.append(MESSAGE, "Sent")
    line(watcher)
    watcher.send(b"a NOOP\r\nb SELECT INBOX\r\nc UID FETCH 1:* FLAGS\r\nd NOTIFY NONE\r\ne LOGOUT\r\n")
    for tag in b"abcde":
        assert watcher.until(b"%c " % tag)[-1].startswith(b"%c OK" % tag)


def test_the_selected_mailbox_is_deleted(watcher, other):
    other.ok("CREATE a")
    watcher.ok("SELECT a")
    watcher.ok("NOTIFY SET (selected %s)" % NEW)
    other.ok("DELETE a")
    assert line(watcher).startswith("* BYE ")
    assert line(watcher) == ""


def test_own_delete_of_the_selected_mailbox(watcher):
    watcher.ok("CREATE a")
    watcher.ok("SELECT a")
    watcher.ok("NOTIFY SET (selected %s) (personal (MailboxName MessageNew MessageExpunge))" % NEW)
    assert watcher.ok("DELETE a") == []
    assert news(watcher) == []


def test_the_selected_mailbox_is_renamed(watcher, other):
    other.ok("CREATE a")
    watcher.ok("SELECT a")
    watcher.ok("NOTIFY SET (selected %s) (personal (MailboxName MessageNew MessageExpunge))" % NEW)
    other.ok("RENAME a b")
    assert line(watcher) == '* LIST (\\HasNoChildren) "/" b ("OLDNAME" (a))'
    other.append(MESSAGE, "b")
    assert [line(watcher), line(watcher)] == ["* 1 EXISTS", "* 1 RECENT"]
    watcher.ok("UNSELECT")
    other.append(MESSAGE, "b")
    assert line(watcher) == "* STATUS b (UIDNEXT 3 MESSAGES 2 UNSEEN 2)"


def _account(store, tmp_path):
    return store.account(str(tmp_path / "mail"))


def test_every_way_out_leaves_no_watch(connect, store, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("phenmail_protocols.imap.handler.Waker", _counted(made))
    account = _account(store, tmp_path)
    for end in (b"a NOTIFY NONE\r\n", b"a LOGOUT\r\n", b"a NOO", b"", b"x\r\n" * 20):
        client = connect()
        for _ in range(2):
            client.ok("NOTIFY SET (personal %s) (selected %s)" % (NEW, NEW))
        assert len(account.watches) in (1, 2)  # the second one while it waits
        client.send(end)
        if b"NONE" in end:
            client.until(b"a OK")
        else:
            client.close()
        assert not account.watches
    assert made and not [each for each in made if each._reader is not None]


def _counted(made):
    from phenmail_protocols.net.waker import Waker

    def make():
        made.append(Waker())
        return made[-1]
    return make


def test_sessions_without_notify_have_no_waker(client, monkeypatch):
    def fail():
        raise AssertionError("a waker was made")
    monkeypatch.setattr("phenmail_protocols.imap.handler.Waker", fail)
    client.ok("NOOP")
    client.ok("NOTIFY NONE")
    client.ok("NOOP")


def test_a_mailbox_that_cannot_be_read_for_a_while(watcher, other, store, tmp_path, monkeypatch):
    """It does not stop the notifications of others, and is announced later."""
    watcher.ok("NOTIFY SET (personal %s)" % NEW)
    account, broken = _account(store, tmp_path), [True]
    status = account.status

    def sometimes(name):
        if broken[0] and name == "Sent":
            raise errors.InUse()
        return status(name)
    monkeypatch.setattr(account, "status", sometimes)
    other.append(MESSAGE, "Sent")
    other.append(MESSAGE, "INBOX")
    assert line(watcher) == "* STATUS INBOX (UIDNEXT 2 MESSAGES 1 UNSEEN 1)"
    assert news(watcher) == []
    broken[0] = False
    assert news(watcher) == ["* STATUS Sent (UIDNEXT 2 MESSAGES 1 UNSEEN 1)"]


# -- other programs and processes

@pytest.fixture
def polled(tmp_path):
    """A client of a server that looks for foreign changes all the time."""
    store = FileStore(poll=0.02)
    with wire.Client(wire.server(store, tmp_path / "mail")) as client:
        client.log_in()
        yield client
    store.close()


def test_files_of_other_programs(polled, tmp_path):
    folder = tmp_path / "mail"
    polled.ok("NOTIFY SET (personal (MessageNew MessageExpunge FlagChange MailboxName))")
    (folder / ".Sent" / "new" / "1700000000.1.host").write_bytes(b"A: b\n\nx\n")
    assert line(polled) == "* STATUS Sent (UIDNEXT 2 MESSAGES 1 UNSEEN 1)"
    os.rename(str(folder / ".Sent" / "new" / "1700000000.1.host"),
              str(folder / ".Sent" / "cur" / "1700000000.1.host:2,S"))
    assert line(polled).endswith(" UNSEEN 0)")
    os.unlink(str(folder / ".Sent" / "cur" / "1700000000.1.host:2,S"))
    assert line(polled) == "* STATUS Sent (UIDNEXT 2 MESSAGES 0 UNSEEN 0)"
    for part in ("cur", "new", "tmp"):
        os.makedirs(str(folder / ".x" / part))
    assert line(polled) == '* LIST (\\HasNoChildren) "/" x'
    os.rename(str(folder / ".x"), str(folder / ".y"))
    assert line(polled) == '* LIST (\\HasNoChildren) "/" y ("OLDNAME" (x))'


def test_subscriptions_of_other_programs(polled, tmp_path):
    polled.ok("NOTIFY SET (personal (SubscriptionChange))")
    path = tmp_path / "mail" / "subscriptions"
    with open(str(path), "ab") as file:
        file.write(b"new\n")
    assert line(polled) == '* LIST (\\NonExistent \\Subscribed \\HasNoChildren) "/" new'


def test_changes_of_another_process(polled, tmp_path):
    """A second FileStore shares nothing with the first one but the files."""
    polled.ok("SELECT INBOX")
    polled.ok("NOTIFY SET (personal (MessageNew MessageExpunge MailboxName)) (selected %s)" % NEW)
    store = FileStore(poll=3600)
    with wire.Client(wire.server(store, tmp_path / "mail")) as other:
        other.log_in()
        other.append(MESSAGE, "Sent")
        assert line(polled) == "* STATUS Sent (UIDNEXT 2 MESSAGES 1 UNSEEN 1)"
        other.append(MESSAGE)
        assert [line(polled), line(polled)] == ["* 1 EXISTS", "* 1 RECENT"]
        other.ok("RENAME Sent Gone")
        assert line(polled) == '* LIST (\\HasNoChildren) "/" Gone ("OLDNAME" (Sent))'
    store.close()


# -- mail programs

def test_what_evolution_sends(connect, other):
    """A NO to NOTIFY would end its login (camel-imapx-server.c)."""
    evolution = connect(None)
    evolution.ok("ENABLE UTF8=ACCEPT")
    evolution.ok("ENABLE CONDSTORE QRESYNC")
    evolution.ok("NOTIFY SET (selected (MessageNew (UID RFC822.SIZE RFC822.HEADER FLAGS) "
                 "MessageExpunge FlagChange)) "
                 "(personal (MessageNew MessageExpunge MailboxName SubscriptionChange))")
    evolution.ok("SELECT INBOX")
    other.append(MESSAGE)
    assert evolution.until(b"* 1 FETCH")[-1].decode() == (
        "* 1 FETCH (UID 1 RFC822.SIZE 33 FLAGS (\\Recent) MODSEQ (2) RFC822.HEADER {26}\r\n"
        "From: a@b\r\nSubject: hi\r\n\r\n)")
    other.ok("SELECT INBOX")
    evolution.send(b"i IDLE\r\n")
    assert line(evolution).startswith("+ ")
    other.ok("STORE 1 +FLAGS (\\Deleted)")
    assert line(evolution) == "* 1 FETCH (UID 1 FLAGS (\\Deleted \\Recent) MODSEQ (3))"
    other.ok("EXPUNGE")
    assert line(evolution) == "* VANISHED 1"
    line(evolution)  # RECENT
    assert line(evolution) == "* STATUS INBOX (UIDNEXT 2 MESSAGES 0)"
    other.ok("CREATE &AOQ-")
    assert line(evolution) == '* LIST (\\HasNoChildren) "/" "\u00e4"'
    other.ok("RENAME &AOQ- &APY-")
    assert line(evolution) == '* LIST (\\HasNoChildren) "/" "\u00f6" ("OLDNAME" ("\u00e4"))'
    other.append(MESSAGE, "&APY-")
    assert line(evolution).startswith('* STATUS "\u00f6" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ')
    evolution.send(b"DONE\r\n")
    evolution.until(b"i OK")


# -- other protocols

def test_mail_by_smtp_and_pop3(tmp_path):
    listen = {"host": "127.0.0.1", "port": 0, "tls": "none"}
    section = {"listen": [listen]}
    settings = {"smtp": section, "relay": False, "pop": section,
                "imap": section}
    with phenmail.MailServer(root=str(tmp_path), users={"alice@example.org": "secret"},
                             settings=settings) as server:
        ports = {each.name: each.port for each in server.listening}
        watcher = imaplib.IMAP4("127.0.0.1", ports["imap"])
        watcher.login("alice", "secret")
        watcher.send(b"x1 NOTIFY SET (personal %s)\r\n" % ALL.encode())
        assert watcher.readline().startswith(b"x1 OK")
        with smtplib.SMTP("127.0.0.1", ports["smtp"]) as client:
            client.sendmail("bob@example.net", ["alice@example.org"], "Subject: x\r\n\r\nx\r\n")
        assert watcher.readline() == b"* STATUS INBOX (UIDNEXT 2 MESSAGES 1 UNSEEN 1)\r\n"
        client = poplib.POP3("127.0.0.1", ports["pop3"])
        client.user("alice")
        client.pass_("secret")
        client.dele(1)
        client.quit()
        assert watcher.readline() == b"* STATUS INBOX (UIDNEXT 2 MESSAGES 0 UNSEEN 0)\r\n"
        watcher.logout()
