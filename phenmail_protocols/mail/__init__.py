"""What a mail message is: addresses, envelopes, headers, MIME structure, text, dates.

Pure values: no sockets, files or protocols.
"""
