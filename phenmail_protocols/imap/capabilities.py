"""The capabilities of each state (RFC 3501 6.1.1): only extensions that are complete."""
ALWAYS = (b"IMAP4rev1", b"LITERAL+", b"SASL-IR", b"ID", b"ENABLE", b"IDLE")
LOGGED_IN = (b"NAMESPACE", b"UNSELECT", b"UIDPLUS", b"MOVE", b"CHILDREN", b"LIST-EXTENDED",
             b"LIST-STATUS", b"SPECIAL-USE", b"STATUS=SIZE", b"WITHIN", b"CONDSTORE", b"QRESYNC",
             b"ESEARCH", b"SEARCHRES", b"SORT", b"SORT=DISPLAY", b"ESORT",
             b"THREAD=ORDEREDSUBJECT", b"THREAD=REFERENCES", b"UTF8=ACCEPT")


def capabilities(session):
    """The capabilities that a session offers now -> list of bytes."""
    if session.account is not None:
        limit = b"APPENDLIMIT=%d" % session.service.limits.message_size  # RFC 7889
        found = list(ALWAYS + LOGGED_IN) + [limit]
        return found if session.compresses else found + [b"COMPRESS=DEFLATE"]
    found = list(ALWAYS)
    if session.service.tls_context is not None and not session.tls:
        found.append(b"STARTTLS")
    if not session.may_send_secrets:
        found.append(b"LOGINDISABLED")
    return found + [b"AUTH=" + name.encode("ascii") for name in session.mechanisms()]
