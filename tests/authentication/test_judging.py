"""Incoming mail is judged by a child process: its verdicts, and that it cannot harm the server."""
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from phenmail_protocols.authentication import judging
from phenmail_protocols.authentication.judging import Judge
from phenmail_protocols.children import child
from phenmail_protocols.config.settings import Inbound, Relay, Resolver
from phenmail_protocols.dkim import keys
from phenmail_protocols.dkim.body_hash import BodyHash
from phenmail_protocols.dkim.signing import Signer
from phenmail_protocols.mail.address import Address
from phenmail_protocols.net.address import is_outside

from ..dkim.keys import RSA
from ..net.nameserver import NameServer

pytest.importorskip("spf")
dkim = pytest.importorskip("dkim")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="the process needs POSIX")

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HOST = "mx.example.net"
IP, OTHER, IP6 = "93.184.215.14", "93.184.215.15", "2606:2800:21f::1"
KEY = keys.read_rsa(RSA)
LONG = "".join("include%d.example.com. TXT \"v=spf1 include:include%d.example.com -all\"\n"
               % (n, n + 1) for n in range(12))
POLICIES = "".join("_dmarc.%s.example. TXT \"v=DMARC1; p=%s; %s\"\n" % (name, policy, more)
                   for name, policy, more in [
    ("none", "none", "rua=mailto:a@none.example"), ("quarantine", "quarantine", "adkim=r"),
    ("reject", "reject", "pct=100"),
    ("strict", "reject", "adkim=s; aspf=s"), ("sub", "none", "sp=reject"),
    ("sample", "reject", "pct=0"),
    ("nonsense", "perhaps", "rua=mailto:a@nonsense.example"), ("my-bank", "reject", "fo=1"),
    ("xn--bcher-kva", "reject", "fo=1")])
ZONE = POLICIES + LONG + """\
example.org. TXT "v=spf1 ip4:%(ip)s ip6:%(ip6)s mx ~all"
example.org. MX 10 mail.example.org.
mail.example.org. A 93.184.215.20
mail.example.org. TXT "v=spf1 a -all"
s._domainkey.example.org. TXT "%(key)s"
_dmarc.example.org. TXT "v=DMARC1; p=reject"
strict.example.com. TXT "v=spf1 ip4:%(ip)s -all"
two.example.com. TXT "v=spf1 -all"
two.example.com. TXT "v=spf1 +all"
odd.example.com. TXT "v=spf1 moo -all"
reject.example. TXT "v=spf1 ip4:%(ip)s -all"
mail.reject.example. TXT "v=spf1 ip4:%(ip)s -all"
mail.strict.example. TXT "v=spf1 ip4:%(ip)s -all"
my-bank.example. TXT "v=spf1 ip4:%(ip)s -all"
my-shop.example. TXT "v=spf1 ip4:%(ip)s -all"
xn--bcher-kva.example. TXT "v=spf1 ip4:%(ip)s -all"
_dmarc.two.example.com. TXT "v=DMARC1; p=reject"
_dmarc.two.example.com. TXT "v=DMARC1; p=none"
_dmarc.broken.example. TXT "v=DMARC1; p"
_dmarc.spaces.example. TXT "v = DMARC1 ; p = reject"
_dmarc.list.example. TXT "v=DMARC1; p=reject; rua=mailto:a@x.example; mailto:b@x.example; fo=1"
_dmarc.case.example. TXT "V=DMARC1; P=Reject"
_dmarc.testing.example. TXT "v=DMARC1; p=reject; t=y"
_dmarc.missing.example. TXT "v=DMARC1; rua=mailto:a@missing.example"
_dmarc.np.example. TXT "v=DMARC1; p=none; np=reject"
there.np.example. A 192.0.2.1
_dmarc.co.uk. TXT "v=DMARC1; p=reject; psd=y"
other.co.uk. TXT "v=spf1 ip4:%(ip)s -all"
void.example.com. TXT "v=spf1 mx mx:void2.example.com ip4:%(ip)s -all"
void.example.com. MX 10 gone1.example.com.
void.example.com. MX 10 gone2.example.com.
void.example.com. MX 10 gone3.example.com.
void2.example.com. MX 10 gone1.example.com.
voids.example.com. TXT "v=spf1 a mx a:gone1.example.com ip4:%(ip)s -all"
case.example.com. TXT "V=SPF1 Redirect=strict.example.com"
modifiers.example.com. TXT "v=spf1 x=1 X=2 x=3 ip4:%(ip)s default=fail a-b.c_d= -all op=1"
macro.example.com. TXT "v=spf1 x=%%{z} +all"
labels.example.com. TXT "v=spf1 exists:%%{d0}.example.com +all"
labels2.example.com. TXT "v=spf1 exists:%%{ir00}.example.com exists:%%{d00r}.example.com +all"
labels10.example.com. TXT "v=spf1 exists:%%{d10}.gone.example.com +all"
unused.example.com. TXT "v=spf1 +all exists:%%{L0-}.example.com"
tab.example.com. TXT "v=spf1\\009+all"
word.example.com. TXT "v=spf10 +all"
""" % {"ip": IP, "ip6": IP6, "key": "\" \"".join([KEY.record[:200], KEY.record[200:]])}


