"""The command `authorize`: it shows everything, signs what it showed and nothing else, and writes
it into the right file."""
import json
import os
import re
import stat
import subprocess
import sys

import pytest

from phenmail_protocols.accounts import users
from phenmail_protocols.accounts.authorization import Authorizations
from phenmail_protocols.accounts.directory import Directory
from phenmail_protocols.admin import authorize
from phenmail_protocols.config import loader
from phenmail_protocols.config.problems import ConfigError
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.filters.python_permission import PythonPermission
from phenmail_protocols.filters.user_filters import FilterFiles
from phenmail_protocols.mail.address import Address

PROGRAM = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
                       "phenmail.py")
COMMAND = "/usr/bin/procmail -d {USER}"
MAIL = """# mine
{
  "passphrase": "%s",   # secret
  "external-MDA": "%s"  # procmail
}
""" % ("0" * 64, COMMAND)
FILTERS = """{"filters": [
  {"type": "match", "content": "x", "action": "discard"},   # first
  {"type": "py", "code": "accept('a')\\n"},
  # the last one
  {"type": "py",
   "code": "file:filter.py",
   "authorization": "old" }
]}
"""


class House:
    """A root with alice, bob and boss, who is the administrator."""

    def __init__(self, path):
        self.root = Root(str(path))
        self.root.create()
        self.write(
            json.dumps(
                {"sender-domain": "example.org", "admin": ["boss"], "domains": {"example.org": {
            "alice": "/alice/mail", "bob": "/bob/mail", "boss": "/boss/mail", "sales": ":alice",
            "robot": ".mail",
            "postmaster": ":boss", "abuse": ":boss"}}}), self.root.configuration)
        for identity in ("alice", "bob", "boss"):
            os.makedirs(self.at(identity))

    def at(self, identity, *names):
        return os.path.join(os.path.realpath(self.root.path), identity, "mail", *names)

    def write(self, text, path, *names):
        with open(self.at(path, *names) if names else path, "w", encoding="utf-8",
                  newline="") as file:
            file.write(text)

    def read(self, *place):
        with open(self.at(*place), encoding="utf-8", newline="") as file:
            return file.read()

    def whole(self, identity="alice"):
        self.write(MAIL, identity, "mail.jcfg")
        self.write(FILTERS, identity, "filters.jcfg")
        self.write("reject('no')\n", identity, "filter.py")
        return self

    def settings(self):
        return loader.load_server(self.root, True)

    def end(self, address="alice@example.org"):
        directory = Directory(self.settings(), self.root,
                              authorizations=Authorizations(self.root.mail_system))
        return directory.resolve(Address.parse(address)).kind

    def codes(self, identity="alice"):
        leave = PythonPermission(self.root, Authorizations(self.root.mail_system), self.settings)
        rules = loader.load_filters(self.at(identity, "filters.jcfg"), self.root)
        return [leave.code(rule, self.at(identity)).code for rule in rules if rule.type == "py"]

    def asked(self, user="alice"):
        return authorize.find(self.root, user)

    def run(self, *arguments):
        process = subprocess.Popen([sys.executable, PROGRAM, "--root", self.root.path, "authorize"]
                                   + list(arguments),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, universal_newlines=True)
        output, errors = process.communicate("yes\n", timeout=60)
        return process.returncode, output, errors


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


@pytest.mark.parametrize("user", ["alice", "alice@example.org", "Sales", "ALICE@EXAMPLE.ORG"])
def test_what_waits_is_shown_and_then_holds(house, user):
    house.whole()
    found = house.asked(user)
    assert [(each.kind, each.place, each.text) for each in found.waiting] == [
        ("external-MDA", "alice/mail/mail.jcfg", COMMAND),
        ("filter", "alice/mail/filters.jcfg:3", "accept('a')\n"),
        ("filter", "alice/mail/filters.jcfg:5", "reject('no')\n")]
    assert (house.end(), house.codes()) == ("mailbox", [None, None])
    told, right = authorize.approve(house.root, found)
    assert right and len(told) == 3
    assert (house.end(), house.codes()) == ("agent", ["accept('a')\n", "reject('no')\n"])
    assert house.asked(user).waiting == ()
    assert authorize.text_lines(house.asked(user)) == ["nothing awaits approval"]


