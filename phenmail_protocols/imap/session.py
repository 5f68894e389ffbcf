"""One client's session: its state, the dispatch of commands, errors, announcements.

Knows no socket and no file: a parsed command goes in, responses go out as bytes through `write`,
and a `Step` says what the handler does next. Knows no command by name: a row of the table says in
which states a command is allowed, what runs it, and whether EXPUNGE may be announced after it.

Order (RFC 3501 5.5 and 7): the whole command is parsed, the state is checked, the command runs,
changes are announced, the tagged response ends it.
"""
import logging
from contextlib import ExitStack
from typing import Any, Callable, NamedTuple, Optional

from ..accounts import sasl
from ..accounts.login import BROKEN
from ..accounts.userfiles import BrokenUser
from ..protocol import session as shared
from ..protocol.session import OutOfStep  # noqa: F401 - raised by the commands
from ..store import errors
from . import announcing, responses
from .capabilities import capabilities
from .fetching.mime_trees import Trees
from .orders import Orders
from .syntax import sequence
from .syntax.tokens import is_offered

log = logging.getLogger("phenmail.imap")

NOT_AUTHENTICATED, AUTHENTICATED, SELECTED, LOGOUT = (
    "not authenticated", "authenticated", "selected", "logout")  # RFC 3501 3

# What the handler does after a command (Step.then).
NEXT, CLOSE, START_TLS, COMPRESS = "next", "close", "start tls", "compress"
READ_LINE, READ_BODY, IDLE = WAITING = "read line", "read body", "idle"


class Step(NamedTuple):
    """The end of a command, or what it waits for.

    If `then` is NEXT, CLOSE, START_TLS or COMPRESS, the command ends with the tagged response
    `status [code] text`; without a text, it says that the command is completed. If `then` is
    READ_LINE, READ_BODY or IDLE, the command goes on, and `resume(line)` returns the next Step;
    after READ_BODY, `resume(parts)`: the rest of the body's line, as the grammar takes it.

    `prompt`: the text of the continuation request (the reader has its own for READ_BODY).
    `sink`: takes the octets of the body.
    """
    then: str = NEXT
    status: bytes = b"OK"
    text: Optional[bytes] = None
    code: Optional[bytes] = None
    resume: Any = None
    prompt: bytes = b""
    sink: Any = None


class CommandFailed(Exception):
    """A command fails. The reply is NO with `text` (bytes) and a response code (RFC 5530)."""

    def __init__(self, text, code=None):
        super().__init__(text)
        self.text = text
        self.code = code