class Settings:
    """The part of config.settings.Settings that a Judge reads."""

    def __init__(self, server, dmarc="enforce"):
        self.inbound, self.python, self.run_as = Inbound(dmarc), None, None
        self.resolver = Resolver((server.address,), 5.0)


class House:
    """A name server, a Judge that uses it, and a folder for messages."""

    def __init__(self, folder, **options):
        self.folder, self.server = str(folder), NameServer(ZONE).__enter__()
        self.settings = Settings(self.server)
        self.judge = Judge(lambda: self.settings, lambda: HOST, **options)

    def close(self):
        self.judge.stop()
        self.server.__exit__()

    def process(self):
        """The current child process, or None."""
        return next(iter(self.judge.pool.processes.values()), None)

    def judged(self, message, ip=IP, sender="alice@example.org", helo="mail.example.org", own=b"",
               line_end=b"\n"):
        path = os.path.join(self.folder, "%d" % threading.get_ident())
        own, message = (octets.replace(b"\r\n", line_end) for octets in (own, message))
        with open(path, "wb") as file:
            file.write(own + message)
        os.chmod(path, 0o600)  # the child's user cannot open it
        return self.judge.judge(ip, helo, Address.parse(sender) if sender else None, path, len(own))

    def auth(self, *arguments, **options):
        return self.judged(*arguments, **options).auth


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = House(tmp_path_factory.mktemp("staged"))
    yield made
    made.close()


@pytest.fixture
def own(tmp_path):
    """own(seconds=…): a new House."""
    made = []

    def make(**options):
        made.append(House(tmp_path, **options))
        return made[-1]
    yield make
    for each in made:
        each.close()


def letter(author="alice@example.org", body=b"Hello caf\xc3\xa9 \xe9\r\n"):
    return b"From: A <%s>\r\nTo: b@example.net\r\nSubject: x\r\n\r\n" % author.encode(
        "utf-8") + body


def signed(message, domain=b"example.org"):
    return dkim.DKIM(message).sign(b"s", domain, RSA, canonicalize=(b"relaxed", b"relaxed"),
                                   include_headers=[b"from"]) + message


# -- SPF


