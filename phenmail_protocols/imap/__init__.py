"""imap: RFC 3501 spoken on top of the store. Floor 3: it never imports smtp, pop3 or admin."""
