"""The authorization code grant with PKCE (RFC 6749 4.1, RFC 7636), for programs (RFC 8252).

The user's browser ends at an address with the code. Either that is a port of this machine, where
`wait` listens, or the user copies the address and pastes it, if the browser runs elsewhere.
"""
import base64
import hashlib
import os
import re
import socket
import time
from typing import NamedTuple

from ..net.readiness import Readiness
from .errors import OAuthError, Refused, shown
from .token_requests import ask, tokens_of

SECONDS = 600.0  # the user has, from the beginning
_REQUEST = 2.0  # seconds of one browser's request; browsers also open connections that say nothing
_MOST = 16 * 1024  # octets of a request, and of a pasted line
_CONNECTIONS = 100  # at most, of browsers or whoever
_HEAD = ("HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
         "Cache-Control: no-store\r\nConnection: close\r\n\r\n")


class WrongAddress(ValueError):
    """An address that is not the end of this login; str() says why."""


class Login(NamedTuple):
    """A begun login. `address`: the page to open; `redirect`: where the browser ends, or "oob";
    `state` (RFC 6749 10.12) and `verifier` (RFC 7636 4.1) belong only to it."""
    address: str
    redirect: str
    state: str
    verifier: str

    def __repr__(self):
        return "Login(%r)" % self.redirect


def listen(oauth2):
    """A listening socket for the browser, or None if the provider shows the code instead (oob).

    Raises OSError.
    """
    if oauth2.redirect == "oob":
        return None
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.bind(("127.0.0.1", 0))
        listening.listen(10)
        return listening
    except OSError:
        listening.close()
        raise


def begin(oauth2, listening=None):
    """-> Login. `listening`: the socket of `listen`."""
    from urllib.parse import urlencode
    redirect = "oob"
    if listening is not None:
        redirect = "http://%s:%d/" % (oauth2.redirect, listening.getsockname()[1])
    state, verifier = _random(24), _random(48)
    challenge = _base64(hashlib.sha256(verifier.encode("ascii")).digest())
    fields = [("response_type", "code"), ("client_id", oauth2.client_id),
              ("redirect_uri", redirect), ("scope", oauth2.scope), ("state", state),
              ("code_challenge", challenge), ("code_challenge_method", "S256")]
    fields.extend(oauth2.parameters)
    endpoint = oauth2.authorization_endpoint
    return Login(endpoint + ("&" if "?" in endpoint else "?") + urlencode(
        [(name, value) for name, value in fields if value]), redirect, state, verifier)


def _random(octets):
    return _base64(os.urandom(octets))


def _base64(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def code_of(login, address):
    """The code in the address at which the browser ended (RFC 6749 4.1.2).

    `address`: text, whole or from its path on; for "oob" the code alone. Raises WrongAddress: it
    has no code, or is of another login; OAuthError: the provider refuses (4.1.2.1).
    """
    from urllib.parse import parse_qsl
    query = address.strip().partition("#")[0].partition("?")[2]
    if not query and login.redirect == "oob" and re.match(r"[!-~]{1,4096}\Z", address.strip()):
        return address.strip()
    values = dict(parse_qsl(query, keep_blank_values=True)[:50])
    if not ("code" in values or "error" in values):
        raise WrongAddress("there is no code in it")
    if values.get("state") != login.state:
        raise WrongAddress("it belongs to another login")
    if values.get("error"):
        raise OAuthError("the provider refuses: %s" % shown(" ".join(
            filter(None, (values["error"], values.get("error_description"))))))
    if not re.match(r"[!-~]{1,8192}\Z", values.get("code", "")):
        raise WrongAddress("there is no code in it")
    return values["code"]


def tokens(oauth2, login, code, context=None, now=time.time):
    """Exchange the code (RFC 6749 4.1.3) -> Tokens. Raises OAuthError."""
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": login.redirect,
              "code_verifier": login.verifier}
    try:
        return tokens_of(oauth2, ask(oauth2, oauth2.token_endpoint, fields, context), now())
    except Refused as refused:
        raise OAuthError("the provider refuses the login: %s" % refused)


def wait(login, listening=None, typed=None, say=print, seconds=SECONDS):
    """Wait until the browser or a pasted address brings the code -> the code.

    `listening`: the socket of `listen`, or None; `typed`: the descriptor from which lines are read,
    or None; `say(text)`: tells the user what is wrong with a line. Raises OAuthError: refused, too
    late, or nothing more to wait for.
    """
    end = time.monotonic() + seconds
    line, left = b"", _CONNECTIONS
    while listening is not None or typed is not None:
        waiting = [] if listening is None else [listening.fileno()]
        ready = [number for number, _ in Readiness(
            waiting + ([] if typed is None else [typed])).wait(max(0.0, end - time.monotonic()))]
        if not ready and time.monotonic() >= end:
            raise OAuthError("nothing came back within %d minutes; run the command again"
                             % (seconds // 60))
        if typed in ready:
            piece = _read(typed)
            *lines, line = (line + piece).split(b"\n")
            # A last line need not have an end.
            if not piece:
                lines, line, typed = [line], b"", None
            for each in filter(None, map(bytes.strip, lines)):
                try:
                    return code_of(login, each[:_MOST].decode("utf-8", "replace"))
                except WrongAddress as wrong:
                    say("This is not the address: %s." % wrong)
            line = line[:_MOST]
        elif ready:
            left -= 1
            code = _serve(login, listening)
            if code is not None:
                return code
            if not left:
                raise OAuthError("too many connections to the redirection address")
    raise OAuthError("no address was pasted")


def _read(descriptor):
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""


def _serve(login, listening):
    """Answer one connection -> the code, or None if it brought none. Raises OAuthError."""
    try:
        sock, _ = listening.accept()
    except OSError:
        return None
    try:
        target = _target(sock)
        if target is None:
            return None
        try:
            code = code_of(login, target)
        except WrongAddress as wrong:
            _answer(sock, "404 Not Found", "This is not the end of the login: %s." % wrong)
            return None
        except OAuthError as refused:
            _answer(sock, "200 OK", "The login failed: %s." % refused)
            raise
        _answer(sock, "200 OK", "You have agreed. Close this page and look at the terminal.")
        return code
    finally:
        sock.close()


def _target(sock):
    """The target of a GET request, or None."""
    end = time.monotonic() + _REQUEST
    data = b""
    try:
        while b"\r\n\r\n" not in data and len(data) < _MOST:
            sock.settimeout(max(0.01, end - time.monotonic()))
            piece = sock.recv(4096)
            if not piece or time.monotonic() > end:
                return None
            data += piece
    except OSError:
        return None
    found = re.match(rb"GET (/[!-~]*) HTTP/1\.[01]\r\n", data)
    return found.group(1).decode("ascii") if found else None


def _answer(sock, status, text):
    try:
        sock.settimeout(_REQUEST)
        octets = text.encode("utf-8") + b"\n"
        sock.sendall((_HEAD % (status, len(octets))).encode("ascii") + octets)
    except OSError:
        pass  # the browser has gone; what it brought counts
