"""Mail goes out to other people's servers, through the greylisting, the refusals and the bad
manners that they have."""
import base64
import email
import json
import os
import re
import smtplib

import pytest

from tests.interop import judges, nexthops
from tests.interop.house import DOMAIN, SECONDS, House, bodies, eventually, message, odd, succeed
from tests.interop.nexthops import LATER, REFUSED, over_tls
from tests.net.nameserver import NameServer

FAR = nexthops.DOMAIN
_ZONE = """\
{far}. IN MX 10 {host}.
{host}. IN A 127.0.0.1
two.example. IN MX 5 nobody.example.
two.example. IN MX 10 {host}.
nobody.example. IN A 127.0.0.2
null.example. IN MX 0 .
localhost. IN A 127.0.0.1
""".format(far=FAR, host=nexthops.HOST)
_KEY = os.path.join("device", "system", "mail", "dkim.key")


class Sending(House):
    """The program with an own name server and one user, who sends to one next hop."""

    def __init__(self, folder, names):
        super().__init__(folder)
        self.names = names

    def begin(self, port, environment=None, **sections):
        resolver = {"nameservers": ["%s:%d" % self.names.address], "timeout": 5}
        self.furnish(1, **dict({"resolver": resolver,
                                "limits": {"retry-first": 1, "retry-longest": 2},
                                "relay": {"remote-port": port, "private-addresses": True}},
                               **sections))
        self.start(**(environment or {}))
        self.author = self.user()
        eventually(lambda: os.path.exists(os.path.join(self.root, _KEY)), "a key")
        return self

    def again(self):
        """Stop it and start it with what it had."""
        self.stop()
        self.start()

    def send(self, sent, *recipients, options=(), recipient_options=()):
        """Submit a message over TLS to recipients, local parts at the next hop or whole
        addresses."""
        with smtplib.SMTP_SSL(self.host, self.ports["submissions"], timeout=SECONDS,
                              context=self.trust()) as client:
            client.login(self.author.address, self.author.passphrase)
            refused = client.sendmail(self.author.address,
                                      [name if "@" in name else "%s@%s" % (name, FAR)
                                       for name in recipients],
                                      sent, options, recipient_options)
        assert not refused, refused

    def mine(self, subject, *more, **options):
        return message(subject, *more, sender=self.author.address, recipient="ann@" + FAR,
                       **options)

    def notices(self, count=1):
        """The notices in the author's mailbox, once there are so many: parsed, with `reports`, a
        dict for each recipient."""
        eventually(lambda: len(self.messages(self.author)) >= count, "%d notices" % count)
        found = [Notice(text) for text in bodies(self.messages(self.author))]
        assert len(found) == count
        return found

    def waiting(self):
        """How many messages are in the queue, by the program's own word."""
        return len(json.loads(self.words("queue", "list", "--json").decode("utf-8")))

    def deferred(self):
        """Whether the log has a message that will be retried."""
        return " deferred " in self.log()


class Notice:
    """A delivery status notification as Python's own parser understands it (RFC 3464)."""

    def __init__(self, text):
        self.message = email.message_from_bytes(text)
        assert self.message.get_content_type() == "multipart/report", text
        assert self.message["Return-Path"] == "<>", text
        prose, status = self.message.get_payload()[:2]
        self.prose = prose.get_payload(decode=True).decode("utf-8")
        self.reports = {}
        blocks = status.get_payload()
        # RFC 6533, which the parser takes for a message
        if status.get_content_subtype() != "delivery-status":
            text = status.as_bytes().replace(b"\r\n", b"\n").decode("utf-8")
            blocks = [email.message_from_string(block) for block in text.split("\n\n")[1:]]
        for block in blocks[1:]:
            self.reports[block["Final-Recipient"].partition(";")[2].strip()] = block

    def told(self):
        """{recipient: (action, status)}"""
        return {name: (block["Action"], block["Status"]) for name, block in self.reports.items()}


