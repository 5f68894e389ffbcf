"""Data derived from messages and cached in the index: items that IMAP sends, fields for SEARCH.

derived     reads and writes this data of a mailbox
derivation  derives it from messages in idle moments
"""
