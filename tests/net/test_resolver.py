"""Questions to the DNS over real sockets: what is understood, what is believed, what is
remembered."""

import socket
import struct
import sys
import threading
import time

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.version
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.config.settings import Resolver
from phenmail_protocols.net import resolver
from phenmail_protocols.net.resolver import Lookup, NoDnspython, Unanswered

from . import nameserver
from .nameserver import NameServer

ZONE = """
example.org.       300 IN MX 20 mx2.example.org.
example.org.       300 IN MX 10 MX1.Example.ORG.
example.org.       300 IN TXT "v=spf1 " "-all"
mx1.example.org.    60 IN A 192.0.2.1
mx1.example.org.    60 IN A 192.0.2.2
mx2.example.org.       IN AAAA 2001:DB8:0::1
_25._tcp.mx1.example.org. IN TLSA 3 1 1 0b9fa5a59eed715c26c1020c711b4f6ec42d58b0015e14337a39dad301c5afc3
_imaps._tcp.example.org.  IN SRV 0 1 993 mail.example.org.
alias.example.org.  30 IN CNAME again.example.org.
again.example.org. 300 IN CNAME mx1.example.org.
dangling.example.org.  IN CNAME nobody.example.org.
circle.example.org.    IN CNAME circle2.example.org.
circle2.example.org.   IN CNAME circle.example.org.
forgotten.example.org. 0 IN A 192.0.2.3
""" + "".join('large.example.org. IN TXT "%d%s"\n' % (number, "x" * 200) for number in range(30))


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server():
    with NameServer(ZONE) as server:
        yield server


def looking(*servers, timeout=5.0, **options):
    """A Lookup that asks these servers (NameServer or address)."""
    return Lookup(Resolver(tuple(getattr(server, "address", server) for server in servers),
                           timeout), **options)


