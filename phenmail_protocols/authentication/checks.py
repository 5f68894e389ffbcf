"""Whether a message is what it claims to be: SPF (RFC 7208), DKIM (RFC 6376) and DMARC (RFC 9989).

Used in the process that judges (`judging_child`) only; the importer of pyspf, which evaluates SPF.
`dkim.verifying` does DKIM; `dmarc` reads DMARC records.

All questions to the DNS go through one Asker with a deadline; what has no answer in time is a
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

MESSAGE_OCTETS = 10 * 1024 * 1024  # of a larger message no signature is verified

_HEADER_OCTETS = 512 * 1024  # in which a header has to end
_RECORD_OCTETS = 4096
_PIECE = 65536
# The DNS records of an author's domain are asked for first, then SPF may take half of what time
# there is: who controls a slow zone must not decide that another's domain is not looked up.
_SPF_SHARE = 0.5
_MOST_FIELDS = 100  # of From that are read
# What some program may take for the domain of an address, where the syntax is broken.
_PERHAPS_A_DOMAIN = re.compile(rb"@[ \t\r\n]*([^\s<>()\[\],;:@\"\\]+)")
# In an SPF record names have any case, and unknown modifiers are ignored however often they stand
# (RFC 7208 sections 4.6.1 and 6).  pyspf does neither; it does check an unknown one's macros.
_MODIFIERS = re.compile(r"(?i)(?<= )(?:redirect|exp)=")
_UNKNOWN = re.compile(r"(?i) (?!(?:redirect|exp)=)[a-z][a-z0-9_.-]*=[^ %]*(?![^ ])")
# No labels of a macro's value; the number may not be zero (RFC 7208 section 7.3).
_NO_LABELS = re.compile(r"%\{[A-Za-z]0+(?![0-9])")
# The properties that hold the domain that a method authenticates.
_NAMES = {"spf": ("smtp.mailfrom", "smtp.helo"), "dkim": ("header.d",)}


class Case(NamedTuple):
    """What is to be judged.  `sender`, `helo`, `peer`: text, "" for <>; `start`: where in the file
    the foreign message begins; `seconds`: how long it may take; `nameservers`: (address, port)
    pairs, () for the system's; `timeout`: of a question.
    """
    peer: str
    helo: str
    sender: str
    host: str
    start: int
    seconds: float
    nameservers: Tuple[Tuple[str, int], ...]
    timeout: float


class Opinion(NamedTuple):
    """`results`: results.Result in the field's order; `reject`: the author's domain asks for this
    message to be refused; `domain`: it, "" where there are more than dmarc.MOST_AUTHORS, of which
    nobody was asked.
    """
    results: Tuple[Result, ...]
    reject: bool = False
    domain: str = ""


class Asker:
    """Questions of one case.  `until`: the monotonic time after which none is asked any more."""

    def __init__(self, lookup, until):
        self._lookup = lookup
        self.until = until

    def __call__(self, name, kind):
        """-> tuple of records as lookup.Answer has them. Raises lookup.Unanswered."""
        if time.monotonic() >= self.until:
            raise Unanswered("no time is left")
        return tuple(record for record in self._lookup.ask(name, kind).records
                     if len(record) <= _RECORD_OCTETS)


class Authentication:
    """Loads the packages that there are; `missing`: the names of the others.  Threads may share it.
    """

    def __init__(self):
        self.missing = []
        self._lookups = {}  # (name servers, timeout) -> Lookup
        self._lock = threading.Lock()
        self._query = None  # a class
        self._can_verify = False
        for load in (self._load_spf, self._load_dkim):
            try:
                load()
            except Exception as error:  # pyspf raises what it likes where it finds no resolver
                self.missing.append(getattr(error, "name", None) or str(error))

    def _load_spf(self):
        self._query = _query_class()

    def _load_dkim(self):
        verifying.load()
        self._can_verify = True

    # -- a case

    def judge(self, case, file):
        """A Case and a descriptor of the staged message (LF line ends or wire form) -> Opinion.
        Raises OSError of that file.
        """
        begun = time.monotonic()
        header, body, large = _message(file, case.start)
        # A question may take all of its own time, so none begins later than that.
        end = begun + max(0.0, case.seconds - case.timeout)
        ask = Asker(self._lookup(case), end)
        author, named = _authors(header)
        are_many = len(named) > dmarc.MOST_AUTHORS
        # Who can't ask for both can't say that both fail.
        can_tell = self._query is not None and self._can_verify
        records = [(each, _record(each, ask))
                   for each in (author,) + (() if are_many else named)] if can_tell else ()
        ask.until = begun + (end - begun) * _SPF_SHARE
        found = [self._sender(case, ask)] if self._query is not None else []
        ask.until = end
        if self._can_verify:
            found += _signatures(header, body, large, ask)
        if not records:
            return Opinion(tuple(found))
        opinion, *stricter = [_author(each, record, found, large, ask) for each, record in records]
        if are_many:
            return opinion._replace(reject=True)
        # Each author's domain may ask for it, or a second author would be the way around all.
        return next((opinion._replace(reject=True, domain=each.domain) for each in stricter
                     if each.reject), opinion)

    def _lookup(self, case):
        key = (case.nameservers, case.timeout)
        with self._lock:
            if key not in self._lookups:
                # others are of settings that are no longer
                self._lookups = {key: Lookup(Resolver(*key))}
            return self._lookups[key]

    # -- SPF

    def _sender(self, case, ask):
        domain = case.sender.rpartition("@")[2] or case.helo
        identity = ("smtp.mailfrom" if case.sender else "smtp.helo", domain)
        try:
            ascii_name = ascii_domain(domain)
            identity = (identity[0], ascii_name)
            if "." not in ascii_name.strip(".") or ascii_name[:1] == "[":
                return Result("spf", "none", "", (identity,))
            sender = "%s@%s" % (case.sender.rpartition("@")[0], ascii_name) if case.sender else ""
            helo = case.helo if case.sender else ascii_name
            word, _, _ = self._query(ask, i=case.peer, s=sender, h=helo, receiver=case.host).check()
        except AddressError:
            word = "none"  # RFC 7208 section 4.3
        except Exception:  # a parser that met hostile octets: which exceptions it has then differs
            word = "permerror"
        return Result("spf", word, "", (identity,))


def _query_class():
    """A subclass of pyspf's `query` that asks an Asker. Raises ImportError."""
    import spf

    class Query(spf.query):
        """Counts one void look-up a term, however many names it has (RFC 7208 section 4.6.4)."""

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
            """A term begins that asks."""
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
    """A record as lookup gives it, in the form that pyspf wants."""
    if kind == "TXT":
        return (record,)
    if kind == "MX":
        preference, _, name = record.partition(" ")
        return (int(preference), name)
    return record.rstrip(".") if kind == "PTR" else record


