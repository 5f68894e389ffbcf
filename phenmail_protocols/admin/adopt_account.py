"""The account elsewhere that `adopt` copies: one of mail-fetcher.jcfg, or one that it asks for."""
import json
import os
from typing import NamedTuple

from ..config import editing, loader
from ..config.settings import FetchAccount
from ..disk.atomic import write_file
from ..fetch.adopting import finding
from ..text.obscured import obscure, unobscure
from .terminal import ask, ask_passphrase, confirm, is_interactive, show

_FILE = os.path.join("system", "config", "mail-fetcher.jcfg")
_PORTS = {"imaps": 993, "imap": 143}


class AccountError(ValueError):
    """There is no such account; str() says what to do."""


class Chosen(NamedTuple):
    """`settings`: FetchAccount; `passphrase`: in clear; `is_new`: it is not in
    mail-fetcher.jcfg."""
    settings: FetchAccount
    passphrase: str
    is_new: bool


def choose(root, folder, address, name=None):
    """The account for an address there -> Chosen.

    `folder`: the user's mail folder; `name`: of an account in their mail-fetcher.jcfg; None takes
    the one for the address, if there is one, and else asks. Raises AccountError, ConfigError,
    OSError.
    """
    accounts = loader.load_fetcher(path_of(root, folder), root).accounts
    for account in accounts:
        if account.name == name or name is None and address in (account.name, account.username):
            return _known(account)
    if name is not None:
        raise AccountError("%s has no account %s; it has %s" % (
            path_of(root, folder), name, ", ".join(each.name for each in accounts) or "none"))
    return _asked(address)


def path_of(root, folder):
    """The mail-fetcher.jcfg of the user with this mail folder."""
    return os.path.join(root.path, root.identity_of(folder) or "", _FILE)


def _known(account):
    if account.protocol not in _PORTS:
        raise AccountError("%s is fetched by POP3, which shows only one mailbox: adopting needs "
                           "IMAP" % account.name)
    return Chosen(account, unobscure(account.passphrase or ""), False)


def _asked(address):
    domain = address.rpartition("@")[2]
    server, port = finding.server_of(domain) if "@" in address else ("", 0)
    server = ask("IMAP server of %s" % address, server)
    if not server:
        raise AccountError("no IMAP server was found for %s: name an account of mail-fetcher.jcfg "
                           "with --from" % address)
    username = ask("User name there", address)
    account = FetchAccount(server, port or 993, "imaps", False, username, "", 300.0,
                           "ignore-all", (("Inbox", "filter"),), True, False)
    passphrase = ask_passphrase("Passphrase there: ")
    return Chosen(account._replace(name="%s@%s" % (username, server)), passphrase, True)


def go_on(root, folder, account, is_silent, begin):
    """Let new mail be fetched from now on; offer it if the account is not fetched yet.

    `begin()`: tells fetching where to begin. Raises FetchError, StoreError, OSError.
    """
    path, entry = path_of(root, folder), _entry(account)
    if not account.is_new:
        begin()
    elif is_silent or not is_interactive() or not confirm(
            "Go on fetching new mail of %s? (yes) " % account.settings.username):
        show(["To go on fetching new mail, add this to \"accounts\" in %s:" % path,
              "  " + json.dumps(dict(entry, passphrase="..."), ensure_ascii=False)])
    else:
        begin()
        try:
            add_account(path, root, entry)
            show(["%s: new mail of %s is fetched from now on." % (
                path, account.settings.username)])
        except (editing.EditError, UnicodeDecodeError) as error:
            show(["%s cannot be edited: %s. Add this to \"accounts\" by hand:" % (path, error),
                  "  " + json.dumps(entry, ensure_ascii=False)])


def _entry(account):
    """What mail-fetcher.jcfg says of a new account."""
    settings = account.settings
    entry = {"server": settings.server, "username": settings.username,
             "passphrase": obscure(account.passphrase)}
    if settings.port != _PORTS["imaps"]:
        entry["port"] = settings.port
    return entry


def add_account(path, root, entry):
    """Add an account (dict) to a mail-fetcher.jcfg, which need not exist; its comments stay.

    Raises editing.EditError, OSError.
    """
    try:
        old = loader.user_octets(path, root, root.identity_of(path) or "")
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        old = b"{\n}\n"
    source = old.decode("utf-8").replace("\r\n", "\n")
    if "accounts" in editing.read(source):
        edited = editing.add_item(source, ("accounts",), entry)
    else:
        edited = editing.add_member(source, (), "accounts", [entry])
    data = edited.encode("utf-8")
    write_file(path, data.replace(b"\n", b"\r\n") if b"\r\n" in old else data)
