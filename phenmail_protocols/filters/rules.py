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
from typing import NamedTuple, Optional, Tuple, Union

from ..config.filtering import flag_named, split_action
from ..config.settings import Filter, Vacation
from ..mail.address import Address, AddressError
from ..mail.writing import printable
from ..store import errors, folders
from ..store.model import INBOX
from . import matching

log = logging.getLogger("phenmail.delivery")

ACCEPT, REJECT, DISCARD, FORWARD = "accept", "reject", "discard", "forward"

_MOST_COPIES = 10
_MOST_FLAGS = 20
_LONGEST_REASON = 500
_RULES_BETWEEN_LOOKS = 16  # at the time
_SHOWN = 60  # characters of a filter's words in a line for people


class Letter(NamedTuple):
    """A message for one recipient, as filters see it.

    `header`: its header block in wire form.  `sender`: None is <>.  `recipient`: the address of the envelope, `tag` that of
    user+tag or None.  `size`: octets.  `path`: its file, or a descriptor of it, "" where there is none to look into.  `auth`: how it was judged, as
    "spf=pass dkim=none dmarc=fail", or "".
    """
    header: bytes
    sender: Optional[Address]
    recipient: Address
    tag: Optional[str] = None
    size: int = 0
    path: Union[str, int] = ""
    auth: str = ""


class Verdict(NamedTuple):
    """What is to be done with a message; `kind` is ACCEPT, REJECT, DISCARD or FORWARD.

    `mailbox`: where it goes, a name that the store takes (it may have to be made).  `reason`: of a REJECT, one line, or "".
    `flags`: as the store wants them.  `copies`: who gets one.  `forward`: who gets it instead of a mailbox.  `vacation`: the
    answer that its sender may get, if `vacation.Answers` says so.  `by`: the place of the filter that decided, "" where none
    did.  `told`: lines for the user's log about what went wrong; `lines` has them all.
    """
    kind: str = ACCEPT
    mailbox: str = INBOX
    reason: str = ""
    flags: Tuple[str, ...] = ()
    copies: Tuple[Address, ...] = ()
    forward: Optional[Address] = None
    vacation: Optional[Vacation] = None
    by: str = ""
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

    def evaluate(self, letter, run_code, search_apart=None):
        """What is to be done with a Letter -> Verdict.  Raises nothing.

        `run_code(filter, letter)`: runs a Python filter -> python_answer.Result, or None: the next
        filter is asked.  Without it (None) Python filters are skipped.  `search_apart`: see
        matching.View.
        """
        if not self._rules:
            return INBOX_IT_IS
        view, gathered = matching.View(letter, search_apart), _Gathered()
        try:
            for number, rule in enumerate(self._rules):
                if rule.ask(view, run_code, gathered):
                    gathered.by = place(rule.filter)
                    break
                if number % _RULES_BETWEEN_LOOKS == _RULES_BETWEEN_LOOKS - 1:
                    view.look()
        except matching.OutOfTime:
            gathered.tell("%s: the filters took too long, so this one and those after it were not asked" % place(rule.filter))
        except Exception:
            log.exception("%s: the filters failed, so the message goes to INBOX", place(rule.filter))
            gathered.tell("%s: this filter failed, so it and those after it were not asked" % place(rule.filter))
        return gathered.verdict()

    def steps(self, letter, run_code, search_apart=None):
        """What each filter for itself does with a Letter, those behind the decision too -> iterator of Step.  Raises nothing."""
        view = matching.View(letter, search_apart)
        for rule in self._rules:
            gathered = _Gathered()
            try:
                matched = rule.looks_at(view)
                decides = rule.ask(view, run_code, gathered) if matched is not False else False
            except matching.NotSearched as error:
                yield Step(rule.filter, None, told=("not searched: %s" % error,))
                continue
            except matching.OutOfTime:
                yield Step(rule.filter, None, told=("it took too long",))
                view = matching.View(letter, search_apart)
                continue
            except Exception as error:
                yield Step(rule.filter, None, told=("it failed: %r" % error,))
                continue
            verdict = gathered.verdict()
            yield Step(rule.filter, matched, _effect(verdict, decides), decides, verdict.told)


