"""Logins of one connection: what the SASL mechanisms, which know no users, may ask about users.

1. The answer for an unknown name has the form and the cost of one for a known name.
2. Only `plain` and `settle` say whether the login succeeded, once. Both count as an attempt in
   the throttle from before the passphrase is verified.
3. An unknown name is never logged: people type passphrases there.
"""

import contextlib
import hashlib
import hmac
import logging
from typing import Callable, FrozenSet, Iterator, NamedTuple, Optional

from ..config.settings import UserSettings
from ..mail.address import Address
from .passphrases import (
    ITERATIONS,
    LONGEST_PASSPHRASE,
    SALT_BYTES,
    ScramSecret,
    SecretError,
    parse_scram,
    sha256,
    unobscure,
)
from .saslprep import octets
from .throttle import Attempt, Peer
from .userfiles import BrokenUser
from .verifier import Busy

log = logging.getLogger("phenmail.accounts")

# Parsed for users without such a secret, so that it takes as long.
NO_SCRAM = "SCRAM-SHA-256$%d:%s$%s=:%s=" % (ITERATIONS, "A" * 24, "A" * 43, "A" * 43)
NO_OBSCURED = "KTgyfDNrNH0kbCkCKgMtAi4D"

WRONG = "the name or the passphrase is wrong"
BROKEN = "this account's configuration cannot be used at the moment; see the server's log"
BUSY = "too many logins at once; try again later"


class Account(NamedTuple):
    """Who is logged in.

    `name`: the address of the mailbox. `folder`: its absolute mail folder, or "" for a user who
    may only submit mail. `addresses`: all addresses that end there, except by a catch-all.
    `identity`: the first component of the folder's path inside the root.
    """

    name: str
    folder: str
    addresses: FrozenSet[Address]
    identity: str


class Candidate(NamedTuple):
    """Who a login name stands for.

    `account`: None if nobody. `key`: by which failures are counted. `secret`: the SHA-256 hash
    of a user who may only submit mail.
    """

    account: Optional[Account]
    key: str
    secret: Optional[str]


