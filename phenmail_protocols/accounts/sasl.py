"""SASL (RFC 4422): which mechanisms to offer, and how to begin a dialogue.

No input or output; users come through `dialogue.Credentials`.  A protocol
decodes the client's line (`decode`), calls `step` and sends what comes out;
"*", with which a client gives up, is the protocol's own.

    dialogue = start("PLAIN", directory.login(peer))
    answer = dialogue.step(response)    # None: the client sent no initial response

`answer` is a Challenge (send it, go on), a Success or a Failure (the end).
`step` never raises, whatever bytes come.
"""

from typing import Callable, Optional, Tuple

from .dialogue import (
    REFUSED,
    SYNTAX,
    TEMPORARY,
    Challenge,
    Credentials,
    Dialogue,
    Failure,
    Malformed,
    Success,
    decode,
    encode,
    random_text,
)
from .digest import CramMd5, apop, timestamp
from .plain import LoginMechanism, Plain
from .scram import Scram
from .secrets import has_md5

__all__ = [
    "REFUSED", "SYNTAX", "TEMPORARY", "Challenge", "Credentials", "Dialogue", "Failure",
    "Malformed", "Success", "apop", "decode", "encode", "mechanisms", "offers_apop",
    "start", "timestamp"]

DIALOGUES = {
    "PLAIN": Plain,
    "LOGIN": LoginMechanism,
    "CRAM-MD5": CramMd5,
    "SCRAM-SHA-256": Scram,
}


def start(mechanism: str, credentials: Credentials, host: str = "localhost",
          nonce: Optional[Callable[[], str]] = None) -> Dialogue:
    """Begin a dialogue.

    In: the mechanism's name in any case; `credentials` as `Directory.login`
    gives them; `host` the name that challenges carry; `nonce` makes printable
    random text.  Raises KeyError for a mechanism that is not built; whether it
    may be used now is what `mechanisms` says.
    """
    return DIALOGUES[mechanism.upper()](credentials, host, nonce or random_text)


def mechanisms(directory, tls: bool, plaintext_ok: bool = False,
               sending: bool = False) -> Tuple[str, ...]:
    """The mechanisms to offer now.

    In: `tls` whether the connection is encrypted; `plaintext_ok` whether a
    passphrase may cross it in the clear all the same (the loopback, or
    `plaintext-auth`); `sending` as in `Directory.login`.
    Those that need a secret of their own are there only while every user who
    can log in has it, and MD5 only where this interpreter computes it.
    """
    offered = []
    if directory.everyone_has("scram", sending):
        offered.append("SCRAM-SHA-256")
    if tls or plaintext_ok:
        offered += ["PLAIN", "LOGIN"]
    if has_md5() and directory.everyone_has("pop3pwd", sending):
        offered.append("CRAM-MD5")
    return tuple(offered)


def offers_apop(directory) -> bool:
    """Whether to put a timestamp into the greeting of POP3 (RFC 1939 section 7)."""
    return has_md5() and directory.everyone_has("pop3pwd")
