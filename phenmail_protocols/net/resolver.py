"""Asks the DNS, and caches answers for as long as their TTLs allow.

`dns.resolver` of dnspython asks: the name servers of the settings or of resolv.conf, over UDP, over
TCP if an answer was truncated (RFC 7766), with EDNS (RFC 6891). This file adds:

1. AD counts only from a validating server on this machine (RFC 6840 5.7).
2. Negative answers are cached (RFC 2308), and the cache has a bound.
3. The server that answered last is asked first.
4. One exception, `Unanswered`, says that there is neither a yes nor a no.

The only file that imports `dns`, and only with the first question, because it costs 6 MB.
"""
import os
import struct
import threading
import time
from typing import NamedTuple, Tuple, Union

from .address import is_loopback

# Octets of a UDP answer that fit into one packet everywhere (DNS flag day 2020).
_PAYLOAD = 1232

# Three servers of resolv.conf, as in the C library; seconds for a question; the port.
_SYSTEM_SERVERS, _SYSTEM_TIMEOUT, _PORT = 3, 10.0, 53

# Part of a question's time that one server gets before the next one, or itself again, is asked.
_PART = 1 / 3.0

# The cache: number of answers, octets of one, seconds of a yes and of a no (RFC 2308 5).
# dnspython's own caches keep whole responses, 5 KB and more, and have no bound in octets or time.
_ANSWERS, _ANSWER_OCTETS, _LONGEST, _LONGEST_NO = 1000, 4096, 86400, 10800


class Unanswered(Exception):
    """There is no answer now, neither yes nor no; str() says why.

    `enhanced`: an enhanced status code (RFC 3463).
    """

    def __init__(self, text, enhanced="4.4.3"):
        super().__init__(text)
        self.enhanced = enhanced


class NoDnspython(Unanswered):
    """The package dnspython is not installed."""

    def __init__(self):
        super().__init__("the Python package dnspython is missing, so DNS lookups are impossible",
                         "4.3.5")


class Answer(NamedTuple):
    """What the DNS says.

    `records`: in zone file form ("10 mx.example.org."), TXT as bytes with its strings joined; empty
    if there are none. `exists`: the name exists, perhaps only with records of other types.
    `secure`: a validating server on this machine says so. `name`: where CNAMEs lead from the name
    that was asked, without final dot.
    """
    records: Tuple[Union[str, bytes], ...]
    exists: bool
    secure: bool
    name: str


class Lookup:
    """Asks and caches. Any thread may ask; no lock is held meanwhile.

    `resolver`: config.settings.Resolver, or None for the system's servers; `resolv_conf` is then
    read again whenever it changes. `clock`: seconds, for the cache.
    """

    def __init__(self, resolver, clock=time.monotonic, resolv_conf="/etc/resolv.conf"):
        self._timeout = resolver.timeout if resolver else _SYSTEM_TIMEOUT
        self._configured = tuple(resolver.nameservers) if resolver else ()
        self._resolv_conf, self._clock = resolv_conf, clock
        self._lock = threading.Lock()
        self._resolver = None  # dns.resolver.Resolver
        self._seen = None  # resolv.conf's time, size and inode when it was read
        self._cache = {}  # (name, kind) -> (time of expiry, Answer), oldest first

    def ask(self, name, kind):
        """-> Answer. Raises Unanswered.

        `name`: ASCII, with or without final dot; an impossible name does not exist. `kind`: "MX"
        or another type.
        """
        key = (name.lower().rstrip("."), kind)
        resolver = self._current()
        with self._lock:
            until, answer = self._cache.get(key, (0, None))
            if answer is not None and self._clock() < until:
                return answer
        absolute = _absolute(key[0])
        if absolute is None:
            return Answer((), False, False, key[0])
        ttl, answer = _resolve(resolver, absolute, kind)
        self._store(key, ttl, answer)
        return answer

    def _store(self, key, ttl, answer):
        octets = sum(map(len, answer.records))
        with self._lock:
            self._cache.pop(key, None)
            if ttl <= 0 or octets > _ANSWER_OCTETS:
                return
            now = self._clock()
            if len(self._cache) >= _ANSWERS:
                self._cache = {key: value for key, value in self._cache.items() if now < value[0]}
            if len(self._cache) >= _ANSWERS:
                del self._cache[next(iter(self._cache))]
            self._cache[key] = (now + ttl, answer)

    def _current(self):
        """The dns.resolver.Resolver to ask. A changed resolv.conf also empties the cache."""
        try:
            import dns.resolver  # noqa: F401
        except ImportError:
            raise NoDnspython()
        servers, seen = self._configured, None
        try:
            if not servers:
                found = os.stat(self._resolv_conf)
                seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            with self._lock:
                if self._resolver is not None and seen == self._seen:
                    return self._resolver
            servers = servers or _system_servers(self._resolv_conf)
            resolver = _new_resolver(servers, self._timeout)
        except OSError as error:
            raise Unanswered("cannot read %s, which names the DNS servers: %s" % (
                self._resolv_conf, error.strerror), "4.3.5")
        except ValueError as error:
            raise Unanswered("%s: %s" % (self._resolv_conf, error), "4.3.5")
        with self._lock:
            self._resolver, self._seen, self._cache = resolver, seen, {}
        return resolver


