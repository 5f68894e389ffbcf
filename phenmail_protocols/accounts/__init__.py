"""Who may log in, and where an address ends.

Floor 1: knows the configuration's values and users' files; knows no socket, no
protocol's replies and no mailbox.  Begin reading at `directory.py`.
"""
