"""smtplib, imaplib and poplib, as any script would use them."""
import base64
import imaplib
import os
import poplib
import re
import smtplib

import pytest

from tests.interop.house import (
    DOMAIN,
    ODD,
    SECONDS,
    assert_received,
    bodies,
    eventually,
    message,
    messages,
    odd,
    ok,
    quoted,
)

STRANGER = ("127.0.0.5", 0)  # where wrong passphrases come from: the throttle remembers addresses


@pytest.fixture
def submission(house, user):
    client = smtplib.SMTP_SSL(house.host, house.ports["submissions"], timeout=SECONDS,
                              context=house.trust())
    client.login(user.address, user.passphrase)
    yield client
    client.close()


@pytest.fixture
def imap(house, user):
    client = house.imap(user, "INBOX")
    yield client
    client.logout()


def test_smtplib_sends_with_starttls_and_every_mechanism(house, user):
    for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
        with smtplib.SMTP(house.host, house.ports["submission"], timeout=SECONDS) as client:
            client.starttls(context=house.trust())
            client.ehlo()
            client.user, client.password = user.address, user.passphrase
            client.auth(mechanism, getattr(client, "auth_" + mechanism.lower().replace("-", "_")))
            client.sendmail(user.address, user.address, message(mechanism, sender=user.address))
    assert len(house.messages(user)) == 3


def test_smtplib_sends_8bit_and_odd_bytes(house, user, submission):
    assert submission.has_extn("8bitmime") and submission.has_extn("pipelining")
    odd_ones = odd(user.address).values()
    for sent in odd_ones:
        submission.sendmail(user.address, [user.address], sent, mail_options=["BODY=8BITMIME"])
    for got, sent in zip(bodies(house.messages(user)), odd_ones):
        assert_received(got, sent)


def test_smtplib_sends_in_chunks(house, user, submission):
    sent = message("chunks", "one\r\n.\r\ntwo\r\n", sender=user.address)
    submission.mail(user.address)
    submission.rcpt(user.address)
    for start in range(0, len(sent), 100):
        chunk = sent[start:start + 100]
        last = " LAST" if start + 100 >= len(sent) else ""
        submission.sock.sendall(b"BDAT %d%s\r\n" % (len(chunk), last.encode("ascii")) + chunk)
        code, text = submission.getreply()
        assert code == 250, text
    [got] = bodies(house.messages(user))
    assert_received(got, sent)


def test_smtplib_with_utf8_addresses(house, user, submission):
    sent = message("smtputf8 für dich", sender=user.address)
    submission.sendmail(user.address, user.address, sent,
                        mail_options=["SMTPUTF8", "BODY=8BITMIME"])
    [got] = bodies(house.messages(user))
    assert_received(got, sent)
    assert b"with UTF8SMTPSA" in got


def test_smtplib_send_message_completes_and_hides(house, user, submission):
    from email.message import EmailMessage
    written = EmailMessage()
    written["Subject"] = "Grüße"
    written["From"], written["To"], written["Bcc"] = user.address, user.address, user.address
    written.set_content("Hallo\n")
    submission.send_message(written)
    [got] = bodies(house.messages(user))
    header = got.partition(b"\r\n\r\n")[0] + b"\r\n"
    for name in (b"Date", b"Message-ID", b"Subject", b"From", b"Return-Path", b"Received",
                 b"Delivered-To"):
        assert len(re.findall(rb"^%s:" % name, header, re.M | re.I)) == 1, name
    assert not re.search(rb"^bcc:", header, re.M | re.I)


