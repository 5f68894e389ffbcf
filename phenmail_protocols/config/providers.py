"""The large mail providers: their servers, and their OAuth2 endpoints and scopes. Only data.

`"provider": "google"` in the configuration selects a row. The client id always comes from the user,
who registers a client with the provider; that page is beside each row.
"""

from types import MappingProxyType
from typing import Mapping, NamedTuple, Tuple


class Provider(NamedTuple):
    """One provider.

    `imap`, `pop`, `smtp`: its servers, on ports 993, 995 and 587. `device`: the device
    authorization endpoint (RFC 8628), "" where mail cannot be had that way. `redirect`: the host of
    the redirection addresses that it accepts from programs, or "oob": it shows the code instead.
    `domains`: of addresses that are certainly its own. `parameters`: what it wants in the
    authorization request besides those of RFC 6749.
    """

    imap: str
    pop: str
    smtp: str
    authorization: str
    token: str
    device: str
    scope: str
    redirect: str
    domains: Tuple[str, ...]
    parameters: Tuple[Tuple[str, str], ...] = ()


PROVIDERS: Mapping[str, Provider] = MappingProxyType({
    # Endpoints and loopback redirect: developers.google.com/identity/protocols/oauth2/native-app.
    # Scope and servers: developers.google.com/gmail/imap/xoauth2-protocol, support.google.com/
    # mail/answer/7126229. The device flow has no scope for mail: developers.google.com/identity/
    # protocols/oauth2/limited-input-device#allowedscopes. Clients: console.cloud.google.com/auth
    # (type "Desktop app"; it has a secret that is none).
    "google": Provider(
        "imap.gmail.com", "pop.gmail.com", "smtp.gmail.com",
        "https://accounts.google.com/o/oauth2/v2/auth", "https://oauth2.googleapis.com/token", "",
        "https://mail.google.com/", "127.0.0.1", ("gmail.com", "googlemail.com"),
        # Without them a second login gives no refresh token.
        (("access_type", "offline"), ("prompt", "consent"))),
    # Endpoints: learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow and
    # v2-oauth2-device-code. Scopes: learn.microsoft.com/exchange/client-developer/
    # legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth. Servers:
    # support.microsoft.com, "POP, IMAP, and SMTP settings for Outlook.com". Clients:
    # entra.microsoft.com, App registrations (redirect "http://localhost", public client flows).
    "microsoft": Provider(
        "outlook.office365.com", "outlook.office365.com", "smtp.office365.com",
        "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
        "https://login.microsoftonline.com/common/oauth2/v2.0/token",
        "https://login.microsoftonline.com/common/oauth2/v2.0/devicecode",
        "https://outlook.office.com/IMAP.AccessAsUser.All "
        "https://outlook.office.com/POP.AccessAsUser.All "
        "https://outlook.office.com/SMTP.Send offline_access", "localhost",
        ("outlook.com", "hotmail.com", "live.com", "msn.com")),
    # Endpoints: developer.yahoo.com/oauth2/guide/flows_authcode. Servers and mechanism:
    # senders.yahooinc.com/developer/documentation. Clients: the same, "Request Developer Access";
    # AOL has the same service under its own names and wants clients of its own.
    "yahoo": Provider(
        "imap.mail.yahoo.com", "pop.mail.yahoo.com", "smtp.mail.yahoo.com",
        "https://api.login.yahoo.com/oauth2/request_auth",
        "https://api.login.yahoo.com/oauth2/get_token", "", "mail-w", "oob",
        ("yahoo.com", "ymail.com", "rocketmail.com")),
    "aol": Provider(
        "imap.aol.com", "pop.aol.com", "smtp.aol.com",
        "https://api.login.aol.com/oauth2/request_auth",
        "https://api.login.aol.com/oauth2/get_token", "", "mail-w", "oob", ("aol.com", "aim.com")),
    # Endpoints, scopes and clients: www.fastmail.com/for-developers/oauth. Servers:
    # www.fastmail.help, "Server names and ports".
    "fastmail": Provider(
        "imap.fastmail.com", "pop.fastmail.com", "smtp.fastmail.com",
        "https://api.fastmail.com/oauth/authorize", "https://api.fastmail.com/oauth/refresh", "",
        "https://www.fastmail.com/dev/protocol-imap https://www.fastmail.com/dev/protocol-pop "
        "https://www.fastmail.com/dev/protocol-smtp", "localhost", ("fastmail.com", "fastmail.fm")),
})


def provider_of(domain: str) -> str:
    """The name of the provider whose users have addresses in this domain, or ""."""
    return next((name for name, provider in PROVIDERS.items()
                 if domain.lower() in provider.domains), "")
