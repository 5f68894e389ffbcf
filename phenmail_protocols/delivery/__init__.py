"""New mail: where it goes, and how it gets there. The only way of a new message into a mailbox.

Start at `router.Router`; the path of a message is drawn at the top of `incoming`.
"""
