"""The disk layer by itself: tiny programs that sync and programs that do not, killed, frozen, out
of space, on a clock that moves."""
import errno
import os
import random
import signal
import subprocess
import sys
import textwrap

import pytest

from . import replay


def run(layer, program, role="", check=True):
    """Runs a Python program in the root under the layer; its exit status."""
    process = subprocess.Popen([sys.executable, "-S", "-c",
                                "import os, sys\n" + textwrap.dedent(program)], cwd=layer.root,
                               env=layer.environment(role), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    output, errors = process.communicate(timeout=30)
    if check:
        assert process.returncode == 0, errors.decode()
    return process.returncode, output.decode()


def tree(folder):
    """{path: bytes} below a folder, of folders None."""
    found = {}
    for path, folders, files in os.walk(folder):
        for name in folders:
            found[os.path.relpath(os.path.join(path, name), folder)] = None
        for name in files:
            with open(os.path.join(path, name), "rb") as file:
                found[os.path.relpath(os.path.join(path, name), folder)] = file.read()
    return found


def after_power_loss(layer, ground, program, mode="strict"):
    """What the root holds when the power fails just after the program."""
    disk = replay.Disk(layer.root)
    run(layer, program)
    disk.follow(layer.records())
    assert disk.differences(layer.root) == []
    image = os.path.join(ground, "image")
    os.mkdir(image)
    getattr(disk, mode)(image)
    return tree(image)


# A durable write, step by step; each test leaves out one.
WRITE = """
    f = os.open("a.tmp", os.O_CREAT | os.O_WRONLY)
    os.write(f, b"hello ")
    os.write(f, b"world")
"""
FSYNC = """
    os.fsync(f)
"""
RENAME = """
    os.rename("a.tmp", "a")
"""
SYNC_FOLDER = """
    os.fsync(os.open(".", os.O_RDONLY))
"""


@pytest.mark.parametrize("program, left", [
    (WRITE + FSYNC + RENAME + SYNC_FOLDER, {"a": b"hello world"}),
    (WRITE + RENAME + SYNC_FOLDER, {"a": b""}),
    (WRITE + FSYNC + RENAME, {}),
    (WRITE + FSYNC + SYNC_FOLDER + RENAME, {"a.tmp": b"hello world"}),
    (WRITE + FSYNC + RENAME + SYNC_FOLDER + "    os.write(f, b'!')\n", {"a": b"hello world"}),
    (WRITE + FSYNC + RENAME + SYNC_FOLDER + "    os.unlink('a')\n", {"a": b"hello world"}),
    (WRITE + FSYNC + RENAME + SYNC_FOLDER + "    os.unlink('a')\n" + SYNC_FOLDER, {}),
    (WRITE + "    os.fdatasync(f)\n" + RENAME + SYNC_FOLDER, {"a": b"hello world"}),
    (WRITE + "    os.sync()\n", {"a.tmp": b"hello world"}),
    (WRITE + FSYNC + "    os.ftruncate(f, 3)\n" + SYNC_FOLDER, {"a.tmp": b"hello world"}),
    (WRITE + "    os.ftruncate(f, 3)\n" + FSYNC + SYNC_FOLDER, {"a.tmp": b"hel"}),
], ids=["all", "no fsync", "no folder sync", "synced before the rename", "appended", "unlinked",
        "unlinked and synced", "fdatasync", "sync",
        "truncated after", "truncated"])
def test_only_what_was_synced_survives(layer, ground, program, left):
    assert after_power_loss(layer, ground, program) == left


def test_a_new_folder_lasts_when_its_parent_is_synced_and_its_content_when_it_is(layer, ground):
    assert after_power_loss(layer, ground, """
        for name in ("one", "two"):
            os.mkdir(name)
            f = os.open(name + "/file", os.O_CREAT | os.O_WRONLY)
            os.write(f, b"x")
            os.fsync(f)
        os.fsync(os.open("two", os.O_RDONLY))
        os.fsync(os.open(".", os.O_RDONLY))
    """) == {"one": None, "two": None, "two/file": b"x"}


def test_a_rename_between_folders_is_two_changes(layer, ground):
    assert after_power_loss(layer, ground, """
        os.mkdir("new"), os.mkdir("cur"), os.mkdir("gone")
        for name in ("a", "b"):
            f = os.open("new/" + name, os.O_CREAT | os.O_WRONLY)
            os.write(f, b"x")
            os.fsync(f)
        for name in ("new", "."):
            os.fsync(os.open(name, os.O_RDONLY))
        os.rename("new/a", "cur/a")
        os.fsync(os.open("cur", os.O_RDONLY))
        os.rename("new/b", "gone/b")
    """) == {"new": None, "cur": None, "gone": None, "new/a": b"x", "new/b": b"x", "cur/a": b"x"}


def test_a_rename_inside_a_folder_is_one_change_on_every_disk(layer, ground):
    disk = replay.Disk(layer.root)
    run(layer, """
        os.close(os.open("a", os.O_CREAT | os.O_WRONLY))
        os.fsync(os.open(".", os.O_RDONLY))
        for old, new in ("ab", "bc", "cd"):
            os.rename(old, new)
        os.mkdir("other")
    """)
    disk.follow(layer.records())
    seen = set()
    for seed in range(100):
        image = os.path.join(ground, "image%d" % seed)
        os.mkdir(image)
        disk.random(image, random.Random(seed))
        seen.add(tuple(sorted(tree(image))))
    assert seen == {(name,) + other for name in "abcd" for other in ((), ("other",))}


def test_other_ways_to_write_are_seen(layer, ground):
    assert after_power_loss(layer, ground, """
        open("source", "wb").write(b"0123456789" * 10000)
        f = os.open("f", os.O_CREAT | os.O_RDWR)
        os.pwrite(f, b"abc", 2)
        os.writev(f, [b"V", b"", b"W"])
        os.lseek(f, 0, os.SEEK_END)
        s = os.open("source", os.O_RDONLY)
        while os.sendfile(f, s, os.lseek(f, 0, os.SEEK_CUR) - 5, 1 << 20):
            pass
        os.posix_fallocate(f, 0, 100010)
        os.fsync(f)
        a = os.open("a", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.write(a, b"one"), os.lseek(a, 0, 0), os.write(a, b"two"), os.fsync(a)
        os.link("a", "b")
        os.truncate("a", 4)
        os.symlink("a", "c")
        os.unlink("source")
        os.fsync(os.open(".", os.O_RDONLY))
    """) == {"f": b"VWabc" + b"0123456789" * 10000 + b"\0" * 5, "a": b"onetwo", "b": b"onetwo", "c": b"onetwo"}


def test_sqlite_is_seen_whole_and_its_commits_last(layer, ground):
    files = after_power_loss(layer, ground, """
        import sqlite3
        connection = sqlite3.connect("index", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, text)")
        for number in range(300):
            connection.execute("INSERT INTO rows VALUES (?, ?)", (number, "x" * 500))
        os.fsync(os.open(".", os.O_RDONLY))
        os._exit(0)
    """)
    import sqlite3
    assert "index-wal" in files
    connection = sqlite3.connect(os.path.join(ground, "image", "index"))
    assert connection.execute("SELECT count(*) FROM rows").fetchone() == (300,)
    connection.close()


def test_what_escapes_the_layer_is_refused_and_not_believed(layer, ground):
    disk = replay.Disk(layer.root)
    run(layer, """
        import mmap
        f = os.open("m", os.O_CREAT | os.O_RDWR)
        os.write(f, b"xxxx")
        mmap.mmap(f, 4)[0:1] = b"y"
    """)
    with pytest.raises(replay.Unwatchable):
        disk.follow(layer.records())


def test_a_file_written_without_the_layer_is_a_difference(layer):
    disk = replay.Disk(layer.root)
    with open(os.path.join(layer.root, "foreign"), "w"):
        pass
    assert disk.differences(layer.root) == ["/foreign is only on the disk"]


def test_a_random_disk_has_every_allowed_state_and_no_other(layer, ground):
    disk = replay.Disk(layer.root)
    run(layer, """
        f = os.open("old", os.O_CREAT | os.O_RDWR)
        os.write(f, b"o" * 2000), os.fsync(f), os.fsync(os.open(".", os.O_RDONLY))
        os.pwrite(f, b"N" * 2000, 0), os.pwrite(f, b"tail", 2000)
        os.mkdir("new")
    """)
    disk.follow(layer.records())
    seen = set()
    for seed in range(200):
        image = os.path.join(ground, "image%d" % seed)
        os.mkdir(image)
        disk.random(image, random.Random(seed))
        files = tree(image)
        assert set(files) in ({"old"}, {"old", "new"})
        head, tail = files["old"][:2000], files["old"][2000:]
        assert tail in (b"", b"tail", b"\0\0\0\0")
        changed = head.rstrip(b"o")
        assert changed == b"N" * len(changed) and (len(changed) % replay.SECTOR == 0
                                                   or len(changed) == 2000)
        seen.add(("new" in files, len(changed), tail))
    assert len({mode for mode, _, _ in seen}) == 2 and len(
        {torn for _, torn, _ in seen}) >= 4 and len({tail for _, _, tail in seen}) == 3


def test_the_root_itself_goes_back_and_what_survives_is_the_same_file(layer):
    run(layer, """
        for name in ("kept", "grown", "lost"):
            open(name, "w").write("old")
    """)
    disk = replay.Disk(layer.root)
    layer.boot()
    before = {name: os.stat(os.path.join(layer.root, name)) for name in ("kept", "grown", "lost")}
    run(layer, """
        os.mkdir("new"), open("new/file", "w")
        open("grown", "a").write("more")
        os.unlink("lost")
    """)
    disk.follow(layer.records()).strict(layer.root)
    assert tree(layer.root) == {"kept": b"old", "grown": b"old", "lost": b"old"}
    after = {name: os.stat(os.path.join(layer.root, name)) for name in before}
    assert after["kept"] == before["kept"] and after["grown"].st_ino == before["grown"].st_ino


def test_a_failed_fsync_is_not_made_good_by_the_next(layer, ground):
    layer.fail("fsync:*", errno.EIO, count=1)
    assert after_power_loss(layer, ground, WRITE + """
    try:
        os.fsync(f)
    except OSError as error:
        assert error.errno == 5
    os.fsync(f)
    os.rename("a.tmp", "a")
    os.fsync(os.open(".", os.O_RDONLY))
""") == {"a": b""}


def test_the_process_dies_before_or_after_the_nth_operation_of_a_step(layer):
    program = """
        for number in range(5):
            os.close(os.open("tmp%d" % number, os.O_CREAT | os.O_WRONLY))
            os.rename("tmp%d" % number, "cur%d" % number)
    """
    for after, names in ((False, ["cur0", "cur1", "tmp2"]), (True, ["cur0", "cur1", "cur2"])):
        replay.empty(layer.root)
        layer.boot()
        rule = layer.kill("rename:/tmp*>/cur*", nth=3, after=after)
        status, _ = run(layer, program, check=False)
        assert status == -signal.SIGKILL and rule.hits == 1
        assert sorted(os.listdir(layer.root)) == names
        assert [record.operation for record in layer.records()].count("rename") == 2 + after


def test_a_rule_asks_for_a_role(layer):
    layer.kill("create:*", role="server")
    assert run(layer, "open('x', 'w')", role="dropper")[0] == 0
    assert run(layer, "open('y', 'w')", role="server", check=False)[0] == -signal.SIGKILL


def test_a_killed_owner_of_the_lock_stops_nobody_and_the_journal_stays_whole(layer):
    for number in range(20):
        layer.kill("write:*", nth=number + 1, after=number % 2 == 0)
        run(layer, """
            import threading
            def work(name):
                f = os.open(name, os.O_CREAT | os.O_WRONLY)
                for _ in range(100):
                    os.write(f, b"x" * 5000)
            threads = [threading.Thread(target=work, args=(str(n),)) for n in range(3)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
        """, check=False)
        layer.clear()
    records = layer.records()
    assert [record.sequence for record in records] == list(range(1, len(records) + 1))


def test_a_freeze_stops_every_process(layer):
    layer.freeze("create:/stop", after=True)
    assert run(layer, "open('stop', 'w')", check=False)[0] == -signal.SIGKILL
    assert run(layer, "open('later', 'w')", check=False)[0] == -signal.SIGKILL
    assert os.listdir(layer.root) == ["stop"]
    layer.boot()
    assert run(layer, "open('later', 'w')")[0] == 0


def test_a_full_disk_fails_so_many_operations_and_can_stop_in_the_middle_of_a_write(layer):
    layer.fail("space:/full", count=1)
    layer.fail("write:/full", count=1, half=True)
    _, output = run(layer, """
        open("free", "w").write("x")
        f = None
        for attempt in range(5):
            try:
                if f is None:
                    f = os.open("full", os.O_CREAT | os.O_WRONLY)
                print(os.write(f, b"1234567890"))
            except OSError as error:
                print(error.errno)
    """)
    assert output.split() == ["28", "5", "28", "10", "10"]


def test_the_clock_is_shifted_for_programs_and_files_alike(layer):
    layer.shift_clock(-86400 * 365)
    _, output = run(layer, """
        import time
        open("x", "w").write("x")
        os.mkdir("folder")
        now = time.time()
        print(all(abs(os.stat(name).st_mtime - now) < 5 for name in ("x", "folder", ".")), int(now))
    """)
    import time
    same, now = output.split()
    assert same == "True" and abs(time.time() - int(now) - 86400 * 365) < 60


def test_the_boot_id_is_the_tests_own(layer):
    read = "print(open('/proc/sys/kernel/random/boot_id').read().strip())"
    first = run(layer, read)[1].strip()
    layer.boot()
    assert first != run(layer, read)[1].strip() == layer.boot_id


def test_answers_lie_in_the_journal_in_order_with_the_operations(layer):
    read, write = os.pipe()
    subprocess.check_call([sys.executable, "-c",
                           "import os; f = os.open('x', os.O_CREAT | os.O_WRONLY); os.write(%d, "
                           "b'made'); os.write(f, b'1')" % write],
                          cwd=layer.root, env=layer.environment(mark_descriptor=write),
                          pass_fds=[write])
    os.close(write)
    assert os.read(read, 100) == b"made"
    os.close(read)
    assert [(record.operation, record.data)
            for record in layer.records()] == [("create", b""), ("mark", b"made"), ("write", b"1")]
