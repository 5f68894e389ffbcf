"""The directory: where an address ends, whose account a login name is.

Knows the configuration's values and users' files; knows no protocol, no
mailbox, no socket.  Any thread may ask.  Before it answers it looks whether the
server's configuration file changed (one stat), so that `user add` beside a live
server works at once; a broken file keeps the old settings and is told in the log.
"""

import logging
import os
import threading
import time
from typing import Any, Callable, Dict, FrozenSet, NamedTuple, Optional, Set, Tuple

from ..config.loader import load_user
from ..config.names import LONGEST_NAME, Found, Names
from ..config.problems import ConfigError
from ..config.root import Root, is_component
from ..config.settings import Settings, UserSettings
from ..disk.keyfile import kept_key
from ..mail.address import Address
from ..net.address import is_loopback
from .login import Account, Candidate, Login, LoginFailed
from .offers import Offers
from .remembered import Checker
from .secrets import sha256
from .throttle import Peer, Throttle
from .userfiles import CAPACITY, FILE, BrokenUser, UserFiles, signature

__all__ = ["Account", "BrokenUser", "Destination", "Directory", "LoginFailed"]

log = logging.getLogger("phenmail.accounts")

CHALLENGE_KEY = "challenge.key"


class Destination(NamedTuple):
    """Where mail for an address ends.

    `kind`: "mailbox" (`folder` absolute, `tag` of user+tag or None), "disabled"
    (`text` as configured), "agent", "forward", "plugin" (`value` as in
    settings.Action), "unknown", "remote" (a domain that is not ours), "broken"
    (for now: `text` says why, without details).
    `address`: the line of `domains` where it ended, "*" for a catch-all; the
    address that was asked for where there is none.

    "agent", "forward" and "plugin" have a `folder` too, for whose owner they
    work.  Where a mailbox's user has an `external-MDA` that may be used, it is
    the mail folder: then the kind is "agent" or "forward", while logins go on
    as for the mailbox.  For a line of `domains` it is ROOT/<local part>/mail
    where that is a directory of this identity (no link to another), else the
    device's own folder of the server's files.
    """

    kind: str
    address: Address
    folder: Optional[str] = None
    tag: Optional[str] = None
    value: str = ""
    text: str = ""


