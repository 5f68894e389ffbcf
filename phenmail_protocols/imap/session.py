"""One client's session: its state, the dispatch of a command, what is announced, how errors are answered.

It knows no socket and no file: a command comes in as a value, answers go out as pieces of bytes through `write`, and what has to
happen on the wire next comes back as a Step for the handler. It knows no command by name: the table's rows say in which states a
command is allowed, what runs it and whether EXPUNGE may be announced after it.

Order (RFC 3501 5.5, 7): everything is parsed -> the state is checked -> run -> announce -> tagged answer.
"""
from typing import Any, Callable, NamedTuple, Optional

from ..store import errors
from . import responses, sequence
from .capabilities import capabilities
from .trees import Trees

NOT_AUTHENTICATED, AUTHENTICATED, SELECTED, LOGOUT = "not authenticated", "authenticated", "selected", "logout"

# What the handler does after a command (Step.then).
NEXT, CLOSE, START_TLS, READ_LINE, READ_BODY, IDLE = "next", "close", "start tls", "read line", "read body", "idle"
WAITING = (READ_LINE, READ_BODY, IDLE)

WRONG_STATE = {
    NOT_AUTHENTICATED: b"Log in first.",
    AUTHENTICATED: b"That needs a selected mailbox, or you are logged in already.",
    SELECTED: b"You are logged in already.",
    LOGOUT: b"You are logged out.",
}


class Step(NamedTuple):
    """The end of a command, or what it waits for.

    `then` NEXT, CLOSE, START_TLS: the tagged answer is `status [code] text`. READ_LINE, READ_BODY, IDLE: the command goes on and
    `resume(line)` gives the next Step; `prompt` is what the continuation says (READ_BODY's is the reader's); `sink` takes the body.
    """
    then: str = NEXT
    status: bytes = b"OK"
    text: bytes = b""  # b"": "NOOP completed"
    code: Optional[bytes] = None
    resume: Any = None
    prompt: bytes = b""
    sink: Any = None


class CommandFailed(Exception):
    """A command that can't be carried out: NO with `text` and perhaps a response code (RFC 5530), both bytes."""

    def __init__(self, text, code=None):
        super().__init__(text)
        self.text = text
        self.code = code


class Misuse(Exception):
    """Arguments that make no sense here: BAD with `text` (bytes)."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text


class OutOfStep(Exception):
    """An answer was begun that can't be ended: the client would read whatever follows as a part of it."""


#: store.errors -> response code (RFC 5530)
CODES = (
    (errors.NotFound, b"NONEXISTENT"),
    (errors.Exists, b"ALREADYEXISTS"),
    (errors.InvalidName, b"CANNOT"),
    (errors.Expunged, b"EXPUNGEISSUED"),
    (errors.NoSpace, b"OVERQUOTA"),
    (errors.TooBig, b"TOOBIG"),
    (errors.Limit, b"LIMIT"),
    (errors.InUse, b"INUSE"),
    (errors.Unavailable, b"UNAVAILABLE"),
    (errors.StoreError, b"UNAVAILABLE"),
)


def refusal_of(error):
    """A store's error as a CommandFailed."""
    code = next(code for kind, code in CODES if isinstance(error, kind))
    return CommandFailed(str(error).encode("ascii", "replace"), code)


