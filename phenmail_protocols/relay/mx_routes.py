"""Where mail for a domain goes: its MX hosts, their addresses, and their TLSA records.

RFC 5321 5.1 (MX, or the domain's own address), RFC 7505 (null MX), RFC 7672 2 (TLSA). Knows
nothing of messages and connections, and of the DNS only the answers of `net.resolver`.
"""
import copy
import itertools
import random
import re
import socket
from typing import NamedTuple, Tuple

from ..mail.address import AddressError, ascii_domain
from ..mail.reply import Reply
from ..net.address import EVERYWHERE, is_outside, is_served, literal_ip, normalised, source
from ..net.resolver import Lookup, NoDnspython, Unanswered
from ..queue.model import Unreachable

# Underscores are not allowed in host names, but some MX records have them.
_LABEL = r"[0-9a-z_](?:[0-9a-z_-]{0,61}[0-9a-z_])?"
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)(?:%s\.)*%s\Z" % (_LABEL, _LABEL))
_MOST_HOSTS, _MOST_ADDRESSES = 30, 16  # more are ignored: they would only keep us busy

# The enhanced code for "the host is this server": hosts after it in a route must not be tried
# either, or mail would go back and forth (RFC 5321 5.1).
LOOP = "5.4.6"


class NoRoute(Unreachable):
    """Mail cannot go there: now (4xx) or ever (5xx), as `reply` says."""


class NotFound(Exception):
    """There are no such records. `exists`: the name has other records, or names below it."""

    def __init__(self, text, exists):
        super().__init__(text)
        self.exists = exists


class Host(NamedTuple):
    """An MX host. `name`: lower-case A-labels without final dot, or a literal "[192.0.2.1]"."""
    name: str
    preference: int


class Route(NamedTuple):
    """Hosts in the order to try. `secure`: DNSSEC validated the list (RFC 7672 2.2.1)."""
    hosts: Tuple[Host, ...]
    secure: bool


class Addresses(NamedTuple):
    """IPv4 and IPv6 addresses in the order to try. `secure`: DNSSEC validated them."""
    ips: Tuple[str, ...]
    secure: bool


class Tlsa(NamedTuple):
    """TLSA records as (usage, selector, matching type, data).

    `secure`: DNSSEC validated them or their absence; `base`: the name they belong to, "" if there
    are none: the host's, or the one its CNAMEs lead to (RFC 7672 2.2.2).
    """
    records: Tuple[Tuple[int, int, int, bytes], ...]
    secure: bool
    base: str = ""


class Routes:
    """Looks up routes. Thread-safe; a call may last as long as the resolver's timeout, or twice
    that for addresses.

    `resolver`: config.settings.Resolver, or None for the system's; `own_names()`: the names of this
    host; `own_addresses()`: (ip, port) of our public listeners; `remote_port`: where other servers
    listen; `private`: whether to send to this machine and to private networks. The owner of a
    domain decides where its mail goes, and could otherwise make us connect to hosts that only we
    can reach.
    """

    def __init__(self, resolver, own_names, own_addresses, remote_port=25, private=True, **system):
        self._lookup = Lookup(resolver, **system)
        self._by_system = resolver is None
        self._private = private
        self._is_configured = False
        self._own_names, self._own_addresses, self._port = own_names, own_addresses, remote_port

    def for_smarthost(self):
        """-> Routes for a host that the administrator names: private addresses are allowed, and a
        name that is not in the DNS is looked up as the system does (/etc/hosts)."""
        routes = copy.copy(self)
        routes._private = routes._is_configured = True
        return routes

    def route(self, domain):
        """A domain, or an address literal in brackets -> Route with at least one host.

        Raises NoRoute.
        """
        if domain.startswith("["):
            if _literal(domain) is None:
                raise NoRoute(Reply(550, "5.1.2", "invalid address literal %s" % domain))
            return Route((Host(domain, 0),), False)
        domain = _ascii(domain)
        answer = self._ask(domain, "MX")
        if not answer.exists:
            raise NoRoute(Reply(550, "5.1.2", "domain %s does not exist" % domain))
        if answer.records:
            hosts = _exchangers(domain, answer.records)
            return Route(self._before_ourselves(domain, hosts), answer.secure)
        hosts = self._before_ourselves(domain, [Host(domain, 0)])
        self.addresses(domain)
        return Route(hosts, answer.secure)

    def addresses(self, host_name, port=None):
        """A host's name, address or literal -> Addresses with at least one.

        IPv6 and IPv4 alternate (RFC 8305 4); addresses that this machine has no route to come last.
        `port`: of the host, if it is not `remote_port`. Raises NoRoute: with LOOP if the host is
        this server, with 5.4.4 if it has only private addresses and they are not allowed.
        """
        literal = _literal(host_name)
        ips, secure = ([literal], False) if literal else self._resolve(_ascii(host_name))
        own = [normalised(name) for name in self._own_addresses()]
        hosts = frozenset(host for host, at in own if at == (port or self._port))
        others = [ip for ip in ips if not is_served(ip, hosts)]
        if not others:
            raise _loop(host_name)
        if not self._private:
            others = [ip for ip in others if is_outside(ip)]
        if not others:
            raise NoRoute(Reply(550, "5.4.4", "%s has only private addresses, and this server "
                                "sends to them only if \"private-addresses\" is set" % host_name))
        # Stable, so the families still alternate. Without IPv6 here, IPv4 then comes first.
        others.sort(key=lambda ip: source(ip) is None)
        return Addresses(tuple(others[:_MOST_ADDRESSES]), secure)

    def tlsa(self, host_name, port):
        """-> Tlsa, the certificates that a host may have. Raises NoRoute (4xx)."""
        host_name = _ascii(host_name)
        alias = self._ask(host_name, "A")
        for base in [alias.name] * (alias.secure and alias.name != host_name) + [host_name]:
            answer = self._ask("_%d._tcp.%s" % (port, base), "TLSA")
            if answer.records:
                return Tlsa(tuple(map(_tlsa, answer.records)), answer.secure, base)
        return Tlsa((), answer.secure)

    def records(self, name, kind):
        """The records of a name, of one type ("TXT", "MX", "SRV", …), with CNAMEs followed.

        -> tuple of str as in zone files, TXT as bytes with its strings joined; in no order. Raises
        NotFound, NoRoute (4xx).
        """
        answer = self._ask(_ascii(name), kind)
        if not answer.records:
            raise NotFound("%s has no %s record" % (name, kind) if answer.exists
                           else "%s does not exist" % name, answer.exists)
        return answer.records

    def _ask(self, name, kind):
        try:
            return self._lookup.ask(name, kind)
        except Unanswered as error:
            raise _unanswered(error)

    def _before_ourselves(self, domain, hosts):
        """The hosts with a better preference than ours, best first (RFC 5321 5.1).

        Raises NoRoute.
        """
        own = {_ascii(name) for name in self._own_names()}
        limit = min([host.preference for host in hosts if host.name in own], default=None)
        if limit is not None:
            hosts = [host for host in hosts if host.preference < limit]
        if not hosts:
            raise _loop(domain)
        # Equal preferences share the load (RFC 5321 5.1).
        hosts = sorted(hosts, key=lambda host: (host.preference, random.random()))
        return tuple(hosts[:_MOST_HOSTS])

    def _resolve(self, name):
        """The addresses of a name -> (list of ip, secure), as `_alternate` orders them.

        Raises NoRoute.
        """
        if name == "localhost":
            return ["::1", "127.0.0.1"], False  # RFC 6761 6.3
        answers, trouble = [], None
        for kind in ("A", "AAAA"):
            try:
                answer = self._lookup.ask(name, kind)
            except NoDnspython as error:
                if self._by_system:
                    return _system_lookup(name), False
                raise _unanswered(error)
            except Unanswered as error:
                trouble = error
                continue
            if answer.records:
                answers.append(answer)
            if not answer.exists:
                break
        ips = _alternate(ip for answer in answers for ip in answer.records)
        if ips:
            return ips, all(answer.secure for answer in answers)
        if trouble:
            raise _unanswered(trouble)
        if self._is_configured:
            return _system_lookup(name), False
        raise _no_address(name)


