"""Dovecot on our Maildir, we on Dovecot's, and both on one.

Dovecot's IMAP process speaks on its standard input and output, logged in already, so
nothing listens and nobody's rights are needed.
"""
import base64
import imaplib
import os
import re
import shlex
import shutil

import pytest

from tests.interop.house import ODD, bodies, eventually, message, messages, ok, quoted, succeed

# As IMAP writes them: "Bücher", "Год", and names that a file system or Maildir++ can't take as they
# are.
NAMES = ("Lists", "Lists/dev/2019", "B&APw-cher", "&BBMEPgQ0-", "a.b", "v1.2/x.y", "~home",
         "100% *fun*", "tab &- more",
         "INBOX/below", "back\\slash")
KEYWORDS = ("$Forwarded", "$MDNSent", "NonJunk", "Projekt_7")
# Dovecot serves nobody as root: where the tests run as root it is another user with root's rights
# to files.
NOBODY = 65534
RIGHTS = "+dac_override,+chown,+fowner"


class Dovecot:
    """Dovecot for one Maildir, or another `storage`; `connect()` gives an imaplib client of it,
    `command` is its shell command."""

    def __init__(self, path, folder, maildir, separator="/", storage="maildir", plugins="",
                 settings=()):
        folder = str(folder)
        self._settings = os.path.join(folder, "dovecot.conf")
        libexec = succeed([path("doveconf"), "-h", "-c", os.devnull,
                           "libexec_dir"]).decode("utf-8").strip()
        self._log = os.path.join(folder, "dovecot.log")
        with open(self._settings, "w") as file:
            file.write("\n".join((
                "base_dir = %s/run" % folder, "state_dir = %s/run" % folder,
                "log_path = " + self._log, "ssl = no",
                "mail_location = %s:%s" % (storage, os.path.join(folder, maildir)),
                "mail_plugins = listescape " + plugins,
                "first_valid_uid = 0",
                "mail_uid = %d" % (os.getuid() or NOBODY),
                "mail_gid = %d" % (os.getgid() or NOBODY), "first_valid_gid = 0",
                "namespace inbox {", "  inbox = yes", "  separator = " + separator, "}") + tuple(settings) + ("",)))
        command = ["env", "USER=someone", "HOME=" + folder, os.path.join(libexec, "imap"), "-c",
                   self._settings]
        if not os.getuid():
            command = [path("setpriv"), "--reuid=%d" % NOBODY, "--regid=%d" % NOBODY,
                       "--clear-groups",
                       "--securebits=+no_setuid_fixup", "--inh-caps=" + RIGHTS,
                       "--ambient-caps=" + RIGHTS] + command
        self.command = " ".join(map(shlex.quote, command))

    def connect(self):
        return imaplib.IMAP4_stream(self.command)

    def log(self):
        with open(self._log) as file:
            return file.read()


@pytest.fixture
def dovecot(program, tmp_path):
    def on(maildir, **options):
        program("dovecot")
        return Dovecot(program, tmp_path, maildir, **options)
    return on


def listed(client, command):
    """Names as IMAP writes them, the separator aside."""
    found = set()
    for line in ok(getattr(client, command)()):
        flags, name = re.fullmatch(rb'\(([^)]*)\) "." (.*)', line).groups()
        if b"\\Noselect" not in flags:
            found.add(re.sub(rb"\\(.)", rb"\1", name[1:-1] if name.startswith(b'"')
                             else name).decode("ascii"))
    return found


def snapshot(client):
    """{mailbox: (UIDVALIDITY, {uid: (flags, date, bytes)})} of all there is."""
    found = {}
    for name in listed(client, "list"):
        ok(client.select(quoted(name), readonly=True))
        [validity] = client.response("UIDVALIDITY")[1]
        dates = {}
        for line in ok(client.uid("FETCH", "1:*", "(UID INTERNALDATE)")):
            if line:
                dates[int(re.search(rb"UID (\d+)",
                                    line).group(1))] = imaplib.Internaldate2tuple(line)
        found[name] = int(validity), {
            uid: (flags, dates[uid], body) for uid, (flags, body) in messages(client, name).items()}
    return found


