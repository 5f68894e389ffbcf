"""A whole server: relay logins, drop folders, bounces of forwarded mail, and judging incoming
mail."""
import functools
import hashlib
import imaplib
import os
import poplib
import smtplib
import time

import pytest

from phenmail_protocols import mail_flow
from phenmail_protocols.destinations import srs
from phenmail_protocols.disk.keyfile import kept_key
from phenmail_protocols.dropfolder.service import DropFolders
from phenmail_protocols.mail.address import Address

from ..net.nameserver import NameServer
from .frontdoor import ALICE, AUTHOR, BOB, DEADLINE, FRIEND, LETTER, connect, parsed, transact

ROBOT = "robot@example.org"
OURS = b"From: %s\r\nTo: friend@far.example\r\nSubject: hello\r\n\r\nhello\r\n"

# -- relay logins

PASSPHRASE = "the passphrase of a robot"
HASH = hashlib.sha256(PASSPHRASE.encode()).hexdigest()
LOGINS = {"command": ">SHARED/program {FROM} " + HASH, "forward": ">friend@far.example " + HASH}


@pytest.fixture(params=sorted(LOGINS))
def relaying(request, front):
    return front({"robot": LOGINS[request.param], "other": ":alice", "closed": ">" + FRIEND})


def submission(mail, passphrase=PASSPHRASE, name=ROBOT):
    client = smtplib.SMTP(*mail.submission, timeout=DEADLINE)
    client.login(name, passphrase)
    return client


def test_relay_login_success(relaying):
    with submission(relaying) as client:
        assert transact(client, [FRIEND, BOB], ROBOT, OURS % ROBOT.encode()).startswith("250")
    assert relaying.is_done()
    sent, = relaying.sent
    assert (sent.sender, sent.recipients) == (ROBOT, (FRIEND,)) and sent.message["From"] == ROBOT
    assert len(relaying.messages(BOB)) == 1


def test_relay_login_success_mail_still_goes_where_the_action_says(relaying):
    relaying.program("cat > taken; exit 0")
    assert relaying.send(ROBOT).startswith("250")
    assert relaying.is_done() and relaying.bounces() == []
    assert relaying.sent or relaying.given("taken")


def test_relay_login_temporary_failure_full(relaying):
    with submission(relaying) as client:
        with relaying.full_disk():
            assert transact(client, [FRIEND], ROBOT, OURS % ROBOT.encode()).startswith("452 4.3.1")
        assert relaying.is_done() and relaying.sent == []
        assert transact(client, [FRIEND], ROBOT, OURS % ROBOT.encode()).startswith("250")
    assert relaying.is_done() and len(relaying.sent) == 1


@pytest.mark.parametrize("sender", [ALICE, "other@example.org", "closed@example.org",
                                    "robot@far.example", "whoever@example.org"])
def test_relay_login_permanent_failure_another_sender(relaying, sender):
    with submission(relaying) as client:
        assert transact(client, [FRIEND], sender, OURS % ROBOT.encode()).startswith("550 5.7.1"), (
            "MAIL FROM")
        assert transact(client, [FRIEND], ROBOT, OURS % sender.encode()).startswith("550 5.7.1"), (
            "From")
        assert transact(client, [FRIEND], ROBOT, b"From: %s, %s\r\n\r\n"
                        % (ROBOT.encode(), sender.encode())).startswith("550 5.7.1")
    assert relaying.is_done() and relaying.sent == []


@pytest.mark.parametrize("name, passphrase", [
    (ROBOT, "a guess"), (ROBOT, HASH), (ROBOT, " "), ("robot+tag@example.org", PASSPHRASE),
    ("closed@example.org", PASSPHRASE)])
def test_relay_login_permanent_failure_wrong_passphrase(relaying, name, passphrase):
    with pytest.raises(smtplib.SMTPAuthenticationError) as told:
        submission(relaying, passphrase, name)
    assert told.value.smtp_code == 535
    with smtplib.SMTP(*relaying.submission, timeout=DEADLINE) as client:
        assert transact(client, [FRIEND], ROBOT).startswith("530")


def test_relay_login_permanent_failure_reads_no_mail(relaying):
    with pytest.raises(imaplib.IMAP4.error):
        imaplib.IMAP4(*relaying.imap).login(ROBOT, PASSPHRASE)
    client = poplib.POP3(*relaying.pop3)
    client.user(ROBOT)
    with pytest.raises(poplib.error_proto):
        client.pass_(PASSPHRASE)


