"""The dispatcher by itself: no socket, no store."""
import importlib
import pkgutil

import pytest

from phenmail_protocols.config.settings import Limits
from phenmail_protocols.imap import commands, session
from phenmail_protocols.imap.command_row import Row
from phenmail_protocols.imap.session import CommandFailed, Misuse, Service, Session, Step
from phenmail_protocols.imap.syntax.values import Command
from phenmail_protocols.imap.table import TABLE
from phenmail_protocols.store import errors


@pytest.fixture
def run():
    """`run(function)` has it run as a command; gives (what was written, Step)."""
    written = []

    def run(function, state=session.NOT_AUTHENTICATED, **row):
        table = {"X": Row("X", frozenset((session.NOT_AUTHENTICATED,)), None, function, **row)}
        made = Session(Service(None, None, Limits()), table, written.append, ("192.0.2.1", 1))
        made.state = state
        step = made.execute(Command(b"t", "X", None))
        return b"".join(written), step
    return run


def raising(error):
    def run(session, arguments):
        raise error
    return run


@pytest.mark.parametrize("error, answer", [
    (errors.NotFound(), b"NO [NONEXISTENT] "), (errors.Exists(), b"NO [ALREADYEXISTS] "),
    (errors.InvalidName(), b"NO [CANNOT] "),
    (errors.Expunged(), b"NO [EXPUNGEISSUED] "), (errors.NoSpace(), b"NO [OVERQUOTA] "),
    (errors.TooBig(), b"NO [TOOBIG] "),
    (errors.InUse(), b"NO [INUSE] "), (errors.Unavailable(), b"NO [UNAVAILABLE] "),
    (errors.StoreError("why"), b"NO [UNAVAILABLE] why"), (
        CommandFailed(b"why", b"CODE"), b"NO [CODE] why"), (CommandFailed(b"why"), b"NO why"),
    (Misuse(b"why"), b"BAD why"),
])
def test_errors_and_their_answers(run, error, answer):
    written, step = run(raising(error))
    assert written.startswith(b"t "
                              + answer) and written.endswith(b"\r\n") and step.then == session.NEXT


def test_every_error_of_the_store_has_a_code():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)
             and issubclass(kind, errors.StoreError)]
    assert set(kinds) <= {kind for kind, _ in session.CODES}


def test_the_wrong_state(run):
    for state in (session.AUTHENTICATED, session.SELECTED, session.LOGOUT):
        written, _ = run(raising(AssertionError()), state=state)
        assert written.startswith(b"t BAD ")


def test_the_answer(run):
    written, step = run(lambda session, arguments: Step(text=b"Fine.", code=b"CODE"))
    assert written == b"t OK [CODE] Fine.\r\n" and step.then == session.NEXT


def test_a_command_that_goes_on_has_no_answer_yet(run):
    written, step = run(lambda made, arguments: Step(session.READ_LINE, prompt=b"more",
                                                     resume=lambda line: Step(text=line)))
    assert written == b"" and step.prompt == b"more"


def test_what_was_begun_can_go_on():
    written = []
    table = {"X": Row("X", frozenset((session.NOT_AUTHENTICATED,)), None, lambda made,
                      arguments: Step(session.READ_LINE, resume=_echo))}
    made = Session(Service(None, None, Limits()), table, written.append, ("192.0.2.1", 1))
    step = made.execute(Command(b"t", "X", None))
    assert made.resume(step, b"line").then == session.NEXT
    assert written == [b"t OK line\r\n"]


def _echo(line):
    return Step(text=line)


def test_the_answer_names_the_command(run):
    written, _ = run(lambda session, arguments: Step())
    assert written == b"t OK X completed\r\n"


def test_every_command_has_one_row_and_every_file_is_in_the_table():
    rows = [row for module in pkgutil.iter_modules(commands.__path__)
            for row in getattr(importlib.import_module(commands.__name__ + "." + module.name),
                               "ROWS", ())]
    assert set(rows) == set(TABLE.values()) and len(rows) == len(TABLE)


def test_expunge_is_held_back_where_the_rfc_says_so():
    assert {row.name for row in TABLE.values() if not row.may_expunge} == {
        "FETCH", "STORE", "SEARCH", "SORT", "THREAD"}


def test_secrets_are_marked():
    assert {row.name for row in TABLE.values() if row.secret} == {"LOGIN", "AUTHENTICATE"}
