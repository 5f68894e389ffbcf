"""Slow regular expressions are searched in a child process, within its time."""
import os
import re
import time

import pytest

from phenmail_protocols.filters import python
from phenmail_protocols.filters.matching import NotSearched
from phenmail_protocols.filters.python import Scripts

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")


class Settings:
    python = run_as = None
    admin = ()


@pytest.fixture(scope="module")
def scripts():
    made = Scripts(None, None, Settings)
    yield made
    made.stop()


@pytest.mark.parametrize("pattern, text", [
    (r"(\w+) \1", "the the"), (r"(\w+) \1", "the then"), ("free.*money", "x" * 65530 + "money"),
    ("FREE.*Money", "free " * 13000 + "money"),
    ("", ""), ("^$", ""), ("\n.\u00fc", "\r\n,\u00dc"), (",", "a,b"), ("(a+)+$", "aaa"),
    ("\udc80+x?", "\udc80"), ("\U0001f600" * 100, "\U0001f600" * 65536)])
def test_it_finds_what_re_finds(scripts, pattern, text):
    assert scripts.search(pattern, text,
                          "/alice") is (re.search(pattern, text, re.IGNORECASE) is not None)


def test_it_ends_in_time_and_the_next_one_is_answered(scripts):
    began = time.monotonic()
    with pytest.raises(NotSearched, match="within 1 s"):
        scripts.search("(a+)+$", "a" * 60 + "!", "/alice")
    assert time.monotonic() - began < python.SEARCH_SECONDS + 3
    assert scripts.search("(a+)+$", "aaa", "/alice")


def test_other_threads_go_on(scripts):
    """The server's interpreter is not held."""
    import threading
    thread = threading.Thread(target=lambda: pytest.raises(NotSearched, scripts.search, "(a|a)*b",
                                                           "a" * 60, "/alice"))
    scripts.search("a", "a", "/alice")
    thread.start()
    longest, last = 0.0, time.monotonic()
    while thread.is_alive():
        thread.join(0.001)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert longest < 0.5


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can be others")
def test_root_does_not_search(monkeypatch):
    monkeypatch.setattr(Settings, "run_as", "root")
    made = Scripts(None, None, Settings)
    with pytest.raises(NotSearched, match="root"):
        made.search("a", "a", "/alice")
    made.stop()
