"""A user's definition in `domains`: its first character says what is done.

Also what only shows when all are known: alias loops and chains, and addresses
that every domain must have.  Knows no mailbox and delivers nothing.
"""

from typing import Any, Dict, List, Optional, Tuple

from ..mail.address import Address, AddressError, unicode_domain
from .checks import (
    HostName,
    Kind,
    Reader,
    Text,
    beyond_ascii,
    host_name,
    is_mail_address,
    is_one_line,
)
from .names import CATCH_ALL, LONGEST_CHAIN, Found, Names
from .problems import Path, nearest, shown
from .root import USER_TOKEN
from .settings import Action

REQUIRED_USERS = ("postmaster", "abuse")  # RFC 5321 4.5.1; RFC 2142 sections 4 and 5
HEXADECIMAL = frozenset("0123456789abcdefABCDEF")

Domains = Dict[str, Dict[str, Action]]
_DOMAIN = HostName("the name of a domain")


class DomainsKind(Kind):
    """`{domain: {local part: action}}`; gives domains in A-labels with Actions."""

    expected = "an object of domains: { … }"

    def read(self, reader: Reader, path: Path, value: Any) -> Domains:
        if not isinstance(value, dict):
            reader.problem(path, self.expected, value)
            return {}
        domains: Domains = {}
        written: Dict[str, str] = {}
        for name, users in value.items():
            at = path + (name,)
            domain = _DOMAIN.read(reader, at, name, key=True)
            if domain is None:
                continue
            if domain in domains:
                reader.problem(at, "each domain once (in any case, in U-labels or A-labels)", name,
                               "it is already there as %s" % shown(written[domain]), key=True)
            elif not isinstance(users, dict):
                reader.problem(at, "an object of users: { … }", users)
            else:
                written[domain] = name
                domains[domain] = _users(reader, at, domain, users)
        names = Names("", domains)
        _check_aliases(reader, path, names, written)
        _complain(reader, path, names, domains, written)
        return domains


def _users(reader: Reader, path: Path, domain: str, users: Dict[str, Any]) -> Dict[str, Action]:
    actions = {}
    for local, text in users.items():
        at = path + (local,)
        if not _is_local_part(local):
            reader.problem(at, "a local part: what stands before the @", local, key=True)
            continue
        action = read_action(reader, at, domain, local, text)
        if action is not None:
            actions[local] = action
    return actions


def _is_local_part(local: Any) -> bool:
    # 64 octets: RFC 5321 section 4.5.3.1.1.
    return (isinstance(local, str) and "@" not in local and local == local.strip()
            and local != "" and is_one_line(local) and len(local.encode("utf-8", "replace")) <= 64)


def read_action(reader: Reader, path: Path, domain: str, local: str, text: Any) -> Optional[Action]:
    """Read one definition; None after telling what is wrong with it.

    In: the domain (in A-labels) and local part that it is for.
    """
    expected = ('an action: "-" disables, "/" a mail folder, ":" an alias, '
                '">" a command or an address, "." a plugin')
    readers = {"-": _disabled, "/": _mailbox, ":": _alias, ">": _outward, ".": _plugin}
    if not isinstance(text, str) or text[:1] not in readers or not is_one_line(text):
        if isinstance(text, str) and text[:1] == ">":
            text = None  # it may hold a hash
        reader.problem(path, expected, text)
        return None
    return readers[text[0]](reader, path, domain, local, text)


def _disabled(reader: Reader, path: Path, domain: str, local: str, text: str) -> Action:
    return Action("disabled", text[1:].strip())


def _mailbox(reader: Reader, path: Path, domain: str, local: str, text: str) -> Optional[Action]:
    if local == CATCH_ALL and USER_TOKEN in text:
        reader.problem(path, "a folder with its name: %s stands for no one in a catch-all"
                       % USER_TOKEN, text)
        return None
    if not text.replace("/.", "/").strip("/"):
        reader.problem(path, "the path of a mail folder", text)
        return None
    folder = reader.path(path, text, local)
    return None if folder is None else Action("mailbox", folder)


def _alias(reader: Reader, path: Path, domain: str, local: str, text: str) -> Optional[Action]:
    user, at, other = text[1:].strip().rpartition("@")
    if not at:
        user, other = other, domain
    reason = ""
    try:
        user, other = _unquoted(user), host_name(other)
    except AddressError as error:
        user, reason = "", beyond_ascii(text, error)
    if user == CATCH_ALL or not _is_local_part(user):
        reader.problem(path, '":user" or ":user@domain"', text, reason)
        return None
    return Action("alias", "%s@%s" % (user, other))


def _unquoted(user: str) -> str:
    """A local part as `domains` has it, of one that may be in quotes (RFC 5321 section 4.1.2).
    Raises AddressError."""
    return Address.parse(user + "@localhost").local if user[:1] == '"' else user


def _outward(reader: Reader, path: Path, domain: str, local: str, text: str) -> Optional[Action]:
    action, expected = outward(text[1:])
    if action is None:
        words = _split_secret(text[1:].strip())[0].split()  # further ones may be hashes
        reader.problem(path, expected, ">" + words[0] + " …" if words else None)
    return action


