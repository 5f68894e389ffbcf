"""The directory: where an address ends, and whose account a login name is.

Any thread may ask. Before it answers, it checks with one stat whether the server's configuration
file changed, so that `user add` beside a running server works at once. If the new file is
broken, the old settings stay in force and the log says so.
"""

import logging
import os
import threading
import time
from typing import Any, Callable, Dict, FrozenSet, NamedTuple, Optional, Set, Tuple

from ..config.loader import load_user
from ..config.lookup import LONGEST_NAME, Found, Lookup
from ..config.problems import ConfigError
from ..config.root_folder import Root, is_component
from ..config.settings import Quota, Settings, UserSettings
from ..disk.keyfile import kept_key
from ..mail.address import Address
from ..net.address import is_loopback
from .login import Account, Candidate, Login, LoginFailed
from .passphrases import sha256
from .sasl_availability import Availability
from .throttle import Peer, Throttle
from .userfiles import CAPACITY, FILE, BrokenUser, UserFiles, file_state
from .verifier import Verifier

__all__ = ["Account", "BrokenUser", "Destination", "Directory", "LoginFailed"]

log = logging.getLogger("phenmail.accounts")

CHALLENGE_KEY = "challenge.key"


class Destination(NamedTuple):
    """Where mail for an address ends.

    `kind`:
      "mailbox"                     `folder`, and `tag` of user+tag or None
      "disabled"                    `text` as configured
      "agent", "forward", "plugin"  `value` as in settings.Action, and `folder`
      "unknown"                     no such address in a domain of ours
      "remote"                      not a domain of ours
      "broken"                      temporarily; `text` says why, without details
    `address`: the line of "domains" where it ended ("*" for a catch-all), or the address that was
    asked for. `folder`: absolute.

    For "agent", "forward" and "plugin", the owner of `folder` is the user for whom they work. It
    is the mail folder if the address has a mailbox whose user has an authorized `external-MDA`;
    logins then still lead to the mailbox. For a line of "domains" it is ROOT/<local part>/mail
    if that is a folder of this identity (no link to another), else the device's own folder.
    """

    kind: str
    address: Address
    folder: Optional[str] = None
    tag: Optional[str] = None
    value: str = ""
    text: str = ""


