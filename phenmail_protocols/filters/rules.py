"""What a user's filters, and the server's, decide about one message.

`Rules` holds prepared filters.  `evaluate` asks them in order about a FilteredMessage and returns a
Verdict for others to carry out: nothing is filed, sent or written here.  The caller says how Python
filters run.  Pure, except that a filter on the body reads a bounded part of the message's file.

The first decision ends the asking.  Until then flags, copies and a vacation answer are collected:

    reject   nothing else is done with the message
    discard  its copies are sent all the same: `copy:` before it makes it a forward
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

log = logging.getLogger("phenmail.delivery")

_MOST_COPIES = 10
_MOST_FLAGS = 20
_LONGEST_REASON = 500
_RULES_BETWEEN_LOOKS = 16  # at the time
_SHOWN = 60  # characters of a filter's words in a line for people


class FilteredMessage(NamedTuple):
    """A message for one recipient, as filters see it.

    `header`: its header block in wire form.  `sender`: None for <>.  `recipient`: the envelope's
    address; `tag`: that of user+tag or None.  `size`: bytes.  `path`: its file or a descriptor, ""
    if there is none.  `auth`: the judgement, as "spf=pass dkim=none dmarc=fail", or "".
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
    it ends the asking.
    """
    rule: Filter
    matched: Optional[bool]
    effect: str = ""
    decides: bool = False
    log_lines: Tuple[str, ...] = ()


class Rules:
    """Prepared filters.  Any thread may ask.

    `flaws`: (Filter, what is wrong) of those that will not work as written.
    """

    __slots__ = ("filters", "flaws", "_rules")

    def __init__(self, filters):
        """`filters`: settings.Filter values in the order in which they are asked."""
        self.filters = tuple(filters)
        flaws, rules = [], []
        for rule in self.filters:
            made = _MAKERS[rule.type](rule)
            rules.append(made)
            if made.flaw:
                flaws.append((rule, made.flaw))
        self.flaws = tuple(flaws)
        self._rules = tuple(rules)

    def __bool__(self):
        return bool(self._rules)

    def evaluate(self, message, run_code, search_apart=None):
        """What to do with a FilteredMessage -> Verdict.  Raises nothing.

        `run_code(filter, message)`: runs a Python filter -> python_answer.Result, or None: the next
        filter is asked.  Without it (None) Python filters are skipped.  `search_apart`: see
        matching.View.
        """
        if not self._rules:
            return Verdict()
        view, gathered = matching.View(message, search_apart), _Gathered()
        try:
            for number, rule in enumerate(self._rules):
                if rule.ask(view, run_code, gathered):
                    gathered.by = place(rule.filter)
                    break
                if number % _RULES_BETWEEN_LOOKS == _RULES_BETWEEN_LOOKS - 1:
                    view.look()
        except matching.OutOfTime:
            gathered.tell(
                "%s: the filters took too long, so this one and those after it were not asked"
                % place(rule.filter))
        except Exception:
            log.exception("%s: the filters failed, so the message goes to INBOX",
                          place(rule.filter))
            gathered.tell("%s: this filter failed, so it and those after it were not asked"
                          % place(rule.filter))
        return gathered.verdict()

    def steps(self, message, run_code, search_apart=None):
        """What each filter alone does with a FilteredMessage, those after the decision too.

        -> iterator of Step.  Arguments as for `evaluate`.  Raises nothing.
        """
        view = matching.View(message, search_apart)
        for rule in self._rules:
            gathered = _Gathered()
            try:
                matched = rule.looks_at(view)
                decides = rule.ask(view, run_code, gathered) if matched is not False else False
            except matching.NotSearched as error:
                yield Step(rule.filter, None, log_lines=("not searched: %s" % error,))
                continue
            except matching.OutOfTime:
                yield Step(rule.filter, None, log_lines=("it took too long",))
                view = matching.View(message, search_apart)
                continue
            except Exception as error:
                yield Step(rule.filter, None, log_lines=("it failed: %r" % error,))
                continue
            verdict = gathered.verdict()
            yield Step(rule.filter, matched, _effect(verdict, decides), decides, verdict.log_lines)


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
        refused = self.kind == REJECT
        return Verdict(self.kind, self.mailbox, self.reason, self.flags, () if refused
                       else self.copies, self.forward, None if refused or self.kind == DISCARD
                       else self.vacation, self.by, self.log_lines)

    def tell(self, *lines):
        self.log_lines += lines

    def do(self, word, argument, where):
        """Carry out an action that a script asked for -> whether it decides."""
        act, flaw = made_ready(word, argument)
        if flaw:
            self.tell("%s: %s" % (where, flaw))
        return act(self)


class _Match:
    """A comparison and an action, both prepared."""

    __slots__ = ("filter", "flaw", "_fits", "_act", "_flaw")

    def __init__(self, rule):
        self.filter = rule
        word, argument = split_action(rule.action)
        self._act, self._flaw = made_ready(word, argument if word != REJECT else argument
                                           or rule.name or "")
        self.flaw = self._flaw
        self._fits = matching.condition(rule)

    def looks_at(self, view):
        return self._fits(view)

    def ask(self, view, run_code, gathered):
        """Whether it decides."""
        try:
            if not self._fits(view):
                return False
        except matching.NotSearched as error:
            gathered.tell("%s: not searched (%s), so the next filter was asked"
                          % (place(self.filter), error))
            return False
        if self._flaw:
            gathered.tell("%s: %s" % (place(self.filter), self._flaw))
        return self._act(gathered)


class _Code:
    """A script; the caller of `evaluate` runs it."""

    __slots__ = ("filter",)
    flaw = ""

    def __init__(self, rule):
        self.filter = rule

    def looks_at(self, view):
        return None

    def ask(self, view, run_code, gathered):
        if run_code is None:
            gathered.tell("%s: code is not run here, so the next filter was asked"
                          % place(self.filter))
            return False
        try:
            found = run_code(self.filter, view.message)
        except Exception:
            log.exception("%s: the code filter was not run", place(self.filter))
            gathered.tell("%s: the code could not be run, so the next filter was asked"
                          % place(self.filter))
            return False
        if found is None:
            return False
        where = place(self.filter)
        gathered.tell(*["%s: %s" % (where, line) for line in found.log_lines])
        for flag in filter(None, map(flag_named, found.flags)):
            gathered.do("flag", flag, where)
        for address in found.copies:
            gathered.do("copy", address, where)
        return found.decision is not None and gathered.do(found.decision[0], found.decision[1],
                                                          where)


class _Vacation:
    """Words for the sender; it decides nothing."""

    __slots__ = ("filter",)
    flaw = ""

    def __init__(self, rule):
        self.filter = rule

    def looks_at(self, view):
        return True

    def ask(self, view, run_code, gathered):
        if gathered.vacation is None:
            gathered.vacation = self.filter.vacation
        return False


_MAKERS = {"match": _Match, "py": _Code, "vacation": _Vacation}


# Actions.  Each turns its argument into a function that applies it to a _Gathered and says whether
# it decides.  A useless argument raises AddressError or store.errors.InvalidName.


def _accept(mailbox):
    name = mailbox_named(mailbox)

    def act(gathered):
        gathered.mailbox = name
        return True
    return act


def mailbox_named(text):
    """A mailbox name that a user wrote -> the store's form; "" is INBOX.

    Raises store.errors.InvalidName, also for names with the parts . and .., which nobody means as
    names although the store could keep them.
    """
    if not text:
        return INBOX
    name = folders.canonical(text)
    if any(part in (".", "..") for part in name.split("/")):
        raise errors.InvalidName("it would lie outside of the mail folder")
    folders.folder_of(name)
    return name


def _reject(reason):
    reason = printable(reason)[:_LONGEST_REASON].strip()

    def act(gathered):
        gathered.kind, gathered.reason = REJECT, reason
        return True
    return act


def _discard(_argument):
    def act(gathered):
        gathered.kind = DISCARD
        return True
    return act


def _forward(text):
    address = Address.parse(text)

    def act(gathered):
        gathered.kind, gathered.forward = FORWARD, address
        return True
    return act


def _copy(text):
    address = Address.parse(text)

    def act(gathered):
        if address not in gathered.copies and len(gathered.copies) < _MOST_COPIES:
            gathered.copies += (address,)
        return False
    return act


def _flag(name):
    def act(gathered):
        if name not in gathered.flags and len(gathered.flags) < _MOST_FLAGS:
            gathered.flags += (name,)
        return False
    return act


_ACTIONS = {ACCEPT: _accept, REJECT: _reject, DISCARD: _discard, FORWARD: _forward, "copy": _copy,
            "flag": _flag}


def made_ready(word, argument):
    """An action -> (the function that applies it to a _Gathered, what is wrong with it or "")."""
    try:
        return _ACTIONS[word](argument), ""
    except errors.InvalidName as error:
        flaw = "%s can't be a mailbox (%s), so the message goes to INBOX" % (shown(argument), error)
    except AddressError as error:
        flaw = "%s is no mail address (%s), so %s" % (shown(argument), error,
                                                      "the message goes to INBOX" if word == FORWARD
                                                      else "no copy is sent")
    return (lambda gathered: word != "copy"), flaw


# Words


def lines(verdict, message, refused=True):
    """The lines of a Verdict for the user's log -> tuple of str; none for an uneventful delivery.

    `refused`: whether a REJECT refused the sender; otherwise the copy was discarded, because other
    recipients took the message.
    """
    written = ["copied to " + str(address) for address in verdict.copies]
    if verdict.kind != ACCEPT:
        done = {REJECT: "refused" if refused else "discarded (others took the message)",
                DISCARD: "discarded", FORWARD: "forwarded to " + str(verdict.forward)}[verdict.kind]
        written.append("%s by %s%s" % (done, verdict.by, ": " + verdict.reason if verdict.reason
                                       else ""))
    return verdict.log_lines + tuple(["from %s: %s" % (str(message.sender) if message.sender
                                                       else matching.NULL_SENDER, line)
                                      for line in written])


def place(rule):
    """Where a filter is written, for people."""
    return ("the server's filter, " if rule.from_server else "") + (rule.place or "filters")


def shown(text):
    """A text in quotes, short enough for a line."""
    text = printable(str(text))
    return '"%s"' % (text if len(text) <= _SHOWN else text[:_SHOWN - 1] + "…")


def _effect(verdict, decides):
    """A Verdict of one filter in words."""
    words = ["flag " + flag for flag in verdict.flags] + ["copy to " + str(address)
                                                          for address in verdict.copies]
    if verdict.vacation is not None:
        words.append("vacation answer")
    if decides:
        words.append({ACCEPT: "accept into " + verdict.mailbox,
                      REJECT: ("reject: " + verdict.reason).rstrip(": "), DISCARD: "discard",
                      FORWARD: "forward to " + str(verdict.forward)}[verdict.kind])
    return ", ".join(words)
