"""The scanner: comments, commas, long strings and positions; no text makes it hang."""

import json
import os
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.config import loader
from phenmail_protocols.config.scanner import scan


def read(text):
    found = scan("file", text)
    assert [str(problem) for problem in found.problems] == []
    return json.loads(found.text)


def wrong(text):
    """The positions and words of what is wrong with a text."""
    return [(problem.line, problem.column, problem.expected)
            for problem in scan("file", text).problems]


@pytest.mark.parametrize("text, value", [
    ('{"a": 1} # done', {"a": 1}),
    ('# one\n{ # two\n"a" # three\n: # four\n1 # five\n} # six', {"a": 1}),
    ('{"a": "# no comment"}', {"a": "# no comment"}),
    ('{"a": "\\"# no", "b": 2}', {"a": '"# no', "b": 2}),
    ('; whole\n// lines\n{"a": 1}\n/* and\nmore */\n', {"a": 1}),
    ('/***** Title *****/\n{"a": 1}', {"a": 1}),
    ('[1, 2,]', [1, 2]),
    ('[1, 2, # last\n\n]', [1, 2]),
    ('{"a": [1,],}', {"a": [1]}),
    ('[,]', []),
    ('{ , }', {}),
    ('{"a": ",]", "b": ",}", "c": ", ]"}', {"a": ",]", "b": ",}", "c": ", ]"}),
    ('{"a": "\u2028 \x85 \u00a0"}', {"a": "\u2028 \x85 \u00a0"}),
    ('{"a": "{{/b}}", "b": "x"}', {"a": "{{/b}}", "b": "x"}),
    ('\ufeff{"a": -1.5e3}', {"a": -1500.0}),
    ('{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
    ('{"a": """one"""}', {"a": "one"}),
    ('{"a": """one \n   two\n\n  # three\n"""}', {"a": "one two# three"}),
    ('{"a": "", "b": """"""}', {"a": "", "b": ""}),
    ('{\u00a0"a":\u30001}', {"a": 1}),
])
def test_reads(text, value):
    assert read(text) == value
    assert loader.parse(scan("file", text).text) == value


def test_positions_count_characters_from_one():
    found = scan("file", '{\n  "é": [true,\n    null]\n}')
    places = {path: tuple(found.place(offset))[1:] for path, offset in found.values.items()}
    assert places == {(): (1, 1), ("é",): (2, 8), ("é", 0): (2, 9), ("é", 1): (3, 5)}
    assert tuple(found.place(found.keys["é",])) == ("file", 2, 3)


def test_several_mistakes_at_once():
    text = '{\n  "a": 1\n  "b": yes,\n  "c" 3,\n  "a": 4\n}'
    assert [place[:2] for place in wrong(text)] == [(2, 9), (3, 8), (4, 7), (5, 3)]


@pytest.mark.parametrize("text", ['{"a": 1 "b": 2}', "{\x01 5}", "{a: 1}", '{"a": "\\z"}',
                                  '{"a": yes}', '{"a" 1}'])
def test_a_text_with_a_mistake_is_given_to_no_parser(text):
    found = scan("file", text)
    assert found.problems and found.text is None


def test_what_stands_at_a_path_is_known_in_spite_of_mistakes():
    found = scan("file", '{"include": ["a\\u00e9", 5, "b"], "x": yes}')
    assert [found.string(("include", number)) for number in range(4)] == ["aé", None, "b", None]


@pytest.mark.parametrize("text", [
    "[" * 100000, "{\"a\":" * 100000, "[[],", '"' + "\\" * 100001, '"' + "\\\\" * 100000,
    "/*" * 100000, "*/" * 100000, "/*\n" + "*/ x" * 50000, ";" * 100000, "\n;" * 100000,
    "#" * 100000, "1" * 100000, "[" + "1 " * 100000, '"""' * 33333, '"""' + "\n " * 100000,
    " " * 1000000 + "x", "-" * 100000, '["' + ",]" * 100000 + '"]', "{\"a\"" * 50000,
])
def test_what_is_long_ends_soon(text):
    found = scan("file", text)
    assert found.problems or json.loads(found.text) is not None
    assert len(found.problems) <= 100


EXAMPLE = os.path.join(os.path.dirname(__file__), "..", "..", "conf", "alice", "mail",
                       "filters.jcfg")


def test_every_prefix_of_an_example_is_told():
    with open(EXAMPLE, encoding="utf-8") as file:
        text = file.read().rstrip()
    for length in range(len(text)):
        assert scan("file", text[:length]).problems
    for more in "]}[{\",:x1":
        assert scan("file", text + "\n" + more).problems


PIECES = st.sampled_from(['{', '}', '[', ']', ',', ':', '"', '"""', '#', ';', '//', '/*', '*/',
                          '\n', ' ', '\\', '\\u', '"a"', '"b": ', 'true', '1', '\ud800', '\x00',
                          '\u2028', '\t', 'x'])


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=40))
def test_every_input_ends_and_what_is_given_out_is_json(text):
    found = scan("file", text)
    assert (found.text is None) == bool(found.problems)
    if found.text is not None:
        json.loads(found.text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-10 ** 20, 10 ** 20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(blacklist_categories=("Cs",)), max_size=12)
    | st.sampled_from([",]", ",}", "# no", '"""', "{{/a}}", "//", "a,]b,}\u2028"]),
    lambda values: st.lists(values, max_size=4)
    | st.dictionaries(st.text("ab#,]}\"\\", max_size=4), values, max_size=4), max_leaves=12)


