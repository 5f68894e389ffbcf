"""The threads of a mailbox (RFC 5256 section 3): ORDEREDSUBJECT and REFERENCES.

Messages go in as values, threads come out as root Nodes; `render` formats them for the THREAD
response. Pure: no session and no store. Nothing here is recursive, because a chain of replies may
be as long as a mailbox.

`look` is called for each message and every _WALK steps of a walk; it may raise to end the work.
"""
from typing import Any, NamedTuple, Sequence

_WALK = 256  # steps of a walk between two calls of `look`


class Message(NamedTuple):
    """A message to be put into a thread.

    number      the message number or UID that the response gives
    date        the sent date in seconds (RFC 5256 section 2.2) and a tie-breaker for equal dates
    subject     mail.subject.BaseSubject
    identity    the normalized Message-ID, None without a valid one
    references  message identities, the oldest first; the last is the parent's
    """
    number: int
    date: Any
    subject: Any
    identity: Any
    references: Sequence


class Node:
    """A message in its thread, or a dummy (`message` None) for one that is missing."""
    __slots__ = ("message", "parent", "children", "date")

    def __init__(self, message=None):
        self.message = message
        self.parent = None
        self.children = []
        self.date = None

    @property
    def subject(self):
        """The thread's subject (step 5): a dummy has its first child's."""
        node = self
        while node.message is None:
            node = node.children[0]
        return node.message.subject


# -- ORDEREDSUBJECT

def by_subject(messages, look=lambda: None):
    """Messages (any order) -> roots. Those of one base subject are one thread: the oldest is the
    root, the others are its children."""
    threads = {}
    for message in sorted(messages, key=_date_of):
        look()
        threads.setdefault(message.subject.text, []).append(Node(message))
    roots = []
    for first, *others in threads.values():
        first.children = others
        roots.append(first)
    return roots  # by the dates of their roots: a dict keeps the order


def _date_of(message):
    return message.date


# -- REFERENCES; the steps are those of RFC 5256

def by_references(messages, look=lambda: None):
    """Messages (in the order of the mailbox) -> roots."""
    nodes = _linked(messages, look)
    roots = _with_children(nodes)
    roots = _without_dummies(roots, look)
    _sort(roots, look)
    roots = _merged_by_subject(roots, look)
    _sort(roots, look)
    return roots


def _linked(messages, look):
    """Step 1: all nodes, with their parents."""
    links, known, nodes = _Links(look), {}, []
    for message in messages:
        look()
        node = known.get(message.identity)
        if node is None or node.message is not None:  # a duplicate ID stays with its first
            nodes.append(Node())
            if node is None and message.identity is not None:
                known[message.identity] = nodes[-1]
            node = nodes[-1]
        node.message = message
        above = None
        for identity in message.references:
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
    """The links between children and parents while they are made.

    `_jumps` is a cache {node: one of its ancestors}, which shortens walks along long chains.
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
        way = []
        while node.parent is not None:
            way.append(node)
            node = self._jumps.get(node, node.parent)
            if not len(way) % _WALK:
                self._look()
        for each in way:
            self._jumps[each] = node
        return node


def _with_children(nodes):
    """Step 2: the nodes without a parent; all nodes get their children."""
    roots = []
    for node in nodes:
        (roots if node.parent is None else node.parent.children).append(node)
    return roots


def _without_dummies(roots, look):
    """Step 3: replace each dummy by its children. A dummy remains as a root if it has several
    children."""
    for node in _children_first(roots, look):
        if any([child.message is None for child in node.children]):
            node.children = [each for child in node.children
                             for each in ([child] if child.message is not None else child.children)]
    kept = []
    for node in roots:
        if node.message is not None or len(node.children) > 1:
            kept.append(node)
        else:
            kept.extend(node.children)
    return kept


def _children_first(roots, look):
    """Every node, after its children."""
    order, left = [], list(roots)
    while left:
        look()
        node = left.pop()
        order.append(node)
        left.extend(node.children)
    return reversed(order)


def _sort(roots, look):
    """Steps 4 and 6: all siblings by sent date; a dummy has its first child's."""
    for node in _children_first(roots, look):
        node.children.sort(key=_date_of)
        node.date = node.children[0].date if node.message is None else node.message.date
    roots.sort(key=_date_of)


def _merged_by_subject(roots, look):
    """Step 5: threads with the same subject become one."""
    table = {}
    for node in roots:
        look()
        subject = node.subject
        known = table.get(subject.text)
        if known is None or known.message is not None and (
                node.message is None or known.message.subject.reply and not subject.reply):
            table[subject.text] = node
    merged = {}  # as an ordered set
    for node in roots:
        look()
        subject = node.subject
        first = table[subject.text]
        if not subject.text or first is node:
            merged[node] = True
        elif first.message is None:
            first.children.extend([node] if node.message is not None else node.children)
        elif subject.reply and not first.message.subject.reply:
            first.children.append(node)
        else:
            both = table[subject.text] = Node()
            both.children = [first, node]
            merged.pop(first, None)
            merged[both] = True
    return list(merged)


# -- the response

def render(roots):
    """Roots -> the text after "* THREAD " (RFC 5256 section 4: thread-list), as bytes."""
    pieces, left = [], []
    for root in roots:
        left.append((root, False))
        while left:
            node, is_next = left.pop()
            if node is None:
                pieces.append(b")")
                continue
            if node.message is None:
                pieces.append(b"(")
                left.append((None, False))
            elif is_next:  # the only child: right after its parent
                pieces.append(b" %d" % node.message.number)
            else:
                pieces.append(b"(%d" % node.message.number)
                left.append((None, False))
            if len(node.children) == 1 and node.message is not None:
                left.append((node.children[0], True))
                continue
            if node.children and node.message is not None:
                pieces.append(b" ")
            left.extend([(child, False) for child in reversed(node.children)])
    return b"".join(pieces)
