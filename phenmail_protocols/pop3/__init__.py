"""POP3: RFC 1939, 2449 (CAPA), 2595 (STLS), 3206, 5034 (AUTH), 6856 (UTF8, LANG).

Floor 3.  A line from the client goes grammar -> commands -> session, an answer comes
back as a value of `replies`; `maildrop` is the mailbox as one session sees it, and
`handler` alone knows the connection.
"""