def dead_address():
    """Where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.3", 0))
        return sock.getsockname()


# -- what is understood
# --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, kind, records", [
    ("example.org", "MX", {"10 mx1.example.org.", "20 mx2.example.org."}),
    ("Example.Org.", "TXT", {b"v=spf1 -all"}),
    ("mx1.example.org", "A", {"192.0.2.1", "192.0.2.2"}),
    ("mx2.example.org", "AAAA", {"2001:db8::1"}),
    ("_imaps._tcp.example.org", "SRV", {"0 1 993 mail.example.org."}),
    ("alias.example.org", "CNAME", {"again.example.org."}),
])
def test_records(server, name, kind, records):
    answer = looking(server).ask(name, kind)
    assert {record.lower() for record in answer.records} == records and len(
        answer.records) == len(records)
    assert answer.exists and not answer.secure


def test_tlsa_in_zone_form(server):
    record, = looking(server).ask("_25._tcp.mx1.example.org", "TLSA").records
    assert record.split()[:3] == ["3", "1", "1"]
    assert "".join(record.split()[3:]).startswith("0b9fa5a5") and len(
        "".join(record.split()[3:])) == 64


def test_cnames_are_followed(server):
    answer = looking(server).ask("alias.example.org", "A")
    assert set(answer.records) == {"192.0.2.1", "192.0.2.2"} and answer.name == "mx1.example.org"


@pytest.mark.parametrize("name, kind, exists", [
    ("mx1.example.org", "MX", True),
    ("org", "MX", True),
    ("alias.example.org", "MX", True),
    ("nobody.example.org", "A", False),
    ("dangling.example.org", "A", False),
])
def test_what_is_not_there(server, name, kind, exists):
    answer = looking(server).ask(name, kind)
    assert answer.records == () and answer.exists is exists


@pytest.mark.parametrize("name",
                         ["a..b", ".a", "x" * 64 + ".org", ".".join(["x" * 60] * 5), "a\\999.b"])
def test_a_name_that_can_not_be_is_asked_of_nobody(server, name):
    answer = looking(server).ask(name, "A")
    assert not answer.exists and answer.records == ()
    assert server.asked == []


def test_a_circle_of_aliases_is_no_answer(server):
    with pytest.raises(Unanswered, match="circle.example.org: 127.0.0.1 ."):
        looking(server).ask("circle.example.org", "A")


@pytest.mark.parametrize("name, kind", [("large.example.org", "TXT"), ("mx1.example.org", "A")])
def test_a_cut_answer_is_fetched_over_tcp(server, name, kind):
    server.behave("mx1.example.org", truncated=True)
    assert len(looking(server).ask(name, kind).records) == (30 if kind == "TXT" else 2)
    assert [transport for _, _, transport in server.asked] == ["udp", "tcp"]


def test_a_server_from_before_edns():
    class Old(NameServer):
        def _respond(self, query, question, manner):
            response = super(Old, self)._respond(query, question, manner)
            if query.edns >= 0:
                response.answer = []
                response.set_rcode(dns.rcode.FORMERR)
            return response

    with Old(ZONE) as server:
        assert len(looking(server).ask("mx1.example.org", "A").records) == 2


# -- whom to ask
# --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED", "NOTIMP", "FORMERR"])
def test_another_server_is_asked_where_one_fails(server, rcode):
    with NameServer(ZONE, host="127.0.0.2") as bad:
        bad.behave("mx1.example.org", rcode=rcode)
        assert looking(bad, server).ask("mx1.example.org", "A").records
        with pytest.raises(Unanswered,
                           match="mx1.example.org: 127.0.0.2 says %s$" % rcode) as caught:
            looking(bad).ask("mx1.example.org", "A")
        assert caught.value.enhanced == "4.4.3"
        tries = 2 if rcode in ("NOTIMP", "FORMERR") else 1  # with EDNS and without
        assert len(bad.asked) == 1 + tries, "it would have said the same again"


@pytest.mark.parametrize("silent", [True, False])
def test_a_server_that_is_away_costs_once(server, silent):
    with NameServer(ZONE, host="127.0.0.2") as away:
        away.behave("mx1.example.org", silent=True)
        away.behave("mx2.example.org", silent=True)
        found = looking(away if silent else dead_address(), server, timeout=2.0)
        assert found.ask("mx1.example.org", "A").records
        assert found.ask("mx2.example.org", "AAAA").records
        assert away.questions() == (["mx1.example.org"] if silent else [])


def test_silence_ends_in_time(server):
    server.behave("example.org", silent=True)
    began = time.monotonic()
    with pytest.raises(Unanswered, match="no answer in time"):
        looking(server, timeout=0.3).ask("example.org", "MX")
    assert 0.2 < time.monotonic() - began < 3
    assert server.questions() in (["example.org"] * 2, ["example.org"] * 3)


def test_a_slow_server_is_waited_for(server):
    server.behave("example.org", delay=0.15)
    assert looking(server, timeout=1.5).ask("example.org", "MX").records


def test_a_lost_datagram_is_sent_again(server):
    lost = []
    server.behave("example.org", twist=lambda wire: [wire] if lost else lost.append(wire) or [])
    assert looking(server, timeout=2.0).ask("example.org", "MX").records


@pytest.mark.parametrize("twist", [
    lambda wire: [wire[:5]],
    lambda wire: [b""],
    lambda wire: [struct.pack("!H", 1) + wire[2:]],
])
def test_nonsense_over_tcp(server, twist):
    server.behave("large.example.org", twist=lambda wire: [wire] if wire[2] & 0x02 else twist(wire))
    with pytest.raises(Unanswered, match="large.example.org: 127.0.0.1 ."):
        looking(server, timeout=1.0).ask("large.example.org", "TXT")


# -- the system's servers
# --------------------------------------------------------------------------------------------------

def test_resolv_conf_missing_or_empty(tmp_path):
    path = tmp_path / "resolv.conf"
    asking = Lookup(None, resolv_conf=str(path))
    for words in ("which names the DNS servers: No such file", "expected a line with nameserver"):
        with pytest.raises(Unanswered, match=words) as caught:
            asking.ask("example.org", "MX")
        assert caught.value.enhanced == "4.3.5" and str(path) in str(caught.value)
        path.write_text(u"# nothing\nnameserver\n; nameserver 127.0.0.1\noptions timeout:1\n")


def test_resolv_conf_is_read_and_read_again(server, tmp_path, monkeypatch):
    path = tmp_path / "resolv.conf"
    path.write_text(u"search example.com\nnameserver 127.0.0.1\n")
    monkeypatch.setattr(resolver, "_PORT", server.address[1])
    asking = Lookup(None, resolv_conf=str(path))
    assert asking.ask("mx1.example.org", "A").records
    with NameServer("mx1.example.org. IN A 192.0.2.99\n") as other:
        monkeypatch.setattr(resolver, "_PORT", other.address[1])
        assert "192.0.2.99" not in asking.ask("mx1.example.org", "A").records
        path.write_text(u"nameserver 127.0.0.1 # another network\n")
        assert asking.ask("mx1.example.org", "A").records == ("192.0.2.99",)


def test_settings_without_servers_use_the_systems(server, tmp_path, monkeypatch):
    monkeypatch.setattr(resolver, "_PORT", server.address[1])
    path = tmp_path / "resolv.conf"
    path.write_text(u"nameserver 127.0.0.1\n")
    assert Lookup(Resolver((), 3.0), resolv_conf=str(path)).ask("mx1.example.org", "A").records


def test_without_dnspython(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "dns.resolver", None)
    with pytest.raises(NoDnspython, match="dnspython is missing") as caught:
        looking(server).ask("example.org", "MX")
    assert caught.value.enhanced == "4.3.5" and server.asked == []


def test_a_host_name_that_is_no_domain_name(server, monkeypatch):
    monkeypatch.setattr(dns.resolver.socket, "gethostname", lambda: "x" * 64)
    with pytest.raises(Unanswered, match="host name"):
        looking(server).ask("example.org", "MX")


# -- what is believed
# --------------------------------------------------------------------------------------------------

def forgeries(wire):
    """Datagrams that an attacker sends before the true one."""
    other = dns.message.from_wire(wire)
    for rrset in other.question:
        rrset.name = rrset.name.parent()
    question = wire[:2] + bytes([wire[2] & 0x7F]) + wire[3:]
    return [b"", b"\x00", wire[:12],
            struct.pack("!H", struct.unpack("!H", wire[:2])[0] ^ 1) + wire[2:], question,
            other.to_wire(), wire[:2] + b"\xff" * 200]


def test_answers_to_other_questions_are_not_believed(server):
    """dnspython passes them over; before 2.6 it believes nobody then (CVE-2023-29483), and somebody
    asks again later."""
    server.behave("mx1.example.org", twist=lambda wire: forgeries(wire) + [wire])
    try:
        assert set(looking(server).ask("mx1.example.org", "A").records) == {
            "192.0.2.1", "192.0.2.2"}
    except Unanswered:
        assert (dns.version.MAJOR, dns.version.MINOR) < (2, 6)
    assert len(server.asked) == 1
    server.behave("mx1.example.org", twist=forgeries)
    with pytest.raises(Unanswered):
        looking(server, timeout=0.3).ask("mx1.example.org", "A")


@pytest.mark.parametrize("name", ["mx2.example.org", "mx1.example.org"])
def test_a_broken_record_is_no_answer(server, name):
    """An A record of three octets, before the OPT record at the end."""
    server.behave(name, twist=lambda wire: [
        wire[:6] + struct.pack("!H", struct.unpack("!H", wire[6:8])[0] + 1) + wire[8:-11]
        + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x03abc" + wire[-11:]])
    with pytest.raises(Unanswered):
        looking(server, timeout=0.3).ask(name, "A")


def test_ids_and_ports_are_not_to_be_guessed(monkeypatch):
    ids, ports, handle = [], [], nameserver._UdpHandler.handle

    def note(handler):
        ids.append(handler.request[0][:2])
        ports.append(handler.client_address[1])
        handle(handler)

    monkeypatch.setattr(nameserver._UdpHandler, "handle", note)
    with NameServer(ZONE) as server:
        for number in range(20):
            looking(server).ask("mx1.example.org", "A")
    assert len(set(ids)) > 15 and len(set(ports)) > 15
    steps = {second - first for first, second in zip(ports, ports[1:])}
    assert len(steps) > 5, "ports that can be counted: %r" % ports


@pytest.mark.parametrize("local, authentic, secure",
                         [(True, True, True), (True, False, False), (False, True, False)])
def test_only_a_server_on_this_machine_vouches(server, monkeypatch, local, authentic, secure):
    server.authentic = authentic
    if not local:
        monkeypatch.setattr(resolver, "is_loopback", lambda host: False)
    asking = looking(server)
    assert asking.ask("mx1.example.org", "A").secure is secure
    assert asking.ask("mx1.example.org", "MX").secure is secure, "its word about what is not there"
    assert asking.ask("mx1.example.org", "A").secure is secure, "remembered"


def a_response():
    query = dns.message.make_query("alias.example.org.", "A", use_edns=0)
    with NameServer(ZONE, negative_ttl=None) as server:
        wire, = server.answer(query.to_wire(), "udp")
    return query, wire


QUERY, WIRE = a_response()


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(2, len(WIRE) - 1), st.integers(0, 255)), max_size=5),
       st.integers(12, len(WIRE)))
def test_every_response_ends_in_an_answer_or_in_none(changes, length):
    wire = bytearray(WIRE)
    for where, octet in changes:
        wire[where] = octet
    try:
        response = dns.message.from_wire(bytes(wire[:length]))
        dns.resolver.Answer(QUERY.question[0].name, dns.rdatatype.A, dns.rdataclass.IN, response)
    except Exception:  # dns.resolver asks somebody else then
        return
    ttl, answer = resolver._understand(response, True)
    assert ttl <= 86400 and all(isinstance(record, (str, bytes)) for record in answer.records)


# -- what is remembered
# --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, kind, ttl", [
    ("mx1.example.org", "A", 60),
    ("alias.example.org", "A", 30),
    ("mx1.example.org", "MX", 60),
    ("nobody.example.org", "MX", 60),
])
def test_until_the_ttl_is_over(server, clock, name, kind, ttl):
    asking = looking(server, clock=clock)
    first = asking.ask(name, kind)
    clock.now += ttl - 1
    assert asking.ask(name.upper() + ".", kind) == first and len(server.asked) == 1
    clock.now += 2
    assert set(asking.ask(name, kind).records) == set(first.records) and len(server.asked) == 2


@pytest.mark.parametrize("name, kind", [("forgotten.example.org", "A"),
                                        ("large.example.org", "TXT"), ("nobody.example.org", "A")])
def test_not_at_all(clock, name, kind):
    """A TTL of nothing; more than one answer may cost; a no without SOA."""
    with NameServer(ZONE, negative_ttl=None) as server:
        asking = looking(server, clock=clock)
        asking.ask(name, kind)
        first = len(server.asked)
        asking.ask(name, kind)
        assert len(server.asked) == 2 * first


def test_a_failure_is_not_remembered(server, clock):
    asking = looking(server, clock=clock)
    server.behave("example.org", rcode="SERVFAIL")
    with pytest.raises(Unanswered):
        asking.ask("example.org", "MX")
    server.behave("example.org")
    assert asking.ask("example.org", "MX").records


def test_no_longer_than_a_day_and_a_no_for_three_hours(clock):
    with NameServer("a. 9999999 IN A 192.0.2.1\n", negative_ttl=9999999) as server:
        asking = looking(server, clock=clock)
        for _ in range(2):
            asking.ask("a", "A"), asking.ask("b", "A")
        clock.now += 3 * 3600 + 1
        asking.ask("a", "A"), asking.ask("b", "A")
        clock.now += 86400 - 3 * 3600
        asking.ask("a", "A")
    assert server.questions() == ["a", "b", "b", "a"]


def test_what_is_remembered_is_bounded(monkeypatch, clock):
    monkeypatch.setattr(resolver, "_ANSWERS", 3)
    zone = "".join("h%d. %d IN A 192.0.2.1\n" % (number, 10 if number == 2 else 300)
                   for number in range(9))
    with NameServer(zone) as server:
        asking = looking(server, clock=clock)
        for name in ("h1", "h2", "h3"):
            asking.ask(name, "A")
        clock.now += 20
        asking.ask("h4", "A")  # takes the place of h2, whose time is over
        asking.ask("h1", "A")
        assert server.questions() == ["h1", "h2", "h3", "h4"]
        asking.ask("h5", "A")  # takes that of the oldest
        asking.ask("h3", "A"), asking.ask("h4", "A"), asking.ask("h5", "A")
        assert server.questions() == ["h1", "h2", "h3", "h4", "h5"]
        asking.ask("h1", "A")
        assert server.questions()[5:] == ["h1"]


def test_many_threads(server):
    asking, found = looking(server, timeout=1.2), []
    server.behave("example.org", silent=True)
    slow = threading.Thread(target=lambda: pytest.raises(Unanswered, asking.ask, "example.org",
                                                         "MX"), daemon=True)
    slow.start()
    threads = [threading.Thread(target=lambda: found.append(asking.ask("alias.example.org", "A")),
                                daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8 and len({frozenset(answer.records) for answer in found}) == 1
    assert slow.is_alive(), "waited for another's question"
    slow.join(10)
