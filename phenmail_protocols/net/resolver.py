"""Questions to the DNS, and their answers remembered for as long as their TTLs say.

`dns.resolver` of dnspython asks: name servers of the settings or of resolv.conf, UDP, TCP where an answer was cut (RFC 7766),
EDNS (RFC 6891).  Here are added: AD counts from a validating server on this machine only (RFC 6840 section 5.7), negative answers
are remembered as RFC 2308 says, the server that answered last is asked first, and one exception, `Unanswered`, says that there is
neither a yes nor a no.  The only file that imports `dns`, with the first question: it costs 6 MB.
Knows nothing of mail: what an MX or a TLSA record means is the asker's business.
"""
import os
import struct
import threading
import time
from typing import NamedTuple, Tuple, Union

from .address import is_loopback

# Fits into one packet on every way there is (DNS flag day 2020); what a larger datagram could hold comes over TCP.
_PAYLOAD = 1232

# The C library takes no more than three from resolv.conf either.
_SYSTEM_SERVERS, _SYSTEM_TIMEOUT, _PORT = 3, 10.0, 53

# One server gets this part of a question's time before the next one is asked, or the same one again.
_PART = 1 / 3.0

# What is remembered: so many answers of at most so many octets, for at most so many seconds (RFC 2308 section 5 for "no").
# dnspython's own caches keep whole responses, 5 KB and more each, and know no limit for their octets and times.
_ANSWERS, _ANSWER_OCTETS, _LONGEST, _LONGEST_NO = 1000, 4096, 86400, 10800


class Unanswered(Exception):
    """There is no answer now, be it yes or no; str() says why.  `enhanced`: the status code (RFC 3463) of it."""

    def __init__(self, text, enhanced="4.4.3"):
        super().__init__(text)
        self.enhanced = enhanced


class NoDnspython(Unanswered):
    """The package that knows how to ask is not there."""

    def __init__(self):
        super().__init__("the package dnspython is missing, without it nothing can be found in the DNS", "4.3.5")


class Answer(NamedTuple):
    """What the DNS says.

    `records`: in zone file form ("10 mx.example.org."), TXT as bytes with its strings joined; empty where there are none.
    `exists`: the name does, if only with records of other types.  `secure`: a validating server on this machine says so.
    `name`: where the CNAMEs from the asked name lead, without final dot.
    """
    records: Tuple[Union[str, bytes], ...]
    exists: bool
    secure: bool
    name: str


class Lookup:
    """Asks and remembers.  Any thread may ask; no lock is held meanwhile.

    `resolver`: config.settings.Resolver or None for the system's servers, which are read from `resolv_conf` whenever that file
    has changed.  `clock`: seconds, for what is remembered.
    """

    def __init__(self, resolver=None, clock=time.monotonic, resolv_conf="/etc/resolv.conf"):
        self._timeout = resolver.timeout if resolver else _SYSTEM_TIMEOUT
        self._configured = tuple(resolver.nameservers) if resolver else ()
        self._resolv_conf, self._clock = resolv_conf, clock
        self._lock = threading.Lock()
        self._resolver = None  # dns.resolver.Resolver
        self._seen = None  # what resolv.conf looked like when it was read
        self._known = {}  # (name, kind) -> (until when, Answer), in the order of learning

    def ask(self, name, kind):
        """An ASCII name with or without final dot, "MX" or another type -> Answer; a name that can't be is one that is not there.
        Raises Unanswered."""
        key = (name.lower().rstrip("."), kind)
        resolver = self._current()
        with self._lock:
            until, answer = self._known.get(key, (0, None))
            if answer is not None and self._clock() < until:
                return answer
        absolute = _absolute(key[0])
        if absolute is None:
            return Answer((), False, False, key[0])
        ttl, answer = _resolve(resolver, absolute, kind)
        self._remember(key, ttl, answer)
        return answer

    def _remember(self, key, ttl, answer):
        octets = sum(map(len, answer.records))
        with self._lock:
            self._known.pop(key, None)
            if ttl <= 0 or octets > _ANSWER_OCTETS:
                return
            now = self._clock()
            if len(self._known) >= _ANSWERS:
                self._known = {key: value for key, value in self._known.items() if now < value[0]}
            if len(self._known) >= _ANSWERS:
                del self._known[next(iter(self._known))]
            self._known[key] = (now + ttl, answer)

    def _current(self):
        """The dns.resolver.Resolver to ask.  A resolv.conf that has changed is read again; other servers may know other answers."""
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
            resolver = _new_resolver(servers or _system_servers(self._resolv_conf), self._timeout)
        except OSError as error:
            raise Unanswered("%s, which names the DNS servers, can't be read: %s" % (self._resolv_conf, error.strerror), "4.3.5")
        except ValueError as error:
            raise Unanswered("%s: %s" % (self._resolv_conf, error), "4.3.5")
        with self._lock:
            self._resolver, self._seen, self._known = resolver, seen, {}
        return resolver


