"""CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS (RFC 3501 6.3), NAMESPACE (RFC 2342).

STATUS has the items of RFC 7162 (HIGHESTMODSEQ), 7889 (APPENDLIMIT) and 8438 (SIZE), too.
"""
from ...store.model import INBOX, SEPARATOR
from .. import responses
from ..command_row import AFTER_LOGIN, Row
from ..session import CommandFailed
from ..syntax import command_grammar
from ..syntax.tokens import Scanner


def create(session, arguments):
    """A trailing separator declares that children will follow (RFC 3501 6.3.3). Every mailbox may
    have children, so it is ignored."""
    if arguments.special_use:  # RFC 6154 3
        raise CommandFailed(b"The special-use mailboxes exist already", b"USEATTR")
    session.mail.create(_without_separator(arguments.mailbox))


def delete(session, name):
    selected = session.view is not None and session.view.mailbox.name == name
    session.mail.delete(name, session.look)
    if selected:
        session.deselect()


def rename(session, arguments):
    session.mail.rename(arguments.old, _without_separator(arguments.new))


def _without_separator(name):
    stripped = name[:-1] if name.endswith(SEPARATOR) else name
    return INBOX if stripped.upper() == INBOX else stripped


def subscribe(session, name):
    session.mail.subscribe(_without_separator(name))


def unsubscribe(session, name):
    session.mail.unsubscribe(_without_separator(name))


def status(session, arguments):
    session.write(status_line(session, arguments.mailbox, arguments.items))


def status_line(session, name, items):
    """* STATUS with these items; raises the store's errors."""
    found = session.mail.status(name)
    if "HIGHESTMODSEQ" in items:
        session.enable_condstore()
        found = found._replace(highestmodseq=max(1, found.highestmodseq))
    values = dict(found._asdict(), appendlimit=session.service.limits.message_size)
    shown = " ".join(["%s %d" % (item, values[item.lower()]) for item in items])
    return b"* STATUS %b (%b)\r\n" % (responses.mailbox(name, session.utf8), shown.encode("ascii"))


def namespace(session, _):
    session.write(b'* NAMESPACE (("" "/")) NIL NIL\r\n')  # one, personal, without a prefix


ROWS = (
    Row("CREATE", AFTER_LOGIN, command_grammar.create, create),
    Row("DELETE", AFTER_LOGIN, Scanner.mailbox, delete),
    Row("RENAME", AFTER_LOGIN, command_grammar.rename, rename),
    Row("SUBSCRIBE", AFTER_LOGIN, Scanner.mailbox, subscribe),
    Row("UNSUBSCRIBE", AFTER_LOGIN, Scanner.mailbox, unsubscribe),
    Row("STATUS", AFTER_LOGIN, command_grammar.status, status),
    Row("NAMESPACE", AFTER_LOGIN, None, namespace, extension="NAMESPACE"),
)
