"""Mailboxes on disk: plain Maildir++ files, and an index beside them. Knows no protocol.

Callers start with `filestore.FileStore`. Values that go in and out are in model.py and errors.py.

    account.py        one mail folder and its mailboxes; the rules of the store
    hierarchy.py      LIST, CREATE, DELETE, RENAME
    mailbox.py        one mailbox: SELECT, FETCH, STATUS, \\Recent
    group_commit.py   deliveries that arrive together share one transaction
    adding.py         how a new message gets its UID
    flags.py          STORE
    expunging.py      EXPUNGE
    copying.py        COPY, MOVE
    changes.py        recent changes, and the callbacks that announce them
    rescan.py         what other programs changed in the files
    numbering.py      UIDVALIDITY, UIDs and mod-sequences are never used twice
    transaction.py    locks, and all-or-nothing changes
    account_index.py  the index on disk, or in memory while the disk is full
    index.py          the SQL
    columns.py        a mailbox in memory
    watching.py       watches all mailboxes of an account
    poller.py         checks open mailboxes and watched accounts once a second
    maildir/          the files themselves; knows no SQL and no account
"""
