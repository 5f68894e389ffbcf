"""CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS (RFC 3501 6.3), NAMESPACE (RFC 2342).

STATUS also has the items of RFC 7162 (HIGHESTMODSEQ), 7889 (APPENDLIMIT), 8438 (SIZE), 8474
(MAILBOXID) and 9208 (DELETED, DELETED-STORAGE).
"""
from ...store import errors
from ...store.model import INBOX, SEPARATOR
from .. import responses
from ..command_row import AFTER_LOGIN, Row
from ..progress import Progress
from ..session import Step
from ..syntax import command_grammar
from ..syntax.tokens import Scanner

_NEED_SIZES = {"SIZE", "DELETED-STORAGE"}


def create(session, arguments):
    """CREATE. A trailing separator declares that the client will create children (RFC 3501 6.3.3).
    Every mailbox may have children, so it is ignored."""
    name = _without_separator(arguments.mailbox)
    mailbox_id = session.mail.create(name, arguments.special_uses)
    session.changed_names(None, name)
    return Step(code=responses.mailbox_id(mailbox_id))


def delete(session, name):
    selected = session.view is not None and session.view.mailbox.name == name
    session.mail.delete(name, session.look)
    if selected:
        session.deselect()
    session.changed_names(name, None)


def rename(session, arguments):
    new = _without_separator(arguments.new)
    session.mail.rename(arguments.old, new)
    session.changed_names(arguments.old, new)


def _without_separator(name):
    stripped = name[:-1] if name.endswith(SEPARATOR) else name
    return INBOX if stripped.lower() == INBOX.lower() else stripped


def subscribe(session, name):
    session.mail.subscribe(_without_separator(name))
    session.changed_subscription(_without_separator(name), True)


def unsubscribe(session, name):
    session.mail.unsubscribe(_without_separator(name))
    session.changed_subscription(_without_separator(name), False)


def status(session, arguments):
    session.write(status_line(session, arguments.mailbox, arguments.items))


def status_line(session, name, items):
    """The STATUS response with these items, as bytes. Raises errors.StoreError."""
    progress = Progress(session)
    if not _NEED_SIZES.isdisjoint(items):
        session.mail.measure(name, progress)
    found = session.mail.status(name, progress)
    if found.size is None and "SIZE" in items:
        raise errors.Unavailable()  # other programs are just adding messages
    if "HIGHESTMODSEQ" in items:
        session.enable_condstore()
        found = found._replace(highestmodseq=max(1, found.highestmodseq))
    values = dict(found._asdict(), appendlimit=session.service.limits.message_size,
                  mailboxid="(%s)" % found.mailbox_id)
    if "DELETED" in items or "DELETED-STORAGE" in items:
        values["deleted-storage"], values["deleted"] = session.mail.deleted(name)
    shown = " ".join(["%s %s" % (item, values[item.lower()]) for item in items])
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
