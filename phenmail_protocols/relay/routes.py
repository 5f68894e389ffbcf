"""Where mail for a domain goes: its mail exchangers, their addresses, and what the DNS says of their certificates.

RFC 5321 section 5.1 (MX, and the address where there is none), RFC 7505 (a domain that takes no mail), RFC 7672 section 2
(TLSA).  Knows nothing of messages and connections; all that it knows of the DNS is `net.resolver`'s answers.
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

_HOST_NAME = re.compile(r"(?=.{1,253}\Z)(?:[0-9a-z_](?:[0-9a-z_-]{0,61}[0-9a-z_])?\.)*[0-9a-z_](?:[0-9a-z_-]{0,61}[0-9a-z_])?\Z")

# More than these nobody has; who lists more would only keep us busy.
_MOST_HOSTS, _MOST_ADDRESSES = 30, 16


class NoRoute(Exception):
    """Mail can't go there: now (4xx) or ever (5xx), as `reply` says."""

    def __init__(self, reply):
        super().__init__(reply.text)
        self.reply = reply


class NotFound(Exception):
    """There are no such records.  `exists`: the name has others, or names below it."""

    def __init__(self, text, exists):
        super().__init__(text)
        self.exists = exists


class Host(NamedTuple):
    """A mail exchanger: a host name in lower-case A-labels without final dot, or a literal "[192.0.2.1]"; lower preferences first."""
    name: str
    preference: int


class Route(NamedTuple):
    """Whom to try, in this order.  `secure`: DNSSEC vouches for the list (RFC 7672 section 2.2.1)."""
    hosts: Tuple[Host, ...]
    secure: bool


class Addresses(NamedTuple):
    """IPv4 and IPv6 addresses to try, in this order.  `secure`: DNSSEC vouches for them."""
    ips: Tuple[str, ...]
    secure: bool


class Tlsa(NamedTuple):
    """TLSA records as (usage, selector, matching type, data).  `secure`: DNSSEC vouches for them, or for their absence.
    `base`: the name that they were found at, "" without records: the host's, or where its CNAMEs lead (RFC 7672 section 2.2.2)."""
    records: Tuple[Tuple[int, int, int, bytes], ...]
    secure: bool
    base: str = ""


class Routes:
    """Finds the way.  Any thread may ask; an answer may take as long as the resolver's timeout, twice for addresses.

    `resolver`: config.settings.Resolver, or None for the system's.  `own_names`: callable that gives the names of this host;
    `own_addresses`: callable that gives (ip, port) of our public listeners.  `remote_port`: where other servers listen.
    `private`: whether addresses of this machine and of private networks are followed: whoever has a domain says where its mail
    goes, and could else let us speak to what only we reach.
    """

    def __init__(self, resolver, own_names, own_addresses, remote_port=25, private=True, **system):
        self._lookup = Lookup(resolver, **system)
        self._by_system = resolver is None
        self._private = private
        self._own_names, self._own_addresses, self._port = own_names, own_addresses, remote_port

    def to_anywhere(self):
        """The same -> Routes that follow private addresses: for hosts that the administrator names."""
        routes = copy.copy(self)
        routes._private = True
        return routes

    def route(self, domain):
        """A domain or an address literal in brackets -> Route with one host at least.  Raises NoRoute."""
        if domain.startswith("["):
            if _literal(domain) is None:
                raise NoRoute(Reply(550, "5.1.2", "%s is no address" % domain))
            return Route((Host(domain, 0),), False)
        domain = _ascii(domain)
        answer = self._ask(domain, "MX")
        if not answer.exists:
            raise NoRoute(Reply(550, "5.1.2", "there is no domain %s" % domain))
        if answer.records:
            return Route(self._before_ourselves(domain, _exchangers(domain, answer.records)), answer.secure)
        hosts = self._before_ourselves(domain, [Host(domain, 0)])
        self.addresses(domain)
        return Route(hosts, answer.secure)

    def addresses(self, host_name, port=None):
        """A host's name, address or literal, and its port where that is not `remote_port` -> Addresses with one at least: IPv6 and
        IPv4 by turns (RFC 8305 section 4), those that this machine has no way to last.  Raises NoRoute; with 5.4.4 it has only
        private addresses and they are not followed; with 5.4.6 the host is ourselves, and whoever comes after it in a route must
        not be tried either (RFC 5321 section 5.1)."""
        literal = _literal(host_name)
        ips, secure = ([literal], False) if literal else self._resolve(_ascii(host_name))
        own = [normalised(name) for name in self._own_addresses()]
        hosts = frozenset(host for host, at in own if at == (port or self._port))
        others = [ip for ip in ips if not is_served(ip, hosts)]
        if not others:
            raise NoRoute(_loop(host_name))
        if not self._private:
            others = [ip for ip in others if is_outside(ip)]
        if not others:
            raise NoRoute(_inside(host_name))
        others.sort(key=lambda ip: source(ip) is None)
        return Addresses(tuple(others[:_MOST_ADDRESSES]), secure)

    def tlsa(self, host_name, port):
        """What a host's certificate has to match -> Tlsa, without records where there are none.  Raises NoRoute (4xx)."""
        host_name = _ascii(host_name)
        alias = self._ask(host_name, "A")
        for base in [alias.name] * (alias.secure and alias.name != host_name) + [host_name]:
            answer = self._ask("_%d._tcp.%s" % (port, base), "TLSA")
            if answer.records:
                return Tlsa(tuple(map(_tlsa, answer.records)), answer.secure, base)
        return Tlsa((), answer.secure)

    def records(self, name, kind):
        """The records of a name, one type ("TXT", "MX", "SRV", …), CNAMEs followed -> tuple of str as zone files have them, TXT bytes
        with its strings joined; in no order.  Raises NotFound, NoRoute (4xx)."""
        answer = self._ask(_ascii(name), kind)
        if not answer.records:
            raise NotFound("%s has no %s record" % (name, kind) if answer.exists else "there is no %s" % name, answer.exists)
        return answer.records

    def _ask(self, name, kind):
        try:
            return self._lookup.ask(name, kind)
        except Unanswered as error:
            raise NoRoute(_unanswered(error))

    def _before_ourselves(self, domain, hosts):
        """The hosts that are nearer to the domain than we are, best first (RFC 5321 section 5.1).  Raises NoRoute."""
        own = {_ascii(name) for name in self._own_names()}
        limit = min([host.preference for host in hosts if host.name in own], default=None)
        if limit is not None:
            hosts = [host for host in hosts if host.preference < limit]
        if not hosts:
            raise NoRoute(_loop(domain))
        return tuple(sorted(hosts, key=lambda host: (host.preference, random.random()))[:_MOST_HOSTS])

    def _resolve(self, name):
        """Both families' addresses of a name, shuffled, by turns -> (list of ip, secure).  Raises NoRoute."""
        if name == "localhost":
            return ["::1", "127.0.0.1"], False  # RFC 6761 section 6.3
        answers, trouble = [], None
        for kind in ("A", "AAAA"):
            try:
                answer = self._lookup.ask(name, kind)
            except NoDnspython as error:
                if self._by_system:
                    return _by_system(name), False
                raise NoRoute(_unanswered(error))
            except Unanswered as error:
                trouble = error
                continue
            if answer.records:
                answers.append(answer)
            if not answer.exists:
                break
        ips = _by_turns(ip for answer in answers for ip in answer.records)
        if not ips:
            raise NoRoute(_unanswered(trouble) if trouble else _nowhere(name))
        return ips, all(answer.secure for answer in answers)


