"""ENABLE (RFC 5161)."""
from .. import command_grammar
from ..row import AFTER_LOGIN, Row


def enable(session, _):
    """No extension here has to be enabled; unknown ones are ignored (RFC 5161 3.1)."""
    session.write(b"* ENABLED\r\n")


ROWS = (
    Row("ENABLE", AFTER_LOGIN, command_grammar.enable, enable),
)
