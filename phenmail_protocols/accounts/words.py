"""The words `user add`, `passwd`, `list` and `del`: they edit the files of a live root.

They know configuration files and folders; not the command line, and not what
lies in a mailbox.  The server's mail.jcfg keeps its comments and its order; one
lock lets words wait for each other; files appear whole (disk.atomic), the user's
own before the line that names it.  A running server notices by itself.
"""

import contextlib
import os
from typing import Iterator, List, NamedTuple, Optional, Tuple

from ..config.loader import load_server, load_user, server_octets, user_octets
from ..config.names import CATCH_ALL, Names
from ..config.root import USER_TOKEN, InvalidPath, Root
from ..config.settings import Action, Settings
from ..disk.atomic import write_file
from ..disk.locks import FileLock
from ..mail.address import Address, AddressError
from ..text.domains import ascii_domain, unicode_domain
from . import editing, passphrases
from .secrets import hash_passphrase, obscure, scram_secret
from .userfiles import FILE

LOCK = "mail.jcfg.lock"
PATIENCE = 10.0     # seconds to wait for another word

_KINDS = {"disabled": "disabled", "mailbox": "mailbox", "alias": "alias of",
          "agent": "given to", "forward": "forwarded to", "plugin": "plugin"}


class WordError(ValueError):
    """What was asked for cannot be done; str() is for the person who asked."""


class Listed(NamedTuple):
    """One line of `user list`.

    `kind` and `value` as in settings.Action (a mailbox's folder, an alias's
    target); `account`: the mailbox that it logs in to, "" where it cannot;
    `admin`: its identity needs no authorization; `ends`: all that in words.
    """

    address: str
    kind: str
    value: str
    account: str
    admin: bool
    ends: str


def add_user(root: Root, address: str, passphrase: Optional[str] = None,
             admin: bool = False) -> str:
    """Make a user: the folder with its mail.jcfg, then the line in `domains`.

    Out: the passphrase, which is known nowhere else if it was thought up.
    In: `address` (without "@" it is the sender domain's); `passphrase` None
    thinks one up; `admin`: the identity needs no authorization.
    Raises WordError, InvalidPassphrase, ConfigError for a broken configuration,
    LockTimeout, OSError.
    """
    chosen = passphrases.generate() if passphrase is None else passphrases.check(passphrase)
    with locked(root):
        settings = load_server(root)
        new = _parse(settings, address)
        _must_be_free(settings, new)
        path, folder = _place(root, settings, new)
        old = server_octets(root.configuration)
        source = _text(old)
        edited = _with_line(source, new, path)
        identity = root.identity_of(folder)
        if admin and identity not in settings.admin:
            edited = _with_admin(edited, identity)
        write_secrets(root, folder, chosen)
        _write(root, root.configuration, edited, old)
    return chosen


def set_passphrase(root: Root, address: str, passphrase: Optional[str] = None) -> str:
    """Give the user of a mailbox (or of an alias of it) another passphrase; return it.

    What else is in the user's file stays.  Raises as add_user.
    """
    chosen = passphrases.generate() if passphrase is None else passphrases.check(passphrase)
    with locked(root):
        settings = load_server(root)
        folder = mail_folder(settings, address)
        if folder is None:
            raise WordError("%s has no mailbox, so it has no passphrase" % address)
        write_secrets(root, folder, chosen)
    return chosen


def mail_folder(settings: Settings, address: str) -> Optional[str]:
    """The folder of the mailbox in which an address (or an alias) ends, links followed; None where there is none.

    Without "@" it is the sender domain's.  Raises WordError for what is no address.
    """
    names = Names(settings.sender_domain, settings.domains)
    found = names.find_login("%s@%s" % _parse(settings, address))
    end = names.end(found) if found is not None else None
    return os.path.realpath(end.action.value) if end is not None and end.action.kind == "mailbox" else None


def list_users(root: Root) -> List[Listed]:
    """All lines of `domains`, in the order of the file.  Raises ConfigError, OSError."""
    settings = load_server(root)
    names = Names(settings.sender_domain, settings.domains)
    return [_listed(root, settings, names, Address(local, domain), action)
            for domain, actions in settings.domains.items()
            for local, action in actions.items()]


def _listed(root: Root, settings: Settings, names: Names,
            address: Address, action: Action) -> Listed:
    found = names.find_login("%s@%s" % address)
    end = names.end(found) if found is not None else None
    account, admin = "", False
    if end is not None and end.action.kind == "mailbox":
        account = end.address.shown()
        admin = root.is_administrators(root.identity_of(end.action.value), settings.admin)
    local, at, domain = action.value.rpartition("@")
    target = local + at + unicode_domain(domain) if action.kind == "alias" else action.value
    ends = "%s %s" % (_KINDS[action.kind], target)
    return Listed(address.shown(), action.kind, action.value, account, admin,
                  ends.strip() + (" (admin)" if admin else ""))