class LoginFailed(Exception):
    """A refused login.

    The client may see `text`. `temporary`: the passphrase was not the reason.
    """

    def __init__(self, text: str, temporary: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.temporary = temporary


class Login:
    """Made by `Directory.login`."""

    def __init__(self, directory, peer: Peer, sending: bool,
                 hold: Callable[[float], bool]) -> None:
        self._directory = directory
        self._peer = peer
        self._sending = sending
        self._hold = hold

    def plain(self, name: str, passphrase: str) -> Account:
        """Log in with name and passphrase (PLAIN, LOGIN, USER and PASS). Raises LoginFailed."""
        candidate = self._candidate(name)
        verifier = self._directory.verifier
        # One character more than allowed, so that a longer passphrase is another guess.
        guess = verifier.fingerprint(candidate.key, passphrase[:LONGEST_PASSPHRASE + 1])
        with self._admitted(candidate, guess) as attempt:
            right = False
            try:
                stored = self._stored(candidate)
                if len(passphrase) <= LONGEST_PASSPHRASE:
                    right = verifier.verify(candidate.key, stored, passphrase)
            except Busy:
                raise LoginFailed(BUSY, temporary=True) from None
            except (BrokenUser, SecretError) as error:
                raise _broken(candidate, error) from None
            return self._end(attempt, candidate, right)

    def scram(self, name: str) -> ScramSecret:
        """The SCRAM secret of a user.

        For others it is made up, and always the same for a name.
        """
        candidate = self._candidate(name)
        settings = self._settings(candidate)
        # Made and parsed in any case, so that all names take the same time.
        made_up = self._made_up(candidate)
        try:
            secret = parse_scram(settings.scram or NO_SCRAM)
        except SecretError:     # `settle` reports it
            return made_up
        return secret if settings.scram else made_up

    def shared(self, name: str) -> bytes:
        """The passphrase itself, for CRAM-MD5 and APOP; random octets for an unknown user."""
        candidate = self._candidate(name)
        settings = self._settings(candidate)
        made_up = self._made_up(candidate)
        plain = octets(unobscure(settings.pop3pwd or NO_OBSCURED))
        return plain if settings.pop3pwd else made_up.stored_key

    def settle(self, name: str, right: bool, secret: str) -> Account:
        """End a challenge and response.

        In: `right`: whether the client's proof was right. `secret`: the key of the secret in the
        user's file, "scram" or "pop3pwd"; a user without it cannot log in.
        Raises LoginFailed.
        """
        candidate = self._candidate(name)
        with self._admitted(candidate, None) as attempt:
            try:
                settings = self._settings(candidate, must_work=True)
                if settings.scram and secret == "scram":
                    parse_scram(settings.scram)
            except (BrokenUser, SecretError) as error:
                raise _broken(candidate, error) from None
            has = bool(getattr(settings, secret))
            return self._end(attempt, candidate, right and has)

    def is_same(self, account: Account, name: str) -> bool:
        """Whether an authorization identity is the account itself."""
        other = self._candidate(name).account
        return other is not None and (other.folder, other.name) == (account.folder, account.name)

    def _candidate(self, name: str) -> Candidate:
        return self._directory.candidate(name, self._sending)

    def _settings(self, candidate: Candidate, must_work: bool = False) -> UserSettings:
        """The user's file; the defaults for nobody, for whom a file is looked for too.

        `must_work`: raise BrokenUser for a broken file, instead of returning the defaults.
        """
        users = self._directory.users
        folder = candidate.account.folder if candidate.account is not None else ""
        try:
            return users.settings(folder or self._directory.nobodys_folder)
        except BrokenUser:
            if must_work and folder:
                raise
            return users.defaults

    def _stored(self, candidate: Candidate) -> Optional[str]:
        """The stored form of the passphrase; None if there is none. Raises BrokenUser."""
        if candidate.secret is not None:
            return candidate.secret
        settings = self._settings(candidate, must_work=True)
        if settings.passphrase or settings.scram:
            return settings.passphrase or settings.scram
        return sha256(unobscure(settings.pop3pwd)) if settings.pop3pwd else None

    @contextlib.contextmanager
    def _admitted(self, candidate: Candidate, guess: Optional[bytes]) -> Iterator[Attempt]:
        """Count an attempt, and return it after its delay. Raises LoginFailed."""
        with self._directory.throttle.admit(self._peer, candidate.key, guess) as attempt:
            if attempt.busy:
                raise LoginFailed(BUSY, temporary=True)
            if attempt.wait > 0:
                raise LoginFailed("too many failed logins from your address; try again in %d "
                                  "seconds" % (attempt.wait + 1), temporary=True)
            if not self._hold(attempt.hold):
                raise LoginFailed("the server is stopping", temporary=True)
            yield attempt

    def _end(self, attempt: Attempt, candidate: Candidate, right: bool) -> Account:
        if right and candidate.account is not None:
            attempt.succeeded()
            return candidate.account
        attempt.failed()
        log.warning("login refused: %s from %s",
                    candidate.account.name if candidate.account else "an unknown name",
                    self._peer[0] if isinstance(self._peer, tuple) else self._peer)
        raise LoginFailed(WRONG)

    def _made_up(self, candidate: Candidate) -> ScramSecret:
        """A secret for which nobody has a proof, the same for a name after each start."""
        key, name = self._directory.challenge_key(), octets(candidate.key)
        salt, stored, server = (hmac.new(key, purpose + name, hashlib.sha256).digest()
                                for purpose in (b"salt:", b"stored:", b"server:"))
        return ScramSecret(ITERATIONS, salt[:SALT_BYTES], stored, server)


def _broken(candidate: Candidate, reason: Exception) -> LoginFailed:
    log.error("refused a login of %s: %s", candidate.key, reason)
    return LoginFailed(BROKEN, temporary=True)
