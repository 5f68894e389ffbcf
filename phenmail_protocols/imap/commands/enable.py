"""ENABLE (RFC 5161)."""
from .. import command_grammar, responses
from ..row import AFTER_LOGIN, Row
from ..session import Step


def enable(session, _):
    """No extension here has to be enabled; unknown ones are ignored (RFC 5161 3.1)."""
    session.write(responses.enabled_line(()))
    return Step()


ROWS = (
    Row("ENABLE", AFTER_LOGIN, command_grammar.enable, enable),
)
