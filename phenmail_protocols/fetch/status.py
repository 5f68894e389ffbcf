"""How each account fares: in memory, and in one file for the command `fetch list`.

The file is ROOT/<device>/system/mail/fetch-status.json: {"accounts": [Status.values, ...]}.
"""
import json
import os

from ..disk import atomic
from ..disk.regular_files import read_plain
from ..mail.writing import printable

FILE = "fetch-status.json"
_LARGEST = 16 * 1024 * 1024  # octets of the file
_MOST_LINES, _LONGEST = 10, 300  # of `left` and `problems`; characters of a text

WAITING, FETCHING, IDLING = "waiting", "fetching", "waiting for new mail"
STOPPED = "no server is running"


class Status:
    """One account, for people.

    `user`: its owner's identity; `name`, `server`, `protocol`: of the account; `state`: WAITING,
    FETCHING or IDLING; `last_try`, `last_success`, `next_try`: epoch seconds, 0 for never; `error`:
    why the last try failed, "" if it did not; `fetched`, `octets`: since the server started;
    `problems`: what else is wrong, such as a mailbox that is gone; `left`: the last messages that
    stay at the source, and why.
    """

    __slots__ = ("user", "name", "server", "protocol", "state", "last_try", "last_success",
                 "next_try", "error", "fetched", "octets", "problems", "left")

    def __init__(self, user, account):
        self.user = user
        self.name = account.name
        self.server = account.server
        self.protocol = account.protocol
        self.state = WAITING
        self.last_try = self.last_success = self.next_try = 0
        self.error = ""
        self.fetched = self.octets = 0
        self.problems = []
        self.left = []

    def leave(self, text):
        """Note a message that stays at the source."""
        self.left = (self.left + [shown(text)])[-_MOST_LINES:]

    def complain(self, text):
        """Note a problem of this round."""
        if len(self.problems) < _MOST_LINES:
            self.problems = self.problems + [shown(text)]

    def values(self):
        """For JSON: a dict."""
        return {name: getattr(self, name) for name in self.__slots__}


def shown(text):
    """A text that another server may have written, as one bounded line."""
    return printable(text)[:_LONGEST]


def write(folder, statuses):
    """Write the file. Raises OSError."""
    data = json.dumps({"accounts": [each.values() for each in statuses]}, indent=1)
    atomic.write_file(os.path.join(folder, FILE), data.encode("ascii"))


def read(folder):
    """The file's values -> {(user, name): dict}; none if there is no file, or no usable one."""
    try:
        data = read_plain(os.path.join(folder, FILE), _LARGEST)
        accounts = json.loads(data.decode("ascii"))["accounts"]
        return {(each["user"], each["name"]): each for each in accounts}
    except (OSError, ValueError, LookupError, TypeError):
        return {}
