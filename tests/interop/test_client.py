"""Other mail servers take what relay.smtp_client and relay.courier send, and what they say of each
recipient comes back."""
import io

import pytest

from phenmail_protocols.config.settings import Hosted
from phenmail_protocols.mail.address import Address
from phenmail_protocols.net.tls import first_der
from phenmail_protocols.queue.model import Message, Recipient, Unreachable
from phenmail_protocols.relay.mx_routes import Addresses
from phenmail_protocols.relay.smarthost import SmarthostCourier
from phenmail_protocols.relay.smtp_client import Connection
from phenmail_protocols.relay.tls_policy import OPPORTUNISTIC, Requirement
from tests.interop import nexthops

SERVERS = [nexthops.Postfix, nexthops.Exim, nexthops.Chasquid]
HEADER = (b"From: a@example.com\r\nTo: b@example.net\r\nSubject: from the client\r\n"
          b"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n")
BODY = HEADER + b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" \
    + b"one\r\n..\r\n.two gr\xc3\xbc\xc3\x9fe\r\n"


def message(body=BODY, head=b""):
    return Message("id", Address("friend", "example.com"), (), 0.0, head, len(head) + len(body),
                   eight_bit=True)


def people(*names):
    return tuple(Recipient(Address(name, nexthops.DOMAIN)) for name in names)


def opened(hop, requirement=OPPORTUNISTIC):
    connection = Connection("localhost", "127.0.0.1", hop.port, "client.example.com", requirement)
    connection.open()
    return connection


@pytest.mark.parametrize("kind", SERVERS + [nexthops.OpenSmtpd])
def test_mail_arrives(nexthop, kind):
    """Over TLS where that comes about (OpenSMTPD's does not, here: the clear is good enough then),
    also a large one, one connection."""
    hop = nexthop(kind)
    connection = opened(hop)
    large = BODY + (b"x" * 70 + b"\r\n") * 10000
    for body in (BODY, large):
        assert connection.is_usable()
        reply, = connection.send(message(body, b"X-Head: 1\r\n"), people("ann"), io.BytesIO(body))
        assert reply.code == 250, reply
    connection.close()
    first, second = sorted(hop.arrived("ann", 2), key=len)  # Postfix delivers in any order
    for arrived, body in ((first, BODY), (second, large)):
        assert b"\r\nX-Head: 1\r\n" in arrived and arrived.endswith(
            body.partition(b"\r\n\r\n")[2]), arrived[:1000]
    assert nexthops.over_tls(first) == (kind is not nexthops.OpenSmtpd)


@pytest.mark.parametrize("kind", SERVERS)
def test_each_recipient_has_its_answer(nexthop, kind):
    hop = nexthop(kind)
    connection = opened(hop)
    replies = connection.send(message(), people("ann", "nobody", "bob"), io.BytesIO(BODY))
    assert [reply.code for reply in replies] == [250, 550, 250] and replies[
        1].enhanced.startswith("5."), replies
    assert [reply.code for reply in connection.send(message(), people("nobody"),
                                                    io.BytesIO(BODY))] == [550]
    if connection.is_usable():  # chasquid has enough of the third wrong command
        assert [reply.code for reply in connection.send(message(), people("cyd"),
                                                        io.BytesIO(BODY))] == [250]
    connection.close()
    hop.arrived("ann"), hop.arrived("bob")


def test_exim_greylists(nexthop):
    hop = nexthop(nexthops.Exim)
    connection = opened(hop)
    for expected in ([451, 250], [250, 250]):
        assert [reply.code for reply in connection.send(message(), people("grey", "ann"),
                                                        io.BytesIO(BODY))] == expected
    connection.close()


def test_too_many_recipients_for_postfix(nexthop):
    hop = nexthop(nexthops.Postfix,
                  more={"smtpd_recipient_limit": "2", "smtpd_recipient_overshoot_limit": "1"})
    connection = opened(hop)
    replies = connection.send(message(), people("ann", "bob", "cyd", "grey"), io.BytesIO(BODY))
    assert [reply.code for reply in replies] == [250] * 4, replies
    connection.close()


@pytest.mark.parametrize("kind", SERVERS)
def test_certificates(nexthop, kind, monkeypatch):
    hop = nexthop(kind)
    with open(hop.certificate.path, "rb") as file:
        der = first_der(file.read())
    opened(hop, Requirement(True, False, nexthops.HOST, ((3, 0, 0, der),), "DANE")).close()
    strict = Requirement(True, True, nexthops.HOST, (), "a policy")
    with pytest.raises(Unreachable):
        opened(hop, strict)
    monkeypatch.setenv("SSL_CERT_FILE", hop.certificate.path)
    opened(hop, strict).close()
    with pytest.raises(Unreachable):
        opened(hop, strict._replace(name="mx.example.org"))


class Loopback(object):
    """Routes to one address."""

    def addresses(self, name, port):
        return Addresses(("127.0.0.1",), False)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_exim_as_a_smarthost(nexthop, mechanism):
    hop = nexthop(nexthops.Exim, mechanisms=[mechanism])
    away = (Recipient(Address("someone", "example.com")),)
    hosted = Hosted("localhost", hop.port, nexthops.USER, nexthops.PASSWORD, require_tls=True,
                    require_authentication=True)
    courier = SmarthostCourier(hosted, Loopback(), "client.example.com")
    assert [reply.code for reply in courier.deliver(message(), away, io.BytesIO(BODY))] == [250]
    courier.close()
    assert nexthops.over_tls(hop.arrived(nexthops.ELSEWHERE)[0])
    with pytest.raises(Unreachable) as caught:
        courier = SmarthostCourier(hosted._replace(password="guess"), Loopback(),
                                   "client.example.com")
        courier.deliver(message(), away, io.BytesIO(BODY))
    assert caught.value.reply.code == 454


@pytest.mark.parametrize("manners, codes", [
    (["-q", "data"], [451]), (["-Q", "rcpt"], [421]), (["-f", "."], [500]), (["-r", "."], [450]),
    (["-P"], [250]),
    (["-8"], [250]), (["-e"], [250])])
def test_a_rude_sink(nexthop, manners, codes):
    hop = nexthop(nexthops.Sink, *manners)
    connection = opened(hop)
    replies = connection.send(message(), people("ann"), io.BytesIO(BODY))
    assert [reply.code for reply in replies] == codes
    connection.close()