def load_types(kinds):
    """Import now what questions of these types need, for a process that soon cannot read files.

    Does nothing without dnspython.
    """
    try:
        import dns.rdata
        import dns.rdataclass
        import dns.rdatatype
        import dns.resolver  # noqa: F401
    except ImportError:
        return
    for kind in kinds:
        dns.rdata.get_rdata_class(dns.rdataclass.IN, dns.rdatatype.from_text(kind))


def _system_servers(path):
    """The (address, port) pairs of a resolv.conf(5)."""
    found = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split()
            if words[:1] == ["nameserver"] and len(words) > 1:
                found.append((words[1], _PORT))
    if not found:
        raise ValueError("expected a line with nameserver and an address")
    return found[:_SYSTEM_SERVERS]


def _new_resolver(servers, timeout):
    """-> dns.resolver.Resolver for these (address, port). Raises ValueError, Unanswered."""
    import dns.exception
    import dns.flags
    import dns.resolver
    try:
        resolver = dns.resolver.Resolver(configure=False)
    except dns.exception.DNSException as error:  # it reads the host's name, for search lists
        raise Unanswered(
            "dnspython does not accept this machine's host name: %s" % error, "4.3.5")
    resolver.nameserver_ports = dict(servers)
    resolver.nameservers = list(resolver.nameserver_ports)
    resolver.lifetime, resolver.timeout = timeout, timeout * _PART
    resolver.use_edns(0, 0, _PAYLOAD)
    resolver.flags = dns.flags.RD | dns.flags.AD
    return resolver


def _absolute(name):
    """-> dns.name.Name, or None if the name is impossible in the DNS."""
    import dns.exception
    import dns.name
    try:
        return dns.name.from_text(name + ".")
    except (dns.exception.DNSException, UnicodeError, struct.error):
        return None


def _resolve(resolver, name, kind):
    """Ask -> (TTL, Answer). Raises Unanswered, and none of dnspython's exceptions."""
    import dns.exception
    import dns.resolver
    try:
        answer = resolver.resolve(name, kind, raise_on_no_answer=False)
    except dns.resolver.NXDOMAIN as error:
        return _understand(error.response(name), False)  # dnspython does not say which server
    except (dns.resolver.NoNameservers, dns.exception.Timeout) as error:
        failures = {each[0]: each[3] for each in error.kwargs.get("errors") or ()}
        if resolver.edns >= 0 and not {"FORMERR", "NOTIMP"}.isdisjoint(map(str, failures.values())):
            resolver.use_edns(False)  # RFC 6891 7: a server from before EDNS
            return _resolve(resolver, name, kind)
        reasons = ["%s %s" % (_address(server), _reason(why)) for server, why in failures.items()]
        raise Unanswered("no DNS answer about %s: %s" % (
            name.to_text(omit_final_dot=True), "; ".join(reasons) or "no answer in time"))
    except dns.exception.DNSException as error:
        raise Unanswered("no DNS answer about %s: %s" % (name.to_text(omit_final_dot=True), error))
    if resolver.nameservers[0] != answer.nameserver:  # the others may be down
        resolver.nameservers = sorted(
            resolver.nameservers, key=lambda server: server != answer.nameserver)
    return _understand(answer.response, is_loopback(answer.nameserver))


def _address(server):
    """dnspython's name of a server, such as "Do53:192.0.2.1@53" -> its address."""
    return server.replace("Do53:", "").partition("@")[0]


def _reason(why):
    """Why a server gave no answer, from dnspython: the name of an rcode, or an exception."""
    import dns.exception
    if isinstance(why, str):
        return "says " + why
    if isinstance(why, dns.exception.Timeout):
        return "no answer in time"
    return getattr(why, "strerror", None) or str(why) or type(why).__name__


def _understand(response, trusted):
    """A dns.message.Message that says yes or no -> (TTL, Answer)."""
    import dns.flags
    import dns.rcode
    chain = response.resolve_chaining()
    secure = trusted and bool(response.flags & dns.flags.AD)
    name = chain.canonical_name.to_text(omit_final_dot=True).lower()
    if chain.answer is None:
        ttl = min(chain.minimum_ttl, _negative_ttl(response))
        return ttl, Answer((), response.rcode() == dns.rcode.NOERROR, secure, name)
    records = tuple(b"".join(data.strings) if hasattr(data, "strings") else data.to_text()
                    for data in chain.answer)
    return min(chain.minimum_ttl, _LONGEST), Answer(records, True, secure, name)


def _negative_ttl(response):
    """RFC 2308 5: from the SOA; without one, a no is not cached."""
    import dns.rdatatype
    found = [min(rrset.ttl, rrset[0].minimum) for rrset in response.authority
             if rrset.rdtype == dns.rdatatype.SOA]
    return min(found + [_LONGEST_NO]) if found else 0
