"""Users' own files: preferences, filters, fetching."""

import os
import time

import pytest

from phenmail_protocols.config import loader
from phenmail_protocols.config.problems import ConfigError
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.config.settings import Filter, Vacation


@pytest.fixture
def root(tmp_path):
    root = Root(str(tmp_path))
    os.makedirs(os.path.join(root.path, "alice", "mail"))
    return root


def write(root, text, *parts):
    path = os.path.join(root.path, *parts)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def test_no_file_means_the_defaults(root):
    folder = os.path.join(root.path, "alice", "mail")
    user = loader.load_user(os.path.join(folder, "mail.jcfg"), root)
    assert user.passphrase is None and not user.use_global_filters
    assert user.delivery == os.path.join(folder, "delivery")
    assert user.filters == os.path.join(folder, "filters.jcfg")
    assert loader.load_filters(user.filters, root) == ()
    assert loader.load_fetcher(os.path.join(folder, "x.jcfg"), root).accounts == ()


@pytest.mark.parametrize("passphrase", [
    "0" * 64, "AB" * 32, "pbkdf2-sha256$600000$c2FsdA==$aGFzaA==",
    "scrypt$16384$8$1$c2FsdA==$aGFzaA=="])
def test_forms_of_passphrases(root, passphrase):
    path = write(root, '{"passphrase": "%s", "scram": "SCRAM-SHA-256$4096:c2E=$a:b"}'
                 % passphrase, "alice", "mail", "mail.jcfg")
    user = loader.load_user(path, root)
    assert user.passphrase == passphrase and user.scram.startswith("SCRAM")
    assert passphrase not in repr(user)


@pytest.mark.parametrize("passphrase", ["", "0" * 63, "g" * 64, "md5$x$y", "scrypt$", "a b"])
def test_a_wrong_passphrase_is_never_shown(root, passphrase):
    path = write(root, '{"passphrase": "%s"}' % passphrase, "alice", "mail", "mail.jcfg")
    with pytest.raises(ConfigError) as caught:
        loader.load_user(path, root)
    assert [problem.value for problem in caught.value.problems] == [None]


def test_paths_may_be_relative_to_the_mail_folder_or_in_the_root(root):
    path = write(root, '{"delivery": "in/drop", "filters": "/[user-identity]/rules.jcfg"}',
                 "alice", "mail", "mail.jcfg")
    user = loader.load_user(path, root)
    assert user.delivery == os.path.join(root.path, "alice", "mail", "in", "drop")
    assert user.filters == os.path.join(root.path, "alice", "rules.jcfg")


def test_a_link_to_somebody_elses_folder_is_refused(root):
    os.makedirs(os.path.join(root.path, "bob", "mail"))
    os.symlink(os.path.join(root.path, "bob"), os.path.join(root.path, "alice", "mail", "other"))
    path = write(root, '{"delivery": "other/mail"}', "alice", "mail", "mail.jcfg")
    with pytest.raises(ConfigError, match="inside the folder of its owner alice"):
        loader.load_user(path, root)


def test_a_file_outside_of_the_root_is_refused(root, tmp_path):
    with pytest.raises(ConfigError, match="inside the root folder"):
        loader.load_user(os.path.join(os.path.dirname(root.path), "mail.jcfg"), root)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(root):
    os.mkfifo(os.path.join(root.path, "alice", "mail", "pipe"))
    path = write(root, '{"include": ["pipe"]}', "alice", "mail", "mail.jcfg")
    with pytest.raises(ConfigError, match="a file that can be read.*not a regular file"):
        loader.load_user(path, root)
    os.remove(path)
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):
        loader.load_user(path, root)


@pytest.mark.parametrize("name", ["/bob/mail/mail.jcfg", "/[device-identity]/x.jcfg", "link"])
def test_a_user_includes_own_files_only(root, name):
    other = write(root, '{"passphrase": "%s"}' % ("0" * 64), "bob", "mail", "mail.jcfg")
    write(root, "{}", root.device, "x.jcfg")
    os.symlink(other, os.path.join(root.path, "alice", "mail", "link"))
    path = write(root, '{"include": ["%s"]}' % name, "alice", "mail", "mail.jcfg")
    with pytest.raises(ConfigError, match="inside the folder of its owner alice"):
        loader.load_user(path, root)


