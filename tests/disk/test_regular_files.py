"""Files at paths where somebody else may have put something else."""
import os

import pytest

from phenmail_protocols.disk.regular_files import open_plain


def test_a_file_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"a\r\nb")
    with open_plain(str(tmp_path / "file")) as file:
        assert file.read() == b"a\r\nb"


@pytest.mark.parametrize("make", [
    lambda path: os.symlink("/etc/passwd", path), os.mkfifo, os.mkdir, lambda path: None,
], ids=["link", "pipe", "folder", "nothing"])
def test_anything_else_is_refused_and_no_descriptor_stays(tmp_path, make):
    path = str(tmp_path / "there")
    make(path)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError):
        open_plain(path)
    assert len(os.listdir("/proc/self/fd")) <= before
