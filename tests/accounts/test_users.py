"""The user commands: what they write, what they refuse, and a server that runs beside them."""

import os
import re
import stat
import threading

import pytest

from phenmail_protocols.accounts import passphrases, users
from phenmail_protocols.accounts.directory import LoginFailed
from phenmail_protocols.accounts.passphrases import InvalidPassphrase
from phenmail_protocols.accounts.users import UserError
from phenmail_protocols.config.loader import load_server, load_user
from phenmail_protocols.config.problems import ConfigError
from phenmail_protocols.disk.locks import FileLock, LockTimeout
from phenmail_protocols.mail.address import Address

from .house import ELSEWHERE, PASSPHRASE, House

TEXT = """\
# our server
{
  "sender-domain": "example.com",    # the name
  "domains": {
    "Example.COM": {
      "postmaster": ":alice",        # required
      "alice": "/[user-identity]/mail"   # the boss
      # here come the others
    },
    "example.org": { }
  }
}
"""


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    monkeypatch.setattr("phenmail_protocols.accounts.passphrases.ITERATIONS", 10)
    defaults = {"hash_passphrase": (10,), "scram_secret": (10, None)}
    for name, values in defaults.items():
        monkeypatch.setattr(getattr(passphrases, name), "__defaults__", values)


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    house.write_server(TEXT)
    return house


def text_of(house):
    with open(house.root.configuration, encoding="utf-8") as file:
        return file.read()


def comments(text):
    return re.findall(r"#[^\n]*", text)


def test_a_new_user_can_log_in_beside_a_live_server(house):
    assert house.directory.account("bob") is None
    made = users.add_user(house.root, "bob@example.com")
    account = house.directory.authenticate("bob", made, ELSEWHERE)
    assert account.folder == house.folder("bob")
    assert '      "bob": "/[user-identity]/mail"\n' in text_of(house)
    assert comments(text_of(house)) == comments(TEXT)
    user = load_user(os.path.join(house.folder("bob"), "mail.jcfg"), house.root)
    assert user.passphrase.startswith("pbkdf2-sha256$") and user.scram and user.pop3pwd is None
    assert stat.S_IMODE(os.stat(os.path.join(house.folder("bob"), "mail.jcfg")).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(house.folder("bob")).st_mode) == 0o700


def test_a_chosen_passphrase(house):
    assert users.add_user(house.root, "bob", PASSPHRASE) == PASSPHRASE
    assert house.directory.authenticate("bob", PASSPHRASE, ELSEWHERE)
    for wrong in ("", "a\nb", "a\0b", "\ud800", "x" * 1025):
        with pytest.raises(InvalidPassphrase):
            users.add_user(house.root, "eve", wrong)
    assert house.directory.account("eve") is None and not os.path.exists(house.folder("eve"))


def test_the_same_name_in_two_domains_is_two_people(house):
    users.add_user(house.root, "alice@example.org", "hers")
    assert house.directory.account("alice@example.org").folder != house.directory.account(
        "alice").folder
    assert house.directory.account("alice@example.org").folder == house.folder("alice@example.org")
    users.add_user(house.root, house.root.device, "not the server's folder")
    assert not house.directory.account(house.root.device).folder.startswith(
        os.path.join(os.path.realpath(house.root.path), house.root.device) + os.sep)


@pytest.mark.parametrize("address", [
    "alice", "Alice@EXAMPLE.com", "postmaster", "bob@elsewhere.net", "*@example.com", "a b",
    "@example.com", "bob@", "", "../bob", "b/ob@example.com", ".", "bob@exa mple.com", "\ud800"])
def test_addresses_that_cannot_be_added(house, address):
    with pytest.raises(UserError):
        users.add_user(house.root, address, PASSPHRASE)
    assert text_of(house) == TEXT


def test_a_domain_of_its_own_is_made_only_for_the_sender_domain(tmp_path):
    house = House(tmp_path)
    house.write_server('{"sender-domain": "example.net"}')
    users.add_user(house.root, "bob", PASSPHRASE)
    assert house.directory.authenticate("bob@example.net", PASSPHRASE, ELSEWHERE)


