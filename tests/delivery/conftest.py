"""The whole server of tests/destinations, for tests of what it does with authors."""
from tests.destinations.conftest import front  # noqa: F401 - a fixture
