"""PLAIN and LOGIN: the client sends its passphrase. Pure."""

from typing import Optional

from .sasl_exchange import Answer, Exchange, Malformed, Success, passphrase, text


class Plain(Exchange):
    """RFC 4616: [authzid] NUL authcid NUL passwd."""

    def first(self, response: Optional[bytes]) -> Answer:
        if response is None:
            return self.ask(b"", self.first)
        fields = response.split(b"\0")
        if len(fields) != 3 or not fields[1] or not fields[2]:
            raise Malformed("expected [authorization identity] NUL name NUL passphrase")
        authzid, name = text(fields[0]), text(fields[1])
        account = self.credentials.plain(name, passphrase(fields[2]))
        return self.act_as(account, authzid)


class LoginMechanism(Exchange):
    """LOGIN (draft-murchison-sasl-login): asks for the name, then for the passphrase.

    The initial response may be the name: several clients send it.
    """

    def first(self, response: Optional[bytes]) -> Answer:
        if response is None:
            return self.ask(b"Username:", self.name)
        return self.name(response)

    def name(self, response: Optional[bytes]) -> Answer:
        if not response or b"\0" in response:
            raise Malformed("expected a name")
        name = text(response)
        return self.ask(b"Password:", lambda answer: self.passphrase(name, answer))

    def passphrase(self, name: str, response: Optional[bytes]) -> Answer:
        if not response or b"\0" in response:
            raise Malformed("expected a passphrase")
        return Success(self.credentials.plain(name, passphrase(response)))