@pytest.mark.parametrize("ip, sender, word", [
    (IP, "alice@example.org", "pass"), (IP6, "alice@example.org", "pass"),
    ("93.184.215.20", "alice@example.org", "pass"),
    (OTHER, "alice@example.org", "softfail"), (OTHER, "a@strict.example.com", "fail"),
    (IP, "a@nothing.example.com", "none"),
    (IP, "a@two.example.com", "permerror"), (IP, "a@odd.example.com", "permerror"),
    (IP, "a@include0.example.com", "permerror"),
    (IP, "a@void.example.com", "pass"), (IP, "a@voids.example.com", "permerror"),
    (OTHER, "a@case.example.com", "fail"),
    (IP, "a@labels.example.com", "permerror"), (IP, "a@labels2.example.com", "permerror"),
    (IP, "a@labels10.example.com", "pass"), (IP, "a@unused.example.com", "permerror"),
    (IP, "a@modifiers.example.com", "pass"), (OTHER, "a@modifiers.example.com", "fail"),
    (IP, "a@macro.example.com", "permerror"),
    (IP, "a@tab.example.com", "none"), (IP, "a@word.example.com", "none"),
    (IP, "a@[192.0.2.1]", "none"), (IP, "a@b\u00fccher.example", "pass"),
    (IP, "\u00fc@example.org", "pass"),
    (IP, "a@localhost", "none")])
def test_spf(house, ip, sender, word):
    found = house.judged(letter("x@nothing.example"), ip=ip, sender=sender)
    assert found.auth.split()[0] == "spf=" + word
    assert b"\tspf=" + word.encode() + b" smtp.mailfrom=" in found.field


def test_spf_of_a_null_sender_is_of_the_helo(house):
    assert house.auth(letter(), sender=None, ip="93.184.215.20").startswith("spf=pass")
    found = house.judged(letter(), sender=None, ip=OTHER)
    assert found.auth.startswith("spf=fail") and b"smtp.helo=mail.example.org;" in found.field
    for helo in ("", "localhost", "[192.0.2.1]", "a b", "\u00fc.\udcff", "x" * 300 + ".example",
                 "..", "%{l}.example"):
        found = house.judged(letter(), sender=None, helo=helo)
        assert found.auth.startswith("spf=none"), helo
        assert found.field.count(b"\r\n\t") == 3 and found.field.endswith(b"\r\n"), found


def test_spf_without_an_answer(own):
    house = own()
    house.server.behave("example.org", "TXT", rcode="SERVFAIL")
    assert house.auth(letter("a@nothing.example")) == "spf=temperror dkim=none dmarc=none"


# -- DKIM


def test_dkim(house):
    message = signed(letter())
    found = house.judged(message, ip=OTHER)
    assert found.auth == "spf=softfail dkim=pass dmarc=pass" and not found.reject
    assert b"\tdkim=pass header.d=example.org header.s=s header.a=rsa-sha256" in found.field
    assert house.auth(message.replace(b"Hello", b"Hullo")) == "spf=pass dkim=fail dmarc=pass"
    assert house.auth(message.replace(b"alice", b"malice"),
                      ip=OTHER) == "spf=softfail dkim=fail dmarc=fail"
    assert house.auth(message.replace(b"\xc3\xa9", b"\xc3\xa8"),
                      ip=OTHER) == "spf=softfail dkim=fail dmarc=fail"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["staged", "queued"])
def test_what_stands_before_the_message_is_ours(house, line_end):
    added = b"Return-Path: <alice@example.org>\r\nDelivered-To: b@example.net\r\nFrom: us\r\n"
    # a piece ends between CR and LF
    message = signed(letter(body=b"a" + b"\r\n" * 100000 + b"b\r\n"))
    assert house.auth(message, own=added, line_end=line_end) == "spf=pass dkim=pass dmarc=pass"
    assert house.auth(message.replace(b"\r\n\r\na\r\n", b"\r\n\r\naa\r\n", 1),
                      line_end=line_end) == "spf=pass dkim=fail dmarc=pass"
    message = signed(letter(body=b"aa" + b"\r\n" * 100000 + b"b\r\n"))
    assert house.auth(message, own=added, line_end=line_end) == "spf=pass dkim=pass dmarc=pass"


def test_signed_by_us(house, tmp_path):
    (tmp_path / "key").write_bytes(RSA)
    signer = Signer(Relay(str(tmp_path / "key"), "s", "", 25), lambda: {"example.org"},
                    "example.org")
    header, _, text = letter(body=b"body  \r\n" * 30000).partition(b"\r\n\r\n")
    body = BodyHash()
    body.update(text)
    message = signer.sign(header + b"\r\n\r\n", body.digest(),
                          Address("alice", "example.org")) + header + b"\r\n\r\n" + text
    assert house.auth(message, ip=OTHER) == "spf=softfail dkim=pass dmarc=pass"


