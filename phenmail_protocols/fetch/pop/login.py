"""POP3: from the greeting to the transaction state.

RFC 1939 (USER, PASS), 2449 (CAPA), 2595 4 (STLS), 5034 (AUTH), 4616 (PLAIN), 7628 (OAUTHBEARER),
3206 (what a refusal means). No APOP: it would need MD5, and servers that have it also take PASS.
"""
from base64 import b64encode

from ...oauth import sasl
from ..source import FetchError, LoginRefused, Throttled
from .client import PopClient, Refused

_MOST_CAPABILITIES = 200  # lines
_LONGEST_DELAY = 86400.0  # seconds between logins that a server may ask for


def upgrade(wire, limit):
    """Ask for STLS on a new connection -> the greeting, to be read again after the handshake.

    None if the server has no STLS. See connecting.connect.
    """
    client = PopClient(wire, limit)
    greeting = _greeting(client)
    try:
        client.ask(b"STLS")
    except Refused:
        return None
    return b"+OK " + greeting + b"\r\n"


def log_in(client, account, passphrase, token=None):
    """Log in on a new connection that is as safe as it must be -> what `capabilities` returns.

    `token()`: an OAuth2 access token (str); without it the passphrase is used. Raises FetchError,
    such as LoginRefused and Throttled.
    """
    _greeting(client)
    offered = capabilities(client)
    access = secret = token() if token else passphrase
    for what, text in (("username", account.username), ("passphrase", secret)):
        if not text or any(char in text for char in "\0\1\r\n"):
            raise LoginRefused("the %s for %s is empty or has a control character" % (
                what, client.server))
    name, secret = account.username.encode("utf-8"), secret.encode("utf-8")
    client.secrets = (secret,)
    try:
        if token:
            _bearer(client, offered, account.username, access, account.port)
        else:
            _passphrase(client, offered, name, secret)
    except Refused as refused:
        raise _problem(refused, offered)
    client.secrets = ()
    return capabilities(client) or offered  # some are only shown after the login (RFC 2449 5)


def capabilities(client):
    """CAPA -> {name: arguments}, str in capitals; {} if the server does not know the command."""
    try:
        client.ask(b"CAPA", text=True)
    except Refused:
        return {}
    found = {}
    for line in client.lines(_MOST_CAPABILITIES):
        words = line.decode("ascii", "replace").upper().split()
        if words:
            found[words[0]] = tuple(words[1:])
    return found


def _greeting(client):
    """The greeting's text. Raises FetchError."""
    try:
        return client.greeting()
    except Refused as refused:
        raise _problem(refused, {"AUTH-RESP-CODE": ()})


def _passphrase(client, offered, name, secret):
    """AUTH PLAIN if the server has it, else USER and PASS."""
    if "PLAIN" in offered.get("SASL", ()):
        _begin(client, b"PLAIN")
        response = b64encode(b"\0" + name + b"\0" + secret)
        client.secrets += (response,)
        if client.answer(b"AUTH", response) is not None:
            raise client.failed("asks for more than AUTH PLAIN has")
        return
    if offered and "USER" not in offered:
        raise FetchError("%s takes no passphrase on this connection (its mechanisms: %s)" % (
            client.server, " ".join(offered.get("SASL", ())) or "none"))
    client.ask(b"USER " + name)
    client.ask(b"PASS " + secret)


def _bearer(client, offered, username, token, port):
    """OAUTHBEARER if the server has it, else XOAUTH2."""
    mechanism = sasl.mechanism(offered.get("SASL", ())) or "XOAUTH2"
    _begin(client, mechanism.encode("ascii"))
    response = b64encode(sasl.response(mechanism, username, token, client.server, port))
    client.secrets += (response,)
    if client.answer(b"AUTH", response) is None:
        return
    # The challenge says in JSON why the token is refused. An answer gets the -ERR.
    client.answer(b"AUTH", b64encode(sasl.LAST[mechanism]))
    raise client.failed("refused the token, and accepted it")


def _begin(client, mechanism):
    """Begin AUTH without initial response: a token has more than the 255 octets of a command."""
    if client.answer(b"AUTH", b"AUTH " + mechanism) is None:
        raise client.failed("answered +OK to AUTH without the passphrase")


def _problem(refused, offered):
    """What -ERR to a login means -> FetchError (RFC 2449 8.1, RFC 3206)."""
    kind, text = refused.code.partition("/")[0], str(refused)
    if kind == "LOGIN-DELAY":
        return Throttled(text, _delay(offered))
    if refused.code == "SYS/TEMP":
        return Throttled(text)
    if kind == "AUTH" or (kind not in ("SYS", "IN-USE") and "AUTH-RESP-CODE" not in offered):
        return LoginRefused(text)
    return FetchError(text)


def _delay(offered):
    """The seconds of the capability LOGIN-DELAY (RFC 2449 6.5), or None."""
    text = offered.get("LOGIN-DELAY", ("",))[:1]
    if text and text[0].isdigit():
        return min(float(text[0]), _LONGEST_DELAY)
    return None