def delete_user(root: Root, address: str) -> str:
    """Take a line out of `domains` (never any mail); return the address as it stood there.

    An address to which aliases lead is not deleted.  Raises as add_user.
    """
    with locked(root):
        settings = load_server(root)
        wanted = _parse(settings, address)
        found = Names(settings.sender_domain, settings.domains).find_login("%s@%s" % wanted)
        if found is None:
            raise WordError("there is no %s@%s" % wanted)
        aliases = _aliases_of(settings, found.address)
        if aliases:
            raise WordError("%s lead to %s; point them elsewhere or delete them first"
                            % (", ".join(aliases), found.address))
        old = server_octets(root.configuration)
        source = _text(old)
        domain = _written_domain(editing.read(source), found.address.domain)
        if domain is None or found.address.local not in editing.read(source)["domains"][domain]:
            raise WordError("%s is defined in a file that %s includes; delete it there"
                            % (found.address, root.configuration))
        edited = editing.remove(source, ("domains", domain, found.address.local))
        if found.action.kind == "mailbox":
            edited = _without_admin(root, settings, edited, found.address, found.action.value)
        _write(root, root.configuration, edited, old)
    return str(found.address)


@contextlib.contextmanager
def locked(root: Root) -> Iterator[None]:
    """Words that write wait for each other here.  Raises WordError where there is no configuration, LockTimeout, OSError."""
    if not os.path.isfile(root.configuration):
        raise WordError("there is no %s yet: start the server once, or say init"
                        % root.configuration)
    path = os.path.join(root.mail_system, LOCK)
    with FileLock(path, PATIENCE):
        give(root, path)
        yield


def _parse(settings: Settings, address: str) -> Address:
    try:
        text = address if "@" in address else "%s@%s" % (address, settings.sender_domain)
        return Address.parse(text)
    except AddressError as error:
        raise WordError("%s is no mail address: %s" % (address, error)) from None


def _must_be_free(settings: Settings, new: Address) -> None:
    names = Names(settings.sender_domain, settings.domains)
    if not names.is_local(new.domain) and new.domain != settings.sender_domain:
        raise WordError("%s is none of the domains in the configuration; add it there first "
                        "(mail for it would stay here)" % new.domain)
    if new.local == CATCH_ALL:
        raise WordError('"*" is the catch-all and no user')
    found = names.find_login("%s@%s" % new)
    if found is not None:
        raise WordError("%s@%s is there already" % found.address)


def _place(root: Root, settings: Settings, new: Address) -> Tuple[str, str]:
    """Where the new user's mail goes: the path as written, and the folder.

    The identity is the local part; with the domain where that is taken by
    another address (another person) or by the device.
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
                raise WordError("%s: expected %s" % (new, refused)) from None
    raise WordError("the folder for %s belongs to another user" % new)


def _with_line(source: str, new: Address, path: str) -> str:
    values = editing.read(source)
    if "domains" not in values:
        source = editing.add_member(source, (), "domains", {})
    domain = _written_domain(values, new.domain)
    if domain is None:
        domain = unicode_domain(new.domain)
        source = editing.add_member(source, ("domains",), domain, {})
    return editing.add_member(source, ("domains", domain), new.local, path)


def _with_admin(source: str, identity: str) -> str:
    if "admin" not in editing.read(source):
        return editing.add_member(source, (), "admin", [identity])
    return editing.add_item(source, ("admin",), identity)


def _without_admin(root: Root, settings: Settings, source: str,
                   address: Address, folder: str) -> str:
    """Take an identity off `admin` with its last address: who comes after is another."""
    identity = root.identity_of(folder)
    left = [action for domain, actions in settings.domains.items()
            for local, action in actions.items()
            if action.kind == "mailbox" and (local, domain) != address]
    admins = editing.read(source).get("admin", [])
    if identity not in admins or any(root.identity_of(each.value) == identity for each in left):
        return source
    return editing.remove(source, ("admin", admins.index(identity)))


def _written_domain(values: dict, domain: str) -> Optional[str]:
    """A domain (in A-labels) as it is spelled in the file, None where it is not in it."""
    for written in values.get("domains", {}):
        try:
            if ascii_domain(written) == domain:
                return written
        except AddressError:
            continue
    return None


def _aliases_of(settings: Settings, address: Address) -> List[str]:
    names = Names(settings.sender_domain, settings.domains)
    aliases = []
    for line in names.lines():
        following = names.next(line)
        if following is not None and following.address == address:
            aliases.append(str(line.address))
    return aliases


def write_secrets(root: Root, folder: str, passphrase: str, reversible: bool = False) -> None:
    """Put a passphrase's forms into a user's file, which is made where it is missing.

    The obscured form, which can be undone, is renewed where there was one, and
    introduced only if `reversible`.  Raises as add_user.
    """
    path = os.path.join(folder, FILE)
    _make_folder(root, folder)
    before = load_user(path, root)
    try:
        old = user_octets(path, root, root.identity_of(path) or "")
    except FileNotFoundError:
        old = b"{\n}\n"
    source = _text(old)
    stored = hash_passphrase(passphrase)
    source = editing.set_member(source, ("passphrase",), stored)
    source = editing.set_member(source, ("scram",), scram_secret(passphrase))
    if reversible or before.pop3pwd is not None:
        source = editing.set_member(source, ("pop3pwd",), obscure(passphrase))
    _write(root, path, source, old)
    if load_user(path, root).passphrase != stored:
        raise WordError("a file that %s includes sets another passphrase; change it there" % path)


def _text(octets: bytes) -> str:
    return octets.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def _write(root: Root, path: str, text: str, old: bytes) -> None:
    """Write a file that the server can read, with the line ends that the old one had."""
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
    """Let the root's owner own what we made: `sudo phenmail user add` beside a
    server that runs as another user must not lock it out."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        owner = os.stat(root.path)
        # Never through a link: the folder may belong to somebody else.
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
