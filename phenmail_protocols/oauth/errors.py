"""Why there is no access token. str() of each is a sentence for the user, without secrets."""


class OAuthError(Exception):
    """The provider gave no token."""


class Temporary(OAuthError):
    """A failure that may pass: the network, the provider's servers, a full disk here."""


class LoginNeeded(OAuthError):
    """Only the user can help, by logging in again."""


class Refused(OAuthError):
    """The provider answered with an error; `code`: RFC 6749 5.2, RFC 8628 3.5."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def shown(text, most=200):
    """A text from outside in one printable line of at most `most` characters."""
    line = "".join(c if c.isprintable() else " " for c in str(text)[:most * 4]).strip()
    return line if len(line) <= most else line[:most] + "…"