def _ascii(name):
    """The name in lower-case A-labels without final dot. Raises NoRoute."""
    try:
        return ascii_domain(name)
    except AddressError as error:
        raise NoRoute(Reply(550, "5.1.2", str(error)))


def _literal(text):
    """The address in "[192.0.2.1]", "[IPv6:::1]" or "192.0.2.1"; None for names."""
    return literal_ip(text) or literal_ip("[%s]" % text) or literal_ip("[IPv6:%s]" % text)


def _exchangers(domain, records):
    """MX records ("10 mx.example.org.") -> list of Host, each name once. Raises NoRoute."""
    best = {}
    for record in records:
        preference, _, name = record.partition(" ")
        name = name.rstrip(".").lower()
        best[name] = min(int(preference), best.get(name, 65535))
    if list(best) == [""]:
        raise NoRoute(Reply(556, "5.1.10", "domain %s does not accept mail (null MX)" % domain))
    hosts = [Host(name, preference) for name, preference in best.items() if _HOST_NAME.match(name)]
    if not hosts:
        raise NoRoute(Reply(550, "5.1.2", "the MX records of %s contain no valid host" % domain))
    return hosts


def _tlsa(record):
    """ "3 1 1 0b9f…" -> (3, 1, 1, bytes)."""
    usage, selector, matching, digits = record.split(None, 3)
    return int(usage), int(selector), int(matching), bytes.fromhex(digits.replace(" ", ""))


def _alternate(ips):
    """Shuffle, then alternate IPv6 and IPv4; without "0.0.0.0" and "::", which are no host's."""
    ips = [ip for ip in {normalised((ip, 0))[0] for ip in ips} if ip not in EVERYWHERE]
    random.shuffle(ips)
    pairs = itertools.zip_longest([ip for ip in ips if ":" in ip],
                                  [ip for ip in ips if ":" not in ip])
    return [ip for pair in pairs for ip in pair if ip is not None]


def _system_lookup(name):
    """The addresses that the C library finds for a host in the settings. Raises NoRoute.

    Without dnspython no domain has a route, so only hosts in the settings come here.
    """
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        unknown = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        if getattr(error, "errno", None) in unknown:
            raise _no_address(name)
        raise NoRoute(Reply(451, "4.4.3", "cannot look up %s: %s" % (name, error)))
    return _alternate(entry[4][0] for entry in found)


def _unanswered(error):
    return NoRoute(Reply(451, error.enhanced, str(error)))


def _no_address(name):
    return NoRoute(Reply(550, "5.1.2", "%s has no address" % name))


def _loop(name):
    return NoRoute(Reply(554, LOOP, "mail for %s would loop back to this server" % name))
