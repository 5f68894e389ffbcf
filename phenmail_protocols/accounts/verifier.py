"""Verifies passphrases, so that a login costs little and its time tells an attacker little.

1. At most two derivations run at once; other logins wait.
2. Every derivation does at least the work of a default one, also for an unknown user (stored form
   None) and for a SHA-256 hash.
3. A passphrase that matched is cached for 10 minutes, so that a polling program costs nothing.
   The cache holds a hash with a key that this process made and never writes. The hash covers the
   stored form, so a changed passphrase is not found.
4. A wrong passphrase is cached too, for known and unknown users alike: a program that polls with
   an old passphrase must not keep the processors busy.
"""

import hashlib
import hmac
import os
import threading
import time
from typing import Callable, Optional

from .expiring import ExpiringDict
from .passphrases import ITERATIONS, iterations_of, spend, unmatchable, verify
from .saslprep import octets

AT_ONCE = 2
LIFETIME = 600.0        # seconds of a cached answer
CAPACITY = 1024         # cached answers of each kind
PATIENCE = 10.0         # seconds to wait for other derivations


class Busy(Exception):
    """Too many derivations are running: a temporary failure."""


class Verifier:
    """Any thread may call it. `iterations`: the least work of each derivation."""

    def __init__(self, clock: Callable[[], float] = time.monotonic,
                 iterations: int = ITERATIONS) -> None:
        self._clock = clock
        self._iterations = iterations
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._key = os.urandom(32)
        self._right = ExpiringDict(CAPACITY, LIFETIME)  # account -> keyed hash
        self._wrong = ExpiringDict(CAPACITY, LIFETIME)  # keyed hash -> True
        self._lock = threading.Lock()
        self._unmatchable = unmatchable(iterations)

    def verify(self, key: str, stored: Optional[str], passphrase: str,
               patience: float = PATIENCE) -> bool:
        """Whether a passphrase is right.

        In: `key`: names the account. `stored`: its stored form, or None for an unknown user, for
        whom the answer is no, at full cost.
        Raises Busy, and passphrases.SecretError if the stored form cannot be used.
        """
        question = self._hash(key, stored or "", passphrase)
        known = self._cached(key, question, stored is not None)
        if known is not None:
            return known
        right = self._derive(stored, passphrase, patience)
        with self._lock:
            if right:
                self._right.put(key, question, self._clock())
            else:
                self._wrong.put(question, True, self._clock())
        return right

    def fingerprint(self, key: str, passphrase: str) -> bytes:
        """A keyed hash, equal for equal guesses at one account, and useless elsewhere."""
        return self._hash(key, "", passphrase)[:16]

    def _derive(self, stored: Optional[str], passphrase: str, patience: float) -> bool:
        if not self._turns.acquire(timeout=patience):
            raise Busy("too many logins at once")
        try:
            right = verify(self._unmatchable if stored is None else stored, passphrase)
            spend(0 if stored is None else self._iterations - iterations_of(stored))
        finally:
            self._turns.release()
        return right and stored is not None

    def _cached(self, key: str, question: bytes, exists: bool) -> Optional[bool]:
        """The cached answer to a question, or None."""
        now = self._clock()
        with self._lock:
            if self._wrong.get(question, now):
                return False
            right = self._right.get(key, now)
        if exists and right is not None and hmac.compare_digest(right, question):
            return True
        return None

    def _hash(self, *texts: str) -> bytes:
        parts = [octets(text) for text in texts]
        framed = b"".join(b"%d:" % len(part) + part for part in parts)
        return hmac.new(self._key, framed, hashlib.sha256).digest()
