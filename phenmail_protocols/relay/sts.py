"""MTA-STS: what a domain says about TLS to its mail servers, found, fetched when it changed, and kept on disk.

Knows neither HTTPS (relay.sts_fetch) nor what follows for a connection (relay.policies). Everything that goes wrong ends in the policy
that was kept, and without one in none: then mail goes as if the domain had not spoken (RFC 8461 3.3, 5.1).
Sources: RFC 8461 3.1 (TXT record), 3.2 (policy), 3.3 (fetching), 4.1 (matching), 5.1 (whether one holds), 10.2 (refreshing).
"""

import logging
import os
import re
import threading
import time
from typing import NamedTuple, Tuple

from ..disk import atomic, names
from .routes import NoRoute, NotFound

_log = logging.getLogger("phenmail.relay")

ENFORCE, TESTING, NONE = "enforce", "testing", "none"
LONGEST = 31557600      # seconds that a policy may hold (RFC 8461 3.2)
LARGEST = 64 * 1024     # octets of a policy (RFC 8461 3.3)
RETRY, RETRY_AT_LEAST_EVERY = 300.0, 4 * 3600.0  # seconds to the next try after a failed fetch, doubled each time
_REMEMBERED = 1000      # domains whose fetch failed
_RECORD = re.compile(r"v=STSv1(?:[ \t]*;[ \t]*[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[!-:<>-~]+)+"
                     r"(?:[ \t]*;)?[ \t]*\Z")
_FIRST_LINE = re.compile(r"phenmail-sts-1 ([A-Za-z0-9]{1,32}) ([0-9]{1,12})\n")


class NotFetched(Exception):
    """A policy could not be fetched; the text says why."""


class Policy(NamedTuple):
    """`mode`: ENFORCE, TESTING or NONE; `mx`: patterns, lower case; `max_age`: seconds; `id`: of the TXT record that announced it;
    `fetched`: epoch seconds."""
    mode: str
    mx: Tuple[str, ...]
    max_age: int
    id: str = ""
    fetched: int = 0

    @property
    def expires(self):
        return self.fetched + self.max_age

    def nears_its_end(self, now):
        """The last quarter of its time has begun."""
        return now > self.expires - self.max_age / 4

    def allows(self, host):
        """Whether mail may be given to this host name (RFC 8461 4.1)."""
        host = host.lower().rstrip(".")
        return any(_matches(pattern, host) for pattern in self.mx)


def _matches(pattern, host):
    """The wildcard stands for the whole leftmost label and for nothing else."""
    if pattern.startswith("*."):
        first, dot, rest = host.partition(".")
        return bool(first and dot) and rest == pattern[2:]
    return host == pattern


def record_id(texts):
    """The id that a domain's TXT records (tuple of str) announce (RFC 8461 3.1).

    None where not exactly one of them is an MTA-STS record, or its syntax is broken anywhere.
    """
    found = [text for text in texts if re.match(r"v=STSv1[ \t]*;", text)]
    if len(found) != 1 or not _RECORD.match(found[0]):
        return None
    ids = [field[3:] for field in re.split(r"[ \t]*;[ \t]*",
                                           found[0].rstrip(" \t")) if field.startswith("id=")]
    return ids[0] if ids and re.match(r"[A-Za-z0-9]{1,32}\Z", ids[0]) else None


def parse(text):
    """A Policy of the octets that a domain's web server gave. Fields that are not known are ignored, and so are all but the first of a
    name, `mx` excepted. Raises ValueError, which says what is wrong (RFC 8461 3.2)."""
    fields, mx = {}, []
    for line in text.decode("utf-8").replace("\r\n", "\n").split("\n"):
        name, colon, value = line.partition(":")
        value = value.strip(" \t")
        if not line.strip(" \t"):
            continue
        if not colon:
            raise ValueError("a line without a colon: %.60r" % line)
        if name == "mx":
            mx.append(_pattern(value))
        fields.setdefault(name, value)
    if fields.get("version") != "STSv1":
        raise ValueError("not version STSv1")
    mode, age = fields.get("mode"), fields.get("max_age", "")
    if mode not in (ENFORCE, TESTING, NONE):
        raise ValueError("no known mode: %.60r" % mode)
    if not re.match(r"[0-9]{1,10}\Z", age):
        raise ValueError("no right max_age: %.60r" % age)
    if not mx and mode != NONE:
        raise ValueError("no mx")
    return Policy(mode, tuple(mx), min(int(age), LONGEST))


