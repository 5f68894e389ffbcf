"""One connection's way in: what the SASL dialogues may ask about users.

Between a dialogue (`sasl.py`), which knows no user, and the directory.  Every
answer to an unknown name has the form and the cost of one to a known name; only
`plain` and `settle` tell, once, whether somebody got in.  Both count as an attempt in
the throttle from before the passphrase is looked at.
"""

import contextlib
import hashlib
import hmac
import logging
from typing import Callable, FrozenSet, Iterator, NamedTuple, Optional

from ..config.settings import UserSettings
from ..mail.address import Address
from .prepare import octets
from .remembered import Busy
from .secrets import (
    ITERATIONS,
    SALT_BYTES,
    ScramSecret,
    SecretError,
    parse_scram,
    sha256,
    unobscure,
)
from .throttle import Attempt, Peer
from .userfiles import BrokenUser

log = logging.getLogger("phenmail.accounts")

LONGEST_PASSPHRASE = 1024       # characters; hashing more would be work for nothing
# Taken apart for users who have no such secret, so that this costs the same.
NOBODYS_SCRAM = "SCRAM-SHA-256$%d:%s$%s=:%s=" % (ITERATIONS, "A" * 24, "A" * 43, "A" * 43)
NOBODYS_OBSCURED = "KTgyfDNrNH0kbCkCKgMtAi4D"

WRONG = "the name or the passphrase is wrong"
BROKEN = "this account's configuration cannot be used at the moment; the server's log says why"
BUSY = "too many logins at once; try again later"


class Account(NamedTuple):
    """Who is logged in.

    `name`: the address of the mailbox; `folder`: its absolute mail folder, ""
    for those who may only submit; `addresses`: all that end there by a name of
    their own; `identity`: the first component of the folder inside the root.
    """

    name: str
    folder: str
    addresses: FrozenSet[Address]
    identity: str


class Candidate(NamedTuple):
    """Whom a name would be: `account` None for nobody; `key` counts failures;
    `secret` is the sha256 of one who may only submit."""

    account: Optional[Account]
    key: str
    secret: Optional[str]


class LoginFailed(Exception):
    """Nobody gets in now.

    `text` may be shown to the client; `temporary` says that the passphrase
    was not the reason.
    """

    def __init__(self, text: str, temporary: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.temporary = temporary


class Login:
    """Credentials for one connection; made by `Directory.login`."""

    def __init__(self, directory, peer: Peer, sending: bool,
                 hold: Callable[[float], bool]) -> None:
        self._directory = directory
        self._peer = peer
        self._sending = sending
        self._hold = hold

    def plain(self, name: str, passphrase: str) -> Account:
        """Let in by name and passphrase (PLAIN, LOGIN, USER and PASS).

        Raises LoginFailed.
        """
        candidate = self._candidate(name)
        checker = self._directory.checker
        guess = checker.trace(candidate.key, passphrase[:LONGEST_PASSPHRASE + 1])
        with self._admitted(candidate, guess) as attempt:
            stored = self._stored(candidate)
            right = False
            if len(passphrase) <= LONGEST_PASSPHRASE:
                try:
                    right = checker.check(candidate.key, stored, passphrase)
                except Busy:
                    raise LoginFailed(BUSY, temporary=True) from None
                except SecretError as error:
                    raise self._broken(candidate, str(error)) from None
            return self._end(attempt, candidate, right)

    def scram(self, name: str) -> ScramSecret:
        """The SCRAM secret of a user; one made up, always the same, for nobody."""
        candidate = self._candidate(name)
        settings = self._settings(candidate)
        made_up = self._made_up(candidate)
        try:
            secret = parse_scram(settings.scram or NOBODYS_SCRAM)
        except SecretError:     # `settle` tells it
            return made_up
        return secret if settings.scram else made_up

    def shared(self, name: str) -> bytes:
        """The passphrase itself, for CRAM-MD5 and APOP; another text for nobody."""
        candidate = self._candidate(name)
        settings = self._settings(candidate)
        made_up = self._made_up(candidate)
        plain = octets(unobscure(settings.pop3pwd or NOBODYS_OBSCURED))
        return plain if settings.pop3pwd else made_up.stored_key

    def settle(self, name: str, right: bool, secret: str) -> Account:
        """End a challenge: `right` says whether the proof fitted what was given out.

        `secret` is the key it was made with, "scram" or "pop3pwd": without it
        in the user's file no proof is right.  Raises LoginFailed.
        """
        candidate = self._candidate(name)
        with self._admitted(candidate, None) as attempt:
            try:
                settings = self._settings(candidate, tell=True)
                if settings.scram and secret == "scram":
                    parse_scram(settings.scram)
            except (BrokenUser, SecretError) as error:
                raise self._broken(candidate, str(error)) from None
            has = bool(getattr(settings, secret))
            return self._end(attempt, candidate, right and has)

    def is_same(self, account: Account, name: str) -> bool:
        """Whether a name that somebody wants to act as is the account itself."""
        other = self._candidate(name).account
        return other is not None and (other.folder, other.name) == (account.folder, account.name)

    def _candidate(self, name: str) -> Candidate:
        return self._directory.candidate(name, self._sending)

    def _settings(self, candidate: Candidate, tell: bool = False) -> UserSettings:
        """The user's file; the defaults for nobody, for whom a file is looked for too.

        Raises BrokenUser if told to.
        """
        users = self._directory.users
        folder = candidate.account.folder if candidate.account is not None else ""
        try:
            return users.settings(folder or self._directory.nobodys_folder)
        except BrokenUser:
            if tell and folder:
                raise
            return users.defaults

    def _stored(self, candidate: Candidate) -> Optional[str]:
        """The form to compare a passphrase with; without one nobody is right."""
        if candidate.secret is not None:
            return candidate.secret
        try:
            settings = self._settings(candidate, tell=True)
        except BrokenUser as error:
            raise self._broken(candidate, str(error)) from None
        if settings.passphrase or settings.scram:
            return settings.passphrase or settings.scram
        return sha256(unobscure(settings.pop3pwd)) if settings.pop3pwd else None

    @contextlib.contextmanager
    def _admitted(self, candidate: Candidate, guess: Optional[bytes]) -> Iterator[Attempt]:
        """Count an attempt, and give it after its hold.  Raises LoginFailed."""
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
        # An unknown name is not logged: people type passphrases there.
        log.warning("login refused: %s from %s",
                    candidate.account.name if candidate.account else "an unknown name",
                    self._peer[0] if isinstance(self._peer, tuple) else self._peer)
        raise LoginFailed(WRONG)

    def _broken(self, candidate: Candidate, reason: str) -> LoginFailed:
        log.error("login refused for now: %s: %s", candidate.key, reason)
        return LoginFailed(BROKEN, temporary=True)

    def _made_up(self, candidate: Candidate) -> ScramSecret:
        """A secret that nobody can prove, the same for a name after each start."""
        key, name = self._directory.challenge_key(), octets(candidate.key)
        salt, stored, server = (hmac.new(key, purpose + name, hashlib.sha256).digest()
                                for purpose in (b"salt:", b"stored:", b"server:"))
        return ScramSecret(ITERATIONS, salt[:SALT_BYTES], stored, server)
