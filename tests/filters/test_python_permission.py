"""Which Python filters may run: signed ones, administrators' and the server's, and no others."""
import json
import os

import pytest

from phenmail_protocols.accounts.authorization import EXTERNAL_MDA, FILTER, Authorizations
from phenmail_protocols.config import loader
from phenmail_protocols.config.problems import ConfigError
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.filters import python_permission
from phenmail_protocols.filters.python_permission import (
    NOT_AUTHORIZED,
    Permission,
    PythonPermission,
)

CODE = "if msg['Subject'] == 'ñ':\n    accept('odd')\n"


class Given:
    """A root with users, and what may run in it."""

    def __init__(self, path, **values):
        self.root = Root(str(path))
        self.root.create()
        self.settings = loader.server_from_dict(dict({"sender-domain": "example.org",
                                                      "admin": ["boss"]}, **values), self.root,
                                                      True)
        self.authorizations = Authorizations(self.root.mail_system)
        self.leave = PythonPermission(self.root, self.authorizations, lambda: self.settings)
        for identity in ("alice", "bob", "boss"):
            os.makedirs(self.at(identity))

    def at(self, identity, *names):
        return os.path.join(os.path.realpath(self.root.path), identity, "mail", *names)

    def write(self, text, *place):
        with open(self.at(*place), "w", encoding="utf-8", newline="") as file:
            file.write(text)

    def rule(self, identity="alice", code=CODE, authorization=None):
        keys = {"authorization": authorization} if authorization else {}
        self.write(json.dumps({"filters": [dict(keys, type="py", code=code)]}), identity,
                   "filters.jcfg")
        rule, = loader.load_filters(self.at(identity, "filters.jcfg"), self.root)
        return rule

    def sign(self, code=CODE, identity="alice", kind=FILTER):
        return self.authorizations.sign(identity, kind, code)

    def asked(self, rule, identity="alice"):
        return self.leave.code(rule, self.at(identity))


@pytest.fixture
def given(tmp_path):
    return Given(tmp_path)


def test_what_is_authorized_runs(given):
    assert given.asked(given.rule(authorization=given.sign())) == Permission(CODE)


def test_the_code_of_a_file_is_what_is_authorized(given):
    given.write(CODE, "alice", "filter.py")
    rule = given.rule(code="file:filter.py", authorization=given.sign())
    assert given.asked(rule) == Permission(CODE)
    assert given.asked(given.rule(code="file:filter.py",
                                  authorization=given.sign("file:filter.py"))) == Permission(
        None, NOT_AUTHORIZED)


def test_the_administrators_need_none(given):
    given.write(CODE, "boss", "filter.py")
    for code in (CODE, "file:filter.py"):
        assert given.asked(given.rule("boss", code), "boss") == Permission(CODE)
    assert given.asked(given.rule("alice")) == Permission(None, NOT_AUTHORIZED)
    given.settings = given.settings._replace(admin=("alice",))
    assert given.asked(given.rule("alice")) == Permission(CODE)
    assert given.asked(given.rule("boss"), "boss").code is None


def test_the_servers_filters_need_none(tmp_path):
    given = Given(tmp_path, **{"global-filters": [{"type": "py", "code": CODE},
                                                  {"type": "py", "code": "file:all.py"},
                                                  {"type": "py", "code": "file:/boss/mail/all.py"},
                                                  {"type": "py",
                                                   "code": "file:/alice/mail/all.py"}]})
    text, own, admins, users = given.settings.global_filters
    with open(os.path.join(given.root.mail_system, "all.py"), "w") as file:
        file.write("discard()")
    for identity in ("boss", "alice"):
        given.write("accept()", identity, "all.py")
    assert [given.asked(rule).code for rule in (text, own,
                                                admins)] == [CODE, "discard()", "accept()"]
    assert "another user" in given.asked(users).reason


@pytest.mark.parametrize("authorization", [
    lambda given: given.sign(identity="bob"), lambda given: given.sign(identity="Alice"),
    lambda given: given.sign(identity="alice/mail"),
    lambda given: given.sign(kind=EXTERNAL_MDA), lambda given: given.sign(CODE + " "),
    lambda given: given.sign(CODE[:-1]),
    lambda given: given.sign(CODE.replace("\n", "\r\n")),
    lambda given: given.sign(CODE.replace("ñ", "n\u0303")),
    lambda given: given.sign().upper() + " ", lambda given: None, lambda given: "x"])
def test_no_other_authorization_helps(given, authorization):
    assert given.asked(given.rule(authorization=authorization(given))) == Permission(
        None, NOT_AUTHORIZED)


@pytest.mark.parametrize("change", [CODE + " ", CODE + "\n", CODE.replace("\n", "\r\n"),
                                    "\ufeff" + CODE, CODE.replace("    ", "\t"),
                                    CODE.replace("odd", "оdd"), "# coding: utf-7\n" + CODE])
def test_a_file_that_changed_after_it_was_signed_does_not_run(given, change):
    given.write(CODE, "alice", "filter.py")
    rule = given.rule(code="file:filter.py", authorization=given.sign())
    assert given.asked(rule).code == CODE
    given.write(change, "alice", "filter.py")
    assert given.asked(rule) == Permission(None, NOT_AUTHORIZED)
    given.write(CODE, "alice", "filter.py")
    assert given.asked(rule).code == CODE


