"""The device authorization grant: the user types a code on the provider's page (RFC 8628).

The page may be opened on any device, so this machine needs no browser.
"""
import time
from typing import NamedTuple

from .errors import OAuthError, Refused, Temporary, shown
from .token_requests import ask, seconds, tokens_of

_LONGEST = 3600.0  # seconds that the user has, at most
_INTERVAL, _LONGEST_INTERVAL = 5.0, 60.0  # seconds between two requests (3.2, 3.5)
_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_SENTENCES = {"access_denied": "you did not agree on the provider's page",
              "authorization_declined": "you did not agree on the provider's page",
              "expired_token": "the code has expired; run the command again"}


class Device(NamedTuple):
    """A begun login. `address`: of the page, `user_code`: to type there, both printable;
    `seconds`: the user has; `interval`: seconds between two requests; `code`: the device code."""
    address: str
    user_code: str
    seconds: float
    interval: float
    code: str


def begin(oauth2, context=None):
    """Ask for a code (3.1, 3.2) -> Device. Raises OAuthError."""
    try:
        values = ask(oauth2, oauth2.device_endpoint,
                     {"scope": oauth2.scope} if oauth2.scope else {}, context)
    except Refused as refused:
        raise OAuthError("the provider gives no device code: %s" % refused)
    # Before the RFC the address had another name.
    address = values.get("verification_uri") or values.get("verification_url")
    code, user_code = values.get("device_code"), values.get("user_code")
    if not all(isinstance(text, str) and 0 < len(text) <= 16384
               for text in (address, code, user_code)):
        raise Temporary("the provider gave no code")
    return Device(shown(address, 2000), shown(user_code, 100),
                  seconds(values.get("expires_in"), 600.0, 1.0, _LONGEST),
                  seconds(values.get("interval"), _INTERVAL, 1.0, _LONGEST_INTERVAL), code)


def wait(oauth2, device, context=None, sleep=time.sleep, clock=time.monotonic, now=time.time):
    """Ask until the user has agreed (3.4, 3.5) -> Tokens.

    Raises OAuthError: the user refused, or too late; the provider wants something else.
    """
    end, interval = clock() + device.seconds, device.interval
    problem = "the code has expired"
    while clock() + interval < end:
        sleep(interval)
        try:
            values = ask(oauth2, oauth2.token_endpoint,
                         {"grant_type": _GRANT, "device_code": device.code}, context)
            return tokens_of(oauth2, values, now())
        except Temporary as error:
            # 3.5: wait longer after a failure.
            problem, interval = str(error), min(2 * interval, _LONGEST_INTERVAL)
        except Refused as refused:
            if refused.code == "slow_down":
                interval = min(interval + 5, _LONGEST_INTERVAL)
            elif refused.code != "authorization_pending":
                raise OAuthError(_SENTENCES.get(refused.code)
                                 or "the provider refuses: %s" % refused)
            problem = "the code has expired"
    raise OAuthError("%s; run the command again" % problem)
