"""A minute of the soak, with the same seed each time; `python3 -m tests.faults.soak` runs longer
and with others."""
import os

from .soak import Soak

SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))


def test_a_minute_of_everything_at_once(library, ground, program):
    soak = Soak(library, ground, "1", program("mbsync"))
    print(soak.run(SECONDS))