def test_a_running_server_notices(house):
    """Also the key, which was not there when it began."""
    house.whole()
    directory = Directory(house.settings(), house.root,
                          authorizations=Authorizations(house.root.mail_system))
    leave = PythonPermission(house.root, Authorizations(house.root.mail_system), house.settings)
    files = FilterFiles(house.root)

    def now():
        rules, _ = files.rules(directory.user_settings(house.at("alice")), house.at("alice"), ())
        return (directory.resolve(Address("alice", "example.org")).kind,
                [leave.code(rule, house.at("alice")).code for rule in rules.filters[1:]])
    assert now() == ("mailbox", [None, None])
    authorize.approve(house.root, house.asked())
    assert now() == ("agent", ["accept('a')\n", "reject('no')\n"])
    house.write("reject('yes')\n", "alice", "filter.py")
    house.write(MAIL.replace("procmail", "maildrop"), "alice", "mail.jcfg")
    assert now() == ("mailbox", ["accept('a')\n", None])


def test_nothing_else_in_the_files_changes(house):
    house.whole()
    for name, mode in (("mail.jcfg", 0o640), ("filters.jcfg", 0o604)):
        os.chmod(house.at("alice", name), mode)
        if os.geteuid() == 0:
            os.chown(house.at("alice", name), 4711, 4712)
    authorize.approve(house.root, house.asked())
    leave = '"authorization": "%s"'
    written = re.findall('"authorization": "([0-9a-f]{64})"',
                         house.read("alice", "mail.jcfg") + house.read("alice", "filters.jcfg"))
    mail = MAIL.replace('{USER}"  #', '{USER}",  #')
    assert house.read("alice", "mail.jcfg") == mail.replace(
        "\n}", "\n  %s\n}" % (leave % written[0]))
    filters = FILTERS.replace('"},\n  #', '", %s},\n  #' % (leave % written[1]))
    assert house.read("alice", "filters.jcfg") == filters.replace(
        leave % "old", leave % written[2])
    for name, mode in (("mail.jcfg", 0o640), ("filters.jcfg", 0o604)):
        status = os.stat(house.at("alice", name))
        assert stat.S_IMODE(status.st_mode) == mode
        if os.geteuid() == 0:
            assert (status.st_uid, status.st_gid) == (4711, 4712)
    assert sorted(os.listdir(house.at("alice"))) == ["filter.py", "filters.jcfg", "mail.jcfg"]


def test_the_line_ends_stay(house):
    house.whole()
    house.write(FILTERS.replace("\n", "\r\n"), "alice", "filters.jcfg")
    assert authorize.approve(house.root, house.asked())[1]
    text = house.read("alice", "filters.jcfg")
    assert text.count("\r\n") == text.count("\n") == FILTERS.count("\n")


def test_a_filter_of_an_included_file_is_authorized_there(house):
    house.whole()
    os.makedirs(house.at("alice", "more"))
    os.rename(house.at("alice", "filters.jcfg"), house.at("alice", "more", "rules.jcfg"))
    house.write('{"include": ["more/rules.jcfg"]}', "alice", "filters.jcfg")
    assert authorize.approve(house.root, house.asked())[1]
    assert house.codes() == ["accept('a')\n", "reject('no')\n"]
    assert house.read("alice", "filters.jcfg") == '{"include": ["more/rules.jcfg"]}'


def test_a_command_of_an_included_file_is_authorized_in_the_users_own(house):
    house.write(MAIL, "alice", "more.jcfg")
    house.write('{"include": ["more.jcfg"]}', "alice", "mail.jcfg")
    assert authorize.approve(house.root, house.asked())[1] and house.end() == "agent"
    assert house.read("alice", "more.jcfg") == MAIL


def test_an_included_file_that_wins_is_told(house):
    house.write(MAIL.replace('"external', '"authorization": "x", "external'), "alice", "more.jcfg")
    house.write('{"include-overwrite": ["more.jcfg"]}', "alice", "mail.jcfg")
    told, right = authorize.approve(house.root, house.asked())
    assert not right and "still not approved" in told[-1] and house.end() == "mailbox"


