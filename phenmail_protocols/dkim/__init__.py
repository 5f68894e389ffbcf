"""DKIM (RFC 6376): keys (`keys`, `key_making`), signing, verifying."""
