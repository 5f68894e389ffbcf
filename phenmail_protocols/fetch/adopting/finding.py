"""Finds the IMAP server of a mail address: known providers, the DNS (RFC 6186), usual names."""
import socket
import threading
import time

from ...config.providers import PROVIDERS, provider_of
from ...config.settings import Resolver
from ...net import resolver
from ...text.domains import AddressError, ascii_domain

_SECONDS = 6.0  # for all places, and for the DNS
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
    places = list(_announced(domain, ask)) + [
        ("imap." + domain, _PORT), ("mail." + domain, _PORT), (domain, _PORT)]
    return next(_answering(places, answers or _answers), ("", 0))


def _answering(places, answers):
    """Those of `places` that answer within _SECONDS together, in their order."""
    found = [threading.Event() for _ in places]
    done = [threading.Event() for _ in places]

    def look(number):
        if answers(*places[number]):
            found[number].set()
        done[number].set()

    for number in range(len(places)):
        threading.Thread(target=look, args=(number,), daemon=True).start()
    end = time.monotonic() + _SECONDS
    for number, place in enumerate(places):
        done[number].wait(max(0.0, end - time.monotonic()))
        if found[number].is_set():
            yield place


def _announced(domain, ask):
    """What SRV records of _imaps._tcp say (RFC 6186 3.2), best first."""
    try:
        ask = ask or resolver.Lookup(Resolver((), _SECONDS)).ask
        answer = ask("_imaps._tcp.%s." % domain, "SRV")
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
