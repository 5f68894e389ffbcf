"""AUTH as a client: which mechanism, and what is answered to each challenge. Pure: no socket. RFC 4954 section 4, RFC 4616, RFC
2195.

Names and passwords are UTF-8; LOGIN has no RFC, only its habit: the server asks for the name, then for the password.
"""
import binascii

from .replies import Garbled

# In the order of preference: the one that does not show the password first.
MECHANISMS = ("CRAM-MD5", "PLAIN", "LOGIN")


def usable(offered):
    """The mechanisms (upper case) of `offered` that we speak, the best first."""
    return [mechanism for mechanism in MECHANISMS if mechanism in offered and (mechanism != "CRAM-MD5" or _has_md5())]


def _has_md5():
    """Some builds forbid MD5."""
    import hashlib
    try:
        hashlib.md5()
    except ValueError:
        return False
    return True


def dialogue(mechanism, username, password):
    """A generator of lines (bytes without line end): first the AUTH command; `send` it the text of each 334 for the next one.
    Ends where the mechanism has no more to say. Raises Garbled for a challenge that is none."""
    name, secret = username.encode("utf-8"), password.encode("utf-8")
    if mechanism == "PLAIN":
        yield b"AUTH PLAIN " + _base64(b"\0" + name + b"\0" + secret)
    elif mechanism == "LOGIN":
        yield b"AUTH LOGIN"
        yield _base64(name)
        yield _base64(secret)
    else:
        challenge = yield b"AUTH CRAM-MD5"
        yield _base64(name + b" " + _keyed_md5(secret, _challenge(challenge)))


def _keyed_md5(secret, challenge):
    import hmac
    return hmac.new(secret, challenge, "md5").hexdigest().encode("ascii")


def _challenge(text):
    try:
        return binascii.a2b_base64(text)
    except ValueError:
        raise Garbled("%r is no challenge" % text[:60])


def _base64(data):
    return binascii.b2a_base64(data, newline=False)
