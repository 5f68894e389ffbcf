"""Which events a client wants to be notified of (RFC 5465 section 6)."""
from ...store import errors
from ...store.maildir.folders import canonical
from ...store.model import SEPARATOR
from ..syntax.notify_grammar import SELECTED

NOTHING = frozenset()


class EventFilters:
    """The event groups of a NOTIFY SET; groups with the same mailboxes are joined.

    selected  the events of the selected mailbox
    items     the FETCH items of new messages there
    at_once   EXPUNGE may be sent between commands (SELECTED), or waits for a command that allows
              it (SELECTED-DELAYED)
    """

    def __init__(self, groups):
        self.selected, self.items, self.at_once = NOTHING, (), False
        self._personal = self._subscribed = NOTHING
        self._named, self._subtrees = {}, {}
        for group in groups:
            self._add(group)

    def _add(self, group):
        if group.filter in SELECTED:
            self.selected, self.items = group.events, group.items
            self.at_once = group.filter == "SELECTED"
        elif group.filter == "SUBSCRIBED":
            self._subscribed |= group.events
        elif group.mailboxes:
            chosen = self._named if group.filter == "MAILBOXES" else self._subtrees
            for name in _canonical(group.mailboxes):
                chosen[name] = chosen.get(name, NOTHING) | group.events
        else:
            # INBOXES is all of PERSONAL, because a user's filters can deliver to any mailbox (6.3).
            self._personal |= group.events

    @property
    def concern_others(self):
        """Whether the client wants events of mailboxes that are not selected."""
        return any([self._personal, self._subscribed] + list(self._named.values())
                   + list(self._subtrees.values()))

    def of(self, name, subscribed):
        """The events wanted of a mailbox that is not selected: those of all groups that it is in.

        `name` may have no mailbox, because one may be created. `subscribed`: whether it is.
        """
        events = self._personal | self._named.get(name, NOTHING)
        if subscribed:
            events |= self._subscribed
        if self._subtrees:
            while True:
                events |= self._subtrees.get(name, NOTHING)
                name, separator, _ = name.rpartition(SEPARATOR)
                if not separator:
                    break
        return events


def _canonical(names):
    """Names in the store's form. Names that no mailbox can have are ignored (section 3.1)."""
    for name in names:
        try:
            yield canonical(name.rstrip(SEPARATOR))
        except errors.InvalidName:
            pass
