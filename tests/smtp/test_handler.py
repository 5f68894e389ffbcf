"""Real connections: time, stop, limits, TLS, and what is on the disk afterwards."""
import os
import re
import smtplib
import socket
import ssl
import threading
import time

import pytest

from phenmail_protocols.config.settings import Limits
from phenmail_protocols.net.connection_limits import Visit
from phenmail_protocols.store import errors
from phenmail_protocols.store.filestore import FileStore
from tests.smtp.small_server import PASSPHRASE, SmallServer

SENDER, ANNA, BERT = "sender@example.net", "anna@example.org", "bert@example.org"
TEXT = b"From: sender@example.net\r\nSubject: x\r\n\r\nhello\r\n"


@pytest.fixture(scope="module")
def server():
    with SmallServer() as running:
        yield running


@pytest.fixture
def plain():
    """Makes servers without a certificate: quick to start."""
    made = []

    def make(**options):
        made.append(SmallServer(certificate=False, **options))
        return made[-1].__enter__()
    yield make
    for each in made:
        each.__exit__(None, None, None)


class Wire:
    """A client that shows every octet."""

    def __init__(self, server, name="smtp"):
        self.socket = server.connect(name)
        self.file = self.socket.makefile("rb")

    def say(self, data):
        self.socket.sendall(data)
        return self.answer()

    def answer(self):
        """One whole reply -> bytes; b"" at the end."""
        lines = [self.file.readline()]
        while lines[-1][3:4] == b"-":
            lines.append(self.file.readline())
        return b"".join(lines)

    def begin(self, greeting=b"EHLO x\r\n", recipient=b"anna"):
        assert self.answer()[:3] == b"220"
        for line in (greeting, b"MAIL FROM:<sender@example.net>\r\n",
                     b"RCPT TO:<%s@example.org>\r\n" % recipient):
            assert self.say(line)[:3] == b"250"
        return self

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.file.close()
        self.socket.close()


def temporary_files(server, user):
    folder = os.path.join(server.mail_folder(user), "tmp")
    return os.listdir(folder) if os.path.isdir(folder) else []


def test_a_message_octet_by_octet(plain):
    server = plain()
    with Wire(server) as wire:
        wire.begin()
        assert wire.say(b"DATA\r\n")[:3] == b"354"
        for octet in TEXT + b"..dot\r\n.\r\n":
            wire.socket.sendall(bytes([octet]))
        assert wire.answer()[:3] == b"250"
    message, = server.messages("anna")
    header, _, body = message.partition(b"\r\n\r\n")
    assert body == b"hello\r\n.dot\r\n"
    assert header.startswith(
        b"Return-Path: <sender@example.net>\r\nDelivered-To: anna@example.org\r\n"
        b"Received: from x ([127.0.0.1])\r\n")


def test_starttls_and_its_received(server):
    with server.client() as client:
        client.starttls()
        client.sendmail(SENDER, [BERT], TEXT)
    received = re.search(rb"Received:.*?(?=\r\n\w)", server.messages("bert")[-1], re.DOTALL).group()
    assert re.match(
        rb"Received: from \S+ \(\[127.0.0.1\]\)\r\n\t\(using TLSv1\.[23] with cipher \S+\)\r\n"
        rb"\tby example.org \(phenmail\) with ESMTPS id [0-9a-f.]+\r\n\tfor <bert@example.org>; "
        rb"\w{3}, ", received), received


def test_submission_over_implicit_tls(server):
    with server.client("submissions") as client:
        client.login("anna", PASSPHRASE)
        client.sendmail(ANNA, [BERT],
                        b"From: Anna <anna@example.org>\r\nBcc: secret@example.com,\r\n"
                        b" more@example.com\r\nSubject: x\r\n\r\nhi\r\n")
    message = server.messages("bert")[-1]
    assert b"with ESMTPSA id" in message and b"secret" not in message and b"more@" not in message
    assert len(re.findall(rb"\r\nDate: \w{3}, ", message)) == 1 and len(
        re.findall(rb"\r\nMessage-ID: <[^<>]+@example.org>\r\n", message)) == 1


def test_a_wrong_passphrase_and_a_broken_user(server):
    with server.client("submissions") as client:
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            client.login("anna", "wrong")
        assert refused.value.smtp_code == 535
    with server.client("submissions") as client:
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            client.login("broken", PASSPHRASE)
        assert refused.value.smtp_code == 454


