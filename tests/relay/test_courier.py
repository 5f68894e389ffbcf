"""One destination: which hosts are tried, what happens if they differ, when a connection is
reused."""
import contextlib
import hashlib
import io
import logging
import threading

import pytest

from phenmail_protocols.config.settings import Hosted
from phenmail_protocols.mail.address import Address
from phenmail_protocols.mail.reply import Reply
from phenmail_protocols.queue.model import Message, Recipient, Unreachable
from phenmail_protocols.relay import courier as courier_module
from phenmail_protocols.relay import smarthost as smarthost_module
from phenmail_protocols.relay.courier import Courier
from phenmail_protocols.relay.mx_routes import Addresses, Host, NoRoute, Route
from phenmail_protocols.relay.smarthost import SmarthostCourier
from phenmail_protocols.relay.smtp_wire import Deadlines
from phenmail_protocols.relay.tls_policy import OPPORTUNISTIC, Requirement

from ..net.peer import make_certificates
from .peers import Peer, smtp

SHORT = Deadlines(connect=2.0, greeting=1.0, handshake=5.0, command=1.0, data=1.0, piece=1.0,
                  end=1.0, quit=0.3)
BODY = b"From: a@example.org\r\n\r\nhello\r\n"
EIGHT = b"From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n" \
        b"Content-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xbc\xc3\x9fe an alle, die das hier lesen\r\n"
GONE = "127.0.0.99"  # nobody listens there


class Routes(object):
    """`hosts`: {host: its addresses, or the Reply of NoRoute}, by preference; `trouble`: the Reply
    if there is no route."""

    def __init__(self, hosts, trouble=None):
        self.hosts, self.trouble, self.asked = hosts, trouble, []

    def route(self, domain):
        if self.trouble:
            raise NoRoute(self.trouble)
        return Route(tuple(Host(name, number) for number, name in enumerate(self.hosts)), False)

    def addresses(self, name, port=None):
        self.asked.append(name)
        found = self.hosts[name]
        if isinstance(found, Reply):
            raise NoRoute(found)
        return Addresses(tuple(found), False)


class Policies(object):
    """{host: Requirement, None or the exception}"""

    def __init__(self, hosts=()):
        self.hosts = dict(hosts)

    def of(self, domain, route):
        return self

    def host(self, name):
        found = self.hosts.get(name, OPPORTUNISTIC)
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """net.tls.Certificates of mail.example.org, self-signed."""
    return make_certificates(str(tmp_path_factory.mktemp("tls")))


def to(peer, hosts=None, policies=(), trouble=None, **more):
    """A Courier to example.net, whose hosts listen where `peer` does."""
    more.setdefault("deadlines", SHORT)
    routes = Routes(hosts or {"mx": [peer.ip]}, trouble)
    return Courier("example.net", routes, Policies(policies), "me.example.org", port=peer.port,
                   **more)


def deliver(courier, body=BODY, names="b", **more):
    message = Message("id", Address("a", "example.org"), (), 0.0, more.pop("head", b""), len(body),
                      **more)
    recipients = tuple(Recipient(Address(name, "example.net")) for name in names)
    return ["%d %s" % reply[:2] for reply in courier.deliver(message, recipients, io.BytesIO(body))]


def unreachable(courier):
    with pytest.raises(Unreachable) as caught:
        deliver(courier)
    return caught.value.reply


def test_one_connection_for_many_messages():
    with Peer(smtp(["PIPELINING", "DSN"])) as peer:
        courier = to(peer)
        assert not courier.dsn
        for _ in range(3):
            assert deliver(courier, names="bc") == ["250 2.0.0"] * 2
        assert courier.dsn
        courier.close()
        courier.close()
    assert len(peer.talks) == 1 and peer.messages == [BODY] * 3 and peer.lines[-1] == "QUIT"


def test_a_connection_has_an_end(monkeypatch):
    monkeypatch.setattr(courier_module, "MOST_MESSAGES", 2)
    now = [0.0]
    with Peer(smtp()) as peer:
        courier = to(peer, clock=lambda: now[0])
        for _ in range(3):
            deliver(courier)
        assert len(peer.talks) == 2
        now[0] += courier_module.LONGEST_USE
        deliver(courier)
        courier.close()
    assert len(peer.talks) == 3


@pytest.mark.parametrize("first", ["554 5.7.1 no", "421 4.3.2 not now", "450 4.3.2 not now"])
def test_the_next_host_after_a_bad_greeting(first):
    with Peer(smtp(banner=first), smtp()) as peer:
        courier = to(peer, {"mx1": [peer.ip], "mx2": [peer.ip]})
        assert deliver(courier) == ["250 2.0.0"]
        courier.close()


