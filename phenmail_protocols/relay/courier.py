"""Sends messages to one destination, one after the other, over one connection.

`Courier` tries the destination's hosts by preference and each host's addresses, with the TLS that
the policy requires, and keeps the connection for the next message. `smarthost` has the variant for
a smarthost. A message with 8-bit bytes goes only to a host with 8BITMIME (RFC 6152): converting it
would break its signatures.

A courier serves one thread and knows no queue. RFC 5321 5.1, RFC 3974 (IPv4 and IPv6).
"""
import time

from ..mail.reply import STOPPING, Reply
from ..queue.model import Unreachable
from .mx_routes import LOOP
from .smtp_client import Connection, TlsContexts
from .smtp_wire import Deadlines, temporary

# Limits of one connection: some servers count messages, and a better host may be back by then.
MOST_MESSAGES, LONGEST_USE = 1000, 600.0

MOST_ADDRESSES = 10  # tried for one message; each may cost the whole deadline of a connect


class Courier:
    """Sends to `destination`: a domain in A-labels, or an address literal in brackets.

    `routes`: mx_routes.Routes; `policies`: tls_policy.Policies; `helo`: our name; `port`: of the
    servers; `contexts`: the TLS contexts that all couriers share.
    """

    def __init__(self, destination, routes, policies, helo, *, port=25, contexts=None,
                 deadlines=Deadlines(), clock=time.monotonic):
        self._destination = destination
        self._routes = routes
        self._policies = policies
        self._helo = helo
        self._port = port
        self._contexts = contexts or TlsContexts()
        self._deadlines = deadlines
        self._clock = clock
        self._connection = None
        self._sent = 0
        self._opened = 0.0
        self._is_aborted = False

    @property
    def dsn(self):
        """Whether the server that took the last message supports DSN (RFC 3461)."""
        return self._connection is not None and self._connection.extensions.dsn

    def deliver(self, message, recipients, body):
        """Send a queue.model.Message -> a tuple with the Reply for each of `recipients`.

        `body`: its binary file. The next host is tried if one cannot be connected to, refuses us
        in its greeting, lacks what the policy or an 8-bit message needs, or leaves before it
        answers MAIL.

        Raises Unreachable if no server talked to us: that holds for all messages to this
        destination. If one talked but did not answer about this message, its recipients get 4xx,
        because other messages may succeed.
        """
        failures, connections, lost, without_8bit = [], None, None, None
        if self._connection is not None and not self._is_fresh():
            self.close()
        while True:
            is_reused = self._connection is not None
            if not is_reused:
                # It continues after the last host that was tried for this message.
                connections = connections or self._connections(failures)
                if not self._open(connections, failures):
                    break
            if (message.eight_bit and not self._connection.extensions.eight_bit
                    and not message.smtputf8):
                without_8bit = without_8bit or self._connection.host_name
                self.close()
                continue
            try:
                replies = self._connection.send(message, recipients, body)
                self._sent += 1
                return replies
            except Unreachable as error:
                self.close()
                if not is_reused:
                    lost = error.reply
        if without_8bit is not None and lost is None:
            # A host that cannot be reached now may still take it later.
            lost = _first_temporary(failures) or Reply(
                550, "5.6.3", "the message has 8-bit content, and %s does not support it "
                "(8BITMIME)" % without_8bit)
        if lost is not None and not self._is_aborted:
            return (lost,) * len(recipients)
        raise Unreachable(self._verdict(failures))

    def _is_fresh(self):
        return (self._connection.is_usable() and self._sent < MOST_MESSAGES
                and self._clock() - self._opened < LONGEST_USE)

    def _open(self, connections, failures):
        """Open the first of `connections` that can be opened -> whether there was one.

        `failures` gets an Unreachable for each other.
        """
        for connection in connections:
            self._connection = connection
            if self._is_aborted:
                connection.abort()
            try:
                connection.open()
                self._sent, self._opened = 0, self._clock()
                return True
            except Unreachable as error:
                failures.append(error)
                self._connection = None
                if self._is_aborted:
                    break
        return False

    def _connections(self, failures):
        """Yield the connections to try, unopened, in order. Raises Unreachable if there are none.
        """
        route = self._routes.route(self._destination)
        policy = self._policies.of(self._destination, route)
        left = MOST_ADDRESSES
        for host in route.hosts:
            try:
                ips = self._routes.addresses(host.name).ips[:left]
                requirement = policy.host(host.name)
            except Unreachable as error:
                failures.append(error)
                if error.reply.enhanced == LOOP:
                    return
                continue
            if requirement is None:
                failures.append(Unreachable(temporary(
                    "4.7.5", "the MTA-STS policy of %s does not allow its MX host %s" % (
                        self._destination, host.name))))
                continue
            for ip in ips:
                yield self._connection_to(host.name, ip, requirement)
            left -= len(ips)
            if left <= 0:
                return

    def _connection_to(self, name, ip, requirement, **options):
        return Connection(name, ip, self._port, self._helo, requirement, contexts=self._contexts,
                          deadlines=self._deadlines, **options)

    def _verdict(self, failures):
        """The Reply for all that wait: a temporary failure before a permanent one, the preferred
        host's before the others'."""
        if self._is_aborted:
            return STOPPING
        if not failures:
            return temporary("4.4.4", "%s has no host to connect to" % self._destination)
        return _first_temporary(failures) or failures[0].reply

    def close(self):
        """QUIT, within a short deadline; the next message opens a new connection. Repeatable."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abort(self):
        """From any thread: end the current delivery at once, with Unreachable or 4xx, and start no
        other."""
        self._is_aborted = True
        connection = self._connection
        if connection is not None:
            connection.abort()


def _first_temporary(failures):
    return next((failure.reply for failure in failures if not failure.reply.permanent), None)