class Directory:
    """Resolves addresses, and lets users log in.

    In: checked settings and their root. `reload`: reads the server's configuration again, and
    raises ConfigError or OSError; None: it never changes. `authorizations`: an
    authorization.Authorizations; None: nothing is authorized.
    """

    def __init__(self, settings: Settings, root: Root,
                 reload: Optional[Callable[[], Settings]] = None,
                 throttle: Optional[Throttle] = None,
                 verifier: Optional[Verifier] = None,
                 clock: Callable[[], float] = time.monotonic,
                 authorizations: Optional[Any] = None) -> None:
        self.root = root
        # Whether an address literal with this IP address means this server; the server replaces it.
        self.is_own: Callable[[str], bool] = is_loopback
        self.throttle = Throttle(clock) if throttle is None else throttle
        self.verifier = Verifier(clock) if verifier is None else verifier
        self.users = UserFiles(_loader(root))
        self.nobodys_folder = os.path.join(root.mail_system, "nobody")     # never made
        self._reload = reload
        self._seen = file_state(root.configuration)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._availability = Availability(self.users, clock)
        self._challenge_key: Optional[bytes] = None
        self._authorizations = authorizations
        self._logged: Dict[str, Tuple] = {}  # folder -> the external-MDA that the log mentioned
        self._state = _State(settings, self)

    # The configuration

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._state.settings

    def at_home(self, address: Address) -> Address:
        """See config.lookup.Lookup.at_home."""
        return self._state.lookup.at_home(address)

    def replace(self, settings: Settings) -> None:
        """Use other settings from now on, as after SIGHUP."""
        self._state = _State(settings, self)

    def refresh(self) -> bool:
        """Read the configuration again if its file changed; whether there are new settings."""
        path = self.root.configuration
        if self._reload is None or file_state(path) == self._seen:
            return False
        with self._lock:
            # Before reading: a change meanwhile has another state.
            seen = file_state(path)
            if seen == self._seen:
                return False
            self._seen = seen
            try:
                settings = self._reload()
            except (ConfigError, OSError) as error:
                log.error("cannot use the changed configuration, so the old one stays in force: %s",
                          error)
                return False
            self.replace(settings)
            log.info("the configuration changed and was read again")
            return True

    def close(self) -> None:
        """End the delay of all waiting logins; they and all later ones are refused."""
        self._closing.set()

    # Addresses

    def resolve(self, address: Address) -> Destination:
        """Where mail for an address ends."""
        self.refresh()
        state = self._state
        found = state.lookup.find(address)
        if found is None:
            ours = not address.domain or state.lookup.is_local(address.domain)
            return Destination("unknown" if ours else "remote", address)
        end = state.lookup.end(found)
        if end is None:
            log.error("alias %s has no usable target", found.address)
            return Destination("broken", address, text="the alias has no usable target")
        return self._destination(state, end)

    def _destination(self, state: "_State", end: Found) -> Destination:
        kind, value = end.action.kind, end.action.value
        if kind == "disabled":
            return Destination(kind, end.address, tag=end.tag, text=value)
        if kind != "mailbox":
            return Destination(kind, end.address, self._folder_of_line(end.address.local), end.tag,
                               value)
        folder = state.folder(value)
        try:
            user = self.users.settings(folder)
        except BrokenUser:
            return Destination("broken", end.address, tag=end.tag,
                               text="the user's configuration cannot be used at the moment")
        if user.outward is not None and self._is_authorized(state, folder, user):
            return Destination(user.outward.kind, end.address, folder, end.tag, user.outward.value)
        return Destination(kind, end.address, folder, end.tag)

    def _folder_of_line(self, local: str) -> str:
        """The folder for a line of "domains" without a mailbox; see Destination."""
        if is_component(local):
            folder = os.path.realpath(os.path.join(self.root.path, local, "mail"))
            # Otherwise the owner could put a link there, and run commands as another user.
            if self.root.identity_named(folder) == local and os.path.isdir(folder):
                return folder
        return os.path.realpath(self.root.mail_system)

    def _is_authorized(self, state: "_State", folder: str, user: UserSettings) -> bool:
        """Whether a user's `external-MDA` may be used; if not, it is logged once a change."""
        # By the folder's name: a link that is put in its place meanwhile changes nothing.
        identity = self.root.identity_named(folder)
        admin = state.settings.admin
        if self.root.is_administrators(identity, admin) or (
                self._authorizations is not None
                and self._authorizations.external_mda(identity, user)):
            self._logged.pop(folder, None)
            return True
        now = (user.external_mda, user.authorization, admin)
        if self._logged.get(folder) != now:
            if len(self._logged) >= CAPACITY:
                self._logged.clear()
            self._logged[folder] = now
            log.warning("%s: external-MDA is not used and mail goes to the mailbox, until the "
                        "administrator approves it (phenmail.py authorize)",
                        os.path.join(folder, FILE))
        return False

    def mail_folders(self) -> Dict[str, FrozenSet[Address]]:
        """All mail folders in force, each with the addresses that end there.

        A folder to which only a catch-all leads has the address "*" of its domain.
        """
        self.refresh()
        state = self._state
        folders = dict(state.addresses())
        for line in state.lookup.lines():
            end = state.lookup.end(line) if line.caught else None
            if end is not None and end.action.kind == "mailbox":
                folders.setdefault(state.folder(end.action.value), frozenset((line.address,)))
        return folders

    def address_of(self, folder: str) -> Optional[Address]:
        """An address whose mail goes to this folder: no alias, if there is another."""
        state = self._state
        for line in state.lookup.lines():
            if (line.action.kind == "mailbox" and not line.caught
                    and state.folder(line.action.value) == folder):
                return line.address
        return min(self.mail_folders().get(folder, ()), default=None)

    def user_settings(self, folder: str) -> UserSettings:
        """The settings of the user of a folder. Raises BrokenUser."""
        return self.users.settings(folder)

    def quota(self, folder: str) -> Optional[Quota]:
        """What the user of a folder may keep, None without a limit.

        The user can write their own file, so that can only lower what the administrator allows.
        """
        self.refresh()
        quota = self._state.quota(folder)
        try:
            quota = quota.lowered(self.users.settings(folder).quota)
        except BrokenUser:
            pass
        return None if quota == Quota() else quota

    def may_send_as(self, account: Account, address: Address) -> bool:
        """Whether the account's user may send mail as this address.

        A user with a mailbox may use every address that ends there, also by an alias, a tag or
        the catch-all; other users only their own.
        """
        self.refresh()
        state = self._state
        found = state.lookup.find(address)
        if not account.folder:
            return found is not None and found.address in account.addresses
        end = state.lookup.end(found)
        return (end is not None and end.action.kind == "mailbox"
                and state.folder(end.action.value) == account.folder)

    # Logins

    def account(self, login_name: str) -> Optional[Account]:
        """The account with a mailbox to which a login name belongs, or None."""
        return self.candidate(login_name, False).account

    def candidate(self, login_name: str, sending: bool) -> Candidate:
        """Who a login name stands for; for `login.Login`."""
        self.refresh()
        state = self._state
        found = state.lookup.find_login(login_name)
        end = state.lookup.end(found)
        if end is not None and end.action.kind == "mailbox":
            account = self._account(state, end)
            return Candidate(account, account.folder, None)
        if sending and found is not None and found.action.secret:
            name = str(found.address)
            account = Account(name, "", frozenset((found.address,)), "")
            return Candidate(account, name, found.action.secret)
        return Candidate(None, _canonical(login_name, state.settings.sender_domain), None)

    def _account(self, state: "_State", end: Found) -> Account:
        account = state.accounts.get(end.address)
        if account is None:
            folder = state.folder(end.action.value)
            addresses = state.addresses()[folder]
            # An alias may end at a catch-all, but "*" is not an address.
            name = min(addresses) if end.caught else end.address
            account = Account(str(name), folder, addresses, self.root.identity_of(folder) or "")
            state.accounts[end.address] = account
        return account

    def login(self, peer: Peer = None, sending: bool = False) -> Login:
        """The logins of one connection, for `sasl.start`.

        `sending`: users who may only submit mail (an agent or a forward with a passphrase) can
        log in too; their accounts have no folder.
        """
        return Login(self, peer, sending, self._hold)

    def authenticate(self, name: str, passphrase: str, peer: Peer = None,
                     sending: bool = False) -> Account:
        """Log in with name and passphrase. Raises LoginFailed."""
        return self.login(peer, sending).plain(name, passphrase)

    def everyone_has(self, secret: str, sending: bool = False) -> bool:
        """Whether every user who can log in has a secret, "scram" or "pop3pwd"."""
        self.refresh()
        state = self._state
        if sending and state.has_senders:
            return False
        return self._availability.everyone_has(secret, state.addresses(), state)

    def challenge_key(self) -> bytes:
        """The key from which challenges for unknown users are made.

        It is kept on disk: with a new key at each start, a salt that changed would reveal that
        the user does not exist.
        """
        if self._challenge_key is None:
            with self._lock:
                if self._challenge_key is None:
                    self._challenge_key = _kept_key(self.root.mail_system)
        return self._challenge_key

    def _hold(self, seconds: float) -> bool:
        """Wait, and say whether to go on (not if the server is stopping)."""
        if seconds > 0:
            self._closing.wait(seconds)
        return not self._closing.is_set()