def fill(client):
    """Mailboxes, messages with gaps in their UIDs, flags and keywords, subscriptions."""
    for number, name in enumerate(NAMES):
        ok(client.create(quoted(name)))
        if number:
            ok(client.subscribe(quoted(name)))
        ok(client.append(quoted(name), "(\\Seen %s)" % KEYWORDS[number % 4],
                         '"06-May-2019 10:11:%02d +0200"' % number,
                         message("in " + name)))
    for number, sent in enumerate(ODD.values()):
        flags = ("", "\\Seen", "\\Flagged \\Answered", "\\Draft", KEYWORDS[0],
                 "\\Seen %s %s" % KEYWORDS[1:3])[number % 6]
        ok(client.append("INBOX", flags and "(%s)" % flags,
                         '"05-May-2019 09:00:%02d +0000"' % number, sent))
    ok(client.select("INBOX"))
    ok(client.store("2,4", "+FLAGS", "(\\Deleted)"))
    ok(client.expunge())
    ok(client.append("INBOX", None, None, message("after a gap")))
    ok(client.store("1", "+FLAGS", "(%s)" % KEYWORDS[3]))
    ok(client.close())


def test_dovecot_reads_a_copy_of_ours(house, user, dovecot, tmp_path):
    client = house.imap(user)
    fill(client)
    ours, subscribed = snapshot(client), listed(client, "lsub")
    client.logout()
    copy = str(tmp_path / "copy")
    shutil.copytree(user.folder, copy)
    other = dovecot(copy).connect()
    assert listed(other, "lsub") == subscribed
    assert snapshot(other) == ours
    other.logout()


@pytest.mark.parametrize("separator", ["/", "."])
def test_a_maildir_of_dovecot_moves_under_us(house, user, dovecot, tmp_path, separator):
    moved = str(tmp_path / "moved")
    client = dovecot(moved, separator=separator).connect()
    if separator == "/":
        fill(client)
    else:  # a name has no dot and may have a slash
        for name in ("Lists.dev", "B&APw-cher", "either/or"):
            ok(client.create(quoted(name)))
            ok(client.subscribe(quoted(name)))
            ok(client.append(quoted(name), "(\\Seen)", None, message(name)))
    theirs, subscribed = snapshot(client), listed(client, "lsub")
    client.logout()
    moved_in(moved, user)
    client = house.imap(user)
    ours = snapshot(client)
    rename = str if separator == "/" else renamed
    assert {rename(name) for name in subscribed} == listed(client, "lsub")
    assert {name: found for name, found in ours.items() if found[1] or name in theirs} == {
        rename(name): found for name, found in theirs.items()}
    # A new message gets a UID that no message had.
    before = max(uid for uid in theirs["INBOX"][1]) if theirs["INBOX"][1] else 0
    ok(client.append("INBOX", None, None, message("the first of ours")))
    assert max(messages(client, "INBOX")) > before
    client.logout()


def system_flags(found):
    flags, body = found
    return body, sorted(flag for flag in flags if flag.startswith("\\"))


def renamed(name):
    """How a name of a Dovecot with "." between components is shown with "/"."""
    return name.replace("/", "\\2f").replace(".", "/")


def moved_in(maildir, user):
    """The Maildir becomes the user's mail folder, which has had nothing but its mail.jcfg."""
    for name in os.listdir(maildir):
        os.rename(os.path.join(maildir, name), os.path.join(user.folder, name))


