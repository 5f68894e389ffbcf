"""The files of one mail folder, in the forms that other Maildir programs know.

The mail folder is a Maildir++ tree (https://cr.yp.to/proto/maildir.html): INBOX lies in the folder
itself, every other mailbox in a folder below it whose name starts with a dot. Beside the messages
each mailbox has Dovecot's plain files, so that a Maildir moves between Dovecot and us.

    tree.py           the whole mail folder: which mailboxes it has, making them
    folders.py        the name of a mailbox, and the name of its folder
    listing.py        the messages in one folder
    filenames.py      the name of a message's file: its flags and sizes
    files.py          finding, linking, renaming and removing message files
    staged.py         a new message's file in tmp
    content.py        reading a message as IMAP and POP3 serve it
    uidlist.py        `dovecot-uidlist`: UIDVALIDITY and the UIDs
    keywords.py       `dovecot-keywords`: which letter stands for which keyword
    subscriptions.py  `subscriptions`
    space.py          how much room the disk has

No file here knows the index (SQL), an account's lock, or a session. Callers that change something
hold the account's lock.
"""