def test_what_was_sent_before_tls_is_never_a_command(server):
    with Wire(server) as wire:
        wire.begin()
        wire.socket.sendall(b"STARTTLS\r\nRSET\r\nMAIL FROM:<evil@example.net>\r\n")
        assert wire.answer()[:3] == b"220"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(wire.socket) as secure:
            secure.sendall(b"NOOP\r\n")
            assert secure.recv(1000) == b"250 2.0.0 Ok\r\n"


def test_silence_ends_the_connection(plain):
    with Wire(plain(smtp_idle_timeout=0.2)) as wire:
        assert wire.answer()[:3] == b"220"
        assert wire.answer().startswith(b"421 4.4.2") and wire.answer() == b""


def test_a_message_that_never_ends_has_a_deadline_and_leaves_nothing(plain):
    server = plain(command_timeout=0.3)
    with Wire(server) as wire:
        wire.begin()
        wire.say(b"DATA\r\n")
        wire.socket.sendall(TEXT)
        end = time.monotonic() + 10
        # a drop now and then, always sooner than the silence that is allowed
        while time.monotonic() < end:
            try:
                wire.socket.settimeout(0.02)
                assert wire.socket.recv(100).startswith(b"421 4.4.2")
                break
            except socket.timeout:
                wire.socket.sendall(b"x")
        else:
            pytest.fail("it went on for ever")
    assert server.messages("anna") == [] and temporary_files(server, "anna") == []


def test_a_connection_that_is_lost_leaves_nothing(plain):
    server = plain()
    with Wire(server) as wire:
        wire.begin()
        wire.say(b"DATA\r\n")
        wire.socket.sendall(TEXT * 5000)
    end = time.monotonic() + 10
    while server.listeners["smtp"].connections() and time.monotonic() < end:
        threading.Event().wait(0.01)
    assert server.messages("anna") == [] and temporary_files(server, "anna") == []


def test_a_stop_says_goodbye(plain):
    server = plain()
    with Wire(server) as idle, Wire(server) as busy:
        assert idle.answer()[:3] == b"220"
        busy.begin()
        busy.say(b"DATA\r\n")
        busy.socket.sendall(TEXT)
        assert server.stop() == []
        assert idle.answer().startswith(b"421 4.3.2") and idle.answer() == b""
        assert busy.answer().startswith(b"421 4.3.2") and busy.answer() == b""
    assert temporary_files(server, "anna") == []


def test_a_line_that_is_too_long_is_dropped_to_its_end(plain):
    with Wire(plain()) as wire:
        wire.begin()
        assert wire.say(b"NOOP " + b"x" * 100000 + b"\r\n").startswith(b"500 5.5.2")
        assert wire.say(b"NOOP\r\n")[:3] == b"250"


def test_more_than_the_largest_message_is_drained_by_both_ways(plain):
    server = plain(message_size=100000)
    line = b"x" * 998 + b"\r\n"
    with Wire(server) as wire:
        wire.begin()
        wire.say(b"DATA\r\n")
        assert wire.say(TEXT + line * 300 + b".\r\n").startswith(b"552 5.3.4")
        assert wire.say(b"MAIL FROM:<>\r\n")[:3] == b"250"
        assert wire.say(b"RCPT TO:<anna@example.org>\r\n")[:3] == b"250"
        assert wire.say(b"BDAT 300000 LAST\r\n" + line * 300).startswith(b"552 5.3.4")
        assert wire.say(b"BDAT 1000 LAST\r\n" + line).startswith(b"503")
        assert wire.say(b"NOOP\r\n")[:3] == b"250"
    assert server.messages("anna") == [] and temporary_files(server, "anna") == []


def test_a_large_message_comes_through_whole(plain):
    server = plain()
    body = b"".join(b"%07d %s\r\n" % (number, b"." * (number % 60)) for number in range(40000))
    with server.client() as client:
        client.sendmail(SENDER, [ANNA, BERT], TEXT + body)
    for user in ("anna", "bert"):
        mailbox = server.store.account(server.mail_folder(user)).open("INBOX")
        content = mailbox.content(mailbox.state().uids[0])
        assert b"".join(content.chunks()).endswith(b"\r\n\r\nhello\r\n" + body)
        content.close()
        mailbox.close()


