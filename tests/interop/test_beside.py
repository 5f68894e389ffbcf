"""Other programs use the Maildir itself while we serve it."""
import os

import pytest

from tests.interop.house import ODD, bodies, eventually, message, messages, ok, plain, succeed, tree


@pytest.fixture
def mbsync(program, tmp_path, user):
    """Keeps the user's Maildir and another one equal; gives the other's folder."""
    other = str(tmp_path / "other")
    os.mkdir(other)
    settings = str(tmp_path / "mbsyncrc")

    def run_mbsync(names):
        with open(settings, "w") as file:
            file.write("\n".join((
                "MaildirStore ours", "Inbox " + user.folder, "SubFolders Maildir++",
                "AltMap " + names, "",
                "MaildirStore other", "Path %s/" % other, "Inbox %s/INBOX" % other,
                "SubFolders Verbatim", "",
                "Channel c", "Far :ours:", "Near :other:", "Patterns *", "Create Near",
                "Expunge Both",
                "SyncState %s/" % tmp_path, "")))
        succeed([program("mbsync"), "-c", settings, "-a", "-q"], HOME=str(tmp_path))
        return other
    return run_mbsync


def test_mbsync_reads_our_maildir_and_drops_into_it(mbsync, house, user):
    client = house.imap(user, "INBOX")
    for sent in ODD.values():
        ok(client.append("INBOX", "(\\Seen)", None, sent))
    ok(client.append("Archive", None, None, message("archived")))
    before = messages(client, "INBOX")
    other = mbsync("yes")
    assert texts(other, "INBOX") == sorted(map(plain, ODD.values()))
    assert texts(other, "Archive") == [plain(message("archived"))]
    with open(os.path.join(other, "INBOX", "new", "1557130272.1.elsewhere"), "wb") as file:
        file.write(plain(message("from there")))
    mbsync("yes")
    eventually(lambda: len(messages(client, "INBOX")) == len(ODD) + 1, "the new message", 2.0)
    after = messages(client, "INBOX")
    assert plain(after.pop(max(after))[1]) == plain(message("from there"))
    assert after == before
    client.logout()


def test_mbsync_with_its_numbers_in_our_names_loses_nothing(mbsync, house, user):
    """Without AltMap it renames each file: no UID may then name another message than before."""
    client = house.imap(user, "INBOX")
    for sent in ODD.values():
        ok(client.append("INBOX", "(\\Flagged)", None, sent))
    before = messages(client, "INBOX")
    assert texts(mbsync("no"), "INBOX") == sorted(map(plain, ODD.values()))
    other = house.imap(user, "INBOX")
    after = messages(other, "INBOX")
    assert sorted(bodies(after)) == sorted(ODD.values())
    assert all("\\Flagged" in flags for flags, _ in after.values())
    assert all(before[uid] == after[uid] if uid in before else uid > max(before) for uid in after)
    other.logout()
    client.logout()


def texts(folder, name):
    """The messages of one of its folders, as they lie in a Maildir."""
    return sorted(plain(body) for path, body in tree(os.path.join(folder, name)).items()
                  if path[:3] in ("cur", "new"))
