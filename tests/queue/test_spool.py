"""The spool: what is committed is complete, one claim at a time in all threads and processes, and
nothing is left behind."""
import errno
import logging
import os
import subprocess
import sys
import threading
from collections import namedtuple

import pytest

from phenmail_protocols.disk import atomic
from phenmail_protocols.mail.address import Address
from phenmail_protocols.mail.reply import Reply
from phenmail_protocols.queue import spool as spools
from phenmail_protocols.queue import spool_files
from phenmail_protocols.queue.model import DONE, FAILED, WAITING, Message, Recipient
from phenmail_protocols.queue.spool import (
    Broken,
    Busy,
    NoSpace,
    NoSuchMessage,
    Spool,
    SpoolError,
    Unavailable,
)

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BODY = b"Subject: tea\r\n\r\nAt five.\r\n"
OK = Reply(250, "2.0.0", "taken", "mx.example.com")


def message(identity, *names, **fields):
    names = names or ("bob@example.com",)
    return Message(
        identity, Address("ann", "example.org"),
        tuple(Recipient(Address.parse(name)) for name in names), 1000.0)._replace(**fields)


def queue(spool, identity, *names, **fields):
    with spool.begin(identity) as arriving:
        arriving.write(BODY)
        return arriving.commit(message(identity, *names, **fields))


def done(given, domain=None):
    """The message with all recipients, or those of one domain, DONE."""
    return given._replace(
        recipients=tuple(
            each._replace(status=DONE, reply=OK) if domain in (None, each.address.domain) else each
            for each in given.recipients))


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "system" / "queue")


@pytest.fixture
def spool(folder):
    return Spool(folder)


def test_a_committed_message_is_there_with_its_octets(spool, folder):
    with spool.begin("1.a") as arriving:
        arriving.write(BODY[:5])
        arriving.write(BODY[5:])
        assert arriving.size == len(BODY)
        with open(arriving.path, "rb") as file:
            assert file.read() == BODY
        assert spool.identities() == []
        kept = arriving.commit(message("1.a", head=b"X: y\r\n"))
    assert kept == message("1.a", head=b"X: y\r\n", size=len(BODY) + 6)
    assert Spool(folder).identities() == ["1.a"]
    assert Spool(folder).read("1.a") == kept
    with Spool(folder).body("1.a") as file:
        assert file.read() == BODY
    assert [os.stat(os.path.join(folder, name)).st_mode & 0o777 for name in os.listdir(folder)] == [
        0o600, 0o600]
    assert os.stat(folder).st_mode & 0o777 == 0o700


def test_what_is_not_committed_leaves_nothing(spool, folder):
    with spool.begin("1.a") as arriving:
        arriving.write(BODY)
    arriving.discard()
    with pytest.raises(SpoolError):
        arriving.commit(message("1.a"))
    assert os.listdir(folder) == []


def test_discard_after_commit_does_nothing(spool):
    with spool.begin("1.a") as arriving:
        arriving.commit(message("1.a"))
        arriving.discard()
    assert spool.identities() == ["1.a"]


def test_an_identity_is_there_once(spool):
    with spool.begin("1.a") as arriving:
        with pytest.raises(SpoolError):
            spool.begin("1.a")
        arriving.commit(message("1.a"))
    with pytest.raises(SpoolError):
        spool.begin("1.a")
    assert spool.read("1.a") == message("1.a")


@pytest.mark.parametrize(
    "identity", ["", "..", "../x", "a/b", ".hidden", "x" * 201, "a b", "a\0b", "a\n", "\u00e4"])
def test_no_name_leaves_the_folder(spool, identity):
    queue(spool, "1.a")
    for ask in (spool.begin, spool.read, spool.body, spool.claim, spool.changed):
        with pytest.raises(SpoolError):
            ask(identity)


def test_another_message_is_not_committed_in_its_place(spool):
    with spool.begin("1.a") as arriving:
        with pytest.raises(ValueError):
            arriving.commit(message("2.b"))
        with pytest.raises(ValueError):
            arriving.commit(message("1.a", recipients=()))


