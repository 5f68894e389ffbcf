"""STARTTLS, LOGIN (RFC 3501 6.2.1, 6.2.3) and AUTHENTICATE (6.2.2; initial response: RFC 4959)."""
from ..command_row import BEFORE_LOGIN, Row
from ..session import START_TLS, CommandFailed, Misuse, Step
from ..syntax import command_grammar


def starttls(session, _):
    if session.tls:
        raise Misuse(b"TLS is already active")
    if not session.prepare_tls():
        raise CommandFailed(b"TLS is not available: the server has no certificate", b"UNAVAILABLE")
    return Step(START_TLS, text=b"Begin TLS negotiation now")


def login(session, arguments):
    if not session.may_send_secrets:
        raise CommandFailed(b"LOGIN is disabled without TLS, use STARTTLS first",
                            b"PRIVACYREQUIRED")
    return session.log_in(arguments.user, arguments.password)


def authenticate(session, arguments):
    if arguments.mechanism not in session.mechanisms():
        raise CommandFailed(b"Authentication mechanism not supported", b"CANNOT")
    return session.start_login(arguments.mechanism, arguments.initial)


ROWS = (
    Row("STARTTLS", BEFORE_LOGIN, None, starttls, extension="STARTTLS"),
    Row("AUTHENTICATE", BEFORE_LOGIN, command_grammar.authenticate, authenticate, secret=True),
    Row("LOGIN", BEFORE_LOGIN, command_grammar.login, login, secret=True),
)
