"""The names of mailboxes and of their folders."""
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenmail_protocols.store import errors
from phenmail_protocols.store.maildir import folders


@pytest.mark.parametrize("name, folder", [
    ("INBOX", ""), ("inbox", ""), ("Sent", ".Sent"),
    ("Lists/dev", ".Lists.dev"), ("INBOX/a", ".INBOX.a"),
    ("a.b", ".a\\2eb"), ("a\\b", ".a\\5cb"), ("~x", ".\\7ex"),
    ("\u0131nbox", ".&ATE-nbox"),  # its upper case is INBOX, but INBOX is ASCII
    ("Entwürfe", ".Entw&APw-rfe"), ("a&b", ".a&-b"), ("..", ".\\2e\\2e")])
def test_names_and_folders(name, folder):
    assert folders.folder_of(name) == folder
    assert folders.folder_of(folders.name_of(folder)) == folder


@pytest.mark.parametrize("folder", [".a&b", ".\xfc", "..", ".a..b", ".a/"])
def test_folders_that_are_not_mailboxes(folder):
    assert folders.name_of(folder) is None


@given(st.text(min_size=1, max_size=60))
def test_every_name_is_refused_or_comes_back(name):
    try:
        folder = folders.folder_of(name)
    except errors.InvalidName:
        return
    assert "/" not in folder and folder not in (".", "..")
    assert len(os.fsencode(folder)) <= 255
    assert folders.name_of(folder) == folders.canonical(name)
