"""Whole servers for the tests that send mail through the SMTP port."""
import contextlib

import pytest

from .frontdoor import FrontDoor


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """One folder for all tests: certificate and keys are made once."""
    return str(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def front(keys):
    """front(actions, plugins given, **settings): a FrontDoor that runs until the test's end."""
    with contextlib.ExitStack() as made:
        yield lambda actions=None, given=None, **settings: made.enter_context(
            FrontDoor(actions, given, keys, **settings))