def _pattern(value):
    """An mx pattern in lower case."""
    labels = (value[2:] if value.startswith("*.") else value).split(".")
    if len(value) > 255 or not all(re.match(r"[A-Za-z0-9_-]{1,63}\Z", label) for label in labels):
        raise ValueError("not a host name or *.domain: %.60r" % value)
    return value.lower()


class Shelf(object):
    """Policies on disk, one file for a domain: a line with id and moment, then the policy as it was fetched. Files are 0600 and whole
    or not there. For any number of threads and processes."""

    def __init__(self, folder):
        self._folder = folder
        self._swept = False

    def read(self, domain, now):
        """The domain's Policy, or None where there is none that still holds at `now` (what is of no more use is removed)."""
        try:
            path = self._path(domain)
            with open(path, "rb") as file:
                policy = _kept(file.read(LARGEST + 100))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.warning("the kept MTA-STS policy of %s cannot be read: %s", domain, error)
            return None
        if now < policy.expires:
            return policy
        _remove(path)
        return None

    def write(self, domain, announced, text, now):
        """Keeps the octets `text` of a policy that was announced with the id `announced`. Raises OSError, ValueError."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        self._sweep(now)
        atomic.write_file(self._path(domain), ("phenmail-sts-1 %s %d\n" % (announced, now)).encode("ascii") + text)

    def _path(self, domain):
        return os.path.join(self._folder, names.encode(domain))

    def _sweep(self, now):
        """Once in a process: domains that get no more mail leave no files for ever."""
        if self._swept:
            return
        self._swept = True
        for name in os.listdir(self._folder):
            path = os.path.join(self._folder, name)
            if os.lstat(path).st_mtime < now - LONGEST:
                _remove(path)


def _kept(data):
    """The Policy in a file's octets; ValueError where it is not one of ours."""
    line, _, text = data.partition(b"\n")
    found = _FIRST_LINE.match(line.decode("ascii") + "\n")
    if not found:
        raise ValueError("not the first line of such a file")
    return parse(text)._replace(id=found.group(1), fetched=int(found.group(2)))


def _remove(path):
    try:
        os.unlink(path)
    except OSError:
        pass  # another process did


class Sts(object):
    """The policies of domains. `routes`: relay.routes, for the TXT records; `folder`: where they are kept; `fetch(domain)`: gives the
    octets of a policy or raises NotFetched. For any number of threads; a fetch holds up nobody else."""

    def __init__(self, routes, folder, fetch, clock=time.time):
        self._routes = routes
        self._shelf = Shelf(folder)
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._failed = {}  # domain -> (moment of the failure, seconds to wait)

    def policy(self, domain):
        """The Policy that holds for a domain (A-labels) now, or None. Fetches it when its id is new or its end is near."""
        now = self._clock()
        kept = self._shelf.read(domain, now)
        announced = self._announced(domain)
        if announced is None or self._must_wait(domain, now):
            return kept
        if kept and kept.id == announced and not kept.nears_its_end(now):
            return kept
        return self._fetched(domain, announced, now, kept)

    def _announced(self, domain):
        """The id in DNS, or None: no record and no answer are the same here (RFC 8461 5.1)."""
        try:
            records = self._routes.records("_mta-sts." + domain, "TXT")
        except (NoRoute, NotFound):
            return None
        return record_id([record.decode("latin-1") if isinstance(record, bytes) else record for record in records])

    def _must_wait(self, domain, now):
        with self._lock:
            since, seconds = self._failed.get(domain, (0.0, 0.0))
        return 0 <= now - since < seconds

    def _fetched(self, domain, announced, now, kept):
        """The domain's policy anew; `kept` where it can't be had."""
        try:
            text = self._fetch(domain)
            policy = parse(text)._replace(id=announced, fetched=int(now))
        except (NotFetched, ValueError) as error:
            self._wait(domain, now)
            _log.warning("MTA-STS: %s announces a policy that cannot be had, %s: %s", domain,
                         "the kept one holds" if kept else "mail goes as if there were none", error)
            return kept
        with self._lock:
            self._failed.pop(domain, None)
        try:
            self._shelf.write(domain, announced, text, now)
        except (OSError, ValueError) as error:
            _log.warning("MTA-STS: the policy of %s cannot be kept: %s", domain, error)
        return policy

    def _wait(self, domain, now):
        """No new fetch for a while, twice as long each time (RFC 8461 3.3)."""
        with self._lock:
            if len(self._failed) >= _REMEMBERED and domain not in self._failed:
                self._failed.clear()
            _, seconds = self._failed.get(domain, (0.0, 0.0))
            self._failed[domain] = now, min(max(2 * seconds, RETRY), RETRY_AT_LEAST_EVERY)
