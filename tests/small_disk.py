"""A small file system in memory, and filling it."""
import contextlib
import os
import subprocess

import pytest


@contextlib.contextmanager
def mounted(folder, megabytes):
    """Context manager: `folder` is a file system of that size. Skips the test if none can be
    mounted."""
    try:
        subprocess.check_output(["mount", "-t", "tmpfs", "-o", "size=%dm" % megabytes, "tmpfs",
                                 str(folder)], stderr=subprocess.STDOUT)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip("no small file system can be mounted: %s" % error)
    try:
        yield folder
    finally:
        subprocess.check_call(["umount", str(folder)])


def fill(folder):
    """Take the last octet of the file system of `folder`, for a file "ballast" in it."""
    with open(os.path.join(str(folder), "ballast"), "ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                pass
    assert not os.statvfs(str(folder)).f_bavail
