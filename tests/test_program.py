"""phenmail.py as a person meets it: a child process, its output, its exit."""
import imaplib
import json
import os
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(TOP, "phenmail.py")
SETTINGS = {
    "sender-domain": "example.org",
    "domains": {"example.org": {
        "postmaster": ":alice", "abuse": ":alice", "alice": "/alice/mail"}},
    "smtp": {"host": "127.0.0.1", "port": 0},
    "imap": {"host": "127.0.0.1", "port": 0},
    "pop": {"host": "127.0.0.1", "port": 0},
    "relay": {"host": "127.0.0.1", "port": 0}}


def run(root, *words, **options):
    """Run a word to its end: (exit code, output, errors)."""
    process = subprocess.Popen(
        [sys.executable, PROGRAM, "--root", str(root)] + list(words),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True)
    output, errors = process.communicate(options.get("typed", ""), timeout=60)
    return process.returncode, output, errors


@pytest.fixture
def root(tmp_path):
    """A root with alice, whose passphrase is "secret"."""
    folder = tmp_path / "root" / "device" / "system" / "mail"
    folder.mkdir(parents=True)
    (folder / "mail.jcfg").write_text(json.dumps(SETTINGS))
    code, _, errors = run(tmp_path / "root", "user", "passwd",
                          "alice@example.org", typed="secret\n")
    assert code == 0, errors
    return tmp_path / "root"


class Running:
    """The program while it serves; ``ports`` once clients can connect."""

    def __init__(self, root, *words, **options):
        self.ports_file = str(root) + ".ports"
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [options.get("python", sys.executable),
             options.get("program", PROGRAM), "--root", str(root),
             "--ports-file", self.ports_file] + list(words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, universal_newlines=True)
        # The table is printed before the file is written.
        self.printed = []
        for line in self.process.stdout:
            self.printed.append(line)
            if "port" in line and os.path.exists(self.ports_file):
                break
            if re.match(r"    ([0-9A-F]{2}:){31}", line):
                break
        self._wait_for_ports()

    def _wait_for_ports(self):
        end = time.monotonic() + 30
        while not os.path.exists(self.ports_file):
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < end, "no ports file appeared"
        with open(self.ports_file) as file:
            self.ports = json.load(file)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        _, self.errors = self.process.communicate(timeout=20)
        return self.process.returncode


def test_filters_are_tried_and_nothing_is_done(root, tmp_path):
    message = tmp_path / "message"
    message.write_bytes(b"From: bob@example.net\nSubject: hello\n\nbody\n")
    folder = tmp_path / "filters"
    for user, code, words in (("alice@example.org", 0, "Result: it goes to the mailbox INBOX."),
                              ("nobody@example.org", 1, "")):
        found, output, errors = run(root, "filters", "test", user, str(message))
        assert found == code and words in output, errors
    assert run(root, "filters", "test", "alice@example.org")[0] == 2
    assert run(root, "filters", "test", "alice@example.org", str(folder))[0] == 1


def test_serves_and_ends_at_sigterm(root):
    with Running(root) as server:
        with smtplib.SMTP("127.0.0.1", server.ports["smtp"]) as client:
            client.sendmail("a@example.com", ["alice@example.org"],
                            "Subject: hi\r\n\r\nthere\r\n")
        client = imaplib.IMAP4_SSL("127.0.0.1", server.ports["imaps"])
        client.login("alice", "secret")
        assert client.select("INBOX") == ("OK", [b"1"])
        begun = time.monotonic()
        assert server.end() == 0
        assert time.monotonic() - begun < 5
        with pytest.raises((imaplib.IMAP4.abort, OSError)):
            client.noop()
            client.noop()


def test_the_first_start_prints_a_passphrase_that_works(tmp_path):
    code, output, errors = run(tmp_path / "r", "init", "--domain",
                               "Example.org", "--user", "eve")
    assert code == 0, errors
    assert "eve@example.org" in output
    passphrase = re.search(r"passphrase +(\S+)", output).group(1)
    path = tmp_path / "r" / "device" / "system" / "mail" / "mail.jcfg"
    text = path.read_text().replace('"sender-domain"', """
        "smtp": {"host": "127.0.0.1", "port": 0}, "pop": false, "relay": false,
        "imap": {"host": "127.0.0.1", "port": 0}, "sender-domain" """)
    path.write_text(text)
    with Running(tmp_path / "r") as server:
        client = imaplib.IMAP4_SSL("127.0.0.1", server.ports["imaps"])
        assert client.login("eve", passphrase)[0] == "OK"
        client.logout()
    code, output, _ = run(tmp_path / "r", "init")
    assert code == 1, "init must not touch a root that is there"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity")
                    or len(os.sched_getaffinity(0)) < 2,
                    reason="there is one processor core")