def test_the_next_address_and_host_where_nobody_is():
    with Peer(smtp()) as peer:
        courier = to(peer, {"mx1": [GONE], "mx2": Reply(451, "4.4.3", "dns"),
                            "mx3": [GONE, peer.ip]})
        assert deliver(courier) == ["250 2.0.0"]
        courier.close()


@pytest.mark.parametrize("leave", ["421 4.3.2 closing", lambda talk, line: talk.reset()])
def test_a_server_that_closes_before_it_answers_mail(leave):
    """A reused connection is replaced; after a new one the next host is tried; else only this
    message waits."""
    with Peer(smtp(answers={"MAIL": ["250 2.1.0 ok", leave]}), smtp()) as peer:
        courier = to(peer)
        assert deliver(courier) == deliver(courier) == ["250 2.0.0"]
        courier.close()
        assert len(peer.talks) == 2
    with Peer(smtp(answers={"MAIL": leave}), smtp()) as peer:
        courier = to(peer, {"mx1": [peer.ip], "mx2": [peer.ip]})
        assert deliver(courier) == ["250 2.0.0"]
        courier.close()
    with Peer(smtp(answers={"MAIL": leave})) as peer:
        courier = to(peer, {"mx1": [peer.ip], "mx2": [peer.ip]})
        assert deliver(courier, names="bc") in (["421 4.3.2"] * 2, ["451 4.4.2"] * 2)
        assert len(peer.talks) == 2


def test_a_connection_that_the_server_closed_is_replaced():
    closed = threading.Event()

    def once(talk):
        try:
            smtp(answers={".": lambda talk, line: "250 2.0.0 kept\n421 4.4.2 and goodbye"})(talk)
        finally:
            closed.set()
    with Peer(once, smtp()) as peer:
        courier = to(peer)
        assert deliver(courier) == ["250 2.0.0"]
        assert deliver(courier) == ["250 2.0.0"]
        courier.close()
        assert len(peer.talks) == 2


def test_which_reply_counts_if_all_hosts_fail():
    with Peer(smtp(banner="554 5.7.1 never")) as peer:
        assert unreachable(to(peer, {"mx1": [peer.ip], "mx2": [peer.ip]}))[:2] == (554, "5.7.1")
        assert unreachable(to(peer, {"mx1": [peer.ip], "mx2": [GONE]}))[:2] == (451, "4.4.1")
        assert unreachable(to(peer, {"mx1": Reply(550, "5.1.2", "no address")}))[
            :2] == (550, "5.1.2")
        assert unreachable(to(peer, trouble=Reply(556, "5.1.10", "null MX")))[:2] == (556, "5.1.10")


def test_hosts_after_ourselves_are_not_tried():
    with Peer(smtp()) as peer:
        courier = to(peer, {"mx1": Reply(554, "5.4.6", "ourselves"), "mx2": [peer.ip]})
        assert unreachable(courier)[:2] == (554, "5.4.6")
        assert courier._routes.asked == ["mx1"]


def test_the_number_of_addresses_is_limited():
    with Peer(smtp(banner="450 not now")) as peer:
        assert unreachable(to(peer, {"mx1": [peer.ip] * 8, "mx2": [peer.ip] * 8})).code == 450
        assert len(peer.talks) == 10


def test_policies(tls):
    with Peer(smtp()) as peer:
        both = {"mx1": [peer.ip], "mx2": [peer.ip]}
        required = Requirement(True, why="a policy")
        courier = to(peer, both, {"mx1": None})
        assert deliver(courier) == ["250 2.0.0"]
        courier.close()
        assert unreachable(to(peer, both, {"mx1": None, "mx2": None}))[:2] == (451, "4.7.5")
        unknown = Unreachable(Reply(451, "4.7.5", "no TLSA"))
        assert unreachable(to(peer, both, {"mx1": required, "mx2": unknown}))[:2] == (451, "4.7.4")
    with Peer(smtp(tls=tls.context())) as peer:
        courier = to(peer, policies={"mx": required})
        assert deliver(courier) == ["250 2.0.0"]
        courier.close()


@pytest.fixture
def narrow_first():
    """-> (a host without 8BITMIME, a host with a script, a courier to both in that order)."""
    with contextlib.ExitStack() as stack:
        def make(script):
            narrow = stack.enter_context(Peer(smtp()))
            other = stack.enter_context(Peer(script, ip="127.0.0.2", port=narrow.port))
            courier = to(narrow, {"mx1": [narrow.ip], "mx2": [other.ip]})
            stack.callback(courier.close)
            return narrow, other, courier
        yield make


