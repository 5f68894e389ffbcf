"""SMTP, submission and LMTP: RFC 5321, 6409, 2033.

Floor 3.  A line from the client goes grammar -> commands -> session, an answer
comes back as a value of `replies`; `handler` alone knows the connection.  Order:
grammar, replies, transaction, session, commands, handler.
"""
