"""Python filters: what a script may answer, and what a hostile one cannot do."""

import os
import socket
import sys
import threading
import time

import pytest

from phenmail_protocols.children import interpreter, pool, python_filters
from phenmail_protocols.children.python_answer import Decision, Result
from phenmail_protocols.children.python_filters import PythonFilters

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Python filters need POSIX")

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROOT = os.name == "posix" and os.geteuid() == 0
as_root = pytest.mark.skipif(not ROOT, reason="only root can be others")
linux = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
# Users that nobody is, so that nothing of theirs but ours can be running.
UID = 40000 + os.getpid() % 20000
OWNER, OTHER = (UID, UID), (UID + 1, UID + 1)

EXAMPLE = """
try:
    cnt = int(msg["Subject"].split()[-1])
    if cnt % 2:
       accept("odd")
    accept("even")
except:
    pass
"""
ODD = Result(Decision("accept", "odd"))
ENVELOPE = {"sender": "a@example.org", "recipient": "b@example.net", "tag": None, "auth": "",
            "size": 1}


def letter(subject, body=b"body\n"):
    return b"Return-Path: <a@example.org>\nSubject: " + subject + b"\n\n" + body


@pytest.fixture(scope="module")
def filters():
    made = PythonFilters()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def hurried():
    """The same, with half the time for a script."""
    made = PythonFilters(seconds=1.0)
    yield made
    made.stop()


def ask(filters, code, message=letter(b"n 3"), envelope=ENVELOPE, owner=OWNER):
    return filters.run(code, message, envelope, owner)


def pids(filters):
    return [process.pid for process in filters.pool.processes.values()]


def of_user(uid):
    """The processes of a user: {pid: command line}."""
    found = {}
    for name in os.listdir("/proc"):
        try:
            with open("/proc/%s/status" % name) as file:
                status = file.read()
            with open("/proc/%s/cmdline" % name, "rb") as file:
                command = file.read()
        except OSError:
            continue
        if name.isdigit() and "\nUid:\t%d\t" % uid in status and "\nState:\tZ" not in status:
            found[int(name)] = command
    return found


def strays(seconds, *several):
    """The owner's processes that run still after that time, beside those that wait for requests."""
    known = [pid for filters in several for pid in pids(filters)]
    deadline = time.monotonic() + seconds
    while True:
        found = [pid for pid in of_user(UID) if pid not in known]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.01)


# -- what a script says


@pytest.mark.parametrize("subject, result", [
    (b"n 3", ODD), (b"n 4", Result(Decision("accept", "even"))), (b"hello", Result()),
    (b"", Result())])
def test_the_predecessors_example(filters, subject, result):
    assert ask(filters, EXAMPLE, letter(subject)) == result


