"""swaks submits, and looks at what is refused."""
import re

import pytest

from tests.interop.house import DOMAIN, assert_received, bodies, message, odd, run, succeed

STRANGER = "127.0.0.4"  # where wrong passphrases come from: the throttle remembers addresses
NO_RECIPIENT, NOT_SENT, NO_AUTH, NO_SENDER = 24, 26, 28, 23
DATA = ("--data", "-", "--no-data-fixup")
KNOWN = ("PLAIN", "LOGIN", "CRAM-MD5")


@pytest.fixture
def swaks(program, house):
    def command(service, *more):
        tls = "--tls-on-connect" if service == "submissions" else "--tls"
        return [program("swaks"), "--server", "%s:%d" % (house.host, house.ports[service]), tls,
                "--tls-verify",
                "--tls-ca-path", house.certificate, "--helo", "client.example.net", "--timeout",
                "15"] + list(more)
    return command


def stuffed(sent):
    """What `--no-data-fixup` wants: all as it goes over the wire, but for the last line end."""
    return re.sub(rb"^\.", b"..", sent, flags=re.M) + b"."


def logged_in(user, mechanism="PLAIN"):
    return ["--auth", mechanism, "--auth-user", user.address, "--auth-password", user.passphrase]


def path(sender, recipient):
    return ["--from", sender, "--to", recipient]


@pytest.mark.parametrize("service", ["submission", "submissions"])
def test_every_mechanism_that_is_offered(swaks, house, user, service):
    offered = succeed(swaks(service, *path(user.address, user.address), "--quit-after",
                            "HELO")).decode("ascii")
    mechanisms = re.findall(r"250[- ]AUTH (.*)", offered)[-1].split()
    assert set(KNOWN) < set(mechanisms), offered
    for number, mechanism in enumerate(KNOWN):
        sent = message("%s %d" % (mechanism, number), sender=user.address)
        succeed(swaks(service, *path(user.address, user.address), *logged_in(user, mechanism),
                      *DATA), stuffed(sent))
        assert_received(bodies(house.messages(user))[number], sent)


@pytest.mark.parametrize("more", [[], ["--pipeline"]])
def test_what_is_sent_arrives(swaks, house, user, more):
    odd_ones = odd(user.address).values()
    for sent in odd_ones:
        succeed(swaks("submission", *path(user.address, user.address), *logged_in(user), *more,
                      *DATA), stuffed(sent))
    for got, sent in zip(bodies(house.messages(user)), odd_ones):
        assert_received(got, sent)


def test_pipelined_mail_from_outside(swaks, house, user):
    other = house.user()
    sent = message("for two")
    both = "%s,nobody@%s,%s" % (user.address, DOMAIN, other.address)
    said = succeed(swaks("smtp", *path("friend@example.net", both), "--pipeline", *DATA),
                   stuffed(sent))
    assert re.search(rb"<\S+ +550 5.1.1", said)
    for each in (user, other):
        assert_received(bodies(house.messages(each))[0], sent)


def test_refused(swaks, house, user):
    strange = ["--local-interface", STRANGER]
    for service, more, code in (
            # no open relay
            ("smtp", path("friend@example.net", "someone@example.com"), NO_RECIPIENT),
            ("smtp", path("friend@example.net", "someone%%example.com@%s" % DOMAIN), NO_RECIPIENT),
            ("smtp", path("friend@example.net", "@%s:someone@example.com" % DOMAIN), NO_RECIPIENT),
            ("smtp", path(user.address, user.address), NO_SENDER),
            ("submission", path(user.address, user.address), NO_SENDER),  # nobody logged in
            ("submission", path("other@" + DOMAIN, user.address) + logged_in(user), NO_SENDER),
            ("submission", path(user.address, user.address)
             + logged_in(user._replace(passphrase="guess")), NO_AUTH)):
        done = run(swaks(service, *more, *strange))
        assert done.code == code, (more, done)
    assert house.messages(user) == {}


def test_a_message_in_anothers_name_is_refused(swaks, house, user):
    done = run(swaks("submission", *path(user.address, user.address), *logged_in(user), *DATA),
               stuffed(message("forged")))
    assert done.code == NOT_SENT and re.search(rb"<\S+ +550 ", done.out)
    assert house.messages(user) == {}
