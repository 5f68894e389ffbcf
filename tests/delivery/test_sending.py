"""What `send_mail` takes, and what it gives back."""
import email.message

import pytest

from phenmail import MailRefused, MailServer
from phenmail_protocols.config.settings import Hosted
from phenmail_protocols.delivery import sending
from phenmail_protocols.mail.address import AddressError

NOBODY = {"nameservers": ["127.0.0.1:9"], "timeout": 0.2}  # the discard port: nobody answers there
HERE, ELSEWHERE = "anna@example.org", "x@example.com"


@pytest.fixture(scope="module")
def server():
    with MailServer(users={HERE: "correct horse"},
                    settings={"sender-domain": "example.org", "resolver": NOBODY}) as server:
        yield server


def queued(server, identity):
    message = server.relay.queue.read(identity)
    with server.relay.queue.body(identity) as file:
        return message, file.read()


def test_the_ids_of_what_is_queued(server):
    assert server.send_mail(HERE, HERE, "Subject: here\n\nx\n") == []
    identity, = server.send_mail(HERE, [HERE, ELSEWHERE, "y@example.net"], "Subject: both\n\nx\n")
    message, octets = queued(server, identity)
    assert [str(each.address) for each in message.recipients] == [ELSEWHERE, "y@example.net"]
    assert octets.endswith(b"Subject: both\r\n\r\nx\r\n")
    assert message.head.startswith(b"DKIM-Signature: ")


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_becomes_one(server, line_end):
    text = line_end.join([b"Subject: x", b"", b"one", b".", b"two", b""])
    identity, = server.send_mail(HERE, ELSEWHERE, text)
    octets = queued(server, identity)[1]
    assert octets.endswith(b"Subject: x\r\n\r\none\r\n.\r\ntwo\r\n")
    assert octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r")


def test_a_message_object(server):
    written = email.message.EmailMessage()
    written["From"], written["To"], written["Subject"] = HERE, ELSEWHERE, "grüße"
    written.set_content("ünï\n")
    identity, = server.send_mail(None, ELSEWHERE, written)
    message, octets = queued(server, identity)
    assert str(message.sender) == "postmaster@example.org" and b"Subject: =?utf-8?" in octets


def test_the_smarthosts_user_sends_by_default(server):
    class Router:
        class directory:
            class settings:
                sender_domain = "example.org"
                hosted = Hosted("smtp.example.com", 587, "me@example.com", "x", True, True)
    assert str(sending.Sending(Router)._sender(None)) == "me@example.com"
    Router.directory.settings.hosted = Router.directory.settings.hosted._replace(
        username="just-a-name")
    assert str(sending.Sending(Router)._sender(None)) == "postmaster@example.org"


def test_no_sender(server):
    identity, = server.send_mail("", ELSEWHERE, b"Subject: x\r\n\r\n")
    assert queued(server, identity)[0].sender is None


@pytest.mark.parametrize("arguments, error, text", [
    ((HERE, [], "x"), ValueError, "expected at least one recipient"),
    ((HERE, "nonsense", "x"), AddressError, "name@domain"),
    (("a b@c", ELSEWHERE, "x"), AddressError, "is invalid"),
    ((HERE, [1], "x"), TypeError, "expected an address like user@example.org"),
    ((HERE, ELSEWHERE, 5), TypeError, "bytes, str or email.message.Message"),
])
def test_nonsense_is_said_to_be_such(server, arguments, error, text):
    before = server.relay.queue.identities()
    with pytest.raises(error, match=text):
        server.send_mail(*arguments)
    assert server.relay.queue.identities() == before


def test_who_is_refused_is_named_and_the_others_have_it(server):
    with pytest.raises(MailRefused, match="nobody@example.org: No such user here") as refused:
        server.send_mail(HERE, ["nobody@example.org", HERE, "x@nowhere.invalid"], "Subject: x\n\n")
    assert [outcome.reply.code for outcome in refused.value.outcomes] == [550, 250, 553]


def test_a_server_that_does_not_run_sends_nothing():
    stopped = MailServer(users={HERE: "x"})
    with pytest.raises(RuntimeError, match="not running"):
        stopped.send_mail(HERE, HERE, "x")
    stopped.stop()