def test_before_the_first_message_the_queue_is_empty(spool, folder):
    assert (
        spool.identities() == [] == list(spool.messages()) == spool.take_changes() == spool.broken()
    )
    spool.sweep()
    for ask in (spool.read, spool.body, spool.claim):
        with pytest.raises(NoSuchMessage):
            ask("1.a")
    assert not os.path.exists(folder)


def test_messages_gives_all_and_leaves_out_what_is_broken(spool, folder):
    for number in range(5):
        queue(spool, "%d.a" % number)
    damage(folder, "2.a")
    assert [each.identity for each in spool.messages()] == ["0.a", "1.a", "3.a", "4.a"]


# Order on the disk.

@pytest.fixture
def steps(monkeypatch):
    """What is synced, renamed and removed, in order."""
    found = []
    for name in ("fsync", "replace", "unlink"):
        def step(*arguments, real=getattr(os, name), name=name):
            where = (
                arguments[0] if name != "fsync" else os.readlink("/proc/self/fd/%d" % arguments[0]))
            found.append("%s %s" % (name, os.path.basename(where)))
            return real(*arguments)
        monkeypatch.setattr(os, name, step)
    return found


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_commit_syncs_octets_state_and_folder_in_that_order(spool, steps):
    queue(spool, "0.a")
    del steps[:]
    queue(spool, "1.a")
    assert steps == ["fsync 1.a.body", "fsync 1.a.tmp", "replace 1.a.tmp", "fsync queue"]
    del steps[:]
    with spool.claim("1.a") as claim:
        claim.update(lambda it: it._replace(held=True))
        assert steps == ["fsync 1.a.tmp", "replace 1.a.tmp", "fsync queue"]
        del steps[:]
        claim.update(lambda it: it._replace(held=False), durable=False)
        assert steps == ["fsync 1.a.tmp", "replace 1.a.tmp"]
        del steps[:]
        claim.update(done, durable=False)
        assert steps == ["unlink 1.a.state", "unlink 1.a.body"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_octets_are_synced_once_and_again_when_more_came(spool, steps):
    queue(spool, "0.a")
    del steps[:]
    with spool.begin("1.a") as arriving:
        arriving.write(BODY)
        arriving.sync()
        arriving.sync()
        assert steps == ["fsync 1.a.body"]
        arriving.commit(message("1.a"))
    assert steps[1:] == ["fsync 1.a.tmp", "replace 1.a.tmp", "fsync queue"]
    del steps[:]
    with spool.begin("2.a") as arriving:
        arriving.write(BODY)
        arriving.sync()
        arriving.write(BODY)
        arriving.commit(message("2.a"))
    assert steps == [
        "fsync 2.a.body", "fsync 2.a.body", "fsync 2.a.tmp", "replace 2.a.tmp", "fsync queue"]


# Claims.

def test_a_claim_changes_the_message_and_the_last_change_removes_it(spool, folder):
    queue(spool, "1.a", "bob@example.com", "carl@example.net")
    with spool.claim("1.a") as claim:
        assert claim.message == spool.read("1.a")
        with claim.body() as file:
            assert file.read() == BODY
        changed = claim.update(lambda it: done(it, "example.net"))
        assert claim.message == changed == Spool(folder).read("1.a")
        assert [each.status for each in changed.recipients] == [WAITING, DONE]
        assert claim.update(done).over and claim.message.over
        with pytest.raises(NoSuchMessage):
            claim.update(done)
    assert os.listdir(folder) == []
    with pytest.raises(NoSuchMessage):
        spool.claim("1.a")


def test_a_message_that_owes_a_report_stays(spool):
    queue(spool, "1.a")
    with spool.claim("1.a") as claim:
        claim.update(
            lambda it: it._replace(
                recipients=tuple(each._replace(status=DONE, owed=FAILED) for each in it.recipients))
        )
    assert spool.read("1.a").recipients[0].owed == FAILED


def test_another_head_counts_in_the_size(spool):
    queue(spool, "1.a", head=b"X: y\r\n")
    with spool.claim("1.a") as claim:
        claim.update(lambda it: it._replace(head=b""))
    with spool.claim("1.a") as claim:
        assert claim.message.size == len(BODY)


def test_remove_takes_all(spool, folder):
    queue(spool, "1.a")
    with spool.claim("1.a") as claim:
        claim.update(done)
    assert os.listdir(folder) == []


def test_destinations_are_claimed_apart_and_see_each_others_changes(spool):
    queue(spool, "1.a", "bob@example.com", "carl@example.net")
    with spool.claim("1.a", "example.com") as first, spool.claim("1.a", "example.net") as second:
        for destination in ("example.com", None):
            with pytest.raises(Busy):
                spool.claim("1.a", destination)
        first.update(lambda it: done(it, "example.com"))
        assert second.message == first.message
        second.update(lambda it: done(it, "example.net"))
        with pytest.raises(NoSuchMessage):
            first.update(done)
        with pytest.raises(NoSuchMessage):
            spool.claim("1.a", "example.edu")
    assert spool.identities() == []


def test_the_whole_message_excludes_its_destinations_until_it_is_let_go(spool):
    queue(spool, "1.a")
    claim = spool.claim("1.a")
    for destination in ("example.com", None):
        with pytest.raises(Busy):
            spool.claim("1.a", destination)
    claim.close()
    claim.close()
    with spool.claim("1.a", "example.com"):
        pass


def test_a_claim_waits_for_another_thread(spool):
    queue(spool, "1.a")
    first = spool.claim("1.a", "example.com")
    got = []
    thread = threading.Thread(target=lambda: got.append(spool.claim("1.a", timeout=30)))
    thread.start()
    first.close()
    thread.join(30)
    assert len(got) == 1, "it was let go and not taken"
    got[0].close()


def test_a_claim_that_waits_in_vain_says_so(spool):
    queue(spool, "1.a")
    with spool.claim("1.a"), pytest.raises(Busy, match="1.a is being sent now"):
        spool.claim("1.a", timeout=0.01)


def test_many_threads_change_one_message_and_no_change_is_lost(spool):
    names = ["u@d%d.example" % number for number in range(8)]
    queue(spool, "1.a", *names)

    def work(number):
        for _ in range(5):
            with spool.claim("1.a", "d%d.example" % number) as claim:
                claim.update(
                    lambda it: it._replace(
                        recipients=tuple(
                            each._replace(
                                attempts=each.attempts
                                + (each.address.domain == "d%d.example" % number))
                            for each in it.recipients)),
                    durable=False)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [each.attempts for each in spool.read("1.a").recipients] == [5] * 8


def test_one_thread_of_many_gets_the_message_and_removes_it_once(spool):
    for number in range(20):
        queue(spool, "%d.a" % number)
    removed = []

    def work():
        for identity in spool.identities():
            try:
                with spool.claim(identity) as claim:
                    claim.update(done, durable=False)
                    removed.append(identity)
            except (Busy, NoSuchMessage):
                pass
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(removed) == sorted("%d.a" % number for number in range(20))


OTHER = """
import sys
sys.path.insert(0, %r)
from phenmail_protocols.queue.spool import Busy, Spool
spool = Spool(sys.argv[1])
try:
    claim = spool.claim("1.a")
except Busy as error:
    print(error)
    sys.exit(3)
claim.update(lambda it: it._replace(held=True))
spool.changed("1.a")
print("claimed", flush=True)
sys.stdin.readline()
""" % TOP


def test_processes_exclude_each_other_and_a_killed_one_leaves_no_claim(spool, folder):
    queue(spool, "1.a")
    with spool.claim("1.a", "example.com"):
        process = subprocess.Popen([sys.executable, "-c", OTHER, folder], stdout=subprocess.PIPE)
        assert b"another program" in process.communicate(timeout=60)[0] and process.returncode == 3
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"claimed\n"
        assert spool.read("1.a").held
        with pytest.raises(Busy):
            spool.claim("1.a")
    finally:
        process.kill()
        process.communicate()
    with spool.claim("1.a") as claim:
        assert claim.message.held
    assert spool.take_changes() == ["1.a"]
    assert spool.take_changes() == []


# News.

def test_watchers_hear_of_commits_and_changes(spool, folder, caplog):
    heard = []

    def fail(_):
        raise RuntimeError("no")
    spool.watch(fail)
    spool.watch(lambda identity: heard.append((identity, spool.claim(identity).close())))
    with caplog.at_level(logging.CRITICAL):
        queue(spool, "1.a")
        spool.changed("1.a")
    assert heard == [("1.a", None)] * 2, "it is told when it can be claimed"
    assert spool.take_changes() == []


def test_what_is_no_name_among_the_changes_is_removed(spool, folder):
    queue(spool, "1.a")
    spool.changed("1.a")
    open(os.path.join(folder, "changes", ".x"), "w").close()
    assert spool.take_changes() == ["1.a"]
    assert os.listdir(os.path.join(folder, "changes")) == []


# What goes wrong.

def damage(folder, identity, data=b"{"):
    with open(os.path.join(folder, identity + ".state"), "wb") as file:
        file.write(data)


@pytest.mark.parametrize(
    "ask", [lambda spool: spool.read("1.a"), lambda spool: spool.claim("1.a")],
    ids=["read", "claim"])
def test_a_broken_state_is_set_aside_with_its_octets_and_the_rest_goes_on(
    spool, folder, caplog, ask):
    queue(spool, "1.a")
    queue(spool, "2.b")
    damage(folder, "1.a")
    with pytest.raises(Broken):
        ask(spool)
    with pytest.raises(NoSuchMessage):
        ask(spool)
    assert "1.a is set aside" in caplog.text
    assert spool.identities() == ["2.b"] and spool.broken() == ["1.a"]
    spool.sweep()
    with pytest.raises(SpoolError):
        spool.begin("1.a")
    # A person mends it.
    damage(folder, "1.a", spool_files.state_file.encode(message("1.a", size=len(BODY))))
    with spool.claim("1.a") as claim, claim.body() as file:
        assert file.read() == BODY


def test_octets_that_are_not_as_many_as_they_were_are_not_sent(spool, folder):
    queue(spool, "1.a")
    os.truncate(os.path.join(folder, "1.a.body"), 3)
    with pytest.raises(Broken):
        spool.claim("1.a")
    assert spool.broken() == ["1.a"]


def test_a_state_of_any_size_is_not_read(spool, folder):
    queue(spool, "1.a")
    os.truncate(os.path.join(folder, "1.a.state"), 1 << 33)
    with pytest.raises(Broken):
        spool.read("1.a")


def test_sweep_removes_what_a_crash_left_and_nothing_else(spool, folder, caplog):
    queue(spool, "1.a")
    queue(spool, "2.b")
    for name in (
        "3.c.body", "2.b.tmp", "4.d.tmp", "5.e.body", "5.e.tmp", ".body", "x y.tmp", "notes.txt"):
        open(os.path.join(folder, name), "w").close()
    os.unlink(os.path.join(folder, "2.b.body"))
    with spool.begin("6.f") as arriving, spool.claim("1.a"):
        arriving.write(BODY)
        open(os.path.join(folder, "6.f.tmp"), "w").close()
        Spool(folder).sweep()
        arriving.commit(message("6.f"))
    assert sorted(os.listdir(folder)) == [
        ".body", "1.a.body", "1.a.state", "6.f.body", "6.f.state", "notes.txt", "x y.tmp"]
    assert "2.b: the message file is missing" in caplog.text


def test_a_leftover_temporary_hinders_no_update(spool, folder):
    queue(spool, "1.a")
    with open(os.path.join(folder, "1.a.tmp"), "wb") as file:
        file.write(b"x" * 10000)
    with spool.claim("1.a") as claim:
        claim.update(lambda it: it._replace(held=True))
    assert spool.read("1.a").held and sorted(os.listdir(folder)) == ["1.a.body", "1.a.state"]


Room = namedtuple("Room", "f_bavail f_frsize")


def test_some_of_the_disk_stays_free(folder, monkeypatch):
    spool = Spool(folder, reserve=1000)
    queue(spool, "1.a")
    monkeypatch.setattr(os, "statvfs", lambda path: Room(1, 999))
    with pytest.raises(NoSpace):
        spool.begin("2.b")
    with spool.claim("1.a") as claim:
        claim.update(lambda it: it._replace(held=True))


def test_a_large_message_does_not_take_what_stays_free(folder, monkeypatch):
    spool = Spool(folder, reserve=1000)
    with spool.begin("1.a") as arriving:
        monkeypatch.setattr(os, "statvfs", lambda path: Room(1, 999))
        with pytest.raises(NoSpace):
            for _ in range(20):
                arriving.write(bytes(1024 * 1024))
        assert os.listdir(folder) == []


def failing(monkeypatch, name, nth, error):
    """From now on the nth call of an os function fails."""
    calls = []

    def fail(*arguments, **more):
        calls.append(arguments)
        if len(calls) >= nth:
            raise OSError(error, os.strerror(error))
        return real(*arguments, **more)
    real = getattr(os, name)
    monkeypatch.setattr(os, name, fail)


@pytest.mark.parametrize(
    "name, nth",
    [("write", 1), ("write", 2), ("fsync", 1), ("fsync", 2), ("fsync", 3), ("replace", 1)])
@pytest.mark.parametrize(
    "error, kind", [(errno.ENOSPC, NoSpace), (errno.EDQUOT, NoSpace), (errno.EIO, Unavailable)])
def test_a_commit_that_fails_leaves_nothing(spool, folder, monkeypatch, name, nth, error, kind):
    queue(spool, "0.a")
    heard = []
    spool.watch(heard.append)
    with monkeypatch.context() as patch:
        failing(patch, name, nth, error)
        with pytest.raises(kind):
            queue(spool, "1.a")
    assert sorted(os.listdir(folder)) == ["0.a.body", "0.a.state"] and heard == []
    queue(spool, "1.a")


@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
def test_a_change_that_finds_no_room_holds_in_this_process(spool, folder, monkeypatch, name):
    """Else mail would be sent again and again while the disk is full."""
    queue(spool, "1.a", "bob@example.com", "carl@example.net")
    with monkeypatch.context() as patch:
        failing(patch, name, 1, errno.ENOSPC)
        with spool.claim("1.a") as claim:
            with pytest.raises(NoSpace):
                claim.update(lambda it: done(it, "example.com"))
            assert claim.message.recipients[0].status == DONE
        with spool.claim("1.a") as claim:
            assert claim.message.recipients[0].status == DONE
    assert spool.read("1.a").recipients[0].status == WAITING
    assert sorted(os.listdir(folder)) == ["1.a.body", "1.a.state"]
    with spool.claim("1.a") as claim:
        claim.update(lambda it: it._replace(held=True))
    assert spool.read("1.a").recipients[0].status == DONE


def test_a_change_whose_name_could_not_be_synced_is_to_be_written_again(spool, monkeypatch):
    queue(spool, "1.a")
    with monkeypatch.context() as patch, spool.claim("1.a") as claim:
        failing(patch, "fsync", 2, errno.EIO)  # the folder's
        with pytest.raises(Unavailable):
            claim.update(lambda it: it._replace(held=True))
    assert spool.read("1.a").held and spool.is_unsaved("1.a")
    with spool.claim("1.a") as claim:
        claim.update(lambda it: it)
    assert spool.read("1.a").held and not spool.is_unsaved("1.a")


def test_a_newer_change_by_another_process_wins_over_one_that_found_no_room(
    spool, folder, monkeypatch):
    queue(spool, "1.a", "bob@example.com", "carl@example.net")
    with monkeypatch.context() as patch, spool.claim("1.a") as claim:
        failing(patch, "write", 1, errno.ENOSPC)
        with pytest.raises(NoSpace):
            claim.update(lambda it: done(it, "example.com"))
    with Spool(folder).claim("1.a") as claim:
        claim.update(lambda it: it._replace(held=True))
    for _ in range(2):
        with spool.claim("1.a") as claim:
            assert claim.message == spool.read("1.a") and claim.message.held


def test_a_disk_that_fails_is_no_broken_message(spool, folder, monkeypatch):
    queue(spool, "1.a")
    with monkeypatch.context() as patch:
        failing(patch, "fstat", 1, errno.EIO)
        with pytest.raises(Unavailable):
            spool.read("1.a")
    assert spool.identities() == ["1.a"]


def test_threads_that_commit_together_share_the_folders_flush(spool, monkeypatch):
    queue(spool, "0.a")
    flushes, begun, go_on = [], threading.Event(), threading.Event()

    def slow(path, real=atomic.sync_directory):
        flushes.append(path)
        begun.set()
        assert go_on.wait(30)
        real(path)
    monkeypatch.setattr(atomic, "sync_directory", slow)
    threads = [threading.Thread(target=queue, args=(spool, "%d.b" % number)) for number in range(6)]
    threads[0].start()
    assert begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    deadline = spools.time.monotonic() + 30
    while len(spool.identities()) < 7 and spools.time.monotonic() < deadline:
        pass
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert len(spool.identities()) == 7 and 2 <= len(flushes) < 6


def test_who_made_a_name_before_a_flush_failed_relies_on_no_later_one(spool, folder, monkeypatch):
    queue(spool, "0.a")
    with spool.begin("1.a") as arriving:
        with monkeypatch.context() as patch:
            failing(patch, "fsync", 3, errno.EIO)  # the folder's
            with pytest.raises(Unavailable):
                queue(spool, "2.a")
        with pytest.raises(Unavailable):
            arriving.commit(message("1.a"))
    assert spool.identities() == ["0.a"]
    queue(spool, "1.a")


def test_names_are_listed_without_opening_a_file(spool, folder, monkeypatch):
    queue(spool, "0.a")
    for number in range(1, 300):
        open(os.path.join(folder, "%03d.b.state" % number), "w").close()

    def refuse(*_):
        raise AssertionError("a file was opened")
    monkeypatch.setattr(spool_files.state_file, "decode", refuse)
    assert len(spool.identities()) == 300


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_what_root_makes_beside_another_users_server_belongs_to_that_user(spool, folder):
    queue(spool, "1.a")
    os.chown(folder, 12345, 12345)
    with spool.claim("1.a") as claim:
        claim.update(lambda it: it._replace(held=True))
    spool.changed("1.a")
    queue(spool, "2.b")
    for name in ("1.a.state", "2.b.body", "2.b.state", "changes"):
        status = os.stat(os.path.join(folder, name))
        assert (name, status.st_uid, status.st_gid) == (name, 12345, 12345)


def test_a_failed_sync_forgets_no_result_of_another_claim(tmp_path, monkeypatch):
    """One destination's state is renamed and waits for the sync, which will fail; meanwhile the
    other's cannot be written, because the disk is full."""
    spool = Spool(str(tmp_path / "queue"))
    queue(spool, "X", "ann@a.example", "bob@b.example", "carl@c.example")
    files = spool._files
    first, second = spool.claim("X", "a.example"), spool.claim("X", "b.example")

    def full(_):
        raise NoSpace("full")

    def sync(_):
        monkeypatch.undo()
        with monkeypatch.context() as patch:
            patch.setattr(files, "write_state", full)
            with pytest.raises(NoSpace):
                second.update(lambda given: done(given, "b.example"), durable=False)
        raise Unavailable("EIO")

    monkeypatch.setattr(files, "sync", sync)
    with pytest.raises(Unavailable):
        first.update(lambda given: done(given, "a.example"))
    first.close()
    second.close()
    with spool.claim("X") as claim:
        assert [each.status for each in claim.message.recipients] == [DONE, DONE, WAITING]


def test_a_refused_message_does_not_come_back_after_a_power_failure(tmp_path, monkeypatch):
    """Its state had a name for a moment: the removal is synced, too."""
    spool, synced = Spool(str(tmp_path / "queue")), []
    files = spool._files
    real = files.sync

    def sync(mark):
        synced.append(sorted(os.listdir(files.folder)))
        if len(synced) == 1:
            raise Unavailable("EIO")
        real(mark)
    monkeypatch.setattr(files, "sync", sync)
    with pytest.raises(Unavailable):
        queue(spool, "X")
    assert len(synced) == 2 and not [name for name in synced[1] if name.startswith("X")]
