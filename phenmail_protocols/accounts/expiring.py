"""A dictionary with bounded size and lifetime. Pure: the caller passes the time."""

from typing import Any, Hashable


class ExpiringDict:
    """Forgets an entry after `lifetime` seconds; the oldest entries if it is full."""

    def __init__(self, capacity: int, lifetime: float) -> None:
        self._capacity = capacity
        self._lifetime = lifetime
        self._entries: dict = {}  # key -> (time, value), the oldest first

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable, now: float) -> Any:
        """The value that was put less than `lifetime` seconds ago, or None."""
        put_at, value = self._entries.get(key, (None, None))
        return value if put_at is not None and now - put_at < self._lifetime else None

    def put(self, key: Hashable, value: Any, now: float) -> None:
        self._entries.pop(key, None)
        if len(self._entries) >= self._capacity:
            # A quarter at once, because listing the keys takes time.
            for each in list(self._entries)[:self._capacity // 4 + 1]:
                del self._entries[each]
        self._entries[key] = (now, value)
