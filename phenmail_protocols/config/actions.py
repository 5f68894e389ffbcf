"""The values in "domains": the first character of an address's value selects the action.

Also the checks that need all addresses: alias loops, long alias chains, alias targets that do not
exist, and the addresses that every domain must have.
"""

from types import MappingProxyType
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ..mail.address import Address, AddressError, unicode_domain
from .addresses import host_name, is_mail_address, why_invalid
from .checks import HostName, Kind, Reader, Text, is_one_line
from .lookup import CATCH_ALL, LONGEST_CHAIN, Found, Lookup
from .problems import Path, did_you_mean, shown
from .root_folder import USER_TOKEN
from .settings import Action

REQUIRED_USERS = ("postmaster", "abuse")  # RFC 5321 section 4.5.1; RFC 2142 sections 4 and 5
HEXADECIMAL = frozenset("0123456789abcdefABCDEF")

Domains = Mapping[str, Mapping[str, Action]]
_DOMAIN = HostName("a domain name")


class DomainsKind(Kind):
    """`{domain: {local part: action}}`; returns domains in A-labels with Actions."""

    expected = "an object of domains: { … }"
    types = (dict,)

    def read(self, reader: Reader, path: Path, value: Any, key: bool = False) -> Domains:
        domains: Dict[str, Mapping[str, Action]] = {}
        written: Dict[str, str] = {}
        if super().read(reader, path, value) is None:
            value = {}
        for name, users in value.items():
            at = path + (name,)
            domain = _DOMAIN.read(reader, at, name, key=True)
            if domain is None:
                continue
            # JSON allows one domain in two spellings: another case, or U-labels and A-labels.
            if domain in domains:
                reader.problem(at, "", hint="duplicate domain: already defined as %s"
                               % shown(written[domain]), key=True)
            elif not isinstance(users, dict):
                reader.problem(at, "an object of users: { … }", users)
            else:
                written[domain] = name
                domains[domain] = MappingProxyType(_users(reader, at, domain, users))
        lookup = Lookup("", domains)
        _check_aliases(reader, path, lookup, written)
        _warn(reader, path, lookup, domains, written)
        return MappingProxyType(domains)


def _users(reader: Reader, path: Path, domain: str, users: Dict[str, Any]) -> Dict[str, Action]:
    actions = {}
    for local, text in users.items():
        at = path + (local,)
        if not _is_local_part(local):
            reader.problem(at, "a local part (the part before the @)", local, key=True)
            continue
        action = read_action(reader, at, domain, local, text)
        if action is not None:
            actions[local] = action
    return actions


def _is_local_part(local: str) -> bool:
    # 64 octets: RFC 5321 section 4.5.3.1.1.
    return ("@" not in local and local == local.strip() != "" and is_one_line(local)
            and len(local.encode("utf-8", "replace")) <= 64)


def read_action(reader: Reader, path: Path, domain: str, local: str, text: Any) -> Optional[Action]:
    """The Action of one address; None after reporting what is wrong with it.

    In: the address's domain (in A-labels) and local part.
    """
    first = text[:1] if isinstance(text, str) and is_one_line(text) else ""
    if first == "-":
        return Action("disabled", text[1:].strip())
    if first == "/":
        return _mailbox(reader, path, local, text)
    if first == ":":
        return _alias(reader, path, domain, text)
    if first == ">":
        return _outward(reader, path, text[1:].strip())
    if first == ".":
        return _plugin(reader, path, text)
    # What starts with ">" is not shown: it may hold a hash.
    value = None if isinstance(text, str) and text[:1] == ">" else text
    reader.problem(path, 'an action: "-" disables, "/" a mail folder, ":" an alias, '
                   '">" a command or an address, "." a plugin', value)
    return None


def _mailbox(reader: Reader, path: Path, local: str, text: str) -> Optional[Action]:
    if local == CATCH_ALL and USER_TOKEN in text:
        reader.problem(path, "a path without %s, because a catch-all has no user" % USER_TOKEN,
                       text)
        return None
    if not text.replace("/.", "/").strip("/"):
        reader.problem(path, "the path of a mail folder", text)
        return None
    folder = reader.path(path, text, local)
    return None if folder is None else Action("mailbox", folder)


def _alias(reader: Reader, path: Path, domain: str, text: str) -> Optional[Action]:
    user, at, other = text[1:].strip().rpartition("@")
    if not at:
        user, other = other, domain
    try:
        # A local part in quotes is stored without them, as in "domains".
        user = Address.parse(user + "@localhost").local if user[:1] == '"' else user
        other = host_name(other)
    except AddressError:
        user = CATCH_ALL
    # ":*" would mean the literal address "*", which does not exist.
    if user == CATCH_ALL or not _is_local_part(user):
        reader.problem(path, '":user" or ":user@domain"', text, why_invalid(other, host_name))
        return None
    return Action("alias", "%s@%s" % (user, other))


def _outward(reader: Reader, path: Path, text: str) -> Optional[Action]:
    action, expected = outward(text)
    if action is None:
        # Only the first word is shown: the others may be a hash.
        words = _split_secret(text)[0].split()
        reader.problem(path, expected, ">" + words[0] + " …" if words else None)
    return action


