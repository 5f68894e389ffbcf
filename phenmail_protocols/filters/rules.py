"""What a user's filters, and the server's, decide about one message.

`Rules` holds prepared filters. `evaluate` asks them in order about a FilteredMessage and returns a
Verdict for others to carry out: nothing is filed, sent or written here. The caller says how Python
filters run. Pure, except that a filter on the body reads a bounded part of the message's file.

The first decision ends the evaluation. Until then flags, copies and a vacation answer are
collected. The decision says what happens to them:

    reject            nothing else is done with the message
    discard           the copies are still sent, so `copy:` before it amounts to a forward
    accept, forward   everything collected is done

An action that cannot be carried out (impossible mailbox name, invalid address) never delays mail:
the message goes to INBOX, with a line in the user's log.
"""
import logging
from typing import NamedTuple, Optional, Tuple, Union

from ..config.filtering import flag_named, split_action
from ..config.settings import Filter
from ..mail.address import Address, AddressError
from ..mail.writing import printable
from ..store import errors
from ..store.maildir import folders
from ..store.model import INBOX
from . import matching
from .verdict import ACCEPT, DISCARD, FORWARD, REJECT, Verdict

log = logging.getLogger("phenmail.filters")

_MOST_COPIES = 10
_MOST_FLAGS = 20
_LONGEST_REASON = 500
_RULES_BETWEEN_LOOKS = 16  # at the time
_SHOWN = 60  # characters of a filter's text in a line for people


class FilteredMessage(NamedTuple):
    """A message for one recipient, as filters see it.

    `header`: its header in wire form. `sender`: None for <>. `recipient`: the envelope's address;
    `tag`: that of user+tag or None. `size`: bytes. `path`: its file or a descriptor, "" for none.
    `auth`: the authentication result, such as "spf=pass dkim=none dmarc=fail", or "".
    """
    header: bytes
    sender: Optional[Address]
    recipient: Address
    tag: Optional[str] = None
    size: int = 0
    path: Union[str, int] = ""
    auth: str = ""


class Step(NamedTuple):
    """What one filter does with a message.

    `matched`: None if it could not be asked; `effect`: its action in words, "" for none; `decides`:
    it ends the evaluation.
    """
    rule: Filter
    matched: Optional[bool]
    effect: str = ""
    decides: bool = False
    log_lines: Tuple[str, ...] = ()


class Rules:
    """Prepared filters. Any thread may ask.

    `flaws`: (Filter, what is wrong) of those that will not work as written.
    """

    __slots__ = ("filters", "flaws", "_rules")

    def __init__(self, filters):
        """`filters`: settings.Filter values in the order in which they are asked."""
        self.filters = tuple(filters)
        self._rules = tuple([_TYPES[each.type](each) for each in self.filters])
        self.flaws = tuple([(rule.filter, rule.flaw) for rule in self._rules if rule.flaw])

    def __bool__(self):
        return bool(self._rules)

    def evaluate(self, message, run_code, search_apart=None):
        """What to do with a FilteredMessage -> Verdict. Raises nothing.

        `run_code(filter, message)`: runs a Python filter -> python_answer.Result, or None: the next
        filter is asked. Without it (None) Python filters are skipped. `search_apart`: see
        matching.View.
        """
        if not self._rules:
            return Verdict()
        view, gathered = matching.View(message, search_apart), _Gathered()
        try:
            for number, rule in enumerate(self._rules, 1):
                if not number % _RULES_BETWEEN_LOOKS:
                    view.look()
                try:
                    if rule.matches(view) is not False and rule.act(message, run_code, gathered):
                        gathered.by = rule.place
                        break
                except matching.NotSearched as error:
                    gathered.note("%s: not searched (%s), continuing with the next filter"
                                  % (rule.place, error))
        except matching.OutOfTime:
            gathered.note("%s: the filters took too long, so this one and the rest were skipped"
                          % rule.place)
        except Exception:
            log.exception("%s: the filters failed, so the message goes to INBOX", rule.place)
            gathered.note("%s: this filter failed, so it and the rest were skipped"
                          % rule.place)
        return gathered.verdict()

    def steps(self, message, run_code, search_apart=None):
        """What each filter alone does with a FilteredMessage, also those after the decision.

        -> iterator of Step. Arguments as for `evaluate`. Raises nothing.
        """
        view = matching.View(message, search_apart)
        for rule in self._rules:
            gathered = _Gathered()
            try:
                matched = rule.matches(view)
                decides = matched is not False and rule.act(message, run_code, gathered)
            except matching.NotSearched as error:
                yield Step(rule.filter, None, log_lines=("not searched: %s" % error,))
            except matching.OutOfTime:
                yield Step(rule.filter, None, log_lines=("it took too long",))
                view = matching.View(message, search_apart)
            except Exception as error:
                yield Step(rule.filter, None, log_lines=("it failed: %r" % error,))
            else:
                verdict = gathered.verdict()
                yield Step(rule.filter, matched, _effect(verdict, decides), decides,
                           verdict.log_lines)


