"""The service: users' files, threads, failures, and its end."""
import json
import logging
import os
import threading
import time

import pytest

from phenmail_protocols.fetch import identity, job, orders, service, status
from phenmail_protocols.fetch.places import Places
from phenmail_protocols.fetch.source import FetchError, LoginRefused, Source, Throttled

from .scripted import Account, House, account


@pytest.fixture
def remote():
    return Account()


@pytest.fixture
def house(tmp_path, remote):
    house = House(tmp_path / "root", remote)
    yield house
    house.close()


def eventually(condition, what="it happens", seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def test_mail_of_all_users_comes(house, remote):
    remote.put(1)
    house.configure(account(period=1))
    house.configure(account(period=1, username="bert"), user="bert")
    house.fetching.start()
    eventually(lambda: house.subjects() == house.subjects(user="bert") == ["m1"])
    remote.put(2)
    eventually(lambda: house.subjects() == house.subjects(user="bert") == ["m1", "m2"])


def test_idle_brings_mail_at_once(house, remote):
    remote.can_wait = True
    house.configure(account(period="1 h"))
    house.fetching.start()
    eventually(lambda: remote.wakers)
    for number in range(3):
        began = time.monotonic()
        remote.put(number)
        eventually(lambda: len(house.messages()) == number + 1)
        eventually(lambda: remote.wakers)
        assert time.monotonic() - began < 2
    assert remote.logins == 1


def test_a_server_that_always_announces_mail_is_not_asked_all_the_time(house, remote):
    remote.can_wait = True
    waits = []

    class Eager(type(remote.open_source(Named(), "right", 1))):
        def wait(self, seconds, wake):
            waits.append(time.monotonic())
            return True
    house.fetching._open_source = lambda account, passphrase, limit, **more: Eager(
        remote, False, more["began"])
    house.configure(account(period="1 h"))
    house.fetching.start()
    eventually(lambda: len(waits) >= 4)
    assert waits[3] - waits[0] > 2.5 * service._LEAST


def test_all_connections_of_an_account_have_one_source_of_tokens(house, remote):
    tokens = []

    def open_source(account, passphrase, limit, token=None, **more):
        tokens.append(token)
        return remote.open_source(account, "right", limit, **more)
    house.fetching._open_source = open_source
    house.configure(account(protocol="pops", auth="oauth2", provider={
        "token-endpoint": "https://login.example/token", "client-id": "me",
        "device-endpoint": "https://login.example/device"}))
    assert [house.look() for _ in range(2)] == ["", ""]
    assert len(tokens) == 2 and tokens[0] is tokens[1] is not None


def test_a_root_that_is_a_link(tmp_path, remote):
    (tmp_path / "real").mkdir()
    os.symlink(str(tmp_path / "real"), str(tmp_path / "root"))
    house = House(tmp_path / "root", remote)
    remote.put(1)
    house.configure(account())
    assert house.look() == ""
    assert b"Delivered-To: alice@example.org" in house.messages()[0]
    assert list(house.store._accounts) == [house.path("alice", "mail")]
    house.close()


def test_without_idle_the_connection_is_closed(house, remote):
    remote.can_wait = True
    closed = []

    class Counting(type(remote.open_source(Named(), "right", 1))):
        def close(self):
            closed.append(self)
    remote.open_source = lambda account, passphrase, limit, **more: Counting(
        remote, False, more["began"])
    house.fetching._open_source = remote.open_source
    house.configure(account(period="1 h", idle=False))
    house.fetching.start()
    eventually(lambda: len(closed) == 1)
    eventually(lambda: not house.job().is_running)
    assert not remote.wakers


class Named:
    protocol, username = "imap", "alice"


def test_a_lost_idle_connection_is_made_again(house, remote, monkeypatch):
    monkeypatch.setattr(job.random, "uniform", lambda low, high: low / 100)
    remote.can_wait = True
    house.configure(account(period="1 h"))
    house.fetching.start()
    eventually(lambda: remote.wakers)
    house.job()._wire.abort()
    eventually(lambda: remote.logins == 2 and remote.wakers)
    assert house.job().status.error == ""


@pytest.mark.parametrize("error", [
    FetchError("closed the connection"), Throttled("too many", 7000), NotImplementedError()])
def test_waiting_that_fails_at_once_is_not_tried_all_the_time(house, remote, monkeypatch, error):
    monkeypatch.setattr(job.random, "uniform", lambda low, high: high)
    house.configure(account(period="1 h"))
    one = house.job()
    one._rounds.wait = lambda seconds, waker: throw(error)
    pauses = []
    for _ in range(12):
        one.due = 5000.0 + time.monotonic()
        assert one.wait(1.0) is False
        pauses.append(round(one.due - time.monotonic()))
    assert pauses == {
        FetchError: [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600],
        Throttled: [7000] * 12, NotImplementedError: [5000] * 12}[type(error)]


def throw(error):
    raise error


def test_a_changed_file_is_read_again(house, remote):
    remote.put(1)
    remote.boxes["Other"] = {}
    remote.put(2, "Other")
    remote.can_wait = True
    house.configure(account(period="1 h"))
    house.fetching.start()
    eventually(lambda: house.subjects() == ["m1"] and remote.wakers)
    house.configure(account(period="1 h", boxes=["Inbox", "Other"]))
    eventually(lambda: house.subjects() == ["m1", "m2"])
    house.configure()
    eventually(lambda: not house.fetching._jobs() and not remote.wakers)
    eventually(lambda: not house.fetching._workers.jobs())


def test_a_changed_account_waits_for_its_predecessor(house, remote):
    remote.put(1)
    reading, gate = threading.Event(), threading.Event()

    def before(step):
        if step == "read":
            reading.set()
            assert gate.wait(10)
    remote.before = before
    house.configure(account())
    house.fetching.start()
    assert reading.wait(10)
    first = house.fetching._jobs()[0]
    house.configure(account(period="2 h"))
    eventually(first.is_stopped)
    time.sleep(0.1)
    assert remote.logins == 1
    gate.set()
    eventually(lambda: house.subjects() == ["m1"])
    eventually(lambda: not house.job().is_running)
    assert house.subjects() == ["m1"] and remote.logins == 2


def test_an_unchanged_account_goes_on_when_another_changes(house, remote):
    house.configure(account(), account(username="second"))
    first, second = house.job(0), house.job(1)
    house.configure(account(), account(username="second", period="2 h"))
    assert house.job(0) is first and house.job(1) is not second


def test_a_broken_file_stops_only_its_owner(house, remote, caplog):
    remote.put(1)
    with open(house.path("bert", "system", "config", "mail-fetcher.jcfg"), "w") as file:
        file.write('{"accounts": [\n  {"server" "x"}]}')
    house.configure(account())
    house.fetching.start()
    eventually(lambda: house.subjects() == ["m1"])
    said, = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert "no mail is fetched for bert" in said and "mail-fetcher.jcfg:2:13" in said


@pytest.mark.parametrize("put", ["pipe", "link", "huge"])
def test_a_file_that_is_none_is_an_error(house, remote, caplog, put):
    path = house.path("alice", "system", "config", "mail-fetcher.jcfg")
    if put == "pipe":
        os.mkfifo(path)
    elif put == "link":
        with open(house.path("bert", "secret"), "w") as file:
            json.dump({"accounts": []}, file)
        os.symlink(house.path("bert", "secret"), path)
    else:
        with open(path, "wb") as file:
            file.truncate(2 ** 32)
    house.fetching.look()
    assert "no mail is fetched for alice" in caplog.text
    caplog.clear()
    house.fetching.look()
    assert caplog.text == ""


def test_another_device_fetches(house, remote):
    house.configure(account(), device="other")
    house.fetching.look()
    assert house.fetching._jobs() == []
    house.configure(account(), device="device")
    house.fetching._read_files()
    assert len(house.fetching._jobs()) == 1


def test_an_order_is_taken(house, remote):
    house.configure(account(period="1 h"))
    house.fetching.start()
    eventually(lambda: remote.logins == 1)
    remote.put(1)
    orders.give(house.root.mail_system, house.job().order)
    eventually(lambda: house.subjects() == ["m1"])
    assert orders.take(house.root.mail_system) == []
    remote.can_wait = True
    orders.give(house.root.mail_system, house.job().order)
    eventually(lambda: remote.wakers)
    logins = remote.logins
    remote.wakers_before = None
    remote.boxes["INBOX"][7] = (b"Subject: m7\r\n\r\n", (), None)
    remote.next_uid["INBOX"] = 8
    orders.give(house.root.mail_system, house.job().order)
    eventually(lambda: house.subjects() == ["m1", "m7"])
    assert remote.logins == logins


def test_an_order_during_a_round_leads_to_another_round(house, remote):
    steps = []

    def before(step):
        steps.append(step)
        if step == "open" and steps.count("open") == 1:
            house.job().hurry()
    remote.before = before
    house.configure(account(period="1 h"))
    house.fetching.start()
    eventually(lambda: steps.count("open") == 2)


def test_rounds_are_bounded(house, remote):
    """More accounts than rounds at once: all get their turn, and never more than AT_ONCE."""
    for user in ("alice", "bert"):
        house.configure(*[account(username="user%d" % number) for number in range(15)], user=user)
    running, most, lock, gate = [0], [0], threading.Lock(), threading.Event()

    class Slow(Source):
        def open(self, name):
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            gate.wait(5)
            with lock:
                running[0] -= 1
            raise FetchError("enough")

        def close(self):
            pass
    house.fetching._open_source = lambda *arguments, **options: Slow()
    house.fetching.start()
    eventually(lambda: running[0] == service.AT_ONCE[0])
    gate.set()
    eventually(lambda: all(each.status.error == "enough" for each in house.fetching._jobs()))
    assert most[0] == service.AT_ONCE[0]


def test_one_users_hanging_servers_hold_up_nobody_else(house, remote):
    remote.put(1)
    house.configure(*[account(server="hangs%d" % number) for number in range(20)])
    house.configure(account(), user="bert")
    gate = threading.Event()

    def open_source(account, *arguments, **options):
        if account.server.startswith("hangs"):
            gate.wait(20)
            raise FetchError("enough")
        return remote.open_source(account, *arguments, **options)
    house.fetching._open_source = open_source
    house.fetching.start()
    eventually(lambda: house.subjects(user="bert") == ["m1"])
    gate.set()


def test_slow_servers_of_some_users_hold_up_nobody_for_long(house, remote, monkeypatch):
    monkeypatch.setattr(service, "_PATIENCE", 0.05)
    monkeypatch.setattr(service, "_LONGEST", 0.05)
    house.fetching._rounds = Places(1, 1)
    remote.put(1)
    slow, alice, end = threading.Event(), [], time.monotonic() + 10

    def before(step):
        if step == "piece" and not house.subjects(user="bert"):
            alice[:] = [each for each in house.fetching._jobs() if each.owner == "alice"]
            slow.set()
            while not alice[0].is_stopped() and time.monotonic() < end:
                time.sleep(0.005)
    remote.before = before
    house.configure(account())
    house.fetching.start()
    assert slow.wait(10)
    remote.before = lambda step: None
    house.configure(account(), user="bert")
    eventually(lambda: house.subjects(user="bert") == ["m1"])
    eventually(lambda: alice[0].status.error)
    assert "accounts of other users waited" in alice[0].status.error
    assert house.subjects() == []
    alice[0].hurry()
    eventually(lambda: house.subjects() == ["m1"])


def test_idle_accounts_leave_room_for_others(house, remote):
    remote.can_wait = True
    house.configure(*[account(username="user%d" % number) for number in range(30)])
    house.fetching.start()
    eventually(lambda: len(remote.wakers) == 30)


def test_idle_accounts_are_bounded(house, remote, monkeypatch):
    house.fetching._idle = Places(3, 3)
    remote.can_wait = True
    house.configure(*[account(username="user%d" % number) for number in range(6)])
    house.fetching.start()
    eventually(lambda: all(each.status.last_success for each in house.fetching._jobs())
               and len(remote.wakers) == 3)


def test_stop_does_not_wait_for_a_hanging_server(house, remote):
    hanging = threading.Event()

    class Hanging(Source):
        def __init__(self, began):
            self._aborted = threading.Event()
            began(self)
            hanging.set()
            assert self._aborted.wait(30)
            raise FetchError("stopped")

        def abort(self):
            self._aborted.set()
    house.fetching._open_source = lambda *arguments, **options: Hanging(options["began"])
    house.configure(account())
    house.fetching.start()
    assert hanging.wait(10)
    began = time.monotonic()
    house.fetching.stop()
    assert time.monotonic() - began < 2
    assert not [thread for thread in threading.enumerate() if "fetch" in thread.name]


def test_a_stop_within_a_message_leaves_nothing_half(house, remote):
    remote.put(1)
    stopper = []

    def before(step):
        if step == "piece" and not stopper:
            thread = threading.Thread(target=house.fetching.stop)
            thread.start()
            stopper.append(thread)
            eventually(house.job().is_stopped)
    remote.before = before
    house.configure(account(remove=True))
    house.fetching.start()
    eventually(lambda: stopper)
    stopper[0].join()
    assert house.subjects() == [] and remote.removed == []
    assert os.listdir(house.path("alice", "mail", "tmp")) == []
    remote.before = lambda step: None
    house.close()
    house.open()
    assert house.look() == "" and house.subjects() == ["m1"]


def test_a_clean_stop_leaves_no_doubt(house, remote):
    remote.put(1)
    house.configure(account())
    house.fetching.start()
    eventually(lambda: house.job().status.last_success)
    house.fetching.stop()
    states = house.path("alice", "system", "config", "mail-fetcher.state")
    name, = os.listdir(states)
    with open(os.path.join(states, name), "rb") as file:
        assert file.read().endswith(b"\n-\n")


def test_failures_wait_longer_each_time(house, remote, monkeypatch):
    monkeypatch.setattr(job, "_spread", lambda seconds: seconds)
    house.configure(account())
    one = house.job()
    remote.error = FetchError("no")
    assert [one.look() for _ in range(8)] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    remote.error = LoginRefused("no")
    assert one.look() == 21600
    remote.error = None
    assert one.look() == 300
    one.leave()
    remote.error = LoginRefused("no")
    assert [one.look() for _ in range(2)] == [900, 1800]
    one.hurry()
    assert one.due == 0 and one.look() == 900


def test_a_failure_is_logged_once(house, remote, caplog):
    house.configure(account())
    remote.error = FetchError("it\r\nis \x1b[1mdown")
    for _ in range(3):
        house.look()
    lines = [record.getMessage() for record in caplog.records if "down" in record.getMessage()]
    assert len(lines) == 1 and "\n" not in lines[0] and "\x1b" not in lines[0]
    assert lines[0].startswith("alice/alice@imap.example.net: it")


def test_an_exception_harms_no_other_account(house, remote, caplog):
    remote.put(1)
    house.configure(account(), account(username="second"))
    one = house.job()
    one._rounds._filing.receive = None
    house.fetching.start()
    eventually(lambda: house.subjects() == ["m1"])
    eventually(lambda: one.status.error == "internal error; see the server's log")


def test_the_status_is_written(house, remote):
    remote.put(1)
    house.configure(account(name="mine"), account(username="x", passphrase="wrong"))
    assert status.read(house.root.mail_system) == {}
    house.fetching.start()
    eventually(lambda: house.job(1).status.error)
    eventually(lambda: house.job().status.last_success)
    house.fetching.stop()
    found = status.read(house.root.mail_system)
    mine = found[("alice", "mine")]
    assert mine["fetched"] == 1 and mine["error"] == "" and mine["last_success"] == house.now
    assert "refused" in found[("alice", "x@imap.example.net")]["error"]
    assert "wrong" not in json.dumps([list(each.values()) for each in found.values()])
    with open(os.path.join(house.root.mail_system, status.FILE), "w") as file:
        file.write('{"accounts": [5]}')
    assert status.read(house.root.mail_system) == {}


def test_the_same_account_has_one_key():
    class One:
        place = ("ima", "imap.example.net", "alice", 0)

    class Other:
        place = ("ima", "imap.example.net", "alic", 0)
    keys = {identity.account_key(One), identity.account_key(Other),
            identity.order_key("alice", One), identity.order_key("bert", One),
            identity.name_key("a", "b", 1, "23"), identity.name_key("a", "b", 12, "3"),
            identity.name_key("ab", "", 1, "23")}
    assert len(keys) == 7 and {len(key) for key in keys} == {32}
