"""Regular files at paths where another user may have put something else.

Links are not followed, and nobody waits for a pipe.
"""
import errno
import os
import stat

PLAIN = (os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
         | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0))


def open_plain(path):
    """The regular file `path`, open for reading in binary mode.

    Raises OSError: ELOOP for a link, EINVAL or EISDIR for anything else than a regular file.
    """
    # With an opener, open() closes the descriptor if it fails itself, as for a folder.
    file = open(path, "rb", opener=lambda path, _: os.open(path, PLAIN))
    try:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
    except BaseException:
        file.close()
        raise
    return file


def read_plain(path, most):
    """The first `most` octets of the regular file `path`. Raises OSError as `open_plain` does."""
    with open_plain(path) as file:
        return file.read(most)


def set_aside_unless_plain(path):
    """`set_aside(path)` if it is a link, pipe, folder or device, so that a file can be made there.

    Returns whether it was. Raises OSError, but not if there is nothing at `path`.
    """
    try:
        if stat.S_ISREG(os.lstat(path).st_mode):
            return False
    except FileNotFoundError:
        return False
    set_aside(path)
    return True


def set_aside(path):
    """Rename `path` to `path` plus ".unusable", for its owner to look at. Raises OSError."""
    aside = path + ".unusable"
    if os.path.isdir(aside) and not os.path.islink(aside):
        aside = "%s.%s" % (aside, os.urandom(4).hex())
    os.rename(path, aside)
