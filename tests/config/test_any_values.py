"""Any values for the known keys give settings or a ConfigError, and nothing else."""

import json
import os
import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.config import checks, filtering, loader, schema
from phenmail_protocols.config.problems import ConfigError
from phenmail_protocols.config.root_folder import Root

ROOT = Root(os.path.join(tempfile.gettempdir(), "no-such-root"))

WORDS = st.sampled_from(["", "*", "a.b", "-", "/", "/x/y", "/[user-identity]/m", ":x", ":x@a.b",
                         ">", ">x@a.b", ">'", ">c d", ".", ".p q", "file:", "file:/x", "..", "x",
                         "5 min", "5 MB", "²", "match", "py", "accept:x", "accept:", "[::1]:1",
                         "::1", ":", "a:b", "\ud800", "\0", "\u2028", "imaps", "none"])
LEAVES = (st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=8))


def values_of(kind):
    """Values that are often, but not always, of the kind."""
    if isinstance(kind, schema.Section):
        return LEAVES | objects_of(kind)
    if isinstance(kind, schema.DomainsKind):
        users = st.dictionaries(WORDS, LEAVES, max_size=4)
        return st.dictionaries(WORDS, users | LEAVES, max_size=3)
    if isinstance(kind, checks.ByType):
        return st.one_of([objects_of(table) for table in kind.sections.values()])
    if isinstance(kind, (schema.ListOf, schema.MapOf)):
        inner = values_of(kind.kind)
        return LEAVES | st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3)
    if isinstance(kind, schema.OneOfForms):
        return st.one_of([values_of(form) for form in kind.forms.values()])
    return LEAVES | st.lists(LEAVES, max_size=2)


def objects_of(section):
    """Objects with some of a table's keys, and sometimes an unknown one."""
    keys = {option.key: values_of(option.kind) for option in section.options}
    keys["unknown"] = LEAVES
    return st.lists(st.sampled_from(sorted(keys)), unique=True, max_size=6).flatmap(
        lambda chosen: st.fixed_dictionaries({key: keys[key] for key in chosen}))


@settings(max_examples=250, deadline=None)
@given(objects_of(schema.SERVER_FILE))
def test_server(values):
    try:
        loader.server_from_dict(values, ROOT, True, lambda: "host.example.com")
    except ConfigError as error:
        assert str(error)


def load(load_file, folder, values):
    root = Root(folder)
    path = os.path.join(folder, "alice", "mail", "file.jcfg")
    os.makedirs(os.path.dirname(path))
    with open(path, "w") as file:
        json.dump(values, file)
    try:
        load_file(path, root)
    except ConfigError as error:
        assert str(error)


@settings(max_examples=60, deadline=None)
@given(objects_of(schema.USER_FILE), objects_of(filtering.FILTERS), objects_of(schema.FETCHER_FILE))
def test_users(user, filters, fetcher):
    for load_file, values in ((loader.load_user, user), (loader.load_filters, filters),
                              (loader.load_fetcher, fetcher)):
        with tempfile.TemporaryDirectory() as folder:
            load(load_file, folder, values)
