"""The capabilities of each state (RFC 3501 6.1.1): only extensions that are complete.

Each but IMAP4rev1 can be switched off (config/imap_extensions.py).
"""
ALWAYS = (
    "IMAP4rev1",  # RFC 3501
    "LITERAL+",  # RFC 7888
    "SASL-IR",  # RFC 4959
    "ID",  # RFC 2971
    "ENABLE",  # RFC 5161
    "IDLE",  # RFC 2177
)
LOGGED_IN = (
    "NAMESPACE",  # RFC 2342
    "UNSELECT",  # RFC 3691
    "UIDPLUS",  # RFC 4315
    "MOVE",  # RFC 6851
    "CHILDREN",  # RFC 3348
    "LIST-EXTENDED",  # RFC 5258
    "LIST-STATUS",  # RFC 5819
    "SPECIAL-USE",  # RFC 6154
    "CREATE-SPECIAL-USE",  # RFC 6154
    "STATUS=SIZE",  # RFC 8438
    "WITHIN",  # RFC 5032
    "CONDSTORE",  # RFC 7162
    "QRESYNC",  # RFC 7162
    "ESEARCH",  # RFC 4731
    "SEARCHRES",  # RFC 5182
    "SORT",  # RFC 5256
    "SORT=DISPLAY",  # RFC 5957
    "ESORT",  # RFC 5267
    "THREAD=ORDEREDSUBJECT",  # RFC 5256
    "THREAD=REFERENCES",  # RFC 5256
    "UTF8=ACCEPT",  # RFC 6855
    "OBJECTID",  # RFC 8474
    "QUOTA",  # RFC 9208
    "QUOTA=RES-STORAGE",  # RFC 9208
    "QUOTA=RES-MESSAGE",  # RFC 9208
    "APPENDLIMIT",  # RFC 7889
    "MULTIAPPEND",  # RFC 3502
    "BINARY",  # RFC 3516
    "NOTIFY",  # RFC 5465
    "PREVIEW",  # RFC 8970
    "COMPRESS=DEFLATE",  # RFC 4978
)


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
