"""Editing makes the change and no other, in texts of every form."""

import json
import re

import pytest
from hypothesis import given, settings, strategies

from phenmail_protocols.config import editing
from phenmail_protocols.config.editing import (
    EditError,
    add_item,
    add_member,
    read,
    remove,
    set_member,
)

TEXT = """\
# the whole server
{
  "sender-domain": "example.com",   # ours

  "domains": {
    # people
    "example.com": {
      "alice": "/alice/mail",       # the boss
      # "bob": "/bob/mail",  was here {
      "dan": "/dan/mail"            # the last
      # nobody behind dan
    }
  },
  "admin": ["alice"]  // no comment
}
# the end
"""
TEXT = TEXT.replace("  // no comment", "")
AT = ("domains", "example.com")


def comments(text):
    found = re.findall(r'"(?:[^"\\]|\\.)*"|(#[^\n]*|; }|; comment)', text)
    return [comment for comment in found if comment]


def test_a_member_is_added_behind_the_last():
    edited = add_member(TEXT, AT, "eve", "/eve/mail")
    assert edited == TEXT.replace(
        '"/dan/mail"            # the last', '"/dan/mail",            # the last').replace(
        "      # nobody behind dan\n", '      # nobody behind dan\n      "eve": "/eve/mail"\n')


@pytest.mark.parametrize("text, edited", [
    ('{}', '{"k": 1}'),
    ('{ }', '{"k": 1 }'),
    ('{"a": 1}', '{"a": 1, "k": 1}'),
    ('{ "a": 1 }', '{ "a": 1, "k": 1 }'),
    ('{"a": 1,}', '{"a": 1, "k": 1}'),
    ('{\n}', '{\n  "k": 1\n}'),
    ('{\n    "a": 1\n}', '{\n    "a": 1,\n    "k": 1\n}'),
    ('{\n\t"a": 1,\n}', '{\n\t"a": 1,\n\t"k": 1\n}'),
    ('{\n  "a": 1\n  ,\n}', '{\n  "a": 1\n  ,\n  "k": 1\n}'),
    ('{"a": 1 # one\n}', '{"a": 1, # one\n  "k": 1\n}'),
    ('{ # none\n}', '{ # none\n  "k": 1\n}'),
    ('{"a": {"b": "}"}}', '{"a": {"b": "}"}, "k": 1}'),
    ('{"a": "# , }"}', '{"a": "# , }", "k": 1}'),
    ('{"a": """x\n "}"""}', None),
    ('{"a": """x\n }"""}', '{"a": """x\n }""", "k": 1}'),
    ('{\n  "a": 1\n  ; comment }\n}', '{\n  "a": 1,\n  ; comment }\n  "k": 1\n}'),
    ('{\n  "a": 1\n  // comment }\n}', '{\n  "a": 1,\n  // comment }\n  "k": 1\n}'),
    ('{\n  "a": 1\n  /* } \n " */\n}', '{\n  "a": 1,\n  /* } \n " */\n  "k": 1\n}'),
    ('\ufeff{"a": 1}', '\ufeff{"a": 1, "k": 1}'),
])
def test_a_member_is_added_to_every_form(text, edited):
    if edited is None:
        with pytest.raises(EditError):
            add_member(text, (), "k", 1)
    else:
        assert add_member(text, (), "k", 1) == edited


@pytest.mark.parametrize("path, edited", [
    (AT + ("dan",), TEXT.replace('"dan": "/dan/mail"            # the last',
                                 "           # the last")),
    (AT + ("alice",), TEXT.replace('"alice": "/alice/mail",       # the boss', "      # the boss")),
    (("admin", 0), TEXT.replace('["alice"]', "[]")),
    (("admin",), TEXT.replace('  "admin": ["alice"]\n', "")),
])
def test_a_member_is_removed_and_its_comment_stays(path, edited):
    removed = remove(TEXT, path)
    assert re.sub(" +", " ", removed) == re.sub(" +", " ", edited)
    assert comments(removed) == comments(TEXT)


