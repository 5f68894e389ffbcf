"""Which TLS a host must have: first with a fake DNS and web server, then with real ones."""

import logging
import socket

import pytest

from phenmail_protocols.mail.reply import Reply
from phenmail_protocols.net import tlsclient
from phenmail_protocols.queue.model import Unreachable
from phenmail_protocols.relay import tls_policy
from phenmail_protocols.relay.mta_sts import NotFetched
from phenmail_protocols.relay.mx_routes import Addresses, Host, NoRoute, NotFound, Route, Tlsa
from phenmail_protocols.relay.tls_policy import OPPORTUNISTIC, Policies, Requirement
from tests.net.authority import authority  # noqa: F401 - a fixture
from tests.net.peer import PATIENCE, own_thread
from tests.relay.test_dane import record

DOMAIN, HOST = "example.org", "mx.example.org"
EE = (3, 1, 1, bytes(32))
TA = (2, 0, 1, bytes(32))
PKIX = (1, 1, 1, bytes(32))
SILENT = NoRoute(Reply(451, "4.4.3", "no answer"))
POLICY = "version: STSv1\nmode: %s\nmx: *.example.org\nmax_age: 604800\n"
SECURE, INSECURE = Route((Host(HOST, 10),), True), Route((Host(HOST, 10),), False)


class World(object):
    """DNS and web server for one domain; an answer that is an exception is raised. `asked`:
    queries."""

    def __init__(self, mode=None, tlsa=Tlsa((), True), addresses=Addresses(("192.0.2.1",), True)):
        self.answers = {"tlsa": tlsa, "addresses": addresses,
                        "fetch": mode and (POLICY % mode).encode("ascii"),
                        "records": (b"v=STSv1; id=1",) if mode else NotFound("none", False)}
        self.asked = []

    def _answer(self, kind, *question):
        self.asked.append((kind,) + question)
        answer = self.answers[kind]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def addresses(self, host):
        return self._answer("addresses", host)

    def tlsa(self, host, port):
        return self._answer("tlsa", host, port)

    def records(self, name, kind):
        return self._answer("records", name, kind)

    def fetch(self, domain):
        return self._answer("fetch", domain)


@pytest.fixture
def ask(tmp_path):
    """The Requirement for a host of a domain in a World."""
    def ask(world, route=SECURE, host=HOST, domain=DOMAIN, port=25):
        return Policies(world, str(tmp_path / "sts"), world.fetch,
                        port=port).of(domain, route).host(host)

    return ask


# -- opportunistic TLS

def test_opportunistic(ask):
    assert ask(World()) == OPPORTUNISTIC == Requirement(False, False, "", (), "")
    assert ask(World(), INSECURE) == OPPORTUNISTIC


def test_an_address_literal_has_no_policy(ask):
    world = World("enforce")
    assert ask(world, Route((Host("[192.0.2.1]", 0),), False), "[192.0.2.1]",
               "[192.0.2.1]") == OPPORTUNISTIC
    assert world.asked == []


@pytest.mark.parametrize("mode", ["testing", "none"])
@pytest.mark.parametrize("host", [HOST, "mx.example.net"])
def test_a_policy_that_does_not_hold(ask, caplog, mode, host):
    caplog.set_level(logging.INFO, "phenmail.relay")
    assert ask(World(mode), INSECURE, host) == OPPORTUNISTIC
    assert ("testing" in caplog.text and DOMAIN in caplog.text) == (mode == "testing")


def test_a_policy_that_cannot_be_had(ask):
    world = World("enforce")
    world.answers["fetch"] = NotFetched("no web")
    assert ask(world) == OPPORTUNISTIC


# -- MTA-STS

@pytest.mark.parametrize("world, route", [
    (World("enforce"), INSECURE), (World("enforce"), SECURE),
    (World("enforce", Tlsa((EE,), False)), SECURE), (World("enforce", Tlsa((EE,), True)), INSECURE),
    (World("enforce", Tlsa((EE,), True), Addresses(("192.0.2.1",), False)), SECURE)])
def test_enforce(ask, world, route):
    assert ask(world, route) == Requirement(True, True, HOST, (),
                                            "the MTA-STS policy of example.org")
    assert ask(world, route, "mx.example.net") is None
    assert ask(world, route, "example.org") is None


