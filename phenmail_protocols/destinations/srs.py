"""The sender rewriting scheme in use: its key, and where bounces to rewritten senders go.

A forwarded message leaves with a rewritten sender (`mail.srs`, `local_delivery`), and bounces come
to that address. They are forwarded to the original sender like mail for any forward address, so
with loop detection, and with their own sender rewritten if it is not <>.

An address that was tampered with, is too old, or was made by another server is resolved by the
directory alone: in most cases it is unknown.
"""
import logging
import os
import time

from ..accounts.directory import Destination
from ..disk.keyfile import kept_key

log = logging.getLogger("phenmail.destinations")


def srs_key(folder):
    """The key in the file "srs.key" of a folder (bytes), made at the first call.

    Raises OSError, ValueError.
    """
    return kept_key(os.path.join(folder, "srs.key"))


class SrsResolver:
    """Resolves addresses, rewritten senders included. Thread-safe.

    `directory`: accounts.directory.Directory; `key()` -> bytes, or raises OSError or ValueError;
    `clock()`: epoch seconds.
    """

    def __init__(self, directory, key, clock=time.time):
        self._directory = directory
        self._key = key
        self._clock = clock

    def resolve(self, address):
        """As Directory.resolve -> Destination; of kind "forward" for a rewritten sender."""
        destination = self._directory.resolve(address)
        if destination.kind == "remote" or address.local[:3].upper() != "SRS":
            return destination
        from ..mail import srs  # only other servers send to such addresses
        if not srs.is_rewritten(address.local):
            return destination
        try:
            original = srs.reverse(address.local, self._key(), self._clock())
            return Destination("forward", address, value=str(original))
        except srs.SrsError as error:
            log.info("<%s> is not a valid rewritten sender: %s", address, error)
            return destination
        except (OSError, ValueError) as error:
            log.error("cannot read srs.key; mail to rewritten senders is deferred: %s", error)
            return Destination("broken", address, text="the key of rewritten senders is unreadable")
