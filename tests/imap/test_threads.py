"""THREAD's algorithms against RFC 5256 written naively."""
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.imap.searching import threads
from phenmail_protocols.mail.conversations import BaseSubject


def message(number, identity=None, references=(), subject="", reply=False, date=None):
    return threads.Message(number, ((number if date is None else date) << 32) + number,
                           BaseSubject(subject, reply), identity, tuple(references))


def rendered(messages):
    return threads.render(threads.by_references(messages)).decode()


@pytest.mark.parametrize("messages, expected", [
    ([], ""),
    ([message(1)], "(1)"),
    ([message(1, "a"), message(2, "b", "a")], "(1 2)"),
    ([message(2, "b", "a"), message(1, "a")], "(1 2)"),
    ([message(1, "a"), message(2, "b", "a"), message(3, "c", "a")], "(1 (2)(3))"),
    ([message(1, "a"), message(2, "b", "a"), message(3, "c", "ab"), message(4, "d", "a")],
     "(1 (2 3)(4))"),
    # The parent is not there.
    ([message(1, "b", "a"), message(2, "c", "a")], "((1)(2))"),
    ([message(1, "b", "a")], "(1)"),
    ([message(1, "c", "ab"), message(2, "d", "ab")], "((1)(2))"),
    # Circles.
    ([message(1, "a", "b"), message(2, "b", "a")], "(2 1)"),
    ([message(1, "a", "a")], "(1)"),
    ([message(1, "a", "bca"), message(2, "b", "c"), message(3, "c", "b")], "(1)(2 3)"),
    # One ID twice: the first has it.
    ([message(1, "a"), message(2, "a"), message(3, "b", "a")], "(1 3)(2)"),
    # Subjects.
    ([message(1, subject="x"), message(2, subject="x", reply=True)], "(1 2)"),
    ([message(1, subject="x", reply=True), message(2, subject="x")], "(2 1)"),
    ([message(1, subject="x"), message(2, subject="x")], "((1)(2))"),
    ([message(n, subject="x", reply=True) for n in (1, 2, 3)], "((1)(2)(3))"),
    ([message(1, "b", "a", "x"), message(2, "c", "a", "x"), message(3, subject="x")],
     "((1)(2)(3))"),
    ([message(1), message(2)], "(1)(2)"),
    # Dates decide, then the numbers.
    ([message(1, date=9), message(2, date=5)], "(2)(1)"),
    ([message(1, "a", date=9), message(2, "b", "a", date=8), message(3, "c", "a", date=7)],
     "(1 (3)(2))"),
])
def test_references(messages, expected):
    assert rendered(messages) == expected


def test_a_chain_may_be_as_long_as_the_mailbox():
    identities = ["%d" % n for n in range(1, 20001)]
    messages = [message(n + 1, identities[n], identities[max(0, n - 2):n]) for n in range(20000)]
    expected = "(" + " ".join(identities) + ")"
    assert rendered(messages) == expected
    random.Random(1).shuffle(messages)
    looks = []
    roots = threads.by_references(messages, lambda: looks.append(1))
    assert threads.render(roots).decode() == expected and len(looks) > 20000


def test_ordered_subject():
    messages = [message(1, subject="b"), message(2, subject="a"), message(3, subject="b", date=0),
                message(4, subject="b"), message(5, subject="c")]
    assert threads.render(threads.by_subject(messages)).decode() == "(3 (1)(4))(2)(5)"


# -- the RFC's steps once more, sharing no line with the product

class Box:
    def __init__(self, mail=None):
        self.mail, self.up, self.down = mail, None, []


def naive(messages):
    by_id, boxes, anonymous = {}, [], 0
    for mail in messages:
        name = mail.identity
        if name is None or name in by_id and by_id[name].mail is not None:
            anonymous += 1
            name = ("anonymous", anonymous)
        way = [by_id.setdefault(each, Box()) for each in mail.references]
        for upper, lower in zip(way, way[1:]):
            if lower.up is None and not circle(upper, lower):
                link(upper, lower)
        box = by_id.setdefault(name, Box())
        box.mail = mail
        if box.up is not None:
            box.up.down.remove(box)
            box.up = None
        if way and not circle(way[-1], box):
            link(way[-1], box)
    boxes = list(by_id.values())
    top = Box()
    top.down = [box for box in boxes if box.up is None]
    prune(top, True)
    arrange(top)
    table = {}
    for box in top.down:
        name = topic(box)
        if name.text and name.text not in table:
            table[name.text] = box
        elif name.text:
            other = table[name.text]
            if other.mail is not None and (box.mail is None or topic(other).reply
                                           and not name.reply):
                table[name.text] = box
    for box in list(top.down):
        name = topic(box)
        other = table.get(name.text)
        if not name.text or other is box:
            continue
        top.down.remove(box)
        if other.mail is None and box.mail is None:
            other.down += box.down
        elif other.mail is None:
            other.down.append(box)
        elif name.reply and not topic(other).reply:
            other.down.append(box)
        else:
            dummy = Box()
            dummy.down = [other, box]
            top.down[top.down.index(other)] = dummy
            table[name.text] = dummy
    arrange(top)
    return "".join(map(shown, top.down))


def circle(upper, lower):
    while upper is not None and upper is not lower:
        upper = upper.up
    return upper is lower


def link(upper, lower):
    lower.up = upper
    upper.down.append(lower)


def prune(box, at_top):
    for child in list(box.down):
        prune(child, False)
    kept = []
    for child in box.down:
        if child.mail is None and (not child.down or not at_top or len(child.down) == 1):
            kept += child.down
        else:
            kept.append(child)
    box.down = kept


def moment(box):
    return box.mail.date if box.mail is not None else moment(box.down[0])


def topic(box):
    return box.mail.subject if box.mail is not None else topic(box.down[0])


def arrange(box):
    for child in box.down:
        arrange(child)
    box.down.sort(key=moment)


def shown(box):
    children = "".join(map(shown, box.down))
    if box.mail is None:
        return "(%s)" % children
    if len(box.down) == 1:
        return "(%d %s)" % (box.mail.number, children[1:-1])
    return "(%d%s)" % (box.mail.number, " " + children if children else "")


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(
    st.one_of(st.none(), st.sampled_from("abcdefgh")),
    st.lists(st.sampled_from("abcdefghxyz"), max_size=4),
    st.sampled_from(["", "s", "t"]), st.booleans(), st.integers(0, 5)), max_size=14))
def test_references_as_the_rfc_says(drawn):
    messages = [message(number, identity, references, subject, reply and bool(subject), date)
                for number, (identity, references, subject, reply, date) in enumerate(drawn, 1)]
    assert rendered(messages) == naive(messages)


@given(st.lists(st.integers(1, 99), unique=True, max_size=20), st.randoms(use_true_random=False))
def test_each_message_is_there_once(numbers, dice):
    names = "abcdefghij"
    messages = [message(n, dice.choice(names), dice.choice(names), dice.choice("xy"),
                        dice.random() < .5)
                for n in numbers]
    assert sorted(map(int, re.findall(r"\d+", rendered(messages)))) == sorted(numbers)
