"""MailServer inside another program: two of them, and nothing left after."""
import email.message
import gc
import imaplib
import logging
import os
import signal
import smtplib
import socket
import threading

import pytest

import phenmail

ALICE = {"alice@example.org": "secret"}
PLAIN = {
    "smtp": {"host": "127.0.0.1", "port": 0}, "relay": False, "pop": False,
    "imap": {"host": "127.0.0.1", "port": 0, "disable-ssl": True}}


def ours():
    return [thread.name for thread in threading.enumerate()
            if thread.name.startswith("phenmail")]


def subjects(server, user="alice@example.org", passphrase="secret"):
    client = imaplib.IMAP4("127.0.0.1", server.port("imap"))
    client.starttls()
    client.login(user, passphrase)
    client.select()
    found = [client.fetch(number, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
             [1][0][1].strip() for number in client.search(None, "ALL")
             [1][0].split()]
    client.logout()
    return found


def test_two_servers_in_one_process_keep_apart():
    users = {"alice@example.org": "secret"}
    with phenmail.MailServer(users=users) as one:
        with phenmail.MailServer(users=users) as two:
            assert one.port("smtp") != two.port("smtp")
            with smtplib.SMTP("127.0.0.1", one.port("smtp")) as client:
                client.sendmail("x@example.com", ["alice@example.org"],
                                "Subject: one\r\n\r\n")
            assert subjects(one) == [b"Subject: one"]
            assert subjects(two) == []
    assert ours() == []


def test_a_temporary_root_goes_with_the_server():
    server = phenmail.MailServer(users={"a@example.org": "b"})
    folder = server.root.path
    server.start()
    server.stop()
    assert not os.path.exists(folder)
    server.stop()  # again does no harm


def test_a_given_root_stays_and_serves_again(tmp_path):
    options = dict(
        root=str(tmp_path / "root"), users={"alice@example.org": "secret"},
        settings={
            "smtp": {"host": "127.0.0.1", "port": 0}, "relay": False,
            "imap": {"host": "127.0.0.1", "port": 0, "disable-ssl": True},
            "pop": False})
    with phenmail.MailServer(**options) as server:
        server.send_mail(None, "alice@example.org", "Subject: kept\n\nhi\n")
    with phenmail.MailServer(**options) as server:
        assert subjects(server) == [b"Subject: kept"]


def test_send_mail_takes_bytes_text_and_message_objects():
    message = email.message.EmailMessage()
    message["Subject"] = "object"
    message.set_content("hello")
    with phenmail.MailServer(users={"alice@example.org": "secret"}) as server:
        server.send_mail("x@example.com", "alice@example.org", message)
        server.send_mail("", ["alice@example.org"], b"Subject: bytes\n\n")
        server.send_mail(None, ["alice@example.org"], "Subject: text\n\n")
        assert subjects(server) == [
            b"Subject: object", b"Subject: bytes", b"Subject: text"]
        with pytest.raises(phenmail.MailRefused):
            server.send_mail(None, "nobody@example.org", b"a: b\n\n")
        with pytest.raises(ValueError):
            server.send_mail(None, "no address at all", b"a: b\n\n")


def test_a_port_that_is_not_offered_is_a_key_error():
    with phenmail.MailServer(settings={"imap": False}) as server:
        with pytest.raises(KeyError):
            server.port("imaps")


def test_settings_that_can_not_be_used_are_told():
    with pytest.raises(Exception) as told:
        phenmail.MailServer(settings={"imapp": True})
    assert "imapp" in str(told.value) and "imap" in str(told.value)


def test_a_server_that_can_not_bind_leaves_nothing(tmp_path):
    first = phenmail.MailServer(users={"a@example.org": "b"})
    with first:
        second = phenmail.MailServer(
            root=str(tmp_path / "r"), settings={
                "smtp": {"host": "127.0.0.1", "port": first.port("smtp")}})
        before = ours()
        with pytest.raises(OSError):
            second.start()
        assert ours() == before


def test_stop_tells_clients_goodbye():
    server = phenmail.MailServer(users={"a@example.org": "b"})
    server.start()
    client = smtplib.SMTP("127.0.0.1", server.port("smtp"))
    server.stop()
    assert client.getreply()[0] == 421


def everything():
    """What a process has: its threads and its descriptors."""
    gc.collect()
    descriptors = sorted(os.listdir("/proc/self/fd")) if os.path.isdir(
        "/proc/self/fd") else []
    return threading.enumerate(), len(descriptors)


def send(server, text):
    with smtplib.SMTP("127.0.0.1", server.port("smtp")) as client:
        client.sendmail("x@example.com", ["alice@example.org"], text)


def in_a_thread(action):
    """Run it in another thread, and raise here what it raised."""
    raised = []

    def run():
        try:
            action()
        except BaseException as error:
            raised.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it hangs"
    if raised:
        raise raised[0]


def test_threads_have_our_name_and_nothing_is_left():
    with phenmail.MailServer(users=ALICE):
        pass  # what is made once in a process is made now
    before = everything()
    with phenmail.MailServer(users=ALICE) as server:
        client = smtplib.SMTP("127.0.0.1", server.port("smtp"))
        client.noop()
        server.send_mail(None, "alice@example.org", "Subject: one\n\n")
        subjects(server)
        new = set(threading.enumerate()) - set(before[0])
        assert new and [thread.name for thread in new
                        if not thread.name.startswith("phenmail-")] == []
        assert all(thread.daemon for thread in new)
        folder = server.root.path
    client.close()
    assert everything() == before
    assert not os.path.exists(folder)


def test_what_raises_inside_stops_it():
    with pytest.raises(ZeroDivisionError):
        with phenmail.MailServer(users=ALICE) as server:
            1 / 0
    assert ours() == [] and not os.path.exists(server.root.path)


def test_neither_signals_nor_logging_are_touched():
    def state():
        ours = [logging.getLogger(name) for name in ("", "phenmail")]
        return ([signal.getsignal(number) for number in
                 (signal.SIGINT, signal.SIGTERM)],
                [(log.level, list(log.handlers), log.propagate)
                 for log in ours], logging.logThreads, os.getcwd())
    before = state()
    with phenmail.MailServer(users=ALICE) as server:
        send(server, "Subject: one\r\n\r\n")
        assert state() == before
    assert state() == before


def test_it_starts_and_stops_in_any_thread():
    server = phenmail.MailServer(users=ALICE)
    in_a_thread(server.start)
    send(server, "Subject: one\r\n\r\n")
    in_a_thread(server.stop)
    assert ours() == []


def test_started_twice_it_says_so_and_goes_on():
    with phenmail.MailServer(users=ALICE) as server:
        with pytest.raises(RuntimeError):
            server.start()
        send(server, "Subject: one\r\n\r\n")
        assert subjects(server) == [b"Subject: one"]


def test_two_servers_do_not_share_a_root(tmp_path):
    options = dict(root=str(tmp_path / "r"), users=ALICE, settings=PLAIN)
    with phenmail.MailServer(**options) as server:
        with pytest.raises(phenmail.AlreadyRunning):
            phenmail.MailServer(**options).start()
        send(server, "Subject: one\r\n\r\n")
        assert subjects(server) == [b"Subject: one"]


def test_what_is_given_is_left_as_it_was():
    settings, users = {"imap": False, "domains": {"example.org": {
        "bob": ":alice"}}}, dict(ALICE)
    with phenmail.MailServer(settings=settings, users=users) as server:
        server.send_mail(None, "bob@example.org", "Subject: one\n\n")
        assert [each.host for each in server.listening] == ["127.0.0.1"] * 5
    assert settings == {"imap": False, "domains": {"example.org": {
        "bob": ":alice"}}} and users == ALICE


def test_send_mail_when_it_does_not_run():
    server = phenmail.MailServer(users=ALICE)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            server.send_mail(None, "alice@example.org", "Subject: one\n\n")
        with server:
            server.send_mail(None, "alice@example.org", "Subject: one\n\n")


def test_a_stopped_server_starts_again(tmp_path):
    for options in (dict(), dict(root=str(tmp_path / "r"), settings=PLAIN)):
        server = phenmail.MailServer(users=ALICE, **options)
        for turn in ("one", "two", "three"):
            with server:
                send(server, "Subject: %s\r\n\r\n" % turn)
                left = subjects(server)
            assert ours() == []
        # A temporary folder is gone with the first stop, and new each time.
        assert left == [b"Subject: " + each for each in (
            [b"one", b"two", b"three"] if options else [b"three"])]
        assert os.path.exists(server.root.path) == bool(options)


def test_a_temporary_root_is_never_somebody_elses(tmp_path):
    server = phenmail.MailServer(users=ALICE)
    with server:
        pass
    os.symlink(str(tmp_path), server.root.path)  # as anybody in /tmp could
    try:
        with pytest.raises(OSError):
            server.start()
    finally:
        os.unlink(server.root.path)
    assert os.listdir(str(tmp_path)) == [] and ours() == []


def test_stopped_by_many_threads_at_once():
    for _ in range(5):
        server = phenmail.MailServer(users=ALICE)
        server.start()
        raised = []

        def stop():
            try:
                server.stop()
                assert not os.path.exists(server.root.path), (
                    "stop returned before it was done")
            except BaseException as error:
                raised.append(error)
        threads = [threading.Thread(target=stop) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert raised == [] and ours() == []


def test_a_start_that_failed_halfway_can_be_tried_again(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        # smtp and submission are bound before imap is not.
        servers = [phenmail.MailServer(users=ALICE, root=root, settings=dict(
            PLAIN, imap={"host": "127.0.0.1", "port": port}))
            for root in (None, str(tmp_path / "r"))]
        with pytest.raises(OSError):
            servers[0].start()
        before = everything()
        for server in servers:
            with pytest.raises(OSError):
                server.start()
            assert everything() == before and server.listening == ()
    assert not os.path.exists(servers[0].root.path)
    for server in servers:
        with server:
            send(server, "Subject: one\r\n\r\n")
    assert ours() == []


def test_a_thread_that_can_not_be_started_leaves_nothing(monkeypatch):
    start, started = threading.Thread.start, []

    def fail_after(most):
        def start_or_fail(thread):
            if len(started) == most:
                raise RuntimeError("can't start new thread")
            started.append(thread.name)
            start(thread)
        monkeypatch.setattr(threading.Thread, "start", start_or_fail)
    for most in range(100):
        server = phenmail.MailServer(
            settings={"sender-domain": "example.org"})
        before = everything()
        del started[:]
        fail_after(most)
        try:
            server.start()
        except RuntimeError as error:
            assert "new thread" in str(error)
            assert everything() == before, started
            assert not os.path.exists(server.root.path)
        else:
            break
    server.stop()
    assert "phenmail-certificate" in started and most == len(started)


def test_filters_are_tried_on_a_message():
    server = phenmail.MailServer(users=ALICE)
    note = "From: x@example.com\nSubject: [dev] release\n\nhi\n"
    with server:
        folder = server.directory.account("alice@example.org").folder
        with open(os.path.join(folder, "filters.jcfg"), "w") as file:
            file.write('''{"filters": [
                {"type": "match", "content": "spam", "action": "discard"},
                {"type": "match", "content": "[dev]",
                 "action": "accept:Lists/dev"}]}''')
        result = server.try_filters("alice@example.org", note)
        assert [(line.matched, line.effect) for line in result.lines] == [
            (False, ""), (True, "accept into Lists/dev")]
        assert (result.verdict.kind, result.verdict.mailbox) == (
            "accept", "Lists/dev")
        assert str(result.message.sender) == "x@example.com"
        assert server.try_filters("alice", note.encode(), sender="") \
            .message.sender is None
        with pytest.raises(ValueError):
            server.try_filters("nobody@example.org", note)
        assert subjects(server) == [], "nothing was done"


def test_public_names_are_there():
    for name in phenmail.__all__:
        assert hasattr(phenmail, name)


def test_a_broken_key_of_rewritten_senders_stops_nobody(tmp_path):
    root = tmp_path / "r"
    with phenmail.MailServer(str(root), settings=PLAIN, users=ALICE):
        pass
    (root / "device" / "system" / "mail" / "srs.key").write_bytes(b"broken")
    with phenmail.MailServer(str(root), settings=PLAIN, users=ALICE) as server:
        send(server, "Subject: x\r\n\r\n")
        assert subjects(server) == [b"Subject: x"]
