"""MX hosts, addresses and TLSA records, from a DNS server on the loopback."""

import socket
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.config.settings import Resolver
from phenmail_protocols.net import address
from phenmail_protocols.relay import mx_routes
from phenmail_protocols.relay.mx_routes import Host, NoRoute, NotFound, Routes, Tlsa

from ..net.nameserver import NameServer

ZONE = """
example.org. IN MX 20 mx3.example.org.
example.org. IN MX 10 mx1.example.org.
example.org. IN MX 10 MX2.example.org.
mx1.example.org. IN A 127.0.0.1
mx1.example.org. IN A 127.0.0.2
mx1.example.org. IN AAAA ::1
mx2.example.org. IN A 198.51.100.2
mx3.example.org. IN A 192.0.2.3
bare.example. IN A 192.0.2.4
six.example. IN AAAA 2001:db8::1
empty.example. IN TXT "nothing else"
null.example. IN MX 0 .
null.example. IN A 192.0.2.5
halfnull.example. IN MX 0 .
halfnull.example. IN MX 5 mx2.example.org.
odd.example. IN MX 5 a\\.b.example.
odd.example. IN MX 5 spa\\032ce.example.
odder.example. IN MX 5 spa\\032ce.example.
odder.example. IN MX 7 mx2.example.org.
odder.example. IN MX 5 mx2.example.org.
alias.example. IN CNAME example.org.
barealias.example. IN CNAME bare.example.
dangling.example. IN CNAME nobody.example.
xn--bcher-kva.example. IN MX 10 mx.xn--bcher-kva.example.
mapped.example. IN AAAA ::ffff:127.0.0.1
unspecified.example. IN A 0.0.0.0
unspecified.example. IN AAAA ::
_25._tcp.mx1.example.org. IN TLSA 3 1 1 0b9fa5a59eed715c26c1020c711b4f6ec42d58b0015e14337a39dad301c5afc3
_25._tcp.mx1.example.org. IN TLSA 2 0 0 c0ffee
mx4.example.org. IN CNAME mx1.example.org.
mx5.example.org. IN CNAME mx2.example.org.
_25._tcp.mx5.example.org. IN TLSA 3 1 1 """ + "aa" * 32 + "\n" + "".join("many.example. IN MX %d m%d.example.\nmany.example. IN A 198.51.100.%d\n" % (n, n, n) for n in range(1, 60))


@pytest.fixture(scope="module")
def server():
    with NameServer(ZONE) as server:
        yield server


def routing(server, own_names=(), own_addresses=(), **options):
    resolver = Resolver((server.address,), options.pop("timeout", 5.0))
    return Routes(resolver, lambda: frozenset(own_names), lambda: frozenset(own_addresses),
                  **options)


def refused(call, *arguments):
    """The reply of NoRoute -> ("code enhanced", its text)."""
    with pytest.raises(NoRoute) as caught:
        call(*arguments)
    reply = caught.value.reply
    assert str(caught.value) == reply.text and reply.host == ""
    return "%d %s" % (reply.code, reply.enhanced), reply.text


def names(route):
    return [host.name for host in route.hosts]


# -- routes

def test_order_by_preference_then_random(server):
    found = routing(server)
    orders = {tuple(found.route("Example.ORG.").hosts) for _ in range(60)}
    last = Host("mx3.example.org", 20)
    first, second = Host("mx1.example.org", 10), Host("mx2.example.org", 10)
    assert orders == {(first, second, last), (second, first, last)}


@pytest.mark.parametrize("domain, hosts", [
    ("bare.example", [Host("bare.example", 0)]),
    ("six.example", [Host("six.example", 0)]),
    ("barealias.example", [Host("barealias.example", 0)]),
    (u"B\u00fccher.example", [Host("mx.xn--bcher-kva.example", 10)]),
    ("odder.example", [Host("mx2.example.org", 5)]),
    ("halfnull.example", [Host("mx2.example.org", 5)]),
    ("[192.0.2.9]", [Host("[192.0.2.9]", 0)]),
    ("[ipv6:2001:db8::9]", [Host("[ipv6:2001:db8::9]", 0)]),
])
def test_one_host(server, domain, hosts):
    assert list(routing(server).route(domain).hosts) == hosts


