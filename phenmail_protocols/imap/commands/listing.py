"""Lists of mailboxes: LIST and LSUB (RFC 3501 6.3.8, 6.3.9), LIST-EXTENDED (RFC 5258), LIST-STATUS (RFC 5819), CHILDREN (RFC 3348),
SPECIAL-USE (RFC 6154)."""
from ...store import errors
from ...store.model import INBOX, SEPARATOR, MailboxInfo
from .. import responses
from ..patterns import Patterns
from ..session import Misuse, Step
from .mailboxes import status_line

# Each name is held against each pattern. Clients may send lines of 8000 octets (RFC 2683 3.2.1.5).
PATTERN_CHARACTERS = 8192


def _fitting(session, arguments):
    """A test for names: does one of the command's patterns, behind its reference, fit? Each name is
    a step at which the command may end.
    """
    patterns = [arguments.reference + pattern for pattern in arguments.patterns]
    if sum(map(len, patterns)) > PATTERN_CHARACTERS:
        raise Misuse(b"At most %d characters in all patterns together." % PATTERN_CHARACTERS)
    fits, look = Patterns(patterns).fits, session.look

    def test(name):
        look()
        return fits(name)
    return test


def list_mailboxes(session, arguments):
    if arguments.patterns == ("",) and not arguments.extended:
        session.write(responses.list_line("", ("\\Noselect",)))  # RFC 3501 6.3.8: what is the separator?
        return Step(text=b"That is the separator.")
    if "RECURSIVEMATCH" in arguments.selection and not set(arguments.selection) & {"SUBSCRIBED", "SPECIAL-USE"}:
        raise Misuse(b"RECURSIVEMATCH needs something to match.")  # RFC 5258 3.1
    with session.alone():
        out = _lines(session, arguments)
    session.write(out)
    return Step(text=b"That is the list.")


def _lines(session, arguments):
    out = []
    for info, child_info in _selected(session, arguments):
        session.look()
        out.append(_line(info, child_info, arguments))
        if "STATUS" in arguments.returns and info.selectable:
            out.append(_status(session, info.name, arguments.status))
    return b"".join(out)


def _selected(session, arguments):
    """(MailboxInfo, whether CHILDINFO says that a descendant was selected) of each line; in the store's order."""
    fits = _fitting(session, arguments)
    known = _with_lost_subscriptions(session) if "SUBSCRIBED" in arguments.selection else session.mail.mailboxes(session.look)
    fitting = {info.name for info in known if fits(info.name)}
    chosen = {info.name for info in known if _is_chosen(info, arguments.selection)}
    parents, listed = set(), chosen
    if "RECURSIVEMATCH" in arguments.selection:
        parents = {parent for name in chosen for parent in _parents(name)}
        # A parent that does not match is listed only for matching descendants that are not listed
        # themselves: any other CHILDINFO would be redundant (RFC 5258 3.5).
        listed = chosen | {parent for name in chosen - fitting for parent in _parents(name)}
    for info in known:
        if info.name in listed and info.name in fitting:
            yield info, info.name in parents


def _is_chosen(info, selection):
    """All selection options hold (RFC 5258 3.1); REMOTE only adds what we do not have."""
    return ("SUBSCRIBED" not in selection or info.subscribed) and ("SPECIAL-USE" not in selection or bool(info.special_use))


def _with_lost_subscriptions(session):
    """The mailboxes, and the names that are subscribed but do not exist, or only as parents of such names."""
    known = session.mail.mailboxes(session.look)
    names = {info.name for info in known}
    lost = [name for name in session.mail.subscriptions() if name not in names]
    parents = {parent for name in lost for parent in _parents(name)}
    for name in set(lost) | (parents - names):
        known.append(MailboxInfo(name, False, name in parents, None, name in lost))
    return sorted(known, key=lambda info: (info.name != INBOX, info.name))


def _parents(name):
    """The names above: a/b/c -> a/b, a."""
    while SEPARATOR in name:
        name = name.rpartition(SEPARATOR)[0]
        yield name


def _line(info, child_info, arguments):
    attributes = [] if info.selectable else ["\\NonExistent" if arguments.extended else "\\Noselect"]
    if "SUBSCRIBED" in arguments.selection + arguments.returns and info.subscribed:
        attributes.append("\\Subscribed")
    attributes.append("\\HasChildren" if info.children else "\\HasNoChildren")
    if info.special_use:
        attributes.append(info.special_use)
    line = responses.list_line(info.name, attributes)
    if child_info:
        words = [word for word in ("SUBSCRIBED", "SPECIAL-USE") if word in arguments.selection]
        line = line[:-2] + b' ("CHILDINFO" (' + " ".join('"%s"' % word for word in words).encode("ascii") + b"))\r\n"
    return line


def _status(session, name, items):
    """RFC 5819: a mailbox without a status is listed all the same."""
    session.look()
    try:
        return status_line(session, name, items)
    except errors.StoreError:
        return b""


def list_subscribed(session, arguments):
    """LSUB: what is subscribed; where "%" stops above it, its parent stands for it (RFC 3501 6.3.9)."""
    fits = _fitting(session, arguments)
    subscribed = set(session.mail.subscriptions())
    lines = {name: () for name in subscribed if fits(name)}
    if arguments.patterns[0].endswith("%"):
        hidden = subscribed.difference(lines)
        parents = {parent for name in hidden for parent in _parents(name)} - subscribed
        lines.update((parent, ("\\Noselect",)) for parent in parents if fits(parent))
    session.write(b"".join(responses.list_line(name, lines[name], command=b"LSUB") for name in sorted(lines)))
    return Step(text=b"That is the list.")
