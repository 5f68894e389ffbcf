"""Where mail for a user with an `external-MDA` ends, whose folder a command works for, and all
mail folders."""

import logging
import os

import pytest

from phenmail_protocols.accounts.authorization import EXTERNAL_MDA, FILTER, Authorizations
from phenmail_protocols.accounts.directory import Directory
from phenmail_protocols.config.loader import server_from_dict
from phenmail_protocols.mail.address import Address

from .house import ELSEWHERE, PASSPHRASE, House

COMMAND = "/usr/bin/procmail -d {USER}"
DOMAINS = {
    "example.com": {"alice": "/[user-identity]/mail", "bob": "/bob/mail", "boss": "/boss/mail",
                    "sales": ":alice+sales",
                    "carol": ">/usr/bin/deliver {TO} " + "a" * 64, "dan": ">dan@elsewhere.net",
                    "robot": ".mail echo",
                    "lost+found": ">/bin/cat"},
    "example.org": {"*": "/device/lost"}, "example.net": {"*": ".mail"},
}


class Live(House):
    """A house whose directory knows authorizations."""

    def __init__(self, path, **values):
        super().__init__(path, DOMAINS, **values)
        self.authorizations = Authorizations(self.root.mail_system)
        self.directory = Directory(server_from_dict(self.values, self.root, privileged=False),
                                   self.root,
                                   throttle=self.throttle, verifier=self.verifier, clock=self.clock,
                                   authorizations=self.authorizations)

    def end(self, address="alice@example.com"):
        return self.directory.resolve(Address.parse(address))

    def with_command(self, identity="alice", text=COMMAND, signer=None, signed=None,
                     kind=EXTERNAL_MDA, **keys):
        signature = self.authorizations.sign(signer or identity, kind, signed or text)
        return self.user(identity, external_MDA=text, authorization=signature, **keys)


@pytest.fixture
def house(tmp_path):
    house = Live(tmp_path, admin=["boss"])
    for identity in ("alice", "bob", "boss"):
        house.user(identity)
    return house


def test_an_authorized_command_gets_the_mail(house):
    house.with_command()
    end = house.end("alice+news@example.com")
    assert end == ("agent", Address("alice", "example.com"), house.folder("alice"), "news", COMMAND,
                   "")
    assert house.end("sales@example.com").tag == "sales"


@pytest.mark.parametrize("text, kind, value", [
    ("bob@elsewhere.net", "forward", "bob@elsewhere.net"),
    (">bob@elsewhere.net", "forward", "bob@elsewhere.net"),
    ("> " + COMMAND, "agent", COMMAND),
    (COMMAND + " " + "A" * 64, "agent", COMMAND),
    ("sh -c 'cat > x@y.z'", "agent", "sh -c 'cat > x@y.z'"),
])
def test_what_it_may_say(house, text, kind, value):
    house.with_command(text=text)
    assert (house.end().kind, house.end().value) == (kind, value)


@pytest.mark.parametrize("text", ["", " ", ">", "> ", ">>", "a 'b",
                                  "bob@elsewhere.net eve@elsewhere.net", "a\nb"])
def test_what_it_may_not_say(house, text):
    house.user("boss", external_MDA=text)
    assert house.end("boss@example.com").kind == ("agent" if text == ">>" else "broken")


@pytest.mark.parametrize("trick", [
    dict(signer="bob"), dict(signer="Alice"), dict(signer="[user-identity]"),
    dict(signer="alice/mail"), dict(kind=FILTER),
    dict(signed=COMMAND + " "), dict(signed=">" + COMMAND),
    dict(text=COMMAND + " -m /tmp/rc", signed=COMMAND),
    dict(text="/usr/bin/procmail\u00a0-d {USER}", signed=COMMAND),
    dict(text="/usr/bin/рrocmail -d {USER}", signed=COMMAND)])
