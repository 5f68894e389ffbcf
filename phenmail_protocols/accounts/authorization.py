"""The administrator's leave for what costs the host: an external MDA, a filter in code.

A leave is an HMAC-SHA256 (RFC 2104) with the device's key over the identity, the kind and the text itself, so it holds for this text of
this user and no other: whatever is changed, copied to somebody else, or included from elsewhere, has none.  The key file is the device's own
(0600); who can read it is the administrator.  Knows no configuration file and no command line.
"""
import hashlib
import hmac
import os
from typing import Optional

from phenmail_protocols.disk.keyfile import kept_key

FILE = "authorization.key"

EXTERNAL_MDA, FILTER = "external-MDA", "filter"

_PURPOSE = "phenmail authorization 1"


class Authorizations:
    """Signs and checks; any thread.  `folder`: where the device's keys lie; the key is made when it is first needed."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, FILE)
        self._key = None  # type: Optional[bytes]

    def sign(self, identity: str, kind: str, text: str) -> str:
        """The leave for a text -> hexadecimal digits.

        `identity`: to whose folder it belongs; `kind`: EXTERNAL_MDA or FILTER; `text`: the command, or the code itself (not the name of
        its file).  Raises OSError, ValueError where the key can't be read or made.
        """
        # Each part says how long it is: no two different triples make the same octets.
        parts = [part.encode("utf-8", "surrogatepass") for part in (_PURPOSE, identity, kind, text)]
        octets = b"".join([b"%d:%s," % (len(part), part) for part in parts])
        return hmac.new(self._secret(), octets, hashlib.sha256).hexdigest()

    def holds(self, identity: str, kind: str, text: str, authorization: Optional[str]) -> bool:
        """Whether `authorization` (as in the configuration, or None) is the leave for this text."""
        if not authorization:
            return False
        right = self.sign(identity, kind, text)
        return hmac.compare_digest(authorization.strip().lower().encode("utf-8", "surrogatepass"), right.encode("ascii"))

    def _secret(self) -> bytes:
        if self._key is None:
            self._key = kept_key(self._path)
        return self._key