def test_admin(house):
    users.add_user(house.root, "bob", PASSPHRASE, admin=True)
    users.add_user(house.root, "eve", PASSPHRASE, admin=True)
    assert load_server(house.root).admin == ("bob", "eve")
    assert [user.address for user in users.list_users(house.root) if user.admin] == [
        "bob@example.com", "eve@example.com"]
    users.delete_user(house.root, "bob")
    assert load_server(house.root).admin == ("eve",), "the next bob is another person"
    assert comments(text_of(house)) == comments(TEXT)


def test_another_passphrase(house):
    users.set_passphrase(house.root, "alice", "first")
    assert house.directory.authenticate("alice", "first", ELSEWHERE)
    users.set_passphrase(house.root, "Postmaster@example.com", "second")
    assert house.directory.authenticate("alice", "second", ELSEWHERE)
    with pytest.raises(LoginFailed):
        house.directory.authenticate("alice", "first", ELSEWHERE)
    made = users.set_passphrase(house.root, "alice")
    assert house.directory.authenticate("alice", made, ELSEWHERE)
    for address in ("nobody", "alice+x", "x@elsewhere.net"):
        with pytest.raises(UserError):
            users.set_passphrase(house.root, address, "x")


def test_another_passphrase_keeps_the_rest_of_the_users_file(house):
    house.user("alice", '{\n  # mine\n  "passphrase": "%s",  # old\n  "pop3pwd": "first",\n'
               '  "use-global-filters": true\n}\n' % ("0" * 64))
    users.set_passphrase(house.root, "alice", "second")
    path = os.path.join(house.folder("alice"), "mail.jcfg")
    with open(path, encoding="utf-8") as file:
        assert comments(file.read()) == ["# mine", "# old"]
    user = load_user(path, house.root)
    assert user.use_global_filters and user.scram
    # The old passphrase must not get in by another mechanism.
    assert house.directory.login(None).shared("alice") == b"second" and user.pop3pwd != "second"


def test_a_users_file_that_is_broken_is_left_alone(house):
    path = house.user("alice", "{ broken")
    with pytest.raises(ConfigError):
        users.set_passphrase(house.root, "alice", "x")
    with open(path) as file:
        assert file.read() == "{ broken"


def test_delete_takes_the_line_and_no_mail(house):
    users.add_user(house.root, "bob", PASSPHRASE)
    before = comments(text_of(house))
    letter = os.path.join(house.folder("bob"), "letter")
    open(letter, "w").close()
    assert users.delete_user(house.root, "BOB") == "bob@example.com"
    assert os.path.exists(letter) and comments(text_of(house)) == before
    assert house.directory.account("bob") is None
    with pytest.raises(LoginFailed):
        house.directory.authenticate("bob", PASSPHRASE, ELSEWHERE)
    with pytest.raises(UserError):
        users.delete_user(house.root, "bob")
    users.add_user(house.root, "bob", "again")
    assert house.directory.authenticate("bob", "again", ELSEWHERE)


def test_delete_leaves_no_alias_behind(house):
    with pytest.raises(UserError) as error:
        users.delete_user(house.root, "alice")
    assert "postmaster@example.com" in str(error.value)
    users.delete_user(house.root, "postmaster")
    users.delete_user(house.root, "alice")
    assert house.directory.resolve(Address("alice", "example.com")).kind == "unknown"


def test_list(house):
    users.add_user(house.root, "bob", PASSPHRASE)
    listed = users.list_users(house.root)
    assert [(user.address, user.kind, user.account) for user in listed] == [
        ("postmaster@example.com", "alias", "alice@example.com"),
        ("alice@example.com", "mailbox", "alice@example.com"),
        ("bob@example.com", "mailbox", "bob@example.com")]
    assert listed[0].ends == "alias of alice@example.com"


def test_a_domain_has_two_spellings_and_is_shown_in_one(house):
    house.write_server(TEXT.replace("Example.COM", "fa\u00df.example").replace(
        '"example.com"', '"xn--fa-hia.example"'))
    users.add_user(house.root, "bob@xn--fa-hia.example", PASSPHRASE)
    users.add_user(house.root, "eve", PASSPHRASE)
    assert [(user.address, user.ends.partition(" /")[0])
            for user in users.list_users(house.root)] == [
        ("postmaster@fa\u00df.example", "alias of alice@fa\u00df.example"),
        ("alice@fa\u00df.example", "mailbox"), ("bob@fa\u00df.example", "mailbox"),
        ("eve@fa\u00df.example", "mailbox")]
    users.delete_user(house.root, "BOB@FA\u1e9e.example")
    assert "xn--" not in text_of(house).partition("domains")[2] and "bob" not in text_of(house)


