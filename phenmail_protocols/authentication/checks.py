"""Checks a message with SPF (RFC 7208), DKIM (RFC 6376) and DMARC (RFC 9989).

Runs only in the child process (`judging_child`), and is the only importer of pyspf, which evaluates
SPF. `dkim.verifying` does DKIM; `dmarc` reads DMARC records.

All DNS queries go through one Asker with a deadline; a query without an answer in time is a
temperror.
"""
import os
import re
import threading
import time
from typing import NamedTuple, Tuple

from ..config.settings import Resolver
from ..dkim import verifying
from ..mail import headers
from ..mail.address import AddressError, ascii_domain, parse_address_list, strict_mailboxes
from ..net.resolver import Lookup, Unanswered
from . import dmarc
from .results import Result

MESSAGE_BYTES = 10 * 1024 * 1024  # the signatures of a larger message are not verified

_HEADER_BYTES = 512 * 1024  # in which a header has to end
_RECORD_BYTES = 4096
_PIECE = 65536
# The DMARC records are queried first, and SPF may then use half of the remaining time: otherwise
# the owner of a slow zone could keep us from looking up another domain's policy.
_SPF_SHARE = 0.5
_MOST_FIELDS = 100  # From fields that are read
# What some mail program may take for an address's domain where the syntax is broken.
_PERHAPS_A_DOMAIN = re.compile(rb"@[ \t\r\n]*([^\s<>()\[\],;:@\"\\]+)")
# In an SPF record, names are case-insensitive, and unknown modifiers are ignored even if they are
# repeated (RFC 7208 4.6.1 and 6). pyspf does neither, but it checks the macros of unknown ones.
_MODIFIERS = re.compile(r"(?i)(?<= )(?:redirect|exp)=")
_UNKNOWN = re.compile(r"(?i) (?!(?:redirect|exp)=)[a-z][a-z0-9_.-]*=[^ %]*(?![^ ])")
# A macro that keeps 0 labels, which is invalid (RFC 7208 7.3).
_NO_LABELS = re.compile(r"%\{[A-Za-z]0+(?![0-9])")
# The properties with the domain that a method authenticates.
_NAMES = {"spf": ("smtp.mailfrom", "smtp.helo"), "dkim": ("header.d",)}


class Case(NamedTuple):
    """A message to check. `peer`, `helo`, `sender`: text, "" for <>; `host`: our name; `start`:
    where the message begins in the file; `seconds`: for all checks; `nameservers`: (address, port)
    pairs, () for the system's; `timeout`: of one DNS query, in seconds.
    """
    peer: str
    helo: str
    sender: str
    host: str
    start: int
    seconds: float
    nameservers: Tuple[Tuple[str, int], ...]
    timeout: float


class Verdict(NamedTuple):
    """`results`: results.Result in the order of the field; `reject`: the author's domain asks to
    refuse this message; `domain`: that domain, "" if there are more than dmarc.MOST_AUTHORS.
    """
    results: Tuple[Result, ...]
    reject: bool = False
    domain: str = ""


class Asker:
    """DNS queries for one case. `until`: the monotonic time after which none is made."""

    def __init__(self, lookup, until):
        self._lookup = lookup
        self.until = until

    def __call__(self, name, kind):
        """-> tuple of records, as in net.resolver.Answer. Raises net.resolver.Unanswered."""
        if time.monotonic() >= self.until:
            raise Unanswered("no time is left")
        return tuple(record for record in self._lookup.ask(name, kind).records
                     if len(record) <= _RECORD_BYTES)