# -- drop folders


@pytest.fixture
def drops(front, monkeypatch):
    """drops(**settings): a server that looks into its drop folders often."""
    start = time.time()
    monkeypatch.setattr(mail_flow, "DropFolders", functools.partial(
        DropFolders, clock=lambda: start + (time.time() - start) * 50, period=0.02))
    return front


def drop(mail, data, user=ALICE):
    folder = os.path.join(mail.folder(user), "delivery")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, ".one"), "wb") as file:
        file.write(data)
    os.rename(os.path.join(folder, ".one"), os.path.join(folder, "one"))
    return folder


def files(folder):
    return sorted(os.path.relpath(os.path.join(path, name), folder) for path, _,
                  names in os.walk(folder) for name in names)


def eventually(look, what):
    end = time.monotonic() + DEADLINE
    while not look():
        assert time.monotonic() < end, what
        time.sleep(0.01)  # between two checks; no test depends on its length


def test_drop_folder_success(drops):
    mail = drops()
    mail.filters({"type": "match", "content": "hello", "action": "accept:Lists/dev"})
    folder = drop(mail, LETTER)
    message, = mail.wait_for(1, mailbox="Lists/dev")
    assert message["Subject"] == "hello"
    eventually(lambda: files(folder) == [], "it is removed")
    assert len(mail.messages(mailbox="Lists/dev")) == 1 and mail.messages() == []


def test_drop_folder_success_a_rule_refuses_is_discarded(drops):
    mail = drops()
    mail.filters({"type": "match", "content": "hello", "action": "reject:no"})
    folder = drop(mail, LETTER)
    eventually(lambda: files(folder) == [], "it is removed")
    assert mail.messages() == [] and "no" in mail.log() and mail.is_done() and mail.sent == []


def test_drop_folder_temporary_failure_full(drops, caplog):
    mail = drops()
    mail.deliver("Subject: first\n\n")
    with mail.full_disk():
        folder = drop(mail, LETTER)
        eventually(lambda: "next attempt" in caplog.text, "a first try")
        assert files(folder) == ["one"] and len(mail.messages()) == 1
    eventually(lambda: files(folder) == [], "the second try")
    assert mail.subjects() == ["first", "hello"]


@pytest.mark.parametrize("data", [LETTER + b"x" * 70000, LETTER + b"a\0b\r\n"],
                         ids=["too large", "nul"])
def test_drop_folder_permanent_failure(drops, data):
    mail = drops(limits={"message-size": 65536})
    folder = drop(mail, data)
    eventually(lambda: files(folder) == ["failed/one"], "it is set aside")
    assert mail.messages() == [] and mail.is_done() and mail.sent == []
    eventually(lambda: "failed" in mail.log(), "the user's log")


# -- bounces of forwarded mail


NOTICE = b"From: <>\r\nTo: somebody\r\nSubject: it failed\r\n\r\nAs it says.\r\n"


def rewritten(mail, days=0):
    """The rewritten sender of the author, made so many days ago."""
    now = time.time() - days * 86400
    key = kept_key(os.path.join(mail.server.root.mail_system, "srs.key"))
    return str(srs.forward(Address.parse(AUTHOR), "example.org", key, now))


def test_srs_success_a_bounce_finds_its_author(front):
    mail = front({"robot": ">" + FRIEND})
    assert mail.send(ROBOT).startswith("250")
    sent, = mail.onward()
    assert sent.sender == rewritten(mail)
    for recipient in (sent.sender, sent.sender.swapcase(), rewritten(mail, 20)):
        assert mail.send(recipient, sender="", message=NOTICE).startswith("250")
    assert mail.is_done()
    came = [(each.sender, [name.lower() for name in each.recipients], each.message["Subject"])
            for each in mail.sent[1:]]
    assert came == [("", [AUTHOR], "it failed")] * 3


def test_srs_success_of_another_forwarder_goes_back_there(front):
    mail = front({"robot": ">" + FRIEND})
    foreign = "SRS0=HHHH=AB=first.example=someone@forwarder.example"
    assert mail.send(ROBOT, sender=foreign).startswith("250")
    sent, = mail.onward()
    assert sent.sender.startswith("SRS1=") and sent.sender.endswith(
        "=forwarder.example==HHHH=AB=first.example=someone@example.org")
    assert mail.send(sent.sender, sender="", message=NOTICE).startswith("250")
    mail.settle()
    assert mail.sent[1].recipients == (foreign,)


