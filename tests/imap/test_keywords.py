"""Keywords: FLAGS and PERMANENTFLAGS precede whatever shows them (RFC 3501 7.1, 7.2.6)."""
import errno
import os
import random
import re
import threading

import pytest

from phenmail_protocols.store.maildir import keywords

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"
SYSTEM = {rb"\Answered", rb"\Flagged", rb"\Deleted", rb"\Seen", rb"\Draft", rb"\Recent"}


class Judge:
    """Follows the flags that one client is told of."""

    def __init__(self, lines=()):
        self.known, self.permanent, self.free, self.due = set(), set(), None, False
        self.shown = 0
        self.hear(lines)

    def hear(self, lines):
        for line in lines:
            flags = re.match(rb"\* FLAGS \(([^)]*)\)\Z", line)
            permanent = re.match(rb"\* OK \[PERMANENTFLAGS \(([^)]*)\)\] ", line)
            fetched = re.match(rb"\* \d+ FETCH \(.*FLAGS \(([^)]*)\)", line)
            if flags:
                self.known = set(flags.group(1).split())
                assert not self.due, "FLAGS twice without PERMANENTFLAGS"
                self.due = True
            elif permanent:
                self.permanent = set(permanent.group(1).split())
                self.free, self.due = rb"\*" in self.permanent, False
            elif fetched:
                shown = set(fetched.group(1).split()) - SYSTEM
                assert not self.due and shown <= self.known and shown <= self.permanent, (
                    line, self.known, self.permanent)
                self.shown += len(shown)
        return lines


@pytest.fixture
def two(connect):
    clients = [connect(), connect()]
    for _ in range(3):
        clients[0].append(MESSAGE)
    judges = [Judge(client.ok("SELECT INBOX")) for client in clients]
    return clients, judges


@pytest.mark.parametrize("command, keyword", [
    ("FETCH 1:* FLAGS", b"other"), ("UID FETCH 1:* (FLAGS)", b"other"),
    ("FETCH 1 (FLAGS BODY.PEEK[])", b"other"),
    ("FETCH 1 BODY[TEXT]", b"other"), ("FETCH 1 (FLAGS ENVELOPE)", b"other"),
    ("STORE 1 +FLAGS (\\Flagged)", b"other"),
    ("STORE 1 FLAGS (other mine)", b"mine"), ("UID STORE 1 -FLAGS (\\Flagged)", b"other"),
    ("NOOP", b"other"), ("CHECK", b"other"),
    ("APPEND INBOX (appended) {4+}\r\na: b", b"appended"), ("COPY 1 INBOX", b"other"),
    ("STORE 2 +FLAGS.SILENT (mine)", b"mine")])
def test_announced_before_it_is_shown(two, command, keyword):
    (client, other), (judge, _) = two
    other.ok("STORE 1 +FLAGS (other)")
    heard = judge.hear(client.ok(command))
    assert keyword in judge.known and keyword in judge.permanent and judge.free
    assert heard[0].startswith((b"* FLAGS", b"* 4 EXISTS", b"* 1 FETCH (BODY"))


def test_the_star_goes_and_comes(two):
    (client, other), (judge, rival) = two
    names = " ".join("k%d" % number for number in range(26))
    judge.hear(client.ok("STORE 1 +FLAGS (%s)" % names))
    rival.hear(other.ok("NOOP"))
    assert judge.free is False and rival.free is False
    judge.hear(client.ok("STORE 2 +FLAGS (\\Seen $Forwarded)"))
    assert client.ok("FETCH 2 FLAGS") == [b"* 2 FETCH (FLAGS (\\Seen))"]
    rival.hear(other.ok("STORE 1 -FLAGS (k3)"))
    judge.hear(client.ok("NOOP"))
    assert judge.free is True and rival.free is True
    judge.hear(client.ok("STORE 2 +FLAGS ($Forwarded)"))
    assert b"$Forwarded" in judge.known and judge.free is False


