"""What surrounds a mail server in somebody's test: the network that misbehaves, and the world outside that takes mail.

Floor 0: sockets on the loopback and nothing of ours.  `phenmail_protocols.testing` puts it together.
Order: acceptor, proxy, catcher.
"""