def test_srs_temporary_failure(front):
    mail = front()
    mail.outside_answers(AUTHOR, "451 4.2.0 Not now")
    assert mail.send(rewritten(mail), sender="", message=NOTICE).startswith("250")
    assert mail.deferred() == "451 4.2.0 Not now"
    mail.outside_answers(AUTHOR, None)
    mail.again()
    assert mail.is_done() and [each.recipients for each in mail.sent] == [(AUTHOR,)]


def tampered(address, place):
    parts = address.partition("@")[0].split("=")
    parts[place] = {1: "AAAAAAAA", 2: "AB", 3: "victim.example", 4: "victim"}[place]
    return "=".join(parts) + "@example.org"


@pytest.mark.parametrize("place", [1, 2, 3, 4], ids=["hash", "day", "domain", "name"])
def test_srs_permanent_failure_tampered(front, place):
    mail = front()
    assert mail.send(tampered(rewritten(mail), place), sender="",
                     message=NOTICE).startswith("550 5.1.1")
    assert mail.is_done() and mail.sent == []


@pytest.mark.parametrize("days", [22, 200, -2])
def test_srs_permanent_failure_expired(front, days):
    mail = front()
    assert mail.send(rewritten(mail, days), sender="", message=NOTICE).startswith("550 5.1.1")


def test_srs_permanent_failure_another_servers(front):
    mail, other = front(), front()
    assert mail.send(rewritten(other), sender="", message=NOTICE).startswith("550 5.1.1")


def test_srs_permanent_failure_the_author_is_no_more(front):
    """The postmaster gets one notice of a bounce that cannot be delivered."""
    mail = front()
    mail.outside_answers(AUTHOR, "550 5.1.1 Nobody")
    assert mail.send(rewritten(mail), sender="", message=NOTICE).startswith("250")
    assert mail.is_done() and mail.sent == []
    assert [message.get_content_type()
            for message in mail.messages("postmaster@example.org")] == ["multipart/report"]


# -- judging

ZONE = """\
honest.example. TXT "v=spf1 ip4:127.0.0.1 -all"
_dmarc.honest.example. TXT "v=DMARC1; p=reject"
forged.example. TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.forged.example. TXT "v=DMARC1; p=reject"
soft.example. TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.soft.example. TXT "v=DMARC1; p=none"
"""


@pytest.fixture
def judging(front):
    """judging(dmarc, actions): a server that judges every client, with its own DNS at `names`."""
    pytest.importorskip("spf")
    with NameServer(ZONE) as names:
        def start(dmarc, actions=None):
            mail = front(actions, resolver={"nameservers": ["%s:%d" % names.address], "timeout": 2},
                         inbound={"dmarc": dmarc})
            mail.server.router.is_outside = lambda host: True
            mail.names = names
            return mail
        yield start


def by(domain, header=b""):
    """The arguments of `send` for a message from a domain."""
    return {"sender": "someone@" + domain, "message": header
            + b"From: someone@%s\r\nTo: alice@example.org\r\nSubject: hello\r\n\r\nhello\r\n"
            % domain.encode()}


def judged(mail, mailbox="INBOX"):
    message, = mail.messages(ALICE, mailbox)
    ours = [field for field in message.get_all("Authentication-Results")
            if field.startswith("example.org;")]
    assert len(ours) == 1
    return ours[0]


# (what the server does, the author's domain) -> how its reply begins, what the field contains.
JUDGED = {
    ("report", "honest.example"): ("250", ("spf=pass", "dmarc=pass")),
    ("enforce", "honest.example"): ("250", ("spf=pass", "dmarc=pass")),
    ("report", "forged.example"): ("250", ("spf=fail", "dmarc=fail")),
    ("enforce", "forged.example"): ("550 5.7.26", ()),
    ("report", "soft.example"): ("250", ("spf=fail", "dmarc=fail")),
    ("enforce", "soft.example"): ("250", ("spf=fail", "dmarc=fail")),
    ("enforce", "unknown.example"): ("250", ("spf=none", "dmarc=none")),
}


