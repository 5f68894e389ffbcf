"""mutt and neomutt, steered by pushed keys: they list folders, copy, flag and delete messages, and
resynchronise; mutt also sends, and reads our Maildir beside us."""
import base64
import os
import re

import pytest

from tests.interop.house import (
    ODD,
    bodies,
    eventually,
    message,
    messages,
    ok,
    quoted,
    succeed,
    tree,
)
from tests.interop.terminal import Terminal


class Mutt:
    """`keys(…)` runs it in a terminal of its own, `run(…)` without one; both give its output."""

    TO_FOLDERS = ""  # from the list that "?" shows to that of the server's folders

    def __init__(self, path, folder, house, user):
        self._path = path
        self._home = str(folder)
        self._settings = [
            "set ssl_force_tls=yes", "set ssl_starttls=yes",
            "set certificate_file=" + house.certificate,
            "set ssl_ca_certificates_file=" + house.certificate,
            "set imap_user=" + user.name, "set imap_pass=" + user.passphrase,
            "set smtp_pass=" + user.passphrase,
            "set from=" + user.address, "set use_from=yes", "set hostname=client.example.net",
            "set envelope_from_address=" + user.address, "set use_envelope_from=yes",
            "set copy=no", "set folder=" + self._home, "set header_cache=", "set mbox_type=Maildir",
            "set tmpdir=" + self._home,
            "set confirmappend=no", "set confirmcreate=no", "set quit=yes", "set delete=yes",
            "set move=no",
            "set wait_key=no", "set beep=no", "set auto_tag=yes", "set mark_old=no",
            "set maildir_trash=no", "set charset=utf-8"]

    def _command(self, arguments, settings):
        path = os.path.join(self._home, "muttrc")
        with open(path, "w") as file:
            file.write("\n".join(self._settings + list(settings)) + "\n")
        return [self._path, "-n", "-F", path] + list(arguments)

    def run(self, *arguments, stdin=b"", settings=()):
        return succeed(self._command(arguments, settings), stdin, HOME=self._home, TERM="vt100")

    def keys(self, mailbox, pushed, settings=(), then=None, more=()):
        """`then`: (what it shows, what is typed when it does)."""
        command = self._command(["-f", mailbox] + list(more),
                                list(settings) + ['push "%s"' % pushed])
        with Terminal(command, HOME=self._home, TERM="vt100") as terminal:
            if then is not None:
                terminal.await_text(then[0])
                terminal.type(then[1])
            terminal.await_end()
            return terminal.said

class Neomutt(Mutt):
    TO_FOLDERS = "<toggle-mailboxes>"


@pytest.fixture
def mutt(program, tmp_path, house, user):
    return Mutt(program("mutt"), tmp_path, house, user)


@pytest.fixture(params=[Mutt, Neomutt], ids=lambda kind: kind.__name__.lower())
def either(request, program, tmp_path, house, user):
    return request.param(program(request.param.__name__.lower()), tmp_path, house, user)


def url(house, service, mailbox=""):
    return "%s://%s:%d/%s" % (service, house.host, house.ports[service], mailbox)


ALL = "<tag-pattern>~A<enter>"
_ITS_OWN = re.compile(rb"^(?:Status|Content-Length|Lines): [^\n]*\n", re.M)


def undressed(found):
    """Messages with LF, sorted, without the fields that mutt adds to what it copies."""
    return sorted(_ITS_OWN.sub(b"", body.replace(b"\r\n", b"\n")) for body in found)


@pytest.mark.parametrize("service", ["imap", "imaps"])
@pytest.mark.parametrize("mechanism", ["scram-sha-256", "plain", "login"])
def test_all_messages_are_copied_here(mutt, house, user, tmp_path, service, mechanism):
    house.append(user, "INBOX", *ODD.values())
    here = str(tmp_path / "here")
    mutt.keys(url(house, service, "INBOX"), ALL + "<copy-message>%s<enter><quit>" % here,
              ["set imap_authenticators=" + mechanism])
    assert undressed(tree(here).values()) == undressed(ODD.values())


def test_it_compresses(mutt, house, user, tmp_path):
    house.append(user, "INBOX", *ODD.values())
    here = str(tmp_path / "here")
    mutt.keys(url(house, "imaps", "INBOX"), ALL + "<copy-message>%s<enter><quit>" % here,
              ["set imap_deflate=yes"], more=["-d", "2"])
    assert undressed(tree(here).values()) == undressed(ODD.values())
    log = (tmp_path / ".muttdebug0").read_bytes()
    assert b"COMPRESS DEFLATE" in log and b"OK DEFLATE active" in log


def test_folders_are_listed_and_messages_go_there(either, house, user, tmp_path):
    client = house.imap(user)
    for name in ("Lists/dev", "B&APw-cher"):
        ok(client.create(quoted(name)))
    house.append(user, "INBOX", *ODD.values())
    shown = either.keys(url(house, "imaps", "INBOX"), "<change-folder>?" + either.TO_FOLDERS,
                        ["set folder=" + url(house, "imaps")], ("Trash", "qq")).decode("utf-8")
    for name in ("INBOX", "Archive", "Bücher", "Drafts", "Junk", "Lists"):
        assert name in shown
    either.keys(url(house, "imaps", "INBOX"),
                "<first-entry><flag-message><delete-message>" + ALL
                + "<copy-message>=Lists/dev<enter><quit>",
                ["set folder=" + url(house, "imaps")])
    left = messages(client, "INBOX")
    assert bodies(left) == [sent for number, sent in enumerate(ODD.values()) if number != 1]
    assert "\\Flagged" in left[1][0]
    assert sorted(bodies(messages(client, "Lists/dev"))) == sorted(ODD.values())
    client.logout()


