"""What FETCH sends of a message: read from its octets, or kept in the store's index.

derivations        items that are made once and kept: ENVELOPE, BODYSTRUCTURE, chosen fields, …
message            a message that is being read: its header, its octets, its MIME tree
mime_trees         MIME trees that several commands may use
message_responses  ENVELOPE, BODY and BODYSTRUCTURE (RFC 3501 7.4.2)
sections           BODY[…] and its parts of a message (RFC 3501 6.4.5)
binary             BINARY[…], decoded (RFC 3516)
email_id           EMAILID (RFC 8474)
"""
