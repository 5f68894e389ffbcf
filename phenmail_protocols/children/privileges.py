"""The user that commands and Python filters run as: the owner of the user's folder, never root.

Knows no process.
"""
import os


class NoUser(Exception):
    """There is no user that it may run as; str() says why."""


def user_for(owner, run_as):
    """`owner`: (uid, gid) of the user's folder; `run_as`: the setting `run-as`, a name or None.

    -> (uid, gid) to become; None if the server is not root, because then everything runs as the
    server's user. Raises NoUser.
    """
    if os.geteuid() != 0:
        return None
    uid, gid = owner
    if uid == 0:
        if run_as is None:
            raise NoUser("the folder belongs to root, and no run-as is set")
        uid, gid = _entry("getpwnam", run_as)
    elif gid == 0:  # root created the folder and changed only its owner, not its group
        uid, gid = _entry("getpwuid", uid)
    if 0 in (uid, gid):
        raise NoUser("it would run as root")
    return uid, gid


def _entry(function, key):
    import pwd
    try:
        entry = getattr(pwd, function)(key)
    except KeyError:
        raise NoUser("the system has no user %s" % key)
    return entry.pw_uid, entry.pw_gid