def test_chunks_and_a_command_that_looks_like_text(plain):
    server = plain()
    with Wire(server) as wire:
        wire.begin()
        assert wire.say(b"BDAT %d\r\n%s" % (len(TEXT), TEXT))[:3] == b"250"
        # ends with a CR alone
        assert wire.say(b"BDAT 8 LAST\r\n.\r\nQUIT\n"[:-1] + b"\r")[:3] == b"550"
        wire.socket.sendall(
            b"MAIL FROM:<>\r\nRCPT TO:<anna@example.org>\r\nBDAT %d\r\n%sBDAT 9 LAST\r\n.\r\n"
            b"QUIT\r\nNOOP\r\n" % (len(TEXT), TEXT))
        assert [wire.answer()[:3] for _ in range(5)] == [b"250"] * 5
    assert server.messages("anna")[0].endswith(b"hello\r\n.\r\nQUIT\r\n")


def test_replies_do_not_pile_up_behind_a_client_that_never_pauses(plain):
    from phenmail_protocols.net.errors import Disconnected
    from phenmail_protocols.smtp import commands
    from phenmail_protocols.smtp.handler import Handler
    from phenmail_protocols.smtp.session import Service

    class Endless:
        """Always has another command, never a pause; ends after a while."""
        peer, is_loopback, left, longest = ("192.0.2.1", 1), False, 5000, 0
        visit = Visit()

        def tls_info(self):
            return None

        def has_line(self):
            return True

        def set_deadline(self, seconds):
            pass

        extend_deadline = set_deadline

        def read_line(self, limit):
            self.left -= 1
            if not self.left:
                raise Disconnected("end")
            return b"NOOP\r\n"

        def write(self, data):
            self.longest = max(self.longest, len(data))

    server = plain()
    limits = Limits(smtp_idle_timeout=1.0, command_timeout=1.0)
    service = Service("SMTP", commands.table("SMTP"), server.router, server.directory, limits)
    endless = Endless()
    Handler(endless, service).run()
    assert 0 < endless.longest < 20000


class FullStore(FileStore):
    """A disk that is full while `full` says so."""
    full = True

    def account(self, folder):
        account = FileStore.account(self, folder)
        return _FullAccount(account) if self.full else account


class _FullAccount:
    def __init__(self, account):
        self._account = account

    def stage(self):
        staged = self._account.stage()
        staged.write = self._write
        return staged

    def _write(self, data):
        raise errors.NoSpace()


def test_a_full_disk_is_told_and_service_resumes(plain):
    store = FullStore()
    server = plain(store=store)
    with Wire(server) as wire:
        wire.begin()
        wire.say(b"DATA\r\n")
        assert wire.say(TEXT + b".\r\n").startswith(b"452 4.3.1")
        store.full = False
        assert server.messages("anna") == [] and temporary_files(server, "anna") == []
        wire.say(b"MAIL FROM:<>\r\n")
        wire.say(b"RCPT TO:<anna@example.org>\r\n")
        wire.say(b"DATA\r\n")
        assert wire.say(TEXT + b".\r\n")[:3] == b"250"
    assert len(server.messages("anna")) == 1


def test_an_error_of_ours_is_temporary_and_tells_nothing(plain, caplog):
    server = plain()
    server.router.recipient = None
    with Wire(server) as wire:
        assert wire.answer()[:3] == b"220"
        wire.say(b"EHLO x\r\n")
        wire.say(b"MAIL FROM:<>\r\n")
        answer = wire.say(b"RCPT TO:<anna@example.org>\r\n")
        assert answer.startswith(b"421 4.3.0") and b"None" not in answer and wire.answer() == b""
    assert "TypeError" in caplog.text


def test_lmtp_over_the_wire(plain):
    server = plain()
    with Wire(server, "lmtp") as wire:
        wire.begin(b"LHLO x\r\n")
        assert wire.say(b"RCPT TO:<nobody@example.org>\r\n").startswith(b"550 5.1.1")
        assert wire.say(b"RCPT TO:<bert@example.org>\r\n")[:3] == b"250"
        assert wire.say(b"DATA\r\n")[:3] == b"354"
        assert wire.say(TEXT + b".\r\n")[:3] == b"250" and wire.answer()[:3] == b"250"
        assert wire.say(b"QUIT\r\n")[:3] == b"221" and wire.answer() == b""
    assert b"with LMTP id" in server.messages("anna")[0] and len(server.messages("bert")) == 1


def test_ten_connections_at_once(plain):
    server = plain()
    failures = []

    def send(number):
        try:
            with server.client() as client:
                for turn in range(5):
                    client.sendmail(SENDER, [ANNA], b"Subject: %d %d\r\n\r\n" % (number, turn))
        except Exception as error:
            failures.append(error)
    threads = [threading.Thread(target=send, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    subjects = {re.search(rb"Subject: (\d+ \d+)", message).group(1)
                for message in server.messages("anna")}
    assert len(subjects) == 50
