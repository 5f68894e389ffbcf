"""The administrator's authorizations: for an external MDA, or a filter in Python.

An authorization is an HMAC-SHA256 (RFC 2104) with the device's key over the identity, the kind
and the text. So it holds for this text of this user only: a text that was changed, copied to
another user or included from elsewhere has none. Nothing is normalised before the comparison,
neither case nor blanks nor Unicode. Whoever can read the key file (the device's, 0600) is the
administrator. Who needs no authorization is up to config.root_folder.Root.is_administrators.
"""

import hashlib
import hmac
import logging
import os
from typing import Optional

from ..config.settings import UserSettings
from ..disk.keyfile import kept_key

log = logging.getLogger("phenmail.accounts")

FILE = "authorization.key"

EXTERNAL_MDA, FILTER = "external-MDA", "filter"

_PURPOSE = "phenmail authorization 1"


class Authorizations:
    """Signs and checks; any thread may call it.

    `folder`: where the device's keys are. The key is made when something is first signed.
    """

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, FILE)
        self._key: Optional[bytes] = None
        self._failure = ""  # the last one that was logged

    def sign(self, identity: str, kind: str, text: str) -> str:
        """The authorization of a text, in hexadecimal digits.

        In: `identity`: in whose folder the text is. `kind`: EXTERNAL_MDA or FILTER. `text`: the
        command, or the code itself (not the name of its file).
        Raises ValueError for an empty or invalid argument, and OSError or ValueError if the key
        cannot be read or made.
        """
        octets = _octets(identity, kind, text)
        if self._key is None:
            self._key = kept_key(self.path)
        return _digest(self._key, octets)

    def holds(self, identity: Optional[str], kind: str, text: str,
              authorization: Optional[str]) -> bool:
        """Whether `authorization` (as in the configuration, or None) is the one of this text.

        Makes no key and never raises: without a readable key, nothing is authorized, and the log
        says why.
        """
        if not identity or not text or not authorization:
            return False
        key = self._known_key()
        if key is None:
            return False
        right = _digest(key, _octets(identity, kind, text))
        return hmac.compare_digest(authorization.encode("utf-8", "surrogatepass"),
                                   right.encode("ascii"))

    def external_mda(self, identity: Optional[str], user: UserSettings) -> bool:
        """Whether a user's `external-MDA` is authorized."""
        return self.holds(identity, EXTERNAL_MDA, user.external_mda or "", user.authorization)

    def _known_key(self) -> Optional[bytes]:
        # Another process may make it at any time: `phenmail authorize` beside a running server.
        if self._key is None and os.path.lexists(self.path):
            try:
                self._key = kept_key(self.path)
            except (OSError, ValueError) as error:
                if str(error) != self._failure:
                    log.error("nothing is authorized: %s", error)
                self._failure = str(error)
        return self._key


def _octets(identity: str, kind: str, text: str) -> bytes:
    if not identity or not text or kind not in (EXTERNAL_MDA, FILTER):
        raise ValueError("there is nothing to authorize")
    # Each part has its length, so that different arguments never give the same octets.
    parts = [part.encode("utf-8", "surrogatepass") for part in (_PURPOSE, identity, kind, text)]
    return b"".join([b"%d:%s," % (len(part), part) for part in parts])


def _digest(key: bytes, octets: bytes) -> str:
    return hmac.new(key, octets, hashlib.sha256).hexdigest()