@pytest.mark.parametrize("code, result", [
    ("accept()", Result(Decision("accept", "INBOX"))),
    ("accept('Lists/dév')", Result(Decision("accept", "Lists/dév"))),
    ("reject('no, thank you')", Result(Decision("reject", "no, thank you"))),
    ("reject()", Result(Decision("reject", ""))),
    ("reject('folded\\n\\tand \\x00\\x1b odd')", Result(Decision("reject", "folded and odd"))),
    ("reject(msg['Subject'])", Result(Decision("reject", "n 3"))),
    ("reject('a\\udc80b' + 'x' * 2000)", Result(Decision("reject", "a b" + "x" * 997))),
    ("discard()", Result(Decision("discard"))),
    ("forward('c@example.com')", Result(Decision("forward", "c@example.com"))),
    ("flag('work'); flag('\\\\seen'); copy('c@example.com'); accept('odd')",
     Result(Decision("accept", "odd"), ("work", "\\Seen"), ("c@example.com",))),
    ("flag('work'); flag('work')", Result(None, ("work",))),
    ("accept('odd'); accept('even')", ODD),
    ("try:\n accept('odd')\nexcept BaseException: pass\nreject('x')\n", ODD),
    ("try:\n accept('odd')\nfinally:\n flag('late')\n", ODD),
    ("def f():\n for _ in iter(accept, 0): pass\nclass A:\n  def __del__(self): accept('odd')\na = "
     "A()\ndel a\nf()\n", ODD),
    ("print('x' * 10**6, msg); print('ñ\\udc80'); accept('odd')", ODD),
    ("import sys; flag('x'); sys.exit()", Result(None, ("x",))),
    ("", Result()),
    ("# -*- coding: latin-1 -*-\r\naccept('ñ')\r\n", Result(Decision("accept", "ñ"))),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_said(filters, code, result):
    assert ask(filters, code) == result


@pytest.mark.parametrize("code, told", [
    ("flag('a')\n1/0", "line 2: ZeroDivisionError"),
    ("def f():\n  raise KeyError(msg['Subject'])\nf()", "line 2: KeyError"),
    ("accept(", "line 1: SyntaxError: "),
    ("raise SyntaxError(msg['Subject'], ('<filter>', 7, 7, msg['Subject']))",
     "line 1: SyntaxError"),
    ("accept(None)", "line 1: TypeError"),
    ("accept('')", "line 1: ValueError"),
    ("accept('a\\nflag b')", "line 1: ValueError"),
    ("accept('a\\udc80')", "line 1: ValueError"),
    ("flag('x' * 2000)", "line 1: ValueError"),
    ("forward('nobody')", "forward(): not an address"),
    ("forward('a@b c@d')", "forward(): not an address"),
    ("import sys; sys.exit('no')", "line 1: SystemExit"),
    ("input()", "line 1: EOFError"),
    ("x = " + "(" * 5000 + ")" * 5000, "Error"),
    ("x = '\\ud800\udc80'", "Error"),
    ("\0", "Error"),
], ids=lambda value: value[:40])
def test_what_fails_is_told_and_leaves_nothing(filters, code, told):
    result = ask(filters, code, letter(b"secret word"))
    assert result[:3] == Result()[:3]
    assert len(result.log_lines) == 1 and told in result.log_lines[0]
    assert "secret" not in result.log_lines[0]


@pytest.mark.parametrize("code, complaint", [
    ("flag('a b'); accept('odd')", "flag(): not a flag"),
    ("copy('nobody'); accept('odd')", "copy(): not an address"),
    ("try:\n accept('odd')\nexcept BaseException: 1/0", "line 4: ZeroDivisionError"),
    ("try:\n accept('odd')\nexcept BaseException:\n import os; os._exit(3)",
     "it ended without an answer")])
def test_a_decision_stands_whatever_else_went_wrong(filters, code, complaint):
    assert ask(filters, code) == ODD._replace(log_lines=(complaint.replace("line 4", "line 3"),))


def test_the_message_is_the_predecessors(filters):
    code = """
import email.header
text = str(email.header.make_header(email.header.decode_header(msg["Subject"])))
body = msg.get_payload(decode=True).decode("utf-8")
reject("%s %s %s %s" % (msg.policy is msg.__class__().policy, text, msg.get_content_charset(), body))
"""
    message = (b"Subject: =?utf-8?q?gr=C3=BCn?=\nContent-Type: text/plain; charset=utf-8\n"
               b"Content-Transfer-Encoding: 8bit\n\nqu\xc3\xa9")
    assert ask(filters, code, message).decision.argument == "True grün utf-8 qué"


def test_a_header_with_raw_octets(filters):
    assert ask(filters, "reject(msg['Subject'])",
               letter(b"caf\xe9")).decision == Decision("reject", "caf\ufffd")


def test_the_envelope(filters):
    class Letter:
        sender, recipient, tag, auth, size, path = None, "b@example.net", "tag", "spf=pass\ndkim=none", 123456, "x"

    result = ask(filters, "reject('%(sender)s|%(recipient)s|%(tag)s|%(auth)s|%(size)d' % envelope)",
                 envelope=Letter())
    assert result.decision.argument == "|b@example.net|tag|spf=pass dkim=none|123456"


def test_a_file_and_only_its_first_megabyte(filters, tmp_path):
    path = tmp_path / "message"
    path.write_bytes(letter(b"n 3", b"x" * 76 + b"\n" + b"line\n" * 10) + b"y" * 3000000)
    os.chmod(str(path), 0o600)
    code = ("reject(str(len(msg.as_string()) <= 1024 * 1024) + str(len(msg.get_payload()) > "
            "1000000))")
    assert ask(filters, code, str(path)).decision.argument == "TrueTrue"
    with pytest.raises(OSError):
        ask(filters, code, str(tmp_path / "missing"))


MIXED = b"Content-Type: multipart/mixed; boundary=x%d\n\n--x%d\n"


@pytest.mark.parametrize("body", [
    b"\n" * 1000000, b"--x\n\n" * 200000, b"".join(MIXED % (n, n) for n in range(5000)),
    b"a: b\n" * 50000,
    b"Content-Type: message/rfc822\n\n" * 30000], ids=["lines", "parts", "nested", "header",
                                                       "rfc822"])
def test_no_sender_can_choose_to_get_no_answer(filters, body):
    """What takes the email package seconds, or too much recursion."""
    head = b"Subject: n 3\nContent-Type: multipart/mixed; boundary=x\n"
    message = head + (b"" if body.startswith(b"a:") else b"\n--x\n") + body
    began = time.monotonic()
    assert ask(filters, EXAMPLE, message) == ODD
    assert time.monotonic() - began < 1.5


# -- what a bad script does

HARM = {
    "ends itself": ("import os; os._exit(0)", "it ended without an answer"),
    "aborts": ("import os; os.abort()", "signal 6 ended it"),
    "eats memory": ("x = bytearray(10**9)", "line 1: MemoryError"),
    "eats memory slowly": ("def f():\n x = []\n while True: x.append([0] * 1000)\nf()",
                           "line 3: MemoryError"),
    "eats memory to the last octet": ("x = []\nwhile True: x = [x]", "MemoryError"),
    "closes all and decides": ("import os; os.closerange(0, 1000); accept('even')",
                               "it ended without an answer"),
    "closes all": ("import os; os.closerange(0, 1000)", "it ended without an answer"),
    "writes garbage": (
        "import os\nfor fd in range(3, 64):\n try: os.write(fd, b'\\x00\\xff\\n' * 10)\n except "
        "OSError: pass\n"
        "accept('even')", "its answer is invalid"),
    "writes without end": (
        "import os\nfor fd in range(3, 64):\n try:\n  while True: os.write(fd, b'x' * 65536)\n"
        " except OSError: pass", "its answer is invalid"),
    "shuts its socket": (
        "import socket, time\nfor fd in range(3, 64):\n try: socket.socket(fileno=fd).shutdown(2)\n"
        " except OSError: pass\ntime.sleep(99)", "it ended without an answer"),
    "patches": (
        "import builtins, email.message\nemail.message.Message.__getitem__ = builtins.len = "
        "builtins.int = None\n1/0",
        "line 3: ZeroDivisionError"),
    "patches what runs it": (
        "import sys\nrun = sys.modules['phenmail_protocols.children.python_run']\nrun.parse = "
        "run.names_for = None\n"
        "accept.__globals__.clear()\nsys.modules.clear()\n1/0", None),
    "kills its group": ("import os; os.kill(0, 9)", "signal 9 ended it"),
    "replaces itself": ("import os; os.execv('/bin/sh', ['sh', '-c', 'exit 0'])",
                        "it ended without an answer"),
    "blocks": ("import signal; signal.pthread_sigmask(signal.SIG_SETMASK, range(1, 30)); 1/0",
               "line 1: ZeroDivisionError"),
    "becomes root": ("import os; os.setuid(0)", "line 1: PermissionError"),
    "lifts a limit": ("import resource; resource.setrlimit(resource.RLIMIT_CPU, (-1, -1))",
                      "line 1: ValueError"),
    "leaves its group": ("import os; os.setsid()", "line 1: PermissionError"),
    "writes files": (
        "import os\nfd = os.open('/tmp', getattr(os, 'O_TMPFILE', 0) | os.O_RDWR)\nos.write(fd, "
        "b'x')", "line "),
}


@pytest.mark.parametrize("name", sorted(HARM))
def test_harm_is_told_and_over_with_its_message(filters, name):
    code, told = HARM[name]
    ask(filters, EXAMPLE)
    before = pids(filters)
    result = ask(filters, code)
    assert result[:3] == Result()[:3]
    assert len(result.log_lines) == 1 and (told is None or told in result.log_lines[0]), result
    assert ask(filters, EXAMPLE) == ODD
    assert pids(filters) == before, "another process was needed"


@pytest.mark.parametrize("code", [
    "import os\nif os.fork(): os.wait()\naccept('even')",
    "import _thread\n_thread.start_new_thread(print, ())\naccept('even')"],
    ids=["process", "thread"])
def test_no_other_process_and_no_thread(filters, code):
    result = ask(filters, code)
    assert result.decision is None and result.log_lines[0].startswith("line 2: ")
    assert ask(filters, EXAMPLE) == ODD


HANGS = {
    "spins": "while True: pass",
    "sleeps": "import time; time.sleep(99)",
    "stops": "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
    "closes and sleeps": "import os, time; os.closerange(0, 1000); time.sleep(99)",
    "takes no signal": "import signal\nfor n in range(1, 65):\n try: signal.signal(n, "
                       "signal.SIG_IGN)\n"
                       " except (OSError, ValueError): pass\nwhile True: pass",
    "forks on": "import os\nwhile True:\n try: os.fork()\n except OSError: pass",
    "swallows": "while True:\n try: raise KeyError\n except BaseException: pass",
    "compiles": "compile('x = ' + '-' * 10**6 + '1', '', 'exec')\nwhile True: pass",
}


def test_hanging_ones_are_ended_all_at_once_and_hold_up_nobody(hurried):
    results, ends = {}, {}

    def run(name):
        results[name] = ask(hurried, HANGS[name])
        ends[name] = time.monotonic()

    ask(hurried, EXAMPLE)
    before = pids(hurried)
    threads = [threading.Thread(target=run, args=(name,))
               for name in sorted(HANGS)[:python_filters.MOST_RUNS - 1]]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    while len(hurried.pool.running) < len(threads) and time.monotonic() < began + 10:
        time.sleep(0.001)
    results_meanwhile = [ask(hurried, EXAMPLE) for _ in range(3)]
    meanwhile = time.monotonic()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == sorted(HANGS)[:len(threads)]
    for name, result in results.items():
        assert result.decision is None and len(result.log_lines) == 1, (name, result)
        assert result.log_lines[0].startswith(("stopped: it did not end within 1 s",
                                               "signal 24 ended it", "line ")), (name, result)
    assert results_meanwhile == [ODD] * 3
    assert meanwhile < max(ends.values()), "the others were waited for"
    assert max(ends.values()) - began < 10
    assert ask(hurried, EXAMPLE) == ODD
    assert pids(hurried) == before, "another process was needed"


def test_what_was_decided_before_it_hung_stands(hurried):
    code = "while True:\n try:\n  accept('odd'); accept('even')\n except BaseException: pass"
    result = ask(hurried, code)
    assert result.decision == Decision("accept", "odd") and len(result.log_lines) == 1


@pytest.mark.parametrize("code, decision", [
    ("import os; os.kill(os.getppid(), 9); accept('odd')", Decision("accept", "odd")),
    ("import os, time; os.kill(os.getppid(), 9); time.sleep(99)", None),
    ("import os, signal; os.kill(os.getppid(), signal.SIGSTOP)", None),
    ("import os, signal; os.kill(os.getppid(), signal.SIGSTOP); accept('odd')",
     Decision("accept", "odd"))])
def test_against_the_process_it_came_from(filters, hurried, code, decision):
    """An owner's script may signal the serving process: it is replaced, and the script ends in
    time."""
    assert ask(hurried, EXAMPLE) == ODD
    assert ask(hurried, code).decision == decision
    began = time.monotonic()
    assert ask(hurried, EXAMPLE) == ODD
    assert time.monotonic() - began < 3, "the next message had to wait"
    if ROOT and os.path.isdir("/proc/self"):
        assert strays(5, filters, hurried) == []


@as_root
@linux
def test_a_script_that_nobody_listens_to_is_ended_at_once(filters, hurried):
    for name in ("shuts its socket", "writes without end"):
        ask(filters, HARM[name][0])
        assert strays(1, filters, hurried) == [], "only its time would end it"


@as_root
@linux
def test_a_process_that_was_killed_meanwhile_is_replaced(filters):
    ask(filters, EXAMPLE)
    pid, = [process.pid for user, process in filters.pool.processes.items() if user == OWNER]
    os.kill(pid, 9)
    assert ask(filters, EXAMPLE) == ODD


# -- what a script has


def test_nothing_of_the_server(filters, monkeypatch):
    monkeypatch.setenv("PHENMAIL_SECRET", "secret")
    ours, theirs = socket.socketpair()
    made = PythonFilters()
    try:
        for end in (ours, theirs):
            end.set_inheritable(True)
        code = (
            "import os\nfound = []\nfor fd in range(64):\n try: os.fstat(fd); found.append(fd)\n "
            "except OSError: pass\n"
            "alone = os.getpgid(0) == os.getsid(0) == os.getpid()\n"
            "reject('%s %s %s %s' % (sorted(os.environ), len(found), os.getcwd(), alone))")
        assert ask(made, code).decision.argument == "['LANG', 'PATH'] 4 / True"
    finally:
        made.stop()
        ours.close()
        theirs.close()


def test_few_descriptors(filters):
    code = ("import os\nn = 0\ntry:\n while n < 1000: n = os.dup(1)\nexcept OSError: "
            "pass\nreject(str(n))")
    assert int(ask(filters, code).decision.argument) == 31


@as_root
def test_the_owners_rights(filters):
    code = "import os; reject('%s %s %s' % (os.getresuid(), os.getresgid(), os.getgroups()))"
    before = os.getgroups()
    os.setgroups([0, 7])
    try:
        for owner in ((UID, UID + 1), OTHER):
            assert ask(filters, code,
                       owner=owner).decision.argument == "%s %s []" % (
                (owner[0],) * 3, (owner[1],) * 3)
    finally:
        os.setgroups(before)
    assert ask(filters, "open('/etc/shadow')").log_lines == ("line 1: PermissionError",)


@as_root
@linux
def test_the_memory_of_the_process_it_came_from_is_out_of_reach(filters):
    assert ask(filters,
               "import os; os.open('/proc/%d/mem' % os.getppid(), os.O_RDWR)").log_lines == (
        "line 1: PermissionError",)
    assert ask(filters,
               "import os; os.listdir('/proc/%d/fd' % os.getppid())").log_lines == (
        "line 1: PermissionError",)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no such call")
def test_every_processor():
    before, made = os.sched_getaffinity(0), PythonFilters()
    os.sched_setaffinity(0, [min(before)])
    try:
        assert ask(made,
                   "import os; reject(str(sorted(os.sched_getaffinity(0))))").decision.argument == str(sorted(before))
    finally:
        os.sched_setaffinity(0, before)
        made.stop()


def test_runs_have_no_common_chance(filters):
    code = "import random; reject(str(random.random()))"
    assert ask(filters, code) != ask(filters, code)


def test_code_is_compiled_once(filters):
    code = (
        "import gc\nfor found in gc.get_objects():\n  if type(found).__name__ == 'Server' and "
        "hasattr(found, '_codes'):\n"
        "    reject(str([source for source in found._codes].count(%s)))\n")
    code %= "b'accept(1)'"
    assert ask(filters, code).decision.argument == "0"
    for _ in range(3):
        assert ask(filters, "accept(1)").decision == Decision("accept", "1")
    assert ask(filters, code).decision.argument == "1"


# -- who runs, and for how long


@as_root
def test_root_runs_nothing(monkeypatch):
    made = PythonFilters()
    try:
        result = ask(made, EXAMPLE, owner=(0, 0))
        assert result.decision is None and "run-as" in result.log_lines[0]
        assert made.pool.processes == {}
    finally:
        made.stop()


@as_root
def test_roots_folder_as_the_user_that_is_set():
    import pwd
    made = PythonFilters(run_as="nobody")
    try:
        uid = pwd.getpwnam("nobody").pw_uid
        assert ask(made, "import os; reject(str(os.getuid()))",
                   owner=(0, 0)).decision.argument == str(uid)
    finally:
        made.stop()


@pytest.mark.parametrize("python, told", [("/bin/false", "cannot run Python filters"),
                                          ("/does/not/exist", "cannot start")])
def test_no_interpreter_is_told_and_not_tried_for_each_message(python, told, caplog):
    now = [1000.0]
    made = PythonFilters(python, clock=lambda: now[0])
    try:
        for _ in range(2):
            result = ask(made, EXAMPLE)
            assert result.decision is None and python in result.log_lines[0]
            assert told in result.log_lines[0]
        assert len(caplog.records) == 1
        now[0] += pool.FAILED_FOR
        made._python = sys.executable
        assert ask(made, EXAMPLE) == ODD
    finally:
        made.stop()


@pytest.mark.parametrize("host", ["/usr/sbin/apache2", "", None])
def test_a_host_that_is_no_python_is_not_started_again(monkeypatch, host):
    made = PythonFilters()
    monkeypatch.setattr(interpreter.sys, "executable", host)
    result = ask(made, EXAMPLE)
    assert result.decision is None and 'set "python"' in result.log_lines[0]
    monkeypatch.undo()
    assert interpreter.interpreter() == sys.executable
    made.stop()


def test_not_on_windows(monkeypatch):
    made = PythonFilters()
    with monkeypatch.context() as changed:
        changed.setattr(python_filters.os, "name", "nt")
        result = made.run(EXAMPLE, b"", ENVELOPE, (0, 0))
    assert result == Result(log_lines=("not run: Python filters need a POSIX system",))
    made.stop()


def test_too_much_code(filters):
    assert "262144" in ask(filters, "#" * 262144 + "#").log_lines[0]
    assert ask(filters, "#" * 262144) == Result()


def test_idle_processes_end():
    now = [1000.0]
    made = PythonFilters(clock=lambda: now[0], idle=60.0)
    try:
        ask(made, EXAMPLE)
        pid, = pids(made)
        now[0] += 59
        made.pool.end_idle()
        assert pids(made) == [pid]
        now[0] += 1
        made.pool.end_idle()
        assert pids(made) == []
        with pytest.raises(OSError):
            os.kill(pid, 0)
        assert ask(made, EXAMPLE) == ODD
    finally:
        made.stop()


def test_somebody_looks_for_idle_processes():
    made = PythonFilters(idle=0.05)
    try:
        ask(made, EXAMPLE)
        deadline = time.monotonic() + 20
        while (pids(made) or made.pool.thread) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert pids(made) == [] and made.pool.thread is None
        assert ask(made, EXAMPLE) == ODD
    finally:
        made.stop()


def test_a_process_is_replaced_after_many_requests(monkeypatch):
    monkeypatch.setattr(python_filters, "REQUESTS_OF_ONE", 3)
    made, seen = PythonFilters(), []
    try:
        for _ in range(7):
            assert ask(made, EXAMPLE) == ODD
            seen.extend(pid for pid in pids(made) if pid not in seen)
        assert len(seen) == 3
        with pytest.raises(OSError):
            os.kill(seen[0], 0)
    finally:
        made.stop()


@as_root
def test_few_processes(monkeypatch):
    monkeypatch.setattr(python_filters, "MOST_PROCESSES", 2)
    made = PythonFilters()
    try:
        for uid in (UID, UID + 1, UID + 2, UID):
            assert ask(made, EXAMPLE, owner=(uid, uid)) == ODD
            assert len(pids(made)) <= 2
        assert sorted(made.pool.processes) == [(UID, UID), (UID + 2, UID + 2)]
    finally:
        made.stop()


def test_many_at_once(filters):
    wrong, codes = [], [EXAMPLE + "#%d" % number for number in range(3)]

    def run(number):
        for turn in range(10):
            expected = "odd" if (number + turn) % 2 else "even"
            result = ask(filters, codes[(number + turn) % 3], letter(b"n %d" % (number + turn)))
            if result != Result(Decision("accept", expected)):
                wrong.append(result)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert not filters.pool.running


def test_one_code_takes_few_turns(monkeypatch):
    monkeypatch.setattr(python_filters, "WAIT_SECONDS", 0.2)
    made = PythonFilters(seconds=1.5)
    results = []
    threads = [threading.Thread(target=lambda: results.append(
        ask(made, "import time; time.sleep(1)"))) for _ in range(3)]
    try:
        ask(made, EXAMPLE)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(result.log_lines
                      for result in results) == [(), (),
                                                 ("not run: too many Python filters are running",)]
    finally:
        made.stop()


def test_stop():
    made, results = PythonFilters(), []
    ask(made, EXAMPLE)
    pid, = pids(made)
    thread = threading.Thread(target=lambda: results.append(
        ask(made, "import time; time.sleep(0.3); accept('odd')")))
    thread.start()
    deadline = time.monotonic() + 10
    while not made.pool.running and time.monotonic() < deadline:
        time.sleep(0.001)
    made.stop()
    made.stop()
    thread.join(10)
    assert results == [ODD], "what was at work is let finish"
    assert pids(made) == [] and not any(thread.name == "phenmail-Python-filters"
                                        and thread is made.pool.thread
                                        for thread in threading.enumerate())
    with pytest.raises(OSError):
        os.kill(pid, 0)
    assert ask(made, EXAMPLE) == Result(log_lines=("not run: the server is stopping",))


@linux
def test_no_descriptor_stays_open(filters):
    ask(filters, EXAMPLE)
    before = len(os.listdir("/proc/self/fd"))
    for code in (EXAMPLE, HARM["closes all"][0], HARM["writes without end"][0], "1/0"):
        ask(filters, code)
    assert len(os.listdir("/proc/self/fd")) == before


@as_root
def test_nothing_is_left_when_the_server_is_gone(tmp_path):
    """Killed as hard as can be, while a script sleeps."""
    import subprocess
    driver = tmp_path / "driver.py"
    driver.write_text("import sys, threading\nsys.path.insert(0, %r)\n"
                      "from phenmail_protocols.children.python_filters import PythonFilters\n"
                      "made = PythonFilters(seconds=30.0)\nrun = lambda code: made.run(code, b'', "
                      "{}, (%d, %d))\nrun('')\n"
                      "threading.Thread(target=run, args=('import time; time.sleep(99)',), "
                      "daemon=True).start()\n"
                      "while not made.pool.running: pass\nprint('up', "
                      "flush=True)\nthreading.Event().wait(60)\n"
                      % (TOP, UID + 3, UID + 3))
    server = subprocess.Popen([sys.executable, str(driver)], stdout=subprocess.PIPE)
    try:
        assert server.stdout.readline() == b"up\n"
        deadline = time.monotonic() + 10
        while not of_user(UID + 3) and time.monotonic() < deadline:
            time.sleep(0.01)
        server.kill()
        server.wait()
        deadline = time.monotonic() + 10
        while of_user(UID + 3) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert of_user(UID + 3) == {}
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
