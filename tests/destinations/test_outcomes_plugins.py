"""Plugins through the real SMTP port: given as an object or a callable, configured by a module's
name, built in.

What becomes of a message that they take, that they fail on, and that they refuse.
"""
import importlib
import sys

import pytest

from phenmail_protocols.delivery.recipient_replies import PluginRefused

from .frontdoor import AUTHOR, LETTER

ROBOT = "robot@example.org"
PLUGIN = {"robot": ".it queue=7"}


class Taker:
    """A plugin that records its calls, and first raises the given exceptions, one per call."""

    def __init__(self, *raised):
        self.raised, self.taken = list(raised), []

    def mail_received(self, message, origin, parameters):
        if self.raised:
            raise self.raised.pop(0)
        self.taken.append((message["Subject"], origin.sender, origin.recipient, parameters))

    __call__ = mail_received


GOT = ("hello", AUTHOR, ROBOT, "queue=7")
AS = {"object": lambda taker: taker, "callable": lambda taker: lambda *given: taker(*given)}


@pytest.mark.parametrize("kind", sorted(AS))
def test_plugin_success(front, kind):
    taker = Taker()
    mail = front(PLUGIN, {"it": AS[kind](taker)})
    assert mail.send(ROBOT).startswith("250")
    assert mail.is_done() and mail.bounces() == []
    assert taker.taken == [GOT]


@pytest.mark.parametrize("kind", sorted(AS))
@pytest.mark.parametrize("failure", [RuntimeError("a secret"), SystemExit(0)], ids=repr)
def test_plugin_temporary_failure_raises(front, kind, failure, caplog):
    taker = Taker(failure)
    mail = front(PLUGIN, {"it": AS[kind](taker)})
    assert mail.send(ROBOT).startswith("250")
    assert mail.deferred() == "451 4.3.0 The plugin for this address failed"
    assert repr(failure)[:10] in caplog.text, "the log has the traceback"
    mail.again()
    assert taker.taken == [GOT] and mail.is_done() and mail.bounces() == []


def test_plugin_temporary_failure_until_the_queue_gives_up(front):
    mail = front(PLUGIN, {"it": Taker(*[RuntimeError("a secret")] * 9)})
    assert mail.send(ROBOT).startswith("250")
    mail.deferred()
    mail.days_later()
    bounce = mail.bounce()
    assert bounce.told() == {ROBOT: "4.3.0"} and "secret" not in bounce.prose


def test_plugin_temporary_failure_missing(front):
    mail = front(PLUGIN)
    assert mail.send(ROBOT).startswith("250")
    assert mail.deferred().startswith("451 4.3.5")
    mail.days_later()
    assert mail.bounce().told() == {ROBOT: "4.3.5"}


def test_plugin_temporary_failure_says_false(front):
    answers = [False, None]
    mail = front(PLUGIN, {"it": lambda *given: answers.pop(0)})
    assert mail.send(ROBOT).startswith("250")
    assert mail.deferred().startswith("451 4.3.0")
    mail.again()
    assert answers == [] and mail.is_done()


@pytest.mark.parametrize("kind", sorted(AS))
def test_plugin_permanent_failure(front, kind):
    mail = front(PLUGIN, {"it": AS[kind](Taker(PluginRefused("The queue 7 is closed")))})
    assert mail.send(ROBOT).startswith("250")
    bounce = mail.bounce()
    assert bounce.told() == {ROBOT: "5.7.0"} and "The queue 7 is closed" in bounce.prose


MODULE = '''
from phenmail_protocols.delivery.recipient_replies import PluginRefused
taken, raised = [], []

class Plugin:
    def start(self, server):
        self.server = server

    def mail_received(self, message, origin, parameters):
        if raised:
            raise raised.pop(0)
        self.server.send_mail("robot@example.org", "alice@example.org", "Subject: taken " + parameters + "\\n\\n")
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module with a plugin, removed after the test."""
    (tmp_path / "phenmail_test_plugin.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("phenmail_test_plugin")
    del sys.modules["phenmail_test_plugin"]


CONFIGURED = {"it": "phenmail_test_plugin:Plugin"}


def test_plugin_configured_success(front, module):
    mail = front(PLUGIN, plugins=CONFIGURED)
    assert mail.send(ROBOT).startswith("250")
    assert mail.is_done() and mail.subjects() == ["taken queue=7"]


def test_plugin_configured_temporary_failure(front, module):
    module.raised.append(RuntimeError("no"))
    mail = front(PLUGIN, plugins=CONFIGURED)
    assert mail.send(ROBOT).startswith("250")
    assert mail.deferred().startswith("451 4.3.0")
    mail.again()
    assert mail.is_done() and mail.subjects() == ["taken queue=7"]


def test_plugin_configured_temporary_failure_no_such_module(front):
    mail = front(PLUGIN, plugins={"it": "phenmail_no_such_module:Plugin"})
    assert mail.send(ROBOT).startswith("250")
    assert mail.deferred().startswith("451 4.3.5")


def test_plugin_configured_permanent_failure(front, module):
    module.raised.append(PluginRefused("Not here"))
    mail = front(PLUGIN, plugins=CONFIGURED)
    assert mail.send(ROBOT).startswith("250")
    assert mail.bounce().told() == {ROBOT: "5.7.0"}


ECHO = {"robot": ".mail"}


def test_plugin_mail_success(front):
    mail = front(ECHO)
    assert mail.send(ROBOT).startswith("250")
    echo, = mail.onward()
    assert (echo.sender, echo.recipients) == ("", (AUTHOR,)) and echo.message["From"] == ROBOT
    assert LETTER.partition(b"\r\n\r\n")[2] in echo.data


def test_plugin_mail_temporary_failure(front):
    """Of the reply: it waits in the queue, but the message itself is done."""
    mail = front(ECHO)
    mail.outside_answers(AUTHOR, "450 4.2.0 Not now")
    assert mail.send(ROBOT).startswith("250")
    assert mail.deferred() == "450 4.2.0 Not now"
    mail.outside_answers(AUTHOR, None)
    mail.again()
    assert len(mail.onward()) == 1 and mail.is_done()


def test_plugin_mail_permanent_failure(front):
    """Of the reply: only the postmaster gets a notice."""
    mail = front(ECHO)
    mail.outside_answers(AUTHOR, "550 5.1.1 Nobody")
    assert mail.send(ROBOT).startswith("250")
    assert mail.is_done() and mail.sent == []
    assert [message.get_content_type()
            for message in mail.messages("postmaster@example.org")] == ["multipart/report"]
