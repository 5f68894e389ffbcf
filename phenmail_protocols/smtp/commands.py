"""The commands of SMTP and LMTP: one function and one row each.

RFC 5321 4.1.1, 2033 (LHLO), 3030 (BDAT), 3207 (STARTTLS), 4954 (AUTH). A row names the states in
which a command is allowed. When its function runs, the state is checked and the argument parsed.
Knows no socket; `delivery.router` decides about addresses.
"""
from functools import lru_cache

from ..delivery.router import MAILBOXES_A_MESSAGE
from ..mail.reply import Reply
from ..protocol.session import HTTP_METHODS
from . import grammar, replies
from .replies import wire
from .session import Command, State, Step, Then, answered
from .transaction import Transaction

_SENDER_OK = answered(replies.SENDER_OK)
_RECIPIENT_OK = answered(replies.RECIPIENT_OK)
_GO_AHEAD = answered(replies.GO_AHEAD, then=Then.DATA)


def run_helo(session, helo):
    session.greeted(helo, extended=False)
    return answered(Reply(250, "", session.service.host))


def run_ehlo(session, helo):
    """EHLO, and LMTP's LHLO."""
    session.greeted(helo, extended=True)
    return _capabilities(session.service.host, *_extensions(session))


@lru_cache(maxsize=64)
def _capabilities(host, *extensions):
    """Rendered once for each set of extensions: most clients send only one message."""
    return Step(wire(Reply(250, "", host), *extensions))


def _extensions(session):
    """The extensions that this connection offers now."""
    service = session.service
    yield "PIPELINING"
    yield "SIZE %d" % service.message_size
    yield "8BITMIME"
    yield "SMTPUTF8"
    yield "CHUNKING"
    yield "ENHANCEDSTATUSCODES"
    # The guaranteed number; more are accepted if they share mailboxes (RFC 9422 2).
    yield "LIMITS RCPTMAX=%d" % min(service.limits.recipients, MAILBOXES_A_MESSAGE)
    if service.router.notifies:
        yield "DSN"
    if service.tls_context is not None and session.tls is None:
        yield "STARTTLS"
    mechanisms = session.mechanisms()
    if mechanisms:
        yield "AUTH %s" % " ".join(mechanisms)
    yield "HELP"


def run_mail(session, mail):
    service = session.service
    if mail.size is not None and mail.size > service.message_size:
        return answered(replies.TOO_LARGE)
    if mail.unicode and not mail.smtputf8:
        return answered(replies.NEEDS_SMTPUTF8)
    if mail.sender is not None:
        if service.base != "LMTP":  # the server in front has checked its clients
            refusal = service.router.sender(mail.sender, session.account)
            if refusal is not None:
                return session.refused(refusal, mail.sender)
    session.transaction = Transaction(mail, service.message_size)
    session.state = State.SENDER
    return _SENDER_OK


def run_rcpt(session, rcpt):
    service, transaction, recipient = session.service, session.transaction, rcpt.recipient
    if rcpt.unicode and not transaction.mail.smtputf8:
        return answered(replies.NEEDS_SMTPUTF8)
    address = service.router.at_home(recipient.address)
    recipient = recipient._replace(address=address)
    if (len(transaction.recipients) >= service.limits.recipients
            or len(transaction.mailboxes) >= MAILBOXES_A_MESSAGE):
        return answered(replies.TOO_MANY_RECIPIENTS)
    destination = service.router.recipient(
        address, session.account, size=transaction.mail.size)
    if isinstance(destination, Reply):
        return session.refused(destination, address)
    transaction.add(recipient, destination)
    session.state = State.RECIPIENTS
    return _RECIPIENT_OK


def run_data(session, _):
    session.transaction.begin(session.service.router, session.origin(), session.account)
    return _GO_AHEAD


def run_bdat(session, chunk):
    transaction = session.transaction
    if not transaction.has_begun():
        transaction.begin(session.service.router, session.origin(), session.account)
    transaction.last = chunk.last
    session.state = State.CHUNKS
    return Step(b"", Then.OCTETS, chunk.size)


