"""The argument of AUTH, in SMTP (RFC 4954 section 4) and POP3 (RFC 5034 section 4). Pure."""
import re
from typing import NamedTuple, Optional

from ..accounts import sasl

_AUTH = re.compile(rb"([A-Za-z0-9_-]{1,20})(?: +([^ ]+))?")


class Auth(NamedTuple):
    """`mechanism` in upper case; `initial`: the decoded initial response, b"" for `=`, or None."""
    mechanism: str
    initial: Optional[bytes]


def parse(argument):
    """`mechanism [initial response]` -> Auth; None if it is something else.

    Raises sasl.Malformed if the response is not base64.
    """
    found = _AUTH.fullmatch(argument)
    if found is None:
        return None
    mechanism, initial = found.groups()
    return Auth(mechanism.decode("ascii").upper(),
                None if initial is None else sasl.decode(initial))
