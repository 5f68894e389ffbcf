"""A DNS server on the loopback for tests: UDP and TCP at one port, a zone's text in, misbehaviour
on demand.

    with NameServer("example.org. 300 IN MX 10 mx.example.org.\nmx.example.org. 300 IN A
    127.0.0.1\n") as server:
        Routes(Resolver((server.address,), 2.0), …)

It answers as a recursive server does that knows the whole world: CNAMEs are followed, what is not
in the text does not exist (NXDOMAIN, with an SOA of the root that says for how long). AD is set
where `authentic` says so and the question asks for it (AD or DO, RFC 6840 section 5.7). `asked`
lists the questions as (name without final dot, type, "udp" or "tcp").
"""

import socketserver
import struct
import threading

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.zone

NO_EDNS_PAYLOAD = 512


class Manner:
    """How questions for one name are answered; the default is rightly."""

    def __init__(self, kind=None, rcode=None, silent=False, delay=0.0, truncated=False, twist=None,
                 authentic=None):
        self.kind, self.rcode, self.silent, self.delay = kind, rcode, silent, delay
        self.truncated, self.twist, self.authentic = truncated, twist, authentic


class NameServer:
    """`zone`: records in zone file form ($ORIGIN works; $TTL is 300 unless it says otherwise),
    without SOA. `authentic`: set AD everywhere. `negative_ttl`: for how long what is not there may
    be remembered, None: no SOA says so."""

    def __init__(self, zone="", authentic=False, negative_ttl=60, host="127.0.0.1", port=0):
        self.authentic, self.asked = authentic, []
        self._soa = None if negative_ttl is None else dns.rrset.from_text(
            ".", 86400, "IN", "SOA", ". . 1 86400 86400 86400 %d" % negative_ttl)
        self._manners, self._stopped = {}, threading.Event()
        self.load(zone)
        self._udp, self._tcp = self._listen(host, port)
        self.address = self._udp.server_address[:2]

    def load(self, zone):
        """Takes another zone text instead of the one before."""
        self._zone = dns.zone.from_text("$TTL 300\n$ORIGIN .\n" + zone, origin=".",
                                        relativize=False, check_origin=False)

    def behave(self, name, kind=None, **manner):
        """How questions for `name` are answered from now on, all or those of one type ("MX").

        rcode="SERVFAIL" (or another); silent=True: never; delay=seconds; truncated=True: UDP
        answers are empty with TC; authentic=True/False: AD for this name; twist=callable(wire) ->
        the datagrams (or TCP messages) to send instead. No manner: rightly again.
        """
        self._manners[_plain(name), kind] = Manner(kind, **manner)

    def questions(self, kind=None):
        """The names asked for so far (of one type), in order."""
        return [name for name, asked, _ in self.asked if kind in (None, asked)]

    def __enter__(self):
        for server in (self._udp, self._tcp):
            threading.Thread(target=server.serve_forever, args=(0.02,), name="nameserver",
                             daemon=True).start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        for server in (self._udp, self._tcp):
            server.shutdown()
            server.server_close()

    def _listen(self, host, port):
        """Both servers at one port: whichever is free for UDP may be taken for TCP."""
        for attempt in range(20):
            udp = _Udp((host, port), _UdpHandler)
            try:
                tcp = _Tcp(udp.server_address, _TcpHandler)
            except OSError:
                udp.server_close()
                if port or attempt == 19:
                    raise
                continue
            udp.nameserver = tcp.nameserver = self
            return udp, tcp

    def answer(self, wire, transport):
        """The octets of a question -> the octets of the messages to send back, in order."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, kind = _plain(question.name), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind, transport))
        manner = self._manners.get((name, kind)) or self._manners.get((name, None)) or Manner()
        if self._stopped.wait(manner.delay) or manner.silent:
            return []
        response = self._respond(query, question, manner)
        if transport == "udp" and manner.truncated:
            response.answer, response.authority = [], []
            response.flags |= dns.flags.TC
        wire = _rendered(response, query, transport)
        return manner.twist(wire) if manner.twist else [wire]

    def _respond(self, query, question, manner):
        response = dns.message.make_response(query, recursion_available=True)
        if manner.rcode is not None:
            response.set_rcode(dns.rcode.from_text(manner.rcode))
            return response
        authentic = self.authentic if manner.authentic is None else manner.authentic
        if authentic and (query.flags & dns.flags.AD or query.ednsflags & dns.flags.DO):
            response.flags |= dns.flags.AD
        name = self._follow(response, question.name, question.rdtype)
        found = name is not None and self._zone.get_rdataset(name, question.rdtype)
        if found:
            response.answer.append(_rrset(name, found))
        elif name is not None:
            if not any(known.is_subdomain(name) for known in self._zone.nodes):
                response.set_rcode(dns.rcode.NXDOMAIN)
            if self._soa is not None:
                response.authority.append(self._soa)
        return response

    def _follow(self, response, name, kind):
        """Puts the CNAMEs from `name` on into the answer -> the last name, or None if they
        loop."""
        seen = set()
        while kind != dns.rdatatype.CNAME and name not in seen:
            seen.add(name)
            alias = self._zone.get_rdataset(name, dns.rdatatype.CNAME)
            if not alias:
                return name
            response.answer.append(_rrset(name, alias))
            name = alias[0].target
        return name if kind == dns.rdatatype.CNAME else None


def _plain(name):
    return str(name).lower().rstrip(".")


def _rrset(name, rdataset):
    return dns.rrset.from_rdata_list(name, rdataset.ttl, list(rdataset))


def _rendered(response, query, transport):
    """Wire form; cut with TC where it is longer than the asker's UDP payload."""
    wire = response.to_wire(max_size=65535)
    most = 65535 if transport == "tcp" else max(query.payload if query.edns >= 0 else 0,
                                                NO_EDNS_PAYLOAD)
    if len(wire) <= most:
        return wire
    response.answer, response.authority = [], []
    response.flags |= dns.flags.TC
    return response.to_wire(max_size=65535)


class _Udp(socketserver.ThreadingMixIn, socketserver.UDPServer):
    daemon_threads, block_on_close = True, False


class _Tcp(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads, block_on_close, allow_reuse_address = True, False, True


class _UdpHandler(socketserver.BaseRequestHandler):
    def handle(self):
        wire, sock = self.request
        for answer in self.server.nameserver.answer(wire, "udp"):
            sock.sendto(answer, self.client_address)


class _TcpHandler(socketserver.StreamRequestHandler):
    def handle(self):
        self.request.settimeout(30)
        while True:
            head = self.rfile.read(2)
            if len(head) < 2:
                return
            wire = self.rfile.read(struct.unpack("!H", head)[0])
            for answer in self.server.nameserver.answer(wire, "tcp"):
                self.request.sendall(struct.pack("!H", len(answer)) + answer)
