"""What SASL dialogues are made of: answers, credentials, and the order of steps.

Pure: no input or output, no mechanism (RFC 4422).
"""

import base64
import os
import re
from typing import Callable, NamedTuple, Optional, Union

from .login import Account, LoginFailed
from .secrets import ScramSecret

# The longest response that is looked at (decoded): far beyond what RFC 4616
# (3 * 255 characters) or SCRAM's messages need.
LONGEST_RESPONSE = 4096

# RFC 4648 section 4; CPython's own decoder takes more, and each version other things.
_BASE64 = re.compile(br"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")

SYNTAX, REFUSED, TEMPORARY = "syntax", "refused", "temporary"


class Challenge(NamedTuple):
    """Something to send, in base64, and to wait for a response to."""

    data: bytes


class Success(NamedTuple):
    """The client is the user of this account."""

    account: Account


class Failure(NamedTuple):
    """The end.

    `kind` "syntax" (the response is none of this mechanism), "refused" (the
    name or the passphrase is wrong) or "temporary" (the fault is not the
    client's, or it has to wait).  `text` may be shown.
    """

    text: str
    kind: str = REFUSED


Answer = Union[Challenge, Success, Failure]


class Credentials:
    """What a dialogue asks: `login.Login` is one.

    `plain`, `settle` raise LoginFailed; the others never tell whether there
    is such a user.
    """

    def plain(self, name: str, passphrase: str) -> Account:
        raise NotImplementedError

    def scram(self, name: str) -> ScramSecret:
        raise NotImplementedError

    def shared(self, name: str) -> bytes:
        raise NotImplementedError

    def settle(self, name: str, right: bool, secret: str) -> Account:
        raise NotImplementedError

    def is_same(self, account: Account, name: str) -> bool:
        raise NotImplementedError


class Malformed(Exception):
    """A response that is none of the mechanism's; str() says what was expected."""


class Dialogue:
    """One exchange; subclasses say what to do with each response in turn."""

    def __init__(self, credentials: Credentials, host: str, nonce: Callable[[], str]) -> None:
        self.credentials = credentials
        self.host = host
        self.nonce = nonce
        self._next: Optional[Callable[[Optional[bytes]], Answer]] = self.first

    def first(self, response: Optional[bytes]) -> Answer:
        raise NotImplementedError

    def ask(self, data: bytes, then: Callable[[bytes], Answer]) -> Challenge:
        """Challenge the client; `then` gets its response."""
        self._next = then
        return Challenge(data)

    def step(self, response: Optional[bytes]) -> Answer:
        """Take the client's response, None where it sent no initial one."""
        following, self._next = self._next, None
        if following is None:
            return Failure("the dialogue is over", SYNTAX)
        try:
            if response is not None and len(response) > LONGEST_RESPONSE:
                raise Malformed("expected a response of at most %d octets" % LONGEST_RESPONSE)
            return following(response)
        except Malformed as malformed:
            return Failure(str(malformed), SYNTAX)
        except LoginFailed as refused:
            return Failure(refused.text, TEMPORARY if refused.temporary else REFUSED)

    def act_as(self, account: Account, name: str) -> Answer:
        """End with success, if the client wants to act as itself."""
        if name and not self.credentials.is_same(account, name):
            return Failure("only your own name may stand as the authorization identity")
        return Success(account)


def text(octets: bytes) -> str:
    """A name as text.  Raises Malformed where it is not UTF-8 (RFC 4616 section 2)."""
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("expected a name in UTF-8") from None


def passphrase(octets: bytes) -> str:
    """A passphrase as text; what is not UTF-8 keeps its bytes (old clients, old hashes)."""
    return octets.decode("utf-8", "surrogateescape")


def decode(line: bytes) -> bytes:
    """Decode a client's line of base64 (without its line end); "=" is an empty response.

    Raises Malformed.  Strict: RFC 4954 section 4 and RFC 3501 section 6.2.2
    want what is no base64 refused.
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
