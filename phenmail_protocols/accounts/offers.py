"""Which secrets everybody has, so that mechanisms that need one can be offered.

A mechanism that is offered must work for everyone, because a client that fails
with it does not try another.  Asked for each connection, so it looks at most
once a second; and where somebody is known who lacks the secret, only at him.
"""

import os
import threading
from typing import Callable, Collection, Dict, Optional, Tuple

from .userfiles import FILE, BrokenUser, Signature, UserFiles, signature

PERIOD = 1.0    # seconds
SECRETS = ("scram", "pop3pwd")


class Offers:
    """Remembers for each user's folder which secrets are there; any thread may ask."""

    def __init__(self, users: UserFiles, clock: Callable[[], float]) -> None:
        self._users = users
        self._clock = clock
        self._lock = threading.Lock()
        self._facts: Dict[str, Tuple[Signature, Tuple[str, ...]]] = {}
        self._lacking: Dict[str, str] = {}  # secret -> a folder without it
        self._state: object = None
        self._answers: Dict[str, Tuple[float, object, bool]] = {}

    def everyone_has(self, secret: str, folders: Collection[str], state: object) -> bool:
        """Whether each user of the folders who can log in has a secret.

        In: "scram" or "pop3pwd"; `state` is what the folders come from:
        another object means to look again.  Users without any secret and those
        whose file is broken cannot log in; nobody at all means no.
        """
        answer = self._known(secret, state)
        if answer is None:
            with self._lock:
                answer = self._known(secret, state)
                if answer is None:
                    answer = self._ask(secret, folders, state)
        return answer

    def _known(self, secret: str, state: object) -> Optional[bool]:
        until, about, answer = self._answers.get(secret, (0.0, None, False))
        return answer if about is state and self._clock() < until else None

    def _ask(self, secret: str, folders: Collection[str], state: object) -> bool:
        if self._state is not state:
            self._forget(folders)
            self._state = state
        has = self._look(secret, folders)
        self._answers[secret] = (self._clock() + PERIOD, state, has)
        return has

    def _look(self, secret: str, folders: Collection[str]) -> bool:
        lacking = self._lacking.get(secret)
        if lacking is not None and self._lacks(secret, lacking):
            return False
        self._lacking.pop(secret, None)
        somebody = False
        for folder in folders:
            facts = self._fact(folder)
            if facts and secret not in facts:
                self._lacking[secret] = folder
                return False
            somebody = somebody or bool(facts)
        return somebody

    def _lacks(self, secret: str, folder: str) -> bool:
        facts = self._fact(folder)
        return bool(facts) and secret not in facts

    def _fact(self, folder: str) -> Tuple[str, ...]:
        """Which secrets a user has: keys of the user's file, () for none or a broken file."""
        try:
            seen = signature(os.path.join(folder, FILE))
        except OSError:
            return ()
        known = self._facts.get(folder)
        if known is None or known[0] != seen:
            known = (seen, self._read(folder))
            self._facts[folder] = known
        return known[1]

    def _read(self, folder: str) -> Tuple[str, ...]:
        try:
            settings = self._users.settings(folder)
        except BrokenUser:
            return ()
        return tuple(key for key in ("passphrase",) + SECRETS if getattr(settings, key))

    def _forget(self, folders: Collection[str]) -> None:
        """Keep only what is about the folders that are there now."""
        present = set(folders)
        self._facts = {folder: fact for folder, fact in self._facts.items() if folder in present}
        self._lacking = {secret: folder for secret, folder in self._lacking.items()
                         if folder in present}
