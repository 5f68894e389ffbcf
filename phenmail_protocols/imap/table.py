"""Every command: when it may run, what runs it, what may be said after it. An extension adds rows.

RFC 3501 section 6; no EXPUNGE after FETCH, STORE and SEARCH by message numbers (7.4.1), while their UID forms allow it.
"""
from .commands import (
    anystate,
    append,
    changing,
    fetch,
    idle,
    listing,
    login,
    mailboxes,
    search,
    select,
)
from .session import AUTHENTICATED, NOT_AUTHENTICATED, SELECTED, Row

ANY = frozenset((NOT_AUTHENTICATED, AUTHENTICATED, SELECTED))
BEFORE = frozenset((NOT_AUTHENTICATED,))
INSIDE = frozenset((AUTHENTICATED, SELECTED))
OPENED = frozenset((SELECTED,))

ROWS = (
    Row("CAPABILITY", ANY, anystate.capability),
    Row("NOOP", ANY, anystate.noop),
    Row("LOGOUT", ANY, anystate.logout),
    Row("ID", ANY, anystate.identify),

    Row("STARTTLS", BEFORE, login.starttls),
    Row("AUTHENTICATE", BEFORE, login.authenticate, secret=True),
    Row("LOGIN", BEFORE, login.login, secret=True),

    Row("ENABLE", INSIDE, mailboxes.enable),
    Row("SELECT", INSIDE, select.select),
    Row("EXAMINE", INSIDE, select.examine),
    Row("CREATE", INSIDE, mailboxes.create),
    Row("DELETE", INSIDE, mailboxes.delete),
    Row("RENAME", INSIDE, mailboxes.rename),
    Row("SUBSCRIBE", INSIDE, mailboxes.subscribe),
    Row("UNSUBSCRIBE", INSIDE, mailboxes.unsubscribe),
    Row("LIST", INSIDE, listing.list_mailboxes),
    Row("LSUB", INSIDE, listing.list_subscribed),
    Row("NAMESPACE", INSIDE, mailboxes.namespace),
    Row("STATUS", INSIDE, mailboxes.status),
    Row("APPEND", INSIDE, append.append),
    Row("IDLE", INSIDE, idle.idle),

    Row("CHECK", OPENED, select.check),
    Row("CLOSE", OPENED, select.close),
    Row("UNSELECT", OPENED, select.unselect),
    Row("EXPUNGE", OPENED, changing.expunge),
    Row("UID EXPUNGE", OPENED, changing.expunge_uids),
    Row("SEARCH", OPENED, search.search, may_expunge=False),
    Row("UID SEARCH", OPENED, search.search),
    Row("FETCH", OPENED, fetch.fetch, may_expunge=False),
    Row("UID FETCH", OPENED, fetch.fetch),
    Row("STORE", OPENED, changing.store, may_expunge=False),
    Row("UID STORE", OPENED, changing.store),
    Row("COPY", OPENED, changing.copy),
    Row("UID COPY", OPENED, changing.copy),
    Row("MOVE", OPENED, changing.move),
    Row("UID MOVE", OPENED, changing.move),
)

#: {name: Row}
TABLE = {row.name: row for row in ROWS}
