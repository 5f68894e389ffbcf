"""No pattern and no text delays the server, and the results are those of `re`."""
import re
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from phenmail_protocols.filters.regex import Pattern

LONGEST_TEXT = 65536  # of a header's field and of a body
LONGEST_TIME = 0.4  # seconds; 0.05 on a quiet machine

ITEMS = ["a", "b", "K", "é", "ß", ".", r"\d", r"\w", r"\W", r"\s", "[ab]", "[^a]", r"[a-c_]",
         r"[\w-]", "[]a]", "[^]]", r"[\]]", "^", "$", r"\b",
         r"\B", r"\A", r"\Z", "\n", "_", "[k-s]", "\u212a", ".*", "a{,}", "a{", r"\.", "(?=a)",
         "(?<!b)", r"\x61"]
REPEATS = ["", "", "", "*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "{,2}", "*?", "??", "{0}"]
GROUPS = ["(%s)", "(?:%s)", "(?i:%s)", "(?-i:%s)", "(?s:%s)", "(?a:%s)", "(?m:%s)", "(?P<x>%s)",
          "(?=%s)", "(?!%s)", "(%s)\\1"]
TEXT = st.text("aabBKké ß_1\n-\u212a\u017f]", min_size=1, max_size=9)
ENDS = ("", "!", "\n", "b!", "\n!")


def repeated(inner):
    return st.tuples(inner, st.sampled_from(REPEATS)).map("".join)


def larger(inner):
    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: "(?:%s)" % "|".join(parts)),
        repeated(st.tuples(st.sampled_from(GROUPS), inner).map(lambda pair: pair[0] % pair[1])))


PATTERN = st.recursive(repeated(st.sampled_from(ITEMS)), larger, max_leaves=8)


def compiled(pattern):
    try:
        return re.compile(pattern, re.IGNORECASE)
    except re.error:
        return None


def longest_time(pattern, words):
    """Of a search in texts made of a word again and again, as long as the server searches them."""
    length, most = min(pattern.longest, LONGEST_TEXT), 0.0
    for word in words:
        for end in ENDS:
            text = ((word * (length // len(word) + 1))[:max(0, length - len(end))]
                    + end)[:max(0, length)]
            began = time.perf_counter()
            pattern.search(text)
            most = max(most, time.perf_counter() - began)
    return most


@pytest.mark.parametrize("text", [
    r"(a+)+$", r"(a|a)*b", r"(a|aa)+$", r"(a|b|ab)*c", "(a|a)" * 40 + "c",
    r"(?:(?:a?){30}){5}a{150}", r"(\w+\s?)*$",
    r"^(([a-z])+.)+[A-Z]([a-z])+$", r"(?=(a+)+$)b", r"(a+)+\1", r"(\w+) \1", r"(?x) (a +) + $",
    r"(.*)*", r"(?:(?:a?){100}){100}",
    r"(?>a+)+", r"(a)?(?(1)b|c)", r"(?P<x>a+)(?P=x)", "(" * 50 + "a" + ")" * 50, r"(a*){2,}",
    r"\x61*"])
def test_what_could_take_for_ever_is_not_searched_in_the_server(text):
    if compiled(text) is None:
        pytest.skip("this Python does not know it")
    assert Pattern(text).longest == -1


@pytest.mark.parametrize("text", [
    r".*.*.*.*x", r".*.*.*=.*", r"\s*\s*\s*$", r"\s+\s+$", r"(.*a){20}", r"[ab]*[ab]*[ab]*c",
    r"(?:a{0,400}){2}b", r"(?!.*.*.*.*x)a",
    "a{2500}", r"(?:a?){400}", r"(?:){100000}", r"a?" * 20 + "a" * 20, r"(aa){2,30}b",
    r"free.*money", r"(a|b)?(a|b)?(a|b)?c",
    r"^.*a.*a.*b$", "a" * 20 + "b", r"(?i:a.{200}c)", r"x*" * 30, r"(?<=a)b*b*c", r"[^a]*[^b]*!!",
    r"(invoice|order) [0-9]+"])
def test_what_passes_is_fast(text):
    assert longest_time(Pattern(text), ("a", "ab", "a ", " ", "aab", "free", "\n", "x",
                                        "order 1")) < LONGEST_TIME


@settings(max_examples=300, deadline=None)
@given(PATTERN, st.lists(TEXT, min_size=1, max_size=3))
def test_whatever_passes_is_fast(text, words):
    assume(compiled(text) is not None)
    assert longest_time(Pattern(text), ["a", "ab"] + words) < LONGEST_TIME


@pytest.mark.parametrize("text, subject, found", [
    (r"^\[dev\] .*release", "[DEV] the release", True), (r"^(invoice|order) [0-9]+$", "Order 4711",
                                                         True),
    (r"^(?!re:).*release", "Re: release", False), (r"\bfree\b.*\bmoney\b.*!$",
                                                   "Free, quick money now!", True),
    (r".*one.*two.*three.*", "one, two and three", True),
    (r"\[ticket #\d+\]", "Re: [Ticket #12] x", True),
    ("STRASSE", "strasse", True), (r"^.*@(mail|news)\.example\.(com|org)$", "a@news.example.org",
                                   True)])
def test_what_people_write_is_searched_in_the_server(text, subject, found):
    pattern = Pattern(text)
    assert pattern.longest > 60 and pattern.search(subject) is found


@settings(max_examples=400)
@given(PATTERN, TEXT)
def test_it_finds_what_re_finds(text, subject):
    known = compiled(text)
    assume(known is not None)
    assert Pattern(text).search(subject) == (known.search(subject) is not None)
