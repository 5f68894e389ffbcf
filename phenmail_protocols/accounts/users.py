"""`phenmail user add`, `passwd`, `list` and `del`: they edit the files of a root.

The server may be running; it notices by itself. The server's mail.jcfg keeps its comments and
its order. A lock makes concurrent commands wait. Files are replaced as a whole (disk.atomic), a
user's own file before the line that names it.
"""

import contextlib
import os
from typing import Iterator, List, NamedTuple, Optional, Tuple

from ..config import editing
from ..config.loader import load_server, load_user, server_octets, user_octets
from ..config.lookup import CATCH_ALL, Found, Lookup
from ..config.root_folder import USER_TOKEN, InvalidPath, Root
from ..config.settings import Action, Settings
from ..disk.atomic import write_file
from ..disk.locks import FileLock
from ..mail.address import Address, AddressError
from ..text.domains import ascii_domain, unicode_domain
from . import passphrases
from .userfiles import FILE

LOCK = "mail.jcfg.lock"
PATIENCE = 10.0     # seconds to wait for another command

_KINDS = {"disabled": "disabled", "mailbox": "mailbox", "alias": "alias of",
          "agent": "given to", "forward": "forwarded to", "plugin": "plugin"}


class UserError(ValueError):
    """The request cannot be carried out; str() says why."""


class Listed(NamedTuple):
    """One line of `user list`.

    `kind` and `value` as in settings.Action (the folder of a mailbox, the target of an alias).
    `account`: the mailbox to which it logs in, or "". `admin`: its identity needs no
    authorization. `ends`: all this in words.
    """

    address: str
    kind: str
    value: str
    account: str
    admin: bool
    ends: str


def add_user(root: Root, address: str, passphrase: Optional[str] = None,
             admin: bool = False) -> str:
    """Make a user: the folder with its mail.jcfg, then the line in "domains".

    In: `address`; without "@" it belongs to the sender domain. `passphrase`: None makes a new
    one. `admin`: the identity needs no authorization.
    Out: the passphrase, which is stored only as hashes.
    Raises UserError, InvalidPassphrase, LockTimeout, OSError, and ConfigError if the
    configuration is broken.
    """
    chosen = passphrases.generate() if passphrase is None else passphrases.check(passphrase)
    with locked(root):
        settings = load_server(root)
        new = _parse(settings, address)
        _check_is_free(settings, new)
        path, folder = _place(root, settings, new)
        old = server_octets(root.configuration)
        edited = _with_line(_text(old), new, path)
        identity = root.identity_of(folder)
        if admin and identity not in settings.admin:
            edited = _with_admin(edited, identity)
        write_secrets(root, folder, chosen)
        _write(root, root.configuration, edited, old)
    return chosen


def set_passphrase(root: Root, address: str, passphrase: Optional[str] = None) -> str:
    """Change the passphrase of a mailbox's user; return the new one.

    `address` may be an alias. The rest of the user's file stays. Raises like `add_user`.
    """
    chosen = passphrases.generate() if passphrase is None else passphrases.check(passphrase)
    with locked(root):
        folder = mail_folder(load_server(root), address)
        if folder is None:
            raise UserError("no such user: %s" % address)
        write_secrets(root, folder, chosen)
    return chosen


def mail_folder(settings: Settings, address: str) -> Optional[str]:
    """The folder of the mailbox in which an address or alias ends, links followed, or None.

    Without "@" the address belongs to the sender domain. Raises UserError if it is invalid.
    """
    lookup = _lookup(settings)
    end = lookup.end(_find(lookup, _parse(settings, address)))
    is_mailbox = end is not None and end.action.kind == "mailbox"
    return os.path.realpath(end.action.value) if is_mailbox else None


def list_users(root: Root) -> List[Listed]:
    """All lines of "domains", in the order of the file. Raises ConfigError, OSError."""
    settings = load_server(root)
    lookup = _lookup(settings)
    return [_listed(root, settings, lookup, Address(local, domain), action)
            for domain, actions in settings.domains.items()
            for local, action in actions.items()]


def _listed(root: Root, settings: Settings, lookup: Lookup,
            address: Address, action: Action) -> Listed:
    end = lookup.end(_find(lookup, address))
    account, admin = "", False
    if end is not None and end.action.kind == "mailbox":
        account = end.address.shown()
        admin = root.is_administrators(root.identity_of(end.action.value), settings.admin)
    target = action.value
    if action.kind == "alias":
        local, at, domain = target.rpartition("@")
        target = local + at + unicode_domain(domain)
    ends = ("%s %s" % (_KINDS[action.kind], target)).strip() + (" (admin)" if admin else "")
    return Listed(address.shown(), action.kind, action.value, account, admin, ends)


def delete_user(root: Root, address: str) -> str:
    """Remove a line from "domains", but no mail; return the address as it was written there.

    The target of an alias is not removed. Raises like `add_user`.
    """
    with locked(root):
        settings = load_server(root)
        lookup, wanted = _lookup(settings), _parse(settings, address)
        found = _find(lookup, wanted)
        if found is None:
            raise UserError("no such user: %s@%s" % wanted)
        aliases = [str(line.address) for line in lookup.lines() if not line.caught
                   and getattr(lookup.next(line), "address", None) == found.address]
        if aliases:
            raise UserError("%s is the target of %s; change or delete these aliases first"
                            % (found.address, ", ".join(aliases)))
        old = server_octets(root.configuration)
        source = _text(old)
        domain = _written_domain(source, found.address.domain)
        if domain is None or found.address.local not in editing.read(source)["domains"][domain]:
            raise UserError("%s is defined in a file that %s includes; delete it there"
                            % (found.address, root.configuration))
        edited = editing.remove(source, ("domains", domain, found.address.local))
        if found.action.kind == "mailbox":
            edited = _without_admin(root, settings, edited, found)
        _write(root, root.configuration, edited, old)
    return str(found.address)


