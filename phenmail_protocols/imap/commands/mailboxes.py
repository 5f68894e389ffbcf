"""Mailboxes as a whole: CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS (RFC 3501 6.3), NAMESPACE (RFC 2342), ENABLE (RFC 5161)."""
from ...store.model import INBOX, SEPARATOR
from .. import responses
from ..session import CommandFailed, Step


def create(session, arguments):
    """A trailing separator announces names below (RFC 3501 6.3.3); here every mailbox may have them."""
    if arguments.special_use:
        raise CommandFailed(b"Mailboxes with a special use are there already.", b"USEATTR")  # RFC 6154 3
    session.mail.create(_without_separator(arguments.mailbox))
    return Step(text=b"Created.")


def delete(session, arguments):
    selected = session.view is not None and session.view.mailbox.name == arguments.mailbox
    session.mail.delete(arguments.mailbox, session.look)
    if selected:
        session.deselect()
    return Step(text=b"Deleted.")


def rename(session, arguments):
    session.mail.rename(arguments.old, _without_separator(arguments.new))
    return Step(text=b"Renamed.")


def _without_separator(name):
    stripped = name[:-1] if name.endswith(SEPARATOR) else name
    return INBOX if stripped.upper() == INBOX else stripped


def subscribe(session, arguments):
    session.mail.subscribe(_without_separator(arguments.mailbox))
    return Step(text=b"Subscribed.")


def unsubscribe(session, arguments):
    session.mail.unsubscribe(_without_separator(arguments.mailbox))
    return Step(text=b"Unsubscribed.")


def status(session, arguments):
    session.write(status_line(session, arguments.mailbox, arguments.items))
    return Step(text=b"That is its status.")


def status_line(session, name, items):
    """* STATUS with these items; raises the store's errors."""
    found = session.mail.status(name)
    return responses.status_line(name, [(item, getattr(found, item.lower())) for item in items])


def namespace(session, _):
    session.write(responses.namespace_line())
    return Step(text=b"Everything is yours.")


def enable(session, _):
    """No extension here has to be enabled; unknown ones are passed over (RFC 5161 3.1)."""
    session.write(responses.enabled_line(()))
    return Step(text=b"Enabled.")
