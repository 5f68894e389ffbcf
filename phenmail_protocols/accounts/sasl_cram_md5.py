"""CRAM-MD5 (RFC 2195), and APOP of POP3 (RFC 1939 section 7), which works alike. Pure.

The client proves with MD5 that it knows the passphrase. Both hash it with a timestamp of the
server, which is different each time.
"""

import hashlib
import hmac
import time
from typing import Callable, Optional

from .login import Login, LoginFailed
from .sasl_exchange import Answer, Exchange, Malformed, Success, failure, random_text, text


class CramMd5(Exchange):
    def first(self, response: Optional[bytes]) -> Answer:
        if response is not None:    # the server speaks first (RFC 4422 section 4.3.1)
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


def apop(credentials: Login, stamp: bytes, name: str, digest: bytes) -> Answer:
    """Check the arguments of APOP: a name, and the MD5 of the timestamp and the passphrase.

    In: `stamp`: the timestamp of the greeting, with its angle brackets. `digest`: 32
    hexadecimal digits. Out: Success or Failure.
    """
    expected = hashlib.md5(stamp + credentials.shared(name)).hexdigest().encode("ascii")
    right = hmac.compare_digest(digest.lower(), expected)
    try:
        return Success(credentials.settle(name, right, "pop3pwd"))
    except LoginFailed as refused:
        return failure(refused)


def timestamp(host: str, nonce: Callable[[], str] = random_text) -> bytes:
    """A challenge in the form of a message id, different each time."""
    if not host or not all("!" <= char <= "~" and char not in "<>@" for char in host):
        host = "localhost"
    return ("<%s.%d@%s>" % (nonce(), time.time(), host)).encode("ascii")
