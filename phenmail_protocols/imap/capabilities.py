"""What CAPABILITY lists in each state (RFC 3501 6.1.1): only extensions that are complete."""
from ..accounts import sasl

ALWAYS = (b"IMAP4rev1", b"LITERAL+", b"SASL-IR", b"ID", b"ENABLE", b"IDLE")
AFTER_LOGIN = (b"NAMESPACE", b"UNSELECT", b"UIDPLUS", b"MOVE", b"CHILDREN", b"LIST-EXTENDED",
               b"LIST-STATUS", b"SPECIAL-USE", b"STATUS=SIZE", b"WITHIN", b"CONDSTORE",
               b"QRESYNC", b"ESEARCH", b"SEARCHRES", b"SORT", b"SORT=DISPLAY",
               b"ESORT", b"THREAD=ORDEREDSUBJECT", b"THREAD=REFERENCES")


def mechanisms(session):
    """The SASL mechanisms that may be used now: tuple of str."""
    return sasl.mechanisms(
        session.server.directory, session.tls, session.may_send_secrets)


def capabilities(session):
    """A list of bytes."""
    if session.account is not None:
        limit = b"APPENDLIMIT=%d" % session.server.limits.message_size  # RFC 7889
        return list(ALWAYS + AFTER_LOGIN) + [limit]
    found = list(ALWAYS)
    if session.server.tls_context is not None and not session.tls:
        found.append(b"STARTTLS")
    if not session.may_send_secrets:
        found.append(b"LOGINDISABLED")
    return found + [b"AUTH=" + name.encode("ascii") for name in mechanisms(session)]
