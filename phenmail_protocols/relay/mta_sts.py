"""MTA-STS: what a domain's policy says about TLS to its mail servers (RFC 8461).

`MtaSts.policy` reads the domain's TXT record. If that names a policy we do not have, or ours will
expire soon, it fetches the policy over HTTPS and keeps it on disk. After any failure the cached
policy holds; without one, mail is sent as if the domain had no policy (3.3, 5.1): an attacker who
suppresses the record or blocks the web server cannot switch off a policy that we know.

What a policy means for a connection is decided in `tls_policy`.
"""
import logging
import os
import re
import threading
import time
from typing import NamedTuple, Tuple

from ..disk import atomic, names
from ..net import http_exchange, tlsclient
from .mx_routes import NoRoute, NotFound

log = logging.getLogger("phenmail.relay")

ENFORCE, TESTING, NONE = "enforce", "testing", "none"
LONGEST = 31557600  # seconds that a policy may hold (3.2)
LARGEST = 64 * 1024  # bytes of a policy (3.3)

_RETRY, _LONGEST_RETRY = 300.0, 4 * 3600.0  # seconds after a failed fetch, doubled each time
_MOST_FAILED = 1000  # domains whose failed fetch is remembered
_FETCH_SECONDS = 60.0  # for all: connecting, TLS, and every byte
_PATH = "/.well-known/mta-sts.txt"
_RECORD = re.compile(r"v=STSv1(?:[ \t]*;[ \t]*[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[!-:<>-~]+)+"
                     r"(?:[ \t]*;)?[ \t]*\Z")
_FIRST_LINE = re.compile(r"phenmail-sts-1 ([A-Za-z0-9]{1,32}) ([0-9]{1,12})\Z")


class NotFetched(Exception):
    """A policy could not be fetched; str() says why."""


class Policy(NamedTuple):
    """`mode`: ENFORCE, TESTING or NONE; `mx`: patterns in lower case; `max_age`: seconds; `id`: of
    the TXT record that announced it; `fetched`: epoch seconds."""
    mode: str
    mx: Tuple[str, ...]
    max_age: int
    id: str = ""
    fetched: int = 0

    @property
    def expires(self):
        return self.fetched + self.max_age

    def expires_soon(self, now):
        """Whether three quarters of its time have passed (RFC 8461 10.2: refresh in time)."""
        return now > self.expires - self.max_age / 4

    def allows(self, host):
        """Whether this host may receive mail (RFC 8461 4.1)."""
        host = host.lower().rstrip(".")
        return any(_matches(pattern, host) for pattern in self.mx)


def _matches(pattern, host):
    """The wildcard stands for exactly one label, the leftmost."""
    if pattern.startswith("*."):
        first, dot, rest = host.partition(".")
        return bool(first and dot) and rest == pattern[2:]
    return host == pattern


def record_id(texts):
    """The id in a domain's TXT records (sequence of str), or None (RFC 8461 3.1).

    None unless exactly one of them is an MTA-STS record, and its syntax is right everywhere.
    """
    found = [text for text in texts if re.match(r"v=STSv1[ \t]*;", text)]
    if len(found) != 1 or not _RECORD.match(found[0]):
        return None
    fields = re.split(r"[ \t]*;[ \t]*", found[0].rstrip(" \t"))
    ids = [field[3:] for field in fields if field.startswith("id=")]
    return ids[0] if ids and re.match(r"[A-Za-z0-9]{1,32}\Z", ids[0]) else None


def parse(text):
    """A policy file (bytes) -> Policy (RFC 8461 3.2). Raises ValueError, which says what is wrong.

    Unknown fields are ignored; of a repeated field, `mx` excepted, only the first counts.
    """
    fields, mx = {}, []
    for line in text.decode("utf-8").replace("\r\n", "\n").split("\n"):
        name, colon, value = line.partition(":")
        value = value.strip(" \t")
        if not line.strip(" \t"):
            continue
        if not colon:
            raise ValueError("a line has no colon: %.60r" % line)
        if name == "mx":
            mx.append(_pattern(value))
        fields.setdefault(name, value)
    if fields.get("version") != "STSv1":
        raise ValueError("the version is not STSv1")
    mode, age = fields.get("mode"), fields.get("max_age", "")
    if mode not in (ENFORCE, TESTING, NONE):
        raise ValueError("unknown mode: %.60r" % mode)
    if not re.match(r"[0-9]{1,10}\Z", age):
        raise ValueError("invalid max_age: %.60r" % age)
    if not mx and mode != NONE:
        raise ValueError("no mx")
    return Policy(mode, tuple(mx), min(int(age), LONGEST))


def _pattern(value):
    """An mx pattern in lower case."""
    labels = (value[2:] if value.startswith("*.") else value).split(".")
    if len(value) > 255 or not all(re.match(r"[A-Za-z0-9_-]{1,63}\Z", label) for label in labels):
        raise ValueError("mx is not a host name or *.domain: %.60r" % value)
    return value.lower()


# -- when to fetch