@pytest.mark.parametrize("name", ["/bob/mail/filters.jcfg", "link"])
def test_an_included_file_of_another_user_is_refused(house, name):
    house.whole("bob")
    os.symlink(house.at("bob", "filters.jcfg"), house.at("alice", "link"))
    house.write('{"include": ["%s"]}' % name, "alice", "filters.jcfg")
    with pytest.raises(ConfigError, match="inside the folder of its owner alice"):
        house.asked()


def test_a_link_to_another_users_filters_is_refused(house):
    house.whole("bob")
    os.symlink(house.at("bob", "filters.jcfg"), house.at("alice", "filters.jcfg"))
    with pytest.raises(ConfigError, match="owner alice"):
        house.asked()


def test_a_link_inside_of_the_own_folder_stays_one(house):
    house.whole()
    os.rename(house.at("alice", "mail.jcfg"), house.at("alice", "real"))
    os.symlink("real", house.at("alice", "mail.jcfg"))
    assert authorize.approve(house.root, house.asked())[1] and house.end() == "agent"
    assert os.path.islink(house.at("alice", "mail.jcfg"))


@pytest.mark.parametrize("change", [
    lambda house: house.write("discard()\n", "alice", "filter.py"),
    lambda house: house.write(FILTERS.replace("accept('a')", "accept('b')"), "alice",
                              "filters.jcfg"),
    lambda house: house.write(FILTERS.replace("filter.py", "other.py"), "alice", "filters.jcfg"),
    lambda house: house.write('{"filters": []}', "alice", "filters.jcfg"),
    lambda house: house.write('{"filters": 3}', "alice", "filters.jcfg"),
    lambda house: house.write('{"filters": [', "alice", "filters.jcfg"),
    lambda house: os.remove(house.at("alice", "filters.jcfg")),
    lambda house: house.write(MAIL.replace("procmail -d", "procmail -m"), "alice", "mail.jcfg"),
    lambda house: (os.remove(house.at("alice", "mail.jcfg")),
                   os.symlink(house.at("bob", "mail.jcfg"), house.at("alice", "mail.jcfg"))),
    lambda house: (os.remove(house.at("alice", "filters.jcfg")),
                   os.mkfifo(house.at("alice", "filters.jcfg"))),
    lambda house: (os.rename(house.at("alice"), house.at("alice") + "-"),
                   os.symlink(house.at("bob"), house.at("alice")))])
def test_what_was_shown_is_what_is_signed(house, change):
    """Whatever is put there while the administrator reads: no other text gets a leave, and nothing
    of bob's is touched."""
    house.whole().whole("bob")
    house.write(MAIL.replace("procmail", "maildrop"), "bob", "mail.jcfg")
    house.write(FILTERS.replace("'a'", "'bob'"), "bob", "filters.jcfg")
    before = [house.read("bob", name) for name in ("mail.jcfg", "filters.jcfg")]
    found = house.asked()
    house.write("", "alice", "other.py")
    change(house)
    try:
        authorize.approve(house.root, found)
    except (ConfigError, OSError):
        pass  # what is there now can't be read
    assert [house.read("bob", name) for name in ("mail.jcfg", "filters.jcfg")] == before
    assert (house.end("bob@example.org"), house.codes("bob")) == ("mailbox", [None, None])
    try:
        held = {each for each in house.codes() if each}
    except (ConfigError, OSError):
        held = set()
    assert held <= {"accept('a')\n", "reject('no')\n"}
    text = loader.load_user(house.at("alice", "mail.jcfg"), house.root).external_mda
    assert house.end() == ("agent" if text == COMMAND else "mailbox")


def test_the_administrators_and_the_unknown(house):
    house.whole("boss")
    assert house.asked("boss") == ((), (), (house.at("boss"),))
    for user in ("nobody", "robot", "nobody@example.org", "x@[", "", "[user-identity]", "a/b", "..",
                 "\x1b[2J"):
        with pytest.raises(users.UserError) as caught:
            house.asked(user)
        assert str(caught.value).isprintable()


def test_an_identity_without_an_address_of_its_name(house):
    values = loader.parse(open(house.root.configuration).read())
    values["domains"]["example.org"]["alias"] = values["domains"]["example.org"].pop("alice")
    values["domains"]["example.org"].update(sales=":alias", other="/alice/other")
    house.write(json.dumps(values), house.root.configuration)
    house.whole()
    os.makedirs(os.path.join(os.path.dirname(house.at("alice")), "other"))
    found = house.asked("alice")
    assert found.folders == (house.at("alice"),
                             os.path.join(os.path.dirname(house.at("alice")), "other"))
    assert len(found.waiting) == 3


