"""Camel, the mail engine of Evolution."""
import glob
import json
import os
import re

import pytest

from tests.conftest import UNPACKED
from tests.interop.house import ODD, bodies, eventually, message, ok, run
from tests.interop.remote import SCRIPTS, Remote

PYTHON = "/usr/bin/python3"  # the one that has python3-gi
PROVIDERS = "usr/lib/evolution-data-server/camel-providers"


@pytest.fixture
def open_camel(absent, tmp_path, house, user):
    """`open_camel(service)`: a client that is logged in, as a Remote."""
    found = [folder for folder in (os.path.join("/", PROVIDERS), os.path.join(UNPACKED, PROVIDERS))
             if glob.glob(folder + "/libcamelimapx.so")]
    if not found or run([PYTHON, "-c", "import gi; gi.require_version('Camel', '1.2')"]).code:
        absent("gir1.2-camel-1.2, python3-gi or evolution-data-server")
    opened = []

    def open_client(service="imaps", qresync=False):
        settings = {"host": house.host, "port": house.ports[service], "service": service,
                    "user": user.name, "passphrase": user.passphrase, "folder": str(tmp_path),
                    "qresync": qresync}
        camel = Remote([PYTHON, os.path.join(SCRIPTS, "drive_camel.py"), json.dumps(settings)],
                       str(tmp_path / "errors"), HOME=str(tmp_path),
                       EDS_CAMEL_PROVIDER_DIR=found[0])
        opened.append(camel)
        return camel
    yield open_client
    for camel in opened:
        camel.close()


def shows(camel, expected, mailbox="INBOX"):
    """Wait until these [UID, subject, flags] are the rows of an open mailbox."""
    eventually(lambda: camel("rows", mailbox, 0.1) == expected, "the rows %r" % expected)


@pytest.mark.parametrize("service", ["imap", "imaps"])
def test_evolution_reads_a_mailbox(open_camel, house, user, service):
    house.append(user, "INBOX", *ODD.values())
    camel = open_camel(service)
    camel("open", "INBOX")
    shows(camel, [[str(uid), subject, []] for uid, subject in enumerate(ODD, 1)])
    assert [camel("read", "INBOX", str(uid)).replace("\r\n", "\n") for uid in range(1, len(ODD) + 1)
            ] == [sent.decode("latin-1").replace("\r\n", "\n") for sent in ODD.values()]


@pytest.mark.parametrize("qresync", [False, True])
def test_evolution_shows_what_others_change(open_camel, house, user, qresync):
    house.append(user, "INBOX", *[message("old %d" % number) for number in range(1, 6)])
    other = house.imap(user, "INBOX")
    camel = open_camel(qresync=qresync)
    camel("open", "INBOX")
    rows = [[str(number), "old %d" % number, []] for number in range(1, 6)]
    shows(camel, rows)
    # Nothing else changes then, so it has only VANISHED and STATUS to go by.
    eventually(lambda: camel("rows", "INBOX", 0.1) and re.search(
        user.address + r"@\S+: \S+ IDLE", house.log()), "IDLE")
    ok(other.store("2:3", "+FLAGS.SILENT", "(\\Deleted)"))
    ok(other.expunge())
    del rows[1:3]
    shows(camel, rows)
    ok(other.append("INBOX", None, None, message("new")))
    rows.append(["6", "new", []])
    shows(camel, rows)
    ok(other.store("1", "+FLAGS", "(\\Flagged \\Seen)"))
    rows[0][2] = ["\\Seen", "\\Flagged"]
    shows(camel, rows)
    other.logout()


def test_evolution_changes_a_mailbox(open_camel, house, user):
    house.append(user, "INBOX", *[message("old %d" % number) for number in range(1, 6)])
    camel = open_camel()
    camel("create", None, "Grüße")
    camel("rename", "Grüße", "Früher")
    camel("open", "Früher")
    camel("open", "INBOX")
    camel("set_flag", "INBOX", "1", "\\Flagged")
    camel("set_flag", "INBOX", "1", "$Label1")
    camel("transfer", "INBOX", ["2"], "Früher", False)
    camel("transfer", "INBOX", ["3", "4"], "Früher", True)
    camel("append", "Früher", message("new").decode("latin-1"))
    camel("set_flag", "INBOX", "5", "\\Deleted")
    camel("expunge", "INBOX")
    found = house.messages(user)
    assert bodies(found) == [message("old 1"), message("old 2")]
    assert found[1][0] == {"\\Flagged", "$Label1"}
    found = house.messages(user, "Fr&APw-her")
    assert bodies(found)[:3] == [message("old 2"), message("old 3"), message("old 4")]
    assert found[4][0] == {"\\Seen"}


def test_evolution_returns_from_offline(open_camel, house, user):
    house.append(user, "INBOX", *[message("old %d" % number) for number in range(1, 4)])
    camel = open_camel()
    camel("open", "INBOX")
    shows(camel, [[str(number), "old %d" % number, []] for number in range(1, 4)])
    camel("online", False)
    camel("set_flag", "INBOX", "3", "\\Flagged")
    other = house.imap(user, "INBOX")
    ok(other.store("1", "+FLAGS", "(\\Deleted)"))
    ok(other.expunge())
    ok(other.append("INBOX", None, None, message("new")))
    other.logout()
    camel("online", True)
    camel("refresh", "INBOX")
    camel("set_flag", "INBOX", "3", "\\Seen")
    shows(camel, [["2", "old 2", []], ["3", "old 3", ["\\Seen", "\\Flagged"]], ["4", "new", []]])
    assert house.messages(user)[3][0] == {"\\Flagged", "\\Seen"}
