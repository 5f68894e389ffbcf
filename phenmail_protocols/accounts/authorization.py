"""The administrator's leave for what costs the host: an external MDA, a filter in code.

A leave is an HMAC-SHA256 (RFC 2104) with the device's key over the identity, the kind and the text itself, so it holds for this text of
this user and no other: whatever is changed, copied to somebody else, or included from elsewhere, has none.  Nothing is made alike
before it is compared: no case, no blanks, no form of Unicode.  The key file is the device's own (0600); who can read it is the
administrator.  Knows no configuration file and no command line, and not who needs no leave (config.root.Root.is_administrators).
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
    """Signs and checks; any thread.  `folder`: where the device's keys lie; the key is made when something is first signed."""

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, FILE)
        self._key: Optional[bytes] = None
        self._failure = ""  # what the log knows already

    def sign(self, identity: str, kind: str, text: str) -> str:
        """The leave for a text -> hexadecimal digits.

        `identity`: to whose folder it belongs; `kind`: EXTERNAL_MDA or FILTER; `text`: the command, or the code itself (not the name of
        its file).  Raises ValueError where one of them is empty or of no such kind; OSError, ValueError where the key can't be read
        or made.
        """
        octets = _octets(identity, kind, text)
        if self._key is None:
            self._key = kept_key(self.path)
        return _digest(self._key, octets)

    def holds(self, identity: Optional[str], kind: str, text: str, authorization: Optional[str]) -> bool:
        """Whether `authorization` (as in the configuration, or None) is the leave for this text.

        Raises nothing and makes no key: where there is none, or none that can be read, nothing holds (the log says why).
        """
        if not identity or not text or not authorization:
            return False
        key = self._known_key()
        if key is None:
            return False
        right = _digest(key, _octets(identity, kind, text))
        return hmac.compare_digest(authorization.encode("utf-8", "surrogatepass"), right.encode("ascii"))

    def external_mda(self, identity: Optional[str], user: UserSettings) -> bool:
        """Whether a user's `external-MDA` has its leave."""
        return self.holds(identity, EXTERNAL_MDA, user.external_mda or "", user.authorization)

    def _known_key(self) -> Optional[bytes]:
        # Another process may make it at any time: the word `authorize` beside a server.
        if self._key is None and os.path.lexists(self.path):
            try:
                self._key = kept_key(self.path)
            except (OSError, ValueError) as error:
                if str(error) != self._failure:
                    log.error("no authorization holds: %s", error)
                self._failure = str(error)
        return self._key


def _octets(identity: str, kind: str, text: str) -> bytes:
    if not identity or not text or kind not in (EXTERNAL_MDA, FILTER):
        raise ValueError("there is nothing that could be authorized")
    # Each part says how long it is: no two different triples make the same octets.
    parts = [part.encode("utf-8", "surrogatepass") for part in (_PURPOSE, identity, kind, text)]
    return b"".join([b"%d:%s," % (len(part), part) for part in parts])


def _digest(key: bytes, octets: bytes) -> str:
    return hmac.new(key, octets, hashlib.sha256).hexdigest()
