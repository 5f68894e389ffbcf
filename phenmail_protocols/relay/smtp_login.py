"""AUTH: logging in to another server, with a password or an access token (RFC 4954).

CRAM-MD5 (RFC 2195), PLAIN (RFC 4616), LOGIN, which has no RFC; for access tokens OAUTHBEARER and
XOAUTH2 (`oauth.sasl`). smtplib's own login takes only ASCII passwords.
"""
import binascii
from typing import NamedTuple, Tuple

from ..mail.reply import Reply
from ..net.address import is_loopback
from ..oauth import sasl
from ..oauth.errors import OAuthError, Temporary
from ..queue.model import Unreachable
from .smtp_replies import reply_of
from .smtp_wire import Lost, temporary

# In order of preference: the one that does not reveal the password comes first.
_MECHANISMS = ("CRAM-MD5", "PLAIN", "LOGIN")
_LONGEST_COMMAND = 510  # octets before the line end (RFC 5321 4.5.3.1.4)


class UpstreamLoginFailed(Unreachable):
    """The server refuses our user name and password: an administrator must check the settings."""


class NoToken(UpstreamLoginFailed):
    """There is no access token at the moment; a later attempt may get one."""


class Server(NamedTuple):
    """The other side. `peer`: names it in texts; `mechanisms`: names in upper case."""
    host_name: str
    ip: str
    port: int
    peer: str
    is_secure: bool
    mechanisms: Tuple[str, ...]


def log_in(ask, server, login, token=None):
    """Log in to a Server; returns once it has agreed.

    `ask(line)`: sends a line (bytes without line end) -> smtp_replies.RawReply; raises Lost.
    `login`: (user name, password) in clear text; `token`: oauth.token_store.TokenSource, used
    instead of the password, but never without TLS, except on this machine.

    Raises Unreachable (Lost, UpstreamLoginFailed, NoToken), always 4xx: a wrong password must not
    bounce mail.
    """
    if token is None:
        answer = _with_password(ask, server, login)
    else:
        answer = _with_token(ask, server, login[0], token)
    if answer.code != 235:
        reply = reply_of(answer, server.host_name)
        raise UpstreamLoginFailed(Reply(454, "4.7.0", "%s refuses the login as %s: %d %s %s" % (
            server.peer, login[0], reply.code, reply.enhanced, reply.text), server.host_name))


def _with_password(ask, server, login):
    """Try each mechanism that both sides know, until one succeeds -> the last RawReply."""
    mechanisms = [name for name in _MECHANISMS if name in server.mechanisms
                  and (name != "CRAM-MD5" or _has_md5())]
    _require(mechanisms, server, "")
    for mechanism in mechanisms:
        answer = _authenticate(ask, server, mechanism, _responses(mechanism, *login))
        if answer.code < 500:
            break  # success; or temporary, then another mechanism would meet the same trouble
    return answer


def _with_token(ask, server, username, token):
    """Use an access token, and a fresh one if the server refuses it -> the last RawReply."""
    mechanism = sasl.mechanism(server.mechanisms)
    _require(mechanism, server, " for OAuth2")
    if not server.is_secure and not is_loopback(server.ip):
        raise UpstreamLoginFailed(temporary(
            "4.7.0", "%s has no TLS, without which no access token is sent" % server.peer))
    for _ in range(2):
        try:
            access = token()
        except OAuthError as error:
            kind = NoToken if isinstance(error, Temporary) else UpstreamLoginFailed
            raise kind(temporary("4.7.0", "cannot log in to %s: %s" % (server.peer, error)))
        answer = _authenticate(ask, server, mechanism,
                               _token_responses(mechanism, username, access, server))
        if answer.code < 500:
            break
        token.refuse(access)
    return answer


def _require(found, server, purpose):
    if not found:
        raise UpstreamLoginFailed(temporary(
            "4.7.0", "%s offers no known login mechanism%s (offered: %s)" % (
                server.peer, purpose, " ".join(server.mechanisms) or "none")))


def _authenticate(ask, server, mechanism, responses):
    """One exchange -> the RawReply that ended it, except 421. Raises Unreachable.

    `responses`: a generator as of `_responses`.
    """
    line = next(responses)
    try:
        while True:
            answer = ask(line)
            if answer.code == 421:
                raise Unreachable(reply_of(answer, server.host_name))
            if answer.code != 334:
                return answer
            line = responses.send(answer.lines[-1])
    except (StopIteration, ValueError) as error:
        raise Lost(temporary("4.7.0", "unexpected %s challenge from %s: %s" % (
            mechanism, server.peer, str(error) or "one challenge too many")))


def _has_md5():
    """Some builds of Python forbid MD5."""
    import hashlib
    try:
        hashlib.md5()
    except ValueError:
        return False
    return True


def _responses(mechanism, username, password):
    """A generator of lines (bytes without line end), the AUTH command first.

    `send` it the text of each 334 to get the next line. It ends when the mechanism has nothing
    more to send. Raises ValueError for an invalid challenge. With LOGIN the server asks for the
    name, then for the password.
    """
    name, secret = username.encode("utf-8"), password.encode("utf-8")
    if mechanism == "PLAIN":
        yield b"AUTH PLAIN " + _base64(b"\0" + name + b"\0" + secret)
    elif mechanism == "LOGIN":
        yield b"AUTH LOGIN"
        yield _base64(name)
        yield _base64(secret)
    else:
        import hmac
        challenge = yield b"AUTH CRAM-MD5"
        digest = hmac.new(secret, binascii.a2b_base64(challenge), "md5").hexdigest()
        yield _base64(name + b" " + digest.encode("ascii"))


def _token_responses(mechanism, username, token, server):
    """As `_responses`, with an access token."""
    response = _base64(sasl.response(mechanism, username, token, server.host_name, server.port))
    command = b"AUTH " + mechanism.encode("ascii")
    # A longer response must not be in the command's line (RFC 4954 4).
    if len(command) + 1 + len(response) <= _LONGEST_COMMAND:
        yield command + b" " + response
    else:
        yield command
        yield response
    yield _base64(sasl.LAST[mechanism])


def _base64(data):
    return binascii.b2a_base64(data, newline=False)