@pytest.fixture
def sending(tmp_path):
    """`sending(port)` starts the server whose mail goes to that port; it has to end well and
    without complaints."""
    houses = []
    with NameServer(_ZONE) as names:
        def start(port, environment=None, **sections):
            houses.append(Sending(tmp_path, names))
            return houses[-1].begin(port, environment, **sections)
        yield start
        for house in houses:
            house.stop()
        for house in houses:
            assert not house.complaints(), house.log()


def body(octets):
    return octets.partition(b"\r\n\r\n")[2]


@pytest.fixture
def signed(program):
    """`signed(house, arrived)`: whether dkimverify finds the RSA signature right, by the key that
    lies in the server's file."""
    def verify(house, arrived):
        signatures = re.findall(rb"^DKIM-Signature:(?:.*\r\n[ \t])*.*\r\n", arrived, re.M)
        algorithms = [re.search(rb"\ba=([a-z0-9-]+)", signature).group(1)
                      for signature in signatures]
        assert algorithms, arrived
        public = succeed([program("openssl"), "pkey", "-in", os.path.join(house.root, _KEY),
                          "-pubout", "-outform", "DER"])
        record = "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode("ascii")
        house.names.load(_ZONE + "all._domainkey.%s. IN TXT %s\n" % (
            DOMAIN, " ".join('"%s"' % record[start:start + 200]
                             for start in range(0, len(record), 200))))
        return judges.dkimverify(house.names.address, arrived, algorithms.index(b"rsa-sha256"))
    return verify


@pytest.mark.parametrize("kind",
                         [nexthops.Postfix, nexthops.Exim, nexthops.Chasquid, nexthops.OpenSmtpd])
def test_mail_goes_out_signed_and_over_tls(nexthop, sending, signed, kind):
    hop = nexthop(kind)
    house = sending(hop.port)
    sent = house.mine("going out", "one\r\n.\r\n..two\r\n")
    house.send(sent, "ann", "bob")
    arrived = hop.arrived("ann")[0]
    assert body(arrived).rstrip() == body(sent).rstrip()
    assert over_tls(arrived) or kind is nexthops.OpenSmtpd, arrived
    assert signed(house, arrived)
    hop.arrived("bob")


@pytest.mark.parametrize("kind", [nexthops.Postfix, nexthops.Exim])
def test_what_travels_badly_arrives_with_its_signature(nexthop, sending, signed, kind):
    hop = nexthop(kind)
    house = sending(hop.port)
    sent = odd(house.author.address).values()
    for each in sent:
        house.send(each, "ann", options=["BODY=8BITMIME"])
    arrived = hop.arrived("ann", len(sent))
    by_id = {email.message_from_bytes(each)["Message-ID"]: each for each in arrived}
    for each in sent:
        got = by_id[email.message_from_bytes(each)["Message-ID"]]
        assert body(got).rstrip(b"\r\n") == body(each).rstrip(b"\r\n")
        assert signed(house, got), got


def test_without_8bitmime_it_comes_back(nexthop, sending):
    hop = nexthop(nexthops.Postfix,
                  more={"smtpd_discard_ehlo_keywords": "8bitmime,chunking,smtputf8"})
    house = sending(hop.port)
    house.send(odd(house.author.address)["8bit"], "ann", options=["BODY=8BITMIME"])
    (action, status), = house.notices()[0].told().values()
    assert action == "failed" and status == "5.6.3"


def test_without_smtputf8_it_comes_back(nexthop, sending):
    hop = nexthop(nexthops.Postfix, more={"smtpd_discard_ehlo_keywords": "smtputf8"})
    house = sending(hop.port)
    house.send(house.mine("names"), "j\u00fcrgen@" + FAR, options=["SMTPUTF8", "BODY=8BITMIME"])
    (action, status), = house.notices()[0].told().values()
    assert action == "failed" and status == "5.6.7"


