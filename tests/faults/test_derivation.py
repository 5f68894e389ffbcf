"""kill -9, a lost or broken index and a full disk while messages are derived in idle moments.

The mail stays as it was, and what is kept of a message is what the message gives.
"""
import os
import random
import signal
import subprocess
import sys
import time

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":
    sys.path.insert(0, TOP)

from phenmail_protocols.imap.fetching import derivations  # noqa: E402
from phenmail_protocols.store import errors  # noqa: E402
from phenmail_protocols.store.deriving import derivation  # noqa: E402
from phenmail_protocols.store.filestore import FileStore  # noqa: E402
from phenmail_protocols.store.indexing import index  # noqa: E402
from phenmail_protocols.store.indexing.derived_index import Holds  # noqa: E402

KILLS = 12
NAMES = ["HEADER", "ENVELOPE", "BODYSTRUCTURE", "PREVIEW", "SORT"]


class House:
    """A mail folder, opened as a new process opens it."""

    def __init__(self, folder):
        self.folder = folder
        self.store = FileStore(poll=3600, boot_id="boot 1")
        self.account = self.store.account(folder)
        self.step = derivation.Derivation(derivations.derive, "1", lambda: None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.store.close()

    def deliver(self, number):
        with self.account.stage() as staged:
            staged.write(message(number))
            return self.account.deliver("INBOX", staged).uid

    def derive(self):
        while self.step(self.account):
            pass

    def check(self, is_whole=True):
        """Compare everything that is kept with the messages; returns {uid: number}."""
        inbox = self.account.open("INBOX")
        uids = list(inbox.state().uids)
        rows = inbox.rows(uids)
        kept = {name: inbox.cached(name, uids) for name in NAMES}
        numbers = {}
        for place, (uid, content) in enumerate(inbox.contents(uids)):
            with content:
                text = content.whole()
                numbers[uid] = int(text.split(b"number ")[1].split(b".")[0])
                assert text == message(numbers[uid])
                row = index.MessageRow(uid, "", 0, "", len(text), rows.dates[place], 0)
                made = derivations.derive(row, content, [], lambda: None)
            for name in NAMES:
                if is_whole or uid in kept[name]:
                    assert kept[name][uid] == made.items[name]
            found = inbox.find(Holds("subject", b"number %d." % numbers[uid]), 1, 1 << 31)
            assert found.matching == {uid} or not is_whole and (
                found.known is not None and uid not in found.known)
        inbox.close()
        return numbers


def message(number):
    return (b"Subject: number %d.\r\nFrom: <%d@example.org>\r\nMessage-ID: <%d@x>\r\n"
            b"Content-Type: text/html\r\n\r\n<p>Text %d" % ((number,) * 4)
            + b"x" * (number * 977 % 20000) + b"\r\n")


def work(folder, first):
    """Deliver and derive, and say so, until somebody ends this process."""
    with House(folder) as house:
        for number in range(first, first + 10000):
            print("begin %d" % number, flush=True)
            house.deliver(number)
            print("done %d" % number, flush=True)
            if number % 5 == 0:
                house.derive()


def test_killed_at_random(tmp_path):
    chance, answered, begun = random.Random(1), set(), set()
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), str(tmp_path / "mail"),
             str(max(begun, default=-1) + 1)], cwd=TOP, stdout=subprocess.PIPE)
        lines, least = [], chance.randint(1, 60)
        while len(lines) < least:
            lines.append(process.stdout.readline())
            assert lines[-1], "the process ended"
        time.sleep(chance.random() / 200)
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().splitlines(True)
        process.wait()
        process.stdout.close()
        for line in lines:
            if line.endswith(b"\n"):
                word, number = line.split()
                (begun if word == b"begin" else answered).add(int(number))
        with House(str(tmp_path / "mail")) as house:
            numbers = list(house.check(is_whole=False).values())
            assert answered <= set(numbers) <= begun and len(numbers) == len(set(numbers))
            if chance.random() < 0.5:
                house.derive()
                house.check()
    assert len(answered) > KILLS


@pytest.fixture
def house(tmp_path):
    with House(str(tmp_path / "mail")) as house:
        for number in range(30):
            house.deliver(number)
        house.derive()
        house.check()
        yield house


def files(house):
    return [os.path.join(house.folder, name) for name in os.listdir(house.folder)
            if name.startswith(index.FILE)]


def test_deleted(house):
    before = house.check()
    for path in files(house):
        os.unlink(path)
    assert house.check(is_whole=False) == before
    house.derive()
    assert house.check() == before


@pytest.mark.parametrize("start", [0, 4096, 40960])
def test_broken(house, start):
    before = house.check()
    house.store.close()
    path = os.path.join(house.folder, index.FILE)
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(os.urandom(os.path.getsize(path) - start))
    with House(house.folder) as again:
        try:
            again.account.open("INBOX").close()
        except errors.Unavailable:
            pass  # it found the damage
        assert again.check(is_whole=False) == before
        again.derive()
        assert again.check() == before


def test_a_table_is_gone(house):
    """Somebody else's program changed the database."""
    before = house.check()
    house.account.index._database.execute("DROP TABLE sent")
    assert house.check(is_whole=False) == before
    house.account.open("INBOX").close()
    house.derive()
    assert house.check() == before


def test_a_full_disk(house, monkeypatch):
    before = house.check()
    house.deliver(30)

    def full(*_):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(house.account.index.derived, "add_searchable", full)
    with pytest.raises(errors.NoSpace):
        house.derive()
    monkeypatch.undo()
    assert len(house.check(is_whole=False)) == len(before) + 1
    house.derive()
    house.check()


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]))
