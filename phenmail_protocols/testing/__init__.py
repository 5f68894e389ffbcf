"""A mail server for other people's tests: the pytest fixture and its faults.

pytest finds it by its entry point, or by `-p phenmail_protocols.testing`; the public names are those of `fixture`.
"""
from .fixture import *  # noqa: F401,F403
