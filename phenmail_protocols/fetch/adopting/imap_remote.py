"""The account on the other server by IMAP, over imap/source.py.

Beyond that: LIST with special uses (RFC 6154) and subscriptions, sizes of mailboxes (RFC 8438), and
Gmail's X-GM-MSGID and X-GM-LABELS. Nothing is changed there.
"""
from ...text import utf7
from ..imap import replies as imap_replies
from ..imap.client import Bounds, Refused
from ..imap.names import quoted
from ..imap.replies import grouped, number, string
from ..imap.source import MOST_UID, ImapSource
from ..opening import open_source
from ..source import PIECE, RemoteMessage
from .plan import INBOX, Listed
from .remote import Entry, Remote, TooLarge

_SAMPLE = 200  # messages whose sizes tell about those of all
_HEADER = 16384  # octets of a header
_LISTING = Bounds(lines=8 << 20)
_NAMING = Bounds(lines=16 << 20, kept=1 << 20)
_MOST_NAMES = 20000  # mailboxes
_GMAIL = "(UID RFC822.SIZE FLAGS INTERNALDATE X-GM-MSGID X-GM-LABELS)"
_NOT_OWN = "it belongs to somebody else, is shared, or has an invalid name"


class _Source(ImapSource):
    """Lists Gmail's labels, too: `labels` is {UID: (X-GM-MSGID, labels)} of the last list."""

    labels = {}

    def has_labels(self):
        return "X-GM-EXT-1" in self.client.capabilities

    def _list(self, uids, items):
        if not self.has_labels():
            return ImapSource._list(self, uids, items)
        data = self.client.run("uid", "FETCH", uids, _GMAIL, bounds=_LISTING, what="FETCH")
        found, self.labels = {}, {}
        for values in self._fetched(data):
            if b"UID" in values and b"X-GM-MSGID" in values and b"INTERNALDATE" in values:
                message = self.client.parsed("FETCH", imap_replies.message, values)
                found[int(message.key)] = message
                self.labels[int(message.key)] = (
                    "%d" % self.client.parsed("FETCH", number, values[b"X-GM-MSGID"]),
                    self.client.parsed("FETCH", _labels, values.get(b"X-GM-LABELS")))
        return [found[uid] for uid in sorted(found)]

    def own_names(self, raw):
        """A name at the server -> the user's, or None."""
        return self._names.shown(raw)

    def values(self, data):
        """The items of each of several FETCH responses, as imap_replies.fetched gives them."""
        return self._fetched(data)


def _labels(value):
    if not isinstance(value, list):
        return ()
    return tuple(_name(string(token) or b"") for token in value)


def _name(raw):
    """A label's or mailbox's octets -> str."""
    try:
        return utf7.decode(raw)
    except ValueError:
        return raw.decode("utf-8", "replace")


def open_remote(account, passphrase, limit, token=None, contexts=None):
    """Connect and log in -> ImapRemote. `limit`: octets of a message; the rest as for
    opening.open_source. Raises FetchError, LoginRefused."""
    # A message that is too large must not end the connection, as it would there.
    return ImapRemote(open_source(account, passphrase, 2 * limit + PIECE, token, contexts,
                                  imap=_Source), limit)


