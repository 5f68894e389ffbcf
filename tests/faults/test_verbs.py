"""After a refusal nothing has changed, after an answer all has: every public method of the store, a fault at every file operation."""
import json
import os
import subprocess
import sys

import pytest

from . import verbs


def test_each_public_method_of_the_store_has_a_row():
    assert {name.partition(" ")[0] for name in verbs.CALLS if "." in name} == set(verbs.methods())


@pytest.mark.parametrize("name", sorted(verbs.CALLS))
def test_the_answer_and_the_state_agree(layer, name):
    process = subprocess.Popen([sys.executable, os.path.abspath(verbs.__file__), os.path.join(layer.root), name],
                               env=layer.environment("verbs"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.communicate(timeout=600)[0].decode()
    row = json.loads(output.splitlines()[-1])
    assert "error" not in row, row["error"] + "\n" + row["trace"]
    assert row["cases"] >= row["operations"]
