"""Plugins in a whole server: from the SMTP port through the queue to the plugin, and what its
sender hears."""
import email
import email.policy
import os
import smtplib
import sys
import threading
import time
import types

import phenmail
from phenmail_protocols.delivery.recipient_replies import PluginRefused

DEADLINE = 20.0
ALICE = "alice@example.org"


def serve(actions, plugins=None, configured=None, **settings):
    """A server on free ports, with Alice and what else `actions` says."""
    settings.update(domains={"example.org": actions}, plugins=configured or {})
    return phenmail.MailServer(settings=settings, users={ALICE: "secret"}, plugins=plugins)


def send(server, recipient, sender="bob@example.net"):
    with smtplib.SMTP("127.0.0.1", server.port("smtp")) as client:
        client.sendmail(sender, [recipient], "Subject: ten of them\n\nPlease.\n")


def awaited(look):
    """What `look()` gives once it is something."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        threading.Event().wait(0.02)
    raise AssertionError("it did not come")


def mail_of(server):
    """The new messages in Alice's INBOX, parsed."""
    folder = os.path.join(server.directory.account(ALICE).folder, "new")
    found = []
    # the first message makes it
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        with open(os.path.join(folder, name), "rb") as file:
            found.append(email.message_from_binary_file(file, policy=email.policy.default))
    return found


class Orders:
    def __init__(self):
        self.taken, self.event, self.server, self.threads = [], threading.Event(), None, []

    def __call__(self, message, origin, parameters):
        self.threads.append(threading.current_thread().name)
        self.taken.append(
            (message["Subject"], origin.sender, origin.recipient, origin.tag, parameters))
        self.event.set()


def test_an_application_takes_a_recipient_s_mail_itself():
    orders = Orders()
    with serve({"orders": ".orders with care"}, {"orders": orders}) as server:
        send(server, "orders+ten@example.org")
        assert orders.event.wait(DEADLINE)
        awaited(lambda: not server.relay.queue.identities())
    assert orders.taken == [
        ("ten of them", "bob@example.net", "orders+ten@example.org", "ten", "with care")]
    assert orders.threads[0].startswith("phenmail-queue-")
    assert [thread.name for thread in threading.enumerate()
            if thread.name.startswith("phenmail")] == []


def test_a_configured_plugin_begins_and_ends_with_the_server_and_sends():
    events = []

    class Plugin:
        def start(self, server):
            self.server = server
            events.append("start")

        def mail_received(self, message, origin, parameters):
            self.server.send_mail(origin.recipient, parameters,
                                  "Subject: it came\n\n%s\n" % message["Subject"])

        def stop(self):
            events.append("stop")

    sys.modules["attic_of_plugins"] = types.ModuleType("attic_of_plugins")
    sys.modules["attic_of_plugins"].Plugin = Plugin
    try:
        with serve({"robot": ".robot " + ALICE},
                   configured={"robot": "attic_of_plugins:Plugin"}) as server:
            assert events == ["start"]
            send(server, "robot@example.org")
            mail, = awaited(lambda: mail_of(server))
            assert (mail["Subject"], mail["From"]) == ("it came", "robot@example.org")
        assert events == ["start", "stop"]
    finally:
        del sys.modules["attic_of_plugins"]


def test_the_built_in_echo_answers_a_user():
    with serve({"echo": ".mail"}) as server:
        server.send_mail(ALICE, "echo@example.org", "Subject: is it there?\n\nHello.\n")
        answer, = awaited(lambda: mail_of(server))
    assert answer["Return-Path"] == "<>" and answer["Subject"] == "Auto: is it there?"
    text, original = answer.iter_parts()
    assert original.get_content()["Subject"] == "is it there?"


def test_who_is_refused_reads_why():
    def refuse(message, origin, parameters):
        raise PluginRefused("The shop is closed")

    with serve({"orders": ".orders"}, {"orders": refuse}) as server:
        server.send_mail(ALICE, "orders@example.org", "Subject: ten\n\n")
        bounce, = awaited(lambda: mail_of(server))
    assert bounce.get_content_type() == "multipart/report"
    assert "550 5.7.0 The shop is closed" in bounce.as_string()


def test_what_fails_comes_again_and_at_last_goes_back_without_the_reason(caplog):
    seen = []

    def fail(message, origin, parameters):
        seen.append(origin.identity)
        raise RuntimeError("/a/secret/path")

    limits = {"retry-first": "1 s", "retry-longest": "1 s", "give-up": "1 s"}
    with serve({"orders": ".orders"}, {"orders": fail}, limits=limits) as server:
        server.send_mail(ALICE, "orders@example.org", "Subject: ten\n\n")
        bounce, = awaited(lambda: mail_of(server))
    assert len(seen) >= 2 and len(set(seen)) == 1, "it is the same message"
    assert "451 4.3.0 The plugin for this address failed" in bounce.as_string()
    assert "secret" not in bounce.as_string()
    assert "/a/secret/path" in caplog.text


def test_a_missing_plugin_keeps_the_message_until_it_is_there(tmp_path):
    def server_with(plugins):
        return phenmail.MailServer(str(tmp_path), settings={
            "domains": {
                "example.org": {"postmaster": ":alice", "abuse": ":alice", "alice": "/alice/mail",
                                "orders": ".orders"}},
            "smtp": {"host": "127.0.0.1", "port": 0}, "imap": False, "pop": False,
            "limits": {"retry-first": "1 s"},
            "relay": {"host": "127.0.0.1", "port": 0}}, plugins=plugins)

    with server_with({}) as server:
        send(server, "orders@example.org")
        identity, = server.relay.queue.identities()
        awaited(lambda: server.relay.queue.read(identity).recipients[0].reply)
        assert server.relay.queue.read(identity).recipients[0].reply.enhanced == "4.3.5"
    orders = Orders()
    with server_with({"orders": orders}) as server:
        assert orders.event.wait(DEADLINE)
        awaited(lambda: not server.relay.queue.identities())


def test_a_plugin_that_hangs_does_not_keep_the_server_from_stopping():
    entered, gate = threading.Event(), threading.Event()

    def hang(message, origin, parameters):
        entered.set()
        gate.wait(DEADLINE)

    server = serve({"orders": ".orders"}, {"orders": hang})
    server.start()
    try:
        send(server, "orders@example.org")
        assert entered.wait(DEADLINE)
        begun = time.monotonic()
        server.stop(1.0)
        assert time.monotonic() - begun < 5.0
    finally:
        gate.set()
        server.stop()
    awaited(lambda: not [thread for thread in threading.enumerate()
                         if thread.name.startswith("phenmail")])
