"""Authorizations: what is authorized, and what an attacker might try to have authorized."""

import logging
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenmail_protocols.accounts.authorization import EXTERNAL_MDA, FILTER, Authorizations
from phenmail_protocols.config.settings import UserSettings

TEXT = "/usr/bin/procmail -d {USER}"


@pytest.fixture
def authorizations(tmp_path):
    return Authorizations(str(tmp_path))


def test_what_was_signed_holds_also_after_a_restart(authorizations, tmp_path):
    signature = authorizations.sign("alice", EXTERNAL_MDA, TEXT)
    assert len(signature) == 64 and set(signature) <= set("0123456789abcdef")
    assert authorizations.holds("alice", EXTERNAL_MDA, TEXT, signature)
    assert Authorizations(str(tmp_path)).holds("alice", EXTERNAL_MDA, TEXT, signature)


def test_the_digest_is_the_one_that_it_was(authorizations, tmp_path):
    """Another digest would invalidate all authorizations that exist."""
    (tmp_path / "authorization.key").write_bytes(b"k" * 32)
    assert authorizations.sign("alice", FILTER, "accept('ñ')\n") == (
        "0867af30c1124214865591cdb79746168a6325cd35e4d21d6741fa1a0604cc41")


def test_the_key_is_ours_alone(authorizations, tmp_path):
    authorizations.sign("alice", FILTER, "x")
    status = os.stat(str(tmp_path / "authorization.key"))
    assert stat.S_IMODE(status.st_mode) == 0o600 and status.st_size == 32


@pytest.mark.parametrize("identity, kind, text", [
    ("bob", EXTERNAL_MDA, TEXT),                            # another user's
    ("Alice", EXTERNAL_MDA, TEXT),
    ("alice ", EXTERNAL_MDA, TEXT),
    ("аlice", EXTERNAL_MDA, TEXT),                     # a Cyrillic a
    ("al\u200bice", EXTERNAL_MDA, TEXT),
    ("alice/mail", EXTERNAL_MDA, TEXT),
    ("[user-identity]", EXTERNAL_MDA, TEXT),
    ("", EXTERNAL_MDA, TEXT),
    (None, EXTERNAL_MDA, TEXT),
    ("alice", FILTER, TEXT),                                # for something else
    ("alice", EXTERNAL_MDA, TEXT + " "),                    # another text
    ("alice", EXTERNAL_MDA, " " + TEXT),
    ("alice", EXTERNAL_MDA, TEXT.replace(" ", "  ", 1)),
    ("alice", EXTERNAL_MDA, TEXT.replace(" ", "\u00a0")),
    ("alice", EXTERNAL_MDA, TEXT.upper()),
    ("alice", EXTERNAL_MDA, TEXT + "\n"),
    ("alice", EXTERNAL_MDA, TEXT + "\0"),
    ("alice", EXTERNAL_MDA, ">" + TEXT),
    ("alice", EXTERNAL_MDA, TEXT[:-1]),
    ("alice", EXTERNAL_MDA, ""),
])
def test_it_holds_for_nothing_else(authorizations, identity, kind, text):
    signature = authorizations.sign("alice", EXTERNAL_MDA, TEXT)
    assert not authorizations.holds(identity, kind, text, signature)


def test_a_filters_authorization_is_not_one_for_a_command(authorizations):
    signature = authorizations.sign("alice", FILTER, TEXT)
    assert authorizations.holds("alice", FILTER, TEXT, signature)
    assert not authorizations.holds("alice", EXTERNAL_MDA, TEXT, signature)


@pytest.mark.parametrize("change", [
    str.upper, lambda signature: signature + " ", lambda signature: " " + signature,
    lambda signature: signature + "\n", lambda signature: signature[:-1],
    lambda signature: signature + "0", lambda signature: "", lambda signature: None,
    lambda signature: "sha256:" + signature, lambda signature: signature * 2,
    # full-width digits
    lambda signature: signature.translate({ord("0") + n: 0xff10 + n for n in range(10)}),
    lambda signature: "\ud800" + signature, lambda signature: signature[::-1]])
def test_the_authorization_is_taken_as_it_was_written(authorizations, change):
    signature = authorizations.sign("alice", FILTER, TEXT)
    assert change(signature) == signature or not authorizations.holds(
        "alice", FILTER, TEXT, change(signature))


