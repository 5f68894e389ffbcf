"""NOTIFY (RFC 5465): notifies a client of changes in all its mailboxes.

event_filters  which events of which mailboxes the client wants
notifications  STATUS responses for mailboxes that changed
mailbox_names  LIST responses for mailboxes that were created, deleted, renamed or subscribed
"""