def test_messages_from_here_are_uploaded(either, house, user, tmp_path):
    here = str(tmp_path / "here")
    for part in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(here, part))
    for number, sent in enumerate(ODD.values()):
        with open(os.path.join(here, "cur", "%d.1.here:2,S" % (1557130272 + number)), "wb") as file:
            file.write(sent.replace(b"\r\n", b"\n"))
    either.keys(here, ALL + "<copy-message>=Archive<enter><quit>",
                ["set folder=" + url(house, "imaps")])
    assert undressed(bodies(house.messages(user, "Archive"))) == undressed(ODD.values())


@pytest.mark.parametrize("service, scheme, mechanism", [
    ("submission", "smtp", "scram-sha-256"), ("submissions", "smtps", "plain"),
    ("submissions", "smtps", "cram-md5")])
def test_mutt_sends_and_keeps_a_copy(mutt, house, user, tmp_path, service, scheme, mechanism):
    attached = tmp_path / "bytes.bin"
    attached.write_bytes(bytes(range(256)) * 300)
    mutt.run("-s", "Grüße", "-b", user.address, "-a", str(attached), "--", user.address,
             stdin="Hallo\n.\n..zwei\nFrom mutt\n".encode("utf-8"), settings=[
                 "set smtp_url=%s://%s@%s:%d/" % (scheme, user.name, house.host,
                                                  house.ports[service]),
                 "set smtp_authenticators=" + mechanism, "set copy=yes",
                 "set record=" + url(house, "imaps", "Sent")])
    [got] = bodies(house.messages(user))
    [(flags, kept)] = house.messages(user, "Sent").values()
    assert "\\Seen" in flags
    header, _, text = got.partition(b"\r\n\r\n")
    assert kept.partition(b"\r\n\r\n")[2] == text
    assert b"\r\nSubject: =?" in header and not re.search(rb"^bcc:", header, re.I | re.M)
    assert b"\r\n\r\nHallo\r\n.\r\n..zwei\r\nFrom mutt\r\n" in text
    encoded = re.search(rb"base64\r\n\r\n([A-Za-z0-9+/=\r\n]+)\r\n--", text).group(1)
    assert base64.b64decode(encoded) == attached.read_bytes()


def changed(found):
    """One is flagged; one is gone and one was added."""
    return len(found) == len(ODD) and max(found) > len(ODD) and any("\\Flagged" in flags for flags,
                                                                    _ in found.values())


def test_mutt_reads_and_changes_our_maildir_beside_us(mutt, house, user, tmp_path):
    """Flags, deletions and new files that it makes in the folder show over IMAP within 2 s."""
    client = house.imap(user)
    for sent in ODD.values():
        ok(client.append("INBOX", None, None, sent))
    before = messages(client, "INBOX")
    here = str(tmp_path / "here")
    mutt.keys(user.folder, ALL + "<copy-message>%s<enter><quit>" % here)
    assert undressed(tree(here).values()) == undressed(ODD.values())
    mutt.keys(user.folder, "<first-entry><flag-message><quit>")
    mutt.keys(user.folder, "<last-entry><delete-message><quit>")
    mutt.keys(here, "<first-entry><copy-message>%s<enter><quit>" % user.folder)
    eventually(lambda: changed(messages(client, "INBOX")), "what mutt did", 2.0)
    found = messages(client, "INBOX")
    added = max(found)
    assert added > max(before) and undressed([found[added][1]])[0] in undressed(ODD.values())
    gone = set(before) - set(found)
    assert len(gone) == 1 and all(found[uid][1] == before[uid][1] for uid in set(before) - gone)
    client.logout()


def test_mutt_notices_a_message_of_ours_in_the_maildir(mutt, house, user, tmp_path):
    """What we deliver is a message to other programs: a file of its own, with LF."""
    house.append(user, "Drafts", message("draft"), flags="\\Draft")
    [body] = [body for path, body in tree(os.path.join(user.folder, ".Drafts")).items()
              if path.startswith("cur") and path.endswith(":2,D")]
    assert body == message("draft").replace(b"\r\n", b"\n")


def test_it_resynchronises_its_header_cache(either, house, user, tmp_path):
    """With QRESYNC (RFC 7162) mutt takes all headers from its cache, and learns what changed."""
    client = house.imap(user)
    for number in range(6):
        house.append(user, "INBOX", message("number %d" % number))
    cached = ["set header_cache=%s" % (tmp_path / "cache"), "set imap_condstore=yes",
              "set imap_qresync=yes", "set index_format='%Z|%s|'", "set sort=mailbox-order"]
    either.keys(url(house, "imaps", "INBOX"), "<quit>", cached)
    ok(client.select("INBOX"))
    ok(client.uid("STORE", "2,5", "+FLAGS", "(\\Deleted)"))
    ok(client.expunge())
    ok(client.uid("STORE", "3", "+FLAGS", "(\\Flagged)"))
    house.append(user, "INBOX", message("the last"))
    shown = either.keys(url(house, "imaps", "INBOX"), "<refresh><quit>", cached)
    for gone in b"number 1", b"number 4":
        assert gone not in shown
    for left in b"number 0", b"number 2", b"number 3", b"number 5", b"the last":
        assert left in shown
