"""The program that becomes a command: what the command finds itself to be."""

import os
import signal
import subprocess
import sys

import pytest

from phenmail_protocols.children import program_child
from phenmail_protocols.children.interpreter import command

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")
as_root = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0,
                             reason="only root can be others")
PATH = "/usr/local/bin:/usr/bin:/bin"


def launched(*words, user="", descriptors=1024, report=None, **options):
    """Run a command through it -> (exit status, standard output, standard error)."""
    options.setdefault("env", {"PATH": PATH})
    with open(os.devnull, "wb") as null:
        report = null.fileno() if report is None else report
        process = subprocess.Popen(command(sys.executable, "children.program_child",
                                           (str(report), str(descriptors), user) + words),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE,
                                   pass_fds=(report,), **options)
        output, errors = process.communicate(timeout=60)
    return process.returncode, output.decode(), errors.decode()


def test_arguments_as_they_are_and_no_shell():
    words = ["a b", "$HOME", "*", "", "'", "--", "ñ", "`id`"]
    assert launched("printf", "<%s>", *words)[:2] == (0, "".join("<%s>" % word for word in words))


def test_the_process_stays_the_same():
    with open(os.devnull, "wb") as null:
        words = [str(null.fileno()), "64", "", "sh", "-c", "echo $$; exit 3"]
        process = subprocess.Popen(command(sys.executable, "children.program_child", words),
                                   stdout=subprocess.PIPE,
                                   env={"PATH": PATH}, pass_fds=(null.fileno(),))
    output, _ = process.communicate(timeout=60)
    assert (int(output), process.returncode) == (process.pid, 3)


def test_the_environment_is_what_was_given():
    status, output, _ = launched("/usr/bin/env", env={"A": "b", "LANG": "C.UTF-8"})
    assert status == 0 and sorted(line for line in output.split("\n")
                                  if line) == ["A=b", "LANG=C.UTF-8"]


@pytest.mark.parametrize("descriptors, shell, output", [
    (64, "umask", "0077"), (64, "ulimit -c", "0"), (50, "ulimit -n", "50"),
    (99999999999, "test $(ulimit -n) -le 99999999 && echo low", "low")])
def test_what_is_set(descriptors, shell, output):
    status, said, errors = launched("sh", "-c", shell, descriptors=descriptors)
    assert (status, said.strip(), errors) == (0, output, "")


@as_root
def test_the_user_and_no_other_group():
    shell = "id -u; id -g; id -G; umask"
    status, output, errors = launched("sh", "-c", shell, user="54321:54322")
    assert (status, output.split(), errors) == (0, ["54321", "54322", "54322", "0077"], "")


@pytest.mark.parametrize("user", ["0:0", "0:1", "1:0"])
def test_nothing_runs_as_root(user):
    status, output, errors = launched("id", user=user)
    assert (status, output) == (program_child.FAILED, "") and "root" in errors


@pytest.mark.parametrize("command, complaint, more", [
    ("id", "", {"user": "1"}), ("id", "", {"user": "a:b"}), ("id", "", {"descriptors": "x"}),
    ("does-not-exist", "No such file", {}), ("/does/not/exist", "No such file", {}),
    ("/etc/passwd", "ermission", {}), ("/", "", {})])
def test_what_cannot_be_done_is_told_for_another_try(command, complaint, more):
    status, output, errors = launched(command, **more)
    assert (status, output) == (75, "")
    assert errors.startswith("phenmail: cannot run ") and errors.count("\n") == 1
    assert complaint in errors


def test_no_signal_stays_ignored_or_blocked():
    def spoil():
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])

    if not os.path.exists("/proc/self/status"):
        pytest.skip("needs /proc")
    status, output, _ = launched("grep", "^Sig[BI]", "/proc/self/status", preexec_fn=spoil)
    assert status == 0
    masks = {line.split(":")[0]: int(line.split()[1], 16) for line in output.strip().split("\n")}
    # 32 and 33 are the C library's own
    assert masks["SigBlk"] & 0x7fffffff == 0 and masks["SigIgn"] & 0x7fffffff == 0


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no such call")
def test_every_processor():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [min(before)])
    try:
        status, output, _ = launched("nproc")
        assert (status, int(output)) == (0, len(before))
    finally:
        os.sched_setaffinity(0, before)


def test_whether_it_was_launched_is_reported_and_the_command_does_not_get_the_pipe():
    for name, report in (("true", program_child.LAUNCHED),
                         ("does-not-exist", program_child.LAUNCHED
                          + program_child.FAILED_AFTER_ALL)):
        reader, writer = os.pipe()
        try:
            launched(name, report=writer)
            os.close(writer)
            assert os.read(reader, 100) == report
        finally:
            os.close(reader)
    reader, writer = os.pipe()
    try:
        status, output, _ = launched("sh", "-c", "echo x >&%d" % writer, report=writer)
        assert status != 0 and output == ""
    finally:
        os.close(reader)
        os.close(writer)
