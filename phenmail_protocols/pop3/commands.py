"""The commands of POP3: one function and one row each.

RFC 1939, 2449 (CAPA), 2595 (STLS), 5034 (AUTH), 6856 (UTF8, LANG). A row names the states in which
a command is allowed. When its function runs, the state is checked and the argument parsed.
"""
from functools import partial

from ..accounts import sasl
from ..protocol.session import HTTP_METHODS
from ..store import errors
from . import grammar, replies
from .excerpt import excerpt
from .session import Command, CommandFailed, State, Step, Then, answered

# RFC 6856 3. i-default is the default language, which is English (RFC 2277 4.5).
_LANGUAGES = {"i-default": b"i-default Default (English)", "en": b"en English"}


def run_quit(session, _):
    if session.state is State.AUTHORIZATION:
        return answered(replies.ok("Goodbye"), Then.CLOSE)
    try:
        removed, left = session.update()
    except CommandFailed as refusal:
        return answered(refusal.reply, Then.CLOSE)
    if left:  # RFC 1939 6
        text = "Some deleted messages not removed: %d of %d" % (left, removed + left)
        reply = replies.error(text, replies.TEMPORARY)
    else:
        reply = replies.ok("Goodbye, %d messages removed" % removed if removed else "Goodbye")
    return answered(reply, Then.CLOSE)


def run_capa(session, _):
    return Step(replies.listing(replies.CAPABILITIES, _capabilities(session)))


def _capabilities(session):
    """The capabilities that this connection offers now."""
    yield b"TOP"
    yield b"UIDL"
    yield b"RESP-CODES"
    yield b"AUTH-RESP-CODE"
    yield b"PIPELINING"
    yield b"EXPIRE NEVER"
    yield b"UTF8 USER"
    yield b"LANG"
    if session.may_send_secrets:
        yield b"USER"
    mechanisms = session.mechanisms()
    if mechanisms:
        yield b"SASL " + " ".join(mechanisms).encode("ascii")
    if session.state is State.AUTHORIZATION:
        if session.service.tls_context is not None and not session.tls:
            yield b"STLS"
    else:  # RFC 2449 6.9: not to strangers
        yield b"IMPLEMENTATION " + session.service.implementation.encode("ascii")


def run_user(session, name):
    """RFC 1939 7: the reply does not reveal whether the user exists."""
    if not session.may_send_secrets:
        raise CommandFailed(replies.TLS_FIRST)
    session.name = name
    return answered(replies.SEND_PASS)


def run_pass(session, passphrase):
    if not session.may_send_secrets:
        raise CommandFailed(replies.TLS_FIRST)
    if session.name is None:
        raise CommandFailed(replies.USER_FIRST)
    name, session.name = session.name, None
    return session.log_in(name, passphrase)


def run_apop(session, apop):
    if session.stamp is None:
        raise CommandFailed(replies.NO_APOP)
    return session.settle(sasl.apop(session.credentials(), session.stamp, apop.name, apop.digest))


def run_auth(session, auth):
    """Without an argument it lists the mechanisms: programs older than CAPA ask so."""
    offered = session.mechanisms()
    if auth is None:
        names = [name.encode("ascii") for name in offered]
        return Step(replies.listing(replies.MECHANISMS, names))
    if auth.mechanism in offered:
        return session.start_login(auth.mechanism, auth.initial)
    if session.is_offered_over_tls(auth.mechanism):
        raise CommandFailed(replies.TLS_FIRST)
    raise CommandFailed(replies.NO_MECHANISM)


def run_stls(session, _):
    if session.tls:
        raise CommandFailed(replies.ALREADY_TLS)
    if not session.prepare_tls():
        raise CommandFailed(replies.NO_CERTIFICATE)
    return answered(replies.TLS_READY, Then.TLS)


def run_utf8(session, _):
    """RFC 6856 2.1. It changes nothing: names and passphrases may be UTF-8 anyway, and messages
    are always sent as they are. The RFC lets a server refuse to send UTF-8 headers without this
    command, but old programs would then stop at every malformed message."""
    return answered(replies.UTF8_ON)


