"""Mailbox names that were created, deleted, renamed or subscribed, as NOTIFY's LIST responses (RFC
5465 sections 5.4, 5.5).

Two lists of mailboxes are compared. A mailbox is recognized by its UIDVALIDITY, because no two
mailboxes of an account ever have the same one. So a rename is recognized, whoever made it.
"""
from typing import NamedTuple

from ...store.model import INBOX, SEPARATOR, MailboxInfo
from .. import responses
from ..commands import list_lsub

# Values in place of a UIDVALIDITY. MISSING: no mailbox has the name. UNKNOWN: a mailbox has it, and
# its UIDVALIDITY was not read.
MISSING, UNKNOWN = 0, -1


class Known(NamedTuple):
    """A name as the client knows it. `uidvalidity` may be MISSING or UNKNOWN."""
    uidvalidity: int
    subscribed: bool


NOWHERE = Known(MISSING, False)


def known(session, infos):
    """MailboxInfos -> `{name: Known}` of the mailboxes and of subscribed names."""
    stamps = session.mail.stamps([info.name for info in infos if info.selectable], session.look)
    found = {}
    for info in infos:
        if info.selectable:
            stamp = stamps.get(info.name)
            found[info.name] = Known(stamp.uidvalidity if stamp else UNKNOWN, info.subscribed)
        elif info.subscribed:
            found[info.name] = Known(MISSING, True)
    return found


def own_change(names, told, old, new):
    """Record a change by the client itself in `names`, {name: Known}, and in `told`, {name:
    anything}. It created `new` (`old` is None), deleted `old` (`new` is None), or renamed `old` and
    the names below it to `new`."""
    if old is None or old == INBOX:  # INBOX stays, empty (RFC 3501 6.3.5)
        names[new] = names.get(new, NOWHERE)._replace(uidvalidity=UNKNOWN)
        return
    moved = [name for name in names if (name + SEPARATOR).startswith(old + SEPARATOR)
             and (name == old or new is not None)]
    before = {name: (names[name], told.pop(name, None)) for name in moved}
    for name in moved:
        names[name] = names[name]._replace(uidvalidity=MISSING)
    for name, (known, value) in before.items():
        if new is not None and known.uidvalidity != MISSING:
            target = new + name[len(old):]
            names[target] = names.get(target, NOWHERE)._replace(uidvalidity=known.uidvalidity)
            if value is not None:
                told[target] = value


class Changes:
    """The differences between two `{name: Known}`, as a client is notified of them.

    renamed  [(new name, name by which the client knows the mailbox)], to be sent in this order
    created  names that, after the renames, have a mailbox that the client does not know
    deleted  names that, after the renames, have no mailbox although the client knows one
    """

    def __init__(self, old, new, wants_rename, look=lambda: None):
        """`wants_rename(new name, old name)`: whether the client wants to know of this rename;
        `look()` is called often and may raise to end the work."""
        self.old = old
        self.new = new
        self.renamed = []
        self._look = look
        self._client = {name: known.uidvalidity for name, known in old.items()
                        if known.uidvalidity}
        self._sources = _moved(old, new)
        self._rename_all(wants_rename)
        self.created = [name for name, known in new.items() if known.uidvalidity
                        and _differs(known.uidvalidity, self._client.get(name, MISSING))]
        self.deleted = [name for name in self._client
                        if not new.get(name, NOWHERE).uidvalidity]

    def _rename_all(self, wants_rename):
        """Find an order of renames that the client can follow.

        A client also renames the mailboxes below a renamed one (section 5.4), so names are taken
        from the top of the hierarchy. A rename to a name that is still in use waits until that
        mailbox has moved. If mailboxes exchanged their names, that never happens: these names are
        in `created` instead.
        """
        place = {uidvalidity: name for name, uidvalidity in self._client.items()}
        waiting = sorted([name for name, old in self._sources.items() if wants_rename(name, old)],
                         key=lambda name: name.count(SEPARATOR))
        before = None
        while waiting and len(waiting) != before:
            before, names, waiting = len(waiting), waiting, []
            movers = {self.new[name].uidvalidity for name in names}
            for name in names:
                uidvalidity = self.new[name].uidvalidity
                holder = self._client.get(name)
                if holder == uidvalidity:
                    continue  # renamed together with a mailbox above it
                if holder in movers:
                    waiting.append(name)
                    continue
                self._rename(place[uidvalidity], name, place)

    def _rename(self, old, new, place):
        self._look()
        self.renamed.append((new, old))
        moved = {name: self._client.pop(name) for name in list(self._client)
                 if (name + SEPARATOR).startswith(old + SEPARATOR)}
        for name, uidvalidity in moved.items():
            self._client[new + name[len(old):]] = uidvalidity
            place[uidvalidity] = new + name[len(old):]

    def told_before(self, name, told):
        """The value in `told`, {old name: anything}, of the mailbox that is now called `name`."""
        return told.get(self._sources.get(name, name))

    def lines(self, session, infos, wants):
        """Yield the LIST responses: first all renames, then each other name once.

        `infos`: the MailboxInfos that `new` was made from. `wants(event, name, subscribed)`:
        whether the client wants this event.
        """
        found = {info.name: info for info in infos}
        for name, old in self.renamed:
            data = b'"OLDNAME" (' + responses.mailbox(old, session.utf8) + b")"
            yield list_lsub.list_line(session, _info(found, name), True, True, data)
        plain = {each for name in self.created + self.deleted
                 for each in (name, name.rpartition(SEPARATOR)[0])
                 if each and wants("MailboxName", each, self._was_subscribed(each))}
        plain.update(name for name in set(self.old).union(self.new)
                     if self._changed_subscription(name)
                     and wants("SubscriptionChange", name, True))
        for name in sorted(plain):
            self._look()
            yield list_lsub.list_line(session, _info(found, name), True, True)

    def _was_subscribed(self, name):
        """Whether the name is or was subscribed."""
        return any([names.get(name, NOWHERE).subscribed for names in (self.old, self.new)])

    def _changed_subscription(self, name):
        return (self.new.get(name, NOWHERE).subscribed
                != self.old.get(name, NOWHERE).subscribed)


def _info(found, name):
    """The MailboxInfo of a name, which may no longer exist."""
    return found.get(name) or MailboxInfo(name, False, False, (), False)


def _moved(old, new):
    """{new name: old name} of the mailboxes that were renamed. No old name occurs twice."""
    by_id = {known.uidvalidity: name for name, known in old.items() if known.uidvalidity > 0}
    found = {}
    for name, known in new.items():
        source = by_id.get(known.uidvalidity, name)
        if source != name and new.get(source, NOWHERE).uidvalidity != known.uidvalidity:
            found[name] = by_id.pop(known.uidvalidity)
    return found


def _differs(uidvalidity, other):
    """Whether these UIDVALIDITYs are of different mailboxes; the first one is not MISSING."""
    return not other or uidvalidity != other and UNKNOWN not in (uidvalidity, other)
