"""A server of an international domain, over real sockets: all that it writes is ASCII, and its
users are found in both spellings."""
import base64
import imaplib
import smtplib

import pytest

from phenmail import MailServer
from phenmail_protocols.queue.spool import Spool

PASSPHRASE = "correct horse"
DOMAIN, WIRE = "fa\u00df.example", "xn--fa-hia.example"
MESSAGE = "From: anna@%s\r\nTo: x@xn--bcher-kva.example\r\nSubject: x\r\n\r\nhello\r\n" % WIRE


@pytest.fixture
def server():
    with MailServer(users={"anna@" + DOMAIN: PASSPHRASE}, settings={
            "resolver": {"nameservers": ["127.0.0.1:1"], "timeout": 1}, "sender-domain": DOMAIN,
            "domains": {DOMAIN: {}, "fass.example": {"*": "-not ours"}}}) as made:
        yield made


def say(client, line):
    client.sock.sendall(line.encode("utf-8") + b"\r\n")
    return client.getreply()[0]


@pytest.mark.parametrize("greeting", [
    "EHLO John's-PC", "EHLO my pc", "EHLO J\u00f6rgs (b\u00f6ser) PC", "EHLO b\u00fccher.example"])
def test_an_ascii_message_to_one_recipient_stays_ascii(server, greeting):
    client = smtplib.SMTP("127.0.0.1", server.port("submission"), timeout=10)
    assert say(client, greeting) == 250
    secret = "\0anna@%s\0%s" % (DOMAIN, PASSPHRASE)
    assert say(client, "AUTH PLAIN "
               + base64.b64encode(secret.encode("utf-8")).decode("ascii")) == 235
    assert say(client, "MAIL FROM:<anna@%s> SMTPUTF8" % DOMAIN) == 250
    assert say(client, "RCPT TO:<x@b\u00fccher.example>") == 250
    assert client.data(MESSAGE)[0] == 250
    client.close()
    queue = Spool(server.settings.relay.queue_folder)
    (message,) = queue.messages()
    with queue.body(message.identity) as file:
        written = (message.head + file.read()).decode("ascii")
    assert not message.smtputf8 and str(message.sender) == "anna@" + WIRE
    assert "for <x@xn--bcher-kva.example>" in written and "by %s " % WIRE in written
    assert "@%s>" % WIRE in written[written.index("Message-ID:"):]


def test_users_are_found_in_both_spellings_and_others_are_not(server):
    client = smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=10)
    assert client.ehlo("b")[1].startswith(WIRE.encode() + b"\n")
    assert say(client, "MAIL FROM:<.friend..@example.net> SMTPUTF8") == 250
    codes = [say(client, "RCPT TO:<%s>" % each) for each in (
        "anna@" + DOMAIN, "anna@FA\u1e9e.example", "ANNA@" + WIRE.upper(), "anna@[127.0.0.1]",
        "postmaster", "anna@fass.example")]
    assert codes == [250] * 5 + [550]
    assert client.data("Subject: x\r\nFrom: .friend..@example.net\r\n\r\nhi\r\n")[0] == 250
    client.close()
    reader = imaplib.IMAP4("127.0.0.1", server.port("imap"))
    reader.login("anna@" + WIRE, PASSPHRASE)
    reader.select()
    (found, body), _ = reader.fetch("1", "(ENVELOPE BODY.PEEK[])")[1]
    reader.logout()
    assert b'((NIL NIL ".friend.." "example.net"))' in found
    assert body.startswith(b'Return-Path: <".friend.."@example.net>\r\n') and body.decode("ascii")