def test_a_signature_without_an_answer(own):
    house = own()
    house.server.behave("s._domainkey.example.org", rcode="SERVFAIL")
    assert house.auth(signed(letter())) == "spf=pass dkim=temperror dmarc=pass"
    found = house.judged(signed(letter()), ip=OTHER)
    assert found.auth == "spf=softfail dkim=temperror dmarc=temperror" and not found.reject


def test_a_large_message_is_not_verified(house):
    message = signed(letter(body=b"x" * 70 + b"\r\n") + b"y" * 70 + b"\r\n" * 5 * 1024
                     * 1024 + b"end\r\n" * 20000)
    message += b"0123456789" * (1024 * 1024)
    assert house.auth(message) == "spf=pass dkim=policy dmarc=pass"
    found = house.judged(message, ip=OTHER)
    assert found.auth == "spf=softfail dkim=policy dmarc=permerror" and not found.reject
    assert b'reason="message too large"' in found.field
    assert house.auth(letter(body=b"0123456789"
                             * (1024 * 1024 + 1))) == "spf=pass dkim=none dmarc=pass"


# -- DMARC


@pytest.mark.parametrize("author, sender, word, reject", [
    ("a@reject.example", "b@reject.example", "pass", False),
    ("a@reject.example", "b@mail.reject.example", "pass", False),
    ("a@mail.reject.example", "b@reject.example", "pass", False),
    ("a@reject.example", "alice@example.org", "fail", True),
    ("a@REJECT.example", "alice@example.org", "fail", True),
    ("a@strict.example", "b@mail.strict.example", "fail", True),
    ("a@quarantine.example", "alice@example.org", "fail", False),
    ("a@none.example", "alice@example.org", "fail", False),
    ("a@nonsense.example", "alice@example.org", "fail", False),
    ("a@sub.example", "alice@example.org", "fail", False),
    ("a@x.sub.example", "alice@example.org", "fail", True),
    ("a@sample.example", "alice@example.org", "fail", True),  # RFC 9989 has no pct
    ("a@nothing.example", "alice@example.org", "none", False),
    ("a@two.example.com", "alice@example.org", "none", False),
    ("a@broken.example", "alice@example.org", "fail", False),
    ("a@some.co.uk", "alice@example.org", "fail", True),
    ("a@some.co.uk", "b@other.co.uk", "fail", True),
    ("a@spaces.example", "alice@example.org", "fail", True),
    ("a@list.example", "alice@example.org", "fail", True),
    ("a@case.example", "alice@example.org", "fail", True),
    ("a@testing.example", "alice@example.org", "fail", False),
    ("a@missing.example", "alice@example.org", "fail", False),
    ("a@gone.np.example", "alice@example.org", "fail", True),
    ("a@there.np.example", "alice@example.org", "fail", False),
    ("a@my-bank.example", "b@my-bank.example", "pass", False),
    ("a@my-bank.example", "b@my-shop.example", "fail", True),
    ("a@b\u00fccher.example", "b@xn--bcher-kva.example", "pass", False),
    ("a@b\u00fccher.example", "alice@example.org", "fail", True),
])
def test_dmarc(house, author, sender, word, reject):
    found = house.judged(letter(author), sender=sender)
    assert found.auth == "spf=pass dkim=none dmarc=" + word
    assert found.reject == reject and bool(found.reason) == reject
    if reject:
        assert author.rpartition("@")[2].lower().encode("idna").decode() in found.reason


@pytest.mark.parametrize("header", [
    b"", b"From:\r\n", b"From: a@none.example, b@none.example\r\n",
    b"From: a@example.org, b@nothing.example\r\n",
    b"From: nobody\r\n", b"From: a@nothing.example <b@none.example>\r\n",
    b"From: a@[192.0.2.1]\r\n", b"From: a@\xff.example\r\n",
    b"From: undisclosed:;\r\n"])
