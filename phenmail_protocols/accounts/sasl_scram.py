"""SCRAM-SHA-256: both sides prove that they know the passphrase (RFC 5802, RFC 7677). Pure.

There is no channel binding: "n" and "y" are accepted, "p" is refused, because no -PLUS mechanism
is offered. The server's last message is sent as a challenge, to which the client responds with
nothing, because IMAP, SMTP and POP3 have no other place for it (RFC 4422 section 3.1).
"""

import base64
import hashlib
import hmac
import re
from typing import NamedTuple, Optional, Tuple

from .passphrases import ScramSecret
from .sasl_exchange import Answer, Exchange, Malformed, Success, decode, text

LONGEST_NONCE = 512

# RFC 5802 section 7. Extensions after the known attributes are ignored.
_GS2 = re.compile(br"(?P<binding>n|y|p=[A-Za-z0-9.\-]{1,64}),(?:a=(?P<authzid>[^,\0]{1,1000}))?,")
_FIRST = re.compile(br"n=(?P<name>[^,\0]{1,1000}),r=(?P<nonce>[!-+\--~]{1,%d})"
                    br"(?:,[A-Za-z]=[^,\0]+)*" % LONGEST_NONCE)
_FINAL = re.compile(br"(?P<bare>c=(?P<binding>[A-Za-z0-9/+=]*),r=(?P<nonce>[!-+\--~]{1,%d})"
                    br"(?:,[A-Za-oq-z]=[^,\0]+)*),p=(?P<proof>[A-Za-z0-9/+=]{1,100})"
                    % (2 * LONGEST_NONCE))
_WRONG_ESCAPE = re.compile(r"=(?!2C|3D)")


class ClientFirst(NamedTuple):
    """The client-first-message; `gs2` and `bare` are its two halves as sent."""

    gs2: bytes
    bare: bytes
    authzid: str
    name: str
    nonce: bytes


class ClientFinal(NamedTuple):
    """The client-final-message; `bare` is all before the proof, as sent."""

    bare: bytes
    binding: bytes
    nonce: bytes
    proof: bytes


class Scram(Exchange):
    """The client sends its first message, its proof, and an empty response."""

    def first(self, response: Optional[bytes]) -> Answer:
        if response is None:
            return self.ask(b"", self.first)
        client = parse_first(response)
        secret = self.credentials.scram(client.name)
        nonce = client.nonce + self.nonce().encode("ascii")
        message = b"r=%s,s=%s,i=%d" % (nonce, base64.b64encode(secret.salt), secret.iterations)
        return self.ask(message, lambda proof: self.proof(client, secret, nonce, message, proof))

    def proof(self, client: ClientFirst, secret: ScramSecret, nonce: bytes,
              challenge: bytes, response: Optional[bytes]) -> Answer:
        final = parse_final(response or b"")
        if final.nonce != nonce:
            raise Malformed("expected the nonce of the challenge")
        if final.binding != client.gs2:
            raise Malformed("expected the channel binding of the first message")
        message = b",".join((client.bare, challenge, final.bare))
        right, signature = check_proof(secret, message, final.proof)
        # The server proves itself only to a client that is logged in.
        account = self.credentials.settle(client.name, right, "scram")
        answer = self.act_as(account, client.authzid)
        if not isinstance(answer, Success):
            return answer
        return self.ask(b"v=" + base64.b64encode(signature), lambda last: self.last(answer, last))

    def last(self, answer: Success, response: Optional[bytes]) -> Answer:
        if response:
            raise Malformed("expected an empty response")
        return answer


def check_proof(secret: ScramSecret, message: bytes, proof: bytes) -> Tuple[bool, bytes]:
    """Whether a client's proof is right, and the server's signature (RFC 5802 section 3)."""
    signature = hmac.new(secret.stored_key, message, hashlib.sha256).digest()
    # ClientKey = ClientProof XOR ClientSignature; its hash must be StoredKey.
    key = bytes(one ^ other for one, other in zip(proof, signature))
    right = hmac.compare_digest(hashlib.sha256(key).digest(), secret.stored_key)
    return right, hmac.new(secret.server_key, message, hashlib.sha256).digest()


def parse_first(message: bytes) -> ClientFirst:
    """Read a client-first-message. Raises Malformed."""
    header = _GS2.match(message)
    if header is None:
        raise Malformed("expected a client-first-message (RFC 5802)")
    if header.group("binding").startswith(b"p"):
        raise Malformed("channel binding is not offered")
    bare = _FIRST.fullmatch(message, header.end())
    if bare is None:
        raise Malformed("expected a name and a nonce (RFC 5802)")
    return ClientFirst(header.group(), bare.group(), _name(header.group("authzid") or b""),
                       _name(bare.group("name")), bare.group("nonce"))


def parse_final(message: bytes) -> ClientFinal:
    """Read a client-final-message. Raises Malformed."""
    final = _FINAL.fullmatch(message)
    if final is None:
        raise Malformed("expected a client-final-message (RFC 5802)")
    binding, proof = decode(final.group("binding")), decode(final.group("proof"))
    if len(proof) != hashlib.sha256().digest_size:
        raise Malformed("expected a proof of 32 octets")
    return ClientFinal(final.group("bare"), binding, final.group("nonce"), proof)


def _name(escaped: bytes) -> str:
    """Undo the escapes of a saslname: =2C is a comma, =3D an equals sign."""
    name = text(escaped)
    if _WRONG_ESCAPE.search(name):
        raise Malformed("expected =2C or =3D after each = in a name")
    return name.replace("=2C", ",").replace("=3D", "=")