def test_code_that_is_not_to_be_had_is_told(house):
    house.whole()
    os.remove(house.at("alice", "filter.py"))
    os.symlink("/dev/zero", house.at("alice", "zero.py"))
    found = house.asked()
    assert len(found.waiting) == 2 and "filters.jcfg:5" in found.problems[0]
    assert authorize.text_lines(found)[-1].startswith(
        "cannot be approved: alice/mail/filters.jcfg:5")


# What people see


def test_nothing_hides_in_what_is_shown(house):
    code = ("accept()  # safe\rdiscard()\n\x1b[2J\u202eевил\u00a0\t\n"
            "alice/mail/mail.jcfg: external-MDA of alice\n"
            "\u2028\u200b\x85\x00\x9b\n\n")
    house.write(code, "alice", "filter.py")
    house.write('{"filters": [{"type": "py", "code": "file:filter.py"}]}', "alice", "filters.jcfg")
    found = house.asked()
    lines = authorize.text_lines(found)
    assert lines[0] == ("alice/mail/filters.jcfg:1: Python filter of alice, 5 lines, %d octets"
                        % len(code.encode("utf-8")))
    assert lines[1:6] == [
        "  | accept()  # safe<U+000D>discard()", "  | <U+001B>[2J<U+202E>евил<U+00A0><U+0009>",
        "  | alice/mail/mail.jcfg: external-MDA of alice",
        "  | <U+2028><U+200B><U+0085><U+0000><U+009B>", "  | "]
    assert lines[6] == ("  line 2 has characters outside US-ASCII: "
                        "U+00A0 U+0432 U+0435 U+0438 U+043B U+202E")
    assert all(line.isprintable() for line in lines)
    assert found.waiting[0].text == code


def test_many_look_alikes_are_counted(house):
    house.write("# ñ\n" * 50, "alice", "filter.py")
    house.write('{"filters": [{"type": "py", "code": "file:filter.py"}]}', "alice", "filters.jcfg")
    lines = authorize.text_lines(house.asked())
    assert len(lines) == 1 + 50 + 21 and lines[-1] == "  and 30 more lines have such characters"


# The command line


def test_without_a_terminal_it_only_shows(house):
    house.whole()
    code, output, errors = house.run("alice")
    assert code == 1 and COMMAND in output and "--yes" in errors
    assert house.read("alice", "mail.jcfg") == MAIL and house.end() == "mailbox"
    assert not os.path.exists(os.path.join(house.root.mail_system, "authorization.key"))


def test_with_yes_it_writes(house):
    house.whole()
    code, output, errors = house.run("alice", "--yes")
    assert (code, errors) == (0, "") and "approved: alice/mail/mail.jcfg" in output
    assert (house.end(), house.codes()) == ("agent", ["accept('a')\n", "reject('no')\n"])
    assert house.run("alice")[:2] == (0, "nothing awaits approval\n")


def test_exit_codes(house):
    assert [house.run(*arguments)[0] for arguments in ((), ("a", "b"), ("nobody",),
                                                       ("alice", "--maybe"))] == [2, 2, 1, 2]
    house.write('{"filters": [{"type": "py", "code": "file:gone.py"}]}', "alice", "filters.jcfg")
    assert house.run("alice", "--yes")[0] == 1


@pytest.mark.parametrize("answer, code, end",
                         [(b"yes\n", 0, "agent"), (b"y\n", 1, "mailbox"), (b"no\n", 1, "mailbox"),
                                               (b"\n", 1, "mailbox"), (b"\x04", 1, "mailbox")])
def test_at_a_terminal_it_asks(house, answer, code, end):
    pty = pytest.importorskip("pty")
    house.write(MAIL, "alice", "mail.jcfg")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, PROGRAM, "--root", house.root.path, "authorize", "alice"],
                               stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while b"(yes or no)" not in seen:
            seen += os.read(ours, 1000)
        assert COMMAND.encode("ascii") in seen and house.end() == "mailbox"
        os.write(ours, answer)
        assert process.wait(60) == code
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert house.end() == end
