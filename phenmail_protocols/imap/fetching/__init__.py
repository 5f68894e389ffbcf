"""The items that FETCH sends: read from a message, or cached in the store's index.

derivations        items that are made once and cached: ENVELOPE, BODYSTRUCTURE, header fields, …
message            a message that is being read: its header, its octets, its MIME tree
mime_trees         a cache of MIME trees, shared by all sessions
message_responses  ENVELOPE, BODY and BODYSTRUCTURE (RFC 3501 7.4.2)
sections           BODY[…] and its parts of a message (RFC 3501 6.4.5)
binary             BINARY[…], decoded (RFC 3516)
email_id           EMAILID (RFC 8474)
"""
