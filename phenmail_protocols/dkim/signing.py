"""DKIM signatures on what leaves (RFC 6376, RFC 8301, RFC 8463); the only importer of dkimpy.

A signature needs the header and the body's hash (`body_hash`), never the message.  relaxed/relaxed; RSA, and Ed25519 beside it
where PyNaCl is there.  Knows nothing of queues and connections.
"""
import binascii
import hashlib
import logging
import threading
import time
from typing import Callable, Iterable, List, Optional, Tuple

from ..config.settings import Relay
from ..mail import headers
from ..mail.address import Address, AddressError, Group, ascii_domain, parse_address_list
from ..text.clock import EARLIEST
from . import keys
from .body_hash import BodyHash  # noqa: F401 (who signs needs both)
from .keys import BrokenKey, KeyFile
from .signatures import Unsigned, field_list, signature, signed_fields

SECONDS_BETWEEN_TRIES = 600.0

_PATIENCE = 30.0  # seconds; a small machine takes some for a key
_log = logging.getLogger("phenmail.relay")


class Signer:
    """Signs what leaves, with the keys of a `settings.Relay`.

    `own_domains()`: the domains that are ours, in any spelling.  `sender_domain`: who signs for all others.  `clock`: epoch
    seconds.  Threads may share it.
    """

    def __init__(self, relay: Relay, own_domains: Callable[[], Iterable[str]], sender_domain: str,
                 clock: Callable[[], float] = time.time):
        self._own_domains = own_domains
        self._sender_domain = _ascii(sender_domain)
        self._clock = clock
        self._selector = _ascii(relay.dkim_selector)
        self._rsa = KeyFile(relay.dkim_key, keys.read_rsa)
        self._ed25519 = KeyFile(relay.dkim_key + ".ed25519", keys.read_ed25519)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._making: Optional[threading.Thread] = None
        self._not_before = 0.0
        self._nacl: Optional[bool] = None
        self._dkimpy = None
        self._complained = ""

    # Keys

    def ensure_key(self) -> Optional[threading.Thread]:
        """Make the keys that are missing, in a thread of its own: that thread, or None where there is nothing to make.

        A file that is there, whatever it holds, is never replaced.  Cheap enough to be called for each message; what failed is
        tried again after a while.
        """
        with self._lock:
            if self._making is not None and self._making.is_alive():
                return self._making
            self._making = None
            if self._missing() and not self._stopping.is_set() and time.monotonic() >= self._not_before:
                self._not_before = time.monotonic() + SECONDS_BETWEEN_TRIES
                self._making = threading.Thread(target=self._make_keys, name="phenmail-dkim-key", daemon=True)
                self._making.start()
            return self._making

    def close(self, seconds: float = 5.0) -> None:
        """Give up making a key that isn't there yet; the next start makes it."""
        self._stopping.set()
        with self._lock:
            making = self._making
        if making is not None:
            making.join(seconds)

    def _missing(self):
        return [file for file in (self._rsa, self._ed25519) if not file.exists() and (file is self._rsa or self._has_nacl())]

    def _make_keys(self):
        from . import key_making  # the first time only
        try:
            for file in self._missing():
                if file is self._rsa:
                    self._make(file, key_making.new_rsa(self._stopping), keys.read_rsa)
                else:
                    self._make(file, key_making.new_ed25519(), keys.read_ed25519)
        except (OSError, BrokenKey, key_making.NoKeyTool) as error:
            if not self._stopping.is_set():
                _log.error("no DKIM key for %s: %s", self._rsa.path, error)

    def _make(self, file, data, read):
        from . import key_making
        read(data)  # a tool that wrote something else
        if key_making.publish(file.path, data):
            _log.warning("a new DKIM key was made: %s; the DNS has to know it (the word dns prints its record)", file.path)

    def public_record(self) -> List[Tuple[str, str]]:
        """(selector, value of its TXT record) of each key that signs; RFC 6376 section 3.6.2.1 says under which name."""
        found = []
        try:
            found.append((self._selector, self._rsa.get().record))
        except (OSError, BrokenKey):
            pass
        try:
            if self._has_nacl():
                found.append((self._second_selector, keys.ed25519_record(_ed25519_public(self._ed25519.get()))))
        except (OSError, BrokenKey):
            pass
        return found

    def complaints(self) -> List[str]:
        """What `check` says of the keys; a key that isn't there yet is none where it can be made."""
        from . import key_making
        found = [self._rsa.complaint(), self._ed25519.complaint()]
        if not self._rsa.exists() and not key_making.can_make():
            found.append("%s: there is no DKIM key, and neither an openssl program nor the Python package cryptography to make it"
                         % self._rsa.path)
        if found[0] is None and self._rsa.exists() and self._rsa.get().bits < keys.RSA_BITS:
            found.append("%s: the DKIM key has only %d bits (RFC 8301 asks for %d)" % (
                self._rsa.path, self._rsa.get().bits, keys.RSA_BITS))
        if self._ed25519.exists() and not self._has_nacl():
            found.append("%s: PyNaCl is not installed: this key signs nothing" % self._ed25519.path)
        return [complaint for complaint in found if complaint]

    def _has_nacl(self):
        """Whether PyNaCl is here; looked for once, and loaded by the first signature only."""
        if self._nacl is None:
            import importlib.util
            self._nacl = importlib.util.find_spec("nacl") is not None
        return self._nacl

    @property
    def _second_selector(self):
        return self._selector + "-ed25519"

    # Signatures

    def domain_for(self, header: bytes, sender: Optional[Address] = None) -> str:
        """Who signs, in A-labels: the domain of From when it is ours, else the envelope sender's, else the sender domain."""
        own = self._own()
        return _author_domain(header, own) or (
            _ascii(sender.domain) if sender is not None and _ascii(sender.domain) in own else self._sender_domain)

    def sign(self, header: bytes, body_digest: bytes, sender: Optional[Address] = None) -> bytes:
        """The fields to stand before a message: its signatures, whole lines.

        `header`: the block in wire form, with its empty line; `body_digest`: of BodyHash; `sender`: of the envelope.
        Only for messages whose author was checked.  Out: b"" where none can be made, which is logged;
        never raises.
        """
        try:
            head = self._signatures(header, body_digest, self.domain_for(header, sender))
            self._complained = ""
            return head
        except Unsigned as reason:
            if str(reason) != self._complained:  # once, not for each message
                _log.error("mail goes out unsigned: %s", reason)
            self._complained = str(reason)
        except Exception:  # whatever it is: mail matters more than its signature
            _log.exception("mail goes out unsigned")
        return b""

    def _own(self):
        return {_ascii(domain) for domain in self._own_domains()}

    def _signatures(self, header, body_digest, domain):
        sign = self._rsa_sign()
        names, text = signed_fields(header)
        tags = [b" d=%s;" % domain.encode("ascii"), *self._time(), *field_list(names),
                b" bh=%s;" % binascii.b2a_base64(body_digest, newline=False)]
        signed = hashlib.sha256(text)
        found = signature(b"rsa-sha256", self._selector, tags, signed, sign)
        second = self._ed25519_sign()
        if second is not None:
            # Below the first: old verifiers look at the topmost only.
            found += signature(b"ed25519-sha256", self._second_selector, tags, signed, second)
        return found

    def _time(self):
        now = int(self._clock())
        return [b" t=%d;" % now] if now >= EARLIEST else []  # a wrong time is worse than none

    def _rsa_sign(self):
        """callable(hash object) -> octets.  A key that is just being made is waited for."""
        with self._lock:
            making = self._making
        if making is not None:
            making.join(_PATIENCE)
        try:
            key = self._rsa.get()
        except FileNotFoundError:
            raise Unsigned("there is no DKIM key yet: %s" % self._rsa.path)
        except (OSError, BrokenKey):
            raise Unsigned(self._rsa.complaint() or "the DKIM key changes")
        try:
            self._dkimpy = self._dkimpy or dkimpys_crypto()
        except ImportError as error:
            raise Unsigned("the Python package dkimpy is not installed (%s)" % error)
        return lambda digest: bytes(self._dkimpy.RSASSA_PKCS1_v1_5_sign(digest, key.numbers))

    def _ed25519_sign(self):
        try:
            seed = self._ed25519.get()
            from nacl.signing import SigningKey
        except (OSError, BrokenKey, ImportError):  # the first signature is enough; `complaints` tells
            return None
        return lambda digest: SigningKey(seed).sign(digest.digest()).signature


def dkimpys_crypto():
    """The module dkim.crypto. Raises ImportError."""
    from dkim import crypto
    return crypto


def _ed25519_public(seed):
    from nacl.signing import SigningKey
    return SigningKey(seed).verify_key.encode()


def _ascii(domain):
    try:
        return ascii_domain(domain)
    except AddressError:
        return domain.lower()


def _author_domain(header, own):
    """The first domain of From that is ours, or None."""
    for value in headers.collect(header, frozenset((b"from",))).get(b"from", ()):
        for item in parse_address_list(value):
            for mailbox in item.members if isinstance(item, Group) else (item,):
                domain = _ascii(mailbox.domain.decode("utf-8", "replace"))
                if domain in own:
                    return domain
    return None
