"""The connection to the other server, which is made again when it is lost."""
from ...store import errors
from ..source import BoxGone, FetchError, LoginRefused, Throttled

PAUSE, _LONGEST = 2.0, 300.0  # seconds after a failure
_FAILURES = 10  # in a row, without progress in between
_FULL = 60.0  # seconds between two tries on a full disk
_THROTTLED, _LONGEST_THROTTLED = 60.0, 3600.0  # seconds if the server does not say
_DAY = 86400.0  # the most that it may say


class Stopped(Exception):
    """The copying cannot go on now; str() says why and what to do."""


class Connection:
    """`connect()`: a logged in remote.Remote; `progress`: a Progress. Call `close` at the end."""

    def __init__(self, connect, progress):
        self._connect = connect
        self._progress = progress
        self._remote = None

    @property
    def remote(self):
        """The Remote; connects if necessary. Raises FetchError."""
        if self._remote is None:
            self._remote = self._connect()
        return self._remote

    def close(self):
        """Log out."""
        remote, self._remote = self._remote, None
        if remote is not None:
            try:
                remote.close()
            except FetchError:
                pass

    def persistently(self, work, done=lambda: 0):
        """`work()`, repeated with pauses until it succeeds -> its result.

        `done()`: a number that grows with progress. Raises Stopped, BoxGone, LoginRefused, other
        StoreErrors and OSErrors than those of a full disk.
        """
        failures, before = 0, done()
        while True:
            try:
                return work()
            except (BoxGone, LoginRefused):
                raise
            except (FetchError, errors.StoreError, OSError) as error:
                self.close()
                failures = 1 if done() > before else failures + 1
                before = done()
                self._wait(error, failures)

    def _wait(self, error, failures):
        if isinstance(error, Throttled):
            self._progress.pause(min(error.seconds, _DAY) if error.seconds else min(
                _THROTTLED * 2 ** min(failures - 1, 20), _LONGEST_THROTTLED), str(error))
        elif isinstance(error, FetchError):
            if failures > _FAILURES:
                raise Stopped("%s. The same command goes on later." % error)
            self._progress.pause(min(PAUSE * 2 ** (failures - 1), _LONGEST), str(error))
        elif isinstance(error, errors.OverQuota):
            raise Stopped("%s Raise the user's quota; the same command goes on then." % error)
        elif isinstance(error, errors.NoSpace) or (
                isinstance(error, OSError) and isinstance(errors.from_os(error), errors.NoSpace)):
            self._progress.pause(_FULL, "The disk is full")
        else:
            raise error