class Misuse(Exception):
    """The arguments are invalid in this state. The reply is BAD with `text` (bytes)."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text


# store.errors -> response code (RFC 5530)
CODES = (
    (errors.NotFound, b"NONEXISTENT"),
    (errors.Exists, b"ALREADYEXISTS"),
    (errors.InvalidName, b"CANNOT"),
    (errors.ImpossibleUse, b"USEATTR"),
    (errors.Expunged, b"EXPUNGEISSUED"),
    (errors.NoSpace, b"OVERQUOTA"),
    (errors.OverQuota, b"OVERQUOTA"),
    (errors.TooBig, b"TOOBIG"),
    (errors.Limit, b"LIMIT"),
    (errors.InUse, b"INUSE"),
    (errors.Unavailable, b"UNAVAILABLE"),
    (errors.StoreError, b"UNAVAILABLE"),
)

# Kind of sasl.Failure -> response code. Other kinds are misuse.
LOGIN_CODES = {sasl.REFUSED: b"AUTHENTICATIONFAILED", sasl.TEMPORARY: b"UNAVAILABLE"}


class Service(NamedTuple):
    """What a listener offers; one for all its sessions. See also protocol.session.Session.

    `store`: store.filestore.FileStore. `identity`: pairs of str for ID. `debug`: log every
    command, without secrets, and its tagged response. `trees`: trees.Trees, shared by all
    listeners; None: each session has its own. `without`: names of the extensions that are off.
    `search_indexes`: search.indexes.Indexes, or None. `orders`: orders.Orders, like `trees`.
    """
    directory: Any
    store: Any
    limits: Any
    tls_context: Optional[Callable] = None
    plaintext_auth: bool = False
    host: str = "localhost"
    identity: tuple = (("name", "phenmail"),)
    debug: bool = False
    trees: Any = None
    without: frozenset = frozenset()
    search_indexes: Any = None
    orders: Any = None


class Session(shared.Session):
    """State of one connection. `table`: {name: Row}; `write`: takes responses (bytes).

    Long commands call `look()` for each message, name or key, which takes under a microsecond.
    It raises CommandFailed when the command has taken too long, and Disconnected when the client
    has disconnected or the server stops; with `look(False)` the client's end does not matter.
    `tell_now(data, seconds)`: see handler.Output.
    """

    log = log

    def __init__(self, service, table, write, peer, tls=None, loopback=False,
                 look=lambda peer=True: None, tell_now=lambda data, seconds: None):
        super().__init__(service, peer, loopback, tls)
        self.table = table
        self.write = write
        self.look = look
        self.tell_now = tell_now
        self.state = NOT_AUTHENTICATED
        self.off = service.without
        self.view = None  # of the selected mailbox
        self.notifications = None  # notifications.Notifications after a NOTIFY (RFC 5465)
        # What the client has enabled: RFC 7162 CONDSTORE and QRESYNC, RFC 6855 UTF8=ACCEPT.
        self.condstore = self.qresync = self.utf8 = False
        self.compresses = False  # RFC 4978
        self.decoding = None  # how far FETCH BINARY has decoded a part: binary.Place
        self.staged = None  # the messages that APPEND is receiving; has discard()
        self.flags = responses.FlagLists()
        self.recent_flags = responses.FlagLists(recent=True)
        self._trees = service.trees if service.trees is not None else Trees()
        self.search_indexes = service.search_indexes
        self.orders = service.orders if service.orders is not None else Orders()
        self._running = None  # (tag, row) of the command that runs
        self.is_behind = False  # something could not be announced (announcing.py)

    def close(self):
        """Release the session's resources, even while a command runs."""
        if self.staged is not None:
            self.staged.discard()
        self.notify(None)
        self.deselect()

    # Commands

    def greeting(self):
        """The first line (RFC 3501 7.1.5)."""
        code = self.capability_code()
        self.write(responses.untagged_status(b"OK", b"phenmail is ready", code))
        return Step()

    def offers(self, extension):
        """Whether an extension is not switched off; see `tokens.is_offered`."""
        return is_offered(extension, self.off)

    def mechanisms(self):
        return tuple([name for name in super().mechanisms() if self.offers("AUTH=" + name)])

    def capabilities(self):
        """The capabilities that are offered now, as a list of bytes."""
        return capabilities(self)

    def capability_code(self):
        """The response code CAPABILITY, so that the client need not send the command."""
        return b"CAPABILITY " + b" ".join(self.capabilities())

    @property
    def tag(self):
        """The tag of the command that runs, as bytes."""
        return self._running[0]

    def execute(self, command):
        """Run a parsed command -> Step."""
        row = self.table[command.name]
        self._running = command.tag, row
        if self.state not in row.states:
            return self._ended(self._misused(self._why_not(row)))
        return self._attempt(row.run, self, command.arguments)

    def _why_not(self, row):
        if self.state == NOT_AUTHENTICATED:
            return b"Log in first"
        return b"Already logged in" if NOT_AUTHENTICATED in row.states else b"No mailbox selected"

    def resume(self, step, line):
        """Go on with a command that waited for `line` (see Step)."""
        return self._attempt(step.resume, line)

    def _attempt(self, run, *arguments):
        try:
            step = run(*arguments) or Step()
        except errors.StoreError as error:
            code = next(code for kind, code in CODES if isinstance(error, kind))
            step = Step(status=b"NO", text=str(error).encode("ascii", "replace"), code=code)
        except CommandFailed as failure:
            step = Step(status=b"NO", text=failure.text, code=failure.code)
        except Misuse as misuse:
            step = self._misused(misuse.text)
        return self._ended(step)

    def _misused(self, text):
        self.errors += 1
        return Step(status=b"BAD", text=text)

    def _ended(self, step):
        if step.then in WAITING:
            return step
        tag, row = self._running
        may_go_on = self.announce(row.may_expunge)
        self._running = None  # not earlier: if the announcement raises, `failed` ends the command
        if not may_go_on:
            return Step(CLOSE)
        text = step.text or b"%b completed" % row.name.encode("ascii")
        self._reply(tag, step.status, text, self._offered_code(step.code))
        if step.status == b"OK":
            self.errors = 0
        return self._closed_if_too_many(step)

    def tell_code(self, text, code):
        """Send an untagged OK for its response code, unless that is of an extension that is off."""
        if self._offered_code(code):
            self.write(responses.untagged_status(b"OK", text, code))

    def _offered_code(self, code):
        name = code.partition(b" ")[0] if code else None
        return code if self.offers(responses.CODE_EXTENSIONS.get(name)) else None

    def unreadable(self, tag, text, code, status=b"BAD"):
        """Reply to a command that cannot be parsed -> Step. `tag`: None if there was none."""
        self.errors += status == b"BAD"
        self._reply(tag or b"*", status if tag else b"BAD", text, code)
        return self._closed_if_too_many(Step())

    def _closed_if_too_many(self, step):
        """`step`, or CLOSE after too many errors in a row or too many failed logins."""
        if step.then != NEXT:
            return step
        if self.errors >= self.service.limits.errors:
            self.say_goodbye(b"Too many errors, closing connection")
        elif self.has_too_many_failed_logins and self.account is None:
            self.say_goodbye(b"Too many failed logins, closing connection")
        else:
            return step
        return Step(CLOSE)

    def failed(self):
        """A command raised an unexpected error -> Step. The client may try again."""
        running, self._running = self._running, None
        if running is not None:
            text = b"Internal error, try again later"
            self._reply(running[0], b"NO", text, b"SERVERBUG")
        return Step()

    def _reply(self, tag, status, text, code):
        """Send the tagged response; with `debug`, log it too."""
        reply = responses.tagged(tag, status, text, code)
        self.write(reply)
        if self.service.debug:
            self.log.info("%s: reply %s", self.who, reply.decode("ascii", "replace").rstrip())

    # Login

    def challenge(self, challenge):
        """The server's part of AUTHENTICATE, in base64 -> Step."""
        return Step(READ_LINE, prompt=challenge, resume=self.response)

    def logged_in(self, account):
        """LOGIN or AUTHENTICATE succeeded -> Step. `account`: the directory's."""
        try:
            settings = self.service.directory.user_settings(account.folder)
        except BrokenUser:
            raise CommandFailed(BROKEN.encode("ascii"), b"UNAVAILABLE") from None
        if settings.without:
            self.off |= settings.without
        self.account = account
        self.state = AUTHENTICATED
        return Step(text=b"Logged in", code=self.capability_code())

    def login_failed(self, failure):
        """LOGIN or AUTHENTICATE failed."""
        text = failure.text.encode("ascii", "replace")
        if failure.kind in LOGIN_CODES:
            raise CommandFailed(text, LOGIN_CODES[failure.kind])
        raise Misuse(text)

    # The selected mailbox

    @property
    def mail(self):
        """The store's account. Looked up each time, because the store may close unused ones."""
        return self.service.store.account(self.account.folder)

    def select(self, view):
        """SELECT, EXAMINE: enter the selected state."""
        self.view = view
        self.state = SELECTED
        if self.notifications is not None:
            self.notifications.selected.begin(view)

    def deselect(self):
        """Leave the selected state, if the session is in it."""
        view, self.view, self.decoding = self.view, None, None
        if view is not None:
            if self.notifications is not None:
                self.notifications.deselected(view)
            view.close()
            if self.state == SELECTED:
                self.state = AUTHENTICATED

    def slices(self, chosen, uid):
        """A sequence set -> ascending (start, stop) pairs: positions in the mailbox, from 0.

        Raises Misuse for a message number that the mailbox does not have (RFC 3501 9: seq-number).
        """
        if chosen is sequence.SAVED:
            return self.view.saved_slices(self.look)
        count = len(self.view)
        if not uid and chosen.beyond(count):
            raise Misuse(b"No such message")
        return self.view.slices(chosen, uid)

    def trees(self, uid, scan):
        """The MIME tree of a message in the selected mailbox: a cached one, or `scan()`."""
        return self._trees.find(self.view.mailbox, uid, scan, self.look)

    def alone(self):
        """A context manager for work with MIME trees: see Trees.alone."""
        return self._trees.alone(self.account.name, self.look)

    # NOTIFY

    def notify(self, notifications):
        """NOTIFY: a notifications.Notifications replaces the present one."""
        old, self.notifications = self.notifications, notifications
        if old is not None:
            old.close()

    @property
    def listens(self):
        """Whether the client is told of changes while no command runs."""
        return self.notifications is not None and self.notifications.listens

    def watch(self, callback):
        """Any thread calls `callback()` when there may be something to announce, until the result
        is closed."""
        watches = ExitStack()
        if self.view is not None:
            watches.callback(self.view.mailbox.watch(callback).close)
        if self.notifications is not None:
            self.notifications.listen(callback, watches)
        return watches

    def changed_names(self, old, new):
        """This session renamed a mailbox, deleted `old` (`new` is None) or created `new`."""
        if self.notifications is not None:
            self.notifications.own_names(old, new)

    def changed_subscription(self, name, subscribed):
        """This session subscribed or unsubscribed a name."""
        if self.notifications is not None:
            self.notifications.own_subscription(name, subscribed)

    def added_messages(self, name, uids):
        """This session added messages, with ascending UIDs, to a mailbox."""
        if self.notifications is not None and uids:
            self.notifications.own_messages(self, name, uids)

    # Announcements

    announce = announcing.announce
    announce_between_commands = announcing.announce_between_commands
    tell_keywords = announcing.tell_keywords
    tell_flags = announcing.tell_flags
    flag_column = announcing.flag_column

    @property
    def expunges(self):
        """Whether the command that runs expunges messages."""
        return self._running is not None and self._running[1].expunges

    def enable_condstore(self):
        """From now on send mod-sequences to the client (RFC 7162 3.1)."""
        if not self.condstore:
            self.condstore = True
            if self.view is not None:
                self.tell_code(b"Highest mod-sequence",
                               b"HIGHESTMODSEQ %d" % self.view.announced_modseq)

    def say_goodbye(self, text):
        """Send * BYE; only the tagged response to LOGOUT may follow."""
        self.state = LOGOUT
        self.write(responses.untagged_status(b"BYE", text))