class TestEightBits:
    """RFC 6152 section 3: a server without 8BITMIME gets 7 bits or nothing."""

    def test_as_it_is_or_not_at_all(self):
        with Peer(smtp(["8BITMIME"])) as peer:
            courier = to(peer)
            assert deliver(courier, EIGHT, eight_bit=True) == ["250 2.0.0"]
            courier.close()
        assert peer.messages == [EIGHT]
        with Peer(smtp(["SIZE 100000"])) as peer:
            courier = to(peer)
            assert deliver(courier, EIGHT, "bc", eight_bit=True) == ["550 5.6.3"] * 2
            assert deliver(courier, EIGHT, eight_bit=True, smtputf8=True) == ["553 5.6.7"]
            assert deliver(courier) == ["250 2.0.0"], "others are not held up"
            assert deliver(courier, EIGHT, eight_bit=True) == ["550 5.6.3"], (
                "on a connection that was kept, too")
            courier.close()
        assert peer.messages == [BODY] and not any("8BITMIME" in line for line in peer.lines)

    def test_the_host_and_the_reason_are_named(self):
        with Peer(smtp()) as peer:
            message = Message("id", Address("a", "example.org"), (), 0.0, size=len(EIGHT),
                              eight_bit=True)
            reply, = to(peer).deliver(message, (Recipient(Address("b", "example.net")),),
                                      io.BytesIO(EIGHT))
        assert reply == Reply(550, "5.6.3",
                              "the message has 8-bit content, and mx does not support it (8BITMIME)")

    def test_another_host_may_take_it(self, narrow_first):
        narrow, wide, courier = narrow_first(smtp(["8BITMIME"]))
        assert deliver(courier, EIGHT, eight_bit=True) == ["250 2.0.0"]
        assert deliver(courier, EIGHT, eight_bit=True) == ["250 2.0.0"]
        assert wide.messages == [EIGHT] * 2 and narrow.messages == []

    def test_a_host_that_cannot_be_had_now_may_take_it_later(self, narrow_first):
        _, _, courier = narrow_first(smtp(banner="450 not now"))
        assert deliver(courier, EIGHT, eight_bit=True) == ["450 4.0.0"]

    def test_a_host_that_never_takes_us_changes_nothing(self, narrow_first):
        _, _, courier = narrow_first(smtp(banner="554 no"))
        assert deliver(courier, EIGHT, eight_bit=True) == ["550 5.6.3"]


def test_abort_ends_it_from_another_thread():
    reached = threading.Event()
    with Peer(smtp(answers={"EHLO": lambda talk, line: reached.set()})) as peer:
        courier = to(peer, {"mx1": [peer.ip], "mx2": [peer.ip]}, deadlines=Deadlines())
        threading.Thread(target=lambda: (reached.wait(5), courier.abort()), daemon=True).start()
        assert unreachable(courier)[:2] == (451, "4.3.2")
        assert unreachable(courier)[:2] == (451, "4.3.2")
        assert len(peer.talks) == 1


def test_with_the_true_routes_and_policies(tls, tmp_path):
    """MX, address and TLSA records come from a DNS server; DANE refuses any other certificate."""
    pytest.importorskip("dns")
    from phenmail_protocols.config.settings import Resolver
    from phenmail_protocols.net.tls import first_der
    from phenmail_protocols.relay.mx_routes import Routes as TrueRoutes
    from phenmail_protocols.relay.tls_policy import Policies as TruePolicies

    from ..net.nameserver import NameServer
    with open(tls.certificate_path, "rb") as file:
        certificate = hashlib.sha256(first_der(file.read())).hexdigest()
    zone = """
        $ORIGIN example.net.
        @ 300 IN MX 10 mx1
        @ 300 IN MX 20 mx2
        mx1 300 IN A 127.0.0.99
        mx2 300 IN A 127.0.0.1
        _%d._tcp.mx2 300 IN TLSA 3 0 1 %s
        """
    with Peer(smtp(["PIPELINING"], tls=tls.context())) as peer:
        for digest, expected in ((certificate, ["250 2.0.0"]), ("00" * 32, None)):
            with NameServer(zone.replace("        ", "") % (peer.port, digest),
                            authentic=True) as server:
                routes = TrueRoutes(Resolver((server.address,), 5.0), frozenset, frozenset,
                                    peer.port)
                policies = TruePolicies(routes, str(tmp_path), fetch=lambda domain: None,
                                        port=peer.port)
                courier = Courier("example.net", routes, policies, "me.example.org", port=peer.port,
                                  deadlines=SHORT)
                if expected:
                    assert deliver(courier) == expected
                    assert peer.talks[0].secured
                    courier.close()
                else:
                    assert unreachable(courier).permanent is False
        assert len(peer.messages) == 1


