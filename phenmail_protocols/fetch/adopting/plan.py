"""Which mailbox of another server becomes which one here. Pure.

Special uses (RFC 6154) decide first, then the name. Servers that do not announce special uses are
recognized by the names that common mail programs give. Gmail has one mailbox with all messages,
whose labels say where each belongs; see `Labels`.
"""
import hashlib
import re
from typing import Dict, FrozenSet, NamedTuple, Optional, Tuple

from ...store import errors
from ...store.maildir import folders

INBOX, ARCHIVE, SEPARATOR = "INBOX", "Archive", "/"
_LONGEST = 255  # characters of a name that is shortened
_OURS = {"\\sent": "Sent", "\\drafts": "Drafts", "\\trash": "Trash", "\\junk": "Junk",
         "\\archive": ARCHIVE}
_BY_NAME = {
    "sent items": "Sent", "sent messages": "Sent", "sent mail": "Sent", "sent-mail": "Sent",
    "draft": "Drafts", "deleted items": "Trash", "deleted messages": "Trash",
    "spam": "Junk", "junk e-mail": "Junk", "junk email": "Junk", "junk mail": "Junk",
    "bulk mail": "Junk", "archives": ARCHIVE}
_CLOSED = frozenset(("\\noselect", "\\nonexistent"))
_IMPOSSIBLE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff/]")
# Gmail's own labels: the mailbox here, or a flag.
_LABEL_PLACES = {"\\inbox": INBOX, "\\sent": "Sent", "\\draft": "Drafts", "\\drafts": "Drafts",
                 "\\trash": "Trash", "\\junk": "Junk", "\\spam": "Junk"}
_LABEL_FLAGS = {"\\starred": "\\Flagged", "\\important": "$Important", "\\muted": "$Muted"}


class Listed(NamedTuple):
    """A mailbox there, from LIST. `name`: Unicode, as it is written there; `separator`: None if
    the server has no hierarchy; `attributes`: in lower case ("\\noselect", "\\sent"); `obstacle`:
    why it cannot be copied, or ""."""
    name: str
    separator: Optional[str]
    attributes: FrozenSet[str] = frozenset()
    subscribed: bool = False
    obstacle: str = ""


class Move(NamedTuple):
    """One mailbox there and the one here into which its messages are copied.

    `by_label`: each message goes where its labels say, and to `target` if it has none.
    `virtual`: it shows messages of the other mailboxes; only those that were not copied from there
    are copied.
    """
    source: str
    target: str
    by_label: bool = False
    virtual: bool = False


class Plan(NamedTuple):
    """`moves`: in the order of the work; `create`: names here that must exist; `subscribe`: names
    here; `left_out`: (name there, why); `labels`: {label: name here}."""
    moves: Tuple[Move, ...]
    create: Tuple[str, ...]
    subscribe: Tuple[str, ...]
    left_out: Tuple[Tuple[str, str], ...]
    labels: Dict[str, str]


def make(listed, has_labels=False, personal=None, fixed=None) -> Plan:
    """`listed`: all Listed of an account -> Plan.

    `has_labels`: it is Gmail; `personal`: the prefix of the user's own mailboxes (NAMESPACE,
    RFC 2342), None if unknown; `fixed`: {name there: name here} of an earlier run, which stay.
    """
    left_out, own = [], []
    for each in sorted(listed, key=lambda each: (each.name.upper() != INBOX, each.name)):
        why = each.obstacle or _why_left_out(each)
        if why:
            left_out.append((each.name, why))
        elif not _CLOSED & each.attributes:
            own.append(each)
    everything = [each for each in own if "\\all" in each.attributes][:1]
    by_label = bool(has_labels and everything)
    fixed = {each.name: fixed[each.name] for each in own
             if fixed and each.name in fixed and each not in everything}
    names = _Names(own, _prefix(own) if personal is None else personal, fixed)
    moves, labels, targets = [], {}, {}
    for each in own:
        if each in everything:
            continue
        targets[each.name] = target = names.of(each)
        if by_label and not {"\\trash", "\\junk"} & each.attributes:
            labels[each.name] = target
        else:
            moves.append(Move(each.name, target))
    for each in everything:  # last: of a virtual mailbox, only what no other one has is copied
        targets[each.name] = ARCHIVE
        moves.append(Move(each.name, ARCHIVE, by_label, not by_label))
    subscribed = [targets[each.name] for each in own if each.subscribed]
    return Plan(tuple(moves), _unique(targets.values()),
                _unique(subscribed or targets.values()), tuple(left_out), labels)


