"""New keys: made by either tool, and never written over an existing file."""

import os
import threading

import pytest

from phenmail_protocols.dkim import key_making


def test_a_new_file(tmp_path):
    path = str(tmp_path / "new" / "dkim.key")
    assert key_making.publish(path, b"key")
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.listdir(str(tmp_path / "new")) == ["dkim.key"], "something was left behind"


def no_links(*arguments):
    raise PermissionError("no hard links here")


@pytest.mark.parametrize("links", [True, False])
def test_of_several_writers_one_wins(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path, start, won = str(tmp_path / "key"), threading.Barrier(8), []

    def publish(number):
        start.wait(30)
        if key_making.publish(path, b"%d" % number * 1000):
            won.append(number)
    threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(won) == 1
    with open(path, "rb") as file:
        assert file.read() == b"%d" % won[0] * 1000
    assert os.listdir(str(tmp_path)) == ["key"]


@pytest.mark.parametrize("links", [True, False])
def test_an_existing_key_stays(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    (tmp_path / "key").write_bytes(b"old")
    assert not key_making.publish(str(tmp_path / "key"), b"new")
    assert (tmp_path / "key").read_bytes() == b"old"


def test_openssl_first_then_cryptography(monkeypatch):
    def missing(stopping=None):
        raise FileNotFoundError
    monkeypatch.setattr(key_making, "_by_openssl", missing)
    monkeypatch.setattr(key_making, "_by_cryptography", lambda: b"made")
    assert key_making.new_rsa(threading.Event()) == b"made"

    def not_there():
        raise ImportError
    monkeypatch.setattr(key_making, "_by_cryptography", not_there)
    with pytest.raises(key_making.NoKeyTool):
        key_making.new_rsa(threading.Event())


def test_a_stop_ends_the_program(program, monkeypatch):
    """A key of 16384 bits takes minutes, but a stop ends that at once."""
    program("openssl")
    monkeypatch.setattr(key_making, "RSA_BITS", 16384)
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(OSError):
        key_making.new_rsa(stopping)
