"""What is derived from messages and kept in the index: items that IMAP sends, fields for searches.

derived     what a mailbox has of it
derivation  deriving it in idle moments
"""