def outward(text: str) -> Tuple[Optional[Action], str]:
    """What stands behind ">": an Action of kind "agent" or "forward", or None and what was expected."""
    value, secret = _split_secret(text.strip())
    words = value.split()
    if not words:
        return None, 'a command or an address after ">"'
    if not _looks_like_address(words[0]):
        if _is_command(value):
            return Action("agent", value, secret), ""
        return None, "a command whose quotes are closed"
    if not is_mail_address(words[0]):
        return None, 'a mail address after ">"' + _why_no_address(words[0])
    if len(words) > 1:
        return None, ("nothing after the address, or the 64 hexadecimal digits of "
                      "a passphrase's sha256")
    return Action("forward", words[0], secret), ""


class ExternalMda(Text):
    """A user's `external-MDA`: what may stand behind ">", with that sign or without; gives the text as written."""

    def __init__(self) -> None:
        super().__init__("a command or an address", limit=10000)

    def read(self, reader: Reader, path: Path, value: Any) -> Any:
        if not self.accepts(value):
            reader.problem(path, self.expected)  # it may hold a hash
            return None
        action, expected = external_mda(value)
        if action is None:
            reader.problem(path, expected)
            return None
        return value


def external_mda(text: str) -> Tuple[Optional[Action], str]:
    """As `outward`, of an `external-MDA`; what hash it holds is nobody's: the user logs in with the mailbox's passphrase."""
    action, expected = outward(text[1:] if text[:1] == ">" else text)
    return None if action is None else action._replace(secret=None), expected


def _split_secret(text: str) -> Tuple[str, Optional[str]]:
    value, _, last = text.rpartition(" ")
    if len(last) == 64 and HEXADECIMAL.issuperset(last):
        return value.strip(), last.lower()
    return text, None


def _looks_like_address(word: str) -> bool:
    """Whether it is to be an address, though perhaps a broken one: a command would fail for each
    message."""
    return word.find("@") > 0 and "/" not in word


def _why_no_address(word: str) -> str:
    try:
        Address.parse(word)
    except AddressError as error:
        reason = beyond_ascii(word, error)
        return " (%s)" % reason if reason else ""
    return ""


def _is_command(text: str) -> bool:
    import shlex  # late: seldom needed

    try:
        return bool(shlex.split(text))
    except ValueError:
        return False


def _plugin(reader: Reader, path: Path, domain: str, local: str, text: str) -> Optional[Action]:
    name, _, parameters = text[1:].strip().partition(" ")
    if not name:
        reader.problem(path, 'the name of a plugin after "."', text)
        return None
    return Action("plugin", ("%s %s" % (name, parameters.strip())).strip())


def _check_aliases(reader: Reader, path: Path, names: Names, written: Dict[str, str]) -> None:
    """Tell each loop once, and each chain where it is one too long."""
    depth: Dict[Address, int] = {}
    for line in list(names.lines()) + list(names.catch_alls()):
        walk: List[Address] = []
        found: Optional[Found] = line
        passed: set = set()
        while found is not None and found.address not in depth and found.address not in passed:
            passed.add(found.address)
            walk.append(found.address)
            found = names.next(found)
        if found is not None and found.address in passed:
            _tell_loop(reader, path, walk[walk.index(found.address):], written)
            depth.update((member, 0) for member in walk)
        else:
            below = -1 if found is None else depth[found.address]
            _measure(reader, path, walk, below, depth, written)


def _tell_loop(reader: Reader, path: Path, loop: List[Address], written: Dict[str, str]) -> None:
    local, domain = loop[0]
    steps = [each.shown() for each in loop[:12] + loop[:1]]
    reader.problem(path + (written[domain], local), "", hint="alias loop: " + " -> ".join(steps))


def _measure(reader: Reader, path: Path, walk: List[Address], below: int,
             depth: Dict[Address, int], written: Dict[str, str]) -> None:
    for address in reversed(walk):
        below += 1
        depth[address] = below
        if below == LONGEST_CHAIN + 1:
            reader.problem(path + (written[address.domain], address.local),
                           "at most %d aliases one after the other" % LONGEST_CHAIN)


def _complain(reader: Reader, path: Path, names: Names, domains: Domains,
              written: Dict[str, str]) -> None:
    for domain in domains:
        for name in REQUIRED_USERS:
            found = names.find(Address(name, domain))
            if found is None or found.action.kind == "disabled":
                reader.complain(path + (written[domain],), "the address %s@%s, which every mail "
                                "domain needs" % (name, unicode_domain(domain)), key=True)
    for line in list(names.lines()) + list(names.catch_alls()):
        if line.action.kind == "alias" and names.next(line) is None:
            at = path + (written[line.address.domain], line.address.local)
            _complain_of_alias(reader, at, domains, line.action.value)


def _complain_of_alias(reader: Reader, path: Path, domains: Domains, target: str) -> None:
    user, _, domain = target.rpartition("@")
    if domain in domains:
        hint = nearest(user, list(domains[domain]))
    else:
        hint = nearest(unicode_domain(domain), [unicode_domain(each) for each in domains])
    text = "alias target %s does not exist" % Address(user, domain).shown()
    reader.complain(path, "", text + ("; " + hint if hint.startswith("nearest") else ""))
