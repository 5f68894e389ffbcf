"""Delivery agents of Dovecot, procmail and Courier get mail from us: what they do with it, and what
we make of their ends."""
import io
import os
import shutil
import tempfile

import pytest

from phenmail_protocols.destinations.programs import Programs
from phenmail_protocols.mail.address import Address
from phenmail_protocols.queue.model import Message

from .deliverers import COMMANDS, DELIVERED, delivered

NOBODY = 65534
ANNA = Address("anna+lists", "example.org")
SENDERS = [(Address("bert", "example.com"), "bert@example.com"), (None, ""),
           (Address("-oi x", "example.com"), '"-oi x"@example.com')]
BODY = (
    b"Received: from x\r\nFrom: bert@example.com\r\nSubject: hello\r\n\r\nline 1\r\n.\r\n\r\n"
    b"From here\r\n"
    + b"\xc3\xbc" * 30 + b"\r\n")


class Settings:
    run_as = None
    python = None


@pytest.fixture
def folder():
    """A user's folder where its owner can reach it by its path, which is not so with pytest's
    own."""
    folder = tempfile.mkdtemp()
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def agents():
    agents = Programs(Settings, seconds=60.0)
    yield agents
    assert agents.stop()


def run(agents, command, folder, sender, body=BODY):
    return agents.run(command, Message("1.2", sender, (), 0.0), io.BytesIO(body), ANNA, "anna",
                      folder, "lists")


@pytest.mark.parametrize("row", COMMANDS, ids=str)
def test_ends(row, program, agents, folder):
    reply = run(agents, row.write(program(row.program), folder), folder, SENDERS[0][0])
    assert reply[:2] == (row.code, row.enhanced), reply
    assert row.said in reply.text
    assert len(delivered(folder)) == (row.end == DELIVERED)


@pytest.mark.parametrize("row", [row for row in COMMANDS if row.end == DELIVERED], ids=str)
@pytest.mark.parametrize("sender, written", SENDERS, ids=["a sender", "no sender", "an option"])
def test_the_message_is_the_same_afterwards(row, program, agents, folder, sender, written):
    command = row.write(program(row.program), folder)
    assert run(agents, command, folder, sender).delivered
    assert delivered(folder) == [b"Return-Path: <%s>\nDelivered-To: anna+lists@example.org\n"
                                 % written.encode()
                                 + BODY.replace(b"\r\n", b"\n")]


@pytest.mark.parametrize("row", [row for row in COMMANDS if row.end == DELIVERED], ids=str)
def test_a_large_message(row, program, agents, folder):
    line = b"0123456789" * 7 + b"\r\n"
    body = BODY + line * (20 * 1024 * 1024 // len(line))
    assert run(agents, row.write(program(row.program), folder), folder, SENDERS[0][0],
               body).delivered
    [message] = delivered(folder)
    assert message.endswith(body.replace(b"\r\n", b"\n"))
