"""In a whole server: nobody writes as another user, nor is anybody signed for who did not
submit."""
import os
import smtplib
import ssl

import pytest

from ..destinations.frontdoor import ALICE, AUTHOR, BOB, DEADLINE, FRIEND, transact

REST = b"To: friend@far.example\r\nSubject: hello\r\n\r\nhello\r\n"
SENT_ON = b"From: %s\r\nResent-From: %s\r\n" % (AUTHOR.encode(), BOB.encode())
AS_ALICE = [b"From: Alice <alice@example.org>\r\nResent-From: bob@example.org\r\n",
            b"From: bob@example.org\r\nSender: alice@example.org\r\n",
            b"Resent-From: bob@example.org\r\nResent-Sender: alice@example.org\r\n"
            b"From: bob@example.org\r\n",
            b"Resent-From: bob@example.org\r\nFrom: <alice@example.org\r\n",
            b"Resent-From: bob@example.org\r\nFrom\r\n : alice@example.org\r\n"]


def connected(mail, service):
    """A connection of bob's mail program."""
    if service == "submissions":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = smtplib.SMTP_SSL(*mail.submissions, timeout=DEADLINE, context=context)
    else:
        client = smtplib.SMTP(*mail.address(service), timeout=DEADLINE)
    client.login(BOB, mail.users[BOB])
    return client


def is_signed(sent):
    return b"dkim-signature:" in sent.data.lower()


@pytest.mark.parametrize("service", ["smtp", "submission", "submissions"])
def test_no_port_lets_a_user_write_as_another(front, service):
    mail = front()
    with connected(mail, service) as client:
        for fields in AS_ALICE:
            assert transact(client, [FRIEND, ALICE], BOB,
                            fields + REST).startswith("550 5."), fields
        assert transact(client, [FRIEND], BOB, SENT_ON + REST).startswith("250")
        assert transact(client, [FRIEND], BOB,
                        b"From: bob@example.org\r\n" + REST).startswith("250")
    foreign, own = mail.onward()
    assert foreign.message["From"] == AUTHOR and not is_signed(foreign)
    assert own.message["From"] == BOB and is_signed(own)
    assert mail.messages(ALICE) == []


def test_the_host_may_send_as_anybody_of_ours(front):
    mail = front()
    mail.server.send_mail(BOB, FRIEND, AS_ALICE[0] + REST)
    sent, = mail.onward()
    assert sent.message["From"] == "Alice <alice@example.org>" and is_signed(sent)


FORGED = (b"From: alice@example.org\r\nSender: alice@example.org\r\n"
          b"Message-ID: <1@elsewhere.example>\r\n" + REST)


@pytest.mark.parametrize("way", ["forward", "filter", "copy", "drop folder"])
def test_what_came_in_is_passed_on_unsigned(front, way):
    mail = front({"onward": ">" + FRIEND})
    if way in ("filter", "copy", "drop folder"):
        action = "forward" if way == "filter" else "copy"
        mail.filters({"type": "match", "header": "Subject", "content": "hello",
                      "action": "%s:%s" % (action, FRIEND)},
                     user=BOB)
    if way == "drop folder":
        folder = os.path.join(mail.folder(BOB), "delivery")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "message"), "wb") as file:
            file.write(FORGED)
        os.utime(os.path.join(folder, "message"), (1, 1))
    else:
        assert mail.send("onward@example.org" if way == "forward" else BOB,
                         message=FORGED).startswith("250")
    if way in ("copy", "drop folder"):
        assert len(mail.wait_for(1, BOB)) == 1
    sent = mail.onward() if way != "drop folder" else mail.wait_for_sent(1)
    assert len(sent) == 1 and sent[0].message["From"] == ALICE and not is_signed(sent[0])


@pytest.mark.parametrize("fields, signed", [(SENT_ON, False), (b"From: bob@example.org\r\n", True)])
def test_a_filters_copy_of_a_submission_is_signed_as_the_submission(front, fields, signed):
    mail = front()
    mail.filters({"type": "match", "header": "Subject", "content": "hello",
                  "action": "copy:" + FRIEND})
    with connected(mail, "submission") as client:
        assert transact(client, [ALICE], BOB, fields + REST).startswith("250")
    sent, = mail.onward()
    assert is_signed(sent) is signed
