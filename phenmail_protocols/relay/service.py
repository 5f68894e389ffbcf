"""Outgoing mail as a whole: the queue, bounces, the DKIM signer, and couriers to other servers.

Knows no mailbox and no server protocol; what it needs of them it gets as callables. What only
sending needs (DNS, TLS policies, the SMTP client) is loaded with the first message that leaves.
"""
import logging
import threading
import time

from ..dkim.signing import Signer
from ..mail.address import ascii_domain
from ..mail.reply import Reply
from ..queue.bounces import Reporter
from ..queue.model import LOCAL, Unreachable
from ..queue.retry import Policy
from ..queue.spool import Spool
from ..queue.worker import Worker

SMARTHOST = "smarthost"  # a destination; it has no dot, so no domain has this name
# Before the address of a user of this server. No domain has a colon.
_LOCAL_PREFIX = LOCAL + ":"
_NO_LOCAL_COURIER = Reply(451, "4.3.5", "This server cannot deliver to local users at the moment")

log = logging.getLogger("phenmail.relay")


class Relay:
    """The queue, and everything that empties it.

    `settings()`: the config.settings.Settings in force; `folder`: where MTA-STS policies are kept;
    `own_addresses()`: frozenset of (ip, port) of our public listeners; `send(envelope, chunks)`:
    accepts a bounce, as queue.bounces.Reporter needs it; `reveal(password)`: a password of the
    settings in clear text; `make_keys`: make missing DKIM keys at the start, not with the first
    message; `local_courier()`: a courier (as queue.worker.Worker needs it) for recipients with
    `via`, None: their mail waits.
    """

    def __init__(self, settings, folder, own_addresses, send, reveal, make_keys=True,
                 clock=time.time, local_courier=None):
        self._settings = settings
        self._folder = folder
        self._own_addresses = own_addresses
        self._reveal = reveal
        self._make_keys = make_keys
        self._local_courier = local_courier
        self._lock = threading.Lock()  # guards the next line
        self._connect = None  # callable(destination) -> courier, made for the first message
        now = settings()
        limits = now.limits
        policy = Policy(limits.retry_first, limits.retry_longest, limits.delay_warning,
                        limits.give_up)
        self.queue = Spool(now.relay.queue_folder, limits.disk_reserve)
        self.signer = Signer(now.relay, lambda: settings().domains, now.sender_domain, clock)
        self.reporter = Reporter(settings, send, clock, policy)
        self.worker = Worker(self.queue, policy, self._destination_of, self._courier_for,
                             self.reporter, clock, connections=limits.relay_connections,
                             per_destination=limits.relay_connections_per_destination,
                             is_here=_is_local)

    def start(self):
        """Begin to send; returns at once."""
        if self._make_keys:
            self.signer.ensure_key()
        self.worker.start()

    def stop(self, seconds=5.0):
        """End all threads within this time; unsent mail stays queued."""
        end = time.monotonic() + seconds
        self.signer.close(0)
        if not self.worker.stop(seconds):
            log.error("the queue's threads did not end within %g seconds", seconds)
        self.signer.close(max(0.5, end - time.monotonic()))

    def _destination_of(self, recipient):
        """The destination of the next attempt for a queue.model.Recipient.

        Each local address is its own destination, so that a failure at one delays no other.
        """
        if recipient.via:
            return _LOCAL_PREFIX + str(recipient.address)
        if self._settings().hosted is not None:
            return SMARTHOST
        domain = recipient.address.domain
        return domain if domain[:1] == "[" else ascii_domain(domain)

    def _courier_for(self, destination):
        if _is_local(destination):
            if self._local_courier is None:
                raise Unreachable(_NO_LOCAL_COURIER)
            return self._local_courier()
        with self._lock:
            if self._connect is None:
                self._connect = self._load_couriers()
        return self._connect(destination)

    def _load_couriers(self):
        """Load the client -> callable(destination) that makes couriers, which share DNS caches,
        TLS policies and TLS contexts."""
        from .courier import Courier
        from .mx_routes import Routes
        from .smarthost import SmarthostCourier
        from .smtp_client import TlsContexts
        from .tls_policy import Policies
        now = self._settings()
        port = now.relay.remote_port
        routes = Routes(now.resolver, lambda: [self._settings().sender_domain],
                        self._own_addresses, port, private=now.relay.private_addresses)
        policies, contexts = Policies(routes, self._folder, port=port), TlsContexts()
        sources = {}  # settings.OAuth2 -> the TokenSource that couriers share

        def courier_for(destination):
            settings = self._settings()
            helo, hosted = ascii_domain(settings.sender_domain), settings.hosted
            if destination != SMARTHOST or hosted is None:
                return Courier(destination, routes, policies, helo, port=port, contexts=contexts)
            if hosted.password:
                hosted = hosted._replace(password=self._reveal(hosted.password))
            token = None
            if hosted.provider is not None:
                from ..oauth.token_store import TokenSource
                token = sources.setdefault(hosted.provider, TokenSource(hosted.provider))
            return SmarthostCourier(hosted, routes.for_smarthost(), helo, token, contexts=contexts)
        return courier_for


def _is_local(destination):
    return destination.startswith(_LOCAL_PREFIX)