def test_not_one_author(house, header):
    found = house.judged(header + b"Subject: x\r\n\r\ntext\r\n")
    assert found.auth == "spf=pass dkim=none dmarc=permerror" and not found.reject


@pytest.mark.parametrize("header", [
    b"From: a@reject.example, b@reject.example\r\n",
    b"From: a@nothing.example, b@reject.example\r\n",
    b"From: a@reject.example, b@nothing.example\r\n",
    b"From: a@nothing.example\r\nFrom: b@reject.example\r\n",
    b"From: Us: a@reject.example, a@nothing.example;\r\n",
    b"From: a@reject.example <b@nothing.example>\r\n",
    b"From: The boss <a@reject.example> x\r\n",
    b"From: \"The boss <a@reject.example>\" <a@reject.example>, <\r\n",
    b"From: X <a@reject.example\r\n", b"From: <a@nothing.example> <a@reject.example>\r\n",
    b"From: <<a@reject.example>>\r\n", b"From: a@nothing.example; a@reject.example\r\n",
    b"From: a@@reject.example\r\n", b"From: [a@ REJECT.example]\r\n",
    b"From: a@(x)reject.example (\r\n"])
def test_a_second_author_does_not_evade_the_firsts_policy(house, header):
    found = house.judged(header + b"Subject: x\r\n\r\ntext\r\n")
    assert (found.auth == "spf=pass dkim=none dmarc=permerror" and found.reject
            and "reject.example" in found.reason)
    assert not house.judged(header + b"Subject: x\r\n\r\ntext\r\n",
                            sender="b@reject.example").reject


MANY = [b"a@n%d.example" % number for number in range(6)]


@pytest.mark.parametrize("header", [
    b"From: " + b", ".join(MANY) + b"\r\n", b"".join([b"From: %s\r\n" % each for each in MANY]),
    b"From: <" + b"> <".join(MANY) + b">\r\n", b"From: us: " + b",\r\n ".join(MANY) + b";\r\n"])
def test_too_many_authors(house, header):
    asked = len(house.server.questions("TXT"))
    found = house.judged(header + b"Subject: x\r\n\r\ntext\r\n", sender="b@reject.example")
    assert found.auth == "spf=pass dkim=none dmarc=permerror" and found.reject
    assert found.reason == "From contains more than 5 domains, too many to check (DMARC)"
    assert not any(name.startswith("_dmarc.n") for name in house.server.questions("TXT")[asked:])
    assert not house.judged(header.replace(b"n5", b"n4") + b"\r\ntext\r\n").reject


def test_a_signature_of_another_domain_is_not_aligned(house):
    assert house.auth(signed(letter("a@reject.example"))) == "spf=pass dkim=pass dmarc=fail"


def test_a_senders_slow_zone_hides_no_policy(own):
    house = own(seconds=2.0)
    house.server.behave("slow.example.com", silent=True)
    found = house.judged(letter("a@reject.example"), sender="a@slow.example.com")
    assert found.auth == "spf=temperror dkim=none dmarc=fail" and found.reject


def test_nothing_is_refused_unless_the_settings_say_so(own):
    house = own()
    house.settings.inbound = Inbound()
    found = house.judged(letter("a@reject.example"))
    assert found.auth.endswith("dmarc=fail") and not found.reject and not found.reason


# -- the process


def test_a_dns_that_hangs(own):
    house = own(seconds=1.0)
    for name in ("example.org", "_dmarc.example.org", "s._domainkey.example.org"):
        house.server.behave(name, silent=True)
    house.auth(letter("a@nothing.example"), sender="a@nothing.example")  # it has started
    begun = time.monotonic()
    assert house.auth(signed(letter())) == "spf=temperror dkim=temperror dmarc=temperror"
    assert time.monotonic() - begun < 3.0


