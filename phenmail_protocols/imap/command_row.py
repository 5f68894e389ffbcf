"""A row of the command table: one command's name, states, argument parser, function and flags.

Each file of commands/ ends with its ROWS; `table` joins them.
"""
from typing import Any, Callable, NamedTuple, Optional

from .session import AUTHENTICATED, NOT_AUTHENTICATED, SELECTED

# In which states of RFC 3501 section 3 a command may run.
ANY_STATE = frozenset((NOT_AUTHENTICATED, AUTHENTICATED, SELECTED))
BEFORE_LOGIN = frozenset((NOT_AUTHENTICATED,))
AFTER_LOGIN = frozenset((AUTHENTICATED, SELECTED))
MAILBOX_SELECTED = frozenset((SELECTED,))


class Row(NamedTuple):
    """One command. The UID form of a command has a row of its own: "UID FETCH".

    name         in upper case
    states       a set of session states
    parse        pure: (tokens.Scanner behind the space after the name) -> arguments; None for a
                 command without arguments
    run          (session, arguments) -> session.Step, or None for a plain "OK NAME completed";
                 arguments are None without `parse`
    may_expunge  EXPUNGE may be sent before the tagged response; false for FETCH, STORE and SEARCH,
                 whose message numbers would change (RFC 3501 7.4.1)
    secret       the arguments are never logged
    expunges     it removes messages: EXPUNGE is sent even if NOTIFY excludes others' (RFC 5465)
    extension    the one to which the command belongs, see `tokens.is_offered`; None: IMAP4rev1
    """
    name: str
    states: frozenset
    parse: Optional[Callable]
    run: Callable
    may_expunge: bool = True
    secret: bool = False
    expunges: bool = False
    extension: Any = None
