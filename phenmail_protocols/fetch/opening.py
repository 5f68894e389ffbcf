"""Connects to an account on another server: the Source for its protocol."""
from .source import Source


def open_source(account, passphrase, limit, token=None) -> Source:
    """Connect and log in -> Source.

    `account`: config.settings.FetchAccount; `passphrase`: in clear; `limit`: the most octets of a
    message; `token()`: an OAuth2 access token (str), for accounts with "auth": "oauth2". Raises
    source.FetchError: unknown host, no connection, certificate, LoginRefused.
    """
    if account.protocol in ("imap", "imaps"):
        from .imap_source import ImapSource
        return ImapSource(account, passphrase, limit, token)
    from .pop_source import PopSource
    return PopSource(account, passphrase, limit, token)
