"""The notifications that NOTIFY sends, mostly of mailboxes that are not selected (RFC 5465 section
5).

A watch of the account reports that something changed. Then Notifications compares the list of
mailboxes and their STATUS with what it sent to the client before. So it does not matter who made
the change, and a client that reads slowly gets several changes as one response.

The client is not notified of its own changes (section 5): the session reports them to
Notifications, which treats them as if they had been sent.
"""
from time import monotonic
from typing import NamedTuple, Optional

from ...store import errors
from ...store.maildir.folders import canonical
from .. import responses
from ..commands.list_lsub import with_lost_subscriptions
from ..session import CommandFailed
from . import mailbox_names
from .event_filters import NOTHING, EventFilters

# Mailboxes and subscribed names. With more, NOTIFY fails, and Evolution cannot log in.
MOST = 10000
OVERFLOW = b"NOTIFICATIONOVERFLOW"  # section 5.8


class Told(NamedTuple):
    """A mailbox's STATUS as the client knows it. None: the client itself changed this number, and
    is not notified of its new value."""
    uidvalidity: int
    uidnext: int
    modseq: Optional[int]
    messages: int
    unseen: Optional[int]


NEW = Told(0, 1, 0, 0, 0)  # a new mailbox; its STATUS is sent when it has a message
REPLACED = NEW._replace(uidvalidity=-1)  # a mailbox that took the name of another one


class SelectedMailbox:
    """How NOTIFY changes the announcements for the selected mailbox."""

    def __init__(self, filters):
        self._filters = filters
        self._own = set()  # UIDs of new messages that the client itself added
        self._unsent = 0  # the first UID for which no FETCH response was sent yet

    def begin(self, view):
        """Call this when a mailbox is selected, and when NOTIFY begins in a selected one: the
        client knows its messages."""
        self._own = set()
        self._unsent = view.last_uid + 1

    def wants(self):
        """-> (whether the client wants to know of new and expunged messages, whether it wants to
        know of changed flags)."""
        events = self._filters.selected
        return "MessageNew" in events, "FlagChange" in events

    def own_messages(self, uids):
        """The client itself added these messages, so they get no FETCH responses."""
        if self._filters.items:
            self._own.update(uids)

    def send_new(self, session):
        """Send the FETCH items of messages that were announced with EXISTS (section 5.2)."""
        view = session.view
        if not self._filters.items or self._unsent > view.last_uid:
            return
        from ..commands import fetch
        uids = [uid for uid in view.uids(view.position(self._unsent)) if uid not in self._own]
        items = self._filters.items
        if session.condstore and "MODSEQ" not in items:  # RFC 7162 3.1
            items += ("MODSEQ",)
        try:
            for last in fetch.send_batches(session, fetch.Plan(items, uid=True), uids):
                self._unsent = last + 1
        except CommandFailed:  # too slow
            _stop(session)
        self.begin(view)


