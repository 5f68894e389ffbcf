"""Everything that delivers mail, built and connected: router, relay, queue, filters, plugins,
fetching.

What only some destinations need (programs, judging) is loaded with the first message for them.
"""
import logging
import threading
import time

from .accounts import passphrases
from .delivery.router import Router
from .delivery.sending import Sending
from .destinations.srs import SrsResolver, srs_key
from .dropfolder.service import DropFolders
from .fetch.service import Fetching
from .filters.screening import Screening
from .plugins.calling import Plugins
from .relay.service import Relay

_LEAST = 0.5  # seconds that each part has to end

log = logging.getLogger("phenmail")


class Delivery:
    """The delivery of a MailServer. It starts and stops once.

    `directory`: accounts.directory.Directory; `authorizations`:
    accounts.authorization.Authorizations; `store`: store.filestore.FileStore; `plugins`: {name:
    plugin}, as given to MailServer; `server`: the MailServer that plugins get;
    `public_addresses()`: frozenset of (ip, port) of this server, to detect loops; `is_temporary`:
    make keys on demand instead of at the start.

    `relay`: relay.service.Relay; `router`: router.Router; `sending`: sending.Sending; `fetching`:
    fetch.service.Fetching.
    """

    def __init__(self, directory, authorizations, store, plugins, server, public_addresses,
                 is_temporary=False):
        settings = directory.settings
        self._directory = directory
        self._system = directory.root.mail_system
        self._is_temporary = is_temporary
        self._loading = threading.Lock()
        self._handing = self._judging = None
        self.relay = Relay(self._settings, self._system, public_addresses, self._keep_notice,
                           passphrases.unobscure,
                           make_keys=not is_temporary, local_courier=self._courier)
        self._screening = Screening(directory, authorizations, lambda: self.router.host,
                                    self._keep_notice)
        self.router = Router(directory, store, self.relay.queue, self.relay.signer,
                             screening=self._screening,
                             resolve=SrsResolver(directory, self._srs_key).resolve)
        self.router.notify = self.relay.reporter.delivered
        self.router.judge = lambda *message: self._judge().judge(*message)
        self.sending = Sending(self.router)
        self._plugins = Plugins(plugins, lambda: self._settings().plugins, server,
                                # The others remain for the rest of the queue.
                                most=max(1, settings.limits.relay_connections * 2 // 5))
        self._drop_folders = DropFolders(directory, self.router)
        self.fetching = Fetching(directory, self.router, store, self._system)

    def start(self):
        """Begin to send, to call plugins, to watch drop folders and to fetch. Mail may arrive
        before."""
        if not self._is_temporary:
            try:
                self._srs_key()
            except (OSError, ValueError) as error:
                log.error(
                    "cannot use the key that rewrites senders; forwarded mail waits: %s",
                    error)
        self._plugins.start()
        self.relay.start()
        self._drop_folders.start()
        self.fetching.start()

    def hurry(self):
        """The server stops: let no message that is arriving wait for its judgement."""
        with self._loading:
            judging = self._judging
        if judging is not None:
            judging.stop()

    def stop(self, seconds=5.0):
        """End all threads and processes, first those that bring mail, then what they need.

        A plugin or program that does not return may take longer; its message waits in the queue.
        """
        end = time.monotonic() + seconds
        for part in (self.fetching, self._drop_folders, self.relay, self._plugins):
            part.stop(max(_LEAST, end - time.monotonic()))
        self._screening.stop()
        self.hurry()

    def warn_of_quota(self, folder, usage, limit):
        """As store.quota.AccountQuota calls it."""
        from .delivery.quota_warning import warn
        address = self._directory.address_of(folder)
        if address is not None:
            warn(self.router.store.account(folder), address, self.router.host, usage, limit)

    def _settings(self):
        return self._directory.settings

    def _keep_notice(self, envelope, chunks):
        self.sending.keep_notice(envelope, chunks)

    def _srs_key(self):
        return srs_key(self._system)

    # Loaded on demand

    def _courier(self):
        """For the relay: the courier for programs, plugins and forwards."""
        with self._loading:
            if self._handing is None:
                from .destinations.local_delivery import LocalDelivery
                from .destinations.programs import Programs
                self._handing = LocalDelivery(self._directory, self.router,
                                              Programs(self._settings), self._plugins,
                                              self._srs_key)
            return self._handing.courier()

    def _judge(self):
        with self._loading:
            if self._judging is None:
                from .authentication.judging import Judge
                self._judging = Judge(self._settings, lambda: self.router.host)
                for complaint in self._judging.complaints():
                    log.warning(complaint)
            return self._judging
