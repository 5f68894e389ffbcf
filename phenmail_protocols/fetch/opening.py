"""Connects to an account on another server: the Source for its protocol."""
from .source import Source


def open_source(account, passphrase, limit, token=None, contexts=None, began=None) -> Source:
    """Connect and log in -> Source.

    `account`: config.settings.FetchAccount; `passphrase`: in clear; `limit`: the most octets of a
    message; `token()`: an OAuth2 access token (str), for accounts with "auth": "oauth2".
    `contexts`: a connecting.Contexts that all accounts should share; `began(wire)` gets what can
    be stopped with `abort()` from another thread while this connects. Raises
    source.FetchError: unknown host, no connection, certificate, LoginRefused.
    """
    if account.protocol in ("imap", "imaps"):
        from .imap_source import ImapSource
        return ImapSource(account, passphrase, limit, token, contexts, began)
    from .pop_source import PopSource
    return PopSource(account, passphrase, limit, token, contexts, began)
