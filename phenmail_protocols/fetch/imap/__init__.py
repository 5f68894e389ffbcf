"""IMAP servers as sources.

source -> client (imaplib within bounds), idle, login, names (of mailboxes), replies (parsers)
"""
