"""Commands that get mail: their input, the user they run as, and what their exit status means."""
import io
import logging
import os
import pwd
import shutil
import signal
import tempfile
import threading
import time

import pytest
from hypothesis import example, given, settings, strategies

from phenmail_protocols.delivery import trace
from phenmail_protocols.destinations import programs as agents_module
from phenmail_protocols.destinations.programs import Programs, Unusable, as_word, last_lines, words
from phenmail_protocols.mail.address import Address, AddressError
from phenmail_protocols.queue.model import Message, Recipient

IS_ROOT = os.geteuid() == 0
NOBODY = 65534
SENDER, ANNA = Address("bert", "example.com"), Address("anna+lists", "example.org")
BODY = b"Received: from x\r\nSubject: hello\r\n\r\nline 1\r\n.\r\nFrom here\r\n"


class Settings:
    run_as = None
    python = None


class Place:
    """A user's folder, and Programs that run commands for it."""

    def __init__(self, folder):
        self.folder = folder
        self.settings = Settings()
        self.agents = Programs(lambda: self.settings, seconds=30.0)

    def run(self, command, body=BODY, sender=SENDER, recipient=ANNA, user="anna", tag="lists",
            head=b"", folder=None,
            agents=None):
        file = io.BytesIO(body) if isinstance(body, bytes) else body
        message = Message("1.2", sender, (Recipient(recipient, via="local"),), 0.0, head)
        return (agents or self.agents).run(command, message, file, recipient, user,
                                           folder or self.folder, tag)

    def sh(self, script, **options):
        return self.run("sh -c %s" % shell_quoted(script), **options)

    def read(self, name):
        with open(os.path.join(self.folder, name), "rb") as file:
            return file.read()

    def exists(self, name):
        return os.path.exists(os.path.join(self.folder, name))


# Fails and prints its arguments.
SAY = "python3 -c 'import sys; sys.exit(ascii(sys.argv[1:]))'"


def shell_quoted(text):
    return "'%s'" % text.replace("'", "'\\''")


@pytest.fixture
def place():
    # Not below pytest's folder, which other users cannot enter.
    folder = os.path.realpath(tempfile.mkdtemp())
    if IS_ROOT:
        os.chown(folder, NOBODY, NOBODY)
    place = Place(folder)
    yield place
    assert place.agents.stop(10.0), "something runs still"
    shutil.rmtree(folder)


def eventually(look, what, seconds=10.0):
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, what
        time.sleep(0.01)  # between two checks; no test depends on its length


def is_alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# -- exit status


@pytest.mark.parametrize("status, code, enhanced", [
    (0, 250, "2.0.0"), (75, 451, "4.3.0"), (126, 451, "4.3.0"), (127, 451, "4.3.0"),
    (137, 451, "4.3.0"),
    (1, 554, "5.3.0"), (2, 554, "5.3.0"), (64, 554, "5.3.5"), (65, 554, "5.6.0"),
    (66, 554, "5.3.0"), (67, 550, "5.1.1"),
    (68, 550, "5.1.2"), (69, 554, "5.3.0"), (70, 554, "5.3.0"), (71, 554, "5.3.0"),
    (72, 554, "5.3.0"), (73, 554, "5.2.0"),
    (74, 554, "5.3.0"), (76, 554, "5.5.0"), (77, 550, "5.7.1"), (78, 554, "5.3.5"),
    (79, 554, "5.3.0"), (100, 554, "5.3.0"),
    (111, 554, "5.3.0"), (255, 554, "5.3.0"),
])
def test_exit_statuses(place, status, code, enhanced):
    reply = place.sh("cat >/dev/null; echo because; exit %d" % status)
    assert reply[:2] == (code, enhanced)
    assert reply.host == "" and reply.text.isprintable()
    if status and status != 137:
        assert "status %d" % status in reply.text and reply.text.endswith(": because")


@pytest.mark.parametrize("name", ["KILL", "SEGV", "TERM", "PIPE"])
def test_a_signal_is_no_answer(place, name):
    reply = place.sh("echo said before; kill -%s $$" % name)
    assert reply[:2] == (451, "4.3.0")
    assert "signal %d: said before" % getattr(signal, "SIG" + name) in reply.text


