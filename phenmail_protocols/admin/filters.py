"""The command `filters test`: what each filter of a user would do with a message, without doing it.

The rules are those of a delivery, asked one by one. Nothing is filed, sent, answered or written,
not even to the user's log.
"""
import contextlib
import os
import time
from typing import NamedTuple, Optional, Tuple

from ..accounts.authorization import Authorizations
from ..config import loader
from ..config.lookup import Lookup
from ..delivery.noted_sender import sender as sender_in
from ..delivery.sending import octets
from ..filters import matching, rules, vacation
from ..filters.python import Scripts
from ..filters.user_filters import check_owner
from ..mail.address import Address, AddressError
from ..mail.writing import printable
from .terminal import DONE


class UnknownUser(ValueError):
    """No user of that name has a mailbox; str() says so."""


class Line(NamedTuple):
    """What one filter would do.

    `number`: from 1; `place`: where it is written; `condition`: what it asks, in words; `matched`:
    None if that is unknown; `effect`: its action in words, "" for nothing; `reached`: False if an
    earlier filter has decided; `remarks`: for people.
    """
    number: int
    place: str
    condition: str
    matched: Optional[bool]
    effect: str
    reached: bool
    remarks: Tuple[str, ...] = ()


class Result(NamedTuple):
    """`lines`: one for each filter in order; `verdict`: what would be done with the message;
    `message`: as the filters saw it."""
    lines: Tuple[Line, ...]
    verdict: rules.Verdict
    message: rules.FilteredMessage


def run_test(root, options, user, file):
    result = try_filters(root, loader.load_server(root), user, file)
    print("\n".join(text_lines(result)))
    return DONE


def try_filters(root, settings, user, path, run_code=None, sender=None, auth="", now=None):
    """Try a message on a user's filters -> Result.

    `root`: config.root_folder.Root; `settings`: settings.Settings; `user`: an address or a login
    name; `path`: the file of the message, with any line ends; `run_code`: as in Rules.evaluate,
    None runs approved code as a delivery does; `sender`: an address, "" for the null sender, None
    takes it from Return-Path or From; `auth`: as in FilteredMessage; `now`: epoch seconds. Raises
    UnknownUser, ConfigError, AddressError, OSError.
    """
    address, folder, tag = _mailbox(settings, user)
    own = loader.load_user(os.path.join(folder, "mail.jcfg"), root)
    check_owner(root, own.filters, folder)
    user_rules = rules.Rules(loader.load_filters(own.filters, root)
                             + (settings.global_filters if own.use_global_filters else ()))
    message = read_message(path, address, tag, sender, auth)
    scripts = Scripts(root, Authorizations(root.mail_system), lambda: settings)

    def run(rule, message):
        return scripts.run(rule, folder, message)

    def search_apart(pattern, text):
        return scripts.search(pattern, text, folder)

    with contextlib.ExitStack() as stack:
        stack.callback(scripts.stop)
        asking = message, run_code or run, search_apart
        return Result(
            tuple(_lines(user_rules.steps(*asking), message, time.time() if now is None else now)),
            user_rules.evaluate(*asking), message)


def try_message(root, settings, user, message, sender=None, now=None):
    """As `try_filters`, for a message in memory: bytes, str or email.message.Message, with any line
    ends. Also raises TypeError."""
    import tempfile
    with tempfile.NamedTemporaryFile(prefix="phenmail-") as file:
        file.write(octets(message))
        file.flush()
        return try_filters(root, settings, user, file.name, sender=sender, now=now)


def _mailbox(settings, user):
    names = Lookup(settings.sender_domain, settings.domains)
    try:
        address = Address.parse(user if "@" in user else "%s@%s" % (user, settings.sender_domain))
    except AddressError as error:
        raise UnknownUser("%s: %s" % (user, error)) from None
    found = names.find(address)
    end = names.end(found) if found is not None else None
    if end is None or end.action.kind != "mailbox":
        raise UnknownUser("no such user: %s" % user)
    return address, os.path.realpath(end.action.value), end.tag


def read_message(path, recipient, tag=None, sender=None, auth=""):
    """A file -> rules.FilteredMessage, as the filters of a delivery see it.

    Arguments as in `try_filters`. Raises OSError, AddressError.
    """
    header, size = matching.read_header(path), os.stat(path).st_size
    if sender is None:
        author = sender_in(header)
    else:
        author = Address.parse(sender) if sender else None
    return rules.FilteredMessage(header, author, recipient, tag, size, path, auth)


def _lines(steps, message, now):
    reached = True
    for number, step in enumerate(steps, 1):
        remarks = step.log_lines
        if step.rule.type == "vacation":
            why = vacation.obstacle(step.rule.vacation, message, now)
            days = step.rule.vacation.period / 86400
            remarks += ("no answer: %s" % why if why else "answers once in %g days" % days,)
        yield Line(number, rules.place(step.rule), condition_of(step.rule), step.matched,
                   step.effect, reached, remarks)
        reached = reached and not step.decides


def condition_of(rule):
    """What a settings.Filter asks, in words."""
    if rule.type == "py":
        return "code" if rule.code_file is None else "code in " + os.path.basename(rule.code_file)
    if rule.type == "vacation":
        return "vacation"
    mode = {"is": "is ", "regex": "matches "}.get(rule.mode, rule.mode + " ")
    return "%s %s%s" % (" or ".join(rule.headers), "" if "*size" in rule.headers else mode,
                        rules.shown(rule.content))


def text_lines(result):
    """A Result for people -> list of str."""
    message, verdict = result.message, result.verdict
    lines = ["from %s to %s, %d octets" % (message.sender or "<>", message.recipient, message.size)]
    for line in result.lines:
        lines.append("%d. %s: %s: %s" % (line.number, line.place, line.condition, _answer(line)))
        lines.extend(["   " + remark for remark in line.remarks])
    last = {rules.ACCEPT: "it goes to the mailbox " + verdict.mailbox,
            rules.REJECT: "it is rejected", rules.DISCARD: "it is discarded",
            rules.FORWARD: "it is forwarded to " + str(verdict.forward)}[verdict.kind]
    if verdict.reason:
        last += ": " + verdict.reason
    if verdict.flags:
        last += ", flagged " + " ".join(verdict.flags)
    if verdict.copies:
        last += ", with copies to " + ", ".join(map(str, verdict.copies))
    return [printable(line) for line in lines + ["Result: %s." % last]]


def _answer(line):
    if line.matched is False:
        return "no match"
    effect = line.effect or ("no decision" if line.matched is None else "no action")
    if line.matched:
        effect = "match: " + effect
    return effect if line.reached else "not reached; otherwise " + effect
