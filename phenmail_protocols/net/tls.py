"""TLS for server sockets. It imports `ssl` late: a server without TLS never loads it.

TLS 1.2 at least (RFC 8996, RFC 8314 4.1).
"""
import binascii
import hashlib
import logging
import os
import re
import threading
import time
from typing import NamedTuple

from ..text.clock import EARLIEST
from . import selfsigned
from .errors import CertificateError

log = logging.getLogger("phenmail.net")

RENEW = 30 * 86400  # seconds before its end that our certificate is renewed
# TLS sessions that one context remembers, some 1.3 MB. Clients without session tickets (RFC 5077)
# would fill it up to OpenSSL's 20 480.
SESSIONS = 1000


class ClockWrong(CertificateError):
    """The clock is before 2024: a new certificate would be invalid once the clock is set."""


def server_side(sock, context):
    """`sock` -> TLS server socket without handshake, which takes it over.

    Raises OSError, ValueError.
    """
    return context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)


def blocked():
    """Two tuples of exceptions: wait until the socket is readable; until it is writable."""
    import ssl
    return (ssl.SSLWantReadError,), (ssl.SSLWantWriteError,)


def refuse_old_versions(context):
    """Let an ssl.SSLContext use TLS 1.2 at least."""
    import ssl
    if hasattr(ssl, "TLSVersion"):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    else:
        context.options |= ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1


def server_context(certificate_path, key_path):
    """-> ssl.SSLContext of a server with this certificate (PEM, with its chain) and key.

    Raises OSError (SSLError is one).
    """
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    refuse_old_versions(context)
    context.options |= getattr(ssl, "OP_NO_RENEGOTIATION", 0)
    context.load_cert_chain(certificate_path, key_path, password=_no_password)
    return context


def _no_password():
    """Without it, OpenSSL would ask for an encrypted key's password on the terminal."""
    return ""


class Certificates:
    """The server's certificate and key files. Any thread may call it."""

    def __init__(self, certificate_path, key_path):
        self.certificate_path = certificate_path
        self.key_path = key_path
        self._lock = threading.Lock()
        self._seen = None
        self._context = None
        self._full = SESSIONS

    def context(self):
        """-> ssl.SSLContext of the files as they are now.

        If they cannot be loaded, the last good context stays in use. Raises CertificateError if
        there is none.
        """
        with self._lock:
            signature = _signature(self.certificate_path), _signature(self.key_path)
            if (signature != self._seen or self._context is None
                    or self._sessions() >= self._full):
                self._load()
                self._seen = signature
                self._full = self._sessions() + SESSIONS
            return self._context

    def _sessions(self):
        """How many sessions the context remembers. Python cannot limit them, so a full context is
        replaced."""
        return self._context.session_stats()["number"]

    def _load(self):
        try:
            self._context = server_context(self.certificate_path, self.key_path)
        except (OSError, ValueError) as error:
            problem = "cannot load certificate %s with key %s: %s" % (
                self.certificate_path, self.key_path, error)
            if self._context is None:
                raise CertificateError(problem)
            log.error("%s; the previous certificate stays in use", problem)

    def fingerprint(self):
        """SHA-256 of the first certificate as "AA:BB:…", as mail programs show it.

        Raises CertificateError.
        """
        try:
            with open(self.certificate_path, "rb") as file:
                digest = hashlib.sha256(first_der(file.read())).hexdigest().upper()
        except (OSError, ValueError) as error:
            raise CertificateError("cannot read certificate %s: %s" % (
                self.certificate_path, error))
        return ":".join(digest[i:i + 2] for i in range(0, len(digest), 2))


def _signature(path):
    """What changes when a file is written or replaced; None without the file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def first_der(pem):
    """PEM text (bytes) -> the first certificate in DER. Raises ValueError."""
    found = re.search(
        b"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", pem, re.DOTALL)
    if not found:
        raise ValueError("it contains no certificate")
    return binascii.a2b_base64(found.group(1))


class Facts(NamedTuple):
    """What a certificate says.

    `not_before`, `not_after`: epoch seconds; `names`: subjectAltName; `ours`: self-signed by us.
    """
    not_before: float
    not_after: float
    names: tuple
    ours: bool


def facts(certificate_path):
    """-> Facts of the first certificate in a PEM file. Raises OSError (SSLError is one)."""
    import ssl
    # The standard library decodes only here a certificate that no peer presented.
    decoded = ssl._ssl._test_decode_cert(certificate_path)
    subject = dict(pair for part in decoded["subject"] for pair in part)
    names = tuple(name for _, name in decoded.get("subjectAltName", ()))
    ours = (decoded["subject"] == decoded["issuer"]
            and subject.get("organizationName") == selfsigned.ORGANIZATION)
    return Facts(_epoch(decoded["notBefore"]), _epoch(decoded["notAfter"]), names, ours)


def ensure_self_signed(certificate_path, key_path, names, clock=time.time):
    """Make a self-signed pair for `names` if there is none; renew ours 30 days before its end.

    -> whether it did. A renewal keeps the key. Certificates of others are never touched. To be
    called at start and daily: `Certificates` then notices the new file. Raises CertificateError.
    """
    now = clock()
    if not _is_due(certificate_path, key_path, now):
        return False
    if now < EARLIEST:
        raise ClockWrong("no certificate is made: the clock is wrong, it shows a time before 2024")
    try:
        selfsigned.make(certificate_path, key_path, names)
    except OSError as error:
        raise CertificateError("cannot make a certificate at %s: %s" % (certificate_path, error))
    return True


def _is_due(certificate_path, key_path, now):
    if not os.path.exists(certificate_path):
        return True
    try:
        known = facts(certificate_path)
    except OSError:
        return False  # the user's file, and `Certificates` reports it
    if not known.ours:
        return False
    if now >= EARLIEST and not known.not_before - 86400 < now < known.not_after - RENEW:
        return True  # it ends soon, or was made while the clock was far ahead
    try:
        server_context(certificate_path, key_path)
    except OSError:
        return True  # certificate and key do not fit together
    return False


_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def _epoch(text):
    """A time as `ssl` writes it ("Jun  1 12:00:00 2028 GMT") -> epoch seconds.

    `ssl` itself would load the locales' names of months.
    """
    from datetime import datetime, timezone
    month, day, clock, year, _ = text.split()
    moment = datetime(int(year), _MONTHS.index(month) + 1, int(day), *map(int, clock.split(":")),
                      tzinfo=timezone.utc)
    return int(moment.timestamp())
