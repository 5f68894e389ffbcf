"""The word ``filters test``: what each filter of a user would do with a message, without doing it.

The same rules as at a delivery, asked one by one; nothing is filed, sent, answered or written, and the user's log is not told.
"""
import contextlib
import os
import time
from typing import NamedTuple, Optional, Tuple

from ..config import loader
from ..config.lookup import Lookup
from ..delivery.sending import octets
from ..filters import matching, rules, vacation
from ..filters.user_filters import check_owner
from ..mail import headers
from ..mail.address import (
    BROKEN_DOMAIN,
    MISSING_DOMAIN,
    Address,
    AddressError,
    Group,
    parse_address_list,
)
from ..mail.writing import printable


class UnknownUser(ValueError):
    """Nobody with a mailbox has that name; str() says so."""


class Line(NamedTuple):
    """What one filter does.

    `number` from 1; `place`: where it stands; `condition`: what it asks, in words; `matched`: None where it is not known;
    `effect`: what it does, "" for nothing; `reached`: False where a filter before it has decided; `remarks`: for people.
    """
    number: int
    place: str
    condition: str
    matched: Optional[bool]
    effect: str
    reached: bool
    remarks: Tuple[str, ...] = ()


class Result(NamedTuple):
    """`lines`: one a filter, in the order in which they are asked; `verdict`: filters.Verdict, what would be done at last; `message`:
    the message as they saw it."""
    lines: Tuple[Line, ...]
    verdict: rules.Verdict
    message: rules.FilteredMessage


def try_filters(root, settings, user, path, run_code=None, sender=None, auth="", now=None):
    """Try a message on a user's filters -> Result.

    `root`: config.root.Root; `settings`: settings.Settings; `user`: an address or a login name; `path`: the message's file, with any
    line ends.  `sender`: an address, "" for the null one, None: its Return-Path, else its From.  `auth`: as in filters.FilteredMessage.
    `run_code`: as Rules.evaluate wants it; None: code that has leave is run as at a delivery.  `now`: epoch seconds.
    Raises UnknownUser, config.problems.ConfigError, AddressError, OSError.
    """
    address, folder, tag = _mailbox(settings, user)
    own = loader.load_user(os.path.join(folder, "mail.jcfg"), root)
    check_owner(root, own.filters, folder)
    user_rules = rules.Rules(loader.load_filters(own.filters, root)
                          + (settings.global_filters if own.use_global_filters else ()))
    message = read_message(path, address, tag, sender, auth)
    moment = time.time() if now is None else now
    with contextlib.ExitStack() as stack:
        run, search_apart = _runners(root, settings, folder, stack)
        run_code = run_code or run
        return Result(tuple(_lines(user_rules, message, run_code, search_apart, moment)),
                      user_rules.evaluate(message, run_code, search_apart), message)


def _runners(root, settings, folder, stack):
    """`run_code` and `search_apart` for Rules.evaluate, until the end of an ExitStack."""
    from ..accounts.authorization import Authorizations
    from ..filters.python import Scripts
    scripts = Scripts(root, Authorizations(root.mail_system), lambda: settings)
    stack.callback(scripts.stop)
    return (lambda rule, message: scripts.run(rule, folder, message),
            lambda pattern, text: scripts.search(pattern, text, folder))


def try_message(root, settings, user, message, **more):
    """As `try_filters`, for programs: `message` is bytes, str or an email.message.Message, with any line ends.  Raises TypeError, too."""
    import tempfile
    with tempfile.NamedTemporaryFile(prefix="phenmail-") as file:
        file.write(octets(message))
        file.flush()
        return try_filters(root, settings, user, file.name, **more)


def _mailbox(settings, user):
    names = Lookup(settings.sender_domain, settings.domains)
    try:
        address = Address.parse(user if "@" in user else "%s@%s" % (user, settings.sender_domain))
    except AddressError as error:
        raise UnknownUser("%s: %s" % (user, error)) from None
    found = names.find(address)
    end = names.end(found) if found is not None else None
    if end is None or end.action.kind != "mailbox":
        raise UnknownUser("%s has no mailbox here" % user)
    return address, os.path.realpath(end.action.value), end.tag


def read_message(path, recipient, tag=None, sender=None, auth=""):
    """A message's file as filters see it at its delivery -> rules.FilteredMessage.

    See `try_filters`.  Raises OSError, AddressError.
    """
    header, size = matching.read_header(path), os.stat(path).st_size
    if sender is None:
        writer = _sender_in(header)
    else:
        writer = Address.parse(sender) if sender else None
    return rules.FilteredMessage(header, writer, recipient, tag, size, path, auth)


def _sender_in(header):
    """The envelope's sender as its delivery noted it, else the author."""
    for name in (b"return-path", b"from"):
        value = headers.first(header, name)
        if value is not None and value.strip() == b"<>":
            return None
        for found in parse_address_list(value or b"")[:1]:
            if isinstance(found, Group) or found.domain in (MISSING_DOMAIN, BROKEN_DOMAIN):
                continue
            try:
                return Address.parse("%s@%s" % (found.local.decode("utf-8"), found.domain.decode("utf-8")))
            except (UnicodeDecodeError, AddressError):
                continue
    return None


def _lines(user_rules, message, run_code, search_apart, now):
    reached = True
    for number, step in enumerate(user_rules.steps(message, run_code, search_apart), 1):
        remarks = step.log_lines
        if step.rule.type == "vacation":
            why = vacation.obstacle(step.rule.vacation, message, now)
            remarks += ("not answered: %s" % why if why else "answered once in %g days" % (step.rule.vacation.period / 86400),)
        yield Line(number, rules.place(step.rule), condition_of(step.rule), step.matched, step.effect, reached, remarks)
        reached = reached and not step.decides


def condition_of(rule):
    """What a settings.Filter asks, in words."""
    if rule.type == "py":
        return "code" if rule.code_file is None else "code in " + os.path.basename(rule.code_file)
    if rule.type == "vacation":
        return "vacation"
    names = " or ".join(rule.headers)
    mode = "" if "*size" in rule.headers else {"is": "is ", "regex": "matches "}.get(rule.mode, rule.mode + " ")
    return "%s %s%s" % (names, mode, rules.shown(rule.content))


def text_lines(result):
    """A Result for people -> list of str."""
    lines = ["from %s to %s, %d octets" % (result.message.sender or "<>", result.message.recipient, result.message.size)]
    for line in result.lines:
        lines.append("%d. %s: %s: %s" % (line.number, line.place, line.condition, _answer(line)))
        lines.extend(["   " + remark for remark in line.remarks])
    verdict = result.verdict
    last = {rules.ACCEPT: "it goes to the mailbox " + verdict.mailbox, rules.REJECT: "it is refused",
            rules.DISCARD: "it is discarded", rules.FORWARD: "it is forwarded to " + str(verdict.forward)}[verdict.kind]
    if verdict.reason:
        last += ": " + verdict.reason
    if verdict.flags:
        last += ", flagged " + " ".join(verdict.flags)
    if verdict.copies:
        last += ", with copies to " + ", ".join(map(str, verdict.copies))
    return [printable(line) for line in lines + ["So " + last + "."]]


def _answer(line):
    if line.matched is False:
        return "no"
    said = line.effect or ("no decision" if line.matched is None else "yes, and nothing is done")
    if line.matched:
        said = "yes: " + said if line.effect else said
    return said if line.reached else "not asked; it would be %s" % said
