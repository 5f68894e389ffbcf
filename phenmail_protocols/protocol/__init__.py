"""What SMTP, POP3 and IMAP share; the room of each protocol adds its commands and its replies.

    handler     one connection: its loop, its timeouts, STARTTLS, the goodbye
    pipelining  replies to several commands leave together
    output      replies on their way out: joined into large writes, within the deadline
    session     one client: its login by SASL or by name and passphrase, and its failed attempts

A handler owns the connection.  A session knows no socket and no file: a line or a command goes in,
a step comes out, which holds the reply and says what the handler does `then`.
"""
