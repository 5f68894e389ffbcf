"""SASL (RFC 4422): which mechanisms to offer, and how to begin an exchange.

A protocol decodes the client's line (`decode`), calls `step` and sends what it returns; the "*"
with which a client cancels is up to the protocol.

    exchange = start("PLAIN", directory.login(peer))
    answer = exchange.step(response)    # None: the client sent no initial response

`answer` is a Challenge (send it, go on), a Success or a Failure (the end). `step` never raises,
whatever octets it gets.
"""

from typing import Callable, Tuple

from .login import Login
from .passphrases import has_md5
from .sasl_cram_md5 import CramMd5, apop, timestamp
from .sasl_exchange import (
    REFUSED,
    SYNTAX,
    TEMPORARY,
    Challenge,
    Exchange,
    Failure,
    Malformed,
    Success,
    decode,
    encode,
    random_text,
)
from .sasl_plain import LoginMechanism, Plain
from .sasl_scram import Scram

__all__ = [
    "REFUSED", "SYNTAX", "TEMPORARY", "Challenge", "Exchange", "Failure", "Malformed", "Success",
    "apop", "decode", "encode", "mechanisms", "offers_apop", "start", "timestamp"]

MECHANISMS = {"PLAIN": Plain, "LOGIN": LoginMechanism, "CRAM-MD5": CramMd5,
              "SCRAM-SHA-256": Scram}


def start(mechanism: str, credentials: Login, host: str = "localhost",
          nonce: Callable[[], str] = random_text) -> Exchange:
    """Begin an exchange.

    In: the mechanism's name in any case. `credentials`: from `Directory.login`. `host`: the
    name in challenges. `nonce`: makes printable random text.
    Raises KeyError for an unknown mechanism; `mechanisms` says which may be used now.
    """
    return MECHANISMS[mechanism.upper()](credentials, host, nonce)


def mechanisms(directory, tls: bool, plaintext_ok: bool = False,
               sending: bool = False) -> Tuple[str, ...]:
    """The mechanisms to offer now.

    In: `tls`: whether the connection is encrypted. `plaintext_ok`: whether a passphrase may be
    sent without TLS (the loopback, or `plaintext-auth`). `sending`: as in `Directory.login`.
    A mechanism with its own stored secret is offered only while every user who can log in has
    that secret: a client that fails with one mechanism does not try another.
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
    """Whether the greeting of POP3 has a timestamp (RFC 1939 section 7)."""
    return has_md5() and directory.everyone_has("pop3pwd")
