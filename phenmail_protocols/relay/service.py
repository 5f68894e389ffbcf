"""The relay as one thing: its rooms, put together from the settings.

Knows no mailbox and no protocol that serves: what is ours, and how a notice is brought to its reader, it is told by callables.  What
is needed only once mail really leaves (DNS, TLS policies, the client) is loaded with the first message that does.
"""
import logging
import threading
import time

from ..dkim.signing import Signer
from ..mail.address import ascii_domain
from ..mail.reply import Reply
from ..queue.model import LOCAL, Unreachable
from ..queue.retry import Policy
from ..queue.spool import Spool
from ..queue.worker import Worker

SMARTHOST = "smarthost"  # a destination that no domain can be: it has no dot
# Before the address of a user here, whose mail is handed over on this server: no domain has a colon.
_HERE = LOCAL + ":"
_NOBODY_HANDS_OVER = Reply(451, "4.3.5", "This server can not hand over mail at the moment")

_log = logging.getLogger("phenmail.relay")


class Relay:
    """The queue and all that empties it.

    `settings()`: the config.settings.Settings in force.  `folder`: where policies of other domains are remembered.  `own_addresses()`:
    frozenset of (ip, port) of our public listeners.  `send(envelope, chunks)`: keeps a notice, as bounces.Reporter wants it.
    `reveal(password)`: a password of the settings in clear text.  `make_keys`: DKIM keys are made at the start, and not when the first
    message leaves.  `hand()`: a courier (see worker.Worker) for recipients that other servers have nothing to do with (`via`); None:
    their mail waits.
    """

    def __init__(self, settings, folder, own_addresses, send, reveal, make_keys=True, clock=time.time, hand=None):
        self.settings = settings
        self.folder = folder
        self._own_addresses = own_addresses
        self.reveal = reveal
        self._make_keys = make_keys
        self._hand = hand
        self._lock = threading.Lock()
        self._ways = None
        now = settings()
        limits = now.limits
        policy = Policy(limits.retry_first, limits.retry_longest, limits.delay_warning, limits.give_up)
        self.queue = Spool(now.relay.queue_folder, limits.disk_reserve)
        self.signer = Signer(now.relay, lambda: settings().domains, now.sender_domain, clock)
        self._reporter = None
        self._reporting = send, clock, policy
        self.worker = Worker(self.queue, policy, self._destination_of, self._courier_for, self, clock,
                             connections=limits.relay_connections, per_destination=limits.relay_connections_per_destination,
                             is_here=_is_here)

    def start(self):
        """Begin to send; returns at once."""
        if self._make_keys:
            self.signer.ensure_key()
        self.worker.start()

    def stop(self, seconds=5.0):
        """End all threads within so many seconds; what was not sent stays queued."""
        end = time.monotonic() + seconds
        self.signer.close(0)
        if not self.worker.stop(seconds):
            _log.error("sending did not end in time")
        self.signer.close(max(0.5, end - time.monotonic()))

    @property
    def reporter(self):
        """The queue.bounces.Reporter, loaded with the first notice."""
        with self._lock:
            if self._reporter is None:
                from ..queue.bounces import Reporter
                self._reporter = Reporter(self.settings, *self._reporting)
            return self._reporter

    def report(self, message, recipients, body):
        """As queue.bounces.Reporter, for the worker."""
        self.reporter.report(message, recipients, body)

    def delivered(self, *told):
        """As queue.bounces.Reporter, for what was delivered on this server."""
        self.reporter.delivered(*told)

    def _destination_of(self, recipient):
        """Where the next attempt for a model.Recipient goes.  Each address here is a destination: what fails at one concerns no other."""
        if recipient.via:
            return _HERE + str(recipient.address)
        if self.settings().hosted is not None:
            return SMARTHOST
        domain = recipient.address.domain
        return domain if domain[:1] == "[" else ascii_domain(domain)

    def _courier_for(self, destination):
        if _is_here(destination):
            if self._hand is None:
                raise Unreachable(_NOBODY_HANDS_OVER)
            return self._hand()
        with self._lock:
            if self._ways is None:
                self._ways = _Ways(self)
        return self._ways.courier_for(destination)

    def routes(self):
        """The DNS as this server asks it -> relay.routes.Routes, a new one."""
        from .routes import Routes
        now = self.settings()
        return Routes(now.resolver, lambda: [self.settings().sender_domain], self._own_addresses, now.relay.remote_port,
                      private=now.relay.private_addresses)


def _is_here(destination):
    return destination.startswith(_HERE)


class _Ways:
    """What all couriers share."""

    def __init__(self, relay):
        from .client import Contexts
        from .policies import Policies
        self._relay = relay
        self._port = relay.settings().relay.remote_port
        self._routes = relay.routes()
        self._policies = Policies(self._routes, relay.folder, port=self._port)
        self._contexts = Contexts()

    def courier_for(self, destination):
        from .courier import Courier, SmarthostCourier
        settings = self._relay.settings()
        helo = ascii_domain(settings.sender_domain)
        options = dict(contexts=self._contexts)
        hosted = settings.hosted
        if destination == SMARTHOST and hosted is not None:
            password = self._relay.reveal(hosted.password) if hosted.password else hosted.password
            return SmarthostCourier(hosted._replace(password=password), self._routes.to_anywhere(), helo, **options)
        return Courier(destination, self._routes, self._policies, helo, port=self._port, **options)