class ImapRemote(Remote):
    """See remote.Remote."""

    def __init__(self, source, limit):
        self._limit = limit
        self._source = source
        self._client = self._source.client
        self.has_labels = self._source.has_labels()
        self._raw = {}  # name -> name at the server

    # Mailboxes

    def listed(self):
        subscribed, found = None, {}
        for attributes, raw in self._list():
            if subscribed is None and "LIST-EXTENDED" not in self._client.capabilities:
                subscribed = {name for _, name in self._lines("lsub", '"*"')}
            name = self._source.own_names(raw)
            if name and name.upper() == INBOX:
                name = INBOX  # as fetching writes it in keys
            shown = name or raw.decode("utf-8", "replace")
            if shown in found or len(found) >= _MOST_NAMES:
                continue
            self._raw[shown] = raw
            found[shown] = Listed(
                shown, "/", frozenset(attributes),
                "\\subscribed" in attributes or raw in (subscribed or ()),
                "" if name else _NOT_OWN)
        return tuple(found.values())

    def _list(self):
        capabilities = self._client.capabilities
        if "LIST-EXTENDED" in capabilities:
            uses = " SPECIAL-USE" if "SPECIAL-USE" in capabilities else ""
            try:
                return self._lines("list", '"*" RETURN (SUBSCRIBED%s)' % uses)
            except Refused:
                pass
        return self._lines("list", '"*"')

    def _lines(self, command, pattern):
        """[(attributes in lower case, name at the server)]"""
        found = []
        for parts in grouped(self._client.run(command, '""', pattern, bounds=_NAMING)):
            attributes, _, raw = self._client.parsed("LIST", imap_replies.listed, parts)
            found.append((tuple(each.decode("ascii", "replace") for each in attributes), raw))
        return found

    def personal(self):
        # ImapSource has removed the prefix if the server has told it.
        return "" if "NAMESPACE" in self._client.capabilities else None

    def counts(self, name):
        sizes = "STATUS=SIZE" in self._client.capabilities
        try:
            data = self._client.run("status", quoted(self._raw[name]),
                                    "(MESSAGES SIZE)" if sizes else "(MESSAGES)")
        except Refused:
            return 0, None
        values = {}
        for parts in grouped(data):
            words = imap_replies.tokens(parts)
            values.update(zip([word.upper() for word in words[2::2]], words[3::2]))
        messages = self._client.parsed("STATUS", number, values.get(b"MESSAGES", b""))
        if b"SIZE" in values:
            return messages, self._client.parsed("STATUS", number, values[b"SIZE"])
        return messages, self._sampled(name, messages) if messages else 0

    def _sampled(self, name, messages):
        """About how many octets a mailbox has, from the sizes of some messages."""
        self.open(name)
        places = sorted({1 + place * (messages - 1) // _SAMPLE for place in range(_SAMPLE + 1)})
        data = self._client.run("fetch", imap_replies.uid_set(places), "(RFC822.SIZE)",
                                bounds=_LISTING)
        found = [self._client.parsed("FETCH", number, items[b"RFC822.SIZE"])
                 for items in self._source.values(data) if b"RFC822.SIZE" in items]
        return messages * sum(found) // len(found) if found else None

    def open(self, name):
        return self._source.open(name)._replace(name=name)

    # Messages

    def entries(self, wanted):
        for message in self._source.new(0, lambda key: not wanted(int(key))):
            uid = int(message.key)
            msgid, labels = self._source.labels.get(uid, ("", ()))
            if 0 < uid <= MOST_UID:
                yield Entry(uid, message.size, message.flags, message.date, msgid, labels)

    def bodies(self, entries):
        by_uid = {entry.uid: entry for entry in entries}
        for message, pieces in self._source.read_all(map(_message, entries)):
            yield by_uid[int(message.key)], self._limited(pieces, 0)

    def rest(self, entry, offset):
        return self._limited(self._source.read(_message(entry), offset), offset)

    def _limited(self, pieces, offset):
        for piece in pieces:
            offset += len(piece)
            if offset > self._limit:
                raise TooLarge()
            yield piece

    def header(self, uid):
        data = self._client.run("uid", "FETCH", "%d" % uid,
                                "(UID BODY.PEEK[HEADER]<0.%d>)" % _HEADER, what="FETCH")
        for items in self._source.values(data):
            for name, value in items.items():
                if name.startswith(b"BODY[HEADER]") and items.get(b"UID") == b"%d" % uid:
                    return string(value) or b"" if isinstance(value, bytes) else b""
        return b""

    def close(self):
        self._source.close()


def _message(entry):
    return RemoteMessage("%d" % entry.uid, entry.size, entry.flags, entry.date)