class Directory:
    """Resolves addresses and lets users in.

    In: checked settings and their root; `reload() -> Settings` rereads the server's configuration (None: it is
    never reread here), raising ConfigError or OSError; `files` are the paths
    whose change means a reload, by default the root's configuration;
    `authorizations` an authorization.Authorizations (None: none holds).
    """

    def __init__(self, settings: Settings, root: Root,
                 reload: Optional[Callable[[], Settings]] = None,
                 files: Optional[Tuple[str, ...]] = None,
                 throttle: Optional[Throttle] = None,
                 checker: Optional[Checker] = None,
                 clock: Callable[[], float] = time.monotonic,
                 authorizations: Optional[Any] = None) -> None:
        self.root = root
        # Whether a literal with this normalised IP address means this server.
        self.is_own: Callable[[str], bool] = is_loopback
        self.throttle = Throttle(clock) if throttle is None else throttle
        self.checker = Checker(clock) if checker is None else checker
        self.users = UserFiles(_loader(root))
        self.nobodys_folder = os.path.join(root.mail_system, "nobody")     # is never made
        self._reload = reload
        self._watched = (root.configuration,) if files is None else files
        self._seen = self._signatures() if reload is not None else None
        self._reloading = threading.Lock()
        self._closing = threading.Event()
        self._offers = Offers(self.users, clock)
        self._challenge_key: Optional[bytes] = None
        self._authorizations = authorizations
        self._ignored: Dict[str, Tuple] = {}  # folder -> what the log was told of
        self._state = _State(settings, self)

    # The configuration

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._state.settings

    def at_home(self, address: Address) -> Address:
        """As config.names.Names.at_home: at the sender domain, where <postmaster> or an address
        literal means this server."""
        return self._state.names.at_home(address)

    def replace(self, settings: Settings) -> None:
        """Go on with other settings, as after SIGHUP."""
        self._state = _State(settings, self)

    def refresh(self) -> bool:
        """Reread the configuration if its file changed; whether it is new now."""
        if self._reload is None or self._signatures() == self._seen:
            return False
        with self._reloading:
            # Before reading: a change meanwhile has another signature.
            seen = self._signatures()
            if seen == self._seen:
                return False
            self._seen = seen
            try:
                settings = self._reload()
            except (ConfigError, OSError) as error:
                log.error("the changed configuration cannot be used, so the old one stays: %s", error)
                return False
            self.replace(settings)
            log.info("the configuration changed and was read again")
            return True

    def close(self) -> None:
        """Let go of every login that is being held back; new ones are refused at once."""
        self._closing.set()

    # Addresses

    def resolve(self, address: Address) -> Destination:
        """Say where mail for an address ends."""
        self.refresh()
        state = self._state
        found = state.names.find(address)
        if found is None:
            ours = not address.domain or state.names.is_local(address.domain)
            return Destination("unknown" if ours else "remote", address)
        end = state.names.end(found)
        if end is None:
            log.error("the alias %s leads nowhere", found.address)
            return Destination("broken", address, text="the alias leads nowhere")
        return self._destination(state, end)

    def _destination(self, state: "_State", end: Found) -> Destination:
        kind, value = end.action.kind, end.action.value
        if kind == "disabled":
            return Destination(kind, end.address, tag=end.tag, text=value)
        if kind != "mailbox":
            return Destination(kind, end.address, self._folder_beside(end.address.local), end.tag, value)
        folder = state.folder(value)
        try:
            user = self.users.settings(folder)
        except BrokenUser:
            return Destination("broken", end.address, tag=end.tag,
                               text="the user's configuration cannot be used at the moment")
        if user.outward is not None and self._may_use(state, folder, user):
            return Destination(user.outward.kind, end.address, folder, end.tag, user.outward.value)
        return Destination(kind, end.address, folder, end.tag)

    def _folder_beside(self, local: str) -> str:
        """For whose owner a line of `domains` without a mailbox works; see Destination."""
        if is_component(local):
            folder = os.path.realpath(os.path.join(self.root.path, local, "mail"))
            # Who owns the folder could else have a link there, and run commands as somebody else.
            if self.root.identity_named(folder) == local and os.path.isdir(folder):
                return folder
        return os.path.realpath(self.root.mail_system)

    def _may_use(self, state: "_State", folder: str, user: UserSettings) -> bool:
        """Whether a user's `external-MDA` is used; the log says once for each change of it that it is not."""
        # By the folder's name: what is put into its place meanwhile belongs to no other identity.
        identity = self.root.identity_named(folder)
        admin = state.settings.admin
        if self.root.is_administrators(identity, admin) or (
                self._authorizations is not None and self._authorizations.external_mda(identity, user)):
            self._ignored.pop(folder, None)
            return True
        now = (user.external_mda, user.authorization, admin)
        if self._ignored.get(folder) != now:
            if len(self._ignored) >= CAPACITY:
                self._ignored.clear()
            self._ignored[folder] = now
            log.warning("%s: external-MDA is not used, mail goes to the mailbox: the administrator has not authorized this text "
                        "(phenmail.py authorize)", os.path.join(folder, FILE))
        return False

    def mail_folders(self) -> Dict[str, FrozenSet[Address]]:
        """All mail folders of the settings in force, each with the addresses that end there.

        One that only a catch-all leads to has the address "*" of its domain.
        """
        self.refresh()
        state = self._state
        folders = dict(state.addresses())
        for line in state.names.catch_alls():
            end = state.names.end(line)
            if end is not None and end.action.kind == "mailbox":
                folders.setdefault(state.folder(end.action.value), frozenset((line.address,)))
        return folders

    def user_settings(self, folder: str) -> UserSettings:
        """The settings of the user of a folder.  Raises BrokenUser."""
        return self.users.settings(folder)

    def may_send_as(self, account: Account, address: Address) -> bool:
        """Whether mail may be sent as this address by the account's user.

        So it is with every address that ends at the account's folder, be it by
        an alias, a tag or the catch-all; other accounts send as themselves.
        """
        self.refresh()
        state = self._state
        found = state.names.find(address)
        if not account.folder:
            return found is not None and found.address in account.addresses
        end = state.names.end(found) if found is not None else None
        return (end is not None and end.action.kind == "mailbox"
                and state.folder(end.action.value) == account.folder)

    # Logins

    def account(self, login_name: str) -> Optional[Account]:
        """The account with a mailbox to which a login name belongs, or None."""
        return self.candidate(login_name, False).account

    def candidate(self, login_name: str, sending: bool) -> Candidate:
        """Whom a login name would be; for `login.Login`."""
        self.refresh()
        state = self._state
        found = state.names.find_login(login_name)
        end = state.names.end(found) if found is not None else None
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
            # An alias may end at a catch-all, whose "*" is nobody's name.
            name = min(addresses) if end.caught else end.address
            account = Account(str(name), folder, addresses, self.root.identity_of(folder) or "")
            state.accounts[end.address] = account
        return account

    def login(self, peer: Peer = None, sending: bool = False) -> Login:
        """The credentials of one connection, as the SASL dialogues want them.

        `sending`: those who may only submit (a secret behind an agent or a
        forward) are let in too; their accounts have no folder.
        """
        return Login(self, peer, sending, self._hold)

    def authenticate(self, name: str, passphrase: str, peer: Peer = None,
                     sending: bool = False) -> Account:
        """Let a user in by name and passphrase.  Raises LoginFailed."""
        return self.login(peer, sending).plain(name, passphrase)

    def everyone_has(self, secret: str, sending: bool = False) -> bool:
        """Whether every user who can log in has a secret, "scram" or "pop3pwd"."""
        self.refresh()
        state = self._state
        if sending and state.has_senders:
            return False
        return self._offers.everyone_has(secret, state.addresses(), state)

    def challenge_key(self) -> bytes:
        """The key from which challenges for unknown users are made.

        Kept beside the server's other keys: with a new one at each start, a
        salt that changed would tell which users do not exist.
        """
        if self._challenge_key is None:
            with self._reloading:
                if self._challenge_key is None:
                    self._challenge_key = _kept_key(self.root.mail_system)
        return self._challenge_key

    def _hold(self, seconds: float) -> bool:
        """Wait, and say whether to go on (not when the server stops)."""
        if seconds > 0:
            self._closing.wait(seconds)
        return not self._closing.is_set()

    def _signatures(self) -> Tuple:
        states = []
        for path in self._watched:
            try:
                states.append(signature(path))
            except OSError:
                states.append(None)
        return tuple(states)


