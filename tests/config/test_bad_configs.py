"""Every file under tests/bad_configs gives exactly the message in the file beside it.

The file's name says what it is given as (server-, user-, filters-, fetcher-);
`NAME.expected` holds the whole message, one line a problem.
"""

import os
import shutil

import pytest

from phenmail_protocols.config import loader
from phenmail_protocols.config.problems import ConfigError
from phenmail_protocols.config.root_folder import Root

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bad_configs")
NAMES = sorted(name[:-len(".jcfg")] for name in os.listdir(FOLDER) if name.endswith(".jcfg"))
SECRETS = ("KTgyfDNrNH0kbCkCKgMtAi4D", "correct horse", "08fc92f4", "12345")


def told(name, folder):
    """The message about a file, loaded as its name says."""
    root = Root(str(folder))
    root.create()
    kind = name.partition("-")[0]
    if kind == "server":
        target = root.configuration
        load = loader.load_server
        arguments = (root, True, lambda: "host.example.com")
    else:
        target = os.path.join(root.path, "alice", "mail", name + ".jcfg")
        load = {"user": loader.load_user, "filters": loader.load_filters,
                "fetcher": loader.load_fetcher}[kind]
        arguments = (target, root)
        os.makedirs(os.path.dirname(target))
    shutil.copy(os.path.join(FOLDER, name + ".jcfg"), target)
    shutil.copytree(os.path.join(FOLDER, "parts"), os.path.join(os.path.dirname(target), "parts"))
    with pytest.raises(ConfigError) as caught:
        load(*arguments)
    return str(caught.value).replace(root.path, "ROOT") + "\n"


def test_there_are_enough():
    assert len(NAMES) >= 40


@pytest.mark.parametrize("name", NAMES)
def test_is_told(name, tmp_path):
    with open(os.path.join(FOLDER, name + ".expected"), encoding="utf-8") as file:
        expected = file.read()
    message = told(name, tmp_path)
    assert message == expected
    assert not any(secret in message for secret in SECRETS)
