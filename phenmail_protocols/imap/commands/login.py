"""Getting in: STARTTLS, LOGIN (RFC 3501 6.2.1, 6.2.3), AUTHENTICATE with or without an initial response (6.2.2, RFC 4959)."""
from ...accounts import sasl
from ...accounts.login import LoginFailed
from .. import capabilities, command_grammar
from ..row import BEFORE_LOGIN, Row
from ..session import READ_LINE, START_TLS, CommandFailed, Misuse, Step


def starttls(session, _):
    if session.tls:
        raise Misuse(b"TLS is on already.")
    if session.server.tls_context is None:
        raise CommandFailed(b"There is no certificate here.", b"UNAVAILABLE")
    return Step(START_TLS, text=b"Begin TLS now.")


def login(session, arguments):
    if not session.may_send_secrets:
        raise CommandFailed(b"Passwords are taken over TLS only.", b"PRIVACYREQUIRED")
    try:
        account = session.server.directory.authenticate(arguments.user, arguments.password, session.peer)
    except LoginFailed as error:
        raise _refusal(session, error.text, error.temporary) from None
    return _logged_in(session, account)


def authenticate(session, arguments):
    if arguments.mechanism not in capabilities.mechanisms(session):
        raise CommandFailed(b"That mechanism is not offered here.", b"CANNOT")
    server = session.server
    dialogue = sasl.start(arguments.mechanism, server.directory.login(session.peer), server.host)
    return _continued(session, dialogue, arguments.initial)


def _continued(session, dialogue, response):
    """One exchange further; `response` is decoded, None where the client has sent none yet."""
    answer = dialogue.step(response)
    if isinstance(answer, sasl.Challenge):
        return Step(READ_LINE, prompt=sasl.encode(answer.data), resume=lambda line: _answered(session, dialogue, line))
    if isinstance(answer, sasl.Success):
        return _logged_in(session, answer.account)
    if answer.kind == sasl.SYNTAX:
        raise Misuse(answer.text.encode("ascii", "replace"))
    raise _refusal(session, answer.text, answer.kind == sasl.TEMPORARY)


def _answered(session, dialogue, line):
    if line == b"*":
        raise Misuse(b"Authentication was given up.")  # RFC 3501 6.2.2
    try:
        response = sasl.decode(line)
    except sasl.Malformed as error:
        raise Misuse(str(error).encode("ascii", "replace")) from None
    return _continued(session, dialogue, response)


def _logged_in(session, account):
    session.log_in(account)
    return Step(text=b"Logged in.", code=session.capability_code())


def _refusal(session, text, temporary):
    session.failed_logins += not temporary
    return CommandFailed(text.encode("ascii", "replace"), b"UNAVAILABLE" if temporary else b"AUTHENTICATIONFAILED")


ROWS = (
    Row("STARTTLS", BEFORE_LOGIN, None, starttls),
    Row("AUTHENTICATE", BEFORE_LOGIN, command_grammar.authenticate, authenticate, secret=True),
    Row("LOGIN", BEFORE_LOGIN, command_grammar.login, login, secret=True),
)
