"""The directory: every action, every spelling of a name, files that change or break."""

import os

import pytest

from phenmail_protocols.accounts.directory import LoginFailed
from phenmail_protocols.mail.address import Address

from .house import ELSEWHERE, PASSPHRASE, House

DOMAINS = {
    "example.com": {
        "alice": "/[user-identity]/mail",
        "postmaster": ":alice",
        "Abuse": ":postmaster",
        "info": ":bob@example.org",
        "lists": ":alice+lists",
        "gone": "-left the company",
        "carol": ">/usr/bin/deliver {TO} " + "a" * 64,
        "dan": ">dan@elsewhere.net",
        "robot": ".mail echo",
        "a+b": "/ab/mail",
        "Dora": "/dora1/mail", "dora": "/dora2/mail",
        "lost": ":nobody",
    },
    "example.org": {"bob": "/bob/mail", "*": "/bob/mail", "who": ":stranger"},
    "bücher.example": {"eva": "/eva/mail"},
}


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path, DOMAINS)
    for identity in ("alice", "bob", "ab", "dora1", "dora2", "eva"):
        house.old_user(identity)
    return house


def resolve(house, text):
    return house.directory.resolve(Address.parse(text) if "@" in text else Address(text, ""))


@pytest.mark.parametrize("text, identity, tag", [
    ("alice@example.com", "alice", None),
    ("alice@EXAMPLE.COM", "alice", None),
    ("ALICE@example.com", "alice", None),
    ("alice+news@example.com", "alice", "news"),
    ("Alice+News@example.com", "alice", "News"),
    ("alice+@example.com", "alice", ""),
    ("alice+a+b@example.com", "alice", "a+b"),
    ("a+b@example.com", "ab", None),
    ("a+b+c@example.com", "ab", "c"),
    ("postmaster@example.com", "alice", None),
    ("POSTMASTER@example.com", "alice", None),
    ("postmaster+x@example.com", "alice", "x"),
    ("PostMaster", "alice", None),
    ("abuse@example.com", "alice", None),
    ("lists@example.com", "alice", "lists"),
    ("lists+mine@example.com", "alice", "mine"),
    ("info@example.com", "bob", None),
    ("bob@example.org", "bob", None),
    ("anybody@example.org", "bob", None),
    ("any+body@example.org", "bob", None),
    ("who@example.org", "bob", None),
    ("Dora@example.com", "dora1", None),
    ("dora@example.com", "dora2", None),
    ("eva@bücher.example", "eva", None),
    ("eva@BÜCHER.example", "eva", None),
    ("eva@xn--bcher-kva.example", "eva", None),
])
def test_mailbox(house, text, identity, tag):
    found = resolve(house, text)
    assert (found.kind, found.folder, found.tag) == ("mailbox", house.folder(identity), tag)


@pytest.mark.parametrize("text, kind", [
    ("nobody@example.com", "unknown"),
    ("DORA@example.com", "unknown"),            # two of them without case
    ("nobody+tag@example.com", "unknown"),
    ("+tag@example.com", "unknown"),
    ("*@example.com", "unknown"),
    ("alice", "unknown"),                       # only postmaster stands alone
    ("alice@example.net", "remote"),
    ("alice@[192.0.2.1]", "remote"),
    ("alice@com", "remote"),
    ("lost@example.com", "broken"),
    ("gone@example.com", "disabled"),
    ("carol@example.com", "agent"),
    ("carol+x@example.com", "agent"),
    ("dan@example.com", "forward"),
    ("robot@example.com", "plugin"),
])
def test_other_ends(house, text, kind):
    found = resolve(house, text)
    works = kind in ("agent", "forward", "plugin")
    assert (found.kind, found.folder) == (kind, house.root.mail_system if works else None)


def test_what_the_others_need_is_there(house):
    assert resolve(house, "gone@example.com").text == "left the company"
    assert resolve(house, "carol@example.com").value == "/usr/bin/deliver {TO}"
    assert resolve(house, "dan@example.com").value == "dan@elsewhere.net"
    assert resolve(house, "robot@example.com").value == "mail echo"
    assert resolve(house, "POSTMASTER@example.com").address == Address("alice", "example.com")