@pytest.mark.parametrize("dmarc, domain", sorted(JUDGED))
def test_dmarc(judging, dmarc, domain):
    mail = judging(dmarc)
    answer, words = JUDGED[dmarc, domain]
    assert mail.send(ALICE, **by(domain)).startswith(answer)
    if words:
        field = judged(mail)
        assert all(word in field for word in words), field
    else:
        assert mail.messages() == [] and mail.is_done() and mail.sent == []


@pytest.mark.parametrize("dmarc", ["report", "enforce"])
def test_dmarc_temporary_failure_of_the_dns_refuses_nobody(judging, dmarc):
    mail = judging(dmarc)
    for name in ("forged.example", "_dmarc.forged.example"):
        mail.names.behave(name, rcode="SERVFAIL")
    assert mail.send(ALICE, **by("forged.example")).startswith("250")
    assert "temperror" in judged(mail)


PROGRAM = {"robot": ">SHARED/program", "sent": ">" + FRIEND}


def test_dmarc_permanent_failure_is_for_all_recipients(judging):
    """Also for programs and forwards: nothing is accepted that would bounce to a forged sender."""
    mail = judging("enforce", PROGRAM)
    mail.program("cat > taken")
    for recipients in ((ALICE, BOB), (ALICE, ROBOT), (ROBOT,), ("sent@example.org",)):
        assert mail.send(*recipients, **by("forged.example")).startswith("550 5.7.26")
    assert mail.messages(ALICE) == mail.messages(BOB) == [] and mail.is_done() and mail.sent == []
    assert files(mail.shared) == ["program"]


def test_dmarc_success_programs_are_told(judging):
    mail = judging("enforce", PROGRAM)
    mail.program("cat > taken")
    forged = b"Authentication-Results: example.org; dmarc=pass\r\n"
    assert mail.send(ROBOT, "sent@example.org", **by("soft.example", forged)).startswith("250")
    assert mail.is_done()
    sent, = mail.sent
    for message in (parsed(mail.given("taken")), sent.message):
        field, = message.get_all("Authentication-Results")
        assert field.startswith("example.org;") and "dmarc=fail" in field


def test_dmarc_permanent_failure_of_what_would_be_sent_on(judging):
    mail = judging("enforce")
    mail.filters({"type": "match", "content": "hello", "action": "forward:" + FRIEND})
    assert mail.send(ALICE, **by("forged.example")).startswith("550 5.7.26")
    assert mail.is_done() and mail.sent == []


def test_dmarc_is_for_strangers_only(judging):
    mail = judging("enforce")
    with smtplib.SMTP(*mail.submission, timeout=DEADLINE) as client:
        client.login(ALICE, mail.users[ALICE])
        assert transact(client, [BOB], ALICE, OURS % ALICE.encode()).startswith("250")
    message, = mail.messages(BOB)
    assert message["Authentication-Results"] is None


def test_authentication_results_in_our_name_are_removed(judging):
    mail = judging("report")
    header = (
        b"Authentication-Results: example.org; dmarc=pass\r\n"
        b"Authentication-Results: EXAMPLE.ORG 1; spf=pass\r\n"
        b"Authentication-Results: other.example; spf=neutral\r\n")
    assert mail.send(ALICE, **by("soft.example", header)).startswith("250")
    message, = mail.messages()
    first, second = message.get_all("Authentication-Results")
    assert first.startswith("example.org;") and "dmarc=fail" in first and "pass" not in first
    assert second == "other.example; spf=neutral"


@pytest.mark.parametrize("domain, mailbox",
                         [("soft.example", "Forged"), ("honest.example", "INBOX")])
def test_auth_filter(judging, domain, mailbox):
    mail = judging("report")
    mail.filters({"type": "match", "header": "*auth", "content": "dmarc=fail",
                  "action": "accept:Forged"})
    forged = b"Authentication-Results: example.org; dmarc=%s\r\n" % (
        b"pass" if mailbox == "Forged" else b"fail")
    assert mail.send(ALICE, **by(domain, forged)).startswith("250")
    assert judged(mail, mailbox)


def test_auth_filter_rejects(judging):
    mail = judging("report")
    mail.filters({"type": "match", "header": "*auth", "content": "spf=fail",
                  "action": "reject:Not from there"})
    with connect(mail) as client:
        letter = by("soft.example")
        assert transact(client, [ALICE], **letter).startswith("550 5.7.1 Not from there")
