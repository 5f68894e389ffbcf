"""Signs outgoing mail with DKIM (RFC 6376, RFC 8301, RFC 8463); the only importer of dkimpy.

A signature needs the header and the body's hash (`body_hash`), never the message. It is
relaxed/relaxed, with RSA, and if PyNaCl is installed a second one with Ed25519.
"""
import binascii
import hashlib
import importlib.util
import logging
import threading
import time
from typing import Optional

from ..mail import headers
from ..mail.address import AddressError, Group, ascii_domain, parse_address_list
from ..text.clock import EARLIEST
from . import keys
from .keys import BrokenKey, KeyFile
from .signatures import Unsigned, field_list, signature, signed_fields

_RETRY = 600.0  # seconds after a failed attempt to make keys
_PATIENCE = 30.0  # seconds that a message waits for a key that is being made

log = logging.getLogger("phenmail.dkim")


class Signer:
    """Signs with the keys of a `settings.Relay`. Thread-safe.

    `own_domains()`: our domains, in any spelling; `sender_domain`: signs for all others; `clock`:
    epoch seconds.
    """

    def __init__(self, relay, own_domains, sender_domain,
                 clock=time.time):
        self._own_domains = own_domains
        self._sender_domain = _ascii(sender_domain)
        self._clock = clock
        self._selector = _ascii(relay.dkim_selector)
        self._ed25519_selector = self._selector + "-ed25519"
        self._rsa = KeyFile(relay.dkim_key, keys.read_rsa)
        self._ed25519 = KeyFile(relay.dkim_key + ".ed25519", keys.read_ed25519)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._making: Optional[threading.Thread] = None
        self._not_before = 0.0
        self._nacl: Optional[bool] = None
        self._logged = ""  # why the last message was not signed

    # -- keys

    def ensure_key(self):
        """Make missing keys in a new thread -> that thread, or None if there is nothing to make.

        A file that exists is never replaced, whatever it contains. Cheap enough to call for each
        message; after a failure it tries again later.
        """
        with self._lock:
            if self._making is not None and self._making.is_alive():
                return self._making
            self._making = None
            if (self._missing() and not self._stopping.is_set()
                    and time.monotonic() >= self._not_before):
                self._not_before = time.monotonic() + _RETRY
                self._making = threading.Thread(target=self._make_keys, name="phenmail-dkim-key",
                                                daemon=True)
                self._making.start()
            return self._making

    def close(self, seconds=5.0):
        """Stop making keys, and wait up to `seconds`; the next start makes them."""
        self._stopping.set()
        with self._lock:
            making = self._making
        if making is not None:
            making.join(seconds)

    def _missing(self):
        wanted = (self._rsa, self._ed25519) if self._has_nacl() else (self._rsa,)
        return [file for file in wanted if not file.exists()]

    def _make_keys(self):
        from . import key_making  # the first time only
        try:
            for file in self._missing():
                data = (key_making.new_rsa(self._stopping) if file is self._rsa
                        else key_making.new_ed25519())
                file.read(data)  # raises BrokenKey if the tool wrote something else
                if key_making.publish(file.path, data):
                    log.warning("made a new DKIM key: %s; publish its DNS record: phenmail dns "
                                "prints it", file.path)
        except (OSError, BrokenKey, key_making.NoKeyTool) as error:
            if not self._stopping.is_set():
                log.error("cannot make a DKIM key for %s, mail is sent unsigned: %s",
                          self._rsa.path, error)

    def public_record(self):
        """(selector, value of its TXT record) of each key that signs (RFC 6376 3.6.2.1)."""
        found = []
        try:
            found.append((self._selector, self._rsa.get().record))
        except (OSError, BrokenKey):
            pass
        try:
            if self._has_nacl():
                public = _ed25519_public(self._ed25519.get())
                found.append((self._ed25519_selector, keys.ed25519_record(public)))
        except (OSError, BrokenKey):
            pass
        return found

    def complaints(self):
        """What is wrong with the keys. A missing key is fine if it can be made."""
        from . import key_making
        found = [self._rsa.complaint(), self._ed25519.complaint()]
        if not self._rsa.exists():
            if not key_making.can_make():
                found.append("%s: there is no DKIM key; install the openssl program or the Python "
                             "package cryptography to make it" % self._rsa.path)
        elif found[0] is None and self._rsa.get().bits < keys.RSA_BITS:
            found.append("%s: the DKIM key has only %d bits (RFC 8301 asks for %d)" % (
                self._rsa.path, self._rsa.get().bits, keys.RSA_BITS))
        if self._ed25519.exists() and not self._has_nacl():
            found.append("%s: this key is not used: install the Python package PyNaCl"
                         % self._ed25519.path)
        return [complaint for complaint in found if complaint]

    def _has_nacl(self):
        """Whether PyNaCl is installed; the first signature loads it."""
        if self._nacl is None:
            self._nacl = importlib.util.find_spec("nacl") is not None
        return self._nacl

    # -- signatures

    def domain_for(self, header, sender):
        """The signing domain in A-labels: that of From if it is ours, else the envelope sender's if
        it is ours, else the sender domain."""
        own = {_ascii(domain) for domain in self._own_domains()}
        author = _author_domain(header, own)
        if author is not None:
            return author
        if sender is not None and _ascii(sender.domain) in own:
            return _ascii(sender.domain)
        return self._sender_domain

    def sign(self, header, body_digest, sender=None):
        """The signature fields to put before a message, whole lines; b"" after a failure.

        `header`: the block in wire form, with its empty line; `body_digest`: of BodyHash; `sender`:
        of the envelope. Only for messages whose author was checked. Never raises: failures are
        logged, because the mail matters more than its signature.
        """
        try:
            head = self._signatures(header, body_digest, self.domain_for(header, sender))
            self._logged = ""
            return head
        except Unsigned as reason:
            if str(reason) != self._logged:  # once, not for each message
                log.error("sending mail without a DKIM signature: %s", reason)
            self._logged = str(reason)
        except Exception:
            log.exception("sending mail without a DKIM signature")
        return b""

    def _signatures(self, header, body_digest, domain):
        sign = self._rsa_sign()
        names, text = signed_fields(header)
        now = int(self._clock())
        time_tag = [b" t=%d;" % now] if now >= EARLIEST else []  # better none than a wrong one
        tags = [b" d=%s;" % domain.encode("ascii"), *time_tag, *field_list(names),
                b" bh=%s;" % binascii.b2a_base64(body_digest, newline=False)]
        signed = hashlib.sha256(text)
        found = signature(b"rsa-sha256", self._selector, tags, signed, sign)
        second = self._ed25519_sign()
        if second is not None:
            # Below the first: old verifiers look only at the topmost.
            found += signature(b"ed25519-sha256", self._ed25519_selector, tags, signed, second)
        return found

    def _rsa_sign(self):
        """-> callable(hash object) -> bytes. Waits for a key that is being made."""
        with self._lock:
            making = self._making
        if making is not None:
            making.join(_PATIENCE)
        try:
            key = self._rsa.get()
        except FileNotFoundError:
            raise Unsigned("there is no DKIM key yet: %s" % self._rsa.path)
        except (OSError, BrokenKey):
            raise Unsigned(self._rsa.complaint() or "the DKIM key is being changed")
        try:
            crypto = dkimpys_crypto()
        except ImportError as error:
            raise Unsigned("the Python package dkimpy is not installed (%s)" % error)
        return lambda digest: bytes(crypto.RSASSA_PKCS1_v1_5_sign(digest, key.numbers))

    def _ed25519_sign(self):
        """The same, or None: the first signature is enough, and `complaints` says what is wrong."""
        try:
            seed = self._ed25519.get()
            from nacl.signing import SigningKey
        except (OSError, BrokenKey, ImportError):
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
    """The first domain in From that is ours, or None."""
    for value in headers.collect(header, frozenset((b"from",))).get(b"from", ()):
        for item in parse_address_list(value):
            for mailbox in item.members if isinstance(item, Group) else (item,):
                domain = _ascii(mailbox.domain.decode("utf-8", "replace"))
                if domain in own:
                    return domain
    return None
