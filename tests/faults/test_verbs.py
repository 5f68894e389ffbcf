"""Every public method of the store, with a fault at every file operation: after an error nothing
has changed, after a result everything has."""
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from . import layer as layers
from . import verbs
from .conftest import make_ground


def test_each_public_method_of_the_store_has_a_row():
    assert {name.partition(" ")[0] for name in verbs.CALLS if "." in name} == set(verbs.methods())


@pytest.fixture(scope="module")
def rows(library, request):
    """{name: the result of `verbs`} of the selected rows; each processor works on some of them."""
    names = [item.callspec.params["name"] for item in request.session.items
             if item.module is request.module and hasattr(item, "callspec")]
    shares = [names[start::os.cpu_count()] for start in range(os.cpu_count())]
    with ThreadPoolExecutor(len(shares)) as pool:
        return {row["row"]: row
                for found in pool.map(lambda share: _run(library, share), shares) for row in found}


def _run(library, names):
    ground = make_ground()
    try:
        root, work = os.path.join(ground, "root"), os.path.join(ground, "work")
        os.mkdir(root)
        os.mkdir(work)
        layer = layers.Layer(library, root, work)
        process = subprocess.Popen([sys.executable, os.path.abspath(verbs.__file__), root] + names,
                                   env=layer.environment("verbs"), stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        output = process.communicate(timeout=600)[0].decode()
        layer.close()
        return [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    finally:
        shutil.rmtree(ground, ignore_errors=True)


@pytest.mark.parametrize("name", sorted(verbs.CALLS))
def test_the_answer_and_the_state_agree(rows, name):
    row = rows[name]
    assert "error" not in row, row["error"] + "\n" + row["trace"]
    assert row["cases"] >= row["operations"]
