"""The thread that looks for what other programs did to open mailboxes."""
import logging
import threading

from . import errors

_log = logging.getLogger("phenmail.store")


class Poller:
    """Calls ``look()`` of every open mailbox once a period.

    Other programs' changes show within two seconds (DESIGN: one poller for
    all folders); what happens in this process is told at once without it.
    """

    def __init__(self, accounts, period):
        """``accounts``: callable -> Accounts; ``period`` in seconds."""
        self._accounts = accounts
        self._period = period
        self._stopping = threading.Event()
        self._thread = None

    def start(self):
        self._thread = threading.Thread(
            target=self._run, name="phenmail-store-poller", daemon=True)
        self._thread.start()

    def stop(self):
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self):
        while not self._stopping.wait(self._period):
            for account in self._accounts():
                for mailbox in account.open_mailboxes():
                    if self._stopping.is_set():
                        return
                    self._look(mailbox)

    def _look(self, mailbox):
        try:
            mailbox.look()
        except errors.NotFound:
            pass
        except errors.StoreError as error:
            _log.warning("%r can't be looked after: %s", mailbox, error)
        except Exception:
            _log.exception("%r can't be looked after", mailbox)