def outward(text: str) -> Tuple[Optional[Action], str]:
    """The Action, of kind "agent" or "forward", for the text after ">".

    Out: (Action, ""), or (None, what was expected).
    """
    value, secret = _split_secret(text.strip())
    words = value.split()
    if not words:
        return None, 'a command or an address after ">"'
    if not _looks_like_address(words[0]):
        if _is_command(value):
            return Action("agent", value, secret), ""
        return None, "a command whose quotes are closed"
    if not is_mail_address(words[0]):
        reason = why_invalid(words[0], Address.parse)
        return None, 'a mail address after ">"' + (" (%s)" % reason if reason else "")
    if len(words) > 1:
        return None, ("nothing after the address but the SHA-256 hash of a passphrase "
                      "(64 hexadecimal digits)")
    return Action("forward", words[0], secret), ""


class ExternalMda(Text):
    """A user's `external-MDA`: what may follow ">", with or without that sign.

    Returns the text as written.
    """

    def __init__(self) -> None:
        super().__init__("a command or an address", limit=10000)

    def read(self, reader: Reader, path: Path, value: Any, key: bool = False) -> Optional[str]:
        # The value is not shown: it may hold a hash.
        expected = self.expected if self.clean(value) is None else external_mda(value)[1]
        if expected:
            reader.problem(path, expected)
            return None
        return value


def external_mda(text: str) -> Tuple[Optional[Action], str]:
    """Like `outward`, for an `external-MDA`.

    A hash in it has no effect: the user logs in with the passphrase of the mailbox.
    """
    action, expected = outward(text[1:] if text[:1] == ">" else text)
    return None if action is None else action._replace(secret=None), expected


def _split_secret(text: str) -> Tuple[str, Optional[str]]:
    value, _, last = text.rpartition(" ")
    if len(last) == 64 and HEXADECIMAL.issuperset(last):
        return value.strip(), last.lower()
    return text, None


def _looks_like_address(word: str) -> bool:
    """Whether a word is meant as an address, even an invalid one.

    Taken as a command, a misspelt address would only fail when mail arrives.
    """
    return word.find("@") > 0 and "/" not in word


def _is_command(text: str) -> bool:
    import shlex  # late: seldom needed

    try:
        return bool(shlex.split(text))
    except ValueError:
        return False


def _plugin(reader: Reader, path: Path, text: str) -> Optional[Action]:
    name, _, parameters = text[1:].strip().partition(" ")
    if not name:
        reader.problem(path, 'the name of a plugin after "."', text)
        return None
    return Action("plugin", ("%s %s" % (name, parameters.strip())).strip())


def _check_aliases(reader: Reader, path: Path, lookup: Lookup, written: Dict[str, str]) -> None:
    """Report each alias loop once, and each chain that is too long.

    `depth` has the number of aliases from each address to the end of its chain, so that each
    alias is followed only once, however many lead to it.
    """
    depth: Dict[Address, int] = {}
    for line in lookup.lines():
        chain: List[Address] = []
        found: Optional[Found] = line
        passed: set = set()
        while found is not None and found.address not in depth and found.address not in passed:
            passed.add(found.address)
            chain.append(found.address)
            found = lookup.next(found)
        if found is not None and found.address in passed:
            loop = chain[chain.index(found.address):]
            steps = [each.shown() for each in loop[:12] + loop[:1]]
            reader.problem(path + (written[loop[0].domain], loop[0].local), "",
                           hint="alias loop: " + " -> ".join(steps))
            depth.update((address, 0) for address in chain)
            continue
        below = -1 if found is None else depth[found.address]
        for address in reversed(chain):
            below += 1
            depth[address] = below
            if below == LONGEST_CHAIN + 1:
                reader.problem(path + (written[address.domain], address.local),
                               "a chain of at most %d aliases" % LONGEST_CHAIN)


def _warn(reader: Reader, path: Path, lookup: Lookup, domains: Domains,
          written: Dict[str, str]) -> None:
    for domain in domains:
        for name in REQUIRED_USERS:
            found = lookup.find(Address(name, domain))
            if found is None or found.action.kind == "disabled":
                reader.warn(path + (written[domain],), "the address %s@%s, which every mail "
                            "domain needs" % (name, unicode_domain(domain)), key=True)
    for line in lookup.lines():
        if line.action.kind == "alias" and lookup.next(line) is None:
            at = path + (written[line.address.domain], line.address.local)
            _warn_of_alias(reader, at, domains, line.action.value)


def _warn_of_alias(reader: Reader, path: Path, domains: Domains, target: str) -> None:
    user, _, domain = target.rpartition("@")
    if domain in domains:
        hint = did_you_mean(user, list(domains[domain]))
    else:
        hint = did_you_mean(unicode_domain(domain), [unicode_domain(each) for each in domains])
    text = "alias target %s does not exist" % Address(user, domain).shown()
    reader.warn(path, "", text + ("; " + hint if hint else ""))
