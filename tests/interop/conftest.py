"""One server for all tests of this folder; each test takes users of its own from it. And other
servers, for a test each."""
import contextlib

import pytest

from tests.bench.peers.process import Missing
from tests.interop.house import House
from tests.interop.nexthops import Forbidden


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    house = House(tmp_path_factory.mktemp("house"))
    house.furnish()
    house.start()
    yield house
    house.stop()


@pytest.fixture
def house(running):
    """The server; a test fails if it made the server log an error."""
    yield running
    complaints = running.complaints()
    assert not complaints, complaints


@pytest.fixture
def user(house):
    return house.user()


@pytest.fixture
def nexthop(program, absent):
    """`nexthop(nexthops.Exim, …)` gives a server that runs until the test's end."""
    with contextlib.ExitStack() as running:
        def start(kind, *arguments, **options):
            try:
                return running.enter_context(kind(program, *arguments, **options))
            except Missing as missing:
                return absent(str(missing))
            except Forbidden as forbidden:
                return pytest.skip(str(forbidden))
        yield start
