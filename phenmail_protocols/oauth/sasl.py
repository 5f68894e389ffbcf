"""SASL client responses with an access token: OAUTHBEARER (RFC 7628) and its forerunner XOAUTH2.

The client sends one response. A server that refuses the token answers with a challenge (JSON, see
`reason`), to which the client sends `LAST`; only then the server says that the login failed. Pure.
"""
import json

from .errors import shown

# The standard's first. Some providers know only the other one.
MECHANISMS = ("OAUTHBEARER", "XOAUTH2")
# The response to the challenge after a refused token (RFC 7628 3.2.3).
LAST = {"OAUTHBEARER": b"\x01", "XOAUTH2": b""}


def mechanism(offered):
    """The one of MECHANISMS to use, or None; `offered`: names in upper case."""
    return next((name for name in MECHANISMS if name in offered), None)


def response(name, user, token, host, port):
    """The client response of the mechanism `name`, before base64 (bytes).

    `user`: the login name; `host`, `port`: the server that the client connected to. Raises
    ValueError if the user's name has a control character.
    """
    if any(c < " " or c == "\x7f" for c in user + token):
        raise ValueError("the user name or the access token has a control character")
    if name == "XOAUTH2":
        text = "user=%s\x01auth=Bearer %s\x01\x01" % (user, token)
    else:
        # The GS2 header (RFC 7628 3.1, RFC 5801 4): no channel binding, and who we act for.
        text = "n,a=%s,\x01host=%s\x01port=%d\x01auth=Bearer %s\x01\x01" % (
            user.replace("=", "=3D").replace(",", "=2C"), host, port, token)
    return text.encode("utf-8")


def reason(challenge):
    """What the challenge (bytes, decoded) after a refused token says: a short text, "" if nothing.
    """
    try:
        values = json.loads(challenge[:4096].decode("utf-8"))
        return shown(values.get("status", ""), 40)
    except (ValueError, AttributeError, RecursionError):
        return ""
