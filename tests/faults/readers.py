"""How the oracle reads an account: through the store's own interface, or over the wire as an IMAP
client does."""
import re

from .oracle import Reading, read_message


def read_store(account):
    """{mailbox: Reading} of a store's Account."""
    return {info.name: _read_mailbox(account, info.name) for info in account.mailboxes()
            if info.selectable}


def _read_mailbox(account, name):
    mailbox = account.open(name)
    try:
        state = mailbox.state()
        rows = mailbox.rows(state.uids[:state.count])
        messages = {}
        bodies = dict(mailbox.contents(list(rows.uids)))
        for uid, flags, modseq, size in zip(rows.uids, rows.flags, rows.modseqs, rows.sizes):
            content = bodies[uid]
            if content is not None:
                try:
                    data = b"".join(content.chunks())
                finally:
                    content.close()
                messages[uid] = read_message(data, flags, modseq, size)
        assert list(rows.uids) == sorted(set(rows.uids)), "UIDs do not ascend: %s" % list(rows.uids)
        return Reading(mailbox.uidvalidity, state.uidnext, state.highestmodseq, messages)
    finally:
        mailbox.close()


_LINE = re.compile(rb"(?:UID (\d+)|FLAGS \(([^)]*)\)|RFC822\.SIZE (\d+)|MODSEQ \((\d+)\))")


def read_imap(connection):
    """{mailbox: Reading} over a logged-in `imaplib` connection; raises `connection.error` on NO or
    BAD."""
    names = [_mailbox_name(line) for line in _done(connection.list())]
    return {name.decode(): _examine(connection, name) for name in names if name}


def mailbox_uids(connection):
    """The UIDs of the selected mailbox, a list."""
    return [int(uid) for line in _done(connection.uid("SEARCH", "ALL")) if line
            for uid in line.split()]


def _mailbox_name(line):
    """The name in a LIST line; None for one that cannot be selected."""
    if not line or b"\\Noselect" in line or b"\\NonExistent" in line:
        return None
    name = re.match(rb'\([^)]*\) (?:"[^"]*"|NIL) (.*)$', line).group(1)
    return name.strip(b'"')


def _examine(connection, name):
    _done(connection.select(b'"' + name + b'"', readonly=True))
    uidvalidity = int(connection.response("UIDVALIDITY")[1][0])
    uidnext = int(connection.response("UIDNEXT")[1][0])
    highest = connection.response("HIGHESTMODSEQ")[1][0]
    messages = {}
    for item in _done(connection.uid("FETCH", "1:*", "(UID FLAGS RFC822.SIZE BODY.PEEK[])")):
        if isinstance(item, tuple):
            uid, flags, size, modseq = _attributes(item[0])
            flags = {flag.decode() for flag in flags} - {"\\Recent"}
            messages[uid] = read_message(item[1], flags, modseq, size)
    return Reading(uidvalidity, uidnext, int(highest) if highest else 0, messages)


def _attributes(line):
    found = {kind: value for kind, value in (
        (index, value) for match in _LINE.finditer(line) for index,
        value in enumerate(match.groups()) if value is not None)}
    return int(found[0]), found.get(1, b"").split(), int(found[2]), int(found.get(3, 0))


def _done(answer):
    status, data = answer
    if status != "OK":
        raise OSError("the server answered %s %r" % (status, data))
    return data