def test_greylisted_mail_comes_again(nexthop, sending):
    hop = nexthop(nexthops.Exim)
    house = sending(hop.port)
    house.send(house.mine("patience"), "grey")
    hop.arrived("grey")
    assert "Greylisted" in hop.log()
    eventually(lambda: not house.waiting(), "an empty queue")
    assert house.messages(house.author) == {}


def test_each_recipient_has_an_end_of_its_own(nexthop, sending):
    hop = nexthop(nexthops.Exim)
    house = sending(hop.port)
    house.send(house.mine("for many"), "ann", REFUSED, LATER, "nobody", "bob", "grey")
    numbers = [re.search(rb" id (\S+)", hop.arrived(name)[0]).group(1) for name in ("ann", "bob")]
    assert numbers[0] == numbers[1], "one transaction for all"
    hop.arrived("grey")
    notice, = house.notices()
    assert notice.told() == {"%s@%s" % (name, FAR): ("failed", "5.1.1")
                             for name in (REFUSED, "nobody")}
    assert "550" in notice.reports["%s@%s" % (REFUSED, FAR)]["Diagnostic-Code"]
    assert notice.reports["%s@%s" % (REFUSED, FAR)]["Remote-MTA"].replace(
        " ", "") == "dns;" + nexthops.HOST
    assert "Nobody of that name" in notice.prose
    eventually(lambda: hop.log().count("<%s@%s>" % (LATER, FAR)) > 2, "the third try")
    assert house.waiting()
    for name in ("ann", "bob", "grey"):
        hop.arrived(name)
    assert len(house.notices()) == 1


@pytest.mark.parametrize("manners", [
    ["-q", "connect"], ["-q", "ehlo,helo"], ["-q", "mail"], ["-q", "rcpt"], ["-q", "data"],
    ["-q", "."], ["-Q", "mail"],
    ["-Q", "data"], ["-r", "."], ["-r", "mail"]], ids=" ".join)
def test_bad_manners_are_outlived(nexthop, program, sending, manners):
    with nexthops.Sink(program, *manners) as rude:
        house = sending(rude.port)
        house.send(house.mine("to the rude"), "ann", "bob")
        eventually(house.deferred, "a first try")
        house.send(house.mine("and another"), "ann")
    hop = nexthop(nexthops.Sink, port=rude.port)
    eventually(lambda: len(hop.messages()) >= 2, "both messages\n" + house.log())
    eventually(lambda: not house.waiting(), "an empty queue")
    assert len(hop.messages()) == 2
    assert house.messages(house.author) == {}


@pytest.mark.parametrize("manners", [["-f", "mail"], ["-f", "rcpt"], ["-f", "data"], ["-f", "."]],
                         ids=" ".join)
def test_what_is_refused_for_good_comes_back(nexthop, sending, manners):
    house = sending(nexthop(nexthops.Sink, *manners).port)
    house.send(house.mine("unwanted"), "ann", "bob")
    assert house.notices()[0].told() == {"%s@%s" % (name, FAR): ("failed", "5.3.0")
                                         for name in ("ann", "bob")}
    eventually(lambda: not house.waiting(), "an empty queue")


def test_the_dns_decides(nexthop, sending):
    hop = nexthop(nexthops.Postfix, more={"virtual_mailbox_domains": FAR + " two.example",
                                          "virtual_mailbox_maps": "static:ann/",
                                          "smtpd_recipient_restrictions": ""})
    house = sending(hop.port)
    house.send(house.mine("the second of two"), "ann@two.example")
    hop.arrived("ann")
    house.send(house.mine("nobody wants mail there"), "ann@null.example")
    assert house.notices(1)[0].told() == {"ann@null.example": ("failed", "5.1.10")}
    house.names.behave(FAR, rcode="SERVFAIL")
    house.send(house.mine("later"), "ann")
    eventually(lambda: FAR in house.names.questions("MX"), "the question")
    house.names.behave(FAR)
    hop.arrived("ann", 2)
    house.send(house.mine("no such domain"), "ann@there-is-none.example")
    told = {}
    for notice in house.notices(2):
        told.update(notice.told())
    assert told["ann@there-is-none.example"] == ("failed", "5.1.2")


