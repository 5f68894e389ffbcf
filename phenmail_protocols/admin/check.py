"""The command `check`: every mistake in the configuration and the mail folders.

It changes nothing, and works with and without a running server.
"""
import importlib.util
import os
import stat
from typing import NamedTuple

from ..accounts import authorization
from ..authentication import judging
from ..config import loader
from ..config.problems import ConfigError
from ..dkim.signing import Signer
from ..fetch.filing import target_of
from ..fetch.service import CONFIG
from ..fetch.service import FILE as FETCHER
from ..filters import rules
from ..filters.user_filters import check_owner
from ..oauth.errors import Temporary
from ..oauth.token_requests import login_command
from ..oauth.token_store import TokenFile
from ..queue import spool
from ..store import errors
from ..store.filestore import FileStore
from . import authorize
from .terminal import DONE, FAILED

_PACKAGES = (  # module, package, what does not work without it
    ("jsoncomment", "jsoncomment", "not needed: the standard library reads the configuration, too"),
    ("dkim", "dkimpy", "outgoing mail cannot be signed"),
    ("dns", "dnspython", "mail cannot be sent to other servers directly"),
    ("idna", "idna", "domain names with \u00df, final sigma or joiners are refused"),
)


class Report(NamedTuple):
    """Lines of text. With an error, some part of the server does not work."""
    errors: list
    warnings: list
    notes: list


def run(root, options):
    report = check(root)
    for title, lines in zip(("error", "warning", "note"), report):
        for line in lines:
            print("%s: %s" % (title, line))
    print("%d errors, %d warnings" % (len(report.errors), len(report.warnings)))
    return FAILED if report.errors else DONE


def check(root):
    """Check a root folder -> Report. What it finds is reported, never raised."""
    report = Report([], [], [])
    try:
        settings = loader.load_server(root)
    except ConfigError as error:
        report.errors.extend(map(str, error.problems))
        return report
    except OSError as error:
        report.errors.append("%s: %s" % (root.configuration, error.strerror))
        return report
    report.warnings.extend(map(str, settings.warnings))
    _check_filters(report, settings.global_filters)
    _check_packages(report, settings)
    _check_relay(report, settings)
    _check_key(report, os.path.join(root.mail_system, authorization.FILE))
    folders = sorted({action.value for actions in settings.domains.values()
                      for action in actions.values() if action.kind == "mailbox"})
    store = FileStore(poll=3600)
    try:
        for folder in folders:
            _check_user(report, root, store, folder)
            _check_authorizations(report, root, settings, folder)
    finally:
        store.close()
    return report


def _check_packages(report, settings):
    for module, package, effect in _PACKAGES:
        if importlib.util.find_spec(module) is None:
            report.notes.append("%s is not installed: %s" % (package, effect))
    report.notes.extend(judging.Judge(lambda: settings, None).complaints())


def _check_relay(report, settings):
    """The signing keys, the queue, and the limits of DANE."""
    signer = Signer(settings.relay, lambda: settings.domains, settings.sender_domain)
    report.errors.extend(signer.complaints())
    report.notes.append("DANE: TLSA records of usage DANE-EE are used; those of usage DANE-TA "
                        "count as unusable, so TLS is then required but not verified")
    if settings.hosted is not None:
        _check_login(report, settings.hosted.provider, "hosted")
    queue = spool.Spool(settings.relay.queue_folder)
    try:
        waiting, broken = len(queue.identities()), queue.broken()
    except spool.SpoolError as error:
        report.errors.append("%s: %s" % (settings.relay.queue_folder, error))
        return
    report.notes.append("%d messages are queued (see queue list)" % waiting)
    report.warnings.extend("queued message %s: its state cannot be read, so it is not sent" % name
                           for name in broken)


def _check_login(report, oauth2, name):
    """`oauth2`: settings.OAuth2, or None for a login with a passphrase."""
    try:
        if oauth2 is not None and TokenFile(oauth2).read() is None:
            report.warnings.append("%s: there are no OAuth2 tokens; log in: %s" % (
                name, login_command(oauth2)))
    except Temporary as error:
        report.errors.append("%s: %s" % (name, error))


def _check_key(report, path):
    """Who can read the authorization key can approve commands and filters."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode):
        report.errors.append("%s: expected a regular file; no approval is valid now" % path)
    elif status.st_mode & 0o077:
        report.errors.append("%s: other users can read or write this key; run chmod 600" % path)


def _check_user(report, root, store, folder):
    name = os.path.relpath(folder, root.path)
    try:
        user = loader.load_user(os.path.join(folder, "mail.jcfg"), root)
        if not (user.passphrase or user.scram):
            report.warnings.append("%s: there is no passphrase, so nobody can log in; set one with "
                                   "user passwd" % name)
        check_owner(root, user.filters, folder)
        _check_filters(report, loader.load_filters(user.filters, root))
        fetcher = os.path.join(root.path, root.identity_of(folder) or "", CONFIG, FETCHER)
        _check_fetcher(report, root, loader.load_fetcher(fetcher, root),
                       os.path.relpath(fetcher, root.path))
    except ConfigError as error:
        report.errors.extend(map(str, error.problems))
    except OSError as error:
        report.errors.append("%s: %s" % (error.filename, error.strerror))
    _check_mailboxes(report, store, name, folder)


def _check_fetcher(report, root, fetcher, name):
    """What a mail-fetcher.jcfg says that cannot work, although it is well written."""
    for account in fetcher.accounts:
        _check_login(report, account.provider, "%s: %s" % (name, account.name))
        for box, action in account.boxes:
            try:
                mailbox = target_of(action, fetcher.mail_folders).mailbox
                if mailbox is not None:
                    rules.mailbox_named(mailbox)
            except errors.InvalidName as error:
                report.errors.append("%s: %s: %s: %s: no mailbox can have this name: %s" % (
                    name, account.name, box, action, error))
        if account.protocol.startswith("pop") and len(account.boxes) > 1:
            report.warnings.append("%s: %s: POP3 has one mailbox, so only the first of \"boxes\" "
                                   "counts" % (name, account.name))
    if fetcher.accounts:
        report.notes.append("%s: %d accounts%s" % (
            name, len(fetcher.accounts), "" if fetcher.device in (None, root.device)
            else ", fetched by the device " + fetcher.device))


def _check_filters(report, filters):
    """Mistakes that are found only when filters are compiled."""
    report.errors.extend("%s: %s" % (rules.place(rule), flaw)
                         for rule, flaw in rules.Rules(filters).flaws)


def _check_authorizations(report, root, settings, folder):
    try:
        found = authorize.find_in_folder(
            root, settings, authorization.Authorizations(root.mail_system),
            os.path.realpath(folder))
    except (ConfigError, OSError):
        return  # _check_user has reported it
    report.warnings.extend(
        "%s: %s; to approve it: authorize %s" % (each.place, authorize.EFFECTS[each.kind],
                                                 each.identity) for each in found.waiting)
    report.warnings.extend(found.problems)


def _check_mailboxes(report, store, name, folder):
    if not os.path.isdir(os.path.join(folder, "cur")):
        report.notes.append("%s: no message has arrived yet" % name)
        return
    account = store.account(folder)
    messages = mailboxes = 0
    try:
        for info in account.mailboxes():
            if info.selectable:
                mailboxes += 1
                messages += account.status(info.name).messages
    except errors.StoreError as error:
        report.errors.append("%s: %s" % (name, error))
    report.notes.append("%s: %d mailboxes, %d messages" % (name, mailboxes, messages))
