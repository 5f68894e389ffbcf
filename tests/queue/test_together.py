"""What one destination costs the others: a whole server with mail for servers that are down, that
hang, and that answer."""
import os
import shutil
import tempfile
import threading
import time

import pytest

from phenmail_protocols.mail.address import Address
from phenmail_protocols.queue.model import DONE, WAITING, Message, Recipient

from ..relay.peers import smtp
from .lifehouse import LifeHouse, World
from .queuehouse import DEADLINE

HANGING = 30        # destinations; more than there are connections
PLACES = {"banner": "CONNECT", "hello": "EHLO", "envelope": "MAIL", "data": "DATA", "end": "."}
QUEUED = int(os.environ.get("RELAY_QUEUED", "2000"))


class Fine:
    """The script of a server that accepts everything, and counts."""

    def __init__(self):
        self._changed = threading.Condition()
        self._count = 0
        self._usual = smtp(["PIPELINING"], {".": self._taken})

    def __call__(self, talk):
        self._usual(talk)

    def _taken(self, talk, line):
        with self._changed:
            self._count += 1
            self._changed.notify_all()
        return "250 2.0.0 kept"

    def take(self, number, begun=0.0):
        """Wait for so many more messages -> seconds since `begun`."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._count >= number, DEADLINE), (
                "%d of %d came" % (self._count, number))
            self._count -= number
            return time.monotonic() - begun


def hanging(place):
    """The script of a server that sends one octet of a reply and then nothing. To a client that is
    like an octet a minute."""
    return smtp(["PIPELINING"], {place: lambda talk, line: talk.send(b"2")})


@pytest.fixture(scope="module")
def world():
    scripts = {"hangs%d.example" % number: hanging("CONNECT") for number in range(HANGING)}
    scripts.update({name + ".example": hanging(place) for name, place in PLACES.items()})
    with World(dict(scripts, **{"dead.example": None, "fine.example": Fine()})) as world:
        yield world


@pytest.fixture
def house(world, monkeypatch):
    """In memory if the machine has such a folder, because a disk's fsync must not be measured."""
    folder = tempfile.mkdtemp(
        prefix="phenmail-together-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    house = LifeHouse(os.path.join(folder, "root"), world, monkeypatch)
    house.start()
    send(house, "warm@fine.example")    # what is loaded with the first message
    fine(house).take(1)
    house.settle()
    yield house
    house.stop(1.0)
    shutil.rmtree(folder, ignore_errors=True)


def fine(house):
    return house.world.scripts["fine.example"]


def send(house, *recipients):
    return house.server.send_mail("alice@example.org", recipients, "Subject: x\n\nx\n")


@pytest.mark.parametrize("place", sorted(PLACES))
def test_one_message_for_the_dead_the_hanging_and_the_living(house, place):
    begun = time.monotonic()
    (identity,) = send(
        house, "bob@dead.example", "bob@%s.example" % place, "bob@fine.example", "dan@fine.example")
    assert fine(house).take(1, begun) < 1
    until(lambda: [each.attempts for each in house.queue.read(identity).recipients] == [1, 0, 1, 1])
    queue = house.queue
    begun = time.monotonic()
    house.stop(1.0)
    assert time.monotonic() - begun < 2, "it does not stop in time"
    dead, hangs, bob, dan = queue.read(identity).recipients
    assert (dead.status, dead.attempts, bob.status, dan.status) == (WAITING, 1, DONE, DONE)
    assert (hangs.status, hangs.attempts) == (WAITING, 0), (
        "an attempt that the stop cut short was never made")


def until(condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it does not come to that"
        time.sleep(0.005)


def test_many_messages_for_all_three(house):
    before = len(house.world.peers["banner.example"].talks)
    begun = time.monotonic()
    for _ in range(40):
        send(house, "bob@dead.example", "bob@banner.example", "bob@fine.example")
    queued = time.monotonic() - begun
    assert fine(house).take(40, begun) < queued + 1
    begun = time.monotonic()
    send(house, "late@fine.example")
    assert fine(house).take(1, begun) < 1
    assert len(house.world.peers["banner.example"].talks) - before <= 2, (
        "more connections to one destination than it may have")


def test_more_that_hang_than_there_are_connections(house):
    for number in range(HANGING):
        send(house, *["%s@hangs%d.example" % (name, number) for name in ("bob", "dan")])
    status = house.server.relay.worker.status()
    assert status.active <= 15, "those that hang take the slots of all"
    for _ in range(5):
        begun = time.monotonic()
        send(house, "bob@fine.example", "bob@hangs1.example")
        assert fine(house).take(1, begun) < 1


def queue_up(house, name, number):
    """Queue messages for a dead server directly, because signing must not be measured."""
    for count in range(number):
        identity = "%s.%d" % (name, count)
        recipients = (Recipient(Address(identity, "dead.example")),)
        with house.queue.begin(identity) as arriving:
            arriving.write(b"Received: here\r\nSubject: x\r\n\r\n" + b"x" * 2000 + b"\r\n")
            arriving.commit(
                Message(
                    identity, Address("alice", "example.org"), recipients, house.clock(),
                    head=b"X: signature\r\n" * 40))


def memory():
    """The memory of this process in octets."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="where memory is seen otherwise")
def test_thousands_for_the_dead_cost_little_memory_and_the_living_no_time(house):
    """10 000 messages may take 20 MB, and live mail a second. This tests it with fewer; what the
    test itself holds counts too."""
    queue_up(house, "first", 50)
    house.settle()
    before, times = memory(), []
    thread = threading.Thread(target=queue_up, args=(house, "more", QUEUED), daemon=True)
    thread.start()
    while thread.is_alive() or not times:
        begun = time.monotonic()
        send(house, "bob@fine.example")
        times.append(fine(house).take(1, begun))
    house.settle()
    assert house.server.relay.worker.status().destinations == {"dead.example": QUEUED + 50}
    assert max(times) < 1
    grown = memory() - before
    print("grown by %d octets, %d a message; live mail takes %.3f s, %.3f at most" % (
        grown, grown // QUEUED, sorted(times)[len(times) // 2], max(times)))
    assert grown < QUEUED * 2000 + 3000000
    house.stop()
    house.start()
    until(lambda: house.server.relay.worker.status().messages == QUEUED + 50)
    begun = time.monotonic()
    send(house, "bob@fine.example")
    assert fine(house).take(1, begun) < 1