def test_a_slow_sender_delays_nobody_else(own):
    house = own(seconds=4.0)
    house.server.behave("example.org", "TXT", silent=True)
    house.auth(letter("a@nothing.example"), sender="a@nothing.example")
    slow = [threading.Thread(target=house.auth, args=(letter(),)) for _ in range(6)]
    for each in slow:
        each.start()
    deadline = time.monotonic() + 3
    while house.server.questions("TXT").count(
            "example.org") < judging.MOST_OF_ONE and time.monotonic() < deadline:
        time.sleep(0.01)
    begun = time.monotonic()
    assert house.auth(letter("a@reject.example"), sender="a@reject.example",
                      ip=OTHER).startswith("spf=fail")
    assert time.monotonic() - begun < 1.0
    for each in slow:
        each.join()


def test_twenty_at_once(house):
    found, message = [], signed(letter())

    def judge():
        found.append(house.auth(message, ip=OTHER))
    threads = [threading.Thread(target=judge) for _ in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert found == ["spf=softfail dkim=pass dmarc=pass"] * 20


def test_too_many_at_once(own, caplog):
    house = own(seconds=0.5)
    house.judge.pool.running["192.0.2.1"] = judging.MOST_AT_ONCE
    assert house.auth(letter()) == "spf=temperror dkim=temperror dmarc=temperror"
    assert "too many messages" in caplog.text


def test_a_process_that_dies(own):
    house = own(seconds=5.0)
    house.server.behave("example.org", "TXT", silent=True)
    assert house.auth(letter("a@reject.example"),
                      sender="a@reject.example") == "spf=pass dkim=none dmarc=pass"
    found = []
    judged = threading.Thread(target=lambda: found.append(house.auth(letter())))
    judged.start()
    deadline = time.monotonic() + 5
    while "example.org" not in house.server.questions("TXT") and time.monotonic() < deadline:
        time.sleep(0.01)
    process = house.process()
    os.kill(process.pid, signal.SIGKILL)
    begun = time.monotonic()
    judged.join(10)
    assert found == [
        "spf=temperror dkim=temperror dmarc=temperror"] and time.monotonic() - begun < 2
    assert house.auth(letter("a@reject.example"),
                      sender="a@reject.example") == "spf=pass dkim=none dmarc=pass"
    assert house.process() is not process


def test_a_process_that_stops(own, monkeypatch):
    monkeypatch.setattr(child, "_BEGIN", 0.5)
    house = own()
    house.auth(letter())
    process = house.process()
    os.kill(process.pid, signal.SIGSTOP)
    assert house.auth(letter()) == "spf=pass dkim=none dmarc=pass", "another one has taken it"
    assert house.process() is not process and process._child.poll() is not None


def test_it_is_ended_when_idle_and_replaced(own, monkeypatch):
    now = [0.0]
    house = own(clock=lambda: now[0])
    assert house.process() is None, "started by the first message"
    house.auth(letter())
    process = house.process()
    now[0] = 59.0
    house.judge.pool.end_idle()
    assert house.process() is process
    house.auth(letter())
    assert house.process() is process
    now[0] = 119.0
    house.judge.pool.end_idle()
    assert house.process() is None and process._child.poll() is not None
    monkeypatch.setattr(judging, "MESSAGES_OF_ONE", 3)
    house, pids = own(), []
    for _ in range(4):
        assert house.auth(letter()) == "spf=pass dkim=none dmarc=pass"
        pids.append(house.process() and house.process().pid)
    assert pids[0] == pids[1] and pids[2] is None and pids[3] not in (pids[0], None)
    house.judge.stop()
    assert house.auth(letter()) == "spf=temperror dkim=temperror dmarc=temperror"
    assert not [thread for thread in threading.enumerate() if thread.name == "phenmail-judging"
                and thread.is_alive()
                and thread is house.judge.pool.thread]


def _descriptors(pid):
    """The open files of a running process: "socket", or a path."""
    found = set()
    for each in os.listdir("/proc/%d/fd" % pid):
        try:
            found.add(os.readlink("/proc/%d/fd/%s" % (pid, each)))
        except FileNotFoundError:
            pass
    return {"socket" if each.startswith("socket:") else each for each in found}


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_the_process_has_nothing_of_the_server(house):
    house.auth(letter())
    pid = house.process().pid
    deadline = time.monotonic() + 10
    while _descriptors(pid) != {os.devnull, "socket"} and time.monotonic() < deadline:
        time.sleep(0.01)  # it closes the message after the answer
    assert _descriptors(pid) == {os.devnull, "socket"}
    with open("/proc/%d/status" % pid) as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    if os.geteuid() == 0:
        assert "0" not in status["Uid"].split() + status["Gid"].split() + status["Groups"].split()
    with open("/proc/%d/environ" % pid) as file:
        assert {each.partition("=")[0] for each in file.read().split("\0")
                if each} <= {"LANG", "PATH"}
    assert os.readlink("/proc/%d/cwd" % pid) == "/"
    assert os.getsid(pid) == pid
    if hasattr(os, "sched_getaffinity"):
        assert len(os.sched_getaffinity(pid)) >= len(os.sched_getaffinity(0))


def test_the_server_loads_nothing(tmp_path):
    (tmp_path / "message").write_bytes(letter().replace(b"\r\n", b"\n"))
    (tmp_path / "spf.py").write_text("raise SystemExit('code of the working directory')")
    code = ("import sys; sys.path.insert(0, %r)\n"
            "from phenmail_protocols.config.settings import Inbound, Resolver\n"
            "from phenmail_protocols.authentication.judging import Judge\n"
            "class S: inbound, python, run_as, resolver = Inbound(), None, None, Resolver((%r,), "
            "2.0)\n"
            "judge = Judge(lambda: S, lambda: 'mx.example.net')\n"
            "print(judge.judge(%r, 'x.example', None, 'message').auth, judge.complaints())\n"
            "judge.stop()\n"
            "print([name for name in ('dns', 'dkim', 'spf', 'email', 'ipaddress') if name in "
            "sys.modules])\n")
    with NameServer(ZONE) as server:
        done = subprocess.Popen([sys.executable, "-c", code % (TOP, server.address, IP)],
                                cwd=str(tmp_path), stdout=subprocess.PIPE)
        out = done.communicate(timeout=60)[0].decode().splitlines()
    assert out == ["spf=none dkim=none dmarc=fail []", "[]"]


@pytest.mark.parametrize("python, told", [("/bin/false", "cannot run judging"),
                                          ("/does/not/exist", "cannot start")])
def test_an_interpreter_that_cannot_be_run(own, caplog, python, told):
    now = [0.0]
    house = own(python=python, clock=lambda: now[0])
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert house.auth(letter()) == "spf=temperror dkim=temperror dmarc=temperror"
    assert caplog.text.count(told) == 1
    house.judge._python = None
    assert house.auth(letter()) == "spf=pass dkim=none dmarc=pass", "another is tried at once"


def test_another_interpreter_has_its_own_packages(own, tmp_path):
    os.symlink(sys.executable, str(tmp_path / "python3"))
    house = own(python=str(tmp_path / "python3"))
    assert house.judge.complaints() == []
    assert house.auth(letter()).count("=") in (0, 3), (
        "a link out of a virtual environment may have no packages")


def test_settings_that_change(own):
    house = own()
    assert house.auth(letter()) == "spf=pass dkim=none dmarc=pass"
    process = house.process()
    with NameServer("example.org. TXT \"v=spf1 -all\"\n") as server:
        house.settings.resolver = Resolver((server.address,), 2.0)
        assert house.auth(letter()) == "spf=fail dkim=none dmarc=none"
    assert house.process() is process


def test_a_file_that_is_gone(house, caplog):
    found = house.judge.judge(IP, "x.example", None, os.path.join(house.folder, "nothing"))
    assert found.auth == "spf=temperror dkim=temperror dmarc=temperror" and not found.reject
    assert "cannot check a message" in caplog.text


@pytest.mark.parametrize("answer", [b"", b"[]", b"null", b"7", b'"text"', b"{", b"[[],0]",
                                    b'[[["spf","great","",[]]],true,"x"]',
                                    b'[[["spf","pass","a\\nb",[]]],true,"x"]',
                                    b'[[["spf","pass","",[[1]]]],true,"x"]', b"\xff",
                                    b"[" * 5000])
def test_a_process_that_says_anything(house, answer, monkeypatch):
    monkeypatch.setattr(house.judge, "_ask", lambda case, file: b"begun 1\n" + answer)
    found = house.judged(letter())
    assert found.auth == "spf=temperror dkim=temperror dmarc=temperror" and not found.reject


def test_an_invalid_domain_is_not_reported(house, monkeypatch):
    said = json.dumps([[["dmarc", "fail", "", [["header.from", "a\r\nX: y"]]]], True,
                       "a\r\nX: y"]).encode("ascii")
    monkeypatch.setattr(house.judge, "_ask", lambda case, file: b"begun 1\n" + said)
    found = house.judged(letter())
    assert found.reject and "\r" not in found.reason and b"X: y" not in found.field


# -- missing packages


def test_a_package_that_is_missing(own, monkeypatch):
    import importlib.util
    there = importlib.util.find_spec
    gone = {"spf", "dkim", "dns"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name,
                        *more: None if name in gone else there(name, *more))
    house = own()
    assert len(house.judge.complaints()) == 3 and "pyspf" in house.judge.complaints()[1]
    found = house.judged(letter())
    assert found == (b"Authentication-Results: mx.example.net;\r\n\tnone\r\n", "", False, "")
    assert house.process() is None


@pytest.mark.parametrize("missing, auth", [("spf", "dkim=none"), ("dkim", "spf=pass")])
def test_a_method_whose_package_is_missing_is_left_out(house, tmp_path, missing, auth):
    code = ("import sys, json; sys.path.insert(0, %r); sys.modules[%r] = None\n"
            "from phenmail_protocols.authentication import checks as a, results\n"
            "judge = a.Authentication(); file = open(sys.argv[1], 'rb')\n"
            "found = judge.judge(a.Case(%r, 'x', 'alice@example.org', 'h', 0, 5.0, (%r,), 1.0), "
            "file.fileno())\n"
            "print(results.summary(found.results), found.reject, bool(judge.missing))\n")
    (tmp_path / "message").write_bytes(letter().replace(b"\r\n", b"\n"))
    out = subprocess.check_output([sys.executable, "-c",
                                   code % (TOP, missing, IP, house.server.address),
                                   str(tmp_path / "message")])
    assert out.decode().strip() == auth + " False True"


@pytest.mark.parametrize("peer, outside", [
    (IP, True), (IP6, True), ("172.32.0.1", True), ("192.1.2.1", True), ("100.128.0.1", True),
    ("", False), ("127.0.0.1", False),
    ("::1", False), ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.1.1", False),
    ("169.254.1.1", False), ("100.64.0.1", False),
    ("fe80::1", False), ("fd00::1", False), ("::", False), ("unknown", False)])
def test_who_is_outside(peer, outside):
    assert is_outside(peer) == outside


# -- compared with other programs


def test_authheaders_and_opendkim_say_the_same(house, program, tmp_path):
    pytest.importorskip("authheaders")
    from ..interop import judges
    came = judges.Came(IP, "alice@example.org", "mail.example.org")
    for message in (signed(letter()), signed(letter()).replace(b"Hello", b"Hullo"), letter()):
        for ip in (IP, OTHER):
            theirs = judges.authentication(house.server.address, came._replace(ip=ip), message,
                                           str(tmp_path))
            ours = dict(word.split("=") for word in house.auth(message, ip=ip).split())
            assert {name: "fail" if ours[name] == "none" and name == "dkim" else ours[name]
                    for name in theirs} == theirs
        if b"DKIM-Signature" in message:
            said = judges.opendkim(program, house.server.address, message, str(tmp_path))
            assert ("dkim=pass" in said) == (ours["dkim"] == "pass"), said
