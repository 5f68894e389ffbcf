"""CRAM-MD5 and APOP: the client proves with MD5 that it knows what the server keeps.

Pure.  RFC 2195 and RFC 1939 section 7.  Both put a timestamp of the server,
different each time, before the secret.
"""

import hashlib
import hmac
import time
from typing import Callable, Optional

from .dialogue import (
    REFUSED,
    TEMPORARY,
    Answer,
    Credentials,
    Dialogue,
    Failure,
    Malformed,
    Success,
    random_text,
    text,
)
from .login import LoginFailed


class CramMd5(Dialogue):
    """RFC 2195: the client proves that it knows the passphrase; the server keeps it."""

    def first(self, response: Optional[bytes]) -> Answer:
        if response is not None:    # RFC 4422 section 4.3.1: the server speaks first
            raise Malformed("CRAM-MD5 has no initial response")
        self._challenge = timestamp(self.host, self.nonce)
        return self.ask(self._challenge, self.proof)

    def proof(self, response: Optional[bytes]) -> Answer:
        name, space, digest = (response or b"").rpartition(b" ")
        if not space or not name or b"\0" in name:
            raise Malformed("expected a name, a space and a digest")
        secret = self.credentials.shared(text(name))
        expected = hmac.new(secret, self._challenge, "md5").hexdigest().encode("ascii")
        right = hmac.compare_digest(digest.lower(), expected)
        return Success(self.credentials.settle(text(name), right, "pop3pwd"))


def apop(credentials: Credentials, stamp: bytes, name: str, digest: bytes) -> Answer:
    """Check the arguments of APOP: a name, and MD5 of the greeting's timestamp and the secret.

    In: `stamp` as `timestamp` made it, with its angle brackets; `digest` 32
    hexadecimal digits.  Out: Success or Failure.
    """
    expected = hashlib.md5(stamp + credentials.shared(name)).hexdigest().encode("ascii")
    right = hmac.compare_digest(digest.lower(), expected)
    try:
        return Success(credentials.settle(name, right, "pop3pwd"))
    except LoginFailed as refused:
        return Failure(refused.text, TEMPORARY if refused.temporary else REFUSED)


def timestamp(host: str, nonce: Optional[Callable[[], str]] = None) -> bytes:
    """A challenge in the form of a message id, different each time (RFC 1939, RFC 2195)."""
    name = host if host and all("!" <= char <= "~" and char not in "<>@" for char in host) else "localhost"
    return ("<%s.%d@%s>" % ((nonce or random_text)(), time.time(), name)).encode("ascii")
