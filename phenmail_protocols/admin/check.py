"""The word ``check``: everything that can be said about a root folder without
changing it, beside a running server or without one."""
import importlib.util
import os
import stat
from typing import NamedTuple

from ..accounts import authorization
from ..authentication import judging
from ..config import loader
from ..config.problems import ConfigError
from ..dkim.signing import Signer
from ..filters import rules
from ..filters.user_filters import check_owner
from ..queue import spool
from ..store import errors
from ..store.filestore import FileStore
from . import authorize

_PACKAGES = (
    ("jsoncomment", "jsoncomment", "configuration is read by the standard "
                                   "library instead, which is enough"),
    ("dkim", "dkimpy", "outgoing mail can't be signed"),
    ("dns", "dnspython", "mail can't be relayed to other servers directly"),
    ("idna", "idna", "domain names with \u00df, final sigma or joiners are refused"),
)


class Report(NamedTuple):
    """Lines of text; with any in ``errors`` the root doesn't work whole."""
    errors: list
    warnings: list
    notes: list


def check(root):
    """Look everything over: a Report. Never raises for what it finds."""
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
    folders = sorted({action.value for parts in settings.domains.values()
                      for action in parts.values()
                      if action.kind == "mailbox"})
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
    """Keys that sign, what waits, and what TLS can be asked for."""
    signer = Signer(settings.relay, lambda: settings.domains,
                    settings.sender_domain)
    report.errors.extend(signer.complaints())
    report.notes.append("DANE: TLSA records of usage DANE-EE are used; those of DANE-TA "
                        "count as unusable, then TLS is required and not verified")
    queue = spool.Spool(settings.relay.queue_folder)
    try:
        waiting, broken = len(queue.identities()), queue.broken()
    except spool.SpoolError as error:
        report.errors.append("%s: %s" % (settings.relay.queue_folder, error))
        return
    report.notes.append("%d messages wait to be sent (queue list)" % waiting)
    report.warnings.extend(
        "%s: set aside, its state can't be read" % name for name in broken)


def _check_user(report, root, store, folder):
    name = os.path.relpath(folder, root.path)
    try:
        user = loader.load_user(os.path.join(folder, "mail.jcfg"), root)
        if not (user.passphrase or user.scram):
            report.warnings.append("%s: nobody can log in: there is no "
                                   "passphrase (user passwd)" % name)
        check_owner(root, user.filters, folder)
        _check_filters(report, loader.load_filters(user.filters, root))
        fetcher = _fetcher_path(root, folder)
        if loader.load_fetcher(fetcher, root).accounts:
            report.warnings.append(
                "%s: not yet: this version fetches no mail" % os.path.relpath(fetcher, root.path))
    except ConfigError as error:
        report.errors.extend(map(str, error.problems))
    except OSError as error:
        report.errors.append("%s: %s" % (error.filename, error.strerror))
    _check_mailboxes(report, store, name, folder)


def _check_key(report, path):
    """Who knows the key can write authorizations."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode):
        report.errors.append("%s: this is no plain file, so nothing is authorized" % path)
    elif status.st_mode & 0o077:
        report.errors.append("%s: others can read or write this key: chmod 600" % path)


def _check_authorizations(report, root, settings, folder):
    try:
        found = authorize.look(root, settings, authorization.Authorizations(root.mail_system), os.path.realpath(folder))
    except (ConfigError, OSError):
        return  # told as what is wrong with the file
    report.warnings.extend("%s: %s (authorize %s)" % (each.place, authorize.EFFECTS[each.kind], each.identity)
                           for each in found.waiting)
    report.warnings.extend(found.troubles)


def _check_filters(report, given):
    """What only shows when filters are made ready to be asked."""
    report.errors.extend("%s: %s" % (rules.place(rule), flaw)
                         for rule, flaw in rules.Rules(given).flaws)


def _fetcher_path(root, folder):
    identity = root.identity_of(folder) or ""
    return os.path.join(
        root.path, identity, "system", "config", "mail-fetcher.jcfg")


def _check_mailboxes(report, store, name, folder):
    if not os.path.isdir(os.path.join(folder, "cur")):
        report.notes.append("%s: no message came yet" % name)
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
    report.notes.append("%s: %d mailboxes, %d messages" % (
        name, mailboxes, messages))