def test_another_form_of_the_same_character_is_another_text(authorizations):
    signature = authorizations.sign("alice", FILTER, "accept('\u00f1')")
    assert not authorizations.holds("alice", FILTER, "accept('n\u0303')", signature)


@pytest.mark.parametrize("identity, text", [("ab", "c"), ("a", "bc"), ("a6:filter,1:b", "c"),
                                            ("a", "6:filter,bc"), ("a,1:b", "c")])
def test_lengths_can_not_be_played_with(authorizations, identity, text):
    others = {("ab", "c"), ("a", "bc"), ("a6:filter,1:b", "c"), ("a", "6:filter,bc"),
              ("a,1:b", "c")} - {(identity, text)}
    signature = authorizations.sign(identity, FILTER, text)
    assert not any(authorizations.holds(other, FILTER, words, signature) for other, words in others)


@given(st.tuples(st.text(min_size=1), st.text(min_size=1)),
       st.tuples(st.text(min_size=1), st.text(min_size=1)))
def test_no_two_texts_have_one_leave(tmp_path_factory, one, other):
    authorizations = Authorizations(str(tmp_path_factory.getbasetemp()))
    signature = authorizations.sign(one[0], FILTER, one[1])
    assert authorizations.holds(other[0], FILTER, other[1], signature) == (one == other)


@pytest.mark.parametrize("identity, kind, text", [("", FILTER, "x"), ("alice", FILTER, ""),
                                                  ("alice", "Filter", "x"), ("alice", "", "x")])
def test_nothing_is_signed_that_is_nothing(authorizations, tmp_path, identity, kind, text):
    with pytest.raises(ValueError):
        authorizations.sign(identity, kind, text)
    assert os.listdir(str(tmp_path)) == []


def test_asking_makes_no_key_and_notices_the_one_that_is_made(authorizations, tmp_path):
    assert not authorizations.holds("alice", FILTER, "x", "0" * 64)
    assert os.listdir(str(tmp_path)) == []
    signature = Authorizations(str(tmp_path)).sign("alice", FILTER, "x")
    assert authorizations.holds("alice", FILTER, "x", signature)


def test_with_another_key_nothing_holds(authorizations, tmp_path):
    signature = authorizations.sign("alice", FILTER, "x")
    (tmp_path / "authorization.key").write_bytes(os.urandom(32))
    assert not Authorizations(str(tmp_path)).holds("alice", FILTER, "x", signature)


@pytest.mark.parametrize("place", ["link", "dangling", "pipe", "folder", "short", "long", "empty"])
def test_a_key_that_is_none_is_told_once_and_nothing_holds(tmp_path, caplog, place):
    path, known = str(tmp_path / "authorization.key"), str(tmp_path / "known")
    with open(known, "wb") as file:
        file.write(b"k" * 32)
    {"link": lambda: os.symlink(known, path), "dangling": lambda: os.symlink(known + "-", path),
     "pipe": lambda: os.mkfifo(path),
     "folder": lambda: os.mkdir(path), "short": lambda: open(path, "wb").write(b"k" * 31),
     "long": lambda: open(path, "wb").write(b"k" * 33),
     "empty": lambda: open(path, "wb").close()}[place]()
    authorizations = Authorizations(str(tmp_path))
    with caplog.at_level(logging.ERROR, "phenmail.accounts"):
        for _ in range(3):
            assert not authorizations.holds("alice", FILTER, "x", "0" * 64)
    assert len(caplog.records) == 1
    with pytest.raises((OSError, ValueError)):
        authorizations.sign("alice", FILTER, "x")
    assert not os.path.exists(known + "-")


def test_the_leave_of_a_users_file(authorizations):
    user = UserSettings(None, None, None, TEXT, authorizations.sign("alice", EXTERNAL_MDA, TEXT),
                        "", "", False)
    assert authorizations.external_mda("alice", user)
    assert not authorizations.external_mda("bob", user)
    assert not authorizations.external_mda("alice", user._replace(external_mda=None))
    assert not authorizations.external_mda("alice", user._replace(authorization=None))
    assert not authorizations.external_mda(None, user)
