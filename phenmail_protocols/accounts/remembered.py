"""Whether a passphrase is right, asked so that asking costs and tells little.

Knows no users and no files: a question is a key, the stored form, the text.

- At most two derivations run at once, whoever asks; the others wait their turn.
- Every question that derives does at least the work of a default derivation,
  also for an unknown user (stored form None) and for a plain sha256.
- A right passphrase is remembered for 10 minutes under a hash with a key that
  this process drew and that is never written: a program that polls costs
  nothing.  The hash covers the stored form, so a changed one forgets it.
- A wrong one is remembered too, for known and unknown users alike: a program
  that polls with an old passphrase must not keep the processors busy.
"""

import hashlib
import hmac
import os
import threading
import time
from typing import Callable, Optional

from .prepare import octets
from .recent import Recent
from .secrets import ITERATIONS, iterations_of, nobodys, spend, verify

AT_ONCE = 2
REMEMBERED = 600.0      # seconds
CAPACITY = 1024         # accounts whose passphrase is remembered
PATIENCE = 10.0         # seconds to wait for a turn


class Busy(Exception):
    """No derivation became free in time: a temporary failure."""


class Checker:
    """Answers questions about passphrases; any thread may ask.

    `iterations` is the work that every derivation does at least.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic,
                 iterations: int = ITERATIONS, at_once: int = AT_ONCE) -> None:
        self._clock = clock
        self._iterations = iterations
        self._turns = threading.BoundedSemaphore(at_once)
        self._key = os.urandom(32)
        self._right: dict = {}  # key -> (keyed hash, until)
        self._wrong = Recent(CAPACITY, REMEMBERED)
        self._lock = threading.Lock()
        self._nobody = nobodys(iterations)

    def check(self, key: str, stored: Optional[str], passphrase: str,
              patience: float = PATIENCE) -> bool:
        """Tell whether a passphrase is right.

        In: `key` names the account, `stored` is its form in the file, or None
        for an account that does not exist (the answer is no, at full cost).
        Raises Busy, and secrets.SecretError where the stored form is unusable.
        """
        question = self._hash(key, stored or "", passphrase)
        known = self._remembers(key, question, stored is not None)
        if known is not None:
            return known
        right = self._derive(stored, passphrase, patience)
        self._remember(key, question, right)
        return right

    def trace(self, key: str, passphrase: str) -> bytes:
        """A keyed hash, equal for equal guesses at one account, useless elsewhere."""
        return self._hash(key, "", passphrase)[:16]

    def forget(self) -> None:
        """Forget every passphrase."""
        with self._lock:
            self._right.clear()
            self._wrong = Recent(CAPACITY, REMEMBERED)

    def _derive(self, stored: Optional[str], passphrase: str, patience: float) -> bool:
        if not self._turns.acquire(timeout=patience):
            raise Busy("too many logins at once")
        try:
            right = verify(self._nobody if stored is None else stored, passphrase)
            spend(0 if stored is None else self._iterations - iterations_of(stored))
        finally:
            self._turns.release()
        return right and stored is not None

    def _remembers(self, key: str, question: bytes, exists: bool) -> Optional[bool]:
        """The answer to a question that was asked lately, None for a new one."""
        now = self._clock()
        with self._lock:
            known = self._right.get(key)
            if self._wrong.has(question, now):
                return False
        if exists and known is not None and now < known[1]:
            return hmac.compare_digest(known[0], question) or None
        return None

    def _remember(self, key: str, question: bytes, right: bool) -> None:
        now = self._clock()
        with self._lock:
            if not right:
                self._wrong.add(question, now)
                return
            self._right.pop(key, None)
            while len(self._right) >= CAPACITY:
                del self._right[next(iter(self._right))]    # the oldest
            self._right[key] = (question, now + REMEMBERED)

    def _hash(self, *texts: str) -> bytes:
        parts = [octets(text) for text in texts]
        framed = b"".join(b"%d:" % len(part) + part for part in parts)
        return hmac.new(self._key, framed, hashlib.sha256).digest()
