"""The same random sessions with us and with Dovecot, on the same messages: each difference is
explained, or the test fails."""
import functools
import os
import shlex
import socket
import subprocess

import pytest

from tests.imap import response_values
from tests.imap.mailbox_model import Client
from tests.interop.house import SECONDS
from tests.interop.session_match import Match
from tests.interop.test_dovecot import dovecot  # noqa: F401 - a fixture

# SESSIONS="5 6 7" plays others.
SEEDS = [int(seed) for seed in os.environ.get("SESSIONS", "1 2 3 4").split()]
CONNECTIONS = 2
DEFAULT_MAILBOXES = ("INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash")  # that our users have


def our_client(house, user):
    stream = house.trust().wrap_socket(
        socket.create_connection((house.host, house.ports["imaps"]), SECONDS),
        server_hostname=house.host)
    client = greeted(stream.makefile("rb"), stream.sendall, stream.close)
    assert client.ask("LOGIN %s %s" % (user.name, user.passphrase)).status == "OK"
    return client


def dovecot_client(command):
    child = subprocess.Popen(shlex.split(command), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def send(data):
        child.stdin.write(data)
        child.stdin.flush()

    def close():
        child.stdin.close()
        child.wait(SECONDS)
        child.stdout.close()
    return greeted(child.stdout, send, close)


def greeted(file, send, close):
    client = Client(functools.partial(response_values.read, file), send, close)
    assert response_values.read(file)
    return client


def played(house, user, dovecot, seed):  # noqa: F811
    """A Match that was played on a new user's mailboxes and on equal ones of Dovecot's.

    Dovecot keeps them in a format of its own: in a Maildir, it gives messages new UIDs at times when
    two of its processes change one mailbox at once.
    """
    other = dovecot("dbox", storage="sdbox")
    sides = ([our_client(house, user) for _ in range(CONNECTIONS)],
             [dovecot_client(other.command) for _ in range(CONNECTIONS)])
    match = Match(sides, seed)
    try:
        for name in DEFAULT_MAILBOXES:
            if name != "INBOX":
                assert sides[1][0].ask("CREATE " + name).status == "OK"
            assert sides[1][0].ask("SUBSCRIBE " + name).status == "OK"
        match.play()
    finally:
        for each in sides[0] + sides[1]:
            each.close()
    return match


@pytest.fixture
def house(running):
    """The server; the sessions may provoke BAD, but no other error."""
    yield running
    complaints = running.complaints(bad=False)
    assert not complaints, complaints


@pytest.mark.parametrize("seed", SEEDS)
def test_both_give_the_same_answers(house, user, dovecot, seed):  # noqa: F811
    match = played(house, user, dovecot, seed)
    assert not match.differences, "\n".join(
        map(str, match.history[:match.differences[0][0]] + match.differences[:3]))
