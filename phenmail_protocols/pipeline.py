"""Delivery as one thing: its rooms and the relay, put together, started and stopped in the right order.

What is needed only for some destinations (programs, judging) is loaded with the first message for one.
"""
import logging
import threading
import time

from .accounts import secrets
from .delivery.router import Router
from .delivery.sending import Sending
from .destinations.srs import SrsResolver, srs_key
from .dropfolder.service import DropFolders
from .filters.screening import Screening
from .plugins.interface import Plugins
from .relay.service import Relay

_LEAST = 0.5  # seconds that each part has to end

_log = logging.getLogger("phenmail.delivery")


class Delivery:
    """All that brings a message to its ends.  It starts and stops once.

    `directory`: accounts.directory.Directory; `authorizations`: accounts.authorization.Authorizations; `store`:
    store.filestore.FileStore; `plugins`: {name: plugin} as they were given; `server`: what plugins are started with;
    `public_addresses()`: frozenset of (ip, port), by which loops are found; `is_temporary`: keys are made when they are needed, and
    not at the start.

    `relay`: relay.service.Relay; `router`: router.Router; `sending`: sending.Sending.
    """

    def __init__(self, directory, authorizations, store, plugins, server, public_addresses, is_temporary=False):
        settings = directory.settings
        self._directory = directory
        self._system = directory.root.mail_system
        self._is_temporary = is_temporary
        self._loading = threading.Lock()
        self._handing = self._judging = None
        self.relay = Relay(self._settings, self._system, public_addresses, self._keep_notice, secrets.unobscure,
                           make_keys=not is_temporary, local_courier=self._courier)
        self._screening = Screening(directory, authorizations, lambda: self.router.host, self._keep_notice)
        self.router = Router(directory, store, self.relay.queue, self.relay.signer, screening=self._screening,
                             resolve=SrsResolver(directory, self._srs_key).resolve)
        self.router.notify = self.relay.reporter.delivered
        self.router.judge = lambda *message: self._judge().judge(*message)
        self.sending = Sending(self.router)
        self._plugins = Plugins(plugins, lambda: self._settings().plugins, server,
                                most=max(1, settings.limits.relay_connections * 2 // 5))
        self._drop_folders = DropFolders(directory, self.router)

    def start(self):
        """Begin to send, to hand over and to look into drop folders; mail may come before."""
        if not self._is_temporary:
            self._make_srs_key()
        self._plugins.start()
        self.relay.start()
        self._drop_folders.start()

    def hurry(self):
        """The server stops: messages that are being taken wait for no judgement."""
        with self._loading:
            judging = self._judging
        if judging is not None:
            judging.stop()

    def stop(self, seconds=5.0):
        """End all threads and processes; nothing comes any more.  What brings mail first, what that needs last.

        A plugin or program that does not come back may take longer; its message waits in the queue.
        """
        end = time.monotonic() + seconds
        for part in (self._drop_folders, self.relay, self._plugins):
            part.stop(max(_LEAST, end - time.monotonic()))
        self._screening.stop()
        self.hurry()

    def _settings(self):
        return self._directory.settings

    def _keep_notice(self, envelope, chunks):
        self.sending.keep_notice(envelope, chunks)

    def _make_srs_key(self):
        """At the first start.  Without it what has to be sent on waits, and all else works."""
        try:
            self._srs_key()
        except (OSError, ValueError) as error:
            _log.error("no key to rewrite senders with, so mail that is to be sent on waits: %s", error)

    def _srs_key(self):
        return srs_key(self._system)

    # What is loaded when it is needed.

    def _courier(self):
        """For the relay: who hands mail to programs, plugins and addresses."""
        with self._loading:
            if self._handing is None:
                from .destinations.local_delivery import LocalDelivery
                from .destinations.programs import Programs
                self._handing = LocalDelivery(self._directory, self.router, Programs(self._settings), self._plugins, self._srs_key)
            return self._handing.courier()

    def _judge(self):
        with self._loading:
            if self._judging is None:
                from .authentication.judging import Judge
                self._judging = Judge(self._settings, lambda: self.router.host)
                for complaint in self._judging.complaints():
                    _log.warning(complaint)
            return self._judging