class Server(NamedTuple):
    """What all sessions share.

    directory       accounts: who may log in, with what
    store           mailboxes: `account(folder)`
    limits          config.settings.Limits
    tls_context     () -> ssl.SSLContext, or None where STARTTLS is not offered
    plaintext_auth  passwords in the clear are taken off the loopback, too
    host            our name, for challenges
    identity        pairs of str for ID
    debug           log every command (without secrets)
    trees           trees.Trees, one for all listeners; None: each session has its own
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


class Session:
    """`table`: {name: row.Row}; `write`: takes pieces of bytes; `tls`: whether the connection is
    encrypted; `trusted`: it is on the loopback.

    `look()` is called by long work in bounded steps (each message, name or key). It raises CommandFailed
    when the command has taken too long, and what ends the connection when the client is gone or the
    server stops; it costs under a microsecond.
    """

    def __init__(self, server, table, write, peer, tls=False, trusted=False, look=lambda: None):
        self.server = server
        self.table = table
        self.write = write
        self.look = look
        self.peer = peer
        self.tls = tls
        self.trusted = trusted
        self.state = NOT_AUTHENTICATED
        self.account = None  # the directory's
        self.view = None
        self.condstore = self.qresync = False  # RFC 7162: what the client has enabled
        self.staged = None  # a message that APPEND is taking in
        self.flags = responses.FlagLists()
        self.recent_flags = responses.FlagLists(recent=True)
        self._trees = server.trees if server.trees is not None else Trees()
        self.failed_logins = 0
        self._errors = 0
        self._running = None  # (tag, row) of the command that runs

    def close(self):
        """Give back what the session holds; it may be in the middle of a command."""
        if self.staged is not None:
            self.staged.discard()
        self.deselect()

    @property
    def name(self):
        """Who this is, for the log."""
        return "%s@%s" % (self.account.name if self.account else "-", self.peer[0])

    # -- commands

    def greet(self):
        """The first line (RFC 3501 7.1.5)."""
        self.write(responses.untagged_status(b"OK", b"phenmail is ready.", self.capability_code()))

    def capabilities(self):
        """What is offered now, as a list of bytes."""
        return capabilities(self)

    def capability_code(self):
        return b"CAPABILITY " + b" ".join(self.capabilities())

    @property
    def tag(self):
        """The tag of the command that runs, as bytes."""
        return self._running[0]

    @property
    def may_send_secrets(self):
        """Whether a password in the clear is allowed on this connection."""
        return self.tls or self.trusted or self.server.plaintext_auth

    def execute(self, command):
        """Run a parsed command; the Step says what the handler has to do."""
        row = self.table[command.name]
        self._running = command.tag, row
        if self.state not in row.states:
            return self._ended(self._misused(WRONG_STATE[self.state]))
        return self._attempt(row.run, self, command.arguments)

    def resume(self, step, line):
        """Go on with a command that waited; `line` came, or is what followed the body."""
        return self._attempt(step.resume, line)

    def _attempt(self, run, *arguments):
        try:
            step = run(*arguments) or Step()
        except errors.StoreError as error:
            step = refused(refusal_of(error))
        except CommandFailed as refusal:
            step = refused(refusal)
        except Misuse as misuse:
            step = self._misused(misuse.text)
        return self._ended(step)

    def _misused(self, text):
        self._errors += 1
        return Step(status=b"BAD", text=text)

    def _ended(self, step):
        if step.then in WAITING:
            return step
        tag, row = self._running
        may_go_on = self.announce(row.may_expunge)
        self._running = None  # not before: `failed` answers a command whose announcement broke
        if not may_go_on:
            return Step(CLOSE)
        text = step.text or row.name.encode("ascii") + b" completed"
        self.write(responses.tagged(tag, step.status, text, step.code))
        if step.status == b"OK":
            self._errors = 0
        return self._patience(step)

    def unreadable(self, tag, text, code=None, status=b"BAD"):
        """A command that could not even be read; `tag` is None when there was none."""
        self._errors += status == b"BAD"
        self.write(responses.tagged(tag or b"*", status if tag else b"BAD", text, code))
        return self._patience(Step())

    def _patience(self, step):
        """Too many errors in a row end the connection: what talks here is no mail program."""
        if step.then != NEXT:
            return step
        if self._errors >= self.server.limits.errors:
            self.say_goodbye(b"Too many errors.")
            return Step(CLOSE)
        if self.failed_logins >= self.server.limits.login_failures and self.account is None:
            self.say_goodbye(b"Too many failed logins.")
            return Step(CLOSE)
        return step

    def failed(self):
        """Something broke that nobody foresaw. The client may try again; the log has the rest."""
        running, self._running = self._running, None
        if running is not None:
            self.write(responses.tagged(running[0], b"NO", b"Something went wrong here; try again later.", b"SERVERBUG"))
        return Step()

    # -- the selected mailbox

    def log_in(self, account):
        """`account`: the directory's."""
        self.account = account
        self.state = AUTHENTICATED

    @property
    def mail(self):
        """The store's account: asked for each time, as the store may have let it go meanwhile."""
        return self.server.store.account(self.account.folder)

    def select(self, view):
        self.view = view
        self.state = SELECTED

    def deselect(self):
        view, self.view = self.view, None
        if view is not None:
            view.close()
            if self.state == SELECTED:
                self.state = AUTHENTICATED

    def slices(self, chosen, uid):
        """Where a command's messages lie in the numbering: ascending (start, stop) pairs, message numbers less one.

        Raises Misuse for a message number that the mailbox does not have (RFC 3501 9: seq-number).
        """
        if chosen is sequence.SAVED:
            return self.view.saved_slices()
        count = len(self.view)
        if not uid and chosen.beyond(count):
            raise Misuse(b"There is no message of that number.")
        return chosen.slices(self.view.uids(), count, uid)

    def trees(self, uid, scan):
        """The MIME tree of a message in the selected mailbox: one that is kept for all sessions, or
        `scan()`."""
        return self._trees.find(self.view.mailbox, uid, scan, self.look)

    def alone(self):
        """A context manager for work with MIME trees: see Trees.alone."""
        return self._trees.alone(self.account.name, self.look)

    def watch(self, callback):
        """For IDLE: `callback()` from any thread when something happens in the selected mailbox; a watch to close, or None."""
        return self.view.mailbox.watch(callback) if self.view is not None else None

    # -- what the client is told

    def announce(self, may_expunge=True):
        """Tell what others did in the selected mailbox. False when the session cannot go on."""
        if self.view is None:
            return True
        try:
            self.view.refresh()
        except errors.NotFound:
            self.say_goodbye(b"The selected mailbox was deleted.")  # RFC 2180 3.3
            return False
        except errors.StoreError:
            return True  # nothing can be learnt now; the next command tries again
        news = self.view.announce(may_expunge)
        try:
            if news is not None:
                self._tell(news)
            self.tell_keywords()
        except errors.StoreError:  # the flags could not be read
            self.view.tell_later(news.flags if news is not None else ())
        return True

    def _tell(self, news):
        out = [b"* %d EXPUNGE\r\n" % number for number in news.expunged]
        if news.expunged and self.qresync:  # RFC 7162 3.2.10.2
            out = [b"* VANISHED " + sequence.build(news.vanished) + b"\r\n"]
        if news.exists is not None:
            out.append(b"* %d EXISTS\r\n" % news.exists)
        if news.recent is not None:
            out.append(b"* %d RECENT\r\n" % news.recent)
        self.write(b"".join(out))
        if news.flags:
            self.tell_flags(self.view.mailbox.rows(news.flags))

    def tell_keywords(self, shown=()):
        """FLAGS and PERMANENTFLAGS where they changed, or before the keywords `shown` are seen."""
        view = self.view
        if view.learn_keywords(shown):
            self.write(b"".join(responses.known_flags(*view.keywords, writable=view.writable)))

    def tell_flags(self, rows, with_uid=True, silent=False):
        """Untagged FETCH with the flags of these rows; only with their mod-sequences if `silent`."""
        columns = [] if silent else [(b"FLAGS", b"%b", self.flag_column(rows))]
        if with_uid or self.qresync:
            columns.insert(0, (b"UID", b"%d", rows.uids))
        if self.condstore:
            columns.append((b"MODSEQ", b"(%d)", rows.modseqs))
        self.write(b"".join(responses.fetch_lines(map(self.view.number, rows.uids), columns)))

    def enable_condstore(self):
        """From now on the client hears of mod-sequences (RFC 7162 3.1)."""
        if not self.condstore:
            self.condstore = True
            if self.view is not None:
                self.write(responses.untagged_status(
                    b"OK", b"Highest", b"HIGHESTMODSEQ %d" % max(1, self.view.state.highestmodseq)))

    def flag_column(self, rows):
        """Flags of rows as the client gets them, \\Recent with them. New keywords among them are
        announced first."""
        shown = set().union(*set(rows.flags))
        self.tell_keywords([flag for flag in shown if flag[:1] != "\\"])
        return responses.flag_column(rows.flags, rows.uids, self.view.recent_ranges, self.flags, self.recent_flags)

    def say_goodbye(self, text, code=None):
        """* BYE; nothing follows but a tagged answer to LOGOUT."""
        self.state = LOGOUT
        self.write(responses.untagged_status(b"BYE", text, code))


def refused(refusal):
    return Step(status=b"NO", text=refusal.text, code=refusal.code)
