"""What was seen lately, in bounded memory.  Pure: the caller brings the time."""

from typing import Hashable


class Recent:
    """A set that forgets: after `lifetime` seconds, or the oldest when it is full."""

    def __init__(self, capacity: int, lifetime: float) -> None:
        self._capacity = capacity
        self._lifetime = lifetime
        self._times: dict = {}  # in the order of the times

    def __len__(self) -> int:
        return len(self._times)

    def has(self, key: Hashable, now: float) -> bool:
        """Whether the key was added lately."""
        added = self._times.get(key)
        return added is not None and now - added < self._lifetime

    def add(self, key: Hashable, now: float) -> None:
        """Add a key, or make it young again."""
        self._times.pop(key, None)
        if len(self._times) >= self._capacity:
            for each in list(self._times)[:self._capacity // 4 + 1]:
                del self._times[each]
        self._times[key] = now