def test_the_mx_of_an_alias(server):
    assert sorted(names(routing(server).route("alias.example"))) == [
        "mx1.example.org", "mx2.example.org", "mx3.example.org"]


def test_the_number_of_hosts_is_limited(server):
    found = routing(server).route("many.example").hosts
    assert [host.preference for host in found] == list(range(1, 31))
    assert len(routing(server).addresses("many.example").ips) == 16


@pytest.mark.parametrize("domain, reply, words", [
    ("nobody.example", "550 5.1.2", "domain nobody.example does not exist"),
    ("dangling.example", "550 5.1.2", "does not exist"),
    ("empty.example", "550 5.1.2", "empty.example has no address"),
    ("unspecified.example", "550 5.1.2", "has no address"),
    ("null.example", "556 5.1.10", "null.example does not accept mail"),
    ("odd.example", "550 5.1.2", "no valid host"),
    ("192.0.2.1", "550 5.1.2", "does not exist"),
    ("[bogus]", "550 5.1.2", "invalid address literal"),
    ("a..b", "550 5.1.2", "has a label that is empty"),
    (u"\u00fc" * 70 + ".example", "550 5.1.2", "no ASCII form"),
])
def test_permanent_failures(server, domain, reply, words):
    code, text = refused(routing(server).route, domain)
    assert code == reply and words in text


def test_temporary_failures():
    with NameServer(ZONE) as server:
        server.behave("example.org", rcode="SERVFAIL")
        server.behave("six.example", silent=True)
        server.behave("bare.example", kind="A", rcode="REFUSED")
        for domain, words, timeout in (("example.org", "SERVFAIL", 5),
                                       ("six.example", "in time", 0.2),
                                       ("bare.example", "REFUSED", 5)):
            code, text = refused(routing(server, timeout=timeout).route, domain)
            assert code == "451 4.4.3" and words in text and domain in text


def test_without_resolv_conf_our_configuration_is_wrong(tmp_path):
    found = Routes(None, frozenset, frozenset, resolv_conf=str(tmp_path / "resolv.conf"))
    code, text = refused(found.route, "example.org")
    assert code == "451 4.3.5" and "resolv.conf" in text


@pytest.mark.parametrize("secure", [True, False])
def test_whether_dnssec_validated_the_answer(secure):
    with NameServer(ZONE, authentic=secure) as server:
        found = routing(server)
        assert found.route("example.org").secure is secure
        assert found.route("bare.example").secure is secure
        assert found.route("[192.0.2.1]").secure is False
        assert found.addresses("mx1.example.org").secure is secure
        assert found.addresses("192.0.2.1").secure is False


# -- loops

def test_only_hosts_before_ourselves(server):
    assert sorted(names(routing(server, ["mx3.example.org"]).route("example.org"))) == [
        "mx1.example.org", "mx2.example.org"]


@pytest.mark.parametrize("own, domain", [
    ("MX1.example.org", "example.org"),
    ("bare.example", "bare.example"),
    (u"mx.b\u00fccher.example", u"b\u00fccher.example"),
])
def test_we_have_the_best_preference(server, own, domain):
    code, text = refused(routing(server, [own]).route, domain)
    assert code == "554 5.4.6" and "loop back to this server" in text


@pytest.mark.parametrize("own, kept", [
    ({("127.0.0.1", 2525)}, {"127.0.0.2", "::1"}),
    ({("127.0.0.1", 25), ("::1", 2526)}, {"127.0.0.1", "127.0.0.2", "::1"}),
    ({("::", 2526), ("0.0.0.0", 993)}, {"127.0.0.1", "127.0.0.2", "::1"}),
    ({("::1", 2525), ("::ffff:127.0.0.2", 2525)}, {"127.0.0.1"}),
])
def test_an_address_of_ours_is_left_out(server, own, kept):
    assert set(routing(server, own_addresses=own,
                       remote_port=2525).addresses("mx1.example.org").ips) == kept


