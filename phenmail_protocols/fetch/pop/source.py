"""A maildrop on a POP3 server as a Source (RFC 1939).

With PIPELINING (RFC 2449 6.6), RETR is sent for the next messages before they are read: as long as
they are read in order, and only for little ones.

Nothing is removed before `close`: it sends DELE for what is to go, and QUIT, with which the server
removes it. A connection that breaks earlier leaves everything in place (RFC 1939 6).
"""
from collections import deque

from ..connecting import connect
from ..source import Box, BoxGone, FetchError, MessageGone, Source, Throttled
from .client import PopClient, Refused
from .listing import MOST, Listing
from .login import log_in, upgrade

_AHEAD = 32  # messages that are asked for at once,
_AHEAD_OCTETS = 256 * 1024  # of so many octets in all
_DELE_AT_ONCE = 100
_FAREWELL = 5.0  # seconds for QUIT if it removes nothing


class PopSource(Source):
    """See opening.open_source; `contexts` and `began`: see connecting.connect."""

    def __init__(self, account, passphrase, limit, token=None, contexts=None, began=None):
        self._limit = limit
        self._wire = connect(account, lambda wire: upgrade(wire, limit), contexts, began)
        self._client = PopClient(self._wire, limit)
        try:
            self._capabilities = log_in(self._client, account, passphrase, token)
        except BaseException:
            self._client.close()
            raise
        self._listing = self._batch = None
        self._expected = None  # the number after the one that was read last
        self._asked = deque()  # numbers for which RETR was sent, whose replies were not read
        self._window = 1  # how many that may be
        self._retrieved = set()  # numbers, if the server removes what was retrieved
        self._removals = set()  # numbers
        # EXPIRE 0: QUIT removes what was retrieved (RFC 2449 6.7).
        self._expires = self._capabilities.get("EXPIRE", ())[:1] == ("0",)
        self._can_ask_ahead = "PIPELINING" in self._capabilities and not self._expires

    def list_boxes(self):
        return ("",)

    def open(self, name):
        if name.lower() not in ("", "inbox"):
            raise BoxGone("POP3 has only the Inbox: there is no %s" % name)
        words = self._ask(b"STAT").split()
        if not words or not words[0].isdigit() or len(words[0]) > 9:
            raise self._client.failed("gave a bad answer to STAT")
        count = int(words[0])
        if count > MOST:
            raise FetchError("%s has more than %d messages in the mailbox" % (
                self._client.server, MOST))
        if self._listing is None:
            self._listing = Listing(self._client, count, self._capabilities)
        return Box("", count=count)

    def new(self, after, known):
        self._settle()
        for batch in self._listing.batches(known):
            self._batch = batch
            yield from self._listing.messages(batch, known)
            self._settle()

    # Reading

    def read(self, message, offset=0):
        if not self._is_current(message):
            raise MessageGone("message %s has another number in this connection" % message.key)
        self._request(message.number)
        self._asked.popleft()
        try:
            self._client.reply()
        except Refused as refused:
            if refused.code == "SYS/TEMP":
                raise Throttled(str(refused))
            if refused.code.startswith("SYS/"):
                raise
            raise MessageGone(str(refused))
        if self._expires:
            self._retrieved.add(message.number)
        for piece in self._client.pieces(message.size):
            if offset < len(piece):
                yield piece[offset:] if offset else piece
            offset = max(0, offset - len(piece))

    def _request(self, number):
        """Let the next reply be the one to RETR of a message."""
        if not self._client.is_awaited:
            self._asked.clear()  # the listing asked for something else meanwhile
        in_order = number == self._expected
        self._window = min(_AHEAD, 2 * self._window) if in_order else 1
        if number in self._asked:
            self._client.skip()
            while self._asked[0] != number:
                self._client.drop()
                self._asked.popleft()
        else:
            self._settle()
        more = self._next(number)
        if more:
            self._client.send(*[b"RETR %d" % each for each in more], text=True)
            self._asked.extend(more)

    def _next(self, number):
        """The messages for which to send RETR now, and keep in mind which follows `number`."""
        more = [] if self._asked else [number]
        index = self._batch.index(number) if self._batch else None
        if index is None:
            self._expected = None
            return more
        numbers, sizes = self._batch.numbers, self._batch.sizes
        self._expected = numbers[index + 1] if index + 1 < len(numbers) else None
        if not self._can_ask_ahead or 2 * len(self._asked) > self._window:
            return more
        octets = sum(sizes[index:index + len(self._asked) + len(more)])
        for ahead in range(index + len(self._asked) + len(more), index + self._window):
            if ahead >= len(numbers) or not self._batch.key(ahead):
                break
            octets += sizes[ahead]
            if octets > min(_AHEAD_OCTETS, self._limit):
                break
            more.append(numbers[ahead])
        return more

    def _settle(self):
        """Drop the replies to what was asked ahead."""
        self._client.finish()
        self._asked.clear()

    def _ask(self, command):
        self._settle()
        return self._client.ask(command)

    # Removing

    def remove(self, messages):
        """See Source. What another connection listed stays: its number is another one here."""
        self._removals.update(
            message.number for message in messages if self._is_current(message))

    def _is_current(self, message):
        """Whether the number of a message is one of this connection. Others' may be those of other
        messages, as somebody else may have removed some in between."""
        return self._listing is not None and getattr(message, "listing", None) is self._listing

    def abort(self):
        self._wire.abort()

    def close(self):
        try:
            self._update()
        finally:
            self._removals.clear()
            self._client.close()

    def __exit__(self, *exception):
        try:
            self.close()
        except FetchError:
            if exception[0] is None:
                raise

    def _update(self):
        """The end of the session. Raises FetchError if a message that is to go may stay."""
        client, count = self._client, len(self._removals)
        if self._expires and (self._retrieved - self._removals
                              or (self._listing and self._listing.retrieved)):
            if count:
                raise FetchError("%s would also remove messages that were not fetched, so %d stay "
                                 "there" % (client.server, count))
            return
        if not count:
            self._leave()
            return
        if client.lost:
            raise FetchError("the connection to %s was lost before it removed %d messages" % (
                client.server, count))
        self._settle()
        refused = self._delete(sorted(self._removals))
        try:
            client.ask(b"QUIT")
        except Refused as error:
            refused = error
        if refused is not None:
            raise FetchError("not all messages could be removed: %s" % refused)

    def _delete(self, numbers):
        """DELE -> a Refused of them, or None."""
        client, refused = self._client, None
        step = _DELE_AT_ONCE if "PIPELINING" in self._capabilities else 1
        for start in range(0, len(numbers), step):
            chunk = numbers[start:start + step]
            client.send(*[b"DELE %d" % number for number in chunk])
            for _ in chunk:
                try:
                    client.reply()
                except Refused as error:
                    refused = error
        return refused

    def _leave(self):
        """QUIT without anything to remove: polite, so it is no problem if it fails."""
        client = self._client
        if client.lost or client.is_awaited or client.has_text:
            return
        client.patience = _FAREWELL
        try:
            client.ask(b"QUIT")
        except FetchError:
            pass
