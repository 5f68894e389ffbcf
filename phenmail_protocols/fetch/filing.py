"""A fetched message on its way into a mailbox, through the router like any other new mail.

The message's octets pass through in pieces. What goes to the queue instead of a mailbox (a filter's
forward or copy, an external-MDA) leaves no file whose name says that it was fetched. So a server
that is killed between the queue's commit, the last step of Incoming.finish, and the next line of
the state file (keeping/state.py) fetches it again. Nothing lies between the two but the return.
"""
import re
import time
from typing import NamedTuple, Optional

from ..accounts.directory import Destination
from ..delivery import trace
from ..delivery.noted_sender import sender
from ..delivery.placing import Placing
from ..mail import dates, headers
from ..mail.address import Address
from ..mail.envelope import Envelope, Recipient
from ..store.errors import InvalidName
from . import identity
from .source import FetchError

# What became of a message: it is kept (or discarded, as the user wants); it stays at the source for
# good; it could not be kept now; the same was fetched before.
DONE, LEFT, LATER, KNOWN = "done", "left", "later", "known"
FILTER, ACCEPT, DELETE = "filter", "accept", "delete"

_BEGINNING = 64 * 1024  # octets in which the fields Message-ID and Return-Path are looked for
_SAME = 1.0  # seconds until it is looked up again where a mail folder's mail goes
_OLD = 86400.0  # seconds after which a message is not answered any more
# Not \Deleted: it would make mail programs remove a message that just arrived.
_SYSTEM = {flag.lower(): flag for flag in ("\\Seen", "\\Answered", "\\Flagged", "\\Draft")}
_KEYWORD = re.compile(r"[!#$&'+,./0-9:;<=>?@A-Z^_`a-z|~-]{1,100}\Z")
_MOST_FLAGS = 50
_WORDS = {"imap": "IMAP", "imaps": "IMAPS", "pop": "POP3", "pops": "POP3S"}


class Later(FetchError):
    """Mail cannot be kept here now: a full disk, a mailbox over quota."""


class Target(NamedTuple):
    """Where the messages of one mailbox go. `kind`: FILTER, ACCEPT or DELETE; `folder`: a mail
    folder (absolute); `mailbox`: for ACCEPT."""
    kind: str
    folder: str = ""
    mailbox: Optional[str] = None


class Filed(NamedTuple):
    """What became of a message: `kind`; `text`: why, for people; `content`: its content key;
    `octets`: that were fetched."""
    kind: str
    text: str
    content: int
    octets: int


class Received:
    """A message that was read, and is not kept yet: call `keep` once, or `drop`."""

    __slots__ = ("_incoming", "_content", "_waiting")

    def __init__(self, incoming, content, waiting):
        self._incoming = incoming
        self._content = content
        self._waiting = waiting

    def keep(self, turn):
        """Deliver it -> Filed. `turn`: as for Account.deliver."""
        self._waiting.turn = turn
        (_, reply), = self._incoming.finish(apart=True)
        kind = DONE if reply.delivered else LEFT if reply.permanent else LATER
        return Filed(kind, reply.text, self._content, self._incoming.size)

    def drop(self):
        """Remove what was written of it."""
        self._incoming.abort()


class _Turn:
    """Placing.turn, before it is known who waits for whom."""

    turn = None

    def wait(self):
        self.turn.wait()

    def passed(self):
        self.turn.passed()


def target_of(action, folders):
    """An action of "boxes" -> Target. `folders`: settings.FetcherSettings.mail_folders."""
    word, _, rest = action.partition(":")
    if word == DELETE:
        return Target(DELETE)
    if word == FILTER:
        return Target(FILTER, folders[rest or "mail"])
    folder, colon, mailbox = rest.partition(":")
    return Target(ACCEPT, folders[folder if colon else "mail"], mailbox if colon else rest)


