"""The commands of the group `fetch`."""
from .fetch_login import login  # noqa: F401 - a command