LOGIN = ("user@isp.example", "s\u00e9cret")


def smarthost(peer, server="mail.example.org", ips=None, **changes):
    hosted = Hosted(server, peer.port, *LOGIN, require_tls=True,
                    require_authentication=True)._replace(**changes)
    return SmarthostCourier(hosted, Routes({server: ips or [peer.ip]}), "me.example.org",
                            deadlines=SHORT)


class TestSmarthost:
    def test_a_certificate_that_verifies(self, tls, monkeypatch, caplog):
        monkeypatch.setenv("SSL_CERT_FILE", tls.certificate_path)
        with Peer(smtp(["AUTH PLAIN"], tls=tls.context(), login=LOGIN)) as peer:
            courier = smarthost(peer)
            assert deliver(courier) == ["250 2.0.0"]
            courier.close()
        assert not caplog.records and len(peer.talks) == 1

    def test_a_self_signed_certificate_at_a_private_address(self, tls, caplog):
        with Peer(smtp(["AUTH PLAIN"], tls=tls.context(), login=LOGIN)) as peer:
            courier = smarthost(peer)
            assert deliver(courier) == ["250 2.0.0"]
            courier.close()
            assert deliver(courier) == ["250 2.0.0"]
            courier.close()
        assert [record.levelno for record in caplog.records] == [logging.WARNING]

    def test_a_self_signed_certificate_elsewhere(self, tls, monkeypatch):
        monkeypatch.setattr(smarthost_module, "is_local", lambda ip: False)
        with Peer(smtp(["AUTH PLAIN"], tls=tls.context(), login=LOGIN)) as peer:
            assert unreachable(smarthost(peer))[:2] == (451, "4.7.5")
        assert not any(line.startswith("AUTH") for line in peer.lines)

    def test_no_tls_and_no_password(self):
        with Peer(smtp(["AUTH PLAIN"], login=LOGIN)) as peer:
            assert unreachable(smarthost(peer))[:2] == (451, "4.7.4")
            assert not any(line.startswith("AUTH") for line in peer.lines)
            courier = smarthost(peer, require_tls=False)
            assert deliver(courier) == ["250 2.0.0"]
            courier.close()

    def test_port_465_is_implicit_tls(self, tls):
        try:
            peer = Peer(smtp(["AUTH PLAIN"], tls=tls.context(), login=LOGIN, implicit=True),
                        ip="127.0.0.9", port=465)
        except OSError:
            pytest.skip("port 465 cannot be had here")
        with peer:
            courier = smarthost(peer)
            assert deliver(courier) == ["250 2.0.0"]
            courier.close()

    def test_a_refused_login_defers_and_is_logged(self, tls, caplog):
        with Peer(smtp(["AUTH PLAIN"], tls=tls.context(), login=("other", "one"))) as peer:
            courier = smarthost(peer, ips=[peer.ip, peer.ip])
            reply = unreachable(courier)
            assert reply[:2] == (454, "4.7.0") and LOGIN[0] in reply.text and LOGIN[
                1] not in reply.text
        assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR]
        assert sum(line.startswith("AUTH") for line in peer.lines) == 1

    def test_no_failure_of_the_smarthost_is_permanent(self):
        with Peer(smtp(banner="554 5.7.1 go away")) as peer:
            reply = unreachable(smarthost(peer, require_tls=False))
            assert reply[:2] == (451, "4.7.1") and "go away" in reply.text
            lost = Reply(550, "5.1.2", "no such name")
            courier = smarthost(peer, server="nobody.invalid")
            courier._routes.hosts["nobody.invalid"] = lost
            assert unreachable(courier)[:2] == (451, "4.1.2")

    def test_an_optional_login_is_used_if_it_is_offered(self):
        with Peer(smtp(), smtp(["AUTH LOGIN"], login=LOGIN)) as peer:
            for _ in range(2):
                courier = smarthost(peer, require_tls=False, require_authentication=False)
                assert deliver(courier) == ["250 2.0.0"]
                courier.close()
        assert sum(line.startswith("AUTH") for line in peer.lines) == 1

    def test_replies_to_rcpt_count_as_they_are(self):
        with Peer(smtp(answers={"RCPT TO:<b@": "550 5.1.1 nobody"})) as peer:
            courier = smarthost(peer, require_tls=False, username=None,
                                require_authentication=False)
            assert deliver(courier, names="bc") == ["550 5.1.1", "250 2.0.0"]
            courier.close()