@pytest.mark.parametrize("own, host", [
    ({("0.0.0.0", 2525), ("::", 2525)}, "mx1.example.org"),
    ({("127.0.0.1", 2525)}, "mapped.example"),
    ({("127.0.0.1", 2525)}, "127.0.0.1"),
    ({("127.0.0.1", 2525)}, "[127.0.0.1]"),
    ({("::1", 2525)}, "[ipv6:0:0:0:0:0:0:0:1]"),
    ({("0.0.0.0", 2525), ("::1", 2525)}, "localhost"),
])
def test_only_our_own_addresses(server, own, host):
    found = routing(server, own_addresses=own, remote_port=2525)
    assert refused(found.addresses, host)[0] == "554 5.4.6"
    assert found.addresses(host, 2526).ips, "another port of this machine"


def test_a_listener_everywhere_is_on_this_machine_only(server, monkeypatch):
    found = routing(server, own_addresses={("0.0.0.0", 25), ("::", 25)})
    assert found.addresses("mx2.example.org").ips == ("198.51.100.2",)
    assert found.addresses("six.example").ips == ("2001:db8::1",)
    monkeypatch.setattr(address, "source", lambda ip: ip)
    assert refused(found.addresses, "mx2.example.org")[0] == "554 5.4.6"
    assert refused(found.addresses, "six.example")[0] == "554 5.4.6"


# -- addresses

def test_both_families_by_turns(server, monkeypatch):
    monkeypatch.setattr(mx_routes, "source", lambda ip: "192.0.2.77")
    orders = {routing(server).addresses("mx1.example.org").ips for _ in range(40)}
    assert orders == {("::1", "127.0.0.1", "127.0.0.2"), ("::1", "127.0.0.2", "127.0.0.1")}


def test_addresses_without_a_route_come_last(server, monkeypatch):
    monkeypatch.setattr(mx_routes, "source", lambda ip: None if ":" in ip else "192.0.2.77")
    assert routing(server).addresses("mx1.example.org").ips[2] == "::1"
    assert routing(server).addresses("six.example").ips == ("2001:db8::1",), (
        "the connection will say why not")


def test_a_way_is_probed_without_a_packet():
    assert address.source("127.0.0.1") == "127.0.0.1"
    assert address.source("255.255.255.255") is None, "the kernel refuses broadcasts"


@pytest.mark.parametrize("host, ips", [
    ("mapped.example", {"127.0.0.1"}), ("barealias.example", {"192.0.2.4"}),
    ("six.example", {"2001:db8::1"}),
    ("[192.0.2.1]", {"192.0.2.1"}), ("192.0.2.1", {"192.0.2.1"}),
    ("[IPv6:2001:DB8:0::1]", {"2001:db8::1"}),
    ("2001:db8::2", {"2001:db8::2"}), ("localhost", {"127.0.0.1", "::1"}),
])
def test_addresses(server, host, ips):
    assert set(routing(server).addresses(host).ips) == ips


def test_one_family_is_enough():
    with NameServer(ZONE) as server:
        server.behave("mx1.example.org", kind="AAAA", rcode="SERVFAIL")
        assert set(routing(server).addresses("mx1.example.org").ips) == {"127.0.0.1", "127.0.0.2"}
        server.behave("mx2.example.org", kind="AAAA", rcode="SERVFAIL")
        server.behave("mx2.example.org", kind="A", rcode="SERVFAIL")
        assert refused(routing(server).addresses, "mx2.example.org")[0] == "451 4.4.3"
        server.behave("six.example", kind="A", rcode="SERVFAIL")
        assert routing(server).addresses("six.example").ips == ("2001:db8::1",)


