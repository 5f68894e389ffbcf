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


TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Where .ci/run unpacks what Debian can't install beside each other.
UNPACKED = os.path.join(TOP, ".venv", "debian")


@pytest.fixture
def absent():
    """`absent("the program swaks")` skips the test, but fails it where CI is set: there everything has to be."""
    def tell(what):
        reason = what + " is missing"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)

    return tell


@pytest.fixture
def program(absent):
    """`program("swaks")` gives the path of a program of the system, or of one that was unpacked for the tests.

    Where it is missing the test is skipped with its name, but fails where CI
    is set: there every program has to be.
    """
    def find(name):
        places = [os.environ.get("PATH", ""), "/usr/sbin"] + [
            os.path.join(UNPACKED, "usr", folder) for folder in ("sbin", "bin")]
        path = shutil.which(name, path=os.pathsep.join(places))
        if path is None:
            absent("the program " + name)
        return path

    return find
