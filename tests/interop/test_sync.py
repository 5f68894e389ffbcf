"""mbsync and offlineimap keep a tree of Maildirs and a mailbox of several folders equal, both
ways."""
import os
import re
import time

import pytest

from tests.interop.house import ODD, message, messages, ok, plain, quoted, succeed, tree

LETTERS = {"\\Draft": "D", "\\Flagged": "F", "\\Answered": "R", "\\Seen": "S", "\\Deleted": "T"}
FOLDERS = ("Lists/dev", "Lists", "B&APw-ro")


class Mbsync:
    def __init__(self, path, folder, house, user, service, mechanism):
        self.local = os.path.join(str(folder), "mail")
        os.mkdir(self.local)
        settings = os.path.join(str(folder), "mbsyncrc")
        self.command = [path, "-c", settings, "-a", "-q"]
        with open(settings, "w") as file:
            file.write("\n".join((
                "IMAPAccount a", "Host " + house.host, "Port %d" % house.ports[service],
                "User " + user.name, "Pass " + user.passphrase, "AuthMechs " + mechanism,
                "SSLType " + {"imap": "STARTTLS", "imaps": "IMAPS"}[service],
                "SystemCertificates no",
                "CertificateFile " + house.certificate, "Timeout 15", "",
                "IMAPStore far", "Account a", "",
                "MaildirStore near", "Path %s/" % self.local, "Inbox %s/INBOX" % self.local,
                "SubFolders Verbatim", "",
                "Channel c", "Far :far:", "Near :near:", "Patterns *", "Create Both", "Remove Both",
                "Expunge Both", "SyncState *", "")))

    def sync(self):
        succeed(self.command, HOME=self.local)


class Offlineimap:
    # After STARTTLS it reads in one thread and writes in another, on one OpenSSL connection. Where
    # TLS 1.3 sends its tickets at just that moment (any server does) it waits for ever, once in
    # twenty times: so it gets TLS 1.2.
    TLS = ("openssl_conf = all\n[all]\nssl_conf = parts\n[parts]\nsystem_default = tls\n"
           "[tls]\nMaxProtocol = TLSv1.2\n")

    def __init__(self, path, folder, house, user, service, mechanism):
        self.local = os.path.join(str(folder), "mail")
        settings = os.path.join(str(folder), "offlineimaprc")
        self.command = [path, "-o", "-c", settings, "-u", "basic"]
        self.environment = {"HOME": self.local}
        if service == "imap":
            self.environment["OPENSSL_CONF"] = os.path.join(str(folder), "openssl.cnf")
            with open(self.environment["OPENSSL_CONF"], "w") as file:
                file.write(self.TLS)
        tls = {"imaps": "ssl = yes", "imap": "ssl = no\nstarttls = yes"}[service]
        with open(settings, "w") as file:
            file.write("\n".join((
                "[general]", "accounts = a", "metadata = %s/state" % folder, "socktimeout = 15",
                "[Account a]", "localrepository = near", "remoterepository = far",
                "[Repository near]", "type = Maildir", "localfolders = " + self.local, "sep = /",
                "[Repository far]", "type = IMAP", "remotehost = " + house.host,
                "remoteport = %d" % house.ports[service], tls,
                "sslcacertfile = " + house.certificate,
                "remoteuser = " + user.name, "remotepass = " + user.passphrase,
                "auth_mechanisms = " + mechanism, "")))

    def sync(self):
        succeed(self.command, **self.environment)


@pytest.fixture(params=[
    ("mbsync", Mbsync, "imaps", "SCRAM-SHA-256"), ("mbsync", Mbsync, "imap", "LOGIN"),
    ("offlineimap", Offlineimap, "imaps", "CRAM-MD5"),
    ("offlineimap", Offlineimap, "imap", "PLAIN")],
    ids=lambda param: "%s-%s-%s" % (param[0], param[2], param[3]))
def mirror(request, program, tmp_path, house, user):
    name, kind, service, mechanism = request.param
    return kind(program(name), tmp_path, house, user, service, mechanism)


def remote(house, user):
    """{mailbox: sorted (letters, text with LF)} over IMAP."""
    client = house.imap(user)
    found = {}
    for line in ok(client.list()):
        name = re.search(rb'"/" (?:"(.*)"|(\S+))$', line)
        name = (name.group(1) or name.group(2)).decode("ascii")
        found[name] = sorted(
            ("".join(sorted(LETTERS[flag] for flag in flags)), plain(body))
            for flags, body in messages(client, name).values())
    client.logout()
    return found


def local(mirror, names):
    """The same of the Maildirs of a mirror."""
    found = {}
    for name in names:
        folder = os.path.join(mirror.local, name)
        found[name] = sorted((letters(path), plain(body)) for path, body in maildir(folder).items())
    return found


def maildir(folder):
    """{path: bytes} of a Maildir's messages."""
    found = {}
    for part in ("new", "cur"):
        for name, body in tree(os.path.join(folder, part)).items():
            found[os.path.join(folder, part, name)] = body
    return found