class _Gathered:
    """What the filters asked for until the decision."""

    __slots__ = ("kind", "mailbox", "reason", "flags", "copies", "forward", "vacation", "by",
                 "log_lines")

    def __init__(self):
        self.kind, self.mailbox, self.reason, self.forward = ACCEPT, INBOX, "", None
        self.flags = self.copies = self.log_lines = ()
        self.vacation = None
        self.by = ""

    def verdict(self):
        rejected = self.kind == REJECT
        return Verdict(self.kind, self.mailbox, self.reason, self.flags,
                       () if rejected else self.copies, self.forward,
                       None if rejected or self.kind == DISCARD else self.vacation, self.by,
                       self.log_lines)

    def note(self, *lines):
        self.log_lines += lines

    def apply(self, action, place):
        """Carry out an Action -> whether it decides."""
        word, value = action.word, action.value
        if action.flaw:
            self.note("%s: %s" % (place, action.flaw))
        if word == "copy":
            if value and value not in self.copies and len(self.copies) < _MOST_COPIES:
                self.copies += (value,)
            return False
        if word == "flag":
            if value not in self.flags and len(self.flags) < _MOST_FLAGS:
                self.flags += (value,)
            return False
        self.kind = word
        if word == ACCEPT:
            self.mailbox = value
        elif word == REJECT:
            self.reason = value
        elif word == FORWARD:
            self.forward = value
        return True


# The three types of filters. `matches(view)` is False for "no", and None if only the action can
# tell. `act(message, run_code, gathered)` returns whether the filter decides.


class _Rule:
    __slots__ = ("filter", "place", "flaw", "matches")

    def __init__(self, rule):
        self.filter = rule
        self.place = place(rule)
        self.flaw = ""


class _Match(_Rule):
    """A comparison and an action, both prepared."""

    __slots__ = ("_action",)

    def __init__(self, rule):
        super().__init__(rule)
        word, argument = split_action(rule.action)
        if word == REJECT:
            argument = argument or rule.name or ""
        self._action = prepared(word, argument)
        self.flaw = self._action.flaw
        self.matches = matching.condition(rule)

    def act(self, message, run_code, gathered):
        return gathered.apply(self._action, self.place)


class _Code(_Rule):
    """A script; the caller of `evaluate` runs it."""

    __slots__ = ()

    def __init__(self, rule):
        super().__init__(rule)
        self.matches = lambda view: None

    def act(self, message, run_code, gathered):
        if run_code is None:
            gathered.note("%s: code is not run here, continuing with the next filter" % self.place)
            return False
        try:
            found = run_code(self.filter, message)
        except Exception:
            log.exception("%s: the Python filter was not run", self.place)
            gathered.note("%s: the code could not be run, continuing with the next filter"
                          % self.place)
            return False
        if found is None:
            return False
        gathered.note(*["%s: %s" % (self.place, line) for line in found.log_lines])
        for flag in filter(None, map(flag_named, found.flags)):
            gathered.apply(prepared("flag", flag), self.place)
        for address in found.copies:
            gathered.apply(prepared("copy", address), self.place)
        if found.decision is None:
            return False
        return gathered.apply(prepared(*found.decision), self.place)


