"""The linter finds nothing: `ruff` with .ruff.toml. tests/run installs it on CPython 3.12 and
newer."""
import importlib.util
import os
import re
import subprocess
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WITH_CHECKERS = sys.version_info >= (3, 12)  # as in tests/run


def test_ruff_finds_nothing(absent):
    if importlib.util.find_spec("ruff") is None:
        if WITH_CHECKERS:
            absent("the package ruff")
        pytest.skip("tests/run installs ruff on CPython 3.12 and newer only")
    process = subprocess.Popen([sys.executable, "-m", "ruff", "check", "--no-cache", TOP],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.communicate(timeout=120)[0].decode()
    assert process.returncode == 0, output


def test_types_are_annotations_and_no_comments():
    """A linter does not see the imports that a comment uses."""
    found = []
    for folder, _, names in os.walk(os.path.join(TOP, "phenmail_protocols")):
        for name in names:
            if name.endswith(".py"):
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    found.extend((name, line) for line in re.findall(
                        r".*# type: (?!ignore).*", file.read()))
    assert found == []