def load_types(kinds):
    """Load now what asks for and reads records of these types, for a process that can't read the package's files later.

    Does nothing without dnspython."""
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
    """The name servers of a resolv.conf(5)."""
    found = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split()
            if words[:1] == ["nameserver"] and len(words) > 1:
                found.append((words[1], _PORT))
    if not found:
        raise ValueError("it names no DNS server")
    return found[:_SYSTEM_SERVERS]


def _new_resolver(servers, timeout):
    """A dns.resolver.Resolver that asks these (address, port).  Raises ValueError for what is no address, Unanswered."""
    import dns.exception
    import dns.flags
    import dns.resolver
    try:
        resolver = dns.resolver.Resolver(configure=False)
    except dns.exception.DNSException as error:  # it reads the host's name, for searches that nobody asks for
        raise Unanswered("dnspython can't work with this machine's host name: %s" % error, "4.3.5")
    resolver.nameserver_ports = dict(servers)
    resolver.nameservers = list(resolver.nameserver_ports)
    resolver.lifetime, resolver.timeout = timeout, timeout * _PART
    resolver.use_edns(0, 0, _PAYLOAD)
    resolver.flags = dns.flags.RD | dns.flags.AD
    return resolver


def _absolute(name):
    """A dns.name.Name; None where the name has no form in the DNS."""
    import dns.exception
    import dns.name
    try:
        return dns.name.from_text(name + ".")
    except (dns.exception.DNSException, UnicodeError, struct.error):
        return None


def _resolve(resolver, name, kind):
    """Ask within the resolver's lifetime -> (TTL, Answer).  Raises Unanswered: here all of dnspython's exceptions end."""
    import dns.exception
    import dns.resolver
    try:
        answer = resolver.resolve(name, kind, raise_on_no_answer=False)
    except dns.resolver.NXDOMAIN as error:
        return _understand(error.response(name), False)  # who said so is not told, so it is not secure
    except (dns.resolver.NoNameservers, dns.exception.Timeout) as error:
        failures = {each[0]: each[3] for each in error.kwargs.get("errors") or ()}
        if resolver.edns >= 0 and not {"FORMERR", "NOTIMP"}.isdisjoint(map(str, failures.values())):
            resolver.use_edns(False)  # RFC 6891 section 7: a server from before EDNS
            return _resolve(resolver, name, kind)
        raise Unanswered("the DNS gives no answer about %s: %s" % (
            name.to_text(omit_final_dot=True),
            "; ".join("%s %s" % (_address(server), _words(why)) for server, why in failures.items()) or "no answer in time"))
    except dns.exception.DNSException as error:
        raise Unanswered("the DNS gives no answer about %s: %s" % (name.to_text(omit_final_dot=True), error))
    if resolver.nameservers[0] != answer.nameserver:  # the others may be down
        resolver.nameservers = sorted(resolver.nameservers, key=lambda server: server != answer.nameserver)
    return _understand(answer.response, is_loopback(answer.nameserver))


def _address(server):
    """The address in dnspython's name of a server: that, or "Do53:192.0.2.1@53"."""
    return server.replace("Do53:", "").partition("@")[0]


def _words(why):
    """What dnspython says of one server: the name of an rcode or an exception."""
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
    records = tuple(b"".join(data.strings) if hasattr(data, "strings") else data.to_text() for data in chain.answer)
    return min(chain.minimum_ttl, _LONGEST), Answer(records, True, secure, name)


def _negative_ttl(response):
    """RFC 2308 section 5: what the SOA says; without one a "no" is not remembered."""
    import dns.rdatatype
    found = [min(rrset.ttl, rrset[0].minimum) for rrset in response.authority if rrset.rdtype == dns.rdatatype.SOA]
    return min(found + [_LONGEST_NO]) if found else 0
