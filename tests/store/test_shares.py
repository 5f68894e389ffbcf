"""Opening a mailbox that is larger than the memory for its names, and giving up while it opens."""
import os
import random
import signal
import subprocess
import sys
import threading

import pytest

from phenmail_protocols.store.maildir import spool
from phenmail_protocols.store.rescanning import shares

from .conftest import drop_foreign, drop_index, read_uid_list, uids, whole

COUNT = 200


class GivenUp(Exception):
    pass


@pytest.fixture
def small_shares(monkeypatch):
    monkeypatch.setattr(shares, "MOST", 50)
    monkeypatch.setattr(shares, "_LOOK", 1)
    monkeypatch.setattr(spool, "_TOGETHER", 2)
    monkeypatch.setattr(spool, "_RUN", 16)


def drop(house, start, stop):
    """Files whose names tell their order, in another order."""
    numbers = list(range(start, stop))
    random.Random(1).shuffle(numbers)
    for number in numbers:
        drop_foreign(house, "%d.M1P1.elsewhere:2,%s" % (1700000000 + number, "S" * (number % 2)),
                     "cur", b"Subject: %d\n\nhello\n" % number)


def subjects(mailbox):
    return [int(content.split()[1]) for _, (content, _) in sorted(whole(mailbox).items())]


def opened(house):
    mailbox = house.account.open("INBOX")
    mailbox.look()
    return mailbox


def test_messages_get_their_uids_in_the_order_of_arrival(house, small_shares):
    house.account.status("INBOX")
    drop(house, 0, COUNT)
    inbox = opened(house)
    assert uids(inbox) == list(range(1, COUNT + 1))
    assert subjects(inbox) == list(range(COUNT))
    drop(house, COUNT, 2 * COUNT)
    inbox.look()
    assert uids(inbox) == list(range(1, 2 * COUNT + 1))
    assert subjects(inbox) == list(range(2 * COUNT))


def test_a_lost_index_is_made_again_from_the_uid_list(house, small_shares):
    house.account.status("INBOX")
    drop(house, 0, COUNT)
    opened(house).close()
    house.close()
    cur = os.path.join(house.folder, "cur")
    for name in sorted(os.listdir(cur))[:20]:
        os.unlink(os.path.join(cur, name))
    with open(os.path.join(house.folder, "dovecot-uidlist"), "ab") as file:
        file.write(b"201 :a\0b\n202 :a/b\n203 :\xff\n")
    drop_index(house)
    house.open()
    inbox = opened(house)
    assert uids(inbox) == list(range(21, COUNT + 1))
    assert subjects(inbox) == list(range(20, COUNT))


def test_flags_expunges_and_mbsyncs_names_are_found_in_all_shares(house, small_shares):
    house.account.status("INBOX")
    drop(house, 0, COUNT)
    inbox = opened(house)
    serial = inbox.state().serial
    cur = os.path.join(house.folder, "cur")
    for number, name in enumerate(sorted(os.listdir(cur))):
        base = name.partition(":")[0]
        if number % 10 == 0:
            os.unlink(os.path.join(cur, name))
        elif number % 10 == 1:
            os.rename(os.path.join(cur, name), os.path.join(cur, base + ":2,F"))
        elif number % 10 == 2:
            os.rename(os.path.join(cur, name), os.path.join(
                cur, "%s,U=%d:2,S" % (base, number)))
    inbox.look()
    update = inbox.changes(serial)
    assert update.removed == [1 + number for number in range(0, COUNT, 10)]
    assert update.changed == [1 + number for number in range(COUNT)
                              if number % 10 == 1 or number % 10 == 2 and not number % 2]
    assert update.added == []
    assert subjects(inbox) == [number for number in range(COUNT) if number % 10]


@pytest.mark.parametrize("step", [1, 20, 49, 51, 150, 260, 399, 410, 430, 450])
def test_an_opening_that_is_given_up_leaves_no_trace(house, small_shares, step):
    """`look` raises when the server stops."""
    house.account.status("INBOX")
    house.close()
    drop(house, 0, COUNT)
    drop_index(house)
    house.open()
    left = [step]

    def look():
        left[0] -= 1
        if left[0] == 0:
            raise GivenUp

    with pytest.raises(GivenUp):
        house.account.open("INBOX", look)
    assert house.account.status("INBOX").messages == COUNT
    inbox = opened(house)
    assert subjects(inbox) == list(range(COUNT))
    assert uids(inbox) == sorted(read_uid_list(house.folder)[1].values())
    assert not os.listdir(os.path.join(house.folder, "tmp"))


_KILLED = """
import os, signal, sys
from phenmail_protocols.store.rescanning import shares
from phenmail_protocols.store.filestore import FileStore
from phenmail_protocols.store.maildir import spool
shares.MOST, shares._LOOK, spool._TOGETHER, spool._RUN = 50, 1, 2, 16
left = int(sys.argv[2])
def look():
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
FileStore(poll=3600, boot_id="boot 1").account(sys.argv[1]).open("INBOX", look)
"""


@pytest.mark.parametrize("step", [20, 430, 450])
def test_an_opening_that_is_killed_leaves_no_trace(house, small_shares, step):
    house.account.status("INBOX")
    house.close()
    drop(house, 0, COUNT)
    drop_index(house)
    done = subprocess.run([sys.executable, "-c", _KILLED, house.folder, str(step)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert not os.listdir(os.path.join(house.folder, "tmp"))
    house.open()
    inbox = opened(house)
    assert subjects(inbox) == list(range(COUNT))
    assert uids(inbox) == sorted(read_uid_list(house.folder)[1].values())


def test_the_poller_waits_for_no_busy_account(house):
    inbox = house.account.open("INBOX")
    assert house.account.open_mailboxes(0) == [inbox]
    found = []
    with house.account.writing():
        poller = threading.Thread(
            target=lambda: found.append(house.account.open_mailboxes(0.01)))
        poller.start()
        poller.join(10)
    assert found == [None]
