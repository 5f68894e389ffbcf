"""Orders to fetch an account now: the command `fetch now` gives them, the running server takes
them.

Each is an empty file in ROOT/<device>/system/mail/fetch-now, named by identity.order_key.
"""
import os
import re

FOLDER = "fetch-now"
_NAME = re.compile(r"[0-9a-f]{32}\Z")
_MOST = 1000  # of one look


def give(system, key):
    """Order an account to be fetched. `system`: the folder of the server's own files. Raises
    OSError."""
    folder = os.path.join(system, FOLDER)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    os.close(os.open(os.path.join(folder, key), os.O_WRONLY | os.O_CREAT, 0o600))


def take(system):
    """The keys of all orders, which are removed -> list of str. Raises nothing."""
    folder = os.path.join(system, FOLDER)
    try:
        names = [name for name in os.listdir(folder) if _NAME.match(name)][:_MOST]
    except OSError:
        return []
    taken = []
    for name in names:
        try:
            os.unlink(os.path.join(folder, name))
            taken.append(name)
        except OSError:
            pass
    return taken
