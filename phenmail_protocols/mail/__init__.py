"""What a mail message is: addresses, envelopes, headers, MIME structure, text, dates. Pure values; knows no socket, file or protocol."""
