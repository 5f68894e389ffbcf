"""The benchmarks themselves: they import, count right, and a tiny run without peers ends in
seconds."""
import importlib
import os
import pkgutil

import pytest

import tests.bench
from tests.bench import __main__ as bench
from tests.bench import fetching, filters, messages, relay, table
from tests.bench.peers import fetchers
from tests.bench.peers.dovecot import Dovecot

MODULES = [info.name for info in pkgutil.walk_packages(tests.bench.__path__, "tests.bench.")]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports(name):
    importlib.import_module(name)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"),
                    reason="memory and processor time are read from /proc")
def test_a_tiny_delivery_ends_and_finds_every_message(capsys):
    bench.main(["delivery", "--alone", "--quiet", "--rounds", "1", "--messages", "20"])
    lines = capsys.readouterr().out.splitlines()
    assert sum("delivery, " in line for line in lines) == 6, lines
    assert all("/s" in line for line in lines if "delivery, " in line)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"),
                    reason="memory and processor time are read from /proc")
def test_a_tiny_mailbox_answers_every_question(capsys):
    rows = ["select", "listing", "fresh", "search", "sort", "changes", "pop3", "clients",
            "million"]
    bench.main(rows + ["--alone", "--quiet", "--rounds", "1", "--mailbox", "30", "--messages",
                       "5"])
    shown = capsys.readouterr().out
    for name in ("SELECT, warm", "ENVELOPE, first", "ENVELOPE after", "SEARCH SUBJECT, warm",
                 "THREAD REFERENCES, warm", "a delivery announced to IDLE", "POP3 RETR of 1000",
                 "10 clients, commands a second", "SELECT of 300, the first of all"):
        assert name in shown
    assert "nan" not in shown


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"),
                    reason="memory and processor time are read from /proc")
def test_a_little_mail_goes_out(program, capsys, monkeypatch):
    program("smtp-sink")
    monkeypatch.setattr(relay, "RETRY", 5)
    monkeypatch.setattr(relay, "SIZE", 2000000)
    monkeypatch.setattr(relay, "GIVEN_BACK", 0)
    bench.main(["relay", "--alone", "--quiet", "--rounds", "1", "--messages", "10"])
    lines = capsys.readouterr().out.splitlines()
    for row in ("relay, 10 queued messages drained", "relay, submitted, signed and sent",
                "relay, 50 messages for a dead one"):
        assert any(line.startswith(row) for line in lines), lines


def test_a_row_that_does_not_exist_is_an_error(capsys):
    with pytest.raises(SystemExit):
        bench.main(["speed"])
    assert "unknown row: speed" in capsys.readouterr().err


def test_messages_differ_and_are_found_again(tmp_path):
    folder = str(tmp_path / "mail")
    messages.make(folder)
    for number in range(3):
        data = messages.message(number, "serial-%d" % number)
        assert 2000 < len(data) < 2200 and data.endswith(b"\r\n") and b"\r\n." not in data
        (tmp_path / "mail" / "new" / str(number)).write_bytes(data)
    assert sorted(messages.serials(folder)) == ["serial-0", "serial-1", "serial-2"]
    assert messages.count(folder) == 3


def test_a_filled_maildir_tells_its_sizes(tmp_path):
    folder = str(tmp_path / "mail")
    messages.fill(folder, 20)
    for entry in os.scandir(os.path.join(folder, "cur")):
        stored, served = (int(field[2:]) for field in entry.name.partition(":")[0].split(",")[1:])
        with open(entry.path, "rb") as file:
            data = file.read()
        assert stored == len(data) and served == len(data) + data.count(b"\n")


def test_verdicts():
    assert table.beside("rate", 130.0, "Peer", 100.0, "%.0f/s", at_least=1.2).verdict == "ok"
    assert table.beside("rate", 110.0, "Peer", 100.0, "%.0f/s", at_least=1.2).verdict == "MISSED"
    assert table.beside("time", 3.0, "Peer", 1.0, "%.0f ms", at_most=2).verdict == "MISSED"
    assert table.beside("time", 3.0, "Peer", None, "%.0f ms", at_most=2).verdict == "-"
    assert table.alone("size", 9.0, "%.0f MB", at_most=10).verdict == "ok"
    assert "1.30" in table.line(table.beside("rate", 130.0, "Peer", 100.0, "%.0f/s"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"),
                    reason="octets written are read from /proc")
def test_filters_and_many_mailboxes(capsys, monkeypatch):
    monkeypatch.setattr(filters, "MANY", 5)
    monkeypatch.setattr(filters, "SIZE", 300000)
    bench.main(["filters", "--alone", "--quiet", "--rounds", "1", "--messages", "40"])
    lines = capsys.readouterr().out.splitlines()
    for row in ("delivery with ten match filters", "delivery with a filter in code",
                "octets written for 5 mailboxes"):
        assert any(line.startswith(row) for line in lines), lines
    assert "ok" in next(line for line in lines if line.startswith("octets written"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"),
                    reason="memory and processor time are read from /proc")
def test_a_little_mail_is_fetched(program, capsys, monkeypatch):
    program("dovecot")
    for name, value in (("SIZE", 300000), ("ACCOUNTS", 2), ("WARMING", 2), ("DELIVERIES", 2)):
        monkeypatch.setattr(fetching, name, value)
    bench.main(["fetch", "--alone", "--quiet", "--rounds", "1", "--messages", "10"])
    lines = capsys.readouterr().out.splitlines()
    for row in ("fetch 10 messages over IMAP", "fetch 10 messages over POP3",
                "fetch 10 messages: memory", "fetch one message of 0 MB: memory",
                "2 accounts that wait with IDLE", "a new message at phenmail is here",
                "a new message at Dovecot is here"):
        assert any(line.startswith(row) for line in lines), lines


@pytest.mark.parametrize("fetcher, way", [("getmail", "IMAP"), ("getmail", "POP3"),
                                          ("mbsync", "IMAP")])
def test_other_fetchers_fetch_all(program, fetcher, way):
    program("dovecot")
    program(fetcher)
    folders = bench.Bench(bench.parser().parse_args(["--quiet"]))  # others may enter them
    source = Dovecot(folders.folder("dovecot"))
    messages.fill_new(source.maildir, 3)
    try:
        source.start()
        kind = {"getmail": fetchers.Getmail, "mbsync": fetchers.Mbsync}[fetcher]
        peer = kind(folders.folder("here"), source.ports[way.lower()], way, messages.USER)
        peer.run()
        assert sorted(messages.serials(peer.maildir)) == ["fetched-1", "fetched-2", "fetched-3"]
    finally:
        source.stop()
        folders.close()
