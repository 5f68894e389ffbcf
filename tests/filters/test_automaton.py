"""The automaton says what `re` says, for every regular pattern, and no text makes it slow."""
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from phenmail_protocols.filters.automaton import Automaton, NotRegular

ITEMS = ["a", "b", "K", "é", "ß", ".", r"\d", r"\w", r"\W", r"\s", "[ab]", "[^a]", r"[a-c_]", r"[\w-]", "^", "$", r"\b", r"\B", r"\A", r"\Z",
         "\n", "_", "[k-s]", "\u212a"]
REPEATS = ["", "", "", "*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?", "??"]
GROUPS = ["(%s)", "(?:%s)", "(?i:%s)", "(?-i:%s)", "(?s:%s)", "(?a:%s)", "(?m:%s)", "(?P<x>%s)"]
TEXT = st.text("aabBKké ß_1\n-\u212a\u017f", min_size=1, max_size=9)


def repeated(inner):
    return st.tuples(inner, st.sampled_from(REPEATS)).map("".join)


def larger(inner):
    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: "(?:%s)" % "|".join(parts)),
        repeated(st.tuples(st.sampled_from(GROUPS), inner).map(lambda pair: pair[0] % pair[1])))


PATTERN = st.recursive(repeated(st.sampled_from(ITEMS)), larger, max_leaves=8)


def compiled(pattern, flags=re.IGNORECASE):
    try:
        return re.compile(pattern, flags)
    except re.error:
        return None


@settings(max_examples=400)
@given(PATTERN, TEXT)
def test_it_says_what_re_says(pattern, text):
    known = compiled(pattern)
    assume(known is not None)
    assert Automaton(pattern, known.flags).search(text) == (known.search(text) is not None)


@pytest.mark.parametrize("pattern, text, found", [
    ("a$", "a\n", True), ("a$", "a\nb", False), ("(?m)a$", "a\nb", True), (r"a\Z", "a\n", False), ("(?m)^b", "a\nb", True), ("^b", "a\nb", False),
    (r"\bab\b", "x ab.", True), (r"\bab\b", "xab", False), ("a.b", "a\nb", False), ("(?s)a.b", "a\nb", True), ("(?x) a b # c", "ab", True),
    ("", "x", True), ("(?:)*", "x", True), ("(a?)*b", "aab", True), ("a{3}", "aa", False), ("a{2,3}b", "xaab", True), ("[^\\n]{4}", "abc", False),
])
def test_places_and_flags(pattern, text, found):
    known = re.compile(pattern, re.IGNORECASE)
    assert Automaton(pattern, known.flags).search(text) is found is (known.search(text) is not None)


@pytest.mark.parametrize("pattern", [r"(a)\1", "(?=a)b", "(?!a)b", "(?<=a)b", "(a)?(?(1)b|c)"])
def test_what_is_not_regular_is_told(pattern):
    with pytest.raises(NotRegular):
        Automaton(pattern, re.compile(pattern).flags)


@pytest.mark.parametrize("pattern", ["a{3000}", "(?:a{100}){100}", "((a?){50}){50}"])
def test_too_many_states_are_refused(pattern):
    with pytest.raises(NotRegular, match="too many repeats"):
        Automaton(pattern, re.compile(pattern).flags)


def test_a_long_repeat_of_nothing_is_nothing():
    assert Automaton("(?:){100000000}x", re.compile("x").flags).search("ax")


def test_a_search_can_be_stopped():
    """Each step of this one meets another set of states."""
    looks = []

    def look():
        looks.append(1)
        if len(looks) == 3:
            raise TimeoutError()

    text = "".join("ab"[bin(number).count("1") % 2] for number in range(20000))
    with pytest.raises(TimeoutError):
        Automaton("a.{200}c", re.compile("a").flags).search(text, look)


def test_what_is_kept_between_searches_is_bounded():
    automaton = Automaton("a.{20}c", re.compile("a").flags)
    for number in range(50):
        automaton.search(bin(number * 7919).replace("1", "a") * 20)
    assert sum(len(each.following) for each in automaton._sets.values()) <= 500
