"""The parts of a SASL exchange (RFC 4422): challenges, outcomes, and the order of the steps.

No input or output; each mechanism has its own file.
"""

import base64
import os
import re
from typing import Callable, NamedTuple, Optional, Union

from .login import Account, Login, LoginFailed

# Longer responses are not decoded. RFC 4616 (3 * 255 characters) and SCRAM need far less.
LONGEST_RESPONSE = 4096

# RFC 4648 section 4; CPython's decoder accepts more, and other things in each version.
_BASE64 = re.compile(br"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")

SYNTAX, REFUSED, TEMPORARY = "syntax", "refused", "temporary"


class Challenge(NamedTuple):
    """Send these octets, and wait for a response."""

    data: bytes


class Success(NamedTuple):
    """The client is logged in to this account."""

    account: Account


class Failure(NamedTuple):
    """The exchange failed; the client may see `text`.

    `kind`: SYNTAX (the response is not valid for this mechanism), REFUSED (the name or the
    passphrase is wrong) or TEMPORARY (the client must wait, or the server is at fault).
    """

    text: str
    kind: str = REFUSED


Answer = Union[Challenge, Success, Failure]


class Malformed(Exception):
    """A response that is not valid for the mechanism; str() says what was expected."""


class Exchange:
    """One exchange; subclasses say what to do with each response in turn."""

    def __init__(self, credentials: Login, host: str, nonce: Callable[[], str]) -> None:
        self.credentials = credentials
        self.host = host
        self.nonce = nonce
        self._next: Optional[Callable[[Optional[bytes]], Answer]] = self.first

    def first(self, response: Optional[bytes]) -> Answer:
        raise NotImplementedError

    def ask(self, data: bytes, then: Callable[[bytes], Answer]) -> Challenge:
        """Challenge the client; `then` will be called with its response."""
        self._next = then
        return Challenge(data)

    def step(self, response: Optional[bytes]) -> Answer:
        """Take the client's response; None if it sent no initial response. Never raises."""
        following, self._next = self._next, None
        if following is None:
            return Failure("the exchange is over", SYNTAX)
        if response is not None and len(response) > LONGEST_RESPONSE:
            return Failure("expected a response of at most %d octets" % LONGEST_RESPONSE, SYNTAX)
        try:
            return following(response)
        except Malformed as malformed:
            return Failure(str(malformed), SYNTAX)
        except LoginFailed as refused:
            return failure(refused)

    def act_as(self, account: Account, name: str) -> Answer:
        """Succeed if the authorization identity is empty or the user's own name."""
        if name and not self.credentials.is_same(account, name):
            return Failure("the authorization identity must be your own name")
        return Success(account)


def failure(refused: LoginFailed) -> Failure:
    """The outcome of a login that was refused."""
    return Failure(refused.text, TEMPORARY if refused.temporary else REFUSED)


def text(octets: bytes) -> str:
    """A name as text. Raises Malformed if it is not UTF-8 (RFC 4616 section 2)."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("expected a name in UTF-8") from None


def passphrase(octets: bytes) -> str:
    """A passphrase as text; octets that are not UTF-8 are kept (old clients, old hashes)."""
    return octets.decode("utf-8", "surrogateescape")


def decode(line: bytes) -> bytes:
    """Decode a client's line of base64 (without its line end); "=" is an empty response.

    Raises Malformed. Strict, because RFC 4954 section 4 and RFC 3501 section 6.2.2 require that
    invalid base64 is refused.
    """
    if line == b"=":
        return b""
    if not _BASE64.fullmatch(line):
        raise Malformed("expected base64")
    return base64.b64decode(line)


def encode(data: bytes) -> bytes:
    """Encode a challenge for the wire."""
    return base64.b64encode(data)


def random_text() -> str:
    """144 random bits in letters, digits, "-" and "_"."""
    return base64.urlsafe_b64encode(os.urandom(18)).decode("ascii")