class Authentication:
    """The checks. `missing`: names of the packages that could not be loaded. Thread-safe."""

    def __init__(self):
        self.missing = []
        self._lookups = {}  # (name servers, timeout) -> Lookup
        self._lock = threading.Lock()
        self._query = self._load(_query_class)
        self._can_verify = bool(self._load(verifying.load))

    def _load(self, load):
        """The result of `load`, or None with an entry in `missing`."""
        try:
            return load()
        except Exception as error:  # pyspf may raise anything if it finds no resolver
            self.missing.append(getattr(error, "name", None) or str(error))
            return None

    def judge(self, case, file):
        """A Case and a descriptor of the staged message -> Verdict. Raises OSError of that file.

        The message has LF line ends or is in wire form.
        """
        begun = time.monotonic()
        header, body, is_large = _message(file, case.start)
        # A query may use its whole timeout, so the last one begins that much earlier.
        end = begun + max(0.0, case.seconds - case.timeout)
        ask = Asker(self._lookup(case), end)
        author, named = _authors(header)
        has_too_many = len(named) > dmarc.MOST_AUTHORS
        records = ()
        if self._query is not None and self._can_verify:  # DMARC fails only if both fail
            records = [(each, _record(each, ask))
                       for each in (author,) + (() if has_too_many else named)]
        ask.until = begun + (end - begun) * _SPF_SHARE
        found = [self._sender(case, ask)] if self._query is not None else []
        ask.until = end
        if self._can_verify:
            found += _signatures(header, body, is_large, ask)
        if not records:
            return Verdict(tuple(found))
        verdict, *others = [_author(each, record, found, is_large, ask)
                            for each, record in records]
        if has_too_many:
            return verdict._replace(reject=True)
        # Any author's domain may ask for it, or a second author would be a way around the policy.
        return next((verdict._replace(reject=True, domain=each.domain) for each in others
                     if each.reject), verdict)

    def _lookup(self, case):
        key = (case.nameservers, case.timeout)
        with self._lock:
            if key not in self._lookups:
                self._lookups = {key: Lookup(Resolver(*key))}  # drops that of earlier settings
            return self._lookups[key]

    def _sender(self, case, ask):
        """The Result of SPF, for the envelope's sender or the HELO name."""
        domain = case.sender.rpartition("@")[2] or case.helo
        name = "smtp.mailfrom" if case.sender else "smtp.helo"
        try:
            domain = ascii_domain(domain)
            if "." not in domain.strip(".") or domain[:1] == "[":
                return Result("spf", "none", "", ((name, domain),))
            sender = "%s@%s" % (case.sender.rpartition("@")[0], domain) if case.sender else ""
            helo = case.helo if case.sender else domain
            word, _, _ = self._query(ask, i=case.peer, s=sender, h=helo, receiver=case.host).check()
        except AddressError:
            word = "none"  # RFC 7208 4.3
        except Exception:  # the parser met hostile bytes and may raise anything
            word = "permerror"
        return Result("spf", word, "", ((name, domain),))


def _query_class():
    """-> a subclass of pyspf's `query` that uses an Asker. Raises ImportError."""
    import spf

    class Query(spf.query):
        """Counts at most one void lookup per term, however many names it has (RFC 7208 4.6.4)."""

        def __init__(self, ask, **what):
            super().__init__(**what)
            self._ask, self._is_void = ask, False

        def dns_spf(self, domain):
            record = super().dns_spf(domain)
            return record and _MODIFIERS.sub(lambda found: found.group().lower(),
                                             _UNKNOWN.sub("", record))

        def expand(self, s, stripdot=True):
            if _NO_LABELS.search(s):
                raise spf.PermError("a macro with 0 labels", s)
            return super().expand(s, stripdot)

        def check_lookups(self):
            """Called at the beginning of each term that queries the DNS."""
            super().check_lookups()
            self._is_void = False

        def dns(self, name, qtype, cnames=None, ignore_void=False):
            name = str(name).rstrip(".").lower()
            if not all(0 < len(label) < 64 for label in name.split(".")):
                return []
            try:
                records = self._ask(name, qtype)
            except Unanswered as error:
                raise spf.TempError("DNS: %s" % error)
            if not records and not ignore_void and not self._is_void:
                self._is_void = True
                self.void_lookups += 1
                if self.void_lookups > spf.MAX_VOID_LOOKUPS:
                    raise spf.PermError("more than %d void look-ups" % spf.MAX_VOID_LOOKUPS)
            return [_as_pyspf(qtype, record) for record in records]
    return Query


def _as_pyspf(kind, record):
    """A record of net.resolver in the form that pyspf expects."""
    if kind == "TXT":
        return (record,)
    if kind == "MX":
        preference, _, name = record.partition(" ")
        return (int(preference), name)
    return record.rstrip(".") if kind == "PTR" else record


# -- DMARC


def _record(author, ask):
    """An author's domain -> dmarc.Found, or a Result if that is already known."""
    if author is None:
        return Result("dmarc", "permerror", "not one author")
    author_property = (("header.from", author),)
    try:
        found = dmarc.find(author, ask)
    except Unanswered:
        return Result("dmarc", "temperror", "no DNS answer", author_property)
    return Result("dmarc", "none", "", author_property) if found.record is None else found


