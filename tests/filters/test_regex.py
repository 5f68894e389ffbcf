"""No pattern of a user and no text of a stranger holds up the server; and what `re` would find is found."""
import re
import time

import pytest
from hypothesis import assume, given, settings

from phenmail_protocols.filters.regex import Pattern, PatternRefused

from .test_automaton import PATTERN, TEXT, compiled

EVIL_TEXTS = ("a" * 5000 + "!", "ab" * 2500 + "!", "a\n" * 2500 + "!", "1 " * 2500)


@pytest.mark.parametrize("text", [
    r"(a+)+$", r"(a|a)*b", r"(a|aa)+$", r".*.*.*.*x", r"(a|b|ab)*c", "(a|a)" * 40 + "c", r"(?:(?:a?){30}){5}a{150}", r"(\w+\s?)*$",
    r"^(([a-z])+.)+[A-Z]([a-z])+$", r"(?:){100000}", r"(?:a?){400}", r"\s*\s*\s*$", r"(.*a){20}", r"[ab]*[ab]*[ab]*c", r"(?:a{0,400}){2}b"])
def test_it_ends_soon(text):
    pattern = Pattern(text)
    for subject in EVIL_TEXTS:
        began = time.perf_counter()
        pattern.search(subject)
        assert time.perf_counter() - began < 2.0, subject[:10]


@pytest.mark.parametrize("text", [
    r"(?=(a+)+$)b", r"(a+)+\1", r"(?!.*.*.*.*x)a", r"(?:(?:a?){100}){100}", "a{2500}", r"(\w+) \1", "(" * 500 + "a" + ")" * 500, "(a"])
def test_what_could_take_for_ever_is_refused(text):
    """Some Pythons take deeply nested groups; they are then as good as any."""
    try:
        Pattern(text)
    except PatternRefused as refused:
        assert str(refused)
    else:
        assert text.startswith("((((")


@pytest.mark.parametrize("text, subject, found", [
    (r"^\[dev\] .*release", "[DEV] the release", True), (r"^(invoice|order) [0-9]+$", "Order 4711", True),
    (r"^(?!re:).*release", "Re: release", False), (r"(.)\1\1", "Freee money", True), (r"\bfree\b.*\bmoney\b.*!$", "Free, quick money now!", True),
    ("STRASSE", "strasse", True), (r"^.*@(mail|news)\.example\.(com|org)$", "a@news.example.org", True)])
def test_what_people_write(text, subject, found):
    assert Pattern(text).search(subject) is found


@settings(max_examples=200)
@given(PATTERN, TEXT)
def test_it_finds_what_re_finds(text, subject):
    known = compiled(text)
    assume(known is not None)
    assert Pattern(text).search(subject) == (known.search(subject) is not None)


def test_long_texts_go_to_the_automaton():
    pattern = Pattern(r".*one.*two.*three.*")
    assert pattern.search("x" * 20000 + "one, two, and three" + "y" * 20000)
    assert not pattern.search("x" * 20000 + "one, three, and two" + "y" * 20000)


def test_what_is_not_regular_sees_the_beginning_of_a_long_text():
    pattern = Pattern(r"^(?!.*list).*dev")
    assert pattern.search("dev") and not pattern.search("dev list")
    assert re.search(r"^(?!.*list).*dev", "dev" + " " * 100000 + "list") is None
    assert pattern.search("dev" + " " * 100000 + "list")
