"""Message identifiers in Message-ID, In-Reply-To and References (RFC 5322 section 3.6.4).

Pure. What is no identifier is passed over, as RFC 5256 section 3 asks of THREAD.
"""
import re
from typing import List

__all__ = ["identities"]

# A quoted local part is the same as the plain one, so <"a"@b> and <a@b> are one (RFC 5256 section
# 3).
_IDENTITY = re.compile(
    rb'<\s*(?:"((?:[^"\\\r\n]|\\.){1,500})"|([^<>"@\s]{1,500}))\s*@\s*([^<>@\s]{1,500})\s*>')
_QUOTED_PAIR = re.compile(rb"\\(.)")


def identities(value: bytes) -> List[bytes]:
    """The value of a field -> its identifiers in order, each as local part @ domain without quotes
    and angle brackets."""
    return [(plain or _QUOTED_PAIR.sub(rb"\1", quoted)) + b"@" + domain
            for quoted, plain, domain in _IDENTITY.findall(value)]
