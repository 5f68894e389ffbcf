"""Finds the IMAP server of a mail address: known providers, the DNS (RFC 6186), usual names."""
import socket

from ...config.providers import PROVIDERS, provider_of
from ...net import resolver
from ...text.domains import AddressError, ascii_domain

_SECONDS = 5.0  # for one server
_PORT = 993


def server_of(domain, ask=None, answers=None):
    """The name of the IMAP server (with TLS) for addresses of a domain, and its port; ("", 0) if
    none is found.

    `ask(name, kind)`: resolver.Lookup.ask, None asks the system's DNS servers; `answers(server,
    port)`: whether a server answers there, None tries.
    """
    provider = provider_of(domain)
    if provider:
        return PROVIDERS[provider].imap, _PORT
    try:
        domain = ascii_domain(domain)
    except AddressError:
        return "", 0
    answers = answers or _answers
    for server, port in list(_announced(domain, ask)) + [
            ("imap." + domain, _PORT), ("mail." + domain, _PORT), (domain, _PORT)]:
        if answers(server, port):
            return server, port
    return "", 0


def _announced(domain, ask):
    """What SRV records of _imaps._tcp say (RFC 6186 3.2), best first."""
    try:
        answer = (ask or resolver.Lookup().ask)("_imaps._tcp.%s." % domain, "SRV")
    except resolver.Unanswered:
        return
    found = []
    for record in answer.records:
        words = record.split() if isinstance(record, str) else []
        if len(words) == 4 and all(word.isdigit() for word in words[:3]) and words[3] != ".":
            found.append((int(words[0]), -int(words[1]), words[3].rstrip("."), int(words[2])))
    for _, _, server, port in sorted(found)[:3]:
        yield server, port


def _answers(server, port):
    try:
        socket.create_connection((server, port), _SECONDS).close()
        return True
    except (OSError, ValueError, OverflowError):
        return False