def test_the_output_is_in_the_bounce(place):
    reply = place.sh(
        "echo one; echo two >&2; printf '\\033[31mthree\\a\\r\\n\\n  four \\tX\\0\\n'; printf "
        "'\\377five'; exit 1")
    assert (reply.text
            == "The command for this address exited with status 1: one / two / [31mthree / four X "
               "/ \ufffdfive")


def test_only_the_end_of_the_output_is_in_the_bounce(place):
    reply = place.sh("for i in 1 2 3 4 5 6 7; do echo line $i; done; exit 1")
    assert reply.text.endswith(": line 3 / line 4 / line 5 / line 6 / line 7")
    reply = place.sh("head -c 100000 /dev/zero | tr '\\0' x; printf the-end; exit 1")
    assert reply.text.endswith("xxxthe-end") and len(reply.text) < 600


def test_much_output_hinders_nothing(place):
    """Output larger than a pipe, before and after the message is read."""
    reply = place.sh(
        "head -c 3000000 /dev/zero; cat >got; head -c 3000000 /dev/urandom >&2; echo; echo done; "
        "exit 1")
    assert reply.code == 554 and reply.text.endswith(
        " / done") and reply.text.isprintable() and len(reply.text) <= 600
    assert place.read("got").endswith(b"\n\nline 1\n.\nFrom here\n")


@pytest.mark.parametrize("output, text", [
    (b"", ""), (b"\n\r\n \n", ""), (b"a\x0bb\x0cc\xc2\x85d\xe2\x80\xa8e", "a / b / c / d / e"),
    ("\u202eü\u200b".encode(), "ü"), (b"\xff" * 2000, "\ufffd" * 500), (b"a\nb", "a / b"),
])
def test_last_lines(output, text):
    assert last_lines(output) == text


# -- input


def test_the_message_as_it_is_read(place):
    reply = place.run("tee got", head=b"DKIM-Signature: x;\r\n\ty\r\n")
    assert reply.delivered
    assert place.read("got") == (
        b"Return-Path: <bert@example.com>\nDelivered-To: anna+lists@example.org\nDKIM-Signature: "
        b"x;\n\ty\n"
        b"Received: from x\nSubject: hello\n\nline 1\n.\nFrom here\n")


def test_a_file_that_was_read_before_is_read_from_its_beginning(place):
    file = io.BytesIO(BODY)
    file.read()
    assert place.run("tee got", body=file, sender=None).delivered
    assert place.read("got").startswith(b"Return-Path: <>\nDelivered-To: ") and place.read(
        "got").endswith(b"From here\n")


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\r", b"a\rb\n\r\n\r", b"\r\r\n\r\r\n"])
def test_only_crlf_is_a_line_end(place, body):
    assert place.run("tee got", body=body).delivered
    assert place.read("got").partition(b"example.org\n")[2] == body.replace(b"\r\n", b"\n")


def test_a_line_end_between_two_pieces(place):
    body = (b"x" * (trace._CHUNK - 1) + b"\r\n") * 3 + b"\r\n" * trace._CHUNK
    assert place.run("tee got", body=body).delivered
    assert place.read("got").partition(b"example.org\n")[2] == body.replace(b"\r\n", b"\n")


