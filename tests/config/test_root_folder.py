"""The root folder: which device, which paths."""

import os

import pytest

from phenmail_protocols.config.root_folder import InvalidPath, Root, RootError, is_component


@pytest.fixture
def root(tmp_path):
    root = Root(str(tmp_path / "root"))
    root.create()
    return root


def make_device(root, name):
    folder = os.path.join(root.path, name, "system", "mail")
    os.makedirs(folder)
    with open(os.path.join(folder, "mail.jcfg"), "w") as file:
        file.write("{}")


def test_the_first_device_is_called_device_and_looking_makes_nothing(tmp_path):
    root = Root(str(tmp_path / "none"))
    assert root.device == "device"
    assert not os.path.exists(root.path)


def test_create_makes_private_folders(tmp_path):
    root = Root(str(tmp_path / "root"))
    before = os.umask(0)  # an embedding program's own business
    try:
        root.create()
    finally:
        os.umask(before)
    folder = root.mail_system
    while folder != str(tmp_path):
        assert os.stat(folder).st_mode & 0o777 == 0o700, folder
        folder = os.path.dirname(folder)
    root.create()


def test_the_only_device_is_found(root):
    make_device(root, "pi")
    os.makedirs(os.path.join(root.path, "alice", "mail"))
    assert Root(root.path).device == "pi"
    assert Root(root.path).configuration == os.path.join(root.path, "pi", "system", "mail",
                                                         "mail.jcfg")


def test_several_devices_need_a_name(root):
    make_device(root, "pi")
    make_device(root, "laptop")
    with pytest.raises(RootError, match="--device NAME.*") as caught:
        Root(root.path)
    assert "laptop, pi" in str(caught.value)
    assert Root(root.path, device="pi").device == "pi"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "x" * 256, "\ud800"])
def test_a_device_is_one_folder(tmp_path, name):
    with pytest.raises(RootError):
        Root(str(tmp_path), device=name)


@pytest.mark.parametrize("text, owner, inner", [
    ("/alice/mail", None, "alice/mail"),
    ("/[user-identity]/path/to/mail", "alice", "alice/path/to/mail"),
    ("/[device-identity]/system/mail/dkim.key", None, "device/system/mail/dkim.key"),
    ("//alice/./mail/", None, "alice/mail"),
    ("/alice/[draft]", None, "alice/[draft]"),
])
def test_paths_lie_inside(root, text, owner, inner):
    assert root.resolve(text, owner) == os.path.join(root.path, *inner.split("/"))


@pytest.mark.parametrize("text, owner", [
    ("/../etc/passwd", None), ("/alice/../../etc", None), ("/alice/..", None),
    ("alice/mail", None), ("", None), ("/[user-identity]/mail", None),
    ("/[user-identity]/mail", ".."), ("/[user-identity]/mail", "a/b"), ("/[user-identity]", "*"),
    ("/a\0b", None), ("file:/etc/passwd", None), ("/" + "x" * 256, None), ("/\ud800", None),
])
def test_paths_refused(root, text, owner):
    with pytest.raises(InvalidPath):
        root.resolve(text, owner)


def test_relative_paths_need_a_folder(root):
    folder = os.path.join(root.path, "alice", "mail")
    assert root.resolve("drop/in", folder=folder) == os.path.join(folder, "drop", "in")
    with pytest.raises(InvalidPath):
        root.resolve("../drop", folder=folder)
    with pytest.raises(InvalidPath):
        root.resolve("", folder=folder)


def test_outside_only_where_allowed(root):
    assert root.resolve("file:/etc/ssl/mail.pem", allow_outside=True) == "/etc/ssl/mail.pem"
    for text in ("file:etc/ssl", "file:", "file:/etc/../root"):
        with pytest.raises(InvalidPath):
            root.resolve(text, allow_outside=True)


def test_links_that_leave_are_refused(root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    os.symlink(str(outside), os.path.join(root.path, "alice"))
    os.makedirs(os.path.join(root.path, "bob", "mail"))
    os.symlink("mail", os.path.join(root.path, "bob", "post"))
    for text in ("/alice", "/alice/mail/new"):
        with pytest.raises(InvalidPath, match="link leads out"):
            root.resolve(text)
    assert root.resolve("/bob/post") == os.path.join(root.path, "bob", "post")


def test_a_root_behind_a_link_works(root, tmp_path):
    os.symlink(root.path, str(tmp_path / "link"))
    linked = Root(str(tmp_path / "link"))
    path = linked.resolve("/alice/mail")
    assert path == str(tmp_path / "link" / "alice" / "mail")
    assert linked.identity_of(os.path.realpath(path)) == "alice"


def test_identity_follows_links(root, tmp_path):
    os.makedirs(os.path.join(root.path, "bob", "mail"))
    os.makedirs(os.path.join(root.path, "alice"))
    os.symlink(os.path.join(root.path, "bob", "mail"), os.path.join(root.path, "alice", "mail"))
    assert root.identity_of(os.path.join(root.path, "alice", "x")) == "alice"
    assert root.identity_of(os.path.join(root.path, "alice", "mail")) == "bob"
    assert root.identity_of(root.path) is None
    assert root.identity_of(str(tmp_path)) is None


def test_components():
    assert is_component("alice") and is_component("é") and is_component("...")
    assert not is_component("a/b") and not is_component("*")
