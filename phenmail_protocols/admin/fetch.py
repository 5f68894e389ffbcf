"""The commands `fetch list`, `fetch now`, `fetch test`; `fetch login` is in fetch_login.py.

They read the users' files themselves. What the server knows of an account, they take from its
status file, which is some seconds old.
"""
import json
import os
import time

from ..accounts.passphrases import unobscure
from ..config import loader
from ..disk.locks import FileLock, LockTimeout
from ..fetch import identity, orders, status
from ..fetch.opening import open_source
from ..fetch.service import CONFIG, FILE
from ..fetch.source import FetchError
from .fetch_accounts import all_accounts, named, tell
from .fetch_login import login  # noqa: F401 - a command
from .terminal import DONE, FAILED, show

_SERVER_LOCK = "server.lock"  # as app.py names it


def list_all(root, options):
    """All accounts, with what the server last knew of each."""
    known, problems = all_accounts(root)
    found, more = status.read(root.mail_system), {}
    if not _is_running(root):
        more = {"state": status.STOPPED, "next_try": 0}
    values = [dict(status.Status(*each).values(), **dict(
        found.get((each.owner, each.account.name), {}), **more)) for each in known]
    if options.json:
        print(json.dumps(values, indent=1))
    else:
        now = time.time()
        show([line for each in values for line in _lines(each, now)]
             or ["No mail is fetched: no user has accounts in %s." % os.path.join(CONFIG, FILE)])
    return tell(problems)


def now(root, options, name):
    one = named(root, name)
    if not _is_running(root):
        return _answer(options, one, "no server is running; it fetches from all accounts when it "
                                     "starts", False)
    orders.give(root.mail_system, identity.order_key(*one))
    return _answer(options, one, "will be fetched now; see fetch list", True)


def test(root, options, name):
    """Connect and log in, as the server does; only names of mailboxes are read."""
    one = named(root, name)
    limit = loader.load_server(root).limits.message_size
    try:
        with open_source(one.account, unobscure(one.account.passphrase or ""), limit) as source:
            boxes = [box or "Inbox" for box in source.list_boxes()]
            wanted = [box for box, _ in one.account.boxes]
            missing = [] if one.account.protocol.startswith("pop") else [
                box for box in wanted if box.lower() not in [each.lower() for each in boxes]]
            idles = source.can_wait and one.account.idle
    except FetchError as error:
        return _answer(options, one, status.shown(str(error)), False)
    text = "the login works; %s tells when mail arrives (IDLE)" % one.account.server if idles else (
        "the login works; new mail is looked for every %d s" % one.account.period)
    if missing:
        text += "; missing there: %s" % ", ".join(missing)
    if not options.json:
        show([status.shown("  " + box) for box in boxes])
    return _answer(options, one, text, not missing, mailboxes=boxes, idle=idles, missing=missing)


def _answer(options, one, text, is_done, **more):
    if options.json:
        print(json.dumps(dict(account=one.name, done=is_done, text=text, **more), indent=1))
    else:
        show(["%s: %s" % (one.name, text)])
    return DONE if is_done else FAILED


def _is_running(root):
    try:
        with FileLock(os.path.join(root.mail_system, _SERVER_LOCK), 0, create=False):
            return False
    except LockTimeout:
        return True
    except FileNotFoundError:
        return False


def _lines(values, now):
    head = "%s/%s (%s %s): %s" % (values["user"], values["name"], values["protocol"],
                                  values["server"], values["state"])
    if values["last_success"]:
        head += ", fetched last %s" % _moment(values["last_success"])
    if values["next_try"] > now and values["state"] == status.WAITING:
        head += ", next try %s" % _moment(values["next_try"])
    yield head
    if values["fetched"]:
        yield "  %d messages (%d octets) since the server started" % (
            values["fetched"], values["octets"])
    if values["error"]:
        yield "  failed %s: %s" % (_moment(values["last_try"]), values["error"])
    for line in values["problems"] + values["left"]:
        yield "  " + line


def _moment(seconds):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
