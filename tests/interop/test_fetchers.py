"""getmail and fetchmail take mail out of a mailbox, by IMAP and by POP3."""
import os
import re

import pytest

from tests.interop.house import ODD, bodies, message, run, succeed, tree

NOTHING_NEW = 1  # fetchmail's exit code
_ITS_OWN = re.compile(rb"^(?:Return-Path: <unknown>|X-getmail-[^\n]*)\n", re.M)


def assert_fetched(folder, sent):
    """The Maildir holds the messages byte for byte, but for their line ends and getmail's own
    fields."""
    found = sorted(_ITS_OWN.sub(b"", body) for body in tree(folder).values())
    assert found == sorted(each.replace(b"\r\n", b"\n") for each in sent)


@pytest.fixture
def maildir(tmp_path):
    folder = str(tmp_path / "here")
    for part in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(folder, part))
    return folder


@pytest.fixture
def into(tmp_path, maildir):
    """A program that delivers into the Maildir: both refuse to do that themselves where they are
    root."""
    path = str(tmp_path / "into.sh")
    with open(path, "w") as file:
        file.write('#!/bin/sh\nset -e\nname=$(mktemp -u XXXXXXXXXX)\n'
                   'cat > "{0}/tmp/$name"\nmv "{0}/tmp/$name" "{0}/new/$name"\n'.format(maildir))
    os.chmod(path, 0o700)
    return path


@pytest.fixture
def getmail(program, tmp_path, house, user, into):
    """`getmail(service, {section: more lines})` runs it once."""
    def run_getmail(service, options):
        kind = {"imaps": "SimpleIMAPSSLRetriever", "pop3s": "SimplePOP3SSLRetriever"}[service]
        settings = str(tmp_path / "getmailrc")
        with open(settings, "w") as file:
            file.write("\n".join((
                "[retriever]", "type = " + kind, "server = " + house.host,
                "port = %d" % house.ports[service],
                "username = " + user.address, "password = " + user.passphrase,
                "ca_certs = " + house.certificate,
                "timeout = 15", options.get("retriever", ""),
                "[destination]", "type = MDA_external", "path = " + into,
                "allow_root_commands = true",
                "[options]", "verbose = 0", "delivered_to = false", "received = false",
                options.get("options", ""), "")))
        os.chmod(settings, 0o600)
        succeed([program("getmail"), "--getmaildir", str(tmp_path), "--rcfile", settings],
                HOME=str(tmp_path))
    return run_getmail


@pytest.mark.parametrize("service", ["imaps", "pop3s"])
def test_getmail_leaves_or_deletes(getmail, house, user, maildir, service):
    sent = list(ODD.values())
    house.append(user, "INBOX", *sent)
    leaving = {"options": "read_all = false\ndelete = false"}
    getmail(service, leaving)
    assert_fetched(maildir, sent)
    getmail(service, leaving)  # nothing is new
    assert len(tree(maildir)) == len(sent)
    house.append(user, "INBOX", message("later"))
    getmail(service, leaving)
    assert_fetched(maildir, sent + [message("later")])
    assert bodies(house.messages(user)) == sent + [message("later")]
    getmail(service, {"options": "read_all = false\ndelete = true"})
    assert house.messages(user) == {}
    assert len(tree(maildir)) == len(sent) + 1


def test_getmail_takes_several_folders(getmail, house, user, maildir):
    house.append(user, "INBOX", message("one"))
    house.append(user, "Archive", message("two"))
    getmail("imaps", {"retriever": 'mailboxes = ("INBOX", "Archive")',
                      "options": "read_all = true\ndelete = false"})
    assert_fetched(maildir, [message("one"), message("two")])


@pytest.fixture
def fetchmail(program, tmp_path, house, user, into):
    """`fetchmail(service, options, auth)` runs it once: its exit code."""
    def run_fetchmail(service, options, auth):
        protocol = "imap" if "imap" in service else "pop3"
        tls = "ssl" if service.endswith("s") else 'sslproto "tls1.2+"'
        settings = str(tmp_path / "fetchmailrc")
        with open(settings, "w") as file:
            file.write('poll %s service %d protocol %s auth %s timeout 15 %s\n'
                       '  user "%s" password "%s" %s sslcertck sslcertfile "%s" mda "%s" %s\n' % (
                           house.host, house.ports[service], protocol, auth,
                           "uidl" if protocol == "pop3" else "", user.name, user.passphrase, tls,
                           house.certificate, into, options))
        os.chmod(settings, 0o600)
        done = run([program("fetchmail"), "-f", settings, "--nosyslog", "--norewrite",
                    "--invisible", "--pidfile",
                    str(tmp_path / "pid"), "--idfile", str(tmp_path / "ids")], HOME=str(tmp_path),
                   FETCHMAILHOME=str(tmp_path))
        assert done.code in (0, NOTHING_NEW), done
        return done.code
    return run_fetchmail


@pytest.mark.parametrize("service, auth", [
    ("imaps", "password"), ("imap", "password"), ("imap", "cram-md5"), ("pop3s", "password"),
    ("pop3", "password")])
def test_fetchmail_takes_what_is_new(fetchmail, house, user, maildir, service, auth):
    sent = list(ODD.values())
    house.append(user, "INBOX", *sent)
    assert fetchmail(service, "keep", auth) == 0
    assert_fetched(maildir, sent)
    assert fetchmail(service, "keep", auth) == NOTHING_NEW
    house.append(user, "INBOX", message("later"))
    assert fetchmail(service, "fetchall nokeep", auth) == 0
    assert house.messages(user) == {}
    assert len(tree(maildir)) == 2 * len(sent) + 1