def test_the_policy_is_looked_for_once_a_delivery(tmp_path):
    world = World("enforce")
    policy = Policies(world, str(tmp_path), world.fetch).of(DOMAIN, INSECURE)
    assert world.asked == []
    assert policy.host(HOST) == policy.host(HOST)
    assert policy.host("mx.example.net") is None
    assert world.asked == [("records", "_mta-sts.example.org", "TXT"), ("fetch", DOMAIN)]


# -- DANE

@pytest.mark.parametrize("mode", [None, "enforce", "testing", "none"])
@pytest.mark.parametrize("host", [HOST, "mx.example.net"])
def test_dane_wins(ask, mode, host):
    """RFC 8461 2; the policy is not even looked up."""
    world = World(mode, Tlsa((EE, PKIX), True, host))
    assert ask(world, host=host, port=2525) == Requirement(True, False, host, (EE,),
                                                           "DANE: TLSA records of " + host)
    assert world.asked == [("addresses", host), ("tlsa", host, 2525)]


def test_the_sni_name_is_that_of_the_records(ask):
    """RFC 7672 2.2.2 and 3.2.2: the SNI name is the base domain."""
    found = ask(World(None, Tlsa((EE,), True, "mail.example.net")))
    assert found.name == "mail.example.net"
    assert ask(World(None, Tlsa((EE,), True, DOMAIN)), host=DOMAIN).name == DOMAIN


@pytest.mark.parametrize("world, route", [
    (World(None, Tlsa((EE,), True, HOST)), INSECURE),
    (World(None, Tlsa((EE,), False, HOST)), SECURE),
    (World(None, Tlsa((EE,), True, HOST), Addresses(("192.0.2.1",), False)), SECURE)],
                         ids=["MX", "TLSA", "address"])
def test_dane_only_if_dnssec_validated_every_step(ask, world, route):
    assert ask(world, route) == OPPORTUNISTIC


def test_without_dnssec_a_failed_tlsa_query_does_not_matter(ask):
    """RFC 7672 2.2: a domain without DNSSEC loses no mail if its server fails for TLSA queries."""
    assert ask(World(None, SILENT), INSECURE) == OPPORTUNISTIC
    assert ask(World(None, SILENT, Addresses(("192.0.2.1",), False))) == OPPORTUNISTIC


@pytest.mark.parametrize("mode", [None, "enforce"])
def test_tlsa_records_that_cannot_be_had(ask, mode):
    with pytest.raises(Unreachable) as said:
        ask(World(mode, SILENT))
    assert (said.value.reply.code, said.value.reply.enhanced) == (451, "4.7.5")
    assert HOST in said.value.reply.text and "no answer" in said.value.reply.text


def test_addresses_that_cannot_be_had(ask):
    with pytest.raises(Unreachable) as said:
        ask(World(addresses=SILENT))
    assert said.value.reply is SILENT.reply


def test_dane_ta_counts_as_unusable(ask):
    """RFC 7672 2.2: alone it still requires TLS, with any certificate."""
    assert ask(World(None, Tlsa((TA, EE), True, HOST))).tlsa == (EE,)
    alone = ask(World(None, Tlsa((TA,), True, HOST)))
    assert alone == Requirement(True, False, "", (), alone.why) and HOST in alone.why


@pytest.mark.parametrize("mode", [None, "testing", "none"])
def test_records_that_are_all_unusable(ask, mode):
    """RFC 7672 2.2: they still require TLS."""
    found = ask(World(mode, Tlsa((PKIX, (3, 1, 1, b"short")), True, HOST)))
    assert found == Requirement(True, False, "", (), found.why) and HOST in found.why


def test_unusable_records_and_a_policy(ask):
    unusable = Tlsa((PKIX,), True, HOST)
    assert ask(World("enforce", unusable)).verify
    assert ask(World("enforce", unusable), host="mx.example.net") is None


# -- with a name server, a web server and a mail server's TLS

def peer(pair, requirement):
    """The complaint about a server with this certificate. Raises Unverified from the handshake."""
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.settimeout(PATIENCE)

    def serve():
        try:
            with pair.server_context().wrap_socket(theirs, server_side=True) as secure:
                secure.recv(1)
        except OSError:
            theirs.close()

    own_thread(serve)
    with tlsclient.client_side(ours, tlsclient.client_context(requirement.verify),
                               requirement.name or HOST) as secure:
        tlsclient.handshake(secure)
        return tls_policy.peer_complaint(requirement, secure)