@pytest.mark.parametrize("text, edited", [
    ('{"a": 1}', '{}'), ('{"b": 2, "a": 1}', '{"b": 2, }'), ('{"a": 1, "b": 2}', '{ "b": 2}'),
    ('{\n  "a": 1,\n  "b": 2\n}', '{\n  "b": 2\n}'),
    ('{\n  "b": 2,\n  "a": 1\n}', '{\n  "b": 2,\n}'),
    ('{"a": 1 # one\n , "b": 2}', '{ # one\n  "b": 2}'),
    ('{"a": [1, {"x": 2}], "b": 2}', '{ "b": 2}'),
])
def test_removing_from_every_form(text, edited):
    assert remove(text, ("a",)) == edited


def test_setting():
    assert set_member('{"a": "old", # x\n}', ("a",), "new") == '{"a": "new", # x\n}'
    assert set_member('{"a": [1,\n2], "b": 1}', ("a",), None) == '{"a": null, "b": 1}'
    assert set_member("{\n}\n", ("a",), "ü\"\\") == '{\n  "a": "ü\\"\\\\"\n}\n'
    assert add_item("[]".join(['{"l": ', "}"]), ("l",), "x") == '{"l": ["x"]}'
    assert add_item('{"l": [\n  "a"\n]}', ("l",), "x") == '{"l": [\n  "a",\n  "x"\n]}'


@pytest.mark.parametrize("call", [
    lambda: add_member(TEXT, AT, "alice", "x"), lambda: add_member(TEXT, ("nowhere",), "a", "x"),
    lambda: add_member(TEXT, ("admin",), "a", "x"),
    lambda: add_member(TEXT, ("sender-domain",), "a", 1),
    lambda: remove(TEXT, AT + ("zoe",)), lambda: read("{"), lambda: read("[1]"), lambda: read(""),
    lambda: read('{"a": 1, "a": 2}'), lambda: remove('{"a": }', ("a",))])
def test_what_cannot_be_done_is_told(call):
    with pytest.raises(EditError):
        call()


def texts(depth=2):
    """Objects as people write them, with blanks, comments and trailing commas."""
    blank = strategies.sampled_from(["", " ", "\n", "\n    ", " # , } \"\n", "\n\t# ]\n  ",
                                     "\n; }\n", "\n"])
    string = strategies.sampled_from(["a", "b#", "c,}", "d\\", 'e"', "ü", ""]).map(json.dumps)
    value = strategies.one_of(string, strategies.sampled_from(["1", "true", "[ ]", "[1, \n{}, ]"]))
    if depth:
        value = strategies.one_of(value, texts(depth - 1))
    member = strategies.tuples(blank, string, blank, value, blank)
    members = strategies.lists(member, max_size=4, unique_by=lambda each: each[1])

    def written(parts):
        each = ["%s%s%s:%s%s" % (one[0], one[1], one[2], one[3], one[4]) for one in parts[0]]
        return "{" + ",".join(each) + ("," if parts[1] and each else "") + parts[2] + "}"
    return strategies.tuples(members, strategies.booleans(), blank).map(written)


@settings(max_examples=200)
@given(texts())
def test_any_text_takes_a_member_and_gives_it_back(text):
    values = read(text)
    edited = add_member(text, (), "new key", "new, }#")
    assert read(edited) == dict(values, **{"new key": "new, }#"})
    assert comments(edited) == comments(text)
    assert read(remove(edited, ("new key",))) == values
    for key in values:
        less = remove(text, (key,))
        assert key not in read(less) and len(read(less)) == len(values) - 1
    assert read(set_member(text, ("new key",), 1))["new key"] == 1


@settings(max_examples=200)
@given(strategies.text(alphabet='{}[],:"#\n a1\\;/*', max_size=40))
def test_any_characters_give_a_text_or_an_error(text):
    for call in (lambda: add_member(text, (), "k", 1), lambda: remove(text, ("a",)),
                 lambda: set_member(text, ("a",), 2)):
        try:
            editing.read(call())
        except EditError:
            pass
