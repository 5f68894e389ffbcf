"""Requests to a provider's endpoints (RFC 6749 3.2, 4.1.3, 5 and 6).

Each is one POST with JSON as answer, over verified TLS unless the endpoint is on this machine,
bounded in time and size.
"""
import json
import re
import socket
import time
from typing import NamedTuple

from ..net import http_exchange, tlsclient
from ..text import web_address
from .errors import LoginNeeded, OAuthError, Refused, Temporary, shown

SECONDS = 30.0  # for one request, all in all
MOST = 64 * 1024  # octets of an answer
_ADDRESSES = 6  # of an endpoint, that are tried
_LIFETIME = 3600.0  # seconds of an access token, where the provider does not say (RFC 6749 5.1)
_LONGEST = 10 * 365 * 86400.0
_EARLY = 300.0  # seconds before its end that an access token is renewed
_TOKEN = re.compile(r"[!-~]{1,16384}\Z")
# Errors to a refresh that only the user can end. The latter three are OpenID Connect's.
_LOGIN = ("invalid_grant", "access_denied", "interaction_required", "consent_required",
          "login_required")
# Fields of requests that no text may repeat.
_SECRET = ("refresh_token", "client_secret", "code", "code_verifier", "device_code")
_CLIENT = ("invalid_client", "unauthorized_client")


class Tokens(NamedTuple):
    """`refresh`: "" if the provider gave none; `until`: the epoch seconds from which on the access
    token is renewed, shortly before it expires."""
    access: str
    refresh: str
    until: float

    def __repr__(self):
        return "Tokens(until=%r)" % self.until


def is_token(text):
    """Whether it can be a token (RFC 6749 A.12, without spaces)."""
    return isinstance(text, str) and bool(_TOKEN.match(text))


def login_command(oauth2):
    """What the user types to log in."""
    name = oauth2.account
    return "phenmail fetch login %s" % (
        name if re.match(r"[A-Za-z0-9@._+/-]+\Z", name) else "'%s'" % name.replace("'", "'\\''"))


def refresh(oauth2, token, now=time.time, context=None):
    """Use a refresh token (RFC 6749 6) -> Tokens, whose refresh token is "" if the old one stays.

    Raises LoginNeeded if the provider does not accept it any more, Temporary, OAuthError.
    """
    fields = {"grant_type": "refresh_token", "refresh_token": token}
    try:
        return tokens_of(oauth2, ask(oauth2, oauth2.token_endpoint, fields, context), now())
    except Refused as refused:
        if refused.code in _LOGIN:
            raise LoginNeeded("the provider does not accept the login any more (%s); log in again: "
                              "%s" % (refused, login_command(oauth2)))
        if refused.code in _CLIENT:
            raise OAuthError("the provider does not accept this client (%s); check client-id and "
                             "client-secret" % refused)
        raise Temporary("the provider refuses to refresh the token: %s" % refused)


def tokens_of(oauth2, values, now):
    """The Tokens in an access token response (RFC 6749 5.1). Raises Temporary.

    `values`: the JSON object; `now`: epoch seconds.
    """
    access, again = values.get("access_token"), values.get("refresh_token", "")
    kind = values.get("token_type", "Bearer")
    if not (is_token(access) and isinstance(kind, str) and kind.lower() == "bearer"
            and (again in ("", None) or is_token(again))):
        raise _nonsense(oauth2.token_endpoint, "no usable token")
    lifetime = seconds(values.get("expires_in"), _LIFETIME, 1, _LONGEST)
    return Tokens(access, again or "", now + max(lifetime - _EARLY, lifetime / 2))


def seconds(value, default, least, most):
    """A number of seconds from JSON, also as text; `default` if it is none; within the bounds."""
    if isinstance(value, str) and re.match(r"[0-9]{1,10}\Z", value):
        value = int(value)
    # NaN is unequal to itself.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        return default
    return float(min(max(value, least), most))


def ask(oauth2, endpoint, fields, context=None):
    """POST `fields` (dict) and the client's own -> the JSON object of a successful answer (dict).

    Raises Refused: the provider says why not; Temporary: no connection, no JSON, its failure.
    """
    fields = dict(fields, client_id=oauth2.client_id)
    if oauth2.client_secret:
        fields["client_secret"] = oauth2.client_secret  # RFC 6749 2.3.1
    response = _post(endpoint, fields, context)
    try:
        values = json.loads(response.body.decode("utf-8"))
    except (ValueError, RecursionError):
        values = None
    code = values.get("error") if isinstance(values, dict) else None
    if response.status == 200 and isinstance(values, dict) and not code:
        return values
    # Some answer 200 with an error in it.
    if isinstance(code, str) and 200 <= response.status < 500 and response.status != 429:
        description = values.get("error_description")
        words = shown(code, 60) + (
            ": " + shown(description) if isinstance(description, str) and description else "")
        secrets = [fields[name] for name in _SECRET if fields.get(name)]
        if any(secret in "%s %s" % (code, description) for secret in secrets):
            words = "its words repeat a secret"
        raise Refused(code, words)
    raise _nonsense(endpoint, "status %d" % response.status if response.status != 200
                    else "no JSON object" if response.has_length else "it has no length")


def _nonsense(endpoint, what):
    return Temporary("%s gave an answer without a result: %s" % (
        web_address.parse(endpoint).authority, what))


def _post(endpoint, fields, context):
    """-> http_exchange.Response; `context`: ssl.SSLContext, None verifies. Raises Temporary."""
    from urllib.parse import urlencode
    address = web_address.parse(endpoint)
    left = http_exchange.countdown(SECONDS)
    try:
        ips = [found[4][0] for found in socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM)][:_ADDRESSES]
        sock = http_exchange.connect(ips, address.port, left)
        if address.scheme == "https":
            sock = http_exchange.secure(
                sock, context or tlsclient.client_context(True), address.host, left)
        try:
            return http_exchange.exchange(
                sock, left, address.authority, "POST", address.target,
                {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
                urlencode(fields).encode("ascii"), MOST)
        finally:
            sock.close()
    except (OSError, ValueError) as error:
        # An OSError's own text has its number, too.
        raise Temporary("cannot get a token from %s: %s" % (address.authority, shown(
            getattr(error, "strerror", None) or str(error) or type(error).__name__)))
