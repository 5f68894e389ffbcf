"""What the fault tests share: the compiled disk layer and quick folders to run on."""
import os
import shutil
import sys
import tempfile

import pytest

from . import layer as layers

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if TOP not in sys.path:
    sys.path.insert(0, TOP)


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The compiled disk layer; without a compiler its tests are skipped, but fail where CI is
    set."""
    try:
        return layers.build(str(tmp_path_factory.mktemp("disklayer")))
    except layers.MissingCompiler as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))


def make_ground():
    """An empty folder in memory where the machine has such: real fsyncs add nothing to what is
    tested here, and cost time."""
    fast = "/dev/shm"
    return tempfile.mkdtemp(prefix="phenmail-faults-", dir=fast if os.access(fast, os.W_OK)
                            else None)


@pytest.fixture
def ground():
    path = make_ground()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def layer(library, ground):
    """A layer over the empty folder `layer.root`."""
    root, work = os.path.join(ground, "root"), os.path.join(ground, "work")
    os.mkdir(root)
    os.mkdir(work)
    made = layers.Layer(library, root, work)
    yield made
    made.close()


@pytest.fixture
def make_rig(library, ground):
    """A function name -> Rig, each on a root of its own."""
    from . import rig
    made = []

    def make(name):
        base = os.path.join(ground, name)
        root, work = os.path.join(base, "root"), os.path.join(base, "work")
        os.makedirs(root)
        os.makedirs(work)
        made.append(rig.Rig(layers.Layer(library, root, work), name))
        return made[-1]
    yield make
    for each in made:
        each.close()
        each.layer.close()


def _side_by_side(*calls):
    """Runs the calls in threads (their work is in child processes); the first exception is raised
    when all have ended."""
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(call) for call in calls]
    return [future.result() for future in futures]


@pytest.fixture
def side_by_side():
    return _side_by_side
