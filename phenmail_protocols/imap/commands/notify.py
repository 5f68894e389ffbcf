"""NOTIFY (RFC 5465). To save memory, its modules are imported with the first NOTIFY."""
from ..command_row import AFTER_LOGIN, Row


def notify(session, arguments):
    """NOTIFY SET and NOTIFY NONE. If it fails, the earlier NOTIFY stays in effect.

    Changes in the selected mailbox are announced at the end, as after any command.
    """
    from ..notifying.event_filters import EventFilters
    from ..notifying.notifications import Notifications
    notifications = Notifications(EventFilters(arguments.groups))
    try:
        notifications.start(session, arguments.status)
    except Exception:
        notifications.close()
        raise
    session.notify(notifications)
    if "MODSEQ" in notifications.filters.items:
        session.enable_condstore()


def _arguments(scan):
    from ..syntax import notify_grammar
    return notify_grammar.notify(scan)


ROWS = (
    Row("NOTIFY", AFTER_LOGIN, _arguments, notify, extension="NOTIFY"),
)
