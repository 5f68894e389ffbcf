"""Tokens on the disk: one file for each login, and the source of valid access tokens.

The server and `fetch login` may use a file at the same time, so whoever refreshes or writes holds
its lock, also while the provider answers: a refresh token that rotates can be used only once. The
new one is on the disk before its access token is used. If this process is killed in between, the
user must log in again; no client can prevent that.

The file (0600) is JSON; the tokens in it are obscured. It names the client and the token endpoint,
so that after a change of the configuration no token goes to another server.
"""
import json
import os
import threading
import time
from typing import NamedTuple

from ..disk import open_beneath
from ..disk.locks import FileLock, LockTimeout
from ..text.obscured import obscure, unobscure
from .errors import LoginNeeded, Temporary
from .token_requests import SECONDS, Tokens, is_token, login_command, refresh

_MOST = 128 * 1024  # octets of a file
_WAIT = 2 * SECONDS  # seconds for the lock, whose holder may be waiting for the provider


class _Owner(NamedTuple):
    """Whose the files are, as open_beneath.replace wants it."""
    st_uid: int
    st_gid: int
    st_mode: int = 0o600


class TokenFile:
    """The file of one config.settings.OAuth2. Write it only within `with file.locked():`."""

    def __init__(self, oauth2):
        self._oauth2 = oauth2
        self.path = oauth2.tokens

    def locked(self):
        """-> a context manager. Raises Temporary."""
        lock = self.path + ".lock"
        try:
            if not os.path.exists(lock):
                self._replace(lock, b"")
        except OSError as error:
            raise _cannot("write", lock, error)
        return _Locked(lock)

    def read(self):
        """-> Tokens, or None if there are none for this client and endpoint. Raises Temporary."""
        try:
            data, _ = open_beneath.read(self._oauth2.within, self.path, _MOST)
            values = json.loads(data.decode("utf-8"))
            if [values[key] for key in ("token-endpoint", "client-id")] != [
                    self._oauth2.token_endpoint, self._oauth2.client_id]:
                return None
            tokens = Tokens(unobscure(values["access"]), unobscure(values["refresh"]),
                            float(values["until"]))
            return tokens if is_token(tokens.access) else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _cannot("read", self.path, error)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None  # no file of ours: logging in replaces it

    def write(self, tokens):
        """Replace the tokens, durably and atomically. Raises Temporary; the old ones stay then."""
        values = {"account": self._oauth2.account, "token-endpoint": self._oauth2.token_endpoint,
                  "client-id": self._oauth2.client_id, "access": obscure(tokens.access),
                  "refresh": obscure(tokens.refresh), "until": int(tokens.until)}
        try:
            self._replace(self.path, json.dumps(values, indent=1).encode("ascii") + b"\n")
        except OSError as error:
            raise _cannot("write", self.path, error)

    def _replace(self, path, data):
        """Files belong to the owner of their folder, even if root writes them."""
        status = os.stat(os.path.dirname(path))
        open_beneath.replace(self._oauth2.within, path, data,
                             _Owner(status.st_uid, status.st_gid))


class _Locked:
    """The lock of a file of tokens, held by one thread of one process."""

    def __init__(self, path):
        self._lock = FileLock(path, _WAIT, create=False)

    def __enter__(self):
        try:
            self._lock.acquire()
        except LockTimeout:
            raise Temporary("another program is refreshing the token, and takes too long")
        except OSError as error:
            raise _cannot("lock", self._lock.path, error)

    def __exit__(self, *exception):
        self._lock.release()


def _cannot(what, path, error):
    return Temporary("cannot %s %s: %s" % (what, path, error.strerror or error))


class TokenSource:
    """Gives valid access tokens of one login: `source()` -> str. Any thread may call it.

    `oauth2`: config.settings.OAuth2. After the server refused a token, the caller says so with
    `refuse(token)` and may call the source once more: it then refreshes the token even if it has
    not expired. `source()` raises OAuthError (LoginNeeded, Temporary) within some two minutes.
    """

    def __init__(self, oauth2, refresh=refresh, clock=time.time):
        self._oauth2 = oauth2
        self._file = TokenFile(oauth2)
        self._refresh = refresh
        self._clock = clock
        self._lock = threading.Lock()  # guards the following
        self._tokens = None
        self._refused = None  # an access token
        self._unwritten = None  # (the refresh token that was used, the new Tokens)

    def __call__(self):
        with self._lock:
            if not self._is_good(self._tokens):
                self._tokens = None
                with self._file.locked():
                    self._tokens = self._renewed()
            return self._tokens.access

    def refuse(self, token):
        """Do not give this access token any more."""
        with self._lock:
            self._refused = token

    def _is_good(self, tokens):
        return (tokens is not None and tokens.access != self._refused
                and self._clock() < tokens.until)

    def _renewed(self):
        """Valid Tokens, of the file or refreshed. Called with the file's lock."""
        tokens = self._kept()
        if self._is_good(tokens):
            return tokens
        if tokens is None or not tokens.refresh:
            raise LoginNeeded("%s; log in: %s" % (
                "there are no tokens yet" if tokens is None
                else "the access token has expired, and the provider gave no refresh token",
                login_command(self._oauth2)))
        # If the disk is full, it should be noticed before the old refresh token is used up.
        self._file.write(tokens)
        fresh = self._refresh(self._oauth2, tokens.refresh)
        fresh = fresh._replace(refresh=fresh.refresh or tokens.refresh)
        self._unwritten = tokens.refresh, fresh
        self._file.write(fresh)
        self._unwritten = self._refused = None
        return fresh

    def _kept(self):
        """The Tokens of the file, after what could not be written before."""
        tokens = self._file.read()
        if self._unwritten is not None:
            used, fresh = self._unwritten
            if tokens is not None and tokens.refresh == used:
                self._file.write(fresh)
                tokens = fresh
            self._unwritten = None
        return tokens
