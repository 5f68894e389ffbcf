"""PIPELINING (RFC 2920 for SMTP, RFC 2449 section 6.6 for POP3; IMAP always allows it): a client
sends several commands without waiting, and their replies are sent together.
"""


def flush_unless_pipelining(connection, output):
    """Send the replies, unless the next command has arrived already."""
    if not connection.has_line():
        output.flush()
