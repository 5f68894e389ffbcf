"""The example of every configuration file under conf/ loads and names every key."""

import os

import pytest

from phenmail_protocols.config import checks, filtering, loader, schema
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.config.settings import Action

CONF = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
                    "conf")
SERVER = os.path.join(CONF, "device", "system", "mail", "mail.jcfg")
USER = os.path.join(CONF, "alice", "mail", "mail.jcfg")
FILTERS = os.path.join(CONF, "alice", "mail", "filters.jcfg")
FETCHER = os.path.join(CONF, "alice", "system", "config", "mail-fetcher.jcfg")


def text(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def keys_of(section):
    """All keys of a table and of the tables in it; filters have a file of their own."""
    for option in section.options:
        yield option.key
        kind = getattr(option.kind, "kind", option.kind)
        tables = [kind] if isinstance(kind, schema.Section) else []
        if option.key == "filters" and isinstance(kind, checks.ByType):
            tables = list(kind.sections.values())
        for table in tables:
            for key in keys_of(table):
                yield key


def test_server():
    settings = loader.load_server(Root(CONF), True)
    assert settings.warnings == ()
    assert settings.domains["example.com"]["alice"] == Action(
        "mailbox", os.path.join(CONF, "alice", "mail"))
    assert [listen.port for listen in settings.pop3] == [995, 110]


def test_user():
    assert loader.load_user(USER, Root(CONF)).pop3pwd == "KTgyfDNrNH0kbCkCKgMtAi4D"


def test_filters():
    assert [rule.type for rule in loader.load_filters(FILTERS, Root(CONF))] == [
        "match", "match", "match", "match", "match", "match", "match", "vacation", "py"]


def test_fetcher():
    first, second = loader.load_fetcher(FETCHER, Root(CONF)).accounts
    assert first.period == 300 and first.boxes[1] == ("SomeList", "filter")
    assert (second.protocol, second.port, second.starttls) == ("pop", 110, True)


@pytest.mark.parametrize("path, table", [
    (SERVER, schema.SERVER_FILE), (USER, schema.USER_FILE),
    (FILTERS, filtering.FILTERS), (FETCHER, schema.FETCHER_FILE)])
def test_names_every_key(path, table):
    example = text(path)
    assert [key for key in keys_of(table) if '"%s"' % key not in example] == []


def test_the_defaults_that_the_example_names_are_the_defaults():
    settings = loader.load_server(Root(CONF), True)
    assert settings.limits == loader.server_from_dict({}, Root(CONF), True,
                                                      lambda: "host").limits
