"""Questions to the DNS, one at a time, and their answers remembered for as long as they may be.

A stub resolver (RFC 1034 section 5.3.1) on dnspython's messages: name servers of the settings or of the system's resolv.conf, UDP,
TCP where the answer was cut (RFC 7766), EDNS (RFC 6891), AD from a validating server on this machine (RFC 6840 section 5.7),
negative answers (RFC 2308).  The only file that imports `dns`, and of it only `dns.message`: `dns.resolver` costs 2 MB more.
Knows nothing of mail: what an MX or a TLSA record means is the asker's business.
"""
import os
import socket
import struct
import threading
import time
from typing import NamedTuple, Tuple, Union

from .address import is_loopback

# Fits into one packet on every way there is (DNS flag day 2020); what a larger datagram could hold comes over TCP.
_PAYLOAD, _LARGEST_DATAGRAM = 1232, 4096

# The C library takes no more than three from resolv.conf either.
_SYSTEM_SERVERS, _SYSTEM_TIMEOUT, _PORT = 3, 10.0, 53

# Each server is asked so often; the waits of the rounds are 1, 2 and 3 sixths of all the time that one question has.
_ROUNDS = 3

# What is remembered: so many answers of at most so many octets, for at most so many seconds (RFC 2308 section 5 for "no").
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
        self._system = (None, ())  # what resolv.conf looked like when it was read, and its servers
        self._answered = None  # the server that answered last: others may be down
        self._known = {}  # (name, kind) -> (until when, Answer), in the order of learning

    def ask(self, name, kind):
        """An ASCII name with or without final dot, "MX" or another type -> Answer; a name that can't be is one that is not there.
        Raises Unanswered."""
        _need_dnspython()
        key = (name.lower().rstrip("."), kind)
        servers = self._servers()
        with self._lock:
            until, answer = self._known.get(key, (0, None))
            if answer is not None and self._clock() < until:
                return answer
        query = _query(*key)
        if query is None:
            return Answer((), False, False, key[0])
        ttl, answer = self._ask_servers(query, servers)
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

    def _servers(self):
        """(address, port) of whom to ask.  A resolv.conf that has changed is read again; other servers may know other answers."""
        if self._configured:
            return self._configured
        try:
            found = os.stat(self._resolv_conf)
            state = (found.st_mtime_ns, found.st_size, found.st_ino)
            with self._lock:
                seen, servers = self._system
            if state != seen:
                servers = _system_servers(self._resolv_conf)
                with self._lock:
                    self._system, self._known = (state, servers), {}
        except OSError as error:
            raise Unanswered("%s, which names the DNS servers, can't be read: %s" % (self._resolv_conf, error.strerror), "4.3.5")
        if not servers:
            raise Unanswered("%s names no DNS server" % self._resolv_conf, "4.3.5")
        return servers

    def _ask_servers(self, query, servers):
        """Asks one after the other until one knows -> (TTL, Answer).  Raises Unanswered."""
        end = time.monotonic() + self._timeout
        servers = sorted(servers, key=lambda server: server != self._answered)
        why = {}
        for turn in range(1, _ROUNDS + 1):
            for server in list(servers):
                remaining = end - time.monotonic()
                if remaining <= 0:
                    break
                try:
                    response = _exchange(query, server, min(remaining, self._timeout * turn / 6.0))
                    result = _understand(response, is_loopback(server[0]))
                    self._answered = server
                    return result
                except Unanswered as error:
                    # It did speak, so it says the same again.
                    servers.remove(server)
                    why[server] = str(error)
                except OSError as error:
                    why[server] = "no answer in time" if isinstance(error, socket.timeout) else error.strerror or str(error)
        question = query.question[0]
        raise Unanswered("the DNS gives no answer about %s: %s" % (
            question.name.to_text(omit_final_dot=True),
            "; ".join("%s %s" % (server[0], text) for server, text in sorted(why.items())) or "no answer in time"))


def load_types(kinds):
    """Load now what reads records of these types, for a process that can't read the package's files later.

    Does nothing without dnspython."""
    try:
        import dns.rdata
        import dns.rdataclass
        import dns.rdatatype
    except ImportError:
        return
    for kind in kinds:
        dns.rdata.get_rdata_class(dns.rdataclass.IN, dns.rdatatype.from_text(kind))


def _need_dnspython():
    try:
        import dns.message  # noqa: F401
    except ImportError:
        raise NoDnspython()


def _system_servers(path):
    """The name servers of a resolv.conf(5)."""
    found = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split()
            if words[:1] == ["nameserver"] and len(words) > 1:
                found.append((words[1], _PORT))
    return tuple(found[:_SYSTEM_SERVERS])


