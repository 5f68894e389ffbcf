"""NOTIFY (RFC 5465 section 8)."""
import pytest

from phenmail_protocols.imap.syntax import notify_grammar
from phenmail_protocols.imap.syntax.tokens import ArgumentRejected, BadSyntax, Scanner
from phenmail_protocols.imap.syntax.values import EventGroup, Notify

NEW = frozenset(("MessageNew", "MessageExpunge"))
FLAGS = NEW | {"FlagChange"}


def parse(*parts):
    scan = Scanner(list(parts))
    found = notify_grammar.notify(scan)
    scan.end()
    return found


def group(name, *mailboxes, events=NEW, items=()):
    return EventGroup(name, mailboxes, frozenset(events), items)


@pytest.mark.parametrize("parts, expected", [
    ([b"NONE"], Notify(False, ())),
    ([b"none "], Notify(False, ())),
    ([b"SET (personal NONE)"], Notify(False, (group("PERSONAL", events=()),))),
    ([b"set status (Selected (MESSAGENEW messageexpunge))"],
     Notify(True, (group("SELECTED"),))),
    ([b"SET (selected-delayed (FlagChange MessageExpunge MessageNew))"],
     Notify(False, (group("SELECTED-DELAYED", events=FLAGS),))),
    ([b"SET (selected (MessageNew (UID flags) MessageExpunge))"],
     Notify(False, (group("SELECTED", items=("UID", "FLAGS")),))),
    ([b"SET (inboxes (MailboxName)) (subscribed (SubscriptionChange MailboxName)) "],
     Notify(False, (group("INBOXES", events=["MailboxName"]),
                    group("SUBSCRIBED", events=["MailboxName", "SubscriptionChange"])))),
    ([b"SET STATUS (subtree Lists (MessageNew MessageExpunge)) (mailboxes (inbox \"a b\" ",
      b"c d", b") (MailboxName))"],
     Notify(True, (group("SUBTREE", "Lists"),
                   group("MAILBOXES", "INBOX", "a b", "c d", events=["MailboxName"])))),
])
def test_good(parts, expected):
    assert parse(*parts) == expected


@pytest.mark.parametrize("line", [
    b"", b"X", b"NONE x", b"SET", b"SET ", b"SET STATUS", b"SET STATUS ", b"SET()", b"SET ()",
    b"SET (personal)", b"SET (personal ())", b"SET personal NONE", b"SET (personal NONE",
    b"SET (personal (NONE))x", b"SET (personal NONE)(inboxes NONE)", b"SET (everything NONE)",
    b"SET (mailboxes NONE)", b"SET (mailboxes () NONE)", b"SET (subtree (MailboxName))",
    b"SET (personal (MessageNew))", b"SET (personal (MessageExpunge))",
    b"SET (personal (FlagChange))", b"SET (personal (FlagChange MessageNew))",
    b"SET (selected (MailboxName))", b"SET (selected (SubscriptionChange))",
    b"SET (selected NONE) (selected NONE)", b"SET (selected NONE) (selected-delayed NONE)",
    b"SET (personal (MessageNew (UID) MessageExpunge))",
    b"SET (selected (MessageNew () MessageExpunge))",
    b"SET (selected (MessageNew (ALL) MessageExpunge))",
    b"SET (selected (MessageNew UID MessageExpunge))",
    b"SET (selected (MessageExpunge (UID) MessageNew))",
    b"SET STATUS STATUS (personal NONE)",
])
def test_bad(line):
    with pytest.raises(BadSyntax) as caught:
        parse(line)
    assert not isinstance(caught.value, ArgumentRejected) or b"BADEVENT" in caught.value.code


@pytest.mark.parametrize("event", ["AnnotationChange", "MailboxMetadataChange",
                                   "ServerMetadataChange", "X-Future"])
@pytest.mark.parametrize("filters", ["selected", "personal", "mailboxes x"])
def test_an_unsupported_event_is_no_syntax_error(event, filters):
    """Section 3.1: NO, with the names of all supported events."""
    with pytest.raises(ArgumentRejected) as caught:
        parse(("SET (%s (MessageNew MessageExpunge %s))" % (filters, event)).encode())
    assert caught.value.code == (
        b"BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)")