ZONE = """example.org. IN MX 10 mx.example.org.
mx.example.org. IN A 127.0.0.1
mx.example.net. IN A 127.0.0.1
_mta-sts.example.org. IN TXT "v=STSv1; id=1"
mta-sts.example.org. IN A 127.0.0.1
"""


@pytest.fixture
def internet(tmp_path):
    """`internet(zone, …)` gives (name server, Policies that ask it, its Routes)."""
    import contextlib
    pytest.importorskip("dns")
    from phenmail_protocols.config.settings import Resolver
    from phenmail_protocols.relay.mx_routes import Routes
    from tests.net.nameserver import NameServer
    with contextlib.ExitStack() as running:
        def start(zone, authentic=True, fetch=None):
            server = running.enter_context(NameServer(zone, authentic))
            routes = Routes(Resolver((server.address,), 2.0), frozenset, frozenset)
            return server, Policies(routes, str(tmp_path / "sts"), fetch), routes

        yield start


def tlsa_lines(*records):
    return "".join("_25._tcp.mx.example.org. IN TLSA %d %d %d %s\n" % (each[:3] + (each[3].hex(),))
                   for each in records)


def test_dane_from_the_dns_to_the_handshake(internet, authority):  # noqa: F811
    pair, other = authority.issue("kind-ec"), authority.issue("other")
    server, rules, routes = internet(ZONE + tlsa_lines(record(3, 1, 1, pair.der)))
    found = rules.of(DOMAIN, routes.route(DOMAIN)).host(HOST)
    assert found.required and found.name == HOST
    assert peer(pair, found) == ""
    assert "no TLSA record" in peer(other, found)


def test_dane_ta_from_the_dns_to_the_handshake(internet, authority):  # noqa: F811
    """TLS is required, but any certificate will do, even one that the anchor did not sign."""
    server, rules, routes = internet(ZONE + tlsa_lines(record(2, 0, 2, authority.root.der)))
    found = rules.of(DOMAIN, routes.route(DOMAIN)).host(HOST)
    assert found.required and peer(authority.issue("expired elsewhere", ("elsewhere.example",),
                                                   days=-1), found) == ""


def test_a_resolver_without_dnssec(internet, authority):  # noqa: F811
    server, rules, routes = internet(ZONE.replace("_mta-sts", "x")
                                     + tlsa_lines(record(3, 1, 1, authority.issue("kind-ec").der)),
                                     False)
    assert rules.of(DOMAIN, routes.route(DOMAIN)).host(HOST) == OPPORTUNISTIC
    assert server.questions("TLSA") == []


def test_a_resolver_that_fails_for_tlsa(internet):
    server, rules, routes = internet(ZONE)
    server.behave("_25._tcp.mx.example.org", rcode="SERVFAIL")
    with pytest.raises(Unreachable) as said:
        rules.of(DOMAIN, routes.route(DOMAIN)).host(HOST)
    assert said.value.reply.code == 451


def test_mta_sts_from_the_dns_to_the_handshake(internet, authority, monkeypatch):  # noqa: F811
    from phenmail_protocols.relay.mta_sts import fetch_policy
    from tests.relay.webserver import OK, web
    monkeypatch.setenv("SSL_CERT_FILE", authority.root.certificate)
    text = (POLICY % "enforce").encode("ascii")
    answer = OK + b"Content-Length: %d\r\n\r\n" % len(text) + text
    with web(authority.issue("site", ("mta-sts.example.org",)), answer) as (port, requests):
        server, rules, routes = internet(ZONE,
                                         fetch=lambda domain: fetch_policy(routes, domain, port))
        found = rules.of(DOMAIN, routes.route(DOMAIN)).host(HOST)
        assert rules.of(DOMAIN, routes.route(DOMAIN)).host("mx.example.net") is None
    assert found.verify and found.name == HOST and len(requests) == 1
    assert peer(authority.issue("kind-ec"), found) == ""
    for pair in (authority.issue("wrong-elsewhere", ("elsewhere.example",)),
                 authority.issue("expired", days=-1)):
        with pytest.raises(tlsclient.Unverified):
            peer(pair, found)
