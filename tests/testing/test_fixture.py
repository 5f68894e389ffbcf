"""The fixture `mail_server`, as other programs' tests use it."""
import email.message
import imaplib
import os
import poplib
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import pytest

import phenmail
from phenmail_protocols.config.problems import ConfigError
from phenmail_protocols.net import tls
from phenmail_protocols.net.selfsigned import NoCertificateTool
from phenmail_protocols.testing import fixture

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NOTE = "Subject: one\r\n\r\nhello\r\n"


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    return str(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def make(keys):
    made = []

    def make(**options):
        made.append(fixture.MailFixture(keys=keys, **options))
        return made[-1]
    yield make
    for each in made:
        each.stop()


@pytest.fixture
def mail(make):
    return make()


def send(mail, text=NOTE, to="alice@example.org"):
    with smtplib.SMTP(*mail.smtp, timeout=5) as client:
        return client.sendmail("x@example.com", to, text)


def subjects(messages):
    return [message["Subject"] for message in messages]


# Mail


def test_every_service_is_there_and_every_user_gets_in(mail):
    context = ssl.create_default_context(cafile=mail.certificate)
    for name, passphrase in mail.users.items():
        for client in (imaplib.IMAP4(*mail.imap),
                       imaplib.IMAP4_SSL(*mail.imaps, ssl_context=context)):
            client.login(name, passphrase)
            client.logout()
        for client in (poplib.POP3(*mail.pop3), poplib.POP3_SSL(*mail.pop3s, context=context)):
            client.apop(name, passphrase)
            client.quit()
        for client in (smtplib.SMTP(*mail.submission),
                       smtplib.SMTP_SSL(*mail.submissions, context=context)):
            client.login(name, passphrase)
            client.quit()
    client = smtplib.SMTP(*mail.submission)
    client.starttls(context=context)
    with pytest.raises(smtplib.SMTPAuthenticationError):
        client.login(name, "a guess")
    client.close()


def test_what_comes_by_smtp_is_read_in_order(mail):
    for number in range(3):
        send(mail, "Subject: %d\r\n\r\ngr\u00fc\u00df\r\n".encode("utf-8") % number)
    assert subjects(mail.wait_for(3)) == subjects(mail.messages()) == ["0", "1", "2"]
    assert mail.messages("bob@example.org") == mail.messages(mailbox="Lists") == []
    assert mail.messages()[0]["Return-Path"] == "<x@example.com>"


@pytest.mark.parametrize("kind", [str, bytes, email.message.Message])
def test_deliver(mail, kind):
    text = "Subject: given\n\nhi\n"
    message = (text if kind is str else text.encode() if kind is bytes
               else email.message_from_string(text))
    mail.deliver(message)
    mail.deliver(message, to=["bob@example.org", "postmaster@example.org"], sender="")
    assert subjects(mail.messages()) == ["given"] * 2
    assert subjects(mail.messages("abuse@example.org")) == ["given"] * 2
    one, = mail.messages("bob@example.org")
    assert one.get_content().strip() == "hi" and one["Return-Path"] == "<>"
    with pytest.raises(phenmail.MailRefused):
        mail.deliver(message, to="nobody@example.org")


def test_an_address_without_mailbox_is_told(mail):
    for address in ("nobody@example.org", "x@far.example"):
        with pytest.raises(ValueError, match=address):
            mail.messages(address)


def test_users_and_settings_of_ones_own(make):
    settings = {"imap": False, "domains": {"example.net": {"sales": ":u@example.net"},
                                           "example.com": {"*": ":u@example.net"}}}
    mail = make(users={"u@example.net": "p\u00e4ss"}, settings=settings)
    assert mail.imap is None and mail.imaps is None and mail.pop3
    mail.deliver("Subject: a\n\n", to=["sales@example.net", "anybody@example.com"])
    assert len(mail.messages("sales@example.net")) == 1
    client = poplib.POP3(*mail.pop3)
    client.apop("u@example.net", "p\u00e4ss")
    client.quit()
    assert settings["domains"]["example.net"] == {"sales": ":u@example.net"}, (
        "what was given is left as it was")


def test_a_service_more(make):
    mail = make(settings={"lmtp": {"host": "127.0.0.1", "port": 0}})
    with smtplib.LMTP(*mail.address("lmtp")) as client:
        client.sendmail("x@example.com", ["alice@example.org"], NOTE)
    assert len(mail.messages()) == 1 and mail.address("fax") is None


def test_a_callable_that_takes_mail_and_sends(make):
    taken = []

    def take(message, origin, parameters):
        taken.append((message["Subject"], parameters))
        mail.server.send_mail("bot@example.org", "alice@example.org", "Subject: taken\n\n")
    mail = make(settings={"domains": {"example.org": {"bot": ".taker of it"}}},
                plugins={"taker": take})
    send(mail, to="bot@example.org")
    assert subjects(mail.wait_for(1)) == ["taken"]
    assert taken == [("one", "of it")]


def test_wait_for_ends_when_it_is_there_and_when_the_time_is_over(mail):
    mail.deliver("Subject: early\n\n")
    with pytest.raises(AssertionError, match="expected 2 messages within 0.02 s, found 1: 'early'"):
        mail.wait_for(2, timeout=0.02)
    thread = threading.Thread(target=send, args=(mail,))
    thread.start()
    assert subjects(mail.wait_for(2)) == ["early", "one"]
    thread.join(5)


# What leaves


def test_mail_for_elsewhere_is_caught(mail):
    with smtplib.SMTP(*mail.submission) as client:
        client.login("alice@example.org", mail.users["alice@example.org"])
        client.sendmail("alice@example.org", ["a@far.example", "b@near.example", "bob@example.org"],
                        NOTE)
    one, = mail.wait_for_sent()
    assert (one.sender, sorted(one.recipients)) == ("alice@example.org",
                                                    ["a@far.example", "b@near.example"])
    assert one.message["From"] == "alice@example.org"
    assert one.message.get_content().strip() == "hello"
    assert b"\r\nSubject: one\r\n" in one.data and "'one'" in repr(one)
    assert subjects(mail.messages("bob@example.org")) == ["one"]
    with pytest.raises(AssertionError,
                       match="expected 2 sent messages within 0.02 s, found 1: 'one'"):
        mail.wait_for_sent(2, timeout=0.02)


def test_an_address_elsewhere_that_refuses_makes_a_bounce(mail):
    mail.outside_answers("nobody@far.example", "550 5.1.1 No such user")
    mail.server.send_mail("alice@example.org", ["nobody@far.example"], "Subject: lost\n\n")
    bounce, = mail.wait_for(1)
    assert "nobody@far.example" in bounce.as_string() and "No such user" in bounce.as_string()
    assert mail.sent == []


# Faults


def test_temporary_failures_after_the_text(mail):
    mail.fail_next(2)
    mail.deliver("Subject: not by SMTP\n\n")
    for _ in range(2):
        with pytest.raises(smtplib.SMTPDataError) as told:
            send(mail)
        assert told.value.smtp_code == 451
    assert send(mail) == {}
    assert subjects(mail.messages()) == ["not by SMTP", "one"]


def test_temporary_failures_of_recipients(mail):
    mail.fail_next(2, at="recipient")
    with pytest.raises(smtplib.SMTPRecipientsRefused) as told:
        send(mail)
    assert told.value.recipients["alice@example.org"][0] == 451
    assert list(send(mail, to=["bob@example.org", "alice@example.org"])) == ["bob@example.org"]
    mail.fail_next(9, at="recipient")
    mail.heal()
    send(mail)
    assert len(mail.messages()) == 2
    with pytest.raises(ValueError):
        mail.fail_next(at="dawn")


def test_a_connection_that_breaks_keeps_nothing(mail):
    mail.drop_after(100, service="smtp")
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        send(mail, NOTE + "x" * 1000 + "\r\n")
    assert mail.messages() == []
    send(mail)
    assert len(mail.messages()) == 1


def test_a_connection_that_breaks_while_it_is_read(mail):
    mail.deliver("Subject: long\n\n" + "x" * 70 + "\n" * 1000)
    mail.drop_after(500, side="server", service="imaps")
    with pytest.raises((imaplib.IMAP4.error, OSError)):
        imaplib.IMAP4_SSL(*mail.imaps,
                          ssl_context=ssl.create_default_context(cafile=mail.certificate))
    client = imaplib.IMAP4(*mail.imap)
    client.login("alice@example.org", mail.users["alice@example.org"])
    mail.cut("imap")
    with pytest.raises((imaplib.IMAP4.error, OSError)):
        client.select()
    client.shutdown()


def test_slowness(mail):
    mail.slow(0.01, octets=100, service="smtp")
    start = time.monotonic()
    send(mail, NOTE + "x" * 980 + "\r\n")
    assert time.monotonic() - start >= 0.1, "ten pieces of 100 octets"
    mail.heal()
    start = time.monotonic()
    send(mail, NOTE + ("x" * 98 + "\r\n") * 10000)
    assert time.monotonic() - start < 5, "10 000 pieces would take 100 s"
    with pytest.raises(KeyError):
        mail.slow(1, service="fax")


# Its life


def everything():
    return sorted(thread.name
                  for thread in threading.enumerate()), os.listdir(tempfile.gettempdir())


def test_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = everything()
    with fixture.MailFixture() as mail:
        send(mail)
        idle = socket.create_connection(mail.imap)
        idle.recv(1)
        mail.server.send_mail("alice@example.org", ["a@far.example"], "Subject: x\n\n")
        mail.wait_for_sent()
        assert all(thread.name.startswith("phenmail-") for thread in threading.enumerate()
                   if thread.name not in before[0])
        assert len(os.listdir(str(tmp_path))) == 2
    idle.close()
    mail.stop()
    assert everything() == before


def test_a_start_that_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = everything()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        with pytest.raises(OSError):
            fixture.MailFixture(settings={"imap": {"host": "127.0.0.1",
                                                   "port": taken.getsockname()[1]}})
    with pytest.raises(ConfigError, match="imapp"):
        fixture.MailFixture(settings={"imapp": True})
    assert everything() == before


def test_several_at_once_keep_apart(make):
    one, two = make(), make()
    assert len({one.smtp, two.smtp, one.imap, two.imap}) == 4
    one.deliver("Subject: one\n\n")
    two.fail_next()
    send(one)
    assert (len(one.messages()), len(two.messages())) == (2, 0)


def test_where_no_certificate_can_be_made(monkeypatch, tmp_path):
    def fail(*_):
        raise NoCertificateTool("no tool")
    monkeypatch.setattr(tls, "ensure_self_signed", fail)
    with fixture.MailFixture(keys=str(tmp_path)) as mail:
        assert mail.certificate is None and mail.imaps is None
        send(mail)
        client = imaplib.IMAP4(*mail.imap)
        client.login("alice@example.org", mail.users["alice@example.org"])
        client.logout()


def test_it_is_quick(make):
    make()
    times = []
    for _ in range(5):
        start = time.monotonic()
        make().stop()
        times.append(time.monotonic() - start)
    assert min(times) < 0.2, "it takes 20 ms"


# In pytest


INNER = '''
import smtplib
import pytest

def test_one(mail_server):
    with smtplib.SMTP(*mail_server.smtp) as client:
        client.sendmail("x@example.com", ["alice@example.org"], "Subject: one\\r\\n\\r\\n")
    assert mail_server.messages()[0]["Subject"] == "one"
    test_one.certificate = mail_server.certificate

def test_another_is_new(mail_server, make_mail_server):
    assert mail_server.messages() == []
    assert mail_server.certificate == test_one.certificate, "made once"
    other = make_mail_server(users={"u@example.net": "p"})
    assert other.smtp != mail_server.smtp and list(other.users) == ["u@example.net"]

def test_that_fails(mail_server):
    mail_server.wait_for(1, timeout=0.01)

def test_none_is_left():
    import threading
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("phenmail")] == []
'''


def test_with_phenmail_installed_pytest_has_the_fixtures(tmp_path):
    installed = tmp_path / "site" / "phenmail-1.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: phenmail\nVersion: 1\n")
    (installed / "entry_points.txt").write_text(
        "[pytest11]\nphenmail = phenmail_protocols.testing\n")
    with open(os.path.join(TOP, "setup.py"), encoding="utf-8") as file:
        assert '"pytest11": ["phenmail = phenmail_protocols.testing"]' in file.read()
    (tmp_path / "test_inner.py").write_text(INNER)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(tmp_path / "site"), TOP]),
                       TMPDIR=str(temporary))
    environment.pop("PYTEST_PLUGINS", None)
    run = subprocess.Popen([sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider",
                            "-q", "--rootdir", str(tmp_path),
                            "test_inner.py"], cwd=str(tmp_path), env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = run.communicate(timeout=60)[0].decode()
    assert "1 failed, 3 passed" in output, output
    assert "INBOX of alice@example.org: expected 1 messages within 0.01 s, found 0: none" in output
    assert [name for name in os.listdir(str(temporary)) if name.startswith("phenmail")] == []


def test_without_pytest_it_is_imported_all_the_same_and_costs_little():
    code = ("import sys; sys.modules['pytest'] = None; import phenmail_protocols.testing\n"
            "print(sorted(set(sys.modules) & {'email', 'phenmail_protocols.app', 'sqlite3', "
            "'ssl'}))\n"
            "import phenmail; print(phenmail.MailServer.__name__)")
    output = subprocess.check_output([sys.executable, "-c", code], cwd=TOP)
    assert output.decode().split() == ["[]", "MailServer"]
