"""The options for OAuth2, which "hosted" and fetched accounts share, and what follows from them.

    "auth": "oauth2", "provider": "google", "client-id": "…"
    "auth": "oauth2", "provider": {"token-endpoint": "https://…", "client-id": "…", …}
"""

import hashlib
import os
from typing import Any, Optional

from ..net.address import is_loopback
from ..text import web_address
from ..text.obscured import unobscure
from .addresses import is_ip_address
from .checks import Choice, Kind, OneOfForms, Option, Reader, Section, Text
from .problems import Path, shown
from .providers import PROVIDERS
from .settings import Hosted, OAuth2

HOSTED = "hosted"  # the name of the smarthost's login for "fetch login"


class Endpoint(Kind):
    """A web address to which secrets are sent: with TLS, unless this machine has it."""

    expected = 'an address that starts with "https://"'

    def clean(self, value: Any) -> Optional[str]:
        try:
            address = web_address.parse(value) if isinstance(value, str) else None
        except ValueError:
            return None
        if address is None or address.scheme != "https" and not _is_here(address.host):
            return None
        return value


def _is_here(host: str) -> bool:
    # is_loopback alone would take the name 127.example.com for an address.
    return host == "localhost" or is_ip_address(host) and is_loopback(host)


def _check_provider(reader: Reader, path: Path, provider: OAuth2) -> None:
    if not any(key in reader.written(path) for key in ("authorization-endpoint",
                                                       "device-endpoint")):
        reader.problem(path, 'an "authorization-endpoint" or a "device-endpoint"')


def check_missing(reader: Reader, path: Path, key: str, help: str, provider: Any = None) -> None:
    """Report a required key that is missing; a named `provider` makes it needless."""
    if key not in reader.written(path) and not isinstance(provider, str):
        reader.problem(path, "", hint="missing %s: %s" % (shown(key), help))


def check_oauth2(reader: Reader, path: Path, login: Any) -> None:
    """Whether the OPTIONS of OAUTH2 fit together; `login`: Hosted or FetchAccount."""
    if login.auth != "oauth2":
        for key in ("provider", "client-id", "client-secret"):
            if key in reader.written(path):
                reader.problem(path + (key,), '"auth": "oauth2" beside it', key=True)
    elif login.provider is None:
        check_missing(reader, path, "provider", PROVIDER_FORMS)
    elif isinstance(login.provider, str):
        if not login.client_id:
            check_missing(reader, path, "client-id", "register one with the provider")
    elif login.client_id or login.client_secret:
        reader.problem(path + ("provider",), '"client-id" and "client-secret" in it, not beside it',
                       key=True)


ENDPOINT = Endpoint()
PROVIDER_FORMS = "%s, or an object with its endpoints" % ", ".join(map('"{}"'.format, PROVIDERS))
PROVIDER = Section(
    Option("token-endpoint", ENDPOINT, "", "gives and refreshes tokens", required=True),
    Option("authorization-endpoint", ENDPOINT, None, "the page where users agree"),
    Option("device-endpoint", ENDPOINT, None, "gives codes to programs without a browser"),
    Option("client-id", Text(), "", "what the provider calls this program", required=True),
    Option("client-secret", Text(), None, "if the provider wants one", secret=True),
    Option("scope", Text(), "", "what the tokens are for"),
    Option("redirect", Choice("127.0.0.1", "localhost", "oob"), "127.0.0.1",
           "where the browser goes afterwards, as registered; oob: it shows a code"),
    gives=OAuth2, check=_check_provider)
OAUTH2 = (
    Option("auth", Choice("password", "oauth2"), "password", "how to log in"),
    Option("provider", OneOfForms(PROVIDER_FORMS, {str: Choice(*PROVIDERS), dict: PROVIDER}), None,
           "of OAuth2 tokens"),
    Option("client-id", Text(), None, "what a named provider calls this program"),
    Option("client-secret", Text(), None, "if a named provider wants one", secret=True))


# What follows


def usual_server(provider: Any, protocol: str) -> str:
    """The server of a named provider for imap(s), pop(s) or smtp; "" for other providers."""
    return getattr(PROVIDERS[provider], protocol.rstrip("s")) if isinstance(provider, str) else ""


def hosted(clean: Hosted, system: str) -> Hosted:
    """The settings of the smarthost; its tokens lie in `system`, the server's folder."""
    return clean._replace(server=clean.server or usual_server(clean.provider, "smtp"),
                          provider=settings(clean, HOSTED, os.path.realpath(system)))


def settings(login: Any, account: str, within: str, folder: Optional[str] = None
             ) -> Optional[OAuth2]:
    """The OAuth2 of a Hosted or FetchAccount, or None.

    In: `account`: its name; `folder`: of the file of its tokens, by default `within`, see OAuth2.
    """
    if login.auth != "oauth2" or login.provider is None:
        return None
    provider = login.provider
    if isinstance(provider, str):
        preset = PROVIDERS[provider]
        provider = OAuth2(preset.token, login.client_id or "", login.client_secret, preset.scope,
                          preset.authorization, preset.device or None, preset.redirect,
                          preset.parameters)
    # The name of an account may have any characters.
    name = hashlib.sha256(account.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    secret = provider.client_secret
    return provider._replace(client_secret=unobscure(secret) if secret else None,
                             account=account, within=within,
                             tokens=os.path.join(folder or within, "oauth2-tokens-" + name))
