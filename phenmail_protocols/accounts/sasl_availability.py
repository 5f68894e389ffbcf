"""Which secrets every user has, so that SASL mechanisms that need them can be offered.

Asked for each connection, so the files are looked at no more than once a second. While a user
is known who lacks the secret, only their file is looked at.
"""

import os
import threading
from typing import Callable, Collection, Dict, Optional, Tuple

from .userfiles import FILE, BrokenUser, Signature, UserFiles, signature

PERIOD = 1.0    # seconds
SECRETS = ("scram", "pop3pwd")


class Availability:
    """Caches for each user's folder which secrets the user has; any thread may ask."""

    def __init__(self, users: UserFiles, clock: Callable[[], float]) -> None:
        self._users = users
        self._clock = clock
        self._lock = threading.Lock()
        self._secrets: Dict[str, Tuple[Signature, Tuple[str, ...]]] = {}    # by folder
        self._lacking: Dict[str, str] = {}  # secret -> a folder without it
        self._state: object = None
        self._answers: Dict[str, Tuple[float, object, bool]] = {}   # (until, state, answer)

    def everyone_has(self, secret: str, folders: Collection[str], state: object) -> bool:
        """Whether every user of these folders who can log in has a secret.

        In: "scram" or "pop3pwd". `state`: the configuration that the folders are from; another
        object means to look again. Users without any secret or with a broken file cannot log in.
        Without any user who can, the answer is no.
        """
        answer = self._cached(secret, state)
        if answer is None:
            with self._lock:
                answer = self._cached(secret, state)
                if answer is None:
                    if self._state is not state:
                        self._forget_others(folders)
                        self._state = state
                    answer = self._look(secret, folders)
                    self._answers[secret] = (self._clock() + PERIOD, state, answer)
        return answer

    def _cached(self, secret: str, state: object) -> Optional[bool]:
        until, about, answer = self._answers.get(secret, (0.0, None, False))
        return answer if about is state and self._clock() < until else None

    def _look(self, secret: str, folders: Collection[str]) -> bool:
        lacking = self._lacking.pop(secret, None)
        somebody = False
        for folder in ([] if lacking is None else [lacking]) + list(folders):
            secrets = self._of_user(folder)
            if secrets and secret not in secrets:
                self._lacking[secret] = folder
                return False
            somebody = somebody or bool(secrets)
        return somebody

    def _of_user(self, folder: str) -> Tuple[str, ...]:
        """Which secrets a user has: keys of the user's file; none if the file is broken."""
        try:
            seen = signature(os.path.join(folder, FILE))
        except OSError:
            return ()
        known = self._secrets.get(folder)
        if known is None or known[0] != seen:
            try:
                settings = self._users.settings(folder)
                secrets = tuple(key for key in ("passphrase",) + SECRETS
                                if getattr(settings, key))
            except BrokenUser:
                secrets = ()
            known = self._secrets[folder] = (seen, secrets)
        return known[1]

    def _forget_others(self, folders: Collection[str]) -> None:
        present = set(folders)
        self._secrets = {folder: secrets for folder, secrets in self._secrets.items()
                         if folder in present}
        self._lacking = {secret: folder for secret, folder in self._lacking.items()
                         if folder in present}