def decorated(value, draw, depth=0):
    """Write a value with comments and trailing commas."""
    def blank():
        return draw(st.sampled_from(["", " ", "\n", " # x ] , \"\n", "\n  // y }\n", "\n; z\n",
                                     "\n/* a \"\n # b */\n"]))

    if isinstance(value, (dict, list)) and depth < 40:
        brackets = "[]" if isinstance(value, list) else "{}"
        members = ([decorated(item, draw, depth + 1) for item in value]
                   if isinstance(value, list) else
                   [json.dumps(key) + blank() + ":" + blank()
                    + decorated(item, draw, depth + 1) for key, item in value.items()])
        inner = ("," + blank()).join(members) + blank()
        return brackets[0] + blank() + inner + draw(st.sampled_from(["", ","])) \
            + blank() + brackets[1]
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


@settings(max_examples=200, deadline=None)
@given(VALUES, st.data())
def test_comments_and_commas_change_no_value(value, data):
    text = decorated(value, data.draw)
    assert read(text) == value


def with_and_without_jsoncomment(text):
    """What `parse` returns with the package, and without it."""
    pytest.importorskip("jsoncomment")
    there = loader.parse(text)
    kept = sys.modules["jsoncomment"]
    sys.modules["jsoncomment"] = None   # an import now raises ImportError
    try:
        return there, loader.parse(text)
    finally:
        sys.modules["jsoncomment"] = kept


@settings(max_examples=150, deadline=None)
@given(VALUES, st.data())
def test_values_are_equal_with_jsoncomment_and_without(value, data):
    text = scan("file", decorated(value, data.draw)).text
    assert with_and_without_jsoncomment(text) == (value, value)


LINES = st.lists(st.sampled_from(['"a"', '"b c"', "null", "[1,", "],", "],", ",", ", ", "{", "},",
                                  '"k": 1,', '"l": "x",', '"m": [', "# c", "; d", "// e",
                                  "/* f", "g */", "/* h */", "", "  ", '"n": """p ', 'q"""',
                                  '"o": """r""",', "2,", "true"]), max_size=9)
# No line ends with a bare number: the package joins lines, and `3` above `2` would be 32.


@settings(max_examples=400, deadline=None)
@given(LINES, st.sampled_from(["[]", "{}"]))
def test_what_jsoncomment_takes_is_taken_with_the_same_value(lines, brackets):
    jsoncomment = pytest.importorskip("jsoncomment")
    text = "\n".join([brackets[0]] + lines + [brackets[1]])

    def no_repeated_key(pairs):
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key comes twice")
        return dict(pairs)

    try:
        expected = jsoncomment.JsonComment(json).loads(
            text, template=False, object_pairs_hook=no_repeated_key)
    except (ValueError, UnboundLocalError):
        return
    if '"""' in text:
        return  # lines that begin with a comment sign are text here, and not there
    found = scan("file", text)
    if any(problem.expected.startswith("a line that ends with */") for problem in found.problems):
        return  # there, a comment that is never closed hides the rest
    assert [str(problem) for problem in found.problems] == []
    assert json.loads(found.text) == expected