def test_what_was_looked_at_is_what_runs(given, monkeypatch):
    given.write(CODE, "alice", "filter.py")
    rule = given.rule(code="file:filter.py", authorization=given.sign())
    reads, holds = [], given.authorizations.holds

    def meanwhile(*arguments):
        given.write("discard()", "alice", "filter.py")
        return holds(*arguments)
    real = python_permission.open_beneath.read
    monkeypatch.setattr(python_permission.open_beneath, "read",
                        lambda *arguments: reads.append(arguments) or real(*arguments))
    monkeypatch.setattr(given.authorizations, "holds", meanwhile)
    assert given.asked(rule) == Permission(CODE) and len(reads) == 1
    assert given.asked(rule).code is None


@pytest.mark.parametrize("put", [
    lambda given, path: os.symlink(given.at("boss", "filter.py"), path),
    lambda given, path: os.symlink("/etc/passwd", path),
    lambda given, path: os.symlink(path, path),
    lambda given, path: os.mkfifo(path),
    lambda given, path: os.mkdir(path),
    lambda given, path: os.symlink("/dev/zero", path),
    lambda given, path: open(path, "wb").write(b"#" * (256 * 1024 + 1)),
    lambda given, path: open(path, "wb").write(b"# \xff\n"),
    lambda given, path: open(path, "wb").write(b" \n"),
    lambda given, path: None])
def test_what_may_be_put_in_place_of_a_file(given, put):
    """After the filters were read; the same of the administrator's own."""
    given.write(CODE, "boss", "filter.py")
    for identity in ("alice", "boss"):
        rule = given.rule(identity, "file:code.py", given.sign(identity=identity))
        put(given, given.at(identity, "code.py"))
        found = given.asked(rule, identity)
        if os.path.realpath(given.at(identity,
                                     "code.py")) == given.at("boss",
                                                             "filter.py") and identity == "boss":
            assert found.code == CODE, "a link inside of one's own folder"
        else:
            assert found.code is None and found.reason.startswith("the code was not run: ")


def test_a_link_to_another_users_code(given):
    given.write(CODE, "bob", "filter.py")
    rule = given.rule(code="file:code.py", authorization=given.sign(identity="bob"))
    os.symlink(given.at("bob", "filter.py"), given.at("alice", "code.py"))
    assert "another user" in given.asked(rule).reason
    with pytest.raises(ConfigError, match="inside the folder of its owner alice"):
        given.rule(code="file:code.py")


def test_a_folder_that_becomes_a_link_while_it_is_read(given, monkeypatch):
    os.makedirs(given.at("alice", "code"))
    given.write(CODE, "alice", "code", "filter.py")
    os.makedirs(given.at("bob", "code"))
    given.write("discard()", "bob", "code", "filter.py")
    given.settings = given.settings._replace(admin=("alice",))
    rule = given.rule(code="file:code/filter.py")
    real = os.path.realpath

    def swap(path):
        found = real(path)
        if path == rule.code_file:
            os.rename(given.at("alice", "code"), given.at("alice", "old"))
            os.symlink(given.at("bob", "code"), given.at("alice", "code"))
        return found
    monkeypatch.setattr(python_permission.os.path, "realpath", swap)
    found = given.asked(rule)
    assert found.code is None and "cannot read its file" in found.reason


def test_filters_of_another_identity_are_not_included(given):
    given.rule("bob", authorization=given.sign(identity="bob"))
    os.symlink(given.at("bob", "filters.jcfg"), given.at("boss", "link"))
    for name in ("/bob/mail/filters.jcfg", "link"):
        given.write('{"include": ["%s"]}' % name, "boss", "filters.jcfg")
        with pytest.raises(ConfigError, match="inside the folder of its owner boss"):
            loader.load_filters(given.at("boss", "filters.jcfg"), given.root)


def test_a_link_to_another_users_filters_brings_no_authority(given):
    """Whatever file the filters came from: what counts is the folder that the mail is for."""
    rule = given.rule("boss")
    os.symlink(given.at("boss", "filters.jcfg"), given.at("alice", "filters.jcfg"))
    assert given.asked(rule, "alice") == Permission(None, NOT_AUTHORIZED)
    os.rename(given.at("alice"), given.at("alice") + "-")
    os.symlink(given.at("boss"), given.at("alice"))
    assert given.asked(rule, "alice") == Permission(None, NOT_AUTHORIZED)


def test_a_folder_of_nobodys(given):
    rule = given.rule("boss", authorization=given.sign())
    for folder in ("/", "/tmp", given.root.path, given.root.path + "x/boss/mail",
                   given.at("alice", "..", "..", "..", "..")):
        assert given.leave.code(rule, folder) == Permission(None, NOT_AUTHORIZED)


def test_code_that_is_too_long_does_not_run(given):
    rule = given.rule("boss")._replace(code="#" * (256 * 1024 + 1))
    assert "longer" in given.asked(rule, "boss").reason
    assert given.asked(rule._replace(code="é" * (128 * 1024)), "boss").code
    assert given.asked(rule._replace(code="é" * (128 * 1024 + 1)), "boss").code is None
    rule = given.rule("boss", "file:filter.py")
    for length, runs in ((256 * 1024, True), (256 * 1024 + 1, False)):
        given.write("#" * length, "boss", "filter.py")
        assert (given.asked(rule, "boss").code is not None) is runs
    with pytest.raises(ConfigError, match="expected at most"):
        given.rule("boss", "#" * (256 * 1024 + 1))


def test_a_user_has_few_code_filters(given):
    given.write(json.dumps({"filters": [{"type": "py", "code": "file:%d" % number}
                                        for number in range(21)]}), "alice", "filters.jcfg")
    with pytest.raises(ConfigError,
                       match=r"alice/mail/filters.jcfg:1:\d+: filters\[20\]: expected at most 20 "
                             r"filters"):
        loader.load_filters(given.at("alice", "filters.jcfg"), given.root)
