"""A user's definition in `domains`: its first character says what is done.

Also what only shows when all are known: alias loops and chains, and addresses
that every domain must have.  Knows no mailbox and delivers nothing.
"""

from typing import Any, Dict, List, Optional, Tuple

from .checks import Kind, Reader, Text, is_host_name, is_one_line
from .problems import Path, nearest, shown
from .root import USER_TOKEN
from .settings import Action

MAX_CHAIN = 10
CATCH_ALL = "*"
REQUIRED_USERS = ("postmaster", "abuse")  # RFC 5321 4.5.1; RFC 2142 sections 4 and 5
HEXADECIMAL = frozenset("0123456789abcdefABCDEF")

Domains = Dict[str, Dict[str, Action]]
Entry = Tuple[str, str]


class DomainsKind(Kind):
    """`{domain: {local part: action}}`; gives domains in lower case with Actions."""

    expected = "an object of domains: { … }"

    def read(self, reader: Reader, path: Path, value: Any) -> Domains:
        if not isinstance(value, dict):
            reader.problem(path, self.expected, value)
            return {}
        domains = {}  # type: Domains
        written = {}  # type: Dict[str, str]
        for name, users in value.items():
            at = path + (name,)
            domain = str(name).lower()
            if not isinstance(name, str) or not is_host_name(domain):
                reader.problem(at, "the name of a domain", name, key=True)
            elif domain in domains:
                reader.problem(at, "each domain once (case makes no difference)", name,
                               "it is already there as %s" % shown(written[domain]), key=True)
            elif not isinstance(users, dict):
                reader.problem(at, "an object of users: { … }", users)
            else:
                written[domain] = name
                domains[domain] = _users(reader, at, domain, users)
        addresses = Addresses(domains)
        _check_aliases(reader, path, addresses, written)
        _complain(reader, path, addresses, written)
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

    In: the domain (in lower case) and local part that it is for.
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
    other = other.lower()
    if user == CATCH_ALL or not _is_local_part(user) or not is_host_name(other):
        reader.problem(path, '":user" or ":user@domain"', text)
        return None
    return Action("alias", "%s@%s" % (user, other))


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
    if not _is_forward_address(words[0]):
        if _is_command(value):
            return Action("agent", value, secret), ""
        return None, "a command whose quotes are closed"
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


def _is_forward_address(word: str) -> bool:
    local, at, domain = word.rpartition("@")
    return bool(at and local) and "/" not in local and is_host_name(domain)


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


class Addresses:
    """All entries of all domains, found as mail finds them.

    An entry is (domain, local part), both as they are keys of `domains`.
    """

    def __init__(self, domains: Domains) -> None:
        self.domains = domains
        self._folded = {}  # type: Dict[str, Dict[str, List[str]]]
        for domain, users in domains.items():
            folded = self._folded[domain] = {}
            for local in users:
                folded.setdefault(local.lower(), []).append(local)

    def find(self, domain: str, local: str) -> Optional[Entry]:
        """The entry that answers for an address, or None.

        As written, else without case where that is unique, else the same
        without `+tag`, else the catch-all.
        """
        users = self.domains.get(domain, {})
        for wanted in (local, local.partition("+")[0]):
            alike = self._folded.get(domain, {}).get(wanted.lower(), [])
            if wanted == CATCH_ALL:
                continue
            if wanted in users:
                return domain, wanted
            if len(alike) == 1:
                return domain, alike[0]
        return (domain, CATCH_ALL) if CATCH_ALL in users else None

    def next(self, entry: Entry) -> Optional[Entry]:
        """Where an alias leads; None at the end."""
        action = self.domains[entry[0]][entry[1]]
        if action.kind != "alias":
            return None
        user, _, domain = action.value.rpartition("@")
        return self.find(domain, user)


def _check_aliases(reader: Reader, path: Path, addresses: Addresses,
                   written: Dict[str, str]) -> None:
    """Tell each circle once, and each chain where it is one too long."""
    depth = {}  # type: Dict[Entry, int]
    for domain, users in addresses.domains.items():
        for local in users:
            walk = []  # type: List[Entry]
            entry = (domain, local)  # type: Optional[Entry]
            passed = set()  # type: set
            while entry is not None and entry not in depth and entry not in passed:
                passed.add(entry)
                walk.append(entry)
                entry = addresses.next(entry)
            if entry in passed:
                _tell_circle(reader, path, walk[walk.index(entry):], written)
                depth.update((member, 0) for member in walk)
            else:
                _measure(reader, path, walk, depth.get(entry, -1), depth, written)


def _tell_circle(reader: Reader, path: Path, circle: List[Entry], written: Dict[str, str]) -> None:
    domain, local = circle[0]
    names = ["%s@%s" % (user, of) for of, user in circle[:12] + circle[:1]]
    reader.problem(path + (written[domain], local), "an alias that ends somewhere",
                   hint="it goes in a circle: " + " -> ".join(names))


def _measure(reader: Reader, path: Path, walk: List[Entry], below: int,
             depth: Dict[Entry, int], written: Dict[str, str]) -> None:
    for domain, local in reversed(walk):
        below += 1
        depth[domain, local] = below
        if below == MAX_CHAIN + 1:
            reader.problem(path + (written[domain], local),
                           "at most %d aliases one after the other" % MAX_CHAIN)


def _complain(reader: Reader, path: Path, addresses: Addresses, written: Dict[str, str]) -> None:
    for domain, users in addresses.domains.items():
        at = path + (written[domain],)
        for name in REQUIRED_USERS:
            found = addresses.find(domain, name)
            if found is None or users[found[1]].kind == "disabled":
                reader.complain(at, "the address %s@%s, which every mail domain needs"
                                % (name, domain), key=True)
        for local, action in users.items():
            if action.kind == "alias" and addresses.next((domain, local)) is None:
                _complain_of_alias(reader, at + (local,), addresses.domains, action.value)


def _complain_of_alias(reader: Reader, path: Path, domains: Domains, target: str) -> None:
    user, _, domain = target.rpartition("@")
    known = list(domains.get(domain, domains))
    hint = nearest(user if domain in domains else domain, known)
    reader.complain(path, "an alias of an address that exists (%s does not)" % target,
                    hint if hint.startswith("nearest") else "")
