"""Mailbox names that were created, deleted, renamed or subscribed, as NOTIFY's LIST responses (RFC
5465 sections 5.4, 5.5).

Two lists of mailboxes are compared. UIDVALIDITY says which mailboxes are the same, because no two
of an account ever share one: so a rename is recognized, whoever made it.
"""
from typing import NamedTuple

from ..store.model import INBOX, SEPARATOR, MailboxInfo
from . import responses
from .commands import list_lsub

# Instead of a UIDVALIDITY: no mailbox has this name; a mailbox whose UIDVALIDITY is not known.
MISSING, UNKNOWN = 0, -1


class Known(NamedTuple):
    """A name: UIDVALIDITY, MISSING or UNKNOWN, and whether it is subscribed."""
    uidvalidity: int
    subscribed: bool


NOWHERE = Known(MISSING, False)


def known(session, infos):
    """`{name: Known}` of the mailboxes and subscribed names among MailboxInfos."""
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
    """Note in `names` and `told` that the client created `new` (`old` is None), deleted `old`
    (`new` is None) or renamed `old`, with what is below it, to `new`."""
    if old is None or old == INBOX:  # INBOX stays, empty (RFC 3501 6.3.5)
        names[new] = names.get(new, NOWHERE)._replace(uidvalidity=UNKNOWN)
        return
    moved = [name for name in names if (name + SEPARATOR).startswith(old + SEPARATOR)
             and (name == old or new is not None)]
    before = {name: (names[name], told.pop(name, None)) for name in moved}
    for name in moved:
        names[name] = names[name]._replace(uidvalidity=MISSING)
    for name, (known, numbers) in before.items():
        if new is not None and known.uidvalidity != MISSING:
            target = new + name[len(old):]
            names[target] = names.get(target, NOWHERE)._replace(uidvalidity=known.uidvalidity)
            if numbers is not None:
                told[target] = numbers


class Changes:
    """The differences between two `{name: Known}`.

    renamed  {new name: old name}, in an order in which they can be done one after another
    created  names that have a mailbox now, or another one than before, and are not `renamed`
    deleted  names without a mailbox now, and not renamed
    """

    def __init__(self, old, new):
        self.old = old
        self.new = new
        self.renamed = _in_order(_renamed(old, new))
        sources = set(self.renamed.values())
        self.created = [name for name, known in new.items()
                        if known.uidvalidity and name not in self.renamed
                        and _differs(known, old.get(name, NOWHERE))]
        self.deleted = [name for name, known in old.items()
                        if known.uidvalidity and name not in sources
                        and not new.get(name, NOWHERE).uidvalidity]

    def told_before(self, name, told):
        """What `told`, {old name: anything}, has of the mailbox that is called `name` now."""
        return told.get(self.renamed.get(name, name))

    def lines(self, filters, infos):
        """The LIST responses that `filters`, an event_filters.EventFilters, ask for.

        `infos`: the MailboxInfos that `new` was made from.
        """
        found = {info.name: info for info in infos}
        listed = []
        for name, old in self.renamed.items():
            if self._wants(filters, "MailboxName", name, old) and not self._is_carried(
                    filters, name, old):
                listed.append(name)
                data = b'"OLDNAME" (' + responses.mailbox(old) + b")"
                yield list_lsub.list_line(found[name], True, True, data)
        plain = [each for name in self.created + self.deleted
                 for each in (name, name.rpartition(SEPARATOR)[0])
                 if each and self._wants(filters, "MailboxName", each)]
        plain += [name for name in set(self.old).union(self.new)
                  if self._of(name).subscribed != self.old.get(name, NOWHERE).subscribed
                  and self._wants(filters, "SubscriptionChange", name)]
        for name in sorted(set(plain).difference(listed)):
            info = found.get(name) or MailboxInfo(name, False, False, None, False)
            yield list_lsub.list_line(info, True, True)

    def _of(self, name):
        return self.new.get(name, NOWHERE)

    def _wants(self, filters, event, *names):
        return any([event in filters.of(name, self._of(name).subscribed
                                        or self.old.get(name, NOWHERE).subscribed)
                    for name in names])

    def _is_carried(self, filters, name, old):
        """Whether a mailbox was renamed with one above it, and the client is told of that one."""
        while True:
            name, _, last = name.rpartition(SEPARATOR)
            old, _, old_last = old.rpartition(SEPARATOR)
            if not name or last != old_last:
                return False
            if self.renamed.get(name) == old and self._wants(filters, "MailboxName", name, old):
                return True


def _differs(known, before):
    """Whether it is another mailbox; `known` is not missing."""
    if not before.uidvalidity:
        return True
    return UNKNOWN not in (known.uidvalidity, before.uidvalidity) and (
        known.uidvalidity != before.uidvalidity)


def _renamed(old, new):
    """{new name: old name}; no old name is there twice."""
    by_id = {known.uidvalidity: name for name, known in old.items() if known.uidvalidity > 0}
    found = {}
    for name, known in new.items():
        source = by_id.get(known.uidvalidity, name)
        if source != name and new.get(source, NOWHERE).uidvalidity != known.uidvalidity:
            found[name] = by_id.pop(known.uidvalidity)
    return found


def _in_order(renamed):
    """The renames in an order in which the new name is always free. Those that form a circle are
    left out."""
    ordered = {}
    while renamed:
        taken = set(renamed.values())
        free = [name for name in renamed if name not in taken]
        if not free:
            break
        for name in free:
            ordered[name] = renamed.pop(name)
    return ordered