class Filing:
    """Files the messages of one account.

    `router`: delivery.router.Router; `account`: settings.FetchAccount; `owner`: whose it is (an
    identity); `clock()`: epoch seconds.
    """

    def __init__(self, router, account, owner, clock):
        self._router = router
        self._account = account
        self._owner = owner
        self._clock = clock
        self._origin = trace.Origin(_WORDS[account.protocol], account.server)
        self._places = {}  # (kind, mail folder) -> (until when, Address, Destination)

    def limit(self):
        """The most octets of a message."""
        return self._router.directory.settings.limits.message_size

    def too_large(self, size):
        """Why a message of this size is not fetched; "" if it may be."""
        limit = self.limit()
        return "it has more than %d octets" % limit if size > limit else ""

    def complaint(self, target):
        """What is wrong with a Target, for people; "" if nothing is."""
        if target.kind == DELETE:
            return ""
        if self._router.directory.root.identity_of(target.folder) != self._owner:
            return "the mail folder is outside its owner's folder"
        if target.mailbox is not None:
            from ..filters.rules import mailbox_named  # loads all that filters need
            try:
                mailbox_named(target.mailbox)
            except InvalidName:
                return "no mailbox here can have the name %s" % target.mailbox
        return ""

    def receive(self, message, target, key, pieces, known=(), is_here=False):
        """Read a source.RemoteMessage -> Received, or Filed if it is not to be kept.

        `key`: identity.name_key; `pieces`: iterator of its octets; `known`: content keys of
        messages that were fetched before; `is_here`: as in Placing. Raises what `pieces` raises;
        nothing is kept then.
        """
        held = bytearray()
        for piece in pieces:
            held += piece
            if len(held) >= _BEGINNING or trace.header_end(held, 0):
                break
        beginning = bytes(held[:_BEGINNING])
        header = headers.split_header(beginning)[0]
        content = identity.content_key(headers.first(header, b"message-id") or b"",
                                       message.size, message.date)
        if content in known:
            return Filed(KNOWN, "", content, len(held))
        waiting = _Turn()
        incoming = self._begin(message, target, key, beginning, waiting, is_here)
        try:
            incoming.write(bytes(held))
            del held
            for piece in pieces:
                incoming.write(piece)
                if incoming.size > self.limit():
                    break
        except BaseException:
            incoming.abort()
            raise
        if incoming.size > self.limit():
            incoming.abort()
            return Filed(LEFT, self.too_large(incoming.size), content, incoming.size)
        return Received(incoming, content, waiting)

    def _begin(self, message, target, key, beginning, waiting, is_here):
        own, destination = self._place(target.kind, target.folder)
        placing = Placing(key, target.mailbox, self._flags(message), _possible(message.date),
                          self._account.trust, quiet=self._is_old(message, beginning),
                          turn=waiting, is_here=is_here)
        return self._router.begin(
            Envelope(sender(beginning), (Recipient(own),), smtputf8=True), self._origin,
            [destination], may_refuse=False, placing=placing)

    def _is_old(self, message, beginning):
        """Whether its sender expects no answer any more. POP3 gives no date but the sender's."""
        date = message.date
        if date is None:
            value = headers.first(headers.split_header(beginning)[0], b"date")
            found = dates.parse_header_date(value) if value is not None else None
            date = 0 if found is None else found.epoch
        return self._clock() > date + _OLD

    def _place(self, kind, folder):
        """Where mail of a Target goes -> (Address for Delivered-To, Destination).

        What was found holds for _SAME seconds, because it costs a tenth of a small message's time.
        """
        until, own, destination = self._places.get((kind, folder), (0.0, None, None))
        if time.monotonic() >= until:
            own = self._address(folder)
            destination = self._destination(own, folder) if kind == FILTER else None
            destination = destination or Destination("mailbox", own, folder)
            if isinstance(destination, Destination):  # not a refusal, which may end at any time
                self._places[kind, folder] = (time.monotonic() + _SAME, own, destination)
        return own, destination

    def _destination(self, own, folder):
        """Where the user wants mail to go that is filtered, or None. The user's external-MDA gets
        this mail as any other."""
        found = self._router.recipient(own)
        if (getattr(found, "folder", folder) != folder
                or getattr(found, "kind", "mailbox") in ("unknown", "remote")):
            return None
        return found

    def _address(self, folder):
        """The address for Delivered-To: an address of this mail folder, or of its owner."""
        directory = self._router.directory
        address = directory.address_of(folder)
        if address is None:
            folders = directory.mail_folders()
            owned = sorted(each for each in folders
                           if directory.root.identity_named(each) == self._owner)
            address = directory.address_of(owned[0]) if owned else None
        if address is None or address.local == "*":
            return Address("postmaster", directory.settings.sender_domain)
        return address

    def _flags(self, message):
        if not self._account.keep_flags:
            return ()
        return tuple([_SYSTEM.get(flag.lower(), flag) for flag in message.flags[:_MOST_FLAGS]
                      if flag.lower() in _SYSTEM or _KEYWORD.match(flag)])


def _possible(date):
    """A date that a file can have, or None."""
    return date if date is not None and 0 <= date < 2 ** 32 else None
