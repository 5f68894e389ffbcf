"""NOTIFY (RFC 5465): what a client is told of all its mailboxes.

event_filters  which events it wants, of which mailboxes
notifications  STATUS responses for mailboxes that changed
mailbox_names  LIST responses for mailboxes that were created, deleted, renamed or subscribed
"""