@pytest.mark.parametrize("name, account", [
    ("alice@example.com", "alice@example.com"),
    ("alice", "alice@example.com"),
    ("Alice", "alice@example.com"),
    ("alice@Example.COM", "alice@example.com"),
    ("postmaster", "alice@example.com"),
    ("abuse@example.com", "alice@example.com"),
    ("lists", "alice@example.com"),
    ("info", "bob@example.org"),
    ("a+b", "a+b@example.com"),
    ("Dora", "Dora@example.com"),
    ("dora", "dora@example.com"),
    ("eva@xn--bcher-kva.example", "eva@xn--bcher-kva.example"),
    ("eva@bücher.example", "eva@xn--bcher-kva.example"),
    ("bob", None), ("stranger@example.org", None), ("*", None), ("*@example.org", None),
    ("DORA", None), ("alice+x", None), ("lists+x", None), ("nobody", None), ("gone", None),
    ("dan", None), ("carol", None), ("robot", None), ("", None), ("@", None),
    ("@example.com", None), ("alice@", None), ("alice@example.com@example.com", None),
    ("../alice", None), ("alice\0", None), ("/alice/mail", None), ("a" * 10000, None),
    ("alice@" + "x" * 300 + ".example", None), ("\udcff", None), ("\ud800@example.com", None),
])
def test_login_names(house, name, account):
    found = house.directory.account(name)
    assert (found and found.name) == account
    if account:
        assert house.directory.authenticate(name, PASSPHRASE, ELSEWHERE) == found
    else:
        with pytest.raises(LoginFailed) as refused:
            house.directory.authenticate(name, PASSPHRASE, None)
        assert not refused.value.temporary


def test_addresses_that_end_at_one_folder_are_one_account(house):
    account = house.directory.account("alice")
    assert account == house.directory.account("Abuse")
    assert account.folder == house.folder("alice") and account.identity == "alice"
    assert account.addresses == {Address(local, "example.com")
                                 for local in ("alice", "postmaster", "Abuse", "lists")}
    names = ("postmaster@example.com", "alice@example.com", "alice+x@example.com",
             "lists@example.com", "ABUSE@example.com")
    assert all(house.directory.may_send_as(account, Address.parse(name)) for name in names)
    others = ("bob@example.org", "info@example.com", "nobody@example.com", "gone@example.com",
              "alice@example.net", "lost@example.com", "carol@example.com")
    assert not any(house.directory.may_send_as(account, Address.parse(name)) for name in others)


def test_the_owner_of_a_catch_all_may_answer_as_what_was_caught(house):
    bob = house.directory.account("bob@example.org")
    assert house.directory.may_send_as(bob, Address.parse("anything@example.org"))
    assert not house.directory.may_send_as(bob, Address.parse("anything@example.com"))
    assert bob.addresses == {Address("bob", "example.org"), Address("info", "example.com"),
                             Address("who", "example.org")}


def test_two_links_to_one_folder_are_one_account(tmp_path):
    os.makedirs(str(tmp_path / "real" / "mail"))
    os.symlink("real", str(tmp_path / "link"))
    house = House(tmp_path, {"example.com": {"one": "/real/mail", "two": "/link/mail"}})
    assert house.directory.account("one").folder == house.directory.account("two").folder
    assert house.directory.account("two").name == "two@example.com"
    assert len(house.directory.account("one").addresses) == 2


def test_passphrases(house):
    directory = house.directory
    assert directory.authenticate("alice", PASSPHRASE, ELSEWHERE).name == "alice@example.com"
    for wrong in ("", "x", PASSPHRASE + " ", PASSPHRASE.upper(), "p" * 100000, "\udcff", "\ud800"):
        with pytest.raises(LoginFailed) as refused:
            directory.authenticate("alice", wrong, None)
        assert not refused.value.temporary, wrong


def test_only_submission_lets_the_secret_behind_a_forward_in(tmp_path):
    from phenmail_protocols.accounts.passphrases import sha256
    house = House(tmp_path, {"example.com": {
        "dan": ">dan@elsewhere.net " + sha256("dans own"), "al": ":dan"}})
    with pytest.raises(LoginFailed):
        house.directory.authenticate("dan", "dans own", ELSEWHERE)
    account = house.directory.authenticate("dan", "dans own", ELSEWHERE, sending=True)
    assert account.folder == "" and account.name == "dan@example.com"
    assert house.directory.may_send_as(account, Address("dan", "example.com"))
    assert house.directory.may_send_as(account, Address("DAN", "example.com"))
    assert not house.directory.may_send_as(account, Address("al", "example.com"))
    assert not house.directory.may_send_as(account, Address("x", "elsewhere.net"))
    for name, passphrase in (("al", "dans own"), ("dan", "wrong"), ("dan+x", "dans own")):
        with pytest.raises(LoginFailed):
            house.directory.authenticate(name, passphrase, ELSEWHERE, sending=True)


