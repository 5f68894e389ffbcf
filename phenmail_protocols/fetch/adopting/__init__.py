"""Adopting: all mail of an account on another server is copied here, and may stay there.

    remote      the account there: its mailboxes, messages, labels; by IMAP in imap_remote
    finding     which server an address has
    plan        which mailbox there becomes which one here; pure
    ledger      what was copied so far, in a file for each mailbox, and its hashes
    here        the keys of the messages in our mailboxes
    progress    what the user sees: how far it is, and how long it waits
    connection  the connection, which is made again when it is lost; allowance: octets in a day
    copying     the copying, which can be stopped and resumed at any instant
    receipt     compares both sides, message by message
    adoption    all of that for one account
    handing_over    fetching goes on where adopting ended

A copied message's file name has a key that is made of its mailbox and UID there (or, of Gmail, of
its X-GM-MSGID). A message whose key is in the mailbox here is not copied again. So a process that
was killed between the delivery and the ledger's line makes no second copy.
"""