def test_copy_move_and_append_do_the_rest(two):
    (client, _), _ = two
    client.ok("CREATE full")
    client.append(MESSAGE, "full", "(%s)" % " ".join("k%d" % number for number in range(26)))
    client.ok("STORE 1:2 +FLAGS (\\Seen k1 new)")
    client.ok("COPY 1 full")
    client.ok("MOVE 2 full")
    assert client.append(MESSAGE, "full", "(\\Flagged newer)")[-1].startswith(b"OK")
    client.ok("SELECT full")
    assert client.ok("FETCH 2:4 FLAGS") == [
        b"* 2 FETCH (FLAGS (\\Seen \\Recent k1))", b"* 3 FETCH (FLAGS (\\Seen \\Recent k1))",
        b"* 4 FETCH (FLAGS (\\Flagged \\Recent))"]


@pytest.mark.parametrize("line", [b"0 \xc3\xa4", b"0 x)y", b"0 a b", b"0 a\rb", b"0 a\x00b",
                                  b"0 \\Seen", b'0 "x"', b"0 *", b"0 {3}", b"0 x]y"])
def test_an_odd_line_breaks_no_answer(connect, tmp_path, line):
    client = connect()
    client.append(MESSAGE, flags="(first second)")
    path = tmp_path / "mail" / "dovecot-keywords"
    path.with_suffix(".new").write_bytes(line + b"\n1 second\n")
    os.rename(str(path.with_suffix(".new")), str(path))
    client = connect()
    judge = Judge(client.ok("SELECT INBOX"))
    lines = judge.hear(client.ok("FETCH 1 FLAGS"))
    assert b"second" in lines[-1] and b"first" not in lines[-1]
    assert judge.known - SYSTEM == {b"second"}


def test_in_examine_nothing_stays(two):
    (client, other), _ = two
    client.ok("EXAMINE INBOX")
    other.ok("STORE 1 +FLAGS (new)")
    assert client.ok("FETCH 1 FLAGS")[:2] == [
        rb"* FLAGS (\Answered \Flagged \Deleted \Seen \Draft new)",
        b"* OK [PERMANENTFLAGS ()] Permanent flags"]


def steps(dice, count):
    """Random commands that set, take, show and add keywords."""
    for _ in range(count):
        names = " ".join(dice.sample(["w%d" % number for number in range(30)],
                                     dice.randrange(1, 6)))
        yield dice.choice([
            "STORE {0} +FLAGS ({1})", "STORE {0} FLAGS ({1})", "STORE {0} -FLAGS ({1})",
            "STORE {0} +FLAGS.SILENT ({1})",
            "UID STORE {0} +FLAGS ({1})", "FETCH {0} FLAGS", "UID FETCH {0}:* (FLAGS)", "NOOP",
            "FETCH {0}:* (FLAGS RFC822.SIZE)",
            "COPY {0} INBOX", "FETCH {0} (FLAGS BODY[HEADER])"]).format(dice.randrange(1, 4), names)


@pytest.mark.parametrize("seed", range(4))
def test_two_clients_in_turn(two, seed):
    clients, judges = two
    dice = random.Random(seed)
    for step in steps(dice, 150):
        number = dice.randrange(2)
        judges[number].hear(clients[number].ok(step))
    assert all(judge.shown > 100 for judge in judges)


def test_two_clients_at_once(two):
    clients, judges = two
    wrong = []

    def run(number):
        try:
            for step in steps(random.Random(number), 200):
                judges[number].hear(clients[number].ok(step))
        except AssertionError as error:
            wrong.append(error)
    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong, wrong[0]
    assert all(judge.shown > 100 for judge in judges)


@pytest.mark.parametrize("fault", [False, True])
def test_the_log_names_few_of_many_keywords(client, caplog, monkeypatch, fault):
    client.append(b"A: b\r\n\r\n")
    if fault:
        def full(*_):
            raise OSError(errno.ENOSPC, "no space left")
        monkeypatch.setattr(keywords.FlagLetters, "_write", full)
    with caplog.at_level("INFO", "phenmail.store"):
        client.ok("STORE 1 +FLAGS.SILENT (%s %s)" % ("x" * 9000, " ".join(
            "k%d" % number for number in range(5000))))
    record, = caplog.messages
    assert " k" in record and record.count(" others") == 1 and len(record) < 1000