def test_windows_line_ends_stay(house):
    with open(house.root.configuration, "wb") as file:
        file.write(TEXT.replace("\n", "\r\n").encode("utf-8"))
    users.add_user(house.root, "bob", PASSPHRASE)
    with open(house.root.configuration, "rb") as file:
        data = file.read()
    assert data.count(b"\n") == data.count(b"\r\n") == TEXT.count("\n") + 1
    assert house.directory.authenticate("bob", PASSPHRASE, ELSEWHERE)


def test_what_an_included_file_defines(house):
    house.write_server(TEXT.replace('{\n  "sender', '{\n  "include": ["more.jcfg"],\n  "sender', 1))
    with open(os.path.join(house.root.mail_system, "more.jcfg"), "wb") as file:
        file.write(b'{"domains": {"example.org": {"zoe": "/zoe/mail"}}}\r\n')
    with pytest.raises(UserError):
        users.add_user(house.root, "zoe@example.org", PASSPHRASE)
    with pytest.raises(UserError) as error:
        users.delete_user(house.root, "zoe@example.org")
    assert "includes" in str(error.value)
    users.set_passphrase(house.root, "zoe@example.org", PASSPHRASE)
    users.add_user(house.root, "bob@example.org", PASSPHRASE)
    assert house.directory.authenticate("bob@example.org", PASSPHRASE, ELSEWHERE)
    assert house.directory.authenticate("zoe@example.org", PASSPHRASE, ELSEWHERE)


def test_a_broken_or_missing_configuration_is_told_and_left_alone(house):
    house.write_server("{ broken")
    for call in (lambda: users.add_user(house.root, "bob", "x"),
                 lambda: users.list_users(house.root),
                 lambda: users.delete_user(house.root, "bob"),
                 lambda: users.set_passphrase(house.root, "bob", "x")):
        with pytest.raises(ConfigError):
            call()
    assert text_of(house) == "{ broken"
    os.unlink(house.root.configuration)
    with pytest.raises(UserError):
        users.add_user(house.root, "bob", "x")


def test_words_at_once_lose_nobody(house):
    names = ["user%d" % number for number in range(12)]
    problems = []

    def add(name):
        try:
            users.add_user(house.root, name, PASSPHRASE)
        except Exception as error:      # told below
            problems.append(error)
    threads = [threading.Thread(target=add, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not problems
    assert {"%s@example.com" % name for name in names} < {
        user.address for user in users.list_users(house.root)}
    assert comments(text_of(house)) == comments(TEXT)


def test_a_word_waits_for_another_one_and_no_longer(house, monkeypatch):
    monkeypatch.setattr(users, "PATIENCE", 0)
    with FileLock(os.path.join(house.root.mail_system, users.LOCK)):
        with pytest.raises(LockTimeout):
            users.add_user(house.root, "bob", "x")
    assert users.add_user(house.root, "bob", "x")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0,
                    reason="only root may give files away")
def test_what_root_writes_belongs_to_the_roots_owner(house):
    os.chown(house.root.path, 12345, 23456)
    users.add_user(house.root, "bob", "x")
    folder = house.folder("bob")
    for path in (house.root.configuration, folder, os.path.dirname(folder),
                 os.path.join(folder, "mail.jcfg"),
                 os.path.join(house.root.mail_system, users.LOCK)):
        assert (os.stat(path).st_uid, os.stat(path).st_gid) == (12345, 23456), path


def test_generated_passphrases():
    made = {passphrases.generate() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch("[a-z]{5}(-[a-z]{5}){3}", each) for each in made)
    assert len(set(passphrases.LETTERS)) ** (passphrases.GROUPS * passphrases.GROUP) >= 2 ** 80
    assert all(passphrases.check(each) == each for each in made)
