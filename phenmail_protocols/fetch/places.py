"""Places for threads, of which no user may have more than a part: the servers of one user may all
hang, and others must not wait for them."""
import threading
from collections import Counter


class Places:
    """`most` in all, and at most `each` for one user. Any thread may call it."""

    def __init__(self, most, each):
        self._most = most
        self._each = each
        self._changed = threading.Condition()
        self._taken = Counter()  # user -> places

    def _is_free(self, user):
        return sum(self._taken.values()) < self._most and self._taken[user] < self._each

    def has(self, user):
        """Whether a user has a place."""
        with self._changed:
            return self._taken[user] > 0

    def take(self, user, seconds=0.0):
        """Take a place, if one becomes free within `seconds` -> whether."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_free(user), seconds):
                return False
            self._taken[user] += 1
            return True

    def leave(self, user):
        """Give back a place."""
        with self._changed:
            self._taken[user] -= 1
            if not self._taken[user]:
                del self._taken[user]
            self._changed.notify_all()
