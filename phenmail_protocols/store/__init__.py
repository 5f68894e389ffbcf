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
    reading.py        reading messages: flags, sizes, dates, octets
    quota.py          how much the mailboxes of an account may hold
    changes.py        recent changes, and the callbacks that announce them
    transaction.py    locks, and all-or-nothing changes
    columns.py        a mailbox in memory
    watching.py       watches all mailboxes of an account
    poller.py         checks open mailboxes and watched accounts once a second
    idle_work.py      slow work in idle moments
    rescanning/       takes in what other programs changed in the files
    indexing/         the index: its SQL, and numbers that are never used twice
    deriving/         what is derived from messages and cached in the index
    maildir/          the files themselves; knows no SQL and no account
"""
