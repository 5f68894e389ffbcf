"""The whole servers of tests/destinations, for the tests here that send mail through the SMTP
port."""
from ..destinations.conftest import front, keys  # noqa: F401
