"""TLS for server sockets: the only file that names `ssl`, and only inside its functions (a server without TLS never loads it).

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
from .selfsigned import NoCertificateTool

__all__ = ["CertificateError", "Certificates", "ClockWrong", "Facts", "NoCertificateTool", "blocked", "ensure_self_signed", "facts",
           "server_context", "server_side"]

_log = logging.getLogger("phenmail.net")

RENEW = 30 * 86400           # seconds before its end that a certificate of ours is made anew
SESSIONS = 1000              # that one context may remember: 1.3 MB. Clients without session tickets (RFC 5077) fill it up to 20 480


class ClockWrong(CertificateError):
    """The clock shows a time before 2024: a certificate made now would not be valid when the clock is set."""


def server_side(sock, context):
    """`sock` as TLS server socket, without handshake; takes the socket over. Raises OSError, ValueError."""
    return context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)


def blocked():
    """Two tuples of exceptions: wait until the socket can be read; wait until it can be written."""
    import ssl
    return (ssl.SSLWantReadError,), (ssl.SSLWantWriteError,)


def server_context(certificate_path, key_path):
    """An ssl.SSLContext for a server with this certificate (PEM, chain included) and key. Raises OSError (SSLError is one)."""
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if hasattr(ssl, "TLSVersion"):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    else:
        context.options |= ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1
    context.options |= getattr(ssl, "OP_NO_RENEGOTIATION", 0)
    context.load_cert_chain(certificate_path, key_path, password=_no_password)
    return context


def _no_password():
    """An encrypted key would make OpenSSL ask on the terminal; an empty answer makes it fail instead."""
    return ""


class Certificates(object):
    """The server's certificate and key files; `context()` follows them when they change. For any number of threads."""

    def __init__(self, certificate_path, key_path):
        self.certificate_path = certificate_path
        self.key_path = key_path
        self._lock = threading.Lock()
        self._seen = None
        self._context = None
        self._full = SESSIONS

    def context(self):
        """The ssl.SSLContext of the files as they are now. Files that cannot be loaded leave the last good one in use, with a line in
        the log; without a last good one CertificateError is raised."""
        with self._lock:
            signature = _signature(self.certificate_path), _signature(self.key_path)
            if signature != self._seen or self._context is None or self._sessions() >= self._full:
                self._load()
                self._seen = signature
                self._full = self._sessions() + SESSIONS
            return self._context

    def _sessions(self):
        """How many sessions the context remembers. Python cannot limit them, so a context that is full makes room for a new one."""
        return self._context.session_stats()["number"]

    def _load(self):
        try:
            self._context = server_context(self.certificate_path, self.key_path)
        except (OSError, ValueError) as error:
            problem = "certificate %s with key %s: %s" % (self.certificate_path, self.key_path, error)
            if self._context is None:
                raise CertificateError(problem)
            _log.error("%s; the one before stays in use", problem)

    def fingerprint(self):
        """SHA-256 of the first certificate in the file as "AA:BB:…", the form that mail programs show. Raises CertificateError."""
        try:
            with open(self.certificate_path, "rb") as file:
                digest = hashlib.sha256(first_der(file.read())).hexdigest().upper()
        except (OSError, ValueError) as error:
            raise CertificateError("certificate %s: %s" % (self.certificate_path, error))
        return ":".join(digest[i:i + 2] for i in range(0, len(digest), 2))


def _signature(path):
    """What changes when a file is written or replaced; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def first_der(pem):
    """The DER bytes of the first certificate in PEM text (bytes). Raises ValueError."""
    found = re.search(b"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", pem, re.DOTALL)
    if not found:
        raise ValueError("holds no certificate")
    return binascii.a2b_base64(found.group(1))


class Facts(NamedTuple):
    """What a certificate says: `not_before`, `not_after` in epoch seconds, `names` (its subjectAltName as text), `ours`: self-signed by us."""
    not_before: float
    not_after: float
    names: tuple
    ours: bool


def facts(certificate_path):
    """Facts of the first certificate in a PEM file. Raises OSError (SSLError is one) where it cannot be read."""
    import ssl
    decoded = ssl._ssl._test_decode_cert(certificate_path)  # the library's only decoder for a certificate that nobody presented yet
    subject = dict(pair for part in decoded["subject"] for pair in part)
    return Facts(_epoch(decoded["notBefore"]), _epoch(decoded["notAfter"]),
                 tuple(name for _, name in decoded.get("subjectAltName", ())),
                 decoded["subject"] == decoded["issuer"] and subject.get("organizationName") == selfsigned.ORGANIZATION)


def ensure_self_signed(certificate_path, key_path, names, clock=time.time):
    """Makes a self-signed pair for `names` where there is none, and renews ours 30 days before its end with the same key; True when it did.

    Certificates of others are never touched. Call it at start and daily: `Certificates` then notices the new file.
    Raises NoCertificateTool, ClockWrong, CertificateError.
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
        return False  # whoever put it there has to mend it: `Certificates` says so
    if not known.ours:
        return False
    if now >= EARLIEST and not known.not_before - 86400 < now < known.not_after - RENEW:
        return True  # it ends soon, or was made while the clock was far ahead
    return not _fit(certificate_path, key_path)


def _fit(certificate_path, key_path):
    try:
        server_context(certificate_path, key_path)
    except OSError:
        return False
    return True


_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def _epoch(text):
    """Epoch seconds of a moment as `ssl` writes it: "Jun  1 12:00:00 2028 GMT".  Its own reader would load the locales' names."""
    from datetime import datetime, timezone
    month, day, clock, year, _ = text.split()
    moment = datetime(int(year), _MONTHS.index(month) + 1, int(day), *map(int, clock.split(":")), tzinfo=timezone.utc)
    return int(moment.timestamp())
