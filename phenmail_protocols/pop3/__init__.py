"""POP3: RFC 1939, 2449 (CAPA), 2595 (STLS), 3206, 5034 (AUTH), 6856 (UTF8, LANG).

A line from the client goes through `grammar` and `commands` to `session`; `maildrop` is the mailbox
as one session sees it; the handler does all input and output.
"""
