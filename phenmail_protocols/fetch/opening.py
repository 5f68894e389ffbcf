"""Connects to an account on another server: the Source for its protocol."""
from .source import FetchError, LoginRefused, Source


def open_source(account, passphrase, limit, token=None, contexts=None, began=None,
                imap=None) -> Source:
    """Connect and log in -> Source.

    `account`: config.settings.FetchAccount; `passphrase`: in clear; `limit`: the most octets of a
    message; `token`: gives access tokens for accounts with "auth": "oauth2", as
    oauth.token_store.TokenSource does (the default). `contexts`: a connecting.Contexts that all
    accounts should share; `began(wire)` gets what can be stopped with `abort()` from another thread
    while this connects; `imap`: the class for IMAP, by default ImapSource. Raises
    source.FetchError: unknown host, no connection, certificate, LoginRefused.
    """
    def connect(access=None):
        if account.protocol in ("imap", "imaps"):
            from .imap.source import ImapSource
            return (imap or ImapSource)(account, passphrase, limit, access, contexts, began)
        from .pop.source import PopSource
        return PopSource(account, passphrase, limit, access, contexts, began)

    if account.provider is None and token is None:
        return connect()
    return _with_token(connect, token or _token_source(account))


def _token_source(account):
    from ..oauth.token_store import TokenSource
    return TokenSource(account.provider)


def _with_token(connect, token):
    """Call `connect` with an access token, and once more with a fresh one if it is refused."""
    used = _access(token)
    try:
        return connect(lambda: used)
    except LoginRefused:
        token.refuse(used)
        fresh = _access(token)
        if fresh == used:
            raise
    return connect(lambda: fresh)


def _access(token):
    """An access token. Raises LoginRefused if only the user can help, FetchError."""
    from ..oauth.errors import OAuthError, Temporary
    try:
        return token()
    except Temporary as error:
        raise FetchError(str(error))
    except OAuthError as error:
        raise LoginRefused(str(error))
