"""The threads of a mailbox (RFC 5256 section 3): ORDEREDSUBJECT and REFERENCES.

Messages go in as values, threads come out as root Nodes; `render` formats them for the THREAD
response. Pure: no session and no store. Nothing here is recursive, because a chain of replies may
be as long as a mailbox.

`look` is called for each message, and every _WALK steps on a way up to a root. It may raise to end
the work.
"""
from typing import Any, NamedTuple, Optional, Sequence

from . import stepwise

_WALK = 256  # parents that are passed between two calls of `look`
# References of all messages together. To bound memory, later messages are linked only to their
# parents.
_REFERENCES = 200000


class Message(NamedTuple):
    """A message to be put into a thread.

    number      the message number or UID that the response gives
    date        orders messages by their sent date (RFC 5256 section 2.2); no two are equal
    subject     mail.conversations.BaseSubject
    identity    the Message-ID or a digest of it, None without a valid one
    references  message identities, the oldest first; the last is the parent's
    """
    number: int
    date: int
    subject: Any
    identity: Optional[str]
    references: Sequence[str]


class Node:
    """A message in its thread, or a dummy (`number` 0) for one that is missing.

    A large mailbox has many nodes, so they are small. `subject` is a number that equal subjects
    share, 0 for an empty one.
    """
    __slots__ = ("number", "date", "subject", "reply", "parent", "children")

    def __init__(self):
        self.number = self.date = self.subject = 0
        self.reply = False
        self.parent = None
        self.children = ()

    def fill(self, message, subjects):
        """Take the values of a message. `subjects`: {hash of a subject: number}; a new subject is
        added to it."""
        self.number, self.date = message.number, message.date
        self.reply = message.subject.reply
        text = message.subject.text
        if text:
            self.subject = subjects.setdefault(hash(text), len(subjects) + 1)

    def head(self):
        """The message that gives the thread its subject (step 5): a dummy's first child."""
        node = self
        while not node.number:
            node = node.children[0]
        return node


def _date_of(node):
    return node.date


# -- ORDEREDSUBJECT

def by_subject(messages, look=lambda: None):
    """Messages (any order) -> roots. Those of one base subject are one thread: the oldest is the
    root, the others are its children."""
    nodes, subjects = [], {}
    for message in messages:
        look()
        node = Node()
        node.fill(message, subjects)
        nodes.append(node)
    threads = {}
    for node in stepwise.sort(nodes, _date_of, look):
        look()
        root = threads.setdefault(node.subject, node)
        if root is not node:
            root.children = root.children or []
            root.children.append(node)
    return list(threads.values())  # by the dates of their roots: a dict keeps the order


# -- REFERENCES; the steps are those of RFC 5256

def by_references(messages, look=lambda: None):
    """Messages (in the order of the mailbox) -> roots."""
    nodes = _linked(messages, look)
    roots = _with_children(nodes, look)
    roots = _without_dummies(roots, look)
    roots = _sorted(roots, look)
    roots = _merged_by_subject(roots, look)
    return _sorted(roots, look)


def _linked(messages, look):
    """Step 1: all nodes, with their parents."""
    links, known, nodes, subjects, spent = _Links(look), {}, [], {}, 0
    for message in messages:
        look()
        node = known.get(message.identity)
        if node is None or node.number:  # of several messages with one ID, the first one keeps it
            nodes.append(Node())
            if node is None and message.identity is not None:
                known[message.identity] = nodes[-1]
            node = nodes[-1]
        node.fill(message, subjects)
        references = message.references
        if spent > _REFERENCES:
            references = references[-1:]
        spent += len(references)
        above = None
        for identity in references:
            reference = known.get(identity)
            if reference is None:
                reference = known[identity] = Node()
                nodes.append(reference)
            if above is not None and reference.parent is None:
                links.put(reference, above)
            above = reference
        if node.parent is not above:
            links.cut(node)  # its own References override those of other messages
            if above is not None:
                links.put(node, above)
    return nodes


