"""Patterns of mailbox names: what they match, and that no pattern takes long."""
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.imap.syntax.patterns import Patterns


def _matches(pattern, name):
    return Patterns((pattern,)).fits(name)


@pytest.mark.parametrize("pattern, name, fits", [
    ("*", "a/b", True), ("%", "a", True), ("%", "a/b", False), ("%/%", "a/b", True),
    ("a*", "a/b/c", True), ("a/%", "a/b/c", False),
    ("a%c", "abc", True), ("a%c", "a/c", False), ("*c", "a/b/c", True), ("", "", True),
    ("", "a", False), ("a", "A", False),
    ("inbox", "INBOX", True), ("InB*", "INBOX", True), ("%box", "INBOX", True),
    ("inbox/%", "INBOX/a", True), ("x*", "INBOX", False),
    ("**", "a", True), ("%%", "a/b", False), ("*%", "a/b", True), ("%*", "a/b", True),
    ("a", "ab", False), ("ab", "a", False),
    ("a.b", "axb", False), ("(a)", "(a)", True),
])
def test_patterns(pattern, name, fits):
    assert _matches(pattern, name) is fits


def _simply(pattern, name):
    """The same by backtracking: good enough for short ones."""
    if not pattern:
        return not name
    if pattern[0] in "*%":
        return _simply(pattern[1:], name) or bool(name) and (
            pattern[0] == "*" or name[0] != "/") and _simply(pattern, name[1:])
    return bool(name) and name[0] == pattern[0] and _simply(pattern[1:], name[1:])


@settings(max_examples=200, deadline=None)
@given(st.text("a/*%", max_size=6), st.text("a/", max_size=6))
def test_patterns_against_a_simple_matcher(pattern, name):
    assert _matches(pattern, name) == _simply(pattern, name)


def test_many_wildcards_take_no_long_time():
    assert not _matches("*a" * 200 + "b", "a" * 200)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("a/*%", max_size=4), max_size=5), st.text("a/", max_size=6))
def test_many_patterns_are_each_pattern(patterns, name):
    assert Patterns(patterns).fits(name) == any(_simply(pattern, name) for pattern in patterns)


@pytest.mark.parametrize("pattern", ["%*a" * 1266, "a*" * 1900, "%a" * 1900, "*a%b" * 60,
                                     "*" * 3800, "a" * 3800])
def test_the_time_grows_with_the_names_and_not_with_the_pattern(pattern):
    names = ["folder/%04d/some/where" % number for number in range(2000)]
    fits = Patterns((pattern,)).fits
    start = time.thread_time() if hasattr(time, "thread_time") else time.perf_counter()
    found = sum(map(fits, names))
    spent = (time.thread_time() if hasattr(time, "thread_time") else time.perf_counter()) - start
    assert found == (2000 if pattern.startswith("**") else 0) and spent < 0.4