def _ascii(name):
    """The name in lower-case A-labels without final dot.  Raises NoRoute."""
    try:
        return ascii_domain(name)
    except AddressError as error:
        raise NoRoute(Reply(550, "5.1.2", str(error)))


def _literal(text):
    """The address in "[192.0.2.1]", "[IPv6:::1]" or "192.0.2.1"; None for names."""
    return literal_ip(text) or literal_ip("[%s]" % text) or literal_ip("[IPv6:%s]" % text)


def _exchangers(domain, records):
    """MX records ("10 mx.example.org.") -> list of Host, each name once.  Raises NoRoute where there is nobody to go to."""
    best = {}
    for record in records:
        preference, _, name = record.partition(" ")
        name = name.rstrip(".").lower()
        best[name] = min(int(preference), best.get(name, 65535))
    if list(best) == [""]:
        raise NoRoute(Reply(556, "5.1.10", "%s takes no mail" % domain))  # RFC 7505 section 4.1
    hosts = [Host(name, preference) for name, preference in best.items() if _HOST_NAME.match(name)]
    if not hosts:
        raise NoRoute(Reply(550, "5.1.2", "the MX records of %s name no host" % domain))
    return hosts


def _tlsa(record):
    """ "3 1 1 0b9f…" -> (3, 1, 1, octets)."""
    usage, selector, matching, digits = record.split(None, 3)
    return int(usage), int(selector), int(matching), bytes.fromhex(digits.replace(" ", ""))


def _by_turns(ips):
    """Each family shuffled, then one of IPv6, one of IPv4 and so on; without what is no host's address."""
    ips = [ip for ip in {normalised((ip, 0))[0] for ip in ips} if ip not in EVERYWHERE]
    random.shuffle(ips)
    pairs = itertools.zip_longest([ip for ip in ips if ":" in ip], [ip for ip in ips if ":" not in ip])
    return [ip for pair in pairs for ip in pair if ip is not None]


def _by_system(name):
    """What the C library finds.  Without dnspython no domain has a route, so this is a host that the settings name.  Raises NoRoute."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        never = getattr(error, "errno", None) in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        raise NoRoute(_nowhere(name) if never else Reply(451, "4.4.3", "the DNS gives no answer about %s: %s" % (name, error)))
    return _by_turns(entry[4][0] for entry in found)


def _unanswered(error):
    return Reply(451, error.enhanced, str(error))


def _nowhere(name):
    return Reply(550, "5.1.2", "%s has no address" % name)


def _inside(name):
    return Reply(550, "5.4.4", "%s has only private addresses, to which this server sends only with \"private-addresses\" in its settings" % name)


def _loop(name):
    return Reply(554, "5.4.6", "mail for %s would come back to this server" % name)
