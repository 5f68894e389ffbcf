"""LIST and LSUB (RFC 3501 6.3.8, 6.3.9).

With CHILDREN (RFC 3348), LIST-EXTENDED (RFC 5258), LIST-STATUS (RFC 5819), SPECIAL-USE (RFC 6154).
"""
from ...store import errors
from ...store.model import INBOX, SEPARATOR, MailboxInfo
from .. import responses
from ..command_row import AFTER_LOGIN, Row
from ..session import Misuse
from ..syntax import command_grammar
from ..syntax.patterns import Patterns
from .mailboxes import status_line

# Of all patterns of a command. Clients may send lines of 8000 octets (RFC 2683 3.2.1.5).
PATTERN_CHARACTERS = 8192


def _fitting(session, arguments):
    """A function: whether a name matches one of the command's patterns.

    Each call may stop the command.
    """
    patterns = [arguments.reference + pattern for pattern in arguments.patterns]
    if sum(map(len, patterns)) > PATTERN_CHARACTERS:
        raise Misuse(b"At most %d characters in all patterns" % PATTERN_CHARACTERS)
    fits, look = Patterns(patterns).fits, session.look

    def test(name):
        look()
        return fits(name)
    return test


def list_mailboxes(session, arguments):
    if arguments.patterns == ("",) and not arguments.extended:
        # RFC 3501 6.3.8: the client asks for the separator.
        session.write(_written(session, "", ("\\Noselect",)))
        return
    selection = set(arguments.selection)
    if "RECURSIVEMATCH" in selection and not selection & {"SUBSCRIBED", "SPECIAL-USE"}:
        raise Misuse(b"RECURSIVEMATCH needs another selection option")  # RFC 5258 3.1
    with session.alone():
        out = _lines(session, arguments)
    session.write(out)


def _lines(session, arguments):
    out = []
    for info, child_info in _selected(session, arguments):
        session.look()
        out.append(_line(session, info, child_info, arguments))
        if "STATUS" in arguments.returns and info.selectable:
            out.append(_status(session, info.name, arguments.status))
    return b"".join(out)


def _selected(session, arguments):
    """The mailboxes to list, in the store's order: (MailboxInfo, child_info).

    `child_info`: the line gets CHILDINFO, because a descendant was selected.
    """
    fits = _fitting(session, arguments)
    selection = arguments.selection
    known = session.mail.mailboxes(session.look)
    if "SUBSCRIBED" in selection:
        known = with_lost_subscriptions(session, known)
    fitting = {info.name for info in known if fits(info.name)}
    chosen = {info.name for info in known if _is_chosen(info, selection)}
    parents, listed = set(), chosen
    if "RECURSIVEMATCH" in selection:
        parents = {parent for name in chosen for parent in _parents(name)}
        # A parent that does not match itself is listed only for matching descendants that are not
        # listed themselves: any other CHILDINFO would be redundant (RFC 5258 3.5).
        listed = chosen | {parent for name in chosen - fitting for parent in _parents(name)}
    for info in known:
        if info.name in listed and info.name in fitting:
            yield info, info.name in parents


def _is_chosen(info, selection):
    """Whether all selection options hold (RFC 5258 3.1). REMOTE would add remote mailboxes; there
    are none."""
    return (("SUBSCRIBED" not in selection or info.subscribed)
            and ("SPECIAL-USE" not in selection or bool(info.special_uses)))


def with_lost_subscriptions(session, known):
    """`known` mailboxes, subscribed names that do not exist, and the parents of those."""
    names = {info.name for info in known}
    lost = {name for name in session.mail.subscriptions() if name not in names}
    parents = {parent for name in lost for parent in _parents(name)}
    known += [MailboxInfo(name, False, name in parents, (), name in lost)
              for name in lost | (parents - names)]
    return sorted(known, key=lambda info: (info.name != INBOX, info.name))


def _parents(name):
    """The names above: a/b/c -> a/b, a."""
    while SEPARATOR in name:
        name = name.rpartition(SEPARATOR)[0]
        yield name


def _written(session, name, attributes, command=b"LIST"):
    """* LIST or * LSUB"""
    shown = " ".join(attributes).encode("ascii")
    return b'* %b (%b) "/" %b\r\n' % (command, shown, responses.mailbox(name, session.utf8))


def _line(session, info, child_info, arguments):
    data = b""
    if child_info:
        words = [b'"%b"' % word.encode("ascii") for word in ("SUBSCRIBED", "SPECIAL-USE")
                 if word in arguments.selection]
        data = b'"CHILDINFO" (' + b" ".join(words) + b")"
    return list_line(session, info, arguments.extended,
                     "SUBSCRIBED" in arguments.selection + arguments.returns, data)


def list_line(session, info, extended, shows_subscribed, data=b""):
    """* LIST for a MailboxInfo. `data`: an extended data item (RFC 5258 6), or nothing."""
    attributes = []
    if not info.selectable:
        attributes.append("\\NonExistent" if extended else "\\Noselect")
    if shows_subscribed and info.subscribed:
        attributes.append("\\Subscribed")
    if session.offers("CHILDREN"):
        attributes.append("\\HasChildren" if info.children else "\\HasNoChildren")
    if session.offers("SPECIAL-USE"):
        attributes += info.special_uses
    line = _written(session, info.name, attributes)
    return line[:-2] + b" (" + data + b")\r\n" if data else line


def _status(session, name, items):
    """RFC 5819: a mailbox whose status cannot be read is listed without it."""
    session.look()
    try:
        return status_line(session, name, items)
    except errors.StoreError:
        return b""


def list_subscribed(session, arguments):
    """LSUB. If "%" matches only the parent of a subscribed name, the parent is listed as
    \\Noselect (RFC 3501 6.3.9)."""
    fits = _fitting(session, arguments)
    subscribed = set(session.mail.subscriptions())
    lines = {name: () for name in subscribed if fits(name)}
    if arguments.patterns[0].endswith("%"):
        hidden = subscribed.difference(lines)
        parents = {parent for name in hidden for parent in _parents(name)} - subscribed
        lines.update((parent, ("\\Noselect",)) for parent in parents if fits(parent))
    session.write(b"".join(_written(session, name, lines[name], b"LSUB")
                           for name in sorted(lines)))


ROWS = (
    Row("LIST", AFTER_LOGIN, command_grammar.list_mailboxes, list_mailboxes),
    Row("LSUB", AFTER_LOGIN, command_grammar.lsub, list_subscribed),
)