@contextlib.contextmanager
def locked(root: Root) -> Iterator[None]:
    """Keep other commands from writing.

    Raises UserError if there is no configuration, LockTimeout, OSError.
    """
    if not os.path.isfile(root.configuration):
        raise UserError("%s does not exist yet: start the server once, or run phenmail init"
                        % root.configuration)
    path = os.path.join(root.mail_system, LOCK)
    with FileLock(path, PATIENCE):
        give(root, path)
        yield


def _lookup(settings: Settings) -> Lookup:
    return Lookup(settings.sender_domain, settings.domains)


def _find(lookup: Lookup, address: Address) -> Optional[Found]:
    return lookup.find_login("%s@%s" % address)


def _parse(settings: Settings, address: str) -> Address:
    try:
        text = address if "@" in address else "%s@%s" % (address, settings.sender_domain)
        return Address.parse(text)
    except AddressError as error:
        raise UserError("invalid mail address %s: %s" % (address, error)) from None


def _check_is_free(settings: Settings, new: Address) -> None:
    lookup = _lookup(settings)
    if not lookup.is_local(new.domain) and new.domain != settings.sender_domain:
        raise UserError("domain %s is not configured; add it to \"domains\" first" % new.domain)
    if new.local == CATCH_ALL:
        raise UserError('"*" is the catch-all and cannot be a user')
    found = _find(lookup, new)
    if found is not None:
        raise UserError("%s@%s already exists" % found.address)


def _place(root: Root, settings: Settings, new: Address) -> Tuple[str, str]:
    """Where the new user's mail goes: the path as written, and the folder.

    The identity is the local part, or the whole address if that identity is the device's or
    belongs to another address.
    """
    taken = {root.device}
    for actions in settings.domains.values():
        for action in actions.values():
            if action.kind == "mailbox":
                taken.add(root.identity_of(action.value) or "")
    for identity, path in ((new.local, "/%s/mail" % USER_TOKEN),
                           ("%s@%s" % new, "/%s@%s/mail" % new)):
        if identity not in taken:
            try:
                return path, root.resolve(path, identity)
            except InvalidPath as refused:
                raise UserError("%s: expected %s" % (new, refused)) from None
    raise UserError("the folder for %s belongs to another user" % new)


def _with_line(source: str, new: Address, path: str) -> str:
    if "domains" not in editing.read(source):
        source = editing.add_member(source, (), "domains", {})
    domain = _written_domain(source, new.domain)
    if domain is None:
        domain = unicode_domain(new.domain)
        source = editing.add_member(source, ("domains",), domain, {})
    return editing.add_member(source, ("domains", domain), new.local, path)


def _with_admin(source: str, identity: str) -> str:
    if "admin" not in editing.read(source):
        return editing.add_member(source, (), "admin", [identity])
    return editing.add_item(source, ("admin",), identity)


def _without_admin(root: Root, settings: Settings, source: str, removed: Found) -> str:
    """Remove an identity from "admin" with its last address: its next user is another person."""
    identity = root.identity_of(removed.action.value)
    left = [root.identity_of(action.value) for domain, actions in settings.domains.items()
            for local, action in actions.items()
            if action.kind == "mailbox" and (local, domain) != removed.address]
    admins = editing.read(source).get("admin", [])
    if identity not in admins or identity in left:
        return source
    return editing.remove(source, ("admin", admins.index(identity)))


def _written_domain(source: str, domain: str) -> Optional[str]:
    """A domain (in A-labels) as it is spelled in the file, or None."""
    for written in editing.read(source).get("domains", {}):
        try:
            if ascii_domain(written) == domain:
                return written
        except AddressError:
            continue
    return None


def write_secrets(root: Root, folder: str, passphrase: str, reversible: bool = False) -> None:
    """Write the hashes of a passphrase into a user's file, which need not exist.

    The obscured form, which can be undone, is written only if the file has one or if
    `reversible`. Raises like `add_user`.
    """
    path = os.path.join(folder, FILE)
    _make_folder(root, folder)
    before = load_user(path, root)
    try:
        old = user_octets(path, root, root.identity_of(path) or "")
    except FileNotFoundError:
        old = b"{\n}\n"
    secrets = {"passphrase": passphrases.hash_passphrase(passphrase),
               "scram": passphrases.scram_secret(passphrase)}
    if reversible or before.pop3pwd is not None:
        secrets["pop3pwd"] = passphrases.obscure(passphrase)
    source = _text(old)
    for key, value in secrets.items():
        source = editing.set_member(source, (key,), value)
    _write(root, path, source, old)
    if load_user(path, root).passphrase != secrets["passphrase"]:
        raise UserError("a file that %s includes sets another passphrase; change it there" % path)


def _text(octets: bytes) -> str:
    return octets.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def _write(root: Root, path: str, text: str, old: bytes) -> None:
    """Write a file that the server can read, with the line ends of the old one."""
    data = text.encode("utf-8")
    write_file(path, data.replace(b"\n", b"\r\n") if b"\r\n" in old else data)
    give(root, path)


def _make_folder(root: Root, folder: str) -> None:
    made = []
    while not os.path.isdir(folder):
        made.append(folder)
        folder = os.path.dirname(folder)
    for each in reversed(made):
        os.mkdir(each, 0o700)
        give(root, each)


def give(root: Root, path: str) -> None:
    """If we are root, give a new file to the owner of the root folder.

    Otherwise `sudo phenmail user add` would lock out a server that runs as another user.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        owner = os.stat(root.path)
        # Never through a link: the folder may belong to another user.
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
