"""From an address or a login name to its line in `domains`, and along aliases to where it ends.

The one look-up, of the configuration's check as of delivery and logins.  Pure: knows the
configuration's values, no files and no secrets.  Domains compare in A-labels; local parts exactly,
else without case where that is unique (RFC 5321 section 2.4 leaves the local part to us).
"""

from typing import Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from ..mail.address import Address, AddressError
from ..net.address import literal_ip
from ..text.domains import ascii_domain
from .settings import Action

CATCH_ALL = "*"
LONGEST_CHAIN = 10          # of aliases; the loader refuses longer ones
LONGEST_NAME = 320          # 64 + "@" + 255, RFC 5321 section 4.5.3.1


class Found(NamedTuple):
    """A line of `domains`: `address` as it is written there, and its action.

    `tag` is what followed "+", or None.  `caught`: only the catch-all matched;
    `address` then has "*" as its local part.
    """

    address: Address
    action: Action
    tag: Optional[str] = None
    caught: bool = False


class Names:
    """The `domains` of one configuration, ready for looking up.

    `is_own(ip)`: whether a literal with this address means this server; its users are the sender
    domain's (RFC 1123 section 5.2.17), or the first domain's where that is none of ours.
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
        """Whether the domain is one of ours."""
        return self._domain(domain) is not None

    def at_home(self, address: Address) -> Address:
        """The same at the sender domain (or as above) for "postmaster" without a domain (RFC 5321
        section 4.1.1.3) and for a literal that means this server; any other as it is."""
        stands_alone = not address.domain and address.local.lower() == "postmaster"
        if stands_alone or self._is_ours(address.domain):
            return address._replace(domain=self._home)
        return address

    def find(self, address: Address) -> Optional[Found]:
        """Find the line for an address to which mail is sent.

        In order: the name as it stands, the name before a "+tag", the
        catch-all.  None where there is no such address.
        """
        name, at = self.at_home(address)
        domain = self._domain(at)
        if domain is None:
            return None
        return domain.exact(name) or domain.tagged(name) or domain.caught()

    def find_login(self, name: str) -> Optional[Found]:
        """Find the line for a login name: no "+tag", no catch-all.

        Without "@" the name belongs to the sender domain.  Any text may come.
        """
        if len(name) > LONGEST_NAME:
            return None
        local, at, domain = name.rpartition("@")
        if not at:
            local, domain = name, self._sender_domain
        ours = self._domain(domain)
        return ours.exact(local) if ours is not None else None

    def next(self, found: Found) -> Optional[Found]:
        """The line to which an alias leads; None where there is none, and where `found` is no
        alias."""
        if found.action.kind != "alias":
            return None
        local, _, domain = found.action.value.rpartition("@")
        return self.find(Address(local, domain))

    def end(self, found: Found) -> Optional[Found]:
        """Follow aliases to the last line; None where they lead nowhere.

        The tag of the address that was asked for wins over one in an alias.
        """
        tag = found.tag
        for _ in range(LONGEST_CHAIN + 1):
            if found.action.kind != "alias":
                return found._replace(tag=tag)
            following = self.next(found)
            if following is None:
                return None
            found = following
            tag = found.tag if tag is None else tag
        return None

    def catch_alls(self) -> Iterator[Found]:
        """The lines of the catch-alls; "*" is their local part."""
        for domain in self._domains.values():
            found = domain.caught()
            if found is not None:
                yield found

    def lines(self) -> Iterator[Found]:
        """All lines but the catch-alls."""
        for domain in self._domains.values():
            for found in domain.lines():
                yield found

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
        self._actions = actions
        self._folded: Dict[str, List[str]] = {}
        for local in actions:
            self._folded.setdefault(local.lower(), []).append(local)

    def exact(self, local: str) -> Optional[Found]:
        """The line of a local part; never the catch-all's, whose name is no address."""
        if local == CATCH_ALL:
            return None
        if local in self._actions:
            return self._found(local)
        alike = self._folded.get(local.lower(), ())
        if len(alike) == 1:
            return self._found(alike[0])
        # RFC 5321 section 4.5.1: postmaster in any case; so it is never ambiguous.
        if alike and local.lower() == "postmaster":
            return self._found(min(alike))
        return None

    def tagged(self, local: str) -> Optional[Found]:
        """The line of `user` for `user+tag`; the longest user that is defined."""
        at = local.rfind("+")
        while at > 0:
            found = self.exact(local[:at])
            if found is not None:
                return found._replace(tag=local[at + 1:])
            at = local.rfind("+", 0, at)
        return None

    def caught(self) -> Optional[Found]:
        if CATCH_ALL not in self._actions:
            return None
        return self._found(CATCH_ALL)._replace(caught=True)

    def lines(self) -> Tuple[Found, ...]:
        return tuple(self._found(local) for local in self._actions if local != CATCH_ALL)

    def _found(self, local: str) -> Found:
        return Found(Address(local, self._name), self._actions[local])


def _key(domain: str) -> str:
    """The spelling by which domains are compared."""
    try:
        return ascii_domain(domain)
    except AddressError:
        return domain
