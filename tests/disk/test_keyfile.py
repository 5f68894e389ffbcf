"""Keys are whole, made once, and readable by their owner only."""
import os
import stat
import threading

import pytest

from phenmail_protocols.disk import keyfile


def test_a_key_is_made_once_and_stays(tmp_path):
    path = str(tmp_path / "some.key")
    key = keyfile.kept_key(path)
    assert len(key) == keyfile.OCTETS
    assert keyfile.kept_key(path) == key
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert os.listdir(str(tmp_path)) == ["some.key"]


def test_a_file_without_a_key_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "some.key"
    for content in (b"", b"short", b"x" * 33):
        path.write_bytes(content)
        with pytest.raises(ValueError):
            keyfile.kept_key(str(path))
        assert path.read_bytes() == content


def test_parallel_threads_get_the_same_key(tmp_path):
    path, found = str(tmp_path / "some.key"), []
    threads = [threading.Thread(target=lambda: found.append(keyfile.kept_key(path)))
               for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8 and len(set(found)) == 1


def test_without_links_there_is_still_one_key(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "no links here")
    monkeypatch.setattr(keyfile.os, "link", refuse)
    path = str(tmp_path / "some.key")
    assert keyfile.kept_key(path) == keyfile.kept_key(path)
