"""Adopting: all mail of an account on another server is copied here, and may stay there.

    remote      the account there: its mailboxes, messages, labels (IMAP)
    plan        which mailbox there becomes which one here; pure
    ledger      what was copied so far, in a file for each mailbox, and its hashes
    progress    what the user sees: how far it is, and how long it waits
    copying     the copying, which can be stopped and resumed at any instant
    receipt     compares both sides, message by message

A copied message's file name has a key that is made of its mailbox and UID there (or, of Gmail, of
its X-GM-MSGID). A message whose key is in the mailbox here is not copied again. So a process that
was killed between the delivery and the ledger's line makes no second copy.
"""