def test_filters(root):
    path = write(root, """{"filters": [
        {"type": "match", "content": "[3ug-l]", "action": "accept:Lists/3ug-l"},
        {"type": "match", "header": ["To", "*body"], "mode": "regex", "content": "x+",
         "action": "reject", "name": "why"},
        {"type": "py", "code": "accept('odd')\\n"}]}""", "alice", "mail", "filters.jcfg")
    place = "alice/mail/filters.jcfg:%d"
    assert loader.load_filters(path, root) == (
        Filter("match", ("Subject",), "contains", "[3ug-l]", "accept:Lists/3ug-l", place=place % 2),
        Filter("match", ("To", "*body"), "regex", "x+", "reject", "why", place=place % 3),
        Filter("py", code="accept('odd')\n", place=place % 5))


def test_the_file_of_a_code_filter_lies_beside_the_filters(root):
    path = write(root, """{"filters": [
        {"type": "py", "code": "file:filter.py"},
        {"type": "py", "code": "file:/[user-identity]/code/filter.py"}]}""", "alice", "mail", "filters.jcfg")
    assert [rule.code_file for rule in loader.load_filters(path, root)] == [
        os.path.join(root.path, "alice", "mail", "filter.py"),
        os.path.join(root.path, "alice", "code", "filter.py")]


def test_a_vacation_lasts_until_the_end_of_its_last_day(root):
    path = write(root, """{"filters": [{"type": "vacation", "text": "Gone\\nfishing", "from": "2026-07-01",
        "until": "2026-07-14", "period": "3 d", "addresses": ["a@example.net"]},
        {"type": "vacation", "text": "-", "subject": "Away", "until": "2026-12-31 18:30"}]}""",
                 "alice", "mail", "filters.jcfg")
    first, second = [rule.vacation for rule in loader.load_filters(path, root)]
    assert [time.localtime(moment)[:6] for moment in (first.since, first.until, second.until)] == [
        (2026, 7, 1, 0, 0, 0), (2026, 7, 15, 0, 0, 0), (2026, 12, 31, 18, 30, 0)]
    assert first[:3] == ("Gone\nfishing", None,
                         3 * 86400.0) and first.addresses == ("a@example.net",)
    assert second == Vacation("-", "Away", 7 * 86400.0, None, second.until)


def test_the_files_on_which_filters_depend(root):
    mine = write(root, '{"include": ["more.jcfg", "gone.jcfg"]}', "alice", "mail", "filters.jcfg")
    more = write(root, '{"filters": [', "alice", "mail", "more.jcfg")
    files = []
    with pytest.raises(ConfigError, match="alice/mail/more.jcfg:1:13"):
        loader.load_filters(mine, root, files.append)
    assert files == [mine, more, os.path.join(os.path.dirname(more), "gone.jcfg")]


def test_the_predecessors_fetcher(root):
    path = write(root, """{
      "accounts": [{
          "server": "imap.example.com",
          "protocol": "imap",             # imap / imaps
          "username": "alice",
          "passphrase": "KTgyfDNrNH0kbCkCKgMtAi4D",
          "period": "5 min",
          "first-time": "download-all",   # default is "ignore-all"
          "boxes": [{"Inbox": "filter"}, "SomeList",
                    {"SomeOtherList": "accept:mail:Lists/SomeOther"}, {"Spam": "delete"}]
      }]}""", "alice", "system", "config", "mail-fetcher.jcfg")
    fetcher = loader.load_fetcher(path, root)
    account = fetcher.accounts[0]
    assert fetcher.mail_folders == {"mail": os.path.join(root.path, "alice", "mail")}
    assert (account.protocol, account.port, account.period) == ("imap", 143, 300.0)
    assert account.boxes == (("Inbox", "filter"), ("SomeList", "filter"),
                             ("SomeOtherList", "accept:mail:Lists/SomeOther"),
                             ("Spam", "delete"))
    assert "KTgy" not in repr(fetcher)


def test_fetchers_defaults(root):
    path = write(root, '{"accounts": [{"server": "a.b", "username": "u", "passphrase": "p"}]}',
                 "alice", "system", "config", "mail-fetcher.jcfg")
    account = loader.load_fetcher(path, root).accounts[0]
    assert (account.protocol, account.port, account.first_time, account.boxes) == (
        "imaps", 993, "ignore-all", (("Inbox", "filter"),))


def test_an_authorization_that_was_emptied_is_none(root):
    path = write(root, '{"external-MDA": ">x@example.org", "authorization": ""}', "alice", "mail",
                 "mail.jcfg")
    assert not loader.load_user(path, root).authorization