class _Links:
    """Links children to parents.

    `_jumps` is a cache {node: one of its ancestors}, which shortens the way up long chains.
    """

    def __init__(self, look):
        self._look = look
        self._jumps = {}

    def put(self, node, parent):
        """Give `node`, which has no parent, this one, unless that would make a loop."""
        if self._root(parent) is not node:
            node.parent = parent

    def cut(self, node):
        if node.parent is not None:
            node.parent = None
            self._jumps.clear()

    def _root(self, node):
        passed = []
        while node.parent is not None:
            passed.append(node)
            node = self._jumps.get(node, node.parent)
            if not len(passed) % _WALK:
                self._look()
        for each in passed:
            self._jumps[each] = node
        return node


def _with_children(nodes, look):
    """Step 2: the nodes without a parent; all nodes get their children. `nodes` is emptied."""
    roots = []
    nodes.reverse()
    while nodes:
        node = nodes.pop()
        look()
        if node.parent is None:
            roots.append(node)
        else:
            node.parent.children = node.parent.children or []
            node.parent.children.append(node)
            node.parent = None  # without reference cycles, memory is freed at once
    return roots


def _without_dummies(roots, look):
    """Step 3: replace each dummy by its children. A dummy remains as a root if it has several
    children."""
    for node in _children_first(roots, look):
        if any([not child.number for child in node.children]):
            node.children = [each for child in node.children
                             for each in ([child] if child.number else child.children)]
    kept = []
    for node in roots:
        look()
        if node.number or len(node.children) > 1:
            kept.append(node)
        else:
            kept.extend(node.children)
    return kept


def _children_first(roots, look):
    """Iterate over all nodes, each after its children."""
    order, left = [], list(roots)
    while left:
        look()
        node = left.pop()
        order.append(node)
        left.extend(node.children)
    return reversed(order)


def _sorted(roots, look):
    """Steps 4 and 6: sort all siblings by sent date. A dummy has the date of its first child."""
    for node in _children_first(roots, look):
        if len(node.children) > 1:
            node.children = stepwise.sort(node.children, _date_of, look)
        if not node.number:
            node.date = node.children[0].date
    return stepwise.sort(roots, _date_of, look)


def _merged_by_subject(roots, look):
    """Step 5: threads with the same subject become one."""
    table = {}
    for node in roots:
        look()
        head = node.head()
        known = table.get(head.subject)
        if known is None or known.number and (not node.number or known.reply and not head.reply):
            table[head.subject] = node
    merged = {}  # as an ordered set
    for node in roots:
        look()
        head = node.head()
        first = table[head.subject]
        if not head.subject or first is node:
            merged[node] = True
        elif not first.number:
            first.children.extend([node] if node.number else node.children)
        elif head.reply and not first.reply:
            first.children = first.children or []
            first.children.append(node)
        else:
            both = table[head.subject] = Node()
            both.children = [first, node]
            merged.pop(first, None)
            merged[both] = True
    return list(merged)


def forget(roots, look):
    """Empty the list of roots, one thread at a time: freeing all at once would hold the
    interpreter lock too long."""
    while roots:
        look()
        roots.pop()


# -- the response

def render(roots, look=lambda: None):
    """Roots -> the text after "* THREAD " (RFC 5256 section 4: thread-list), as bytes."""
    pieces, left = [], []
    for root in roots:
        left.append((root, False))
        while left:
            look()
            node, is_next = left.pop()
            if node is None:
                pieces.append(b")")
                continue
            if not node.number:
                pieces.append(b"(")
                left.append((None, False))
            elif is_next:  # the only child: right after its parent
                pieces.append(b" %d" % node.number)
            else:
                pieces.append(b"(%d" % node.number)
                left.append((None, False))
            if len(node.children) == 1 and node.number:
                left.append((node.children[0], True))
                continue
            if node.children and node.number:
                pieces.append(b" ")
            left.extend([(child, False) for child in reversed(node.children)])
    return b"".join(pieces)
