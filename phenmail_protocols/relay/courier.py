"""Takes messages to one destination, one after the other, over one connection that it finds, keeps and replaces: hosts by
preference, the addresses of each, TLS as the policy says. A message with 8-bit octets goes only to
a host that takes them: it is never converted, since that would break signatures.

For one sending thread. It must not know queues, schedules or other destinations. RFC 5321 section 5.1, RFC 3974 (both families),
RFC 6152.
"""
import logging
import socket
import time

from ..mail.reply import Reply
from ..queue.model import Unreachable
from .client import Connection, Contexts, Unverified, UpstreamLoginFailed
from .policies import Requirement
from .routes import NoRoute
from .wire import Deadlines, later

_log = logging.getLogger("phenmail.relay")

# One connection carries so many messages, for so many seconds: some servers count, and a host that comes back gets its share.
MOST_MESSAGES, LONGEST_USE = 1000, 600.0

# Addresses that are tried for one message; each may cost a connect's whole deadline.
_MOST_ADDRESSES = 10

_OURSELVES = "5.4.6"  # whoever stands behind us in a route is not asked either (RFC 5321 section 5.1)


class Courier(object):
    """The courier to `destination`: a domain in A-labels, or an address literal in brackets.

    `routes`, `policies`: relay.routes.Routes, relay.policies.Policies. `helo`: our name. `port`: of
    the others. `contexts`: the TLS contexts that all couriers share.
    """

    def __init__(self, destination, routes, policies, helo, *, port=25, contexts=None,
                 deadlines=Deadlines(), clock=time.monotonic):
        self._destination = destination
        self._routes = routes
        self._policies = policies
        self._helo = helo
        self._port = port
        self._contexts = contexts or Contexts()
        self._deadlines = deadlines
        self._clock = clock
        self._connection = None
        self._sent = 0
        self._opened = 0.0
        self._aborted = False

    @property
    def dsn(self):
        """Whether the server that took the last message takes over the promises of RFC 3461."""
        return self._connection is not None and self._connection.dsn

    def deliver(self, message, recipients, body):
        """One message (model.Message) -> a tuple with the Reply for each of `recipients` (model.Recipient). `body`: its binary
        file.

        The next host is tried where one cannot be connected to, greets with 4xx or 5xx, lacks what
        the policy or an 8-bit message asks for, or goes away before it answered MAIL. Raises
        Unreachable where there was nobody to talk to: that concerns all messages for the
        destination. Where somebody talked, but not about this message, its recipients get 4xx: other messages may fare better.
        """
        failures, ways, lost, narrow = [], None, None, None
        if self._connection is not None and not self._is_fresh():
            self.close()
        while True:
            used = self._connection is not None
            if not used:
                ways = ways or self._ways(failures)
                if not self._open(ways, failures):
                    break
            if message.eight_bit and not self._connection.offer.eight_bit and not message.smtputf8:
                narrow = narrow or self._connection.host_name
                self.close()
                continue
            try:
                replies = self._connection.send(message, recipients, body)
                self._sent += 1
                return replies
            except Unreachable as error:
                self.close()
                if not used:
                    lost = error.reply
        if narrow is not None:
            lost = lost or self._too_wide(narrow, [failure.reply for failure in failures])
        if lost is not None and not self._aborted:
            return (lost,) * len(recipients)
        raise Unreachable(self._verdict([failure.reply for failure in failures]))

    def _is_fresh(self):
        return (self._connection.usable() and self._sent < MOST_MESSAGES and self._clock() - self._opened < LONGEST_USE)

    # -- finding a host ----------------------------------------------------------------------------------------------------------

    def _open(self, ways, failures):
        """The first of `ways` that opens becomes the connection; False where none does. `failures` gets an Unreachable for each
        other."""
        for connection in ways:
            self._connection = connection
            if self._aborted:
                connection.abort()
            try:
                connection.open()
                self._sent, self._opened = 0, self._clock()
                return True
            except Unreachable as error:
                failures.append(error)
                self._connection = None
                if self._aborted:
                    break
        return False

    def _ways(self, failures):
        """Gives the connections to try, unopened, in order. Raises Unreachable where there can be none."""
        try:
            route = self._routes.route(self._destination)
        except NoRoute as error:
            raise Unreachable(error.reply)
        policy = self._policies.of(self._destination, route)
        left = _MOST_ADDRESSES
        for host in route.hosts:
            try:
                ips = self._routes.addresses(host.name).ips[:left]
                requirement = policy.host(host.name)
            except (NoRoute, Unreachable) as error:
                failures.append(Unreachable(error.reply))
                if error.reply.enhanced == _OURSELVES:
                    return
                continue
            if requirement is None:
                failures.append(Unreachable(later("4.7.5", "the policy of %s forbids mail to %s" % (
                    self._destination, host.name))))
                continue
            for ip in ips:
                yield self._connection_to(host.name, ip, requirement)
            left -= len(ips)
            if left <= 0:
                return

    def _connection_to(self, name, ip, requirement, **more):
        return Connection(name, ip, self._port, self._helo, requirement, contexts=self._contexts, deadlines=self._deadlines,
                          clock=self._clock, **more)

    def _verdict(self, replies):
        """What all who wait are told: what may go better outweighs what never will, the preferred host's word the others'."""
        if self._aborted:
            return later("4.3.2", "this server stops")
        return next((reply for reply in replies if not reply.permanent), None) or (replies or [later(
            "4.4.4", "there is no host for %s" % self._destination)])[0]

    def _too_wide(self, host, replies):
        """The Reply for an 8-bit message that no host took. One that cannot be had now may still
        take it."""
        later_on = next((reply for reply in replies if not reply.permanent), None)
        return later_on or Reply(550, "5.6.3", "the message has 8-bit content, and %s does not "
                                 "support it (8BITMIME)" % host)

    # -- the end -----------------------------------------------------------------------------------------------------------------

    def close(self):
        """Takes leave of the server, within a short deadline. May be called again; the next message finds a new connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abort(self):
        """From any thread: a delivery that is under way ends at once, with Unreachable or 4xx, and there are no more."""
        self._aborted = True
        connection = self._connection
        if connection is not None:
            connection.abort()


class SmarthostCourier(Courier):
    """The courier to the smarthost, whatever the messages' domains: `hosted` is settings.Hosted with the password in clear text.

    What goes wrong with the smarthost itself, its greeting or the login is for the operator to mend: always 4xx, so nothing
    bounces.

    What `require-tls` means: nothing leaves without TLS, and the certificate must verify (CA store and the configured name), for
    it is the password's guard, and a certificate that anybody can make guards it against nobody. One exception: a server at a
    loopback, link-local or private address, as at home, may show one that does not verify, with a warning in the log; who could
    stand in between there is inside the operator's own network, and public CAs give no certificates for such names. Elsewhere a
    self-signed one belongs into the machine's CA store. Without `require-tls`: TLS where it is offered, not verified, and the
    login in the clear where it is not.
    """

    def __init__(self, hosted, routes, helo, **options):
        super().__init__("the smarthost " + hosted.server, routes, None, helo, port=hosted.port, **options)
        self._hosted = hosted
        self._warned = False

    def _ways(self, failures):
        hosted = self._hosted
        login = None if hosted.username is None else (hosted.username, hosted.password or "")
        more = dict(implicit=hosted.port == 465, login=login, must_login=hosted.require_authentication)
        strict = Requirement(True, True, (hosted.server,), (), "require-tls of the smarthost")
        for ip in self._ips()[:_MOST_ADDRESSES]:
            known = len(failures)
            yield self._connection_to(hosted.server, ip, strict if hosted.require_tls else Requirement(), **more)
            if hosted.require_tls and _is_last(failures, known, Unverified) and _is_at_home(ip):
                self._warn(ip, failures.pop())
                yield self._connection_to(hosted.server, ip, strict._replace(verify=False), **more)
            if _is_last(failures, known, UpstreamLoginFailed):
                del failures[:-1]  # what somebody has to mend is what is told
                _log.error("%s; mail waits until the settings are right", failures[0])
                return

    def _ips(self):
        """The smarthost's addresses: by the DNS, or where that does not know the name, as the system's tools find it
        (/etc/hosts)."""
        server = self._hosted.server
        try:
            return self._routes.addresses(server, self._port).ips
        except NoRoute as error:
            found = _by_system(server) if error.reply.permanent and error.reply.enhanced != _OURSELVES else ()
            if not found:
                raise Unreachable(self._verdict([error.reply]))
            return found

    def _warn(self, ip, failure):
        if not self._warned:
            self._warned = True
            _log.warning("%s; it is used all the same, for %s is a private address", failure, ip)

    def _verdict(self, replies):
        reply = super()._verdict(replies)
        if not reply.permanent:
            return reply
        return later("4" + reply.enhanced[1:], "%s: %d %s %s" % (self._destination, reply.code, reply.enhanced, reply.text))


def _is_last(failures, known, kind):
    """Whether the attempt that was made since there were `known` failures failed in this way."""
    return len(failures) > known and isinstance(failures[-1], kind)


def _by_system(name):
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(entry[4][0] for entry in found if entry[0] in (socket.AF_INET, socket.AF_INET6)))


def _is_at_home(ip):
    """Loopback, link-local, or private (RFC 1918, RFC 4193)."""
    import ipaddress
    address = ipaddress.ip_address(ip.partition("%")[0])
    return address.is_loopback or address.is_link_local or address.is_private
