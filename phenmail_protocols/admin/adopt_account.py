"""The account elsewhere that `adopt` copies: one of mail-fetcher.jcfg, or one that it asks for."""
import json
import os
from typing import Any, Dict, NamedTuple, Optional

from ..config import editing, loader
from ..config.providers import provider_of
from ..config.settings import FetchAccount
from ..disk.atomic import write_file
from ..fetch.adopting import finding
from ..oauth.errors import OAuthError
from ..oauth.token_store import TokenFile
from ..text.obscured import obscure, unobscure
from . import fetch_login
from .terminal import ask, ask_passphrase, confirm, is_interactive, show

_FILE = os.path.join("system", "config", "mail-fetcher.jcfg")
_PORTS = {"imaps": 993, "imap": 143}


class AccountError(ValueError):
    """There is no such account; str() says what to do."""


class Chosen(NamedTuple):
    """`settings`: FetchAccount; `passphrase`: in clear; `entry`: what mail-fetcher.jcfg would say
    of it (dict), None if it is there."""
    settings: FetchAccount
    passphrase: str
    entry: Optional[Dict[str, Any]]


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
    return _asked(path_of(root, folder), root, address)


def path_of(root, folder):
    """The mail-fetcher.jcfg of the user with this mail folder."""
    return os.path.join(root.path, root.identity_of(folder) or "", _FILE)


def _known(account):
    if account.protocol not in _PORTS:
        raise AccountError("%s is fetched by POP3, which shows only one mailbox: adopting needs "
                           "IMAP" % account.name)
    return Chosen(account, unobscure(account.passphrase or ""), None)


def _asked(path, root, address):
    domain = address.rpartition("@")[2]
    server = ask("IMAP server of %s" % address, _found(domain) if "@" in address else "")
    if not server:
        raise AccountError("no IMAP server was found for %s: name an account of mail-fetcher.jcfg "
                           "with --from" % address)
    entry = dict(_server(server), username=ask("User name there", address))
    provider = provider_of(domain)
    passphrase = ask_passphrase("Passphrase there%s: " % (
        " (empty: log in with OAuth2)" if provider and is_interactive() else ""))
    if passphrase or not (provider and is_interactive()):
        entry["passphrase"] = obscure(passphrase)
    else:
        entry.update(_oauth2(provider))
    account, = loader.fetcher_from_dict({"accounts": [entry]}, path, root).accounts
    if account.provider is not None:
        _log_in(account, path)
    return Chosen(account, passphrase, entry)


def _found(domain):
    server, port = finding.server_of(domain)
    return server if port in (0, _PORTS["imaps"]) else "%s:%d" % (server, port)


def _server(text):
    """A typed server, perhaps with a port -> the keys of an account."""
    server, colon, port = text.rpartition(":")
    if not (colon and port.isdigit() and ":" not in server):
        return {"server": text}
    if int(port) == _PORTS["imap"]:
        return {"server": server, "protocol": "imap", "starttls": True}
    return {"server": server, "port": int(port)}


def _oauth2(provider):
    show(["%s wants a client id for OAuth2: register a program there (see README.txt)." % provider])
    found = {"auth": "oauth2", "provider": provider, "client-id": ask("Client id")}
    secret = ask("Client secret, if it has one")
    if secret:
        found["client-secret"] = obscure(secret)
    return found


def _log_in(account, path):
    """Get tokens, unless an earlier run did. Raises AccountError."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        file = TokenFile(account.provider)
        with file.locked():
            tokens = file.read()
        if tokens is None:
            fetch_login.log_in(account.provider)
    except OAuthError as error:
        raise AccountError("%s: %s" % (account.name, error))


def go_on(root, folder, account, is_silent, begin):
    """Let new mail be fetched from now on; offer it if the account is not fetched yet.

    `begin()`: tells fetching where to begin. Raises FetchError, StoreError, OSError.
    """
    path, entry = path_of(root, folder), account.entry
    begin()  # also for an account that the user adds to the file later
    if entry is None:
        return
    if is_silent or not is_interactive() or not confirm(
            "Go on fetching new mail of %s? (yes) " % account.settings.username):
        shown = {key: "..." if key in ("passphrase", "client-secret") else value
                 for key, value in entry.items()}
        show(["To go on fetching new mail, add this to \"accounts\" in %s:" % path,
              "  " + json.dumps(shown, ensure_ascii=False)])
    else:
        try:
            add_account(path, root, entry)
            show(["%s: new mail of %s is fetched from now on." % (
                path, account.settings.username)])
        except (editing.EditError, UnicodeDecodeError) as error:
            show(["%s cannot be edited: %s. Add this to \"accounts\" by hand:" % (path, error),
                  "  " + json.dumps(entry, ensure_ascii=False)])


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
