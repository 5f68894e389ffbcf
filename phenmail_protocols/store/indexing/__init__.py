"""The index of an account: an SQLite database beside the files, which can be rebuilt from them.

index          mailboxes and messages
expunged       which messages were expunged
derived_index  data derived from messages: items that IMAP sends, fields that are searched
database_file  opens a database; its files, and what its errors mean
account_index  which database an account uses: the one on the disk, or one in memory on a full disk
numbering      UIDVALIDITY, UIDs and mod-sequences are never used twice, even if the index is lost
"""
