"""Whether a message that came in is what it claims to be: SPF, DKIM and DMARC."""