class _State:
    """One configuration and what is derived from it; replaced as a whole."""

    def __init__(self, settings: Settings, directory: Directory) -> None:
        self.settings = settings
        self.names = Names(settings.sender_domain, settings.domains,
                           lambda ip: directory.is_own(ip))
        self.has_senders = any(found.action.secret for found in self.names.lines())
        self.accounts: Dict[Address, Account] = {}
        self._folders: Dict[str, str] = {}
        self._addresses: Optional[Dict[str, FrozenSet[Address]]] = None

    def folder(self, path: str) -> str:
        """The one name of a mail folder, whatever links lead to it."""
        folder = self._folders.get(path)
        if folder is None:
            folder = self._folders[path] = os.path.realpath(path)
        return folder

    def addresses(self) -> Dict[str, FrozenSet[Address]]:
        """The addresses of every mail folder; made when first asked for."""
        if self._addresses is None:
            found: Dict[str, Set[Address]] = {}
            for line in self.names.lines():
                end = self.names.end(line)
                if end is not None and end.action.kind == "mailbox":
                    found.setdefault(self.folder(end.action.value), set()).add(line.address)
            self._addresses = {folder: frozenset(each) for folder, each in found.items()}
        return self._addresses


def _canonical(name: str, sender_domain: str) -> str:
    """One short spelling for all login names that are looked up alike: what unknown ones count
    by."""
    name = name[:LONGEST_NAME].lower()
    name = name if "@" in name else "%s@%s" % (name, sender_domain)
    # Many of them are kept while somebody tries names.
    return name if len(name) <= 64 else sha256(name)


def _loader(root: Root) -> Callable[..., UserSettings]:
    return lambda folder, looked_for: load_user(os.path.join(folder, FILE), root, looked_for)


def _kept_key(folder: str) -> bytes:
    path = os.path.join(folder, CHALLENGE_KEY)
    try:
        return kept_key(path)
    except (OSError, ValueError) as error:
        log.error("%s: %s", path, error)
        return os.urandom(32)