@pytest.mark.parametrize("right", [True, False])
def test_dane(nexthop, sending, program, right):
    hop = nexthop(nexthops.Postfix)
    house = sending(hop.port)
    house.names.authentic = True
    digest = hop.certificate.digest(program("openssl")) if right else "00" * 32
    house.names.load(_ZONE + "_%d._tcp.%s. IN TLSA 3 1 1 %s\n" % (hop.port, nexthops.HOST, digest))
    house.send(house.mine("with a pinned key"), "ann")
    if right:
        assert over_tls(hop.arrived("ann")[0])
    else:
        eventually(lambda: hop.log().count("connect from") > 1, "the second try")
        assert not hop.mail("ann") and house.waiting()


def test_told_of_what_a_server_without_dsn_took(nexthop, sending):
    hop = nexthop(nexthops.Chasquid)
    house = sending(hop.port)
    house.send(house.mine("tell me"), "ann", options=["RET=HDRS", "ENVID=e-1"],
               recipient_options=["NOTIFY=SUCCESS,FAILURE"])
    hop.arrived("ann")
    notice, = house.notices()
    assert notice.told()["ann@" + FAR][0] == "relayed"
    assert "e-1" in str(notice.message.get_payload()[1])


# Smarthosts


def smarthost(hop, port=None, **more):
    return dict({"server": "localhost", "port": port or hop.port, "username": nexthops.USER,
                 "password": nexthops.PASSWORD}, **more)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_a_smarthost_takes_all(nexthop, sending, mechanism):
    hop = nexthop(nexthops.Exim, mechanisms=[mechanism])
    house = sending(25, {"SSL_CERT_FILE": hop.certificate.path}, hosted=smarthost(hop))
    house.send(house.mine("through the smarthost"), "someone@elsewhere.example",
               "other@two.example")
    arrived = hop.arrived(nexthops.ELSEWHERE, 2)
    assert over_tls(arrived[0]) and b"esmtpsa" in arrived[0]
    assert len({re.search(rb" id (\S+)", each).group(1) for each in arrived}) == 1, (
        "one transaction for all")
    assert not house.names.questions("MX")


def test_chasquid_as_a_smarthost(nexthop, sending):
    hop = nexthop(nexthops.Chasquid)
    login = "%s@%s" % (nexthops.USER, FAR)
    house = sending(25, {"SSL_CERT_FILE": hop.certificate.path},
                    hosted=smarthost(hop, hop.submission, username=login))
    house.send(house.mine("through chasquid"), "ann")
    assert over_tls(hop.arrived("ann")[0])


def test_a_refused_login_bounces_nothing(nexthop, sending, tmp_path):
    hop = nexthop(nexthops.Exim, mechanisms=["PLAIN"])
    house = sending(25, {"SSL_CERT_FILE": hop.certificate.path},
                    hosted=smarthost(hop, password="guess"))
    house.send(house.mine("nobody lets me in"), "someone@elsewhere.example")
    eventually(lambda: hop.log().count("authenticator failed") > 1, "the second try")
    assert house.waiting() and house.messages(house.author) == {} and not hop.elsewhere()
    assert re.search(r" ERROR .*(?:login|535)", house.complaints())


def test_a_smarthost_without_tls_gets_no_password(nexthop, sending):
    hop = nexthop(nexthops.Sink)
    house = sending(25, hosted=smarthost(hop))
    house.send(house.mine("not in the clear"), "someone@elsewhere.example")
    eventually(house.deferred, "a first try")
    assert house.waiting() == 1 and not hop.messages() and house.messages(house.author) == {}