@pytest.mark.parametrize("host, reply", [("nobody.example", "550 5.1.2"),
                                         ("empty.example", "550 5.1.2"), ("", "550 5.1.2")])
def test_no_addresses(server, host, reply):
    assert refused(routing(server).addresses, host)[0] == reply
    assert "nobody.example" not in server.questions("AAAA"), (
        "a name that is not there has no other records")


# -- without dnspython

def test_without_dnspython_hosts_are_found_and_domains_are_not(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "dns.resolver", None)
    asked = []

    def getaddrinfo(host, port, **_):
        asked.append(host)
        if host == "nobody.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if host == "later.example":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure")
        return [(socket.AF_INET, 0, 0, "", ("192.0.2.8", 0))]

    monkeypatch.setattr(mx_routes.socket, "getaddrinfo", getaddrinfo)
    by_system = Routes(None, frozenset, frozenset)
    assert by_system.addresses("smarthost.example").ips == ("192.0.2.8",)
    assert refused(by_system.addresses, "nobody.example")[0] == "550 5.1.2"
    assert refused(by_system.addresses, "later.example")[0] == "451 4.4.3"
    assert asked == ["smarthost.example", "nobody.example", "later.example"]
    for found in (by_system.route, routing(server).route, routing(server).addresses):
        code, text = refused(found, "example.org")
        assert code == "451 4.3.5" and "dnspython is missing" in text
    assert names(by_system.route("[192.0.2.1]")) == ["[192.0.2.1]"]


def test_a_smarthost_that_only_the_system_knows(server, monkeypatch):
    """Its name may be in /etc/hosts; other domains are looked up only in the DNS."""
    monkeypatch.setattr(mx_routes.socket, "getaddrinfo", lambda *_,
                        **__: [(socket.AF_INET, 0, 0, "", ("192.0.2.8", 0))])
    found = routing(server)
    assert found.for_smarthost().addresses("nobody.example").ips == ("192.0.2.8",)
    assert refused(found.addresses, "nobody.example")[0] == "550 5.1.2"


# -- records

def test_tlsa(server):
    found = routing(server).tlsa("mx1.example.org.", 25)
    digest = bytes.fromhex("0b9fa5a59eed715c26c1020c711b4f6ec42d58b0015e14337a39dad301c5afc3")
    assert sorted(found.records) == [(2, 0, 0, b"\xc0\xff\xee"), (3, 1, 1, digest)]
    assert found.base == "mx1.example.org" and not found.secure
    assert routing(server).tlsa("mx1.example.org", 26) == Tlsa((), False)
    assert routing(server).tlsa("nobody.example", 25) == Tlsa((), False)


def test_tlsa_where_the_name_is_an_alias():
    with NameServer(ZONE, authentic=True) as server:
        assert routing(server).tlsa("mx4.example.org", 25).base == "mx1.example.org"
        assert routing(server).tlsa("mx5.example.org",
                                    25) == Tlsa(((3, 1, 1, b"\xaa" * 32),), True, "mx5.example.org")
        server.behave("mx4.example.org", authentic=False)
        assert routing(server).tlsa("mx4.example.org", 25).records == ()
        server.behave("_25._tcp.mx5.example.org", rcode="SERVFAIL")
        assert refused(routing(server).tlsa, "mx5.example.org", 25)[0] == "451 4.4.3"


def test_records_as_zone_files_have_them(server):
    found = routing(server)
    assert found.records("empty.example", "TXT") == (b"nothing else",)
    assert found.records("null.example", "MX") == ("0 .",)
    assert found.records("alias.example", "CNAME") == ("example.org.",)
    assert found.records(u"b\u00fccher.example", "MX") == ("10 mx.xn--bcher-kva.example.",)


@pytest.mark.parametrize("name, exists", [("nobody.example", False),
                                          ("_mta-sts.example.org", False), ("empty.example", True)])
