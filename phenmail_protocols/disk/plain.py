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


def set_aside_unless_plain(path):
    """Rename what stands at ``path`` if it is no regular file (link, pipe, folder, device), so that one can be made there: whether it was.

    Its new name is ``path`` with ".unusable" behind.  Raises OSError, but not where nothing is.
    """
    try:
        if stat.S_ISREG(os.lstat(path).st_mode):
            return False
    except FileNotFoundError:
        return False
    set_aside(path)
    return True


def set_aside(path):
    """Rename ``path`` to ``path`` with ".unusable" behind, for its owner to look at.  Raises OSError."""
    aside = path + ".unusable"
    if os.path.isdir(aside) and not os.path.islink(aside):
        aside = "%s.%s" % (aside, os.urandom(4).hex())
    os.rename(path, aside)


def _open(path, _):
    return os.open(path, PLAIN)