class _Vacation(_Rule):
    """An answer to the sender; it decides nothing."""

    __slots__ = ()

    def __init__(self, rule):
        super().__init__(rule)
        self.matches = lambda view: True

    def act(self, message, run_code, gathered):
        if gathered.vacation is None:
            gathered.vacation = self.filter.vacation
        return False


_TYPES = {"match": _Match, "py": _Code, "vacation": _Vacation}


# Actions


class Action(NamedTuple):
    """`word`: ACCEPT, REJECT, DISCARD, FORWARD, "copy" or "flag"; `value`: its argument, ready to
    use; `flaw`: what is wrong with it and what happens instead, or "".
    """
    word: str
    value: object
    flaw: str = ""


def mailbox_named(text):
    """A mailbox name that a user wrote -> the store's form; "" is INBOX.

    Raises store.errors.InvalidName, also for names with the parts "." and "..", which nobody means
    as names, although the store could keep them.
    """
    if not text:
        return INBOX
    name = folders.canonical(text)
    if any(part in (".", "..") for part in name.split("/")):
        raise errors.InvalidName("it would be outside the mail folder")
    folders.folder_of(name)
    return name


# What makes a value of an argument. Raises AddressError or store.errors.InvalidName.
_ARGUMENTS = {
    ACCEPT: mailbox_named, FORWARD: Address.parse, "copy": Address.parse,
    REJECT: lambda reason: printable(reason)[:_LONGEST_REASON].strip(),
    DISCARD: lambda nothing: None, "flag": lambda name: name}


def prepared(word, argument):
    """The text of an action -> Action."""
    try:
        return Action(word, _ARGUMENTS[word](argument))
    except errors.InvalidName as error:
        return Action(ACCEPT, INBOX, "%s cannot be a mailbox (%s), so the message goes to INBOX"
                      % (shown(argument), error))
    except AddressError as error:
        flaw = "%s is not a mail address (%s), so " % (shown(argument), error)
        if word == FORWARD:
            return Action(ACCEPT, INBOX, flaw + "the message goes to INBOX")
        return Action(word, None, flaw + "no copy is sent")


# Lines for people


def lines(verdict, message, refused=True):
    """The lines of a Verdict for the user's log -> tuple of str; empty if nothing noteworthy
    happened.

    `refused`: a REJECT refused the message; otherwise this copy was discarded, because other
    recipients accepted the message.
    """
    done = ["copied to " + str(address) for address in verdict.copies]
    if verdict.kind != ACCEPT:
        what = {REJECT: "refused" if refused else "discarded (others accepted the message)",
                DISCARD: "discarded", FORWARD: "forwarded to " + str(verdict.forward)}
        done.append("%s by %s%s" % (what[verdict.kind], verdict.by,
                                    ": " + verdict.reason if verdict.reason else ""))
    sender = message.sender or matching.NULL_SENDER
    return verdict.log_lines + tuple(["from %s: %s" % (sender, line) for line in done])


def place(rule):
    """Where a filter is written, for people."""
    return ("the server's filter, " if rule.from_server else "") + (rule.place or "filters")


def shown(text):
    """A text in quotes, short enough for a line."""
    text = printable(str(text))
    return '"%s"' % (text if len(text) <= _SHOWN else text[:_SHOWN - 1] + "…")


def _effect(verdict, decides):
    """The Verdict of one filter in words."""
    words = ["flag " + flag for flag in verdict.flags]
    words += ["copy to " + str(address) for address in verdict.copies]
    if verdict.vacation is not None:
        words.append("vacation answer")
    if decides:
        words.append({ACCEPT: "accept into " + verdict.mailbox,
                      REJECT: ("reject: " + verdict.reason).rstrip(": "), DISCARD: "discard",
                      FORWARD: "forward to " + str(verdict.forward)}[verdict.kind])
    return ", ".join(words)
