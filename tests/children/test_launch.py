"""The program that becomes a command: what the command finds itself to be."""

import os
import signal
import subprocess
import sys

import pytest

from phenmail_protocols.children import launch

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")
as_root = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can be others")
PATH = "/usr/local/bin:/usr/bin:/bin"


def launched(*words, **options):
    """The process that it has become, at its end: (exit status, standard output, standard error)."""
    options.setdefault("env", {"PATH": PATH})
    process = subprocess.Popen([sys.executable, "-I", "-S", launch.__file__] + list(words), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output.decode(), errors.decode()


def test_arguments_as_they_are_and_no_shell():
    words = ["a b", "$HOME", "*", "", "'", "--", "ñ", "`id`"]
    assert launched("--", "printf", "<%s>", *words)[:2] == (0, "".join("<%s>" % word for word in words))


def test_the_process_stays_the_same():
    process = subprocess.Popen([sys.executable, "-I", "-S", launch.__file__, "--", "sh", "-c", "echo $$; exit 3"],
                               stdout=subprocess.PIPE, env={"PATH": PATH})
    output, _ = process.communicate(timeout=60)
    assert (int(output), process.returncode) == (process.pid, 3)


def test_the_environment_is_what_was_given():
    status, output, _ = launched("--", "/usr/bin/env", env={"A": "b", "LANG": "C.UTF-8"})
    assert status == 0 and sorted(line for line in output.split("\n") if line) == ["A=b", "LANG=C.UTF-8"]


@pytest.mark.parametrize("words, shell, output", [
    ((), "umask", "0077"), (("--umask=027",), "umask", "0027"), ((), "ulimit -c", "0"), (("--processor=7",), "ulimit -t", "7"),
    (("--memory=104857600",), "ulimit -v", "102400"), (("--file=1048576",), "ulimit -f", "2048"),
    (("--descriptors=50",), "ulimit -n", "50"),
    (("--descriptors=99999999999",), "test $(ulimit -n) -le 99999999 && echo low", "low"), (("--folder=/usr",), "pwd", "/usr")])
def test_what_is_set(words, shell, output):
    status, said, errors = launched(*(words + ("--", "sh", "-c", shell)))
    assert (status, said.strip(), errors) == (0, output, "")


def test_less_important():
    here = os.nice(0)  # adds nothing and says what is
    assert int(launched("--nice=3", "--", "nice")[1]) == min(19, here + 3)


@as_root
def test_the_user_and_no_other_group():
    shell = "id -u; id -g; id -G; umask"
    status, output, errors = launched("--user=54321:54322", "--", "sh", "-c", shell)
    assert (status, output.split(), errors) == (0, ["54321", "54322", "54322", "0077"], "")


@as_root
def test_the_folder_is_entered_as_the_user(tmp_path):
    os.chmod(str(tmp_path), 0o700)
    status, output, errors = launched("--user=54321:54321", "--folder=%s" % tmp_path, "--", "pwd")
    assert (status, output) == (launch.FAILED, "") and errors.startswith("phenmail: cannot run pwd: ")


@as_root
def test_processes_of_the_user():
    status, _, errors = launched("--user=54323:54323", "--processes=1", "--", "sh", "-c", "true & wait; /bin/true")
    assert status != 0 and "fork" in errors.lower()


@pytest.mark.parametrize("user", ["0:0", "0:1", "1:0"])
def test_nothing_runs_as_root(user):
    status, output, errors = launched("--user=" + user, "--", "id")
    assert (status, output) == (launch.FAILED, "") and "root" in errors


@pytest.mark.parametrize("words, complaint", [
    ((), "expected --"), (("id",), "expected --"), (("--",), "expected a command"), (("--user", "--", "id"), "is no option"),
    (("--unknown=1", "--", "id"), "--unknown=1 is no option"), (("--user=1", "--", "id"), ""), (("--user=a:b", "--", "id"), ""),
    (("--umask=9", "--", "id"), ""), (("--memory=", "--", "id"), ""), (("--nice=x", "--", "id"), ""),
    (("--folder=/does/not/exist", "--", "id"), "No such file"),
    (("--", "does-not-exist"), "No such file"), (("--", "/does/not/exist"), "No such file"), (("--", "/etc/passwd"), "ermission"),
    (("--", "/"), "")])
def test_what_cannot_be_done_is_told_for_another_try(words, complaint):
    status, output, errors = launched(*words)
    assert (status, output) == (75, "")
    assert errors.startswith("phenmail: cannot run ") and errors.count("\n") == 1 and complaint in errors


def test_no_signal_stays_ignored_or_blocked():
    def spoil():
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])

    if not os.path.exists("/proc/self/status"):
        pytest.skip("needs /proc")
    status, output, _ = launched("--", "grep", "^Sig[BI]", "/proc/self/status", preexec_fn=spoil)
    assert status == 0
    masks = {line.split(":")[0]: int(line.split()[1], 16) for line in output.strip().split("\n")}
    # 32 and 33 are the C library's own
    assert masks["SigBlk"] & 0x7fffffff == 0 and masks["SigIgn"] & 0x7fffffff == 0


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no such call")
def test_every_processor():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [min(before)])
    try:
        status, output, _ = launched("--", "nproc")
        assert (status, int(output)) == (0, len(before))
    finally:
        os.sched_setaffinity(0, before)


def test_whether_it_was_launched_is_reported_and_the_command_does_not_get_the_pipe():
    for command, report in (("true", launch.LAUNCHED), ("does-not-exist", launch.LAUNCHED + launch.FAILED_AFTER_ALL)):
        reader, writer = os.pipe()
        try:
            launched("--report=%d" % writer, "--", command, pass_fds=(writer,))
            os.close(writer)
            assert os.read(reader, 100) == report
        finally:
            os.close(reader)
    reader, writer = os.pipe()
    try:
        status, output, _ = launched("--report=%d" % writer, "--", "sh", "-c", "echo x >&%d" % writer, pass_fds=(writer,))
        assert status != 0 and output == ""
    finally:
        os.close(reader)
        os.close(writer)
