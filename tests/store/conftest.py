"""A store in a temporary folder, and helpers for its tests."""
import os

import pytest

from phenmail_protocols.store.filestore import FileStore
from phenmail_protocols.store.indexing import index
from phenmail_protocols.store.maildir.uidlist import UidList


class House:
    """One store and one account of it."""

    def __init__(self, folder, **options):
        self.folder = str(folder / "mail")
        self._options = dict({"poll": 3600, "boot_id": "boot 1"}, **options)
        self.store = None
        self.open()

    def open(self, **options):
        """Open the store as a new process does; the old one is closed."""
        self.close()
        self.store = FileStore(**dict(self._options, **options))
        self.account = self.store.account(self.folder)

    def another(self, **options):
        """A second store on the same files, like another process's."""
        return FileStore(**dict(self._options, **options))

    def put(self, text="hello", name="INBOX", flags=(), date=None,
            account=None):
        account = account or self.account
        with account.stage() as staged:
            staged.write(b"Subject: %s\r\n\r\nbody\r\n" % text.encode())
            return account.deliver(name, staged, flags, date)

    def close(self):
        if self.store is not None:
            self.store.close()
            self.store = None


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    yield house
    house.close()


@pytest.fixture
def inbox(house, request):
    """INBOX, open, with as many messages as the module's MESSAGES."""
    for number in range(1, request.module.MESSAGES + 1):
        house.put("message %d" % number)
    mailbox = house.account.open("INBOX")
    yield mailbox
    mailbox.close()


def whole(mailbox):
    """{uid: (bytes, flags)} of a mailbox."""
    state = mailbox.state()
    uids = state.uids[:state.count]
    rows = mailbox.rows(uids)
    found = {}
    for uid, content in mailbox.contents(uids):
        with content:
            found[uid] = content.whole()
    return {uid: (found[uid], flags)
            for uid, flags in zip(rows.uids, rows.flags)}


def uids(mailbox):
    state = mailbox.state()
    return list(state.uids[:state.count])


def read_uid_list(folder):
    """(Header or None, {name: uid}) of the UID list in a folder."""
    uid_list = UidList(str(folder))
    header = uid_list.read()
    return header, uid_list.lines().uids


def drop_index(house):
    for name in os.listdir(house.folder):
        if name.startswith(index.FILE):
            os.unlink(os.path.join(house.folder, name))


def rebuilt(house, inbox):
    """Close the open INBOX and the house, and open both without the index -> whole(INBOX)."""
    inbox.close()
    house.close()
    drop_index(house)
    house.open()
    return whole(house.account.open("INBOX"))


def drop_foreign(house, name="1700000000.1.elsewhere", part="new",
                 text=b"Subject: foreign\n\nhello\n"):
    path = os.path.join(house.folder, part, name)
    with open(path, "wb") as file:
        file.write(text)
    return path
