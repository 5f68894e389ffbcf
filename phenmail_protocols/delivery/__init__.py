"""New mail: where it goes, and how it gets there.  The only way into a mailbox, whoever brings it.

Start at `router.Router`; the path of a message is drawn at the top of `incoming`.
"""
