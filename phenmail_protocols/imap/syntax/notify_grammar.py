"""The arguments of NOTIFY (RFC 5465 section 8). Pure."""
from . import fetch_grammar
from .tokens import ArgumentRejected, BadSyntax
from .values import EventGroup, Notify

SELECTED = ("SELECTED", "SELECTED-DELAYED")
_WITH_NAMES = ("SUBTREE", "MAILBOXES")
FILTERS = SELECTED + ("INBOXES", "PERSONAL", "SUBSCRIBED") + _WITH_NAMES
MESSAGE_EVENTS = ("MessageNew", "MessageExpunge", "FlagChange")
#: The supported events. AnnotationChange and those about metadata need other extensions.
EVENTS = MESSAGE_EVENTS + ("MailboxName", "SubscriptionChange")
_SPELLING = {event.upper(): event for event in EVENTS}
_BADEVENT = b"BADEVENT (" + " ".join(EVENTS).encode("ascii") + b")"


def notify(scan):
    """NOTIFY SET and NOTIFY NONE -> Notify"""
    start = scan.at
    word = scan.keyword("SET or NONE")
    if word == "NONE":
        return Notify(False, ())
    if word != "SET":
        raise scan.failed("SET or NONE", start)
    scan.space()
    status = scan.skip_word(b"STATUS ")
    groups = [_group(scan)]
    while scan.more():
        groups.append(_group(scan))
    if sum([group.filter in SELECTED for group in groups]) > 1:  # section 6.1
        raise BadSyntax("SELECTED or SELECTED-DELAYED may be there once")
    return Notify(status, tuple(groups))


def _group(scan):
    scan.expect(b"(", "an event group in parentheses")
    start = scan.at
    name, mailboxes = scan.keyword("a mailbox filter"), ()
    if name not in FILTERS:
        raise scan.failed("a mailbox filter (%s)" % " ".join(FILTERS), start)
    scan.space()
    if name in _WITH_NAMES:
        several = scan.skip(b"(")
        mailboxes = tuple(scan.items(scan.mailbox)) if several else (scan.mailbox(),)
        scan.space()
    events, items = _events(scan, name in SELECTED)
    scan.expect(b")", '")"')
    return EventGroup(name, mailboxes, events, items)


def _events(scan, selected):
    """(frozenset of events, FETCH items of MessageNew)"""
    if scan.skip_word(b"NONE"):
        return frozenset(), ()
    scan.expect(b"(", "NONE or a list of events")
    found = dict(scan.items(lambda: _event(scan, selected)))
    if ("MessageNew" in found) != ("MessageExpunge" in found):  # section 5
        raise BadSyntax("MessageNew and MessageExpunge must be there together")
    if "FlagChange" in found and "MessageNew" not in found:
        raise BadSyntax("FlagChange needs MessageNew and MessageExpunge")
    return frozenset(found), found.get("MessageNew", ())


def _event(scan, selected):
    """(event, FETCH items)"""
    start = scan.at
    event = _SPELLING.get(scan.keyword("an event"))
    if event is None:
        raise ArgumentRejected("Unsupported event", _BADEVENT)
    if selected and event not in MESSAGE_EVENTS:  # section 6.1
        raise scan.failed("one of %s for the selected mailbox" % " ".join(MESSAGE_EVENTS), start)
    if event == "MessageNew" and selected and scan.skip(b" ("):
        scan.at -= 1
        return event, fetch_grammar.attributes(scan)
    return event, ()