def test_a_users_broken_file_is_that_users_trouble_only(house, caplog):
    house.user("alice", '{"passphrase": oops')
    assert resolve(house, "alice@example.com").kind == "broken"
    with pytest.raises(LoginFailed) as refused:
        house.directory.authenticate("alice", PASSPHRASE, ELSEWHERE)
    assert refused.value.temporary and "oops" not in refused.value.text
    assert "alice/mail/mail.jcfg" in caplog.text
    assert house.directory.authenticate("bob@example.org", PASSPHRASE, ELSEWHERE)
    assert resolve(house, "bob@example.org").kind == "mailbox"
    house.old_user("alice")
    assert house.directory.authenticate("alice", PASSPHRASE, ELSEWHERE)
    assert resolve(house, "alice@example.com").kind == "mailbox"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_what_is_no_file_is_not_opened(house):
    path = os.path.join(house.folder("alice"), "mail.jcfg")
    os.unlink(path)
    os.mkfifo(path)
    assert resolve(house, "alice@example.com").kind == "broken"
    with pytest.raises(LoginFailed) as refused:
        house.directory.authenticate("alice", PASSPHRASE, ELSEWHERE)
    assert refused.value.temporary
    assert not house.directory.everyone_has("scram")


def test_a_secret_of_no_use_is_a_temporary_failure(house):
    for stored in ("pbkdf2-sha256$40000$AA==", "pbkdf2-sha256$99999999999$AA==$AA==",
                   "scrypt$1$1$1$AA==$AA==", "scrypt$16777216$8$1$AAAA$" + "A" * 44):
        house.user("alice", passphrase=stored)
        with pytest.raises(LoginFailed) as refused:
            house.directory.authenticate("alice", PASSPHRASE, ELSEWHERE)
        assert refused.value.temporary, stored


def test_a_user_without_file_or_passphrase_gets_mail_and_no_login(house):
    os.unlink(os.path.join(house.folder("alice"), "mail.jcfg"))
    assert resolve(house, "alice@example.com").kind == "mailbox"
    with pytest.raises(LoginFailed) as refused:
        house.directory.authenticate("alice", PASSPHRASE, ELSEWHERE)
    assert not refused.value.temporary


def test_a_new_user_is_known_at_once_and_a_broken_file_keeps_the_old_ones(house, caplog):
    directory = house.directory
    assert directory.account("zoe") is None
    house.values["domains"]["example.com"]["zoe"] = "/zoe/mail"
    house.write_server()
    assert directory.account("zoe").name == "zoe@example.com"
    assert house.reloads == 1
    directory.account("zoe"), directory.account("alice")
    assert house.reloads == 1, "it was read again without a change"
    house.write_server("{ this is none")
    assert directory.account("zoe") and directory.account("alice")
    assert "mail.jcfg:1:3" in caplog.text
    assert house.reloads == 2
    directory.account("zoe")
    assert house.reloads == 2, "a broken file is read once, not at each question"
    os.unlink(house.root.configuration)
    assert directory.account("zoe")
    del house.values["domains"]["example.com"]["zoe"]
    house.write_server()
    assert directory.account("zoe") is None


def test_a_changed_passphrase_counts_at_once(house):
    assert house.directory.authenticate("alice", PASSPHRASE, ELSEWHERE)
    house.old_user("alice", "another one")
    with pytest.raises(LoginFailed):
        house.directory.authenticate("alice", PASSPHRASE, ELSEWHERE)
    assert house.directory.authenticate("alice", "another one", ELSEWHERE)


def test_who_is_held_back_is_let_go_when_the_server_stops(house):
    import threading
    for number in range(30):        # somebody guesses at alice from many addresses
        house.throttle.admit(("10.0.0.%d" % number, 1), house.folder("alice")).failed()
    ended = []

    def log_in():
        try:
            ended.append(house.directory.authenticate("alice", PASSPHRASE, ELSEWHERE))
        except LoginFailed as refused:
            ended.append(refused)
    thread = threading.Thread(target=log_in)
    thread.start()
    house.directory.close()
    thread.join(5)
    assert isinstance(ended[0], LoginFailed) and ended[0].temporary
    with pytest.raises(LoginFailed):
        house.directory.authenticate("bob@example.org", PASSPHRASE, ELSEWHERE)


def test_long_names_are_counted_in_little_memory(house):
    for number in range(5):
        with pytest.raises(LoginFailed):
            house.directory.authenticate("%d" % number + "x" * 100000, "p", ELSEWHERE)
    assert all(len(key) < 100 for key in house.throttle._users._entries)