def run_rset(session, _):
    session.reset()
    return answered(replies.RESET)


def run_noop(session, _):
    return answered(replies.OK)


def run_quit(session, _):
    session.reset()
    return answered(replies.BYE, then=Then.CLOSE)


def run_vrfy(session, _):
    """RFC 5321 7.3: VRFY reveals no more than RCPT does."""
    return answered(replies.MAY_EXIST)


def run_expn(session, _):
    return answered(replies.NO_LIST)


def run_help(session, _):
    syntaxes = sorted({command.syntax for command in session.service.table.values()
                       if command.syntax})
    return Step(wire(Reply(214, "2.0.0", "Commands:"), *syntaxes))


def run_starttls(session, _):
    if session.tls is not None:
        return session.error(replies.ALREADY_TLS)
    if not session.prepare_tls():
        return answered(replies.NO_CERTIFICATE)
    return answered(replies.TLS_READY, then=Then.TLS)


def run_auth(session, auth):
    if session.account is not None:
        return session.error(replies.ALREADY_LOGGED_IN)
    if auth.mechanism in session.mechanisms():
        return session.start_login(auth.mechanism, auth.initial)
    # RFC 4954 4: the reply says if the mechanism would be offered over TLS.
    if session.is_offered_over_tls(auth.mechanism):
        return session.error(replies.ENCRYPT_FIRST)
    return session.error(replies.NO_MECHANISM)


def run_http(session, _):
    """A browser was made to connect: close, so that a request's body is not run as commands."""
    session.reset()
    return answered(replies.NOT_SMTP, then=Then.CLOSE)


_ANY = frozenset((State.START, State.READY, State.SENDER, State.RECIPIENTS, State.CHUNKS))
_READY = frozenset((State.READY,))
_NOTHING, _TEXT, _NEEDED = grammar.parse_nothing, grammar.parse_text, grammar.parse_needed_text

_COMMON = (
    Command(b"MAIL", _READY, grammar.parse_mail, run_mail,
            "MAIL FROM:<sender> [parameters]", login=True),
    Command(b"RCPT", frozenset((State.SENDER, State.RECIPIENTS)), grammar.parse_rcpt, run_rcpt,
            "RCPT TO:<recipient> [parameters]", login=True),
    Command(b"DATA", frozenset((State.RECIPIENTS,)), _NOTHING, run_data, "DATA", login=True),
    Command(b"BDAT", frozenset((State.RECIPIENTS, State.CHUNKS)), grammar.parse_bdat, run_bdat,
            "BDAT size [LAST]", login=True, octets=True),
    Command(b"RSET", _ANY, _NOTHING, run_rset, "RSET"),
    Command(b"NOOP", _ANY, _TEXT, run_noop, "NOOP [text]"),
    Command(b"QUIT", _ANY, _NOTHING, run_quit, "QUIT"),
    Command(b"VRFY", _ANY, _NEEDED, run_vrfy, "VRFY address", login=True),
    Command(b"EXPN", _ANY, _NEEDED, run_expn, "EXPN list", login=True),
    Command(b"HELP", _ANY, _TEXT, run_help, "HELP"),
    Command(b"STARTTLS", frozenset((State.READY, State.SENDER, State.RECIPIENTS)), _NOTHING,
            run_starttls, "STARTTLS"),
) + tuple(Command(verb, _ANY, _TEXT, run_http, "", long=True)
            for verb in HTTP_METHODS)

_SMTP = _COMMON + (
    Command(b"HELO", _ANY, grammar.parse_host, run_helo, "HELO name"),
    Command(b"EHLO", _ANY, grammar.parse_host, run_ehlo, "EHLO name"),
    Command(b"AUTH", _READY, grammar.parse_auth, run_auth,
            "AUTH mechanism [initial response]", long=True),
)
_LMTP = _COMMON + (
    Command(b"LHLO", _ANY, grammar.parse_host, run_ehlo, "LHLO name"),
)


def table(base):
    """{verb: Command} for "SMTP" or "LMTP"."""
    return {command.name: command for command in (_LMTP if base == "LMTP" else _SMTP)}