def test_records_that_are_not_there(server, name, exists):
    with pytest.raises(NotFound, match=name) as caught:
        routing(server).records(name, "A")
    assert caught.value.exists is exists


def test_records_that_cannot_be_looked_up():
    with NameServer(ZONE) as server:
        server.behave("empty.example", rcode="SERVFAIL")
        assert refused(routing(server).records, "empty.example", "TXT")[0] == "451 4.4.3"


MX = st.tuples(st.integers(0, 65535),
               st.sampled_from([".", "a.", "b.", "c.", "d.", "own.", "x y.", "-."]))


@settings(max_examples=200)
@given(st.lists(MX, min_size=1, max_size=12))
def test_every_list_of_exchangers_gives_a_way_or_a_reply(records):
    def attempt():
        hosts = mx_routes._exchangers("example.org", ["%d %s" % record for record in records])
        return found._before_ourselves("example.org", hosts)

    found = Routes(None, lambda: ("own",), frozenset)
    ours = min([preference for preference, name in records if name == "own."], default=65536)
    expected = {name[:-1] for preference, name in records if name in ("a.", "b.", "c.", "d.")
                and preference < ours}
    if not expected:
        assert refused(attempt)[0] in ("554 5.4.6", "556 5.1.10", "550 5.1.2")
    else:
        hosts = attempt()
        assert {host.name for host in hosts} == expected and len(hosts) == len(expected)
        assert [host.preference for host in hosts] == sorted(host.preference for host in hosts)


# -- private addresses

PRIVATE = """
mixed.example. IN MX 10 mx1.mixed.example.
mixed.example. IN MX 20 mx2.mixed.example.
mx1.mixed.example. IN A 10.1.2.3
mx1.mixed.example. IN AAAA fd00::1
mx2.mixed.example. IN A 192.168.0.1
mx2.mixed.example. IN A 9.9.9.9
all.example. IN MX 10 mx1.mixed.example.
bare.example. IN A 127.0.0.1
six.example. IN AAAA fe80::1
mapped.example. IN AAAA ::ffff:10.0.0.1
alias.example. IN CNAME bare.example.
own.example. IN MX 10 mx1.own.example.
mx1.own.example. IN A 127.0.0.1
"""


@pytest.fixture(scope="module")
def private():
    with NameServer(PRIVATE) as server:
        yield server


@pytest.mark.parametrize("host", [
    "mx1.mixed.example", "bare.example", "six.example", "mapped.example", "alias.example",
    "localhost", "127.0.0.1", "[127.0.0.1]", "[198.18.0.1]", "[192.0.0.8]",
    "[ipv6:64:ff9b:1::808:808]", "[ipv6:64:ff9b::a00:1]", "[ipv6:::ffff:0:a00:1]",
    "[ipv6:::1]", "[ipv6:::ffff:10.0.0.1]", "[169.254.169.254]", "[ipv6:fd00::1]"])
def test_private_addresses_are_used_only_if_the_settings_allow_it(private, host):
    closed = routing(private, private=False)
    code, text = refused(closed.addresses, host)
    assert code == "550 5.4.4" and "private" in text
    assert closed.for_smarthost().addresses(host).ips == routing(private).addresses(host).ips != ()
    assert refused(closed.addresses, host)[0] == "550 5.4.4", "a copy changed the first one"


def test_other_addresses_and_hosts_are_tried(private):
    found = routing(private, private=False)
    assert names(found.route("mixed.example")) == ["mx1.mixed.example", "mx2.mixed.example"]
    assert found.addresses("mx2.mixed.example").ips == ("9.9.9.9",)


def test_a_domain_without_mx_at_a_private_address_has_no_route(private):
    assert refused(routing(private, private=False).route, "bare.example")[0] == "550 5.4.4"


def test_our_own_address_is_a_loop_even_if_it_is_private(private):
    found = routing(private, own_addresses={("127.0.0.1", 2525)}, remote_port=2525, private=False)
    assert refused(found.addresses, "mx1.own.example")[0] == "554 5.4.6"