def test_no_other_authorization_helps(house, trick, caplog):
    house.with_command(**trick)
    with caplog.at_level(logging.WARNING, "phenmail.accounts"):
        for _ in range(3):
            assert house.end()[:4] == ("mailbox", Address("alice", "example.com"),
                                       house.folder("alice"), None)
    line, = [record.getMessage() for record in caplog.records]
    assert "external-MDA" in line and house.folder("alice") in line and COMMAND not in line


def test_the_log_is_told_again_when_the_text_changes(house, caplog):
    with caplog.at_level(logging.WARNING, "phenmail.accounts"):
        for text in ("/bin/one", "/bin/two"):
            house.user("alice", external_MDA=text)
            assert [house.end().kind, house.end().kind] == ["mailbox"] * 2
        house.with_command(text="/bin/two")
        assert house.end().kind == "agent"
        house.user("alice", external_MDA="/bin/two")
        assert house.end().kind == "mailbox"
    assert len(caplog.records) == 3


def test_without_authorizations_only_the_administrator_has_a_command(house):
    house.with_command()
    house.user("boss", external_MDA=COMMAND)
    house.user("bob", external_MDA=COMMAND)
    house.directory = Directory(house.directory.settings, house.root)
    assert [house.end(name + "@example.com").kind
            for name in ("alice", "boss", "bob")] == ["mailbox", "agent", "mailbox"]


def test_the_devices_own_folder_needs_none(house):
    os.makedirs(os.path.join(house.root.path, "device", "lost"))
    with open(os.path.join(house.root.path, "device", "lost", "mail.jcfg"), "w") as file:
        file.write('{"external-MDA": "/bin/cat"}')
    assert house.end("anybody@example.org")[:2] == ("agent", Address("*", "example.org"))


@pytest.mark.parametrize("admin", [["Boss"], ["boss "], ["bоss"], ["[user-identity]"],
                                   ["boss@example.com"], []])
def test_the_list_of_administrators_is_taken_as_it_is_written(tmp_path, admin):
    house = Live(tmp_path, admin=admin)
    house.user("boss", external_MDA=COMMAND)
    assert house.end("boss@example.com").kind == "mailbox"


def test_an_administrator_who_is_one_no_more(house):
    house.user("boss", external_MDA=COMMAND)
    assert house.end("boss@example.com").kind == "agent"
    house.directory.replace(house.directory.settings._replace(admin=()))
    assert house.end("boss@example.com").kind == "mailbox"


def test_two_names_of_one_folder_are_one_identity(tmp_path):
    house = Live(tmp_path, admin=["al"])
    house.user("alice", external_MDA=COMMAND)
    os.symlink(house.folder("alice")[:-len("/mail")], os.path.join(house.root.path, "al"))
    house.directory.replace(server_from_dict(dict(house.values,
                                                  domains={"example.com": {"x": "/al/mail"}}),
                                             house.root, privileged=False))
    assert house.end("x@example.com")[:3:2] == ("mailbox", house.folder("alice"))
    house.with_command(signer="al")
    assert house.end("x@example.com").kind == "mailbox"
    house.with_command(signer="alice")
    assert house.end("x@example.com").kind == "agent"


def test_a_link_to_the_administrators_file_is_not_the_administrators(house):
    """Even if the file is put there after the directory looked at the folder."""
    house.user("boss", external_MDA=COMMAND)
    assert house.end().kind == "mailbox"
    path = os.path.join(house.folder("alice"), "mail.jcfg")
    os.remove(path)
    os.symlink(os.path.join(house.folder("boss"), "mail.jcfg"), path)
    assert house.end()[:3:2] == ("mailbox", house.folder("alice"))


def test_a_folder_that_becomes_a_link_to_the_administrators(house):
    house.user("boss", external_MDA=COMMAND)
    assert house.end().kind == "mailbox"
    os.rename(house.folder("alice"), house.folder("alice") + "-")
    os.symlink(house.folder("boss"), house.folder("alice"))
    assert house.end()[:3:2] == ("mailbox", house.folder("alice"))


