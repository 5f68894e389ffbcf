"""What a user's filters, and the server's, decide about one message.

`Rules` are filters made ready once; `evaluate` asks them in order about a Letter and gives a Verdict, which somebody
else carries out: nothing is filed, sent or written here.  Code filters are run by whom the caller names.  Pure but for
reading a bounded part of the message's file where a filter looks at the body.

The first decision ends it; what goes on (flags, copies, a vacation's answer) is gathered until then:

    reject   nothing else is done with the message
    discard  its copies are sent all the same: `copy:` before it makes it a forward
    accept, forward   all that was gathered is done

What can't be done as it is written (a mailbox that no folder can have, an address that is none) never holds up mail: it
goes to INBOX, with a line for the user's log.
"""
import logging
from typing import NamedTuple, Optional, Tuple

from ..config.filtering import flag_named, split_action
from ..config.settings import Filter, Vacation
from ..mail.address import Address, AddressError
from ..mail.writing import printable
from ..store import errors, folders
from ..store.model import INBOX
from . import matching
from .patterns import PatternRefused

log = logging.getLogger("phenmail.delivery")

ACCEPT, REJECT, DISCARD, FORWARD, GOES_ON = "accept", "reject", "discard", "forward", ""

_MOST_COPIES = 10
_MOST_FLAGS = 20
_LONGEST_REASON = 500
_RULES_BETWEEN_LOOKS = 16  # at the time
_SHOWN = 60  # characters of a filter's words in a line for people


class Letter(NamedTuple):
    """A message for one recipient, as filters see it.

    `header`: its header block in wire form.  `sender`: None is <>.  `recipient`: the address of the envelope, `tag` that of
    user+tag or None.  `size`: octets.  `path`: its file, "" where there is none to look into.  `auth`: how it was judged, as
    "spf=pass dkim=none dmarc=fail", or "".
    """
    header: bytes
    sender: Optional[Address]
    recipient: Address
    tag: Optional[str] = None
    size: int = 0
    path: str = ""
    auth: str = ""


class Decision(NamedTuple):
    """What one code filter decided: `kind` ACCEPT (`argument`: the mailbox, "" is INBOX), REJECT (the reason), DISCARD,
    FORWARD (the address), or GOES_ON.  `flags`: names that it gave before.  `told`: lines for the user's log."""
    kind: str
    argument: str = ""
    flags: Tuple[str, ...] = ()
    told: Tuple[str, ...] = ()


class Verdict(NamedTuple):
    """What is to be done with a message; `kind` is ACCEPT, REJECT, DISCARD or FORWARD.

    `mailbox`: where it goes, a name that the store takes (it may have to be made).  `reason`: of a REJECT, one line, or "".
    `flags`: as the store wants them.  `copies`: who gets one.  `forward`: who gets it instead of a mailbox.  `vacation`: the
    answer that its sender may get, if `vacation.Answers` says so.  `told`: lines for the user's log.
    """
    kind: str = ACCEPT
    mailbox: str = INBOX
    reason: str = ""
    flags: Tuple[str, ...] = ()
    copies: Tuple[Address, ...] = ()
    forward: Optional[Address] = None
    vacation: Optional[Vacation] = None
    told: Tuple[str, ...] = ()


INBOX_IT_IS = Verdict()


class Step(NamedTuple):
    """What one filter does with a message: `matched` None where it could not be asked; `effect`: its action in words, "" where it
    does nothing; `decides`: it ends the asking."""
    rule: Filter
    matched: Optional[bool]
    effect: str = ""
    decides: bool = False
    told: Tuple[str, ...] = ()


