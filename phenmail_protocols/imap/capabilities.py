"""The capabilities of each state (RFC 3501 6.1.1): only extensions that are complete.

Each but IMAP4rev1 can be switched off (config/imap_extensions.py).
"""
ALWAYS = ("IMAP4rev1", "LITERAL+", "SASL-IR", "ID", "ENABLE", "IDLE")
LOGGED_IN = ("NAMESPACE", "UNSELECT", "UIDPLUS", "MOVE", "CHILDREN", "LIST-EXTENDED",
             "LIST-STATUS", "SPECIAL-USE", "STATUS=SIZE", "WITHIN", "CONDSTORE", "QRESYNC",
             "ESEARCH", "SEARCHRES", "SORT", "SORT=DISPLAY", "ESORT",
             "THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES", "UTF8=ACCEPT", "APPENDLIMIT",
             "COMPRESS=DEFLATE")


def capabilities(session):
    """The capabilities that a session offers now -> list of bytes."""
    found = list(ALWAYS)
    if session.account is not None:
        found += LOGGED_IN
        if session.compresses:
            found.remove("COMPRESS=DEFLATE")
    else:
        if session.service.tls_context is not None and not session.tls:
            found.append("STARTTLS")
        if not session.may_send_secrets:
            found.append("LOGINDISABLED")
        found += ["AUTH=" + name for name in session.mechanisms()]
    return [_shown(session, name).encode("ascii") for name in found if session.offers(name)]


def _shown(session, name):
    if name == "APPENDLIMIT":  # RFC 7889
        return "%s=%d" % (name, session.service.limits.message_size)
    return name
