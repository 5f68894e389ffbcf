"""What TLS a connection to a mail server has to have: nothing (opportunistic), what the domain's MTA-STS policy says, or what the
server's TLSA records say, which win.

Asks relay.routes and relay.sts, opens no connection to a mail server; relay.client does, and keeps what a Requirement says, with
`peer_complaint`.
Sources: RFC 7435 (opportunistic), RFC 7672 2.2 (when DANE is in force, and what of unusable records), RFC 8461 2 and 5 (MTA-STS).
"""

import logging
from typing import NamedTuple, Tuple

from ..mail.reply import Reply
from ..net import tlsclient
from ..queue.model import Unreachable
from . import dane, sts
from .routes import NoRoute
from .sts_fetch import Https

_log = logging.getLogger("phenmail.relay")


class Requirement(NamedTuple):
    """What a connection to one host has to have.

    `required`: no mail without TLS.  `verify`: the handshake needs a context that verifies.  `name`: the host name to tell the server
    and to verify; "": the host's own, for telling only.  `tlsa`: the records that `peer_complaint` holds the server to after the
    handshake.  `why`: who demands it, for the log and for replies; "" where nobody does.
    """
    required: bool = False
    verify: bool = False
    name: str = ""
    tlsa: Tuple[Tuple[int, int, int, bytes], ...] = ()
    why: str = ""


OPPORTUNISTIC = Requirement()


class Policies(object):
    """The policies of all domains. `routes`: relay.routes.Routes; `folder`: where MTA-STS policies are kept; `fetch(domain)`: gives the
    octets of one, relay.sts_fetch where None; `port`: of the mail servers. For any number of threads."""

    def __init__(self, routes, folder, fetch=None, port=25):
        self._routes = routes
        self._sts = sts.Sts(routes, folder, fetch or Https(routes))
        self._port = port

    def of(self, domain, route):
        """DomainPolicy of a destination (A-labels, or an address literal) and its routes.Route. Asks nobody yet."""
        return DomainPolicy(self._routes, self._sts, self._port, domain, route)


class DomainPolicy(object):
    """What holds for the hosts of one domain, for one delivery in one thread. The domain's MTA-STS policy is looked for when the first
    host without DANE is asked about."""

    def __init__(self, routes, policies, port, domain, route):
        self._routes = routes
        self._policies = policies
        self._port = port
        self._domain = domain
        self._route = route
        self._said = None  # a tuple of the sts.Policy or None, once it is known

    def host(self, name):
        """The Requirement for a host of the route, or None: the domain's policy forbids to give it mail. Raises Unreachable where that
        cannot be known now (RFC 7672 2.1.1: without it an attacker could switch DANE off)."""
        tlsa = self._tlsa(name)
        if not (tlsa and tlsa.records):
            return self._by_sts(name)
        found = dane.usable(tlsa.records)
        if found:
            return Requirement(True, False, tlsa.base or name, found, "DANE: TLSA records of %s" % (tlsa.base or name))
        stricter = self._by_sts(name)
        if stricter is None or stricter.required:
            return stricter
        return Requirement(True, why="TLSA records of %s, which ask for TLS and cannot be used for more" % (tlsa.base or name))

    def _tlsa(self, name):
        """routes.Tlsa, or None where DNSSEC does not vouch for the way to it (RFC 7672 2.2). Raises Unreachable."""
        if not self._route.secure:
            return None
        try:
            if not self._routes.addresses(name).secure:
                return None
        except NoRoute as error:
            raise Unreachable(error.reply)
        try:
            tlsa = self._routes.tlsa(name, self._port)
        except NoRoute as error:
            raise Unreachable(Reply(451, "4.7.5", "the TLSA records of %s cannot be had: %s" % (name, error.reply.text)))
        return tlsa if tlsa.secure else None

    def _by_sts(self, name):
        """The Requirement of the domain's MTA-STS policy, or None where it forbids the host."""
        policy = self._sts_policy()
        if policy is None or policy.mode == sts.NONE:
            return OPPORTUNISTIC
        allowed = policy.allows(name)
        if policy.mode == sts.TESTING:
            _log.info("MTA-STS: %s is testing its policy, so it does not hold; %s is %s it", self._domain, name,
                      "in" if allowed else "not in")
            return OPPORTUNISTIC
        return Requirement(True, True, name, (), "the MTA-STS policy of " + self._domain) if allowed else None

    def _sts_policy(self):
        if self._domain.startswith("["):
            return None
        if self._said is None:
            self._said = (self._policies.policy(self._domain),)
        return self._said[0]


def peer_complaint(requirement, secure):
    """Why the server at the other end of a TLS socket, which has shaken hands, is not the one that is required; "" when it is."""
    if not requirement.tlsa:
        return ""  # where a verified certificate is required, the handshake verified it
    return dane.complaint(requirement.tlsa, tlsclient.peer_certificate(secure))
