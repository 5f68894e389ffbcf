"""Roundcube's IMAP classes: lists, sorts, threads, searches and changes a mailbox, with its cache
in SQLite and QRESYNC."""
import json
import os

import pytest

from tests.conftest import UNPACKED
from tests.interop.house import bodies, message, ok
from tests.interop.remote import SCRIPTS, Remote

ROUNDCUBE = os.path.join(UNPACKED, "usr", "share", "roundcube")


@pytest.fixture
def open_roundcube(program, absent, tmp_path, house, user):
    """`open_roundcube()`: one more page that is shown, as a Remote; the cache is the same."""
    if not os.path.exists(os.path.join(ROUNDCUBE, "program", "lib")):
        absent("Roundcube")
    settings = str(tmp_path / "settings.json")
    with open(settings, "w") as file:
        json.dump({"roundcube": ROUNDCUBE, "folder": str(tmp_path), "host": house.host,
                   "port": house.ports["imaps"], "certificate": house.certificate,
                   "user": user.name, "passphrase": user.passphrase}, file)
    opened = []

    def open_page():
        page = Remote([program("php"), os.path.join(SCRIPTS, "drive_roundcube.php"), settings],
                      str(tmp_path / "errors"))
        opened.append(page)
        assert page("login") is True
        page("set_folder", "INBOX")
        page("set_messages_caching", True)
        return page
    yield open_page
    for page in opened:
        page.close()


def letters():
    """(a thread of three, another message): by subject, sender and date in different orders."""
    def made(name, subject, day, sender, answers=None):
        header = "Date: %02d May 2019 10:11:12 +0200\r\n" % day
        if answers:
            header += "In-Reply-To: <%s@x>\r\nReferences: <%s@x>\r\n" % (answers, answers)
        return ("From: %s <%s@example.net>\r\nTo: you@example.org\r\nSubject: %s\r\n"
                "Message-ID: <%s@x>\r\n%sMIME-Version: 1.0\r\n"
                "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
                "\r\nGrüße von %s\r\n" % (sender, name, subject, name, header, name)).encode()
    return [made("one", "Lunch", 1, "Carl"), made("two", "Re: Lunch", 3, "Bob", "one"),
            made("three", "Dinner", 2, "Ann"), made("four", "Re: Lunch", 4, "Zoe", "two")]


def uids(listed):
    return [row["uid"] for row in listed]


def test_roundcube_lists_sorts_and_threads(open_roundcube, house, user):
    house.append(user, "INBOX", *letters())
    page = open_roundcube()
    for field, order, expected in (
            ("subject", "ASC", [3, 1, 2, 4]), ("from", "ASC", [3, 2, 1, 4]),
            ("date", "DESC", [4, 2, 3, 1]), ("arrival", "ASC", [1, 2, 3, 4])):
        assert uids(page("list_messages", "INBOX", 1, field, order)) == expected, field
    page("set_threading", "REFERENCES")
    threads = page("list_messages", "INBOX", 1, "date", "DESC")
    assert [(row["uid"], row["depth"]) for row in threads] == [(1, 0), (2, 1), (4, 2), (3, 0)]
    assert page("count", "INBOX", "THREADS", True) == 2
    page("set_threading", False)
    page("search", "INBOX", "HEADER SUBJECT Dinner", "UTF-8", "date")
    assert page("found") == [3]
    page("search", "INBOX", "TEXT \"Grüße von t\"", "UTF-8", "date")
    assert page("found") == [3, 2]
    assert page("get_raw_body", 3).encode() == letters()[2]
    assert page("get_message_part", 2, "1").strip() == "Grüße von two"


def test_roundcube_changes_a_mailbox(open_roundcube, house, user):
    house.append(user, "INBOX", *letters())
    page = open_roundcube()
    assert page("create_folder", "Lists/Gr&APwA3w-e \"x\"", True) is True
    # Roundcube itself encodes names. In UTF-8 it is the same mailbox (RFC 6855 3).
    assert page("create_folder", "Lists/Grüße \"x\"", True) is False
    folders = page("list_folders_subscribed")
    assert folders[0] == "INBOX" and "Lists/Gr&APwA3w-e \"x\"" in folders
    assert page("get_special_folders", True)["sent"] == "Sent"
    assert page("save_message", "Sent", letters()[0].decode(), "", False, ["SEEN"]) == "1"
    assert page("set_flag", "1,2", "FLAGGED", "INBOX") is True
    assert page("set_flag", 1, "FORWARDED", "INBOX") is True
    assert page("copy_message", "1:2", "Lists/Gr&APwA3w-e \"x\"", "INBOX") is True
    assert page("move_message", [3], "Trash", "INBOX") is True
    assert page("delete_message", [2], "INBOX") is True
    assert page("count", "INBOX", "ALL", True) == 2
    assert page("folder_size", "INBOX") == len(letters()[0]) + len(letters()[3])
    assert page("rename_folder", "Lists/Gr&APwA3w-e \"x\"", "Old") is True
    assert len(bodies(house.messages(user, "Old"))) == 2
    assert page("delete_folder", "Old") is True
    assert page("clear_folder", "Trash") is True
    found = house.messages(user)
    assert {uid: flags for uid, (flags, _) in found.items()} == {
        1: {"\\Flagged", "$Forwarded"}, 4: set()}


def test_roundcube_resynchronises_its_cache(open_roundcube, house, user):
    """With QRESYNC it takes flags and removed messages from the answer of SELECT."""
    house.append(user, "INBOX", *letters())
    page = open_roundcube()
    assert uids(page("list_messages", "INBOX", 1, "arrival", "ASC")) == [1, 2, 3, 4]
    client = house.imap(user, "INBOX")
    page.close()
    ok(client.uid("STORE", "2", "+FLAGS", "(\\Deleted)"))
    ok(client.expunge())
    ok(client.uid("STORE", "3", "+FLAGS", "(\\Flagged \\Seen)"))
    ok(client.append("INBOX", None, None, message("later")))
    client.logout()
    page = open_roundcube()
    page("folder_sync", "INBOX")
    listed = page("list_messages", "INBOX", 1, "arrival", "ASC")
    assert uids(listed) == [1, 3, 4, 5]
    assert {row["uid"]: set(row["flags"]) & {"FLAGGED", "SEEN"} for row in listed} == {
        1: set(), 3: {"FLAGGED", "SEEN"}, 4: set(), 5: set()}
