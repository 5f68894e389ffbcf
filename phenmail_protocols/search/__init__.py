"""The index of texts: which messages cannot contain a string, without reading them.

SEARCH BODY and TEXT (RFC 3501 6.4.4) look for any substring. The index has the trigrams (any three
characters in a row) of all texts that SEARCH looks at, decoded and in the form of
`text.collation.fold`. A message without one of the trigrams of a key cannot contain the key. The
others are candidates; SEARCH reads those. So the index only saves time: it is built in idle moments
(building.py), whatever is not indexed yet is a candidate, and its file may be deleted at any time.

    texts.py         the texts of one message
    database.py      the SQLite database of one account; all SQL is here
    body_index.py    that database, opened and reopened as needed, and its failures
    comparing.py     do the documents still belong to the files?
    batches.py       documents that are added together
    building.py      the steps that add messages, and remove what was expunged
    indexes.py       the indexes of all accounts of a server

How a message is identified: a document is (mailbox, UID, mark). UIDs are never reused while the
mailbox has the same `KnownMailbox.identity`. If that changes (the store's index was lost, restored
or copied), the marks, made of file name, size and time, are compared before the documents count
again; so are those of files that other programs changed. Numbers of documents are never reused,
because a table without content cannot delete: what was expunged is no longer in the table `doc`,
and the index is rebuilt once a third of it is dead.
"""
