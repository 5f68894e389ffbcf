"""A full disk under the running program: mail is still found, read and removed, without the index
on the disk; nothing is taken that cannot be kept."""
import os

import pytest

from tests.small_disk import fill, mounted

from . import running

WORDS = ("apple", "berry", "cherry", "date", "elder", "fig")


def message(word):
    return (b"Subject: %s\r\nMessage-ID: <%s@example.org>\r\nFrom: %s@example.org\r\n"
            b"Content-Type: text/plain\r\n\r\nThe %s pie.\r\n" % ((word.encode(),) * 4))


@pytest.fixture
def small(tmp_path):
    """A folder on a file system of 6 MB."""
    with mounted(tmp_path, 6):
        yield tmp_path


@pytest.fixture(params=["full later", "full at login", "without an index"])
def server(small, request):
    """A server whose disk is full, or becomes full while INBOX is open."""
    with running.server(small / "root", limits={"disk-reserve": 0}) as server:
        with running.Client(server) as client:
            for word in WORDS:
                client.append(message(word))
        if request.param == "without an index":
            folder = running.folder(server)
            for name in os.listdir(folder):
                if ".sqlite" in name:
                    os.unlink(os.path.join(folder, name))
        if request.param != "full later":
            fill(small)
        yield server


def bodies(client):
    return [line.partition(b"\r\n")[2][:-1]
            for line in client.ok("FETCH 1:* BODY.PEEK[]") if b"BODY[]" in line]


def test_mail_is_read_and_removed(server, small):
    with running.Client(server) as client:
        fill(small)
        read(client)
        search(client)
        fill(small)
        client.send(b"a APPEND INBOX {100000+}\r\n" + b"A: b\r\n\r\n" + b"x" * 99992 + b"\r\n")
        assert client.until(b"a ")[-1].startswith(b"a NO [OVERQUOTA] ")
        remove(client)
        with running.Client(server) as other:
            assert bodies(other) == [message(word) for word in WORDS[2:]]
            assert other.ok("SEARCH UID 3") == [b"* SEARCH 1"]
        (small / "ballast").unlink()
        assert client.append(message("grape"))[-1].startswith(b"OK [APPENDUID ")
        client.ok("NOOP")
        assert client.ok("SEARCH SUBJECT grape") == [b"* SEARCH 5"]


def read(client):
    assert bodies(client) == [message(word) for word in WORDS]
    assert b"apple" in client.ok("FETCH 1 ENVELOPE")[0]
    assert b'"TEXT" "PLAIN"' in client.ok("FETCH 2 BODYSTRUCTURE")[0].upper()
    assert b"berry pie" in client.ok("FETCH 2 BODY[TEXT]")[0]
    assert client.ok("FETCH 2 BINARY.SIZE[1]") == [b"* 2 FETCH (BINARY.SIZE[1] 16)"]
    assert client.ok('LIST "" INBOX')[0].endswith(b" INBOX")


def search(client):
    assert client.ok("SEARCH TEXT cherry") == [b"* SEARCH 3"]
    assert client.ok("SEARCH SUBJECT date") == [b"* SEARCH 4"]
    assert client.ok("SEARCH RETURN (COUNT) FROM example.org")[0].endswith(b"COUNT 6")
    assert client.ok("SORT (REVERSE SUBJECT) UTF-8 ALL") == [b"* SORT 6 5 4 3 2 1"]
    assert client.ok("THREAD REFERENCES UTF-8 ALL") == [b"* THREAD (1)(2)(3)(4)(5)(6)"]


def remove(client):
    client.ok("STORE 1:2 +FLAGS (\\Deleted)")
    assert client.ok("SEARCH DELETED") == [b"* SEARCH 1 2"]
    lines = client.ok("EXPUNGE")
    assert lines.count(b"* 1 EXPUNGE") + lines.count(b"* 2 EXPUNGE") == 2
    assert bodies(client) == [message(word) for word in WORDS[2:]]
