"""The table that the server prints at its start: settings for mail programs."""

# Name of a listener, what a mail program calls it, and its TLS setting.
_ROWS = (
    ("imaps", "IMAP", "SSL/TLS"), ("imap", "IMAP", "STARTTLS"),
    ("pop3s", "POP3", "SSL/TLS"), ("pop3", "POP3", "STARTTLS"),
    ("submissions", "outgoing (SMTP)", "SSL/TLS"), ("submission", "outgoing (SMTP)", "STARTTLS"),
    ("smtp", "mail from other servers", "STARTTLS"), ("lmtp", "mail from a front server", "none"))


def table(listening, host, fingerprint=None, complaint=""):
    """-> str, several lines.

    `listening`: app.Listening values; `host`: the server's name; `fingerprint`: of its certificate,
    or None; `complaint`: why there is no certificate, or "".
    """
    text = "Settings for mail programs:\n\n"
    for name, what, security in _ROWS:
        for each in listening:
            if each.name == name:
                place = each.path or "%s port %d" % (
                    host if each.host in ("*", "") else each.host, each.port)
                text += "    %-27s %-32s %s\n" % (
                    what, place, security if each.tls != "none" else "no TLS")
    if fingerprint:
        text += ("\nThe certificate's SHA-256 fingerprint, to compare when the program asks:\n"
                 "    %s\n" % fingerprint)
    if complaint:
        text += "\nNo TLS: %s\n" % complaint
    return text
