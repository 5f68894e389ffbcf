"""What all tests share: how to get at a program of the system."""

import os
import shutil

import pytest


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