def test_smtplib_sees_what_is_refused(house, user, submission):
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        submission.sendmail(user.address, ["nobody@" + DOMAIN, "gone@" + DOMAIN,
                                           "who@nowhere.invalid"], message("no"))
    codes = [(code, text.split()[0]) for code, text in refused.value.recipients.values()]
    assert codes == [(550, b"5.1.1"), (550, b"5.2.1"), (553, b"5.1.2")]
    with pytest.raises(smtplib.SMTPSenderRefused):
        submission.sendmail("other@" + DOMAIN, user.address, message("no"))
    size = int(submission.esmtp_features["size"])
    assert submission.mail(user.address, ["SIZE=%d" % (size + 1)])[0] == 552
    wrong = smtplib.SMTP_SSL(house.host, house.ports["submissions"], context=house.trust(),
                             source_address=STRANGER)
    with pytest.raises(smtplib.SMTPAuthenticationError):
        wrong.login(user.address, "guess")
    wrong.close()


@pytest.mark.parametrize("login", ["login", "PLAIN", "CRAM-MD5"])
def test_imaplib_logs_in_after_starttls(house, user, login):
    client = imaplib.IMAP4(house.host, house.ports["imap"])
    assert "STARTTLS" in client.capabilities
    client.starttls(house.trust())
    if login == "login":
        ok(client.login(user.address, user.passphrase))
    elif login == "PLAIN":
        ok(client.authenticate("PLAIN",
                               lambda _: ("\0%s\0%s" % (user.name,
                                                        user.passphrase)).encode("ascii")))
    else:
        ok(client.login_cram_md5(user.name, user.passphrase))
    ok(client.select())
    client.logout()


def test_imaplib_appends_and_fetches_byte_for_byte(imap):
    for sent in ODD.values():
        ok(imap.append("INBOX", "(\\Seen $Forwarded)", '"06-May-2019 10:11:12 +0200"', sent))
    found = messages(imap, "INBOX")
    assert bodies(found) == list(ODD.values())
    assert {flags for flags, _ in found.values()} == {frozenset(("\\Seen", "$Forwarded"))}
    [answer] = ok(imap.uid("FETCH", "1", "(INTERNALDATE RFC822.SIZE)"))
    assert b"06-May-2019" in answer and b"RFC822.SIZE %d" % len(ODD["dots"]) in answer


def test_imaplib_fetches_decoded_parts(imap):
    sent = ODD["attachment"]
    ok(imap.append("INBOX", None, None, sent))
    ok(imap.select("INBOX"))
    encoded = sent.split(b"\r\n\r\n")[-1].split(b"--=b=--")[0]
    (head, data), end = ok(imap.fetch("1", "(BINARY.SIZE[2] BINARY.PEEK[2])"))
    assert data == base64.b64decode(encoded)
    assert head == b"1 (BINARY.SIZE[2] %d BINARY[2] ~{%d}" % (len(data), len(data)) and end == b")"
    assert ok(imap.fetch("1", "BINARY[2]<3.4>"))[0][1] == data[3:7]


def test_imaplib_has_all_that_a_mailbox_needs(imap):
    for name in ('Ordner "a"', "Lists/dev", "100%", "B&APw-cher"):
        ok(imap.create(quoted(name)))
        ok(imap.subscribe(quoted(name)))
    listed = b"\n".join(ok(imap.list()))
    for name in (rb'"Ordner \"a\""', rb"Lists/dev", rb"100%", rb"B&APw-cher"):
        assert name in listed
    assert len(ok(imap.lsub())) >= 4
    sent = list(ODD.values())[:3]
    for each in sent:
        ok(imap.append("Lists/dev", None, None, each))
    ok(imap.select("Lists/dev"))
    ok(imap.copy("1:3", "INBOX"))
    ok(imap.store("2", "+FLAGS", "(\\Deleted)"))
    assert ok(imap.expunge()) == [b"2"]
    assert ok(imap.uid("SEARCH", "ALL")) == [b"1 3"]
    assert ok(imap.search(None, "SUBJECT", '"no text"')) == [b"2"]
    imap.literal = "Grüße".encode("utf-8")
    assert ok(imap.search("UTF-8", "BODY")) == [b""]
    ok(imap.uid("MOVE", "1", '"100%"'))
    assert bodies(messages(imap, "INBOX")) == sent
    assert bodies(messages(imap, "100%")) == sent[:1]
    ok(imap.rename(quoted("100%"), quoted("Done/2019")))
    assert bodies(messages(imap, "Done/2019")) == sent[:1]
    ok(imap.select("INBOX"))
    ok(imap.delete("Done/2019"))
    assert re.search(rb"MESSAGES 3\b.*UNSEEN 3\b", ok(imap.status("INBOX", "(MESSAGES UNSEEN)"))[0])
    ok(imap.unselect() if hasattr(imap, "unselect") else imap.close())


