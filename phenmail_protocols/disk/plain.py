"""Regular files at paths that somebody else may have filled: no link is followed, no pipe is waited for."""
import errno
import os
import stat

PLAIN = (os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
         | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0))


def open_plain(path):
    """The regular file ``path`` for reading, a binary file.

    Raises OSError: ELOOP for a link, EINVAL or EISDIR for what is no regular file.
    """
    # An opener's descriptor is closed by open() itself where that fails, as for a folder; one that was given to it is not.
    file = open(path, "rb", opener=_open)
    try:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "no regular file", path)
    except BaseException:
        file.close()
        raise
    return file


def read_plain(path, most):
    """The first ``most`` octets of the regular file ``path``.  Raises OSError as ``open_plain`` does."""
    with open_plain(path) as file:
        return file.read(most)


def _open(path, _):
    return os.open(path, PLAIN)
