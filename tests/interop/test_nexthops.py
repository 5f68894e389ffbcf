"""The next hops of the relay's tests do what they say: swaks asks them."""
import re

import pytest

from tests.interop import nexthops
from tests.interop.house import message, run, succeed

SENDER = "friend@example.com"
NO_RECIPIENT, NO_AUTH = 24, 28
SERVERS = [nexthops.Postfix, nexthops.Exim, nexthops.Chasquid]


@pytest.fixture
def swaks(program):
    def command(hop, *more, port=None, names=("ann",)):
        return [program("swaks"), "--server", "localhost:%d" % (port or hop.port), "--helo",
                "client.example.com",
                "--timeout", "15", "--from", SENDER, "--to",
                ",".join("%s@%s" % (name, nexthops.DOMAIN) for name in names),
                "--data", "-", "--no-data-fixup"] + list(more)
    return command


def trusting(hop):
    return ["--tls", "--tls-verify", "--tls-ca-path", hop.certificate.path]


SENT = message("to the next hop", "one\r\n..\r\ntwo\r\n") + b"."


@pytest.mark.parametrize("kind", SERVERS)
def test_mail_arrives_with_and_without_tls(nexthop, swaks, kind):
    hop = nexthop(kind)
    succeed(swaks(hop, *trusting(hop)), SENT)
    arrived = hop.arrived("ann")[0]
    assert arrived.endswith(SENT.replace(b"\r\n..\r\n", b"\r\n.\r\n")[:-1]) and nexthops.over_tls(
        arrived), arrived
    succeed(swaks(hop, names=["bob"]), SENT)
    assert not nexthops.over_tls(hop.arrived("bob")[0])


def test_opensmtpd_takes_mail(nexthop, swaks):
    hop = nexthop(nexthops.OpenSmtpd)
    said = succeed(swaks(hop, names=["ann", "nobody", "bob"]), SENT)
    assert b"STARTTLS" in said and b"PIPELINING" not in said and b"<** 524 5.2.4" in said
    for name in ("ann", "bob"):
        assert b"\r\n.\r\n" in hop.arrived(name)[0]


@pytest.mark.parametrize("kind, names", [
    (nexthops.Postfix, {"nobody": b"550 5.1.1", nexthops.REFUSED: b"550 5.1.1",
                        nexthops.LATER: b"451 4.2.0"}),
    (nexthops.Exim, {"nobody": b"550 5.1.1", nexthops.REFUSED: b"550 5.1.1",
                     nexthops.LATER: b"451 4.2.0"}),
    (nexthops.Chasquid, {"nobody": b"550 5.1.1", nexthops.REFUSED: b"550 5.1.1"})])
def test_each_recipient_has_an_answer_of_its_own(nexthop, swaks, kind, names):
    hop = nexthop(kind)
    said = succeed(swaks(hop, names=["ann"] + list(names) + ["bob"]), SENT)
    for name, answer in names.items():
        assert re.search(b" -> RCPT TO:<%b@[^>]*>\n<\\*\\* %b" % (name.encode("ascii"), answer),
                         said), said.decode("ascii")
    hop.arrived("ann"), hop.arrived("bob")


def test_exim_greylists(nexthop, swaks):
    hop = nexthop(nexthops.Exim)
    first = run(swaks(hop, names=["grey"]), SENT)
    assert first.code == NO_RECIPIENT and b"451 4.7.1 Greylisted" in first.out
    succeed(swaks(hop, names=["grey"]), SENT)
    hop.arrived("grey")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_exim_as_a_smarthost(nexthop, swaks, mechanism):
    hop = nexthop(nexthops.Exim, mechanisms=[mechanism])
    login = ["--auth", mechanism, "--auth-user", nexthops.USER, "--auth-password"]
    away = ["--to", "someone@example.com"]
    assert run(swaks(hop, *away), SENT).code == NO_RECIPIENT
    assert run(swaks(hop, *away, *login, "guess"), SENT).code == NO_AUTH
    succeed(swaks(hop, *away, *login, nexthops.PASSWORD), SENT)
    assert hop.arrived(nexthops.ELSEWHERE)


def test_chasquid_as_a_smarthost(nexthop, swaks):
    hop = nexthop(nexthops.Chasquid)
    login = trusting(hop) + ["--auth", "PLAIN", "--auth-user",
                             "%s@%s" % (nexthops.USER, nexthops.DOMAIN), "--auth-password"]
    own = ["--from", "%s@%s" % (nexthops.USER, nexthops.DOMAIN)]
    assert run(swaks(hop, *own, *login, "guess", port=hop.submission), SENT).code == NO_AUTH
    succeed(swaks(hop, *own, *login, nexthops.PASSWORD, port=hop.submission), SENT)
    hop.arrived("ann")


def test_the_sink_takes_all_and_can_be_rude(nexthop, swaks):
    hop = nexthop(nexthops.Sink)
    succeed(swaks(hop), SENT)
    assert b"X-Rcpt-Args: <ann@" in hop.messages()[0]
    for manners, answer in ((["-q", "data"], b""), (["-Q", "rcpt"], b"421"),
                            (["-f", "."], b"500 5.3.0")):
        done = run(swaks(nexthop(nexthops.Sink, *manners)), SENT)
        assert done.code and answer in done.out, done
