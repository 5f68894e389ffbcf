"""The whole server of tests/destinations, for tests of what it does with authors."""
from tests.destinations.conftest import front, keys  # noqa: F401 - fixtures