def _unique(names):
    return tuple(dict.fromkeys(names))


def _why_left_out(each):
    if not _CLOSED & each.attributes and {"\\flagged", "\\important"} & each.attributes:
        return "it shows messages of other mailboxes"
    return ""


def _prefix(own):
    """Courier and Cyrus show everything below INBOX."""
    others = [each for each in own if each.name.upper() != INBOX]
    for each in others:
        if not each.separator or not each.name.upper().startswith(INBOX + each.separator):
            return ""
    return others[0].name[:len(INBOX) + 1] if others else ""


class _Names:
    """Gives each mailbox there a name here that no other one has."""

    def __init__(self, own, prefix, fixed):
        self._prefix = prefix
        self._fixed = fixed
        self._taken = set(fixed.values())
        self._plain = {self._path(each): each.name for each in own}
        announced = any(use in each.attributes for each in own for use in _OURS)
        self._renamed = {}  # path there -> path here
        for each in own:
            self._recognize(each, announced)

    def _recognize(self, each, announced):
        """Note the special use of a mailbox, unless another one there has our name for it."""
        path = self._path(each)
        ours = next((_OURS[use] for use in sorted(each.attributes) if use in _OURS), None)
        if ours is None and not announced:
            ours = _BY_NAME.get(path.lower())
        if (ours is not None and ours not in self._renamed.values()
                and self._plain.get(ours, each.name) == each.name and path != INBOX):
            self._renamed[path] = ours

    def of(self, each):
        name = self._fixed.get(each.name)
        if name is None:
            name = _free(_possible(self._here(self._path(each))), self._taken)
            self._taken.add(name)
        return name

    def _here(self, path):
        """The name here of a path; what lies below a renamed mailbox moves with it."""
        parts = path.split(SEPARATOR)
        for length in range(len(parts), 0, -1):
            ours = self._renamed.get(SEPARATOR.join(parts[:length]))
            if ours is not None:
                return SEPARATOR.join([ours] + parts[length:])
        return path

    def _path(self, each):
        """The components of a name there, each as it can be here, with our separator."""
        name = each.name
        if name.upper() == INBOX:
            return INBOX
        if self._prefix and name.startswith(self._prefix):
            name = name[len(self._prefix):]
        parts = name.split(each.separator) if each.separator else [name]
        if parts[0].upper() == INBOX:
            parts[0] = INBOX
        return SEPARATOR.join(_IMPOSSIBLE.sub("_", part) or "_" for part in parts)


def _possible(name):
    """`name`, shortened if no folder here can have it."""
    if _is_possible(name):
        return name
    mark = " " + hashlib.sha256(name.encode("utf-8")).hexdigest()[:8]
    while not _is_possible(name + mark):
        name = name[:-1].rstrip(SEPARATOR)[:_LONGEST]
    return name + mark


def _is_possible(name):
    try:
        folders.folder_of(name)
        return True
    except errors.InvalidName:
        return False


def _free(name, taken):
    number, found = 1, name
    while found in taken:
        number += 1
        found = "%s (%d)" % (name, number)
    return found


class Labels:
    """Where Gmail's labels put a message.

    Gmail has one message with several labels; over IMAP it shows the message in the mailbox of
    each label. It is so here, too: a message has a copy in the mailbox of each label (the copies
    are links to one file). A message without such a label is in Archive. Gmail's star becomes
    \\Flagged, its mark of importance the keyword $Important.
    """

    def __init__(self, plan, rest):
        """`plan`: a Plan; `rest`: the mailbox for messages without a label."""
        self._names = plan.labels
        self._rest = rest

    def places(self, labels, flags):
        """-> (names here, flags), for the labels and flags (str) of a message there.

        A label that has no mailbox there, because Gmail does not show it over IMAP, gets one.
        """
        names, flags = [], list(flags)
        for label in labels:
            lower = label.lower()
            if lower in _LABEL_FLAGS:
                flags.append(_LABEL_FLAGS[lower])
            elif lower in _LABEL_PLACES:
                names.append(_LABEL_PLACES[lower])
            elif lower.startswith("\\"):
                continue  # one that we do not know
            else:
                names.append(self._names.get(label) or _possible(
                    SEPARATOR.join(_IMPOSSIBLE.sub("_", part) or "_"
                                   for part in label.split(SEPARATOR))))
        return tuple(dict.fromkeys(names)) or (self._rest,), tuple(dict.fromkeys(flags))
