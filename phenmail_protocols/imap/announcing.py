"""Announces what other sessions changed: EXPUNGE, EXISTS, RECENT, flags, and events of NOTIFY.

The functions are methods of Session. If the store cannot be read, `session.is_behind` says so, and
the next announcement retries.
"""
from ..store import errors
from . import responses
from .syntax import sequence


def announce(session, may_expunge=True):
    """Announce what other sessions changed; `may_expunge`: whether EXPUNGE may be sent now.

    -> False if the selected mailbox was deleted, which ends the session.
    """
    session.is_behind = False
    if session.view is not None and not _announce_selected(session, may_expunge):
        return False
    if session.notifications is not None:
        session.notifications.announce(session)
    return True


def announce_between_commands(session):
    """As `announce`, while no command runs (RFC 5465 6.1)."""
    return session.announce(session.notifications.filters.at_once)


def _announce_selected(session, may_expunge):
    view = session.view
    size, flags = True, True  # what the client wants to know
    if session.notifications is not None:
        size, flags = session.notifications.selected.wants()
    view.wants_flags = flags
    try:
        view.refresh()
    except errors.NotFound:
        session.say_goodbye(b"The selected mailbox was deleted")  # RFC 2180 3.3
        return False
    except errors.StoreError:
        session.is_behind = True
        return True
    news = view.announce(may_expunge and size or session.expunges, size)
    try:
        if news is not None:
            _tell(session, news)
        if flags:
            session.tell_keywords()
        if size and session.notifications is not None:
            session.notifications.selected.send_new(session)
    except errors.StoreError:  # the flags could not be read
        session.is_behind = True
        view.tell_later(news.flags if news is not None else ())
    return True


def _tell(session, news):
    out = [b"* %d EXPUNGE\r\n" % number for number in news.expunged]
    if news.expunged and session.qresync:  # RFC 7162 3.2.10.2
        out = [b"* VANISHED " + sequence.build(news.vanished) + b"\r\n"]
    if news.exists is not None:
        out.append(b"* %d EXISTS\r\n" % news.exists)
    if news.recent is not None:
        out.append(b"* %d RECENT\r\n" % news.recent)
    session.write(b"".join(out))
    if news.expunged and session.qresync and session.notifications and not session.expunges:
        session.notifications.tell_vanished(session)
    if news.flags:
        session.tell_flags(session.view.mailbox.flag_rows(news.flags))


def tell_keywords(session, shown=()):
    """Send FLAGS and PERMANENTFLAGS if they changed, or if they lack one of the `shown` keywords,
    which the next response contains."""
    view = session.view
    if view.learn_keywords(shown):
        session.write(b"".join(responses.known_flags(*view.keywords, writable=view.writable)))


def tell_flags(session, rows, with_uid=True, silent=False):
    """Send untagged FETCH responses with the flags of these rows; if `silent`, only with their
    mod-sequences."""
    columns = [] if silent else [(b"FLAGS", b"%b", session.flag_column(rows))]
    if with_uid or session.qresync:
        columns.insert(0, (b"UID", b"%d", rows.uids))
    if session.condstore:
        columns.append((b"MODSEQ", b"(%d)", rows.modseqs))
    session.write(b"".join(responses.fetch_lines(map(session.view.number, rows.uids), columns)))


def flag_column(session, rows):
    """The flags of rows as they are sent, with \\Recent. New keywords are announced first."""
    shown = set().union(*set(rows.flags))
    session.tell_keywords([flag for flag in shown if flag[:1] != "\\"])
    return responses.flag_column(rows.flags, rows.uids, session.view.recent_ranges,
                                 session.flags, session.recent_flags)
