"""What SMTP, POP3 and IMAP share. The package of each protocol adds its commands and replies.

    handler        one connection: its loop, timeouts, STARTTLS, and last reply
    pipelining     sends the replies to several commands together
    output         sends replies: joins them into large writes, and keeps the deadline
    session        one client: its login by SASL or by name and passphrase, and its failed logins
    auth_argument  the argument of AUTH, in SMTP and POP3

A handler owns the connection. A session knows no socket and no file: a line or a command goes in,
a step comes out, which holds the reply and says what the handler does `then`.
"""
