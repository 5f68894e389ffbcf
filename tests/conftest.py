"""What all tests share: how to get at a program of the system."""

import os
import shutil

import hypothesis
import pytest

# A slow machine is no failure; and where a failure holds up others, the same
# examples are tried each time. New ones are found by everybody else's runs.
hypothesis.settings.register_profile(
    "phenmail", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("phenmail")


@pytest.fixture
def program():
    """`program("swaks")` gives the path of a program of the system.

    Where it is missing the test is skipped with its name, but fails where CI
    is set: there every program has to be.
    """
    def find(name):
        path = shutil.which(name, path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
        if path is None:
            reason = "the program %s is missing" % name
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        return path

    return find