def test_one_imaplib_sees_what_another_did(house, user, imap):
    other = house.imap(user, "INBOX")
    ok(other.append("INBOX", None, None, ODD["dots"]))
    ok(imap.noop())
    assert imap.response("EXISTS")[1][-1] == b"1"
    ok(other.store("1", "+FLAGS", "(\\Flagged)"))
    ok(imap.noop())
    assert b"\\Flagged" in imap.response("FETCH")[1][-1]
    other.logout()


def test_imaplib_waits_in_idle(house, user, imap):
    """imaplib has a word for it from 3.14 on; the same is said by hand."""
    imap.sock.settimeout(SECONDS)
    imap.send(b"idle1 IDLE\r\n")
    assert imap.readline().startswith(b"+")
    house.append(user, "INBOX", ODD["8bit"])
    assert imap.readline() == b"* 1 EXISTS\r\n"
    imap.send(b"DONE\r\n")
    while True:
        line = imap.readline()
        if not line.startswith(b"*"):
            break
    assert line.startswith(b"idle1 OK")


def test_a_file_from_another_program_appears(house, user, imap):
    """A program that knows nothing of us drops a file into new/: seen within 2 s, with the same
    bytes."""
    folder = os.path.join(user.folder, "new")
    with open(os.path.join(user.folder, "tmp", "1557130272.1.elsewhere"), "wb") as file:
        file.write(ODD["8bit"].replace(b"\r\n", b"\n"))
    os.rename(file.name, os.path.join(folder, "1557130272.1.elsewhere"))
    eventually(lambda: ok(imap.noop()) and imap.response("EXISTS")[1] == [b"1"], "the dropped file",
               2.0)
    assert bodies(messages(imap, "INBOX")) == [ODD["8bit"]]


@pytest.fixture
def pop(house, user):
    house.append(user, "INBOX", *ODD.values())
    client = poplib.POP3_SSL(house.host, house.ports["pop3s"], timeout=SECONDS,
                             context=house.trust())
    yield client
    client.close()


def test_poplib_lists_reads_and_deletes(house, user, pop):
    pop.user(user.address)
    pop.pass_(user.passphrase)
    assert pop.stat() == (len(ODD), sum(map(len, ODD.values())))
    assert [int(line.split()[1]) for line in pop.list()[1]] == [len(sent) for sent in ODD.values()]
    for number, sent in enumerate(ODD.values(), 1):
        _, lines, size = pop.retr(number)
        assert b"".join(line + b"\r\n" for line in lines) == sent
    names = [line.split()[1] for line in pop.uidl()[1]]
    assert len(set(names)) == len(ODD)
    assert pop.top(1, 1)[1][-1] == b"."
    pop.dele(1)
    pop.rset()
    pop.dele(2)
    pop.quit()
    assert len(house.messages(user)) == len(ODD) - 1


def test_poplib_with_stls_and_apop(house, user, pop):
    pop.apop(user.name, user.passphrase)
    pop.quit()
    plain = poplib.POP3(house.host, house.ports["pop3"], timeout=SECONDS)
    assert "STLS" in plain.capa()
    plain.stls(house.trust())
    plain.user(user.name)
    plain.pass_(user.passphrase)
    assert plain.stat()[0] == len(ODD)
    plain.quit()
