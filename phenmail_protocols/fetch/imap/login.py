"""Logging in to an IMAP server: with a passphrase or an OAuth2 token.

SASL PLAIN (RFC 4616), LOGIN (RFC 3501 6.2.3), OAUTHBEARER (RFC 7628), XOAUTH2; with the initial
response in the command where the server takes that (SASL-IR, RFC 4959).
"""
import binascii

from ...oauth import sasl
from ..source import LoginRefused
from .client import LITERAL, Refused


def log_in(client, account, passphrase, token):
    """Log in, unless the server already did that (PREAUTH). Raises LoginRefused, FetchError."""
    if client.imap.state != "AUTH":
        try:
            if token is not None:
                _with_token(client, account, token)
            else:
                _with_passphrase(client, account.username, passphrase)
        except Refused as error:
            raise LoginRefused("%s refused the login of %s: %s" % (
                client.server, account.username, error.text or "without a reason"))
        client.imap.state = "AUTH"
    client.secrets = ()
    client.ask_capabilities()
    if "ID" in client.capabilities:
        _name_us(client)


def _name_us(client):
    """ID (RFC 2971): some providers open no mailbox for clients that do not name themselves."""
    try:
        # imaplib's xatom would change what other users of imaplib in this process may send.
        tag = client.begin(b'ID ("name" "phenmail")')
        while client.next_line(tag, "ID")[0] != "OK":
            pass
    except Refused:
        pass


def _with_passphrase(client, username, passphrase):
    if any(c in username + passphrase for c in "\r\n\0"):
        raise LoginRefused("the name or passphrase for %s has a line end or NUL" % client.server)
    client.secrets = (passphrase.encode("utf-8"), _quoted(passphrase)[1:-1])
    if "AUTH=PLAIN" in client.capabilities:
        _authenticate(client, "PLAIN", ("\0%s\0%s" % (username, passphrase)).encode("utf-8"))
        return
    if "LOGINDISABLED" in client.capabilities:
        raise LoginRefused("%s accepts no passphrase%s" % (
            client.server, "" if client.wire.secure else ' without TLS: write "starttls": true'))
    tag = client.begin(b"LOGIN %s %s" % (_quoted(username), _quoted(passphrase)))
    while client.next_line(tag, "the login")[0] != "OK":
        pass


def _quoted(text):
    return b'"%s"' % text.replace("\\", "\\\\").replace('"', '\\"').encode("utf-8")


def _with_token(client, account, token):
    mechanism = sasl.mechanism([name[5:] for name in client.capabilities
                                if name.startswith("AUTH=")])
    if mechanism is None:
        raise LoginRefused("%s offers no login with OAuth2" % client.server)
    try:
        access = token()
        client.secrets = (access.encode("utf-8"),)
        response = sasl.response(mechanism, account.username, access, account.server, account.port)
    except ValueError as error:
        raise LoginRefused("cannot log in to %s: %s" % (client.server, error))
    _authenticate(client, mechanism, response, sasl.LAST[mechanism])


def _authenticate(client, mechanism, response, answer=b"*"):
    """One AUTHENTICATE. `answer`: to a challenge after `response`, which says why it failed.

    Raises Refused, with the words of that challenge.
    """
    encoded = _base64(response)
    client.secrets += (encoded,)
    command, waiting = b"AUTHENTICATE " + mechanism.encode("ascii"), True
    if "SASL-IR" in client.capabilities:
        command, waiting = command + b" " + encoded, False
    why = ""
    tag = client.begin(command)
    while True:
        try:
            kind, text = client.next_line(tag, "the login")
        except Refused as error:
            if why:
                raise Refused(client.server, "the login", why + "; " + error.text, error.is_bad)
            raise
        if kind == "OK":
            return
        if kind == "+" and waiting:
            client.imap.send(encoded + b"\r\n")
            waiting = False
        elif kind == "+":
            why = _challenge(client, text)
            client.imap.send((answer if answer == b"*" else _base64(answer)) + b"\r\n")


def _base64(octets):
    return binascii.b2a_base64(octets, newline=False)


def _challenge(client, text):
    """The words of a challenge: mostly JSON (RFC 7628 3.2.2)."""
    try:
        return client.shown(binascii.a2b_base64(text[:LITERAL]))
    except ValueError:
        return client.shown(text)
