"""A mail server for the tests of other programs: a pytest fixture that can cause faults.

pytest finds it by its entry point, or with `-p phenmail_protocols.testing`. The public names are
those of `fixture`.
"""
from .fixture import *  # noqa: F401,F403