def letters(path):
    return "".join(letter for letter in path.partition(":2,")[2] if letter.isupper())


def state(house, user):
    """What changes whenever anything in a mailbox does, and all of the flags."""
    client = house.imap(user)
    names = sorted(remote(house, user))
    found = {name: (ok(client.status(quoted(name), "(MESSAGES UNSEEN UIDNEXT UIDVALIDITY)")),
                    messages(client, name))
             for name in names}
    client.logout()
    return found


def the_one(mirror, mailbox, sent):
    """The path of the message in the mirror's folder."""
    [path] = [path for path, body in maildir(os.path.join(mirror.local, mailbox)).items()
              if plain(body) == plain(sent)]
    return path


def set_letters(path, wanted):
    folder, name = os.path.split(path)
    os.rename(path, os.path.join(os.path.dirname(folder), "cur",
                                 name.partition(":2,")[0] + ":2," + wanted))


def drop(mirror, mailbox, sent, number=[0]):
    """What another mail program does with a Maildir of its own."""
    number[0] += 1
    folder = os.path.join(mirror.local, mailbox)
    for part in ("tmp", "new", "cur"):
        os.makedirs(os.path.join(folder, part), exist_ok=True)
    with open(os.path.join(folder, "new", "%d.%d.here" % (time.time(), number[0])), "wb") as file:
        file.write(plain(sent))


def numbered(name, count):
    return [message("%s %d" % (name, number), "Text %d of %s.\r\n" % (number, name))
            for number in range(count)]


def assert_equal(house, user, mirror):
    there = remote(house, user)
    assert local(mirror, there) == there
    return there


def test_mbsync_compresses(program, tmp_path, house, user):
    """Both ways, a message over several TLS records too."""
    mirror = Mbsync(program("mbsync"), tmp_path, house, user, "imaps", "LOGIN")
    house.append(user, "INBOX", *ODD.values())
    os.makedirs(os.path.join(mirror.local, "INBOX"))
    drop(mirror, "INBOX", message("large", "Words and %s\r\n" * 50000 % tuple(range(50000))))
    mirror.command[-1] = "-Dn"  # instead of -q: it shows the dialogue
    said = succeed(mirror.command, HOME=mirror.local)
    assert b"COMPRESS DEFLATE" in said and b" OK DEFLATE active" in said
    assert len(assert_equal(house, user, mirror)["INBOX"]) == len(ODD) + 1


def test_both_sides_are_kept_equal(house, user, mirror):
    client = house.imap(user)
    for name in FOLDERS:
        ok(client.create(quoted(name)))
        ok(client.subscribe(quoted(name)))
    sent = {"INBOX": list(ODD.values()), "Lists/dev": numbered("dev", 4),
            "Lists": numbered("lists", 1), "B&APw-ro": []}
    for name, all_sent in sent.items():
        for each in all_sent:
            ok(client.append(quoted(name), None, None, each))

    mirror.sync()
    there = assert_equal(house, user, mirror)
    assert {name: len(found) for name, found in there.items() if name in sent} == {
        name: len(all_sent) for name, all_sent in sent.items()}

    # There: flags, a deletion, new mail, a new folder. Here: the same with others.
    ok(client.select("INBOX"))
    ok(client.store("1", "+FLAGS", "(\\Flagged \\Seen)"))
    ok(client.store("2", "+FLAGS", "(\\Deleted)"))
    ok(client.expunge())
    ok(client.append("INBOX", "(\\Answered)", None, message("new there")))
    ok(client.create("There"))
    ok(client.append("There", None, None, message("in a new folder there")))
    client.logout()
    set_letters(the_one(mirror, "INBOX", ODD["spaces"]), "RS")
    os.unlink(the_one(mirror, "INBOX", ODD["attachment"]))
    os.unlink(the_one(mirror, "Lists/dev", sent["Lists/dev"][1]))
    drop(mirror, "INBOX", message("new here"))
    drop(mirror, "B&APw-ro", ODD["8bit"])
    drop(mirror, "Here", ODD["long lines"])

    mirror.sync()
    there = assert_equal(house, user, mirror)
    flags = {body: letters for letters, body in there["INBOX"]}
    assert flags[plain(ODD["dots"])] == "FS" and flags[plain(ODD["spaces"])] == "RS"
    assert flags[plain(message("new there"))] == "R" and flags[plain(message("new here"))] == ""
    assert plain(ODD["8bit"]) not in flags and plain(ODD["attachment"]) not in flags
    assert [body for _, body in there["Lists/dev"]] == sorted(
        plain(each) for number, each in enumerate(sent["Lists/dev"]) if number != 1)
    assert [body for _, body in there["B&APw-ro"]] == [plain(ODD["8bit"])]
    assert [body for _, body in there["Here"]] == [plain(ODD["long lines"])]
    assert [body for _, body in there["There"]] == [plain(message("in a new folder there"))]

    before = state(house, user), sorted(tree(mirror.local).items())
    mirror.sync()
    assert (state(house, user), sorted(tree(mirror.local).items())) == before