def test_a_large_message_streams(place):
    """20 MB: only a few pieces are in memory, though the command prints it all."""
    import tracemalloc
    line = b"0123456789" * 7 + b"\r\n"
    with tempfile.TemporaryFile() as file:
        for _ in range(20):
            file.write(line * (1024 * 1024 // len(line)))
        size = file.tell()
        place.sh("true")  # imports what it needs
        tracemalloc.start()
        try:
            reply = place.sh("tee got", body=file)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert reply.delivered
    assert os.path.getsize(os.path.join(place.folder, "got")) == size - size // len(line) + len(
        "Return-Path: <bert@example.com>\nDelivered-To: anna+lists@example.org\n")
    assert peak < 2 * 1024 * 1024


@pytest.mark.parametrize("script", ["true", "exec <&-; sleep 0.1", "head -c 1 >/dev/null"])
def test_it_need_not_be_read(place, script):
    assert place.sh(script, body=b"x\r\n" * 1000000).delivered


def test_devices_by_name(place):
    """Scripts can open /dev/stdin and so on, though the pipes are the server's."""
    assert place.sh("cat /dev/stdin >got && echo x >/dev/stdout && echo x >/dev/stderr").delivered
    assert place.read("got").endswith(b"From here\n")


def test_the_environment_is_this_and_nothing_else(place):
    assert place.run("dd bs=1M if=/proc/self/environ of=got").delivered
    found = dict(each.split("=", 1) for each in place.read("got").decode().rstrip("\0").split("\0"))
    entry = pwd.getpwuid(NOBODY if IS_ROOT else os.geteuid())
    assert found == {"PATH": agents_module.PATH, "LANG": "C.UTF-8", "HOME": entry.pw_dir,
                     "USER": entry.pw_name,
                     "LOGNAME": entry.pw_name, "SHELL": "/bin/sh", "SENDER": "bert@example.com",
                     "RECIPIENT": "anna+lists@example.org", "EXTENSION": "lists"}
    assert place.sh('echo "<$SENDER><$EXTENSION>"; pwd; exit 1', sender=None,
                    tag=None).text.endswith(": <><> / " + place.folder)


def test_what_strangers_choose_is_harmless_in_the_environment(place):
    reply = place.sh('printf "%s\\n" "$SENDER" "$RECIPIENT" "$EXTENSION"; exit 1',
                     sender=Address('() { :; }; a"$(id)`id` -x', "example.com"),
                     recipient=Address("-x'y", "example.org"), tag="-o*|ü")
    assert reply.text.endswith(
        ": ______:_____a____id__id__-x_@example.com / _-x_y_@example.org / _o__ü")


def test_words_are_whole(place):
    command = SAY + r""" {FROM} {TO} {USER} x{TO} "{FROM}" '{USER} ' $HOME ; \* `id` """
    assert place.run(command).text.endswith(": " + ascii(
        [str(SENDER), str(ANNA), "anna", "x{TO}", str(SENDER), "{USER} ", "$HOME", ";", "*",
         "`id`"]))


HOSTILE = [
    ("-oQ/tmp", '"-oQ/tmp"@example.org'), ("--help", '"--help"@example.org'),
    ("-", '"-"@example.org'),
    ("- x", '"- x"@example.org'), ('-"x', '"-\\"x"@example.org'),
    ("$(touch x)", '"$(touch x)"@example.org'),
    ("`touch${IFS}x`", "`touch${IFS}x`@example.org"),
    ("a b", '"a b"@example.org'), ("{FROM}", "{FROM}@example.org"), ("ü'x", "ü'x@example.org"),
    ("a;b|c&d", '"a;b|c&d"@example.org'),
]


@pytest.mark.parametrize("local, word", HOSTILE)
def test_hostile_addresses_are_one_harmless_word(place, local, word):
    address = Address(local, "example.org")
    reply = place.run(SAY + " {FROM} {TO}", sender=address, recipient=address, tag=local)
    assert reply.text.endswith(": " + ascii([word, word]))
    assert Address.parse(word) == address
    assert os.listdir(place.folder) == []


@given(local=strategies.text(strategies.characters(blacklist_categories=("Cs", "Cc")), min_size=1,
                             max_size=20))
@settings(max_examples=300)
@example("-")
@example("-.-\\ \"")
def test_any_address_is_no_option(local):
    word = as_word(Address(local, "example.org"))
    assert not word.startswith("-")
    try:
        assert Address.parse(word) == Address(local, "example.org")
    except AddressError:
        with pytest.raises(AddressError):  # nobody can have it
            Address.parse(str(Address(local, "example.org")))
    assert words("x {FROM} {TO}", Address(local, "example.org"), Address(local, "example.org"),
                 "{TO}") == ["x", word, word]


@given(strategies.binary(max_size=3000)
       | strategies.text(max_size=1000).map(lambda text: text.encode("utf-8", "replace")))
@settings(max_examples=200)
def test_any_output_is_one_short_line(output):
    text = last_lines(output)
    assert text.isprintable() and len(text) <= 500 and text.count(" / ") <= 4 + output.count(b"/")


def test_the_null_sender_is_an_empty_word(place):
    assert words("x -f {FROM} {TO}", None, ANNA,
                 "anna") == ["x", "-f", "", "anna+lists@example.org"]
    assert place.run("""sh -c 'test $# = 2 -a -z "$1"' sh {FROM} {TO}""", sender=None).delivered


def test_the_commands_name_is_not_replaced():
    assert words("{TO} {TO}", SENDER, ANNA, "anna") == ["{TO}", "anna+lists@example.org"]


@pytest.mark.parametrize("command", ["", "  ", "x 'y", 'x "', "''", "x\\", "a\0b"])
def test_no_command(place, command, caplog):
    with pytest.raises(Unusable):
        words(command, SENDER, ANNA, "anna")
    assert place.run(command)[:2] == (451, "4.3.5")
    record, = caplog.records
    assert (record.levelno, record.name) == (logging.ERROR, "phenmail.destinations") and str(
        ANNA) in record.getMessage()


def test_an_identity_is_no_option():
    with pytest.raises(Unusable):
        words("x {USER}", SENDER, ANNA, "-rf")


# -- commands that cannot be run


@pytest.mark.parametrize("command", ["/nowhere/deliver", "no-such-command-anywhere", "./missing",
                                     "/etc/passwd/x"])
def test_not_found(place, command, caplog):
    reply = place.run(command + " {TO}")
    assert reply[:2] == (451, "4.3.0")
    assert "cannot be run: " in reply.text and command in reply.text and reply.text.endswith(
        ": No such file or directory")
    record, = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert reply.text in record.getMessage() and "1.2" in record.getMessage()


def test_not_executable(place, caplog):
    with open(os.path.join(place.folder, "script"), "w") as file:
        file.write("#!/bin/sh\n")
    os.chmod(file.name, 0o644)
    reply = place.run("./script")
    assert reply[:2] == (451, "4.3.0") and reply.text.endswith(
        "cannot be run: phenmail: cannot run ./script: Permission denied")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert place.run(place.folder)[:2] == (451, "4.3.0")


def test_no_program_at_all(place):
    with open(os.path.join(place.folder, "script"), "w") as file:
        file.write("no program\n")
    os.chmod(file.name, 0o755)
    assert place.run("./script")[:2] == (451, "4.3.0")


def test_no_interpreter(place, caplog):
    place.settings.python = "/nowhere/python"
    assert place.run("true")[:2] == (451, "4.3.0")
    assert "/nowhere/python" in caplog.text


@pytest.mark.parametrize("status", [0, 1, 67])
def test_an_interpreter_that_cannot_run_the_command(place, status):
    """The interpreter's exit status is not the command's, even if it is 0."""
    path = os.path.join(place.folder, "python")
    with open(path, "w") as file:
        file.write("#!/bin/sh\necho broken >&2; exit %d\n" % status)
    os.chmod(path, 0o755)
    place.settings.python = path
    reply = place.run("true")
    assert reply[:2] == (451, "4.3.0") and reply.text.endswith("cannot be run: broken")


def test_a_message_that_can_not_be_read_is_not_given_half(place, caplog):
    class Torn(io.BytesIO):
        def read(self, size=-1):
            if self.tell():
                raise OSError(5, "Input/output error")
            return io.BytesIO.read(self, size)

    reply = place.sh("cat >part; mv part whole", body=Torn(b"x\r\n" * 1000000))
    assert reply[:2] == (451, "4.3.0") and "Input/output error" in caplog.text
    assert not place.exists("whole")


# -- the user


def test_it_begins_as_a_program_of_its_own(place):
    """It inherits nothing that the server sets for itself: ignored signals, one core,
    descriptors."""
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    cores = os.sched_getaffinity(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, {min(cores)})
    kept = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(kept, True)
    try:
        reply = place.sh(
            "nproc; ulimit -n; ulimit -c; umask; ls /proc/$$/fd | tr '\\n' ' '; exit 1")
    finally:
        os.close(kept)
        os.sched_setaffinity(0, cores)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    said = reply.text.partition(": ")[2].split(" / ")
    assert said == ["%d" % len(cores), "%d" % min(hard, 1024), "0", "0077", "0 1 2"]
    reply = place.sh("grep -E '^(SigBlk|SigIgn)' /proc/self/status; exit 1")
    assert reply.text.endswith(": SigBlk: 0000000000000000 / SigIgn: 0000000000000000")


def test_it_is_the_leader_of_its_session(place):
    reply = place.run(
        "python3 -c 'import os, sys; sys.exit(os.getsid(0) == os.getpgid(0) == os.getpid())'")
    assert "status 1" in reply.text


IDS = ("python3 -c 'import os, sys; sys.exit(repr((os.getresuid(), os.getresgid(), "
       "os.getgroups())))'")


@pytest.mark.skipif(not IS_ROOT, reason="only root can become others")
def test_it_runs_as_the_owner_of_the_folder(place):
    for uid, gid in ((NOBODY, NOBODY), (54321, 54322)):
        os.chown(place.folder, uid, gid)
        reply = place.run(IDS)
        assert reply.text.endswith(": " + repr(((uid,) * 3, (gid,) * 3, [])))
    reply = place.sh('echo "$USER $LOGNAME $HOME"; exit 1')
    assert reply.text.endswith(": anna anna " + place.folder)


@pytest.mark.skipif(not IS_ROOT, reason="only root can become others")
def test_it_never_runs_as_root(place, caplog):
    os.chown(place.folder, 0, 0)
    reply = place.sh("touch was-here")
    assert reply[:2] == (451, "4.3.5") and "run-as" in caplog.text and place.folder in caplog.text
    for name in ("root", "no-such-user-here"):
        caplog.clear()
        place.settings.run_as = name
        assert place.sh("touch was-here")[:2] == (451, "4.3.5")
        assert "run-as" in caplog.text
    assert not place.exists("was-here")
    place.settings.run_as = "nobody"
    entry = pwd.getpwnam("nobody")
    assert place.run(IDS).text.endswith(": " + repr(((entry.pw_uid,) * 3, (entry.pw_gid,) * 3, [])))
    assert place.sh("pwd; exit 1").text.endswith(": /")


@pytest.mark.skipif(not IS_ROOT, reason="only root can become others")
@pytest.mark.parametrize("make", [lambda path: None, lambda path: os.symlink("/tmp", path),
                                  lambda path: open(path, "w").close()],
                         ids=["nothing", "a link", "a file"])
def test_without_a_folder_it_needs_run_as(place, make, caplog):
    path = os.path.join(place.folder, "other")
    make(path)
    assert place.sh("true", folder=path)[:2] == (451,
                                                 "4.3.5") and path in caplog.text and "run-as" in caplog.text
    place.settings.run_as = "nobody"
    assert place.sh("true", folder=path).delivered


@pytest.mark.skipif(not IS_ROOT, reason="only root can become others")
def test_it_cannot_become_root_again(place):
    reply = place.run("python3 -c 'import os; os.setuid(0)'")
    assert reply.code == 554 and "PermissionError" in reply.text


@pytest.mark.skipif(IS_ROOT, reason="root becomes others")
def test_an_ordinary_server_runs_it_as_itself(place):
    assert place.run(IDS).text.startswith(
        "The command for this address exited with status 1: ((%d, " % os.geteuid())


# -- the time limit


def quick(place, seconds=300.0, grace=0.5):
    """Programs whose clock jumps as soon as the command has made a file `ready`: only then it is
    late."""
    return Programs(lambda: place.settings, seconds, grace,
                    lambda: time.monotonic() + (1000.0 if place.exists("ready") else 0.0))


def test_the_time_limit(place):
    agents = quick(place)
    began = time.monotonic()
    reply = place.sh("echo $$ >pid; echo going; >ready; sleep 60 & sleep 60", agents=agents)
    assert reply[:2] == (451, "4.3.0") and "300 seconds: going" in reply.text
    assert time.monotonic() - began < 5
    assert not is_alive(int(place.read("pid")))


def test_the_whole_group_ends(place):
    """Also processes that ignore SIGTERM and outlive their group leader."""
    script = "(trap '' TERM; >ready; sleep 60; sleep 60) & echo $! >pid; cat >/dev/null; sleep 60"
    reply = place.sh(script, agents=quick(place))
    assert reply[:2] == (451, "4.3.0")
    pid = int(place.read("pid"))
    eventually(lambda: not is_alive(pid), "%d lives on" % pid)


def test_a_command_that_ignores_sigterm_is_killed(place):
    reply = place.sh("trap '' TERM; echo $$ >pid; >ready; while :; do sleep 1; done",
                     agents=quick(place))
    assert reply[:2] == (451, "4.3.0") and "did not exit" in reply.text
    assert not is_alive(int(place.read("pid")))


def test_success_after_the_time_limit_does_not_count(place):
    reply = place.sh("trap 'exit 0' TERM; >ready; while :; do sleep 0.01; done",
                     agents=quick(place))
    assert reply[:2] == (451, "4.3.0")


def test_the_time_limit_holds_if_the_message_is_not_read(place):
    assert place.sh(">ready; sleep 60", agents=quick(place),
                    body=b"x\r\n" * 1000000)[:2] == (451, "4.3.0")


def test_endless_output_ends_at_the_time_limit(place):
    assert place.sh("echo talk; echo talk; >ready; while :; do echo talk; done",
                    agents=quick(place)).text.endswith("talk / talk")


def test_a_background_child_delays_nothing(place):
    """It keeps our pipes and goes on; the output so far is known."""
    began = time.monotonic()
    reply = place.sh("echo said; sleep 60 & echo $! >pid; exit 67")
    pid = int(place.read("pid"))
    try:
        assert reply[:2] == (550, "5.1.1") and reply.text.endswith(": said")
        assert time.monotonic() - began < 10
        assert is_alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_command_that_says_nothing_more_is_waited_for(place):
    assert place.sh("exec >&- 2>&- <&-; sleep 0.3; touch done; exit 67").code == 550
    assert place.exists("done")


def test_many_at_once_do_not_hold_each_others_pipes(place):
    """Each command reads to the end of its input, which arrives although others start meanwhile."""
    replies = []

    def run(number):
        replies.append(place.sh("cat >got%d; echo %d; exit 67"
                                % (number, number)).text.rpartition(": ")[2])

    slow = threading.Thread(target=place.sh,
                            args=("exec <&-; while ! test -e go; do sleep 0.02; done",),
                            daemon=True)
    slow.start()
    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
    open(os.path.join(place.folder, "go"), "w").close()
    slow.join(20.0)
    assert not slow.is_alive()
    assert sorted(map(int, replies)) == list(range(12))
    assert {place.read("got%d" % number)[-10:] for number in range(12)} == {b"From here\n"}


# -- stop


def test_stop_ends_what_runs(place):
    replies = []
    script = "echo $$ >pid; touch running; cat >/dev/null; sleep 60; touch done"
    thread = threading.Thread(target=lambda: replies.append(place.sh(script)), daemon=True)
    thread.start()
    eventually(lambda: place.exists("running"), "it did not start")
    pid = int(place.read("pid"))
    began = time.monotonic()
    assert place.agents.stop(5.0)
    assert time.monotonic() - began < 2.0
    thread.join(5.0)
    assert [reply[:2] for reply in replies] == [(451, "4.3.2")]
    assert not is_alive(pid) and not place.exists("done")
    assert place.sh("touch done")[:2] == (451, "4.3.2") and not place.exists("done")


def test_no_descriptor_and_no_child_is_left(place):
    place.sh("true")
    before = sorted(os.listdir("/proc/self/fd"))
    place.sh("exit 3")
    place.run("/nowhere/x")
    place.sh(">ready; sleep 60", agents=quick(place))
    place.settings.python = "/nowhere/python"
    place.sh("true")
    assert sorted(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_with_sigchld_ignored_nothing_counts_as_delivered(place, caplog):
    """A program that embeds the server may ignore SIGCHLD; Popen then reports every exit as
    success."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        reply = place.sh("exit 67")
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert reply[:2] == (451, "4.3.0") and "SIGCHLD" in caplog.text