def test_an_administrators_file_includes_nobody_elses(house):
    house.user("alice", external_MDA=COMMAND)
    for name in ("/alice/mail/mail.jcfg", "link"):
        house.user("boss", text='{"include": ["%s"]}' % name)
        if name == "link":
            os.symlink(os.path.join(house.folder("alice"), "mail.jcfg"),
                       os.path.join(house.folder("boss"), "link"))
        assert house.end("boss@example.com").kind == "broken"


def test_the_users_own_included_file_counts(house):
    house.with_command()
    os.rename(os.path.join(house.folder("alice"), "mail.jcfg"),
              os.path.join(house.folder("alice"), "more.jcfg"))
    house.user("alice", text='{"include": ["more.jcfg"]}')
    assert house.end().kind == "agent"


def test_logins_go_on(house):
    house.whole_user("alice")
    path = os.path.join(house.folder("alice"), "mail.jcfg")
    with open(path) as file:
        text = file.read()
    signature = house.authorizations.sign("alice", EXTERNAL_MDA, COMMAND)
    house.user("alice", text=text.replace("{", '{"external-MDA": "%s", "authorization": "%s", '
                                          % (COMMAND, signature), 1))
    assert house.end().kind == "agent"
    for sending in (False, True):
        account = house.directory.authenticate("alice", PASSPHRASE, ELSEWHERE, sending)
        assert account.folder == house.folder("alice")
        assert house.directory.may_send_as(account, Address("sales", "example.com"))


def test_its_hash_lets_nobody_in(house):
    from phenmail_protocols.accounts.directory import LoginFailed
    from phenmail_protocols.accounts.passphrases import sha256
    house.with_command(text=COMMAND + " " + sha256("other"))
    with pytest.raises(LoginFailed):
        house.directory.authenticate("alice", "other", ELSEWHERE, True)


# Lines of `domains`


def test_whose_folder_a_command_works_for(house):
    own = house.root.mail_system
    for address in ("carol@example.com", "dan@example.com", "robot@example.com", "x@example.net"):
        assert house.end(address).folder == own
    for local in ("carol", "dan", "robot", "*"):
        os.makedirs(os.path.join(house.root.path, local, "mail"))
    assert [os.path.relpath(house.end(local + "@example.com").folder,
                            os.path.realpath(house.root.path))
            for local in ("carol", "dan", "robot")] == ["carol/mail", "dan/mail", "robot/mail"]
    assert house.end("x@example.net").folder == own, "a catch-all is nobody's"


@pytest.mark.parametrize("make", [
    lambda root: os.symlink(os.path.join(root, "alice"), os.path.join(root, "carol")),
    lambda root: (os.mkdir(os.path.join(root, "carol")),
                  os.symlink(os.path.join(root, "alice", "mail"),
                             os.path.join(root, "carol", "mail"))),
    lambda root: (os.mkdir(os.path.join(root, "carol")),
                  os.symlink("/usr", os.path.join(root, "carol", "mail"))),
    lambda root: (os.mkdir(os.path.join(root, "carol")),
                  open(os.path.join(root, "carol", "mail"), "w").close())])
def test_a_link_to_somebody_elses_folder_is_not_ones_own(house, make):
    make(house.root.path)
    assert house.end("carol@example.com").folder == house.root.mail_system


# Mail folders


def test_all_mail_folders(house):
    house.user("alice", external_MDA=COMMAND)
    folders = house.directory.mail_folders()
    lost = os.path.join(os.path.realpath(house.root.path), "device", "lost")
    assert folders == {
        house.folder("alice"): {Address("alice", "example.com"), Address("sales", "example.com")},
        house.folder("bob"): {Address("bob", "example.com")},
        house.folder("boss"): {Address("boss", "example.com")},
        lost: {Address("*", "example.org")}}
    for folder, addresses in folders.items():
        assert all(house.directory.resolve(address).folder == folder for address in addresses)
    house.directory.replace(house.directory.settings._replace(domains={}))
    assert house.directory.mail_folders() == {}
