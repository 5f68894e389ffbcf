"""ENABLE (RFC 5161)."""
from ..command_row import AFTER_LOGIN, Row
from ..syntax import command_grammar


def enable(session, names):
    """Unknown extensions, and those that need no ENABLE, are ignored (RFC 5161 3.1)."""
    enabled = [name for name in names if name in EXTENSIONS and session.offers(name)]
    session.write(b" ".join([b"* ENABLED"] + [name.encode("ascii") for name in enabled]) + b"\r\n")
    for name in enabled:
        EXTENSIONS[name](session)


def _enable_qresync(session):
    session.enable_condstore()  # RFC 7162 3.2.3
    session.qresync = True


#: Extension -> what enables it.
EXTENSIONS = {
    "CONDSTORE": lambda session: session.enable_condstore(),
    "QRESYNC": _enable_qresync,
}


ROWS = (
    Row("ENABLE", AFTER_LOGIN, command_grammar.enable, enable, extension="ENABLE"),
)