class Notifications:
    """One session's NOTIFY.

    filters   event_filters.EventFilters
    selected  SelectedMailbox
    seconds   how long the last comparison took
    """

    def __init__(self, filters):
        self.filters = filters
        self.selected = SelectedMailbox(filters)
        self.seconds = 0.0
        self._watch = None  # only if there are events of other mailboxes
        self._changed = False  # something may have changed since the last comparison
        # The client changed names or deselected. The tagged reply says whether that succeeded, so
        # notifications wait until it was sent.
        self._waits = False
        self._serial = None  # Account.names_serial of the list of mailboxes that was compared last
        self._names = {}  # name -> mailbox_names.Known
        self._told = {}  # name -> Told, of the mailboxes with message events
        self._selected = None  # the name of the selected mailbox, which has no STATUS responses

    # -- beginning and end

    def start(self, session, send_status):
        """Read the names and the STATUS of all mailboxes; `send_status`: send it to the client.

        Raises CommandFailed if there are more than MOST mailboxes.
        """
        if session.view is not None:
            self.selected.begin(session.view)
        if not self.filters.concern_others:
            return
        account = session.mail
        self._watch = account.watch(self._notice)
        self._serial = account.names_serial
        self._names = mailbox_names.known(session, _list(session))
        self._selected = _selected(session)
        self._told = {name: NEW for name in self._with_message_events()}
        for name in self._told:
            session.look()
            self._told[name] = self._numbers(name) or NEW
        self._watch_files()
        if send_status:
            self._send_status(session)

    def _send_status(self, session):
        for name, told in self._told.items():
            if name != self._selected and told is not NEW:
                items = ["MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN"]
                if "FlagChange" in self._events(name) and session.offers("CONDSTORE"):
                    items.append("HIGHESTMODSEQ")
                session.write(_status_line(session, name, told, items))

    def close(self):
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    @property
    def listens(self):
        """Whether there may be something to announce between commands."""
        return self._watch is not None or bool(self.filters.selected)

    def listen(self, callback, stack):
        """Call `callback()`, from any thread, when other mailboxes may have changed, until `stack`,
        an ExitStack, is closed."""
        if self._watch is not None:
            stack.callback(self._watch.account.watch(callback).close)

    def _notice(self):
        """Called by any thread after a change."""
        self._changed = True

    # -- the client's own changes, of which it is not notified

    def own_names(self, old, new):
        """The client created `new`, deleted `old`, or renamed `old` to `new`; the other is None."""
        self._waits = True
        old, new = old and canonical(old), new and canonical(new)
        mailbox_names.own_change(self._names, self._told, old, new)
        if new is not None:
            self._told.setdefault(new, NEW)

    def own_subscription(self, name, subscribed):
        """The client subscribed or unsubscribed a name."""
        name = canonical(name)
        known = self._names.get(name, mailbox_names.NOWHERE)
        self._names[name] = known._replace(subscribed=subscribed)

    def own_messages(self, session, name, uids):
        """The client added messages to a mailbox; `uids`: ascending."""
        name = canonical(name)
        if _selected(session) == name:
            self.selected.own_messages(uids)
            return
        told = self._told.get(name)
        if told is not None and told.uidnext == uids[0] and len(uids) == uids[-1] - uids[0] + 1:
            self._told[name] = told._replace(
                uidnext=uids[-1] + 1, messages=told.messages + len(uids), modseq=None, unseen=None)

    def deselected(self, view):
        """The mailbox of `view` is no longer selected; the client knows what the view showed."""
        self._waits = True
        name, self._selected = view.mailbox.name, None
        if name in self._told:
            modseq = view.announced_modseq
            self._told[name] = Told(
                view.mailbox.uidvalidity, view.state.uidnext, modseq, len(view),
                view.state.unseen if modseq == view.state.highestmodseq else -1)
            self._changed = True

    # -- what changed

    def announce(self, session):
        """Write the responses for what changed since the last call."""
        waits, self._waits = self._waits, False
        if waits or not self._changed or self._watch is None:
            return
        self._changed = False
        begin = monotonic()
        try:
            self._compare(session)
        except CommandFailed:  # too many mailboxes, or too slow
            _stop(session)
        except errors.StoreError:
            self._changed = session.is_behind = True
        self.seconds = monotonic() - begin

    def tell_vanished(self, session):
        """After VANISHED send a STATUS of the selected mailbox, if the client wants to know of
        messages expunged in others too. The RFC does not ask for it, but Evolution 3.46 keeps the
        rows of messages that vanish in IDLE until a STATUS or its own timer."""
        view = session.view
        if "MessageExpunge" in self._events(view.mailbox.name):
            numbers = NEW._replace(uidnext=view.state.uidnext, messages=len(view))
            session.write(_status_line(
                session, view.mailbox.name, numbers, ["UIDNEXT", "MESSAGES"]))

    def _compare(self, session):
        self._selected = _selected(session)
        serial = self._watch.account.names_serial
        if serial != self._serial:
            self._compare_names(session)
            self._serial = serial
        self._compare_messages(session)

    def _compare_names(self, session):
        infos = _list(session)
        old, new = self._names, mailbox_names.known(session, infos)

        def wants(event, name, subscribed):
            return event in self.filters.of(name, subscribed)

        def wants_rename(*names):
            return any([wants("MailboxName", name, (
                old.get(name) or new[name]).subscribed) for name in names])

        changes = mailbox_names.Changes(old, new, wants_rename, session.look)
        self._names = new
        session.write(b"".join(changes.lines(session, infos, wants)))
        before = {name: changes.told_before(name, self._told)
                  for name in self._with_message_events()}
        created = set(changes.created)
        for name, told in before.items():
            if name in created and old.get(name, mailbox_names.NOWHERE).uidvalidity:
                before[name] = REPLACED
            elif told is None:
                session.look()
                # The client wants the events of an old mailbox only now, for example because it
                # was subscribed. Only what changes from now on is sent.
                is_old = name not in created
                before[name] = is_old and self._numbers(name) or NEW
        self._told = before
        self._watch_files()

    def _compare_messages(self, session):
        others = [name for name in self._told if name != self._selected]
        for name, stamp in self._watch.account.stamps(others, session.look).items():
            told = self._told[name]
            now = self._numbers(name) if stamp != told[:3] else None
            if now is None:
                continue
            items = self._items(session, name, told, now)
            if items:
                session.write(_status_line(session, name, now, items))
            if items or told is not NEW:
                self._told[name] = now

    def _numbers(self, name):
        """The mailbox's present STATUS as Told, or None if it cannot be read."""
        try:
            status = self._watch.account.status(name)
        except errors.NotFound:  # noticed when the list of mailboxes is compared next
            return None
        except errors.StoreError:
            self._changed = True  # compare again later
            return None
        return Told(status.uidvalidity, status.uidnext, status.highestmodseq, status.messages,
                    status.unseen)

    def _items(self, session, name, told, now):
        """The names of the STATUS items to send, perhaps none. The RFC does not require UNSEEN, but
        mail programs show it, and Dovecot sends it."""
        if not told.uidvalidity and not now.messages and now.uidnext == 1:
            return []  # a new mailbox is empty
        modseq = ["HIGHESTMODSEQ"] if session.condstore else []
        if told.uidvalidity != now.uidvalidity:
            return ["MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN"] + modseq
        if (told.messages, told.uidnext) != (now.messages, now.uidnext):
            return ["UIDNEXT", "MESSAGES", "UNSEEN"] + modseq
        if told.modseq in (None, now.modseq) or "FlagChange" not in self._events(name):
            return []
        unseen = ["UNSEEN"] if told.unseen != now.unseen else []
        return ["UIDVALIDITY"] + unseen + modseq if unseen or modseq else []

    # -- filters

    def _events(self, name):
        known = self._names.get(name)
        return self.filters.of(name, known.subscribed) if known is not None else NOTHING

    def _with_message_events(self):
        """The names of existing mailboxes with message events."""
        return [name for name, known in self._names.items()
                if known.uidvalidity and "MessageNew" in self._events(name)]

    def _watch_files(self):
        """Let the poller check the files of these mailboxes for changes by other programs."""
        self._watch.names = frozenset(self._told)


def _selected(session):
    """The name of the selected mailbox, or None."""
    return session.view.mailbox.name if session.view is not None else None


def _list(session):
    """The MailboxInfos of all mailboxes and subscribed names. Raises CommandFailed if there are too
    many."""
    infos = with_lost_subscriptions(session, session.mail.names_for_watchers(session.look))
    if len(infos) > MOST:
        raise CommandFailed(b"At most %d mailboxes can be watched" % MOST, OVERFLOW)
    return infos


def _stop(session):
    """From now on behave as after NOTIFY NONE (section 5.8)."""
    session.write(responses.untagged_status(
        b"OK", b"Too many changes, notifications stop", OVERFLOW))
    session.notify(Notifications(EventFilters(())))


def _status_line(session, name, numbers, items):
    values = {"MESSAGES": numbers.messages, "UIDNEXT": numbers.uidnext, "UNSEEN": numbers.unseen,
              "UIDVALIDITY": numbers.uidvalidity, "HIGHESTMODSEQ": max(1, numbers.modseq)}
    shown = " ".join(["%s %d" % (item, values[item]) for item in items]).encode("ascii")
    return b"* STATUS %b (%b)\r\n" % (responses.mailbox(name, session.utf8), shown)
