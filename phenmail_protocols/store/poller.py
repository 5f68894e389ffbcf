"""The thread that checks open mailboxes and watched accounts for changes by other programs."""
import logging
import threading

from . import errors

_PATIENCE = 0.1  # seconds
log = logging.getLogger("phenmail.store")


class Poller:
    """Calls `look()` of every open mailbox and every watched account once in each period.

    Changes within this process need no poller: watchers are called at once. An account whose lock
    is held for long is left out, because all others would wait for it.
    """

    def __init__(self, accounts, period):
        """`accounts`: callable -> Accounts; `period` in seconds."""
        self._accounts = accounts
        self._period = period
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="phenmail-store-poller", daemon=True)

    def start(self):
        self._thread.start()

    def stop(self):
        self._stopping.set()
        self._thread.join(5)

    def _run(self):
        while not self._stopping.wait(self._period):
            for account in self._accounts():
                mailboxes = account.open_mailboxes(_PATIENCE)
                if mailboxes is None:
                    continue
                for each in mailboxes + [account]:
                    if self._stopping.is_set():
                        return
                    self._look(each)

    def _look(self, each):
        try:
            each.look()
        except errors.NotFound:
            pass
        except (OSError, errors.StoreError) as error:
            log.warning("%r: cannot check for changes, retrying in %s s: %s",
                        each, self._period, error)
        except Exception:
            log.exception("%r: cannot check for changes, retrying in %s s", each, self._period)