def _author(author, published, found, is_large, ask):
    """-> Verdict. `published`: from _record; `found`: the Results of the other methods."""
    if isinstance(published, Result):
        return Verdict(tuple(found) + (published,))
    aligned = [_aligned(author, each, published, ask) for each in found
               if each.result in ("pass", "temperror")]
    if "pass" in aligned:
        word, reason = "pass", ""
    elif "temperror" in aligned:
        word, reason = "temperror", "no DNS answer"
    elif is_large and any(each.result == "policy" for each in found):
        word, reason = "permerror", "message too large"
    else:
        word, reason = "fail", ""
    result = Result("dmarc", word, reason,
                    (("header.from", author), ("policy.dmarc", published.policy)))
    is_refused = word == "fail" and published.policy == "reject" and not published.record.testing
    return Verdict(tuple(found) + (result,), is_refused, author)


def _aligned(author, result, published, ask):
    """The word of a Result of SPF or DKIM, "" if it is not aligned with this author."""
    domain = next((value.lower().rstrip(".") for name, value in result.properties
                   if name in _NAMES[result.method]), "")
    mode = published.record.aspf if result.method == "spf" else published.record.adkim
    try:
        is_aligned = domain and dmarc.is_aligned(domain, author, published, mode == "s", ask)
    except Unanswered:
        return "temperror"
    return result.result if is_aligned else ""


def _authors(header):
    """-> (the domain of the one author in A-labels, ()).

    If there is no single author, (None, the first domains that some mail program may show, up to
    one more than dmarc.MOST_AUTHORS).
    """
    values = headers.collect(header, frozenset((b"from",))).get(b"from", ())[:_MOST_FIELDS]
    mailboxes = strict_mailboxes(values[0]) if len(values) == 1 else None
    domains = [_domain(mailbox.domain) for mailbox in mailboxes or ()]
    if len(domains) == 1 and domains[0] is not None:
        return domains[0], ()
    is_clear = domains and None not in domains
    found = {}
    for value in values:
        for name in _named(value, is_clear):
            found[_domain(name)] = True
            if len(found) > dmarc.MOST_AUTHORS + 1:  # None may be one of them
                break
    return None, tuple([domain for domain in found if domain is not None][:dmarc.MOST_AUTHORS + 1])


def _named(value, is_clear):
    """Yield each domain (bytes) in an address list; if it is malformed, all that may be one."""
    for entry in parse_address_list(value):
        for mailbox in getattr(entry, "members", (entry,)):
            yield mailbox.domain
    if not is_clear:
        for found in _PERHAPS_A_DOMAIN.finditer(value):
            yield found.group(1)


def _domain(name):
    """A domain (bytes) in A-labels, or None if it cannot have a policy."""
    try:
        domain = ascii_domain(name.decode("utf-8"))
    except (UnicodeError, AddressError):
        return None
    return domain.rstrip(".") if "." in domain.strip(".") and domain[:1] != "[" else None


def _signatures(header, body, is_large, ask):
    """-> the Results of DKIM."""
    if is_large:
        found = verifying.unverified(header, "policy", "message too large")
    else:
        found = verifying.verify(header, body, ask)
    if not found:
        return [Result("dkim", "none")]
    return [Result("dkim", each.result, each.reason,
                   (("header.d", each.domain), ("header.s", each.selector),
                    ("header.a", each.algorithm), ("header.b", each.signature))) for each in found]


# -- the message


def _message(file, start):
    """A descriptor -> (header in wire form with its empty line, chunks of the body in wire form,
    whether the message is too large)."""
    size = os.fstat(file).st_size - start
    data = os.pread(file, _HEADER_BYTES, start)
    header, offset = headers.split_header(data)
    # A message that came over SMTP has no bare CR, so one CRLF shows its form.
    is_wire = data[:data.find(b"\n") + 1].endswith(b"\r\n")
    return (_in_wire_form(header, is_wire), _body(file, start + offset, is_wire),
            size > MESSAGE_BYTES)


def _body(file, offset, is_wire):
    while True:
        data = os.pread(file, _PIECE, offset)
        if not data:
            return
        offset += len(data)
        yield _in_wire_form(data, is_wire)


def _in_wire_form(data, is_wire):
    return data if is_wire else data.replace(b"\n", b"\r\n")