class Rules:
    """Filters made ready.  Any thread may ask.  `flaws`: (Filter, what is wrong with it) of those that will not work as written."""

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

    def evaluate(self, letter, run_code):
        """What is to be done with a Letter -> Verdict.  Raises nothing.

        `run_code(filter, letter)` runs a code filter -> a Decision, or a tuple like one, or None: it goes on.  Without
        it (None) code filters are passed over.
        """
        if not self._rules:
            return INBOX_IT_IS
        view, gathered = matching.View(letter), _Gathered()
        try:
            for number, rule in enumerate(self._rules):
                if rule.ask(view, run_code, gathered):
                    break
                if number % _RULES_BETWEEN_LOOKS == _RULES_BETWEEN_LOOKS - 1:
                    view.look()
        except matching.OutOfTime:
            gathered.tell("%s: the filters took too long, so this one and those after it were not asked" % place(rule.filter))
        except Exception:
            log.exception("%s: the filters failed, so the message goes to INBOX", place(rule.filter))
            gathered.tell("%s: this filter failed, so it and those after it were not asked" % place(rule.filter))
        return gathered.verdict()

    def steps(self, letter, run_code):
        """What each filter for itself does with a Letter, those behind the decision too -> iterator of Step.  Raises nothing."""
        view = matching.View(letter)
        for rule in self._rules:
            gathered = _Gathered()
            try:
                matched = rule.looks_at(view)
                decides = rule.ask(view, run_code, gathered) if matched is not False else False
            except matching.OutOfTime:
                yield Step(rule.filter, None, told=("it took too long",))
                view = matching.View(letter)
                continue
            except Exception as error:
                yield Step(rule.filter, None, told=("it failed: %r" % error,))
                continue
            verdict = gathered.verdict()
            yield Step(rule.filter, matched, _effect(verdict, decides), decides, verdict.told)


class _Gathered:
    """What came together until the decision."""

    __slots__ = ("kind", "mailbox", "reason", "flags", "copies", "forward", "vacation", "told")

    def __init__(self):
        self.kind, self.mailbox, self.reason, self.forward = ACCEPT, INBOX, "", None
        self.flags = self.copies = self.told = ()
        self.vacation = None

    def verdict(self):
        refused = self.kind == REJECT
        return Verdict(self.kind, self.mailbox, self.reason, self.flags, () if refused else self.copies, self.forward,
                       None if refused or self.kind == DISCARD else self.vacation, self.told)

    def tell(self, *lines):
        self.told += lines

    def add_flag(self, flag):
        if flag not in self.flags and len(self.flags) < _MOST_FLAGS:
            self.flags += (flag,)

    def add_copy(self, address):
        if address not in self.copies and len(self.copies) < _MOST_COPIES:
            self.copies += (address,)


class _Match:
    """A comparison and an action, both made ready."""

    __slots__ = ("filter", "flaw", "_fits", "_act")

    def __init__(self, rule):
        self.filter = rule
        self.flaw = ""
        word, argument = split_action(rule.action) or (ACCEPT, "")
        self._act = _ACTIONS[word](argument if word != REJECT else argument or rule.name or "", self)
        try:
            self._fits = matching.condition(rule)
        except PatternRefused as refused:
            self._fits = lambda view: False
            self.flaw = "its pattern is not used: %s" % refused

    def looks_at(self, view):
        return self._fits(view)

    def ask(self, view, run_code, gathered):
        """Whether it decides."""
        return self._fits(view) and self._act(gathered)


class _Code:
    """A script that somebody else runs."""

    __slots__ = ("filter", "flaw")

    def __init__(self, rule):
        self.filter = rule
        self.flaw = ""

    def looks_at(self, view):
        return None

    def ask(self, view, run_code, gathered):
        if run_code is None:
            gathered.tell("%s: code is not run here, so the next filter was asked" % place(self.filter))
            return False
        try:
            found = run_code(self.filter, view.letter)
        except Exception:
            log.exception("%s: the code filter was not run", place(self.filter))
            gathered.tell("%s: the code could not be run, so the next filter was asked" % place(self.filter))
            return False
        if found is None:
            return False
        found = Decision(*found)
        gathered.tell(*found.told)
        for name in found.flags:
            flag = flag_named(name)
            if flag is None:
                gathered.tell("%s: there can be no flag %s" % (place(self.filter), shown(name)))
            else:
                gathered.add_flag(flag)
        if found.kind == GOES_ON:
            return False
        return _ACTIONS[found.kind](found.argument, self)(gathered)


