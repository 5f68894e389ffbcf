"""Where an address ends, those included that stand for a sender elsewhere: the way back of what `local` sent on.

A message that is sent on has a sender of ours in the place of a stranger's (`mail.srs`), and what other servers say of it
(bounces, notices) comes to that address.  It goes on to whom the address stands for, like mail for any address that is sent on.
So the way back has loop detection, and a sender who is no bounce is rewritten in his turn.

An address that was tampered with, is too old, or was made by another server is what the directory says: unknown, in most cases.
"""
import logging
import time

from ..accounts.directory import Destination

log = logging.getLogger("phenmail.delivery")


class WayBack:
    """Resolves addresses.  Any thread may call it."""

    def __init__(self, directory, key, clock=time.time):
        """`directory`: accounts.directory.Directory; `key()` -> bytes, or raises OSError or ValueError; `clock()`: epoch seconds."""
        self._directory = directory
        self._key = key
        self._clock = clock

    def resolve(self, address):
        """As Directory.resolve -> Destination: of kind "forward" where the address stands for another."""
        destination = self._directory.resolve(address)
        if destination.kind == "remote" or address.local[:3].upper() != "SRS":
            return destination
        from ..mail import srs  # nobody writes to such addresses but other servers
        if not srs.is_rewritten(address.local):
            return destination
        try:
            return Destination("forward", address, value=str(srs.reverse(address.local, self._key(), self._clock())))
        except srs.SrsError as error:
            log.info("<%s> leads nowhere back: %s", address, error)
            return destination
        except (OSError, ValueError) as error:
            log.error("the key of rewritten senders can't be read: %s", error)
            return Destination("broken", address, text="the key of rewritten senders can not be read")
