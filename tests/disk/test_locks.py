

def test_a_file_that_is_gone_is_not_made_where_that_was_asked(tmp_path):
    path = str(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        FileLock(path, 0, create=False).acquire()
    assert not os.path.exists(path)
    open(path, "w").close()
    with FileLock(path, 0, create=False):
        with pytest.raises(LockTimeout):
            FileLock(path, 0, create=False).acquire()
