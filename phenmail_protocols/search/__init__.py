"""The search index: it tells which messages cannot contain a string, without reading them.

SEARCH BODY and TEXT (RFC 3501 6.4.4) look for any substring. The index has the trigrams (any three
characters in a row) of all texts that SEARCH looks at, decoded and folded (`text.collation.fold`).
A message that lacks one of a key's trigrams cannot contain the key. SEARCH reads the other
messages, the candidates. So the index only saves time: it is built in idle moments (building.py), a
message that is not indexed yet is a candidate, and the file may be deleted at any time.

    texts.py         the texts of one message
    database.py      the SQLite database of one account; all SQL is here
    body_index.py    that database, opened and reopened as needed, and its failures
    comparing.py     checks whether the documents still match the files
    batches.py       documents that are added in one transaction
    building.py      the steps that add messages, and remove what was expunged
    indexes.py       the indexes of all accounts of a server

A document is the text of a message, or a window (a piece) of a long text. It is identified by
(mailbox, UID, mark); the mark is a hash of the file's name, size and mtime. UIDs are never reused
while the mailbox has the same `KnownMailbox.identity`. If the identity changes (the store's index
was lost, restored or copied), the documents are used again only after their marks were compared
with the files. The marks of files that other programs changed are compared, too.

Document numbers are never reused, because SQLite cannot delete from an FTS5 table without content.
Documents of expunged messages are only removed from the table `doc`: they are dead. When a third of
all documents are dead, the index is rebuilt.
"""