class _Gathered:
    """What came together until the decision."""

    __slots__ = ("kind", "mailbox", "reason", "flags", "copies", "forward", "vacation", "by", "told")

    def __init__(self):
        self.kind, self.mailbox, self.reason, self.forward = ACCEPT, INBOX, "", None
        self.flags = self.copies = self.told = ()
        self.vacation = None
        self.by = ""

    def verdict(self):
        refused = self.kind == REJECT
        return Verdict(self.kind, self.mailbox, self.reason, self.flags, () if refused else self.copies, self.forward,
                       None if refused or self.kind == DISCARD else self.vacation, self.by, self.told)

    def tell(self, *lines):
        self.told += lines

    def do(self, word, argument, where):
        """An action that a script asked for -> whether it decides."""
        act, flaw = made_ready(word, argument)
        if flaw:
            self.tell("%s: %s" % (where, flaw))
        return act(self)


class _Match:
    """A comparison and an action, both made ready."""

    __slots__ = ("filter", "flaw", "_fits", "_act", "_lame")

    def __init__(self, rule):
        self.filter = rule
        word, argument = split_action(rule.action)
        self._act, self._lame = made_ready(word, argument if word != REJECT else argument or rule.name or "")
        self.flaw = self._lame
        self._fits = matching.condition(rule)

    def looks_at(self, view):
        return self._fits(view)

    def ask(self, view, run_code, gathered):
        """Whether it decides."""
        try:
            if not self._fits(view):
                return False
        except matching.NotSearched as error:
            gathered.tell("%s: not searched (%s), so the next filter was asked" % (place(self.filter), error))
            return False
        if self._lame:
            gathered.tell("%s: %s" % (place(self.filter), self._lame))
        return self._act(gathered)


class _Code:
    """A script that somebody else runs."""

    __slots__ = ("filter",)
    flaw = ""

    def __init__(self, rule):
        self.filter = rule

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
        where = place(self.filter)
        gathered.tell(*["%s: %s" % (where, line) for line in found.told])
        for flag in filter(None, map(flag_named, found.flags)):
            gathered.do("flag", flag, where)
        for address in found.copies:
            gathered.do("copy", address, where)
        return found.decision is not None and gathered.do(found.decision[0], found.decision[1], where)


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


# Actions: each makes of its argument what it does to what is gathered; that says whether it decides.  A value that can't be
# used raises AddressError or store.errors.InvalidName.


def _accept(mailbox):
    name = mailbox_named(mailbox)

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


_ACTIONS = {ACCEPT: _accept, REJECT: _reject, DISCARD: _discard, FORWARD: _forward, "copy": _copy, "flag": _flag}


def made_ready(word, argument):
    """An action -> (the function that does it to what is gathered, what is wrong with it or "")."""
    try:
        return _ACTIONS[word](argument), ""
    except errors.InvalidName as error:
        flaw = "%s can't be a mailbox (%s), so the message goes to INBOX" % (shown(argument), error)
    except AddressError as error:
        flaw = "%s is no mail address (%s), so %s" % (
            shown(argument), error, "the message goes to INBOX" if word == FORWARD else "no copy is sent")
    return (lambda gathered: word != "copy"), flaw


# Words


def lines(verdict, letter, refused=True):
    """What the user's log is told of a Verdict -> tuple of str; nothing where the message went into a mailbox without trouble.

    `refused`: what a REJECT came to: the sender was refused; else the copy was thrown away, as others took the message.
    """
    written = ["copied to " + str(address) for address in verdict.copies]
    if verdict.kind != ACCEPT:
        done = {REJECT: "refused" if refused else "discarded (others took the message)", DISCARD: "discarded",
                FORWARD: "forwarded to " + str(verdict.forward)}[verdict.kind]
        written.append("%s by %s%s" % (done, verdict.by, ": " + verdict.reason if verdict.reason else ""))
    return verdict.told + tuple(["from %s: %s" % (str(letter.sender) if letter.sender else matching.NULL_SENDER, line) for line in written])


def place(rule):
    """Where a filter stands, for people."""
    return ("the server's filter, " if rule.from_server else "") + (rule.place or "filters")


def shown(text):
    """A text in quotes that fits into a line."""
    text = printable(str(text))
    return '"%s"' % (text if len(text) <= _SHOWN else text[:_SHOWN - 1] + "…")


def _effect(verdict, decides):
    """A Verdict of one filter in words."""
    words = ["flag " + flag for flag in verdict.flags] + ["copy to " + str(address) for address in verdict.copies]
    if verdict.vacation is not None:
        words.append("vacation answer")
    if decides:
        words.append({ACCEPT: "accept into " + verdict.mailbox, REJECT: ("reject: " + verdict.reason).rstrip(": "),
                      DISCARD: "discard", FORWARD: "forward to " + str(verdict.forward)}[verdict.kind])
    return ", ".join(words)