def _query(name, kind):
    """The message that asks; None where the name has no form in the DNS.  Its id is random (RFC 5452 section 9.2)."""
    import dns.exception
    import dns.flags
    import dns.message
    import dns.name
    try:
        absolute = dns.name.from_text(name + ".")
    except (dns.exception.DNSException, UnicodeError, struct.error):
        return None
    query = dns.message.make_query(absolute, kind, use_edns=0, payload=_PAYLOAD)
    query.flags |= dns.flags.AD
    return query


def _exchange(query, server, seconds):
    """One server's response to a query.  Raises OSError (socket.timeout) when there is none."""
    import dns.flags
    import dns.rcode
    end = time.monotonic() + seconds
    wire = query.to_wire()
    response = _over_udp(query, wire, server, end)
    if response.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP) and query.edns >= 0:
        # RFC 6891 section 7: a server from before EDNS.
        query.use_edns(False)
        wire = query.to_wire()
        response = _over_udp(query, wire, server, end)
    if response.flags & dns.flags.TC:
        response = _over_tcp(query, wire, server, end)
    return response


def _over_udp(query, wire, server, end):
    """The kernel picks a random port, and takes datagrams from the connected server only (RFC 5452 section 9)."""
    family, _, _, _, address = _socket_address(server, socket.SOCK_DGRAM)
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        sock.send(wire)
        while True:
            sock.settimeout(_left(end))
            response = _response_to(query, sock.recv(_LARGEST_DATAGRAM))
            # Anybody may have sent what does not fit; the true answer may come yet.
            if response is not None:
                return response


def _over_tcp(query, wire, server, end):
    family, _, _, _, address = _socket_address(server, socket.SOCK_STREAM)
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(_left(end))
        sock.connect(address)
        sock.sendall(struct.pack("!H", len(wire)) + wire)
        size, = struct.unpack("!H", _exactly(sock, 2, end))
        response = _response_to(query, _exactly(sock, size, end))
    if response is None:
        raise Unanswered("answers what nobody asked")
    return response


def _socket_address(server, kind):
    """What getaddrinfo says of an address: it knows the scope in fe80::1%eth0."""
    return socket.getaddrinfo(server[0], server[1], type=kind, flags=socket.AI_NUMERICHOST)[0]


def _left(end):
    """Seconds until `end`; raises socket.timeout where that is over."""
    seconds = end - time.monotonic()
    if seconds <= 0:
        raise socket.timeout("timed out")
    return seconds


def _exactly(sock, size, end):
    found = b""
    while len(found) < size:
        sock.settimeout(_left(end))
        more = sock.recv(size - len(found))
        if not more:
            raise Unanswered("closes in the middle of its answer")
        found += more
    return found


def _response_to(query, wire):
    """The octets as a message that answers the query; None where they are no message or answer something else. A broken record in
    it hides no others, it is only noted in the message's `errors`."""
    import dns.message
    try:
        response = dns.message.from_wire(wire, continue_on_error=True)
        return response if query.is_response(response) else None
    except Exception:  # which exceptions a parser has for hostile octets differs from version to version
        return None


def _understand(response, trusted):
    """A response -> (TTL, Answer).  Raises Unanswered where it is neither yes nor no."""
    import dns.exception
    import dns.flags
    import dns.rcode
    rcode = response.rcode()
    if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise Unanswered("says " + dns.rcode.to_text(rcode))
    try:
        chain = response.resolve_chaining()
    except dns.exception.DNSException:
        raise Unanswered("gives an answer that contradicts itself")
    secure = trusted and bool(response.flags & dns.flags.AD)
    name = chain.canonical_name.to_text(omit_final_dot=True).lower()
    if chain.answer is None and response.errors:
        raise Unanswered("sends what is not to be read")
    if chain.answer is None:
        ttl = min(chain.minimum_ttl, _negative_ttl(response))
        return ttl, Answer((), rcode == dns.rcode.NOERROR, secure, name)
    records = tuple(b"".join(data.strings) if hasattr(data, "strings") else data.to_text() for data in chain.answer)
    return min(chain.minimum_ttl, _LONGEST), Answer(records, True, secure, name)


def _negative_ttl(response):
    """RFC 2308 section 5: what the SOA says; without one a "no" is not remembered."""
    import dns.rdatatype
    found = [min(rrset.ttl, rrset[0].minimum) for rrset in response.authority if rrset.rdtype == dns.rdatatype.SOA]
    return min(found + [_LONGEST_NO]) if found else 0
