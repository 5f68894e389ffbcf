"""SMTP, submission and LMTP.

A line from the client goes through `grammar` and `commands` to `session`; the handler does all
input and output. RFC 5321, 6409, 2033; extensions in `commands`.
"""