class _State:
    """One configuration and what is derived from it; replaced as a whole."""

    def __init__(self, settings: Settings, directory: Directory) -> None:
        self.settings = settings
        self.lookup = Lookup(settings.sender_domain, settings.domains,
                             lambda ip: directory.is_own(ip))
        self.has_senders = any(found.action.secret for found in self.lookup.lines()
                               if not found.caught)
        self.accounts: Dict[Address, Account] = {}
        self._folders: Dict[str, str] = {}
        self._addresses: Optional[Dict[str, FrozenSet[Address]]] = None
        self._quotas: Optional[Dict[str, Quota]] = None

    def folder(self, path: str) -> str:
        """The one name of a mail folder, whatever links lead to it."""
        folder = self._folders.get(path)
        if folder is None:
            folder = self._folders[path] = os.path.realpath(path)
        return folder

    def addresses(self) -> Dict[str, FrozenSet[Address]]:
        """The addresses of every mail folder; computed once, when first needed."""
        if self._addresses is None:
            found: Dict[str, Set[Address]] = {}
            for line in self.lookup.lines():
                end = None if line.caught else self.lookup.end(line)
                if end is not None and end.action.kind == "mailbox":
                    found.setdefault(self.folder(end.action.value), set()).add(line.address)
            self._addresses = {folder: frozenset(each) for folder, each in found.items()}
        return self._addresses

    def quota(self, folder: str) -> Quota:
        """The quota that the administrator gave to the user of a folder."""
        if self._quotas is None:
            found = {}
            for name, quota in self.settings.quota.users.items():
                end = self.lookup.end(self.lookup.find_login(name))
                if end is not None and end.action.kind == "mailbox":
                    found[self.folder(end.action.value)] = quota
            self._quotas = found
        return self._quotas.get(folder, self.settings.quota.of_others)


def _canonical(name: str, sender_domain: str) -> str:
    """One short spelling for all login names that are looked up alike; counts their failures."""
    name = name[:LONGEST_NAME].lower()
    name = name if "@" in name else "%s@%s" % (name, sender_domain)
    # Hashed if long, because many are kept while somebody tries names.
    return name if len(name) <= 64 else sha256(name)


def _loader(root: Root) -> Callable[..., UserSettings]:
    return lambda folder, looked_for: load_user(os.path.join(folder, FILE), root, looked_for)


def _kept_key(folder: str) -> bytes:
    path = os.path.join(folder, CHALLENGE_KEY)
    try:
        return kept_key(path)
    except (OSError, ValueError) as error:
        log.error("%s: %s; using a new key until the next start", path, error)
        return os.urandom(32)