class MtaSts:
    """The policies of all domains. Thread-safe; a fetch delays no other domain.

    `routes`: mx_routes.Routes, for the TXT records; `folder`: where policies are kept;
    `fetch(domain)`: a policy's bytes, raises NotFetched.
    """

    def __init__(self, routes, folder, fetch, clock=time.time):
        self._routes = routes
        self._files = _PolicyFiles(folder)
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = {}  # domain -> (time of the failure, seconds to wait)

    def policy(self, domain):
        """The Policy that holds now for a domain (A-labels), or None."""
        now = self._clock()
        kept = self._files.read(domain, now)
        announced = self._announced(domain)
        if announced is None or self._must_wait(domain, now):
            return kept
        if kept and kept.id == announced and not kept.expires_soon(now):
            return kept
        try:
            text = self._fetch(domain)
            policy = parse(text)._replace(id=announced, fetched=int(now))
        except (NotFetched, ValueError) as error:
            self._wait(domain, now)
            log.warning("MTA-STS: cannot get the policy that %s announces, %s: %s", domain,
                        "using the cached policy" if kept else "sending without a policy", error)
            return kept
        with self._lock:
            self._failed.pop(domain, None)
        try:
            self._files.write(domain, announced, text, now)
        except (OSError, ValueError) as error:
            log.warning("MTA-STS: cannot cache the policy of %s, it will be fetched again: %s",
                        domain, error)
        return policy

    def _announced(self, domain):
        """The id in the DNS, or None: no record and no answer count alike (RFC 8461 5.1)."""
        try:
            records = self._routes.records("_mta-sts." + domain, "TXT")
        except (NoRoute, NotFound):
            return None
        return record_id([record.decode("latin-1") if isinstance(record, bytes) else record
                          for record in records])

    def _must_wait(self, domain, now):
        with self._lock:
            since, seconds = self._failed.get(domain, (0.0, 0.0))
        return 0 <= now - since < seconds

    def _wait(self, domain, now):
        """Fetch nothing for a while, twice as long each time (RFC 8461 3.3)."""
        with self._lock:
            if len(self._failed) >= _MOST_FAILED and domain not in self._failed:
                self._failed.clear()
            _, seconds = self._failed.get(domain, (0.0, 0.0))
            self._failed[domain] = now, min(max(2 * seconds, _RETRY), _LONGEST_RETRY)


class _PolicyFiles:
    """One file per domain: a line with id and time, then the policy as it was fetched.

    Files are written atomically with mode 0600. For any number of threads and processes.
    """

    def __init__(self, folder):
        self._folder = folder
        self._is_swept = False

    def read(self, domain, now):
        """The domain's Policy, or None if there is none that holds at `now`."""
        path = self._path(domain)
        try:
            with open(path, "rb") as file:
                line, _, text = file.read(LARGEST + 100).partition(b"\n")
            found = _FIRST_LINE.match(line.decode("ascii"))
            if not found:
                raise ValueError("the first line is invalid")
            policy = parse(text)._replace(id=found.group(1), fetched=int(found.group(2)))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("MTA-STS: cannot read the cached policy of %s, will fetch it again: %s",
                        domain, error)
            return None
        if now < policy.expires:
            return policy
        _remove(path)
        return None

    def write(self, domain, announced, text, now):
        """Keep the bytes `text` of a policy with this id. Raises OSError, ValueError."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        self._sweep(now)
        line = "phenmail-sts-1 %s %d\n" % (announced, now)
        atomic.write_file(self._path(domain), line.encode("ascii") + text)

    def _path(self, domain):
        return os.path.join(self._folder, names.encode(domain))

    def _sweep(self, now):
        """Once per process: remove the files of domains that get no more mail."""
        if self._is_swept:
            return
        self._is_swept = True
        for name in os.listdir(self._folder):
            path = os.path.join(self._folder, name)
            if os.lstat(path).st_mtime < now - LONGEST:
                _remove(path)


def _remove(path):
    try:
        os.unlink(path)
    except OSError:
        pass  # another process did


# -- over HTTPS


def fetch_policy(routes, domain, port=443, context=None, seconds=_FETCH_SECONDS,
                 monotonic=time.monotonic):
    """Get a domain's policy file (RFC 8461 3.3) -> its bytes, not parsed. Raises NotFetched.

    One GET, certificate verified, no redirect, no cache; bounded in time and size. `routes` looks
    up the web server, so that the `resolver` setting holds; `context()`: the SSLContext.
    """
    host = "mta-sts." + domain
    left = http_exchange.countdown(seconds, monotonic)
    try:
        sock = http_exchange.connect(routes.addresses(host, port).ips, port, left)
        sock = http_exchange.secure(
            sock, context() if context else tlsclient.client_context(True), host, left)
        try:
            return _content(http_exchange.exchange(sock, left, host, "GET", _PATH, {},
                                                   most=LARGEST))
        finally:
            sock.close()
    except NoRoute as error:
        raise NotFetched("%s: %s" % (host, error.reply.text))
    except (OSError, ValueError) as error:
        raise NotFetched("%s: %s" % (host, str(error) or type(error).__name__))


def _content(response):
    """The body of a Response that is a policy. Raises ValueError."""
    if response.status != 200:
        raise ValueError("the web server answers %d, not 200" % response.status)
    if response.kind != "text/plain":
        raise ValueError("the policy is %.60r, not text/plain" % response.kind)
    if not response.has_length:
        raise ValueError("the response has no length")
    return response.body
