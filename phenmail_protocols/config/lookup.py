"""From an address or a login name to its line in "domains", and along aliases to the last line.

This is the only look-up: the check of the configuration, delivery and logins use it. Domains are
compared in A-labels. Local parts are compared exactly, or without case if that is unambiguous
(RFC 5321 section 2.4 leaves the local part to us). Pure.
"""

from typing import Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional

from ..mail.address import Address, AddressError
from ..net.address import literal_ip
from ..text.domains import ascii_domain
from .settings import Action

CATCH_ALL = "*"
LONGEST_CHAIN = 10          # aliases; the loader refuses longer chains
LONGEST_NAME = 320          # 64 + "@" + 255, RFC 5321 section 4.5.3.1


class Found(NamedTuple):
    """A line of "domains": `address`, its left side, and its action.

    `tag`: what followed "+", or None. `caught`: it is the catch-all, whose local part is "*".
    """

    address: Address
    action: Action
    tag: Optional[str] = None
    caught: bool = False


class Lookup:
    """Finds lines in the "domains" of one configuration.

    `is_own(ip)`: whether an address literal with this IP address means this server. Its users
    are those of the sender domain (RFC 1123 section 5.2.17), or of the first domain if the sender
    domain is not configured.
    """

    def __init__(self, sender_domain: str, domains: Mapping[str, Mapping[str, Action]],
                 is_own: Optional[Callable[[str], bool]] = None) -> None:
        self._sender_domain = sender_domain
        self._is_own = is_own
        self._domains: Dict[str, _Domain] = {}
        for domain, actions in domains.items():
            key = _key(domain)
            self._domains[key] = _Domain(key, actions)
        home = _key(sender_domain)
        self._home = home if home in self._domains else next(iter(self._domains), home)

    def is_local(self, domain: str) -> bool:
        """Whether the domain is configured here."""
        return self._domain(domain) is not None

    def at_home(self, address: Address) -> Address:
        """The address with the domain that stands for this server.

        That changes only "postmaster" without a domain (RFC 5321 section 4.1.1.3) and addresses
        with a literal that means this server.
        """
        stands_alone = not address.domain and address.local.lower() == "postmaster"
        if stands_alone or self._is_ours(address.domain):
            return address._replace(domain=self._home)
        return address

    def find(self, address: Address) -> Optional[Found]:
        """The line for an address to which mail is sent, or None.

        The order is: the whole local part, the part before a "+tag", the catch-all.
        """
        local, at = self.at_home(address)
        domain = self._domain(at)
        if domain is None:
            return None
        return domain.exact(local) or domain.tagged(local) or domain.found(CATCH_ALL)

    def find_login(self, name: str) -> Optional[Found]:
        """The line for a login name, without "+tag" and catch-all, or None.

        Without "@" the name belongs to the sender domain. The name may be any text.
        """
        if len(name) > LONGEST_NAME:
            return None
        local, at, domain = name.rpartition("@")
        if not at:
            local, domain = name, self._sender_domain
        ours = self._domain(domain)
        return ours.exact(local) if ours is not None else None

    def next(self, found: Found) -> Optional[Found]:
        """The line to which an alias leads; None if there is none or `found` is not an alias."""
        if found.action.kind != "alias":
            return None
        local, _, domain = found.action.value.rpartition("@")
        return self.find(Address(local, domain))

    def end(self, found: Optional[Found]) -> Optional[Found]:
        """Follow aliases to the last line; None if they lead nowhere, and for None.

        The tag of the address that was looked up wins over one in an alias.
        """
        tag = None
        for _ in range(LONGEST_CHAIN + 1):
            if found is None:
                break
            tag = found.tag if tag is None else tag
            if found.action.kind != "alias":
                return found._replace(tag=tag)
            found = self.next(found)
        return None

    def lines(self) -> Iterator[Found]:
        """All lines, the catch-alls last."""
        for caught in (False, True):
            for domain in self._domains.values():
                for local in domain.actions:
                    if (local == CATCH_ALL) is caught:
                        yield domain.found(local)

    def _domain(self, domain: str) -> Optional["_Domain"]:
        return self._domains.get(self._home if self._is_ours(domain) else _key(domain))

    def _is_ours(self, domain: str) -> bool:
        """Whether it is a literal that means this server."""
        if domain[:1] != "[" or self._is_own is None:
            return False
        ip = literal_ip(domain)
        return ip is not None and self._is_own(ip)


class _Domain:
    """The local parts of one domain."""

    def __init__(self, name: str, actions: Mapping[str, Action]) -> None:
        self._name = name
        self.actions = actions
        self._folded: Dict[str, List[str]] = {}
        for local in actions:
            self._folded.setdefault(local.lower(), []).append(local)

    def exact(self, local: str) -> Optional[Found]:
        """The line of a local part; never the catch-all's, because "*" is not an address."""
        if local == CATCH_ALL:
            return None
        if local in self.actions:
            return self.found(local)
        alike = self._folded.get(local.lower(), ())
        # RFC 5321 section 4.5.1: postmaster is valid in any case, so it is never ambiguous.
        if len(alike) == 1 or alike and local.lower() == "postmaster":
            return self.found(min(alike))
        return None

    def tagged(self, local: str) -> Optional[Found]:
        """The line of `user` for `user+tag`; of several such users, the longest."""
        at = local.rfind("+")
        while at > 0:
            found = self.exact(local[:at])
            if found is not None:
                return found._replace(tag=local[at + 1:])
            at = local.rfind("+", 0, at)
        return None

    def found(self, local: str) -> Optional[Found]:
        """The line with exactly this local part, or None."""
        action = self.actions.get(local)
        if action is None:
            return None
        return Found(Address(local, self._name), action, caught=local == CATCH_ALL)


def _key(domain: str) -> str:
    """The spelling in which domains are compared."""
    try:
        return ascii_domain(domain)
    except AddressError:
        return domain
