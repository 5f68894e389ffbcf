"""One server for all tests of this folder; each test takes users of its own from it."""
import pytest

from tests.interop.house import House


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
