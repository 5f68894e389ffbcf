"""ENABLE (RFC 5161): CONDSTORE, QRESYNC (RFC 7162), UTF8=ACCEPT (RFC 6855)."""
from ..command_row import AFTER_LOGIN, Row
from ..session import SELECTED, Misuse
from ..syntax import command_grammar


def enable(session, names):
    """Unknown extensions, and those that need no ENABLE, are ignored (RFC 5161 3.1)."""
    enabled = [name for name in names if name in EXTENSIONS and session.offers(name)]
    if "UTF8=ACCEPT" in enabled and session.state == SELECTED:  # RFC 6855 3
        raise Misuse(b"UTF8=ACCEPT can only be enabled before a mailbox is selected")
    session.write(b" ".join([b"* ENABLED"] + [name.encode("ascii") for name in enabled]) + b"\r\n")
    for name in enabled:
        EXTENSIONS[name](session)


def _enable_qresync(session):
    session.enable_condstore()  # RFC 7162 3.2.3
    session.qresync = True


def _enable_utf8(session):
    session.utf8 = True


#: Extension -> what enables it.
EXTENSIONS = {
    "CONDSTORE": lambda session: session.enable_condstore(),
    "QRESYNC": _enable_qresync,
    "UTF8=ACCEPT": _enable_utf8,
}


ROWS = (
    Row("ENABLE", AFTER_LOGIN, command_grammar.enable, enable, extension="ENABLE"),
)