class _Vacation:
    """Words for the sender; it decides nothing."""

    __slots__ = ("filter", "flaw")

    def __init__(self, rule):
        self.filter = rule
        self.flaw = ""

    def looks_at(self, view):
        return True

    def ask(self, view, run_code, gathered):
        if gathered.vacation is None:
            gathered.vacation = self.filter.vacation
        return False


_MAKERS = {"match": _Match, "py": _Code, "vacation": _Vacation}


# Actions: each is made of its argument, and then does it to what is gathered; it says whether that is a decision.


def _accept(mailbox, rule):
    try:
        name = mailbox_named(mailbox)
    except errors.InvalidName as error:
        rule.flaw = line = "%s can't be a mailbox (%s), so its mail goes to INBOX" % (shown(mailbox), error)
        line = "%s: %s" % (place(rule.filter), line)

        def act(gathered):
            gathered.tell(line)
            return True
    else:
        def act(gathered):
            gathered.mailbox = name
            return True
    return act


def mailbox_named(text):
    """The store's form of a mailbox's name that a user wrote; "" is INBOX.  Raises store.errors.InvalidName.

    Names like those of a path's way out are refused, though the store could keep them: nobody means them as names.
    """
    if not text:
        return INBOX
    name = folders.canonical(text)
    if any(part in (".", "..") for part in name.split("/")):
        raise errors.InvalidName("it would lie outside of the mail folder")
    folders.folder_of(name)
    return name


def _reject(reason, rule):
    reason = printable(reason)[:_LONGEST_REASON].strip()

    def act(gathered):
        gathered.kind, gathered.reason = REJECT, reason
        return True
    return act


def _discard(_argument, rule):
    def act(gathered):
        gathered.kind = DISCARD
        return True
    return act


def _forward(text, rule):
    address = _address(text, rule)

    def act(gathered):
        if address is None:
            gathered.tell("%s: %s is no mail address, so the message goes to INBOX" % (place(rule.filter), shown(text)))
        else:
            gathered.kind, gathered.forward = FORWARD, address
        return True
    return act


def _copy(text, rule):
    address = _address(text, rule)

    def act(gathered):
        if address is None:
            gathered.tell("%s: %s is no mail address, so no copy was sent" % (place(rule.filter), shown(text)))
        else:
            gathered.add_copy(address)
        return False
    return act


def _flag(name, rule):
    def act(gathered):
        gathered.add_flag(name)
        return False
    return act


_ACTIONS = {ACCEPT: _accept, REJECT: _reject, DISCARD: _discard, FORWARD: _forward, "copy": _copy, "flag": _flag}


def _address(text, rule):
    try:
        return Address.parse(text)
    except AddressError as error:
        rule.flaw = "%s is no mail address: %s" % (shown(text), error)
        return None


# Words


def place(rule):
    """Where a filter stands, for people."""
    return ("the server's filter, " if rule.from_server else "") + (rule.place or "filters")


def shown(text):
    """A text in quotes that fits into a line."""
    text = printable(str(text))
    return '"%s"' % (text if len(text) <= _SHOWN else text[:_SHOWN - 1] + "…")


def _effect(verdict, decides):
    """A Verdict of one filter in words."""
    words = ["flag " + flag for flag in verdict.flags] + ["copy to %s" % address for address in verdict.copies]
    if verdict.vacation is not None:
        words.append("vacation answer")
    if decides:
        words.append({ACCEPT: "accept into " + verdict.mailbox, REJECT: ("reject: " + verdict.reason).rstrip(": "),
                      DISCARD: "discard", FORWARD: "forward to %s" % verdict.forward}[verdict.kind])
    return ", ".join(words)
