"""aerc, steered by typed commands: lists, threads, flags, moves, sends."""
import os

import pytest

from tests.interop.house import ODD, bodies, eventually, message, ok
from tests.interop.terminal import Terminal


@pytest.fixture
def aerc(program, tmp_path, house, user):
    folder = str(tmp_path / ".config" / "aerc")
    os.makedirs(folder)
    path = os.path.join(folder, "accounts.conf")
    with open(path, "w") as file:
        file.write("[mine]\nsource = imaps://{0}:{1}@{2}:{3}\noutgoing = {4}\n"
                   "from = Me <{0}@example.org>\ncopy-to = Sent\ncheck-mail = 0\n".format(
                       user.name, user.passphrase, house.host, house.ports["imaps"],
                       "smtps+plain://{0}:{1}@{2}:{3}".format(
                           user.name, user.passphrase, house.host, house.ports["submissions"])))
    os.chmod(path, 0o600)
    command = program("aerc")
    house.append(user, "INBOX", *ODD.values())
    house.append(user, "INBOX", message(
        "Re: dots", header="In-Reply-To: <dots@interop.example.net>\r\n"))
    with Terminal([command], HOME=str(tmp_path), SSL_CERT_FILE=house.certificate,
                  EDITOR="true") as terminal:
        terminal.await_text("attachment")
        yield terminal


def flagged(house, user):
    return [body for flags, body in house.messages(user).values() if "\\Flagged" in flags]


def test_aerc_threads_and_changes_a_mailbox(aerc, house, user):
    aerc.type(":toggle-threads\r")
    aerc.await_text("└─>")
    aerc.type(":flag\r")
    [chosen] = eventually(lambda: flagged(house, user), "a flag")
    aerc.type(":mark -a\r:copy Archive\r:unmark -a\r")
    eventually(lambda: len(house.messages(user, "Archive")) == len(ODD) + 1, "the copies")
    aerc.type(":move Trash\r")
    eventually(lambda: bodies(house.messages(user, "Trash")) == [chosen], "the move")
    aerc.type(":mkdir Lists/New\r")
    client = house.imap(user)
    eventually(lambda: b"Lists/New" in b"".join(ok(client.list())), "the folder")
    client.logout()
    aerc.type(":cf Lists/New\r")
    house.append(user, "Lists/New", message("something new"))
    aerc.await_text("something new")
    aerc.type(":delete\r")
    eventually(lambda: not house.messages(user, "Lists/New"), "the deletion")
    aerc.type(":quit -f\r")
    aerc.await_end()