@pytest.mark.parametrize("option, shared", [(None, True),
                                            ("--all-cores", False)])
def test_threads_share_one_core_unless_told_otherwise(root, option, shared):
    with Running(root, *filter(None, [option])) as server:
        with smtplib.SMTP("127.0.0.1", server.ports["smtp"]) as client:
            client.noop()
            tasks = "/proc/%d/task" % server.process.pid
            cores = [os.sched_getaffinity(int(task))
                     for task in os.listdir(tasks)]
        assert len(cores) > 4
        assert (len(set.union(*cores)) == 1) is shared
        assert server.end() == 0


def test_a_second_server_on_the_root_is_refused(root):
    with Running(root) as server:
        code, _, errors = run(root, "--ports-file", server.ports_file)
        assert code == 1
        assert "process %d" % server.process.pid in errors
        assert os.path.exists(server.ports_file), "the first one's ports"
        assert server.end() == 0
        assert not os.path.exists(server.ports_file), "nobody listens there"


def test_words_work_beside_the_running_server(root):
    with Running(root) as server:
        code, _, errors = run(root, "user", "add", "bob@example.org",
                              typed="bob's secret\n")
        assert code == 0, errors
        client = imaplib.IMAP4_SSL("127.0.0.1", server.ports["imaps"])
        assert client.login("bob@example.org", "bob's secret")[0] == "OK"
        client.logout()
        code, output, _ = run(root, "check")
        assert code == 0 and "alice/mail" in output
        code, output, _ = run(root, "user", "list")
        assert "bob@example.org" in output
        assert run(root, "user", "del", "bob@example.org")[0] == 0
        client = imaplib.IMAP4_SSL("127.0.0.1", server.ports["imaps"])
        with pytest.raises(imaplib.IMAP4.error):
            client.login("bob@example.org", "bob's secret")


def test_sighup_with_a_broken_file_keeps_the_old_settings(root):
    path = root / "device" / "system" / "mail" / "mail.jcfg"
    with Running(root) as server:
        path.write_text("{broken")
        server.process.send_signal(signal.SIGHUP)
        for line in server.process.stderr:
            if "stays in force" in line or "old one stays" in line:
                break
        with smtplib.SMTP("127.0.0.1", server.ports["smtp"]) as client:
            client.sendmail("a@example.com", ["alice@example.org"], "x: y")


def test_signals_that_come_together_end_it_all_the_same(root):
    for _ in range(5):  # each time one in three used to wait for itself for ever
        with Running(root) as server:
            for _ in range(20):
                server.process.send_signal(signal.SIGTERM)
                server.process.send_signal(signal.SIGINT)
            # The last of them may meet an interpreter that is half gone.
            assert server.end() in (0, -signal.SIGINT, -signal.SIGTERM)


def test_sighup_while_it_starts_is_harmless(root):
    wrapper = root / "started.py"
    wrapper.write_text(
        "import os, runpy, signal, sys\n"
        "sys.path.insert(0, %r)\n"
        "from phenmail_protocols import app\n"
        "bind = app.MailServer.bind\n"
        "def signalled(*arguments):\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    return bind(*arguments)\n"
        "app.MailServer.bind = signalled\n"
        "runpy.run_path(%r, run_name='__main__')\n" % (TOP, PROGRAM))
    with Running(root, program=str(wrapper)) as server:
        for line in server.process.stderr:
            if "configuration reloaded" in line:
                break
        assert server.end() == 0, server.errors


def _python_for(uid):
    """An interpreter whose library, and ours, that user can read."""
    reads = ("import os, sys; os.setuid(%d); sys.path.insert(0, %r); "
             "import encodings.idna, sqlite3, ssl, phenmail" % (uid, TOP))
    for python in (sys.executable, "/usr/bin/python3"):
        if os.path.exists(python) and subprocess.call(
                [python, "-c", reads], stderr=subprocess.DEVNULL) == 0:
            return python
    pytest.skip("nobody can read no interpreter")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0,
                    reason="only root becomes another user")
