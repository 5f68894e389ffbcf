"""What TLS a connection to a mail server must have.

By default TLS is opportunistic (RFC 7435). A domain can require it with TLSA records (DANE,
RFC 7672) or an MTA-STS policy (RFC 8461 2 and 5); if it has both, DANE wins. `smtp_client` keeps
what a Requirement says. DANE needs DNSSEC for every step: the MX records, the host's addresses,
and the TLSA records (RFC 7672 2.2).
"""
import logging
from functools import partial
from typing import NamedTuple, Tuple

from ..mail.reply import Reply
from ..net import tlsclient
from ..queue.model import Unreachable
from . import dane, mta_sts
from .mx_routes import NoRoute

log = logging.getLogger("phenmail.relay")


class Requirement(NamedTuple):
    """What a connection to one host must have.

    `required`: send nothing without TLS; `verify`: use a context that verifies certificates;
    `name`: the host name to send (SNI) and to verify, "" for the host's own, not verified; `tlsa`:
    the records that `peer_complaint` compares the certificate with; `why`: who requires it, for the
    log and for replies, "" for nobody.
    """
    required: bool = False
    verify: bool = False
    name: str = ""
    tlsa: Tuple[Tuple[int, int, int, bytes], ...] = ()
    why: str = ""


OPPORTUNISTIC = Requirement()


class Policies:
    """The policies of all domains. Thread-safe.

    `routes`: mx_routes.Routes; `folder`: where MTA-STS policies are kept; `fetch(domain)`: gets the
    bytes of one, by default over HTTPS; `port`: of the mail servers.
    """

    def __init__(self, routes, folder, fetch=None, port=25):
        self.routes = routes
        self.mta_sts = mta_sts.MtaSts(routes, folder,
                                      fetch or partial(mta_sts.fetch_policy, routes))
        self.port = port

    def of(self, domain, route):
        """-> DomainPolicy of a domain (A-labels) or literal with this mx_routes.Route; asks nothing
        yet."""
        return DomainPolicy(self, domain, route)


class DomainPolicy:
    """The policy for the hosts of one domain, for one delivery in one thread.

    The domain's MTA-STS policy is looked up for the first host without DANE.
    """

    def __init__(self, policies, domain, route):
        self._policies = policies
        self._domain = domain
        self._route = route
        self._found = None  # (mta_sts.Policy or None,) once it was looked up

    def host(self, name):
        """The Requirement for a host of the route; None if the domain's policy forbids the host.

        Raises Unreachable if that cannot be known now (RFC 7672 2.1.1): otherwise an attacker could
        switch DANE off by blocking the answer.
        """
        tlsa = self._tlsa(name)
        if not (tlsa and tlsa.records):
            return self._by_sts(name)
        base = tlsa.base or name
        usable = dane.usable(tlsa.records)
        if usable:
            return Requirement(True, False, base, usable, "DANE: TLSA records of %s" % base)
        stricter = self._by_sts(name)
        if stricter is None or stricter.required:
            return stricter
        # Unusable records still say that there is TLS (RFC 7672 2.2).
        return Requirement(True, why="DANE: TLSA records of %s, which require TLS though none "
                           "can be compared" % base)

    def _tlsa(self, name):
        """mx_routes.Tlsa, or None unless DNSSEC validated every step. Raises Unreachable."""
        routes = self._policies.routes
        if not self._route.secure or not routes.addresses(name).secure:
            return None
        try:
            tlsa = routes.tlsa(name, self._policies.port)
        except NoRoute as error:
            raise Unreachable(Reply(451, "4.7.5", "cannot look up the TLSA records of %s: %s" % (
                name, error.reply.text)))
        return tlsa if tlsa.secure else None

    def _by_sts(self, name):
        """The Requirement of the domain's MTA-STS policy, or None if it forbids the host."""
        policy = self._sts_policy()
        if policy is None or policy.mode == mta_sts.NONE:
            return OPPORTUNISTIC
        is_allowed = policy.allows(name)
        if policy.mode == mta_sts.TESTING:
            log.info("MTA-STS: the policy of %s is in testing mode and not enforced; it %s %s",
                     self._domain, "allows" if is_allowed else "does not allow", name)
            return OPPORTUNISTIC
        if not is_allowed:
            return None
        return Requirement(True, True, name, (), "the MTA-STS policy of " + self._domain)

    def _sts_policy(self):
        if self._domain.startswith("["):
            return None
        if self._found is None:
            self._found = (self._policies.mta_sts.policy(self._domain),)
        return self._found[0]


def peer_complaint(requirement, secure):
    """Why the server at the other end of a TLS socket is not the required one, or "".

    Where a verified certificate is required, the handshake has verified it.
    """
    if not requirement.tlsa:
        return ""
    return dane.complaint(requirement.tlsa, tlsclient.peer_certificate(secure))