def test_parts_are_decoded_alike(house, user, dovecot):
    """BINARY (RFC 3516). Dovecot 2.3 sends whatever it decodes as literal8, and its BINARY.SIZE[1]
    of a message that is no multipart is that of the encoded part."""
    ours = house.imap(user)
    picture = bytes(range(256)) * 300
    encoded = base64.encodebytes(picture).replace(b"\n", b"\r\n")
    quoted_text = b"=00=0D=0A=e4 \t\r\n=\r\nx = \r\n "
    for text, kind in ((encoded, "base64"), (quoted_text, "quoted-printable"), (b"", "base64"),
                       (b"lines\r\n", "8BIT")):
        ok(ours.append("INBOX", None, None, message(
            kind, "", header="MIME-Version: 1.0\r\nContent-Transfer-Encoding: %s\r\n" % kind) + text))
    ok(ours.append("INBOX", None, None, ODD["attachment"]))
    theirs = dovecot(user.folder).connect()
    found = []
    for client in (ours, theirs):
        ok(client.select("INBOX", readonly=True))
        found.append([ok(client.fetch("1:*", item)) for item in (
            "BINARY.SIZE[2]", "BINARY.PEEK[1]", "BINARY.PEEK[2]", "BINARY.PEEK[1]<1.100>",
            "BINARY.PEEK[1]<0.9>", "BINARY.PEEK[1]<99999.9>")])
    for ours_found, theirs_found in zip(*found):
        assert repr(ours_found).replace("~{", "{") == repr(theirs_found).replace("~{", "{")
    assert found[0][1][0][1] == picture
    for client in (ours, theirs):
        client.logout()


def test_dovecot_reads_binary_content_that_we_stored(house, user, dovecot):
    ours, picture = house.imap(user), bytes(range(256)) * 300 + b"\r"
    sent = message("binary", "", header="Content-Transfer-Encoding: binary\r\n") + picture
    ours.send(b"a APPEND INBOX ~{%d+}\r\n%b\r\n" % (len(sent), sent))
    assert ours.readline().startswith(b"a OK")
    ours.logout()
    theirs = dovecot(user.folder).connect()
    ok(theirs.select("INBOX"))
    assert ok(theirs.fetch("1", "BINARY.PEEK[1]"))[0][1] == picture
    theirs.logout()


def test_both_on_one_maildir(house, user, dovecot):
    """What one does the other shows, with the same UIDs, while both have the mailbox open."""
    ours = house.imap(user, "INBOX")
    sent = [message("number %d" % number) for number in range(6)]
    for each in sent[:3]:
        ok(ours.append("INBOX", None, None, each))
    theirs = dovecot(user.folder).connect()
    assert messages(theirs, "INBOX") == messages(ours, "INBOX")
    ok(theirs.append("INBOX", "(\\Flagged NonJunk)", None, sent[3]))
    eventually(lambda: len(messages(ours, "INBOX")) == 4, "a message that Dovecot took", 2.0)
    ok(theirs.select("INBOX"))
    ok(theirs.uid("STORE", "1", "+FLAGS", "(\\Answered)"))
    eventually(lambda: "\\Answered" in messages(ours, "INBOX")[1][0], "a flag that Dovecot set",
               2.0)
    ok(theirs.uid("STORE", "2", "+FLAGS", "(\\Deleted)"))
    ok(theirs.expunge())
    eventually(lambda: 2 not in messages(ours, "INBOX"), "a message that Dovecot removed", 2.0)
    ok(ours.append("INBOX", "(\\Draft)", None, sent[4]))
    ok(ours.append("INBOX", None, None, sent[5]))
    before = messages(ours, "INBOX")
    assert bodies(before) == [sent[0]] + sent[2:]
    eventually(lambda: ok(theirs.noop()) and len(messages(theirs, "INBOX")) == 5,
               "messages that we took")
    # A Dovecot that is running has numbers of its own for what it did not see arrive; ours stay as
    # they are.
    assert sorted(map(system_flags, messages(theirs, "INBOX").values())) == sorted(
        map(system_flags, before.values()))
    assert messages(ours, "INBOX") == before
    for client in (ours, theirs):
        client.logout()