def test_run_as_makes_everything_as_that_user(root, tmp_path):
    import pwd
    uid = pwd.getpwnam("nobody").pw_uid
    python = _python_for(uid)
    path = root / "device" / "system" / "mail" / "mail.jcfg"
    path.write_text(json.dumps(dict(SETTINGS, **{
        "run-as": "nobody", "lmtp": {"socket": "/device/lmtp"}})))
    code, _, errors = run(root)
    assert code == 1 and "chown -R nobody" in errors
    # What leads to the root folder has to be open to that user, too.
    open_root = tempfile.mkdtemp(prefix="phenmail-test-")
    try:
        os.chmod(open_root, 0o755)
        os.chown(open_root, uid, -1)  # the ports file's folder
        moved = os.path.join(open_root, "root")
        shutil.copytree(str(root), moved)
        for folder, _, names in os.walk(moved):
            for name in [""] + names:
                os.chown(os.path.join(folder, name), uid, -1)
        with Running(moved, python=python) as server:
            with smtplib.SMTP("127.0.0.1", server.ports["smtp"]) as client:
                assert client.starttls()[0] == 220
                client.sendmail("a@example.com", ["alice@example.org"], "x: y")
            with open("/proc/%d/status" % server.process.pid) as status:
                uids = re.search("Uid:(.*)", status.read()).group(1).split()
            assert set(uids) == {str(uid)}
            made = [os.path.join(folder, name) for folder, _, names
                    in os.walk(moved) for name in names]
            assert os.path.join(moved, "device", "lmtp") in made
            assert [each for each in made if os.lstat(each).st_uid != uid] == []
            assert server.end() == 0, server.errors
            assert not os.path.exists(os.path.join(moved, "device", "lmtp"))
    finally:
        shutil.rmtree(open_root)


def test_a_certificate_that_is_not_there_is_said(root):
    path = root / "device" / "system" / "mail" / "mail.jcfg"
    path.write_text(json.dumps(dict(SETTINGS, tls={
        "certificate": "/device/none.pem", "key": "/device/none.key"})))
    code, _, errors = run(root)
    assert code == 1 and "none.pem" in errors and "Traceback" not in errors


def test_check_says_where_it_is_wrong(root):
    path = root / "device" / "system" / "mail" / "mail.jcfg"
    path.write_text('{\n  "sender-domian": "example.org"\n}')
    code, output, _ = run(root, "check")
    assert code == 1
    assert "mail.jcfg:2:3" in output and "sender-domain" in output


@pytest.mark.parametrize("words, code", [
    (["--version"], 0), (["nonsense"], 2), (["user"], 2), (["user", "add"], 2),
    (["user", "passwd", "nobody@example.org"], 1)])
def test_exit_codes(root, words, code):
    assert run(root, *words, typed="x\n")[0] == code


def test_a_missing_root_is_said_by_its_name(tmp_path):
    code, _, errors = run(tmp_path / "none", "dns")
    assert code == 1 and "Errno" not in errors
    assert errors.rstrip().endswith("none/device/system/mail/mail.jcfg: No such file or directory")


def test_sha256_and_obscure(root):
    assert run(root, "sha256", typed="abc\n")[1].strip() == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    assert run(root, "obscure", typed="obscured ;)\n")[1].strip() == (
        "KTgyfDNrNH0kbCkCKgMtAi4D")


def test_the_example_for_an_older_python(tmp_path):
    example = os.path.join(TOP, "conf", "legacy_host.py")
    pythons = [sys.executable]
    for old in ("python2.7", os.path.expanduser(
            "~/.pyenv/versions/2.7.18/bin/python")):
        if shutil.which(old) and not subprocess.call(
                [old, "-c", ""], stderr=subprocess.DEVNULL):
            pythons.append(old)
    for python in pythons:
        process = subprocess.Popen(
            [python, example, PROGRAM, sys.executable],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert b"from Python" in output


def test_a_port_that_is_taken_is_said(root):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        path = root / "device" / "system" / "mail" / "mail.jcfg"
        settings = dict(SETTINGS, smtp={
            "host": "127.0.0.1", "port": taken.getsockname()[1]})
        path.write_text(json.dumps(settings))
        code, _, errors = run(root, "serve")
    assert code == 1 and "in use" in errors