def run_lang(session, tag):
    """RFC 6856 3."""
    if tag is None:
        return Step(replies.listing(replies.LANGUAGES, _LANGUAGES.values()))
    if tag == "*":
        return answered(replies.LANGUAGE_SET)
    if tag not in _LANGUAGES:
        raise CommandFailed(replies.NO_LANGUAGE)
    return answered(replies.ok("%s Language is English" % tag))


def run_stat(session, _):
    return answered(replies.ok("%d %d" % session.maildrop.count()))


def run_list(session, number):
    maildrop = session.maildrop
    if number is not None:
        session.check_number(number)
        return answered(replies.ok("%d %d" % (number, maildrop.size(number))))
    reply = replies.ok("%d messages (%d octets)" % maildrop.count())
    lines = (b"%d %d" % (each, maildrop.size(each)) for each in _numbers(session))
    return Step(replies.listing(reply, lines))


def run_uidl(session, number):
    maildrop = session.maildrop
    if number is not None:
        session.check_number(number)
        return answered(replies.ok("%d %s" % (number, maildrop.unique_id(number))))
    lines = (("%d %s" % (each, maildrop.unique_id(each))).encode("ascii")
             for each in _numbers(session))
    return Step(replies.listing(replies.ok("Unique-id listing follows"), lines))


def _numbers(session):
    """The numbers of the messages. Raises CommandFailed when the command takes too long."""
    for number in session.maildrop.numbers():
        session.look()
        yield number


def run_retr(session, number):
    content = _content(session, number)
    return Step(replies.ok("%d octets" % content.size).wire, content=content)


def run_top(session, top):
    content = _content(session, top.number)
    return Step(replies.ok("Top of message follows").wire, content=content,
                excerpt=partial(excerpt, lines=top.lines))


def _content(session, number):
    session.check_number(number)
    try:
        return session.maildrop.content(number)
    except errors.Expunged:
        raise CommandFailed(replies.GONE, counts=False) from None


def run_dele(session, number):
    session.check_number(number)
    session.maildrop.delete(number)
    return answered(replies.ok("Message %d marked for deletion" % number))


def run_rset(session, _):
    session.maildrop.undelete()
    return answered(replies.ok("%d messages (%d octets)" % session.maildrop.count()))


def run_noop(session, _):
    return answered(replies.OK)


def run_http(session, _):
    """A browser was made to connect: close, so that a request's body is not run as commands."""
    return answered(replies.NOT_POP3, Then.CLOSE)


_AUTHORIZATION = frozenset((State.AUTHORIZATION,))
_TRANSACTION = frozenset((State.TRANSACTION,))
_ANY = _AUTHORIZATION | _TRANSACTION
_NOTHING = grammar.parse_nothing

_ROWS = (
    Command(b"QUIT", _ANY, _NOTHING, run_quit),
    Command(b"CAPA", _ANY, _NOTHING, run_capa),
    Command(b"LANG", _ANY, grammar.parse_language, run_lang),

    Command(b"USER", _AUTHORIZATION, grammar.parse_name, run_user, long=True, secret=True),
    Command(b"PASS", _AUTHORIZATION, grammar.parse_passphrase, run_pass, long=True, secret=True),
    Command(b"APOP", _AUTHORIZATION, grammar.parse_apop, run_apop, long=True, secret=True),
    Command(b"AUTH", _AUTHORIZATION, grammar.parse_auth, run_auth, long=True, secret=True),
    Command(b"STLS", _AUTHORIZATION, _NOTHING, run_stls),
    Command(b"UTF8", _AUTHORIZATION, _NOTHING, run_utf8),

    Command(b"STAT", _TRANSACTION, _NOTHING, run_stat),
    Command(b"LIST", _TRANSACTION, grammar.parse_number_or_nothing, run_list),
    Command(b"UIDL", _TRANSACTION, grammar.parse_number_or_nothing, run_uidl),
    Command(b"RETR", _TRANSACTION, grammar.parse_number, run_retr),
    Command(b"TOP", _TRANSACTION, grammar.parse_top, run_top),
    Command(b"DELE", _TRANSACTION, grammar.parse_number, run_dele),
    Command(b"RSET", _TRANSACTION, _NOTHING, run_rset),
    Command(b"NOOP", _TRANSACTION, _NOTHING, run_noop),
) + tuple(Command(method, _ANY, bytes, run_http, long=True) for method in HTTP_METHODS)

# {keyword: Command}
TABLE = {command.name: command for command in _ROWS}