# -- DMARC


def _record(author, ask):
    """A domain -> what holds for it: a dmarc.Found, or a Result where there is one already."""
    if author is None:
        return Result("dmarc", "permerror", "not one author")
    author_property = (("header.from", author),)
    try:
        found = dmarc.find(author, ask)
    except Unanswered:
        return Result("dmarc", "temperror", "no answer from the DNS", author_property)
    return Result("dmarc", "none", "", author_property) if found.record is None else found


def _author(author, holds, found, large, ask):
    """-> the Opinion.  `holds`: what _record gave; `found`: the Results of the other methods."""
    if isinstance(holds, Result):
        return Opinion(tuple(found) + (holds,))
    aligned = [_aligned(author, each, holds, ask) for each in found
               if each.result in ("pass", "temperror")]
    if "pass" in aligned:
        word, reason = "pass", ""
    elif "temperror" in aligned:
        word, reason = "temperror", "no answer from the DNS"
    elif large and any(each.result == "policy" for each in found):
        word, reason = "permerror", "message too large"
    else:
        word, reason = "fail", ""
    result = Result("dmarc", word, reason,
                    (("header.from", author), ("policy.dmarc", holds.policy)))
    is_refused = word == "fail" and holds.policy == "reject" and not holds.record.testing
    return Opinion(tuple(found) + (result,), is_refused, author)


def _aligned(author, result, holds, ask):
    """The word of a Result of SPF or DKIM, "" where it is not aligned with this author."""
    domain = next((value.lower().rstrip(".") for name, value in result.properties
                   if name in _NAMES[result.method]), "")
    mode = holds.record.aspf if result.method == "spf" else holds.record.adkim
    try:
        is_aligned = domain and dmarc.is_aligned(domain, author, holds, mode == "s", ask)
    except Unanswered:
        return "temperror"
    return result.result if is_aligned else ""


def _authors(header):
    """(the domain of the one author in A-labels, ()); or, where there is no single author, (None,
    the first domains that some program may show, one more than dmarc.MOST_AUTHORS if there are
    more).
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
    """The octets of each domain in an address list; of one that is not clear all that may be one."""
    for entry in parse_address_list(value):
        for mailbox in getattr(entry, "members", (entry,)):
            yield mailbox.domain
    if not is_clear:
        for found in _PERHAPS_A_DOMAIN.finditer(value):
            yield found.group(1)


def _domain(name):
    """Of the octets of an author's domain, in A-labels; None where nobody could have a policy for it."""
    try:
        domain = ascii_domain(name.decode("utf-8"))
    except (UnicodeError, AddressError):
        return None
    return domain.rstrip(".") if "." in domain.strip(".") and domain[:1] != "[" else None


def _signatures(header, body, large, ask):
    if large:
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
    whether it is too large).
    """
    size = os.fstat(file).st_size - start
    data = os.pread(file, _HEADER_OCTETS, start)
    header, offset = headers.split_header(data)
    # no line of a message that came over SMTP has a CR of its own
    wire = data[:data.find(b"\n") + 1].endswith(b"\r\n")
    return _in_wire_form(header, wire), _body(file, start + offset, wire), size > MESSAGE_OCTETS


def _body(file, offset, wire):
    while True:
        data = os.pread(file, _PIECE, offset)
        if not data:
            return
        offset += len(data)
        yield _in_wire_form(data, wire)


def _in_wire_form(data, wire):
    return data if wire else data.replace(b"\n", b"\r\n")
