"""Whether a message is what it claims to be: SPF (RFC 7208), DKIM (RFC 6376) and DMARC (RFC 7489).

Used in the process that judges (`judgechild`) only; the importer of pyspf and authheaders.  pyspf evaluates SPF; of authheaders
come the DMARC record's discovery, its parser, and the list of public suffixes, which is read once.  Alignment is done here:
authheaders reads the domain of my-bank.example as "my", and parses its list anew for each question.

All questions to the DNS go through one Asker with a deadline; what has no answer in time is a temperror.
"""
import os
import random
import threading
import time
from typing import NamedTuple, Tuple

from ..config.settings import Resolver
from ..mail import headers
from ..mail.address import AddressError, ascii_domain, parse_address_list, strict_mailboxes
from ..relay import verifying
from ..relay.lookup import Lookup, Unanswered
from .results import Result

MESSAGE_OCTETS = 10 * 1024 * 1024  # of a larger message no signature is verified

_HEADER_OCTETS = 512 * 1024  # in which a header has to end
_RECORD_OCTETS = 4096
_PIECE = 65536
# The DNS records of an author's domain are asked for first, then SPF may take half of what time there is: who controls a
# slow zone must not decide that another's domain is not looked up.
_SPF_SHARE = 0.5
_MOST_AUTHORS = 5  # whose domains are asked
_POLICIES = ("none", "quarantine", "reject")


class Case(NamedTuple):
    """What is to be judged.  `sender`, `helo`, `peer`: text, "" for <>; `start`: where in the file the foreign message begins;
    `seconds`: how long it may take; `nameservers`: (address, port) pairs, () for the system's; `timeout`: of a question."""
    peer: str
    helo: str
    sender: str
    host: str
    start: int
    seconds: float
    nameservers: Tuple[Tuple[str, int], ...]
    timeout: float


class Opinion(NamedTuple):
    """`results`: results.Result in the field's order; `reject`: the author's domain asks for this message to be refused."""
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
        return tuple(record for record in self._lookup.ask(name, kind).records if len(record) <= _RECORD_OCTETS)


class Authentication:
    """Loads the packages that there are; `missing`: the names of the others.  Threads may share it."""

    def __init__(self):
        self.missing = []
        self._lookups = {}  # (name servers, timeout) -> Lookup
        self._lock = threading.Lock()
        self._asking = threading.local()  # .ask: the Asker of the thread's case
        self._spf, self._dmarc, self._suffixes = None, None, None
        self._can_verify = False
        for load in (self._load_spf, self._load_dkim, self._load_dmarc):
            try:
                load()
            except Exception as error:  # dkimpy raises RuntimeError where it finds no resolver
                self.missing.append(getattr(error, "name", None) or str(error))

    def _load_spf(self):
        import spf
        spf.DNSLookup = self._spf_lookup
        self._spf = spf

    def _load_dkim(self):
        verifying.load()
        self._can_verify = True

    def _load_dmarc(self):
        from authheaders import dmarc_lookup
        dmarc_lookup.dns_query = self._dmarc_lookup
        dmarc_lookup.get_org_domain = self.organizational
        self._suffixes = _public_suffixes(dmarc_lookup)
        self._dmarc = dmarc_lookup

    # -- a case

    def judge(self, case, file):
        """A Case and a descriptor of the staged message (LF line ends or wire form) -> Opinion. Raises OSError of that file."""
        begun = time.monotonic()
        header, body, large = _message(file, case.start)
        # A question may take all of its own time, so none begins later than that.
        end = begun + max(0.0, case.seconds - case.timeout)
        ask = Asker(self._lookup(case), end)
        self._asking.ask = ask
        author, named = _authors(header)
        # Who can't ask for both can't say that both fail.
        can_tell = None not in (self._dmarc, self._spf) and self._can_verify
        records = [(each, self._record(each)) for each in (author,) + named] if can_tell else ()
        ask.until = begun + (end - begun) * _SPF_SHARE
        found = [self._sender(case)] if self._spf is not None else []
        ask.until = end
        if self._can_verify:
            found += _signatures(header, body, large, ask)
        if not records:
            return Opinion(tuple(found))
        opinion, *stricter = [self._author(each, record, found, large) for each, record in records]
        # RFC 7489 section 6.6.1: of several authors each one's domain may ask for it, or a second one would be the way around all.
        return next((opinion._replace(reject=True, domain=each.domain) for each in stricter if each.reject), opinion)

    def _lookup(self, case):
        key = (case.nameservers, case.timeout)
        with self._lock:
            if key not in self._lookups:
                self._lookups = {key: Lookup(Resolver(*key))}  # others are of settings that are no longer
            return self._lookups[key]

    # -- SPF

    def _sender(self, case):
        domain = case.sender.rpartition("@")[2] or case.helo
        identity = ("smtp.mailfrom" if case.sender else "smtp.helo", domain)
        try:
            ascii_name = ascii_domain(domain)
            identity = (identity[0], ascii_name)
            if "." not in ascii_name.strip(".") or ascii_name[:1] == "[":
                return Result("spf", "none", "", (identity,))
            sender = "%s@%s" % (case.sender.rpartition("@")[0], ascii_name) if case.sender else ""
            helo = case.helo if case.sender else ascii_name
            word, _, _ = self._spf.query(i=case.peer, s=sender, h=helo, receiver=case.host).check()
        except AddressError:
            word = "none"  # RFC 7208 section 4.3
        except Exception:  # a parser that met hostile octets: which exceptions it has then differs
            word = "permerror"
        return Result("spf", word, "", (identity,))

    def _spf_lookup(self, name, kind, strict=True, timeout=None):
        """In place of spf.DNSLookup."""
        try:
            records = self._asking.ask(name, kind)
        except Unanswered as error:
            raise self._spf.TempError("DNS: %s" % error)
        return [((name, kind), _as_pyspf(kind, record)) for record in records]

    # -- DMARC

    def _dmarc_lookup(self, name, kind="TXT"):
        """In place of authheaders.dmarc_lookup.dns_query: texts in quotes."""
        return ['"%s"' % record.decode("utf-8", "replace") for record in self._asking.ask(name, kind)]

    def organizational(self, domain):
        """The organizational domain (RFC 7489 section 3.2) of a domain in A-labels."""
        found = self._suffixes.get_public_suffix(domain) or domain
        labels = domain.split(".")
        # Of a top level domain that the list does not know, the package takes all for one.
        return ".".join(labels[-2:]) if "." not in found and len(labels) > 1 else found

    def _record(self, author):
        """-> (result if there is one already, tags, whether the domain is below the record's)."""
        if author is None:
            return Result("dmarc", "permerror", "not one author"), {}, False
        author_property = (("header.from", author),)
        try:
            tags, organizational = self._dmarc.receiver_record(author, dnsfunc=self._dmarc_lookup)
        except Unanswered:
            return Result("dmarc", "temperror", "no answer from the DNS", author_property), {}, False
        except self._dmarc.DMARCException:
            return Result("dmarc", "permerror", "record not readable", author_property), {}, False
        if tags and tags.get("p") not in _POLICIES:  # RFC 7489 section 6.6.3
            tags = dict(tags, p="none", sp="none") if "rua" in tags else {}
        if not tags:
            return Result("dmarc", "none", "", author_property), {}, False
        return None, tags, bool(organizational) and organizational != author

    def _author(self, author, record, found, large):
        """The Opinion, with all that is known."""
        result, tags, below = record
        if result is not None:
            return Opinion(tuple(found) + (result,))
        policy = tags.get("sp", tags["p"]) if below else tags["p"]
        policy = policy if policy in _POLICIES else tags["p"]
        aligned = [each.result for each in found if self._is_aligned(author, each, tags)]
        if "pass" in aligned:
            word, reason = "pass", ""
        elif "temperror" in aligned:
            word, reason = "temperror", "no answer from the DNS"
        elif large and any(each.result == "policy" for each in found):
            word, reason = "permerror", "message too large"
        else:
            word, reason = "fail", ""
        result = Result("dmarc", word, reason, (("header.from", author), ("policy.dmarc", policy)))
        return Opinion(tuple(found) + (result,), word == "fail" and policy == "reject" and _is_meant(tags), author)

    def _is_aligned(self, author, result, tags):
        names = {"spf": ("smtp.mailfrom", "smtp.helo"), "dkim": ("header.d",)}[result.method]
        domain = next((value.lower().rstrip(".") for name, value in result.properties if name in names), "")
        if tags.get("aspf" if result.method == "spf" else "adkim") == "s":
            return domain == author
        return bool(domain) and self.organizational(domain) == self.organizational(author)


def _as_pyspf(kind, record):
    """A record as lookup gives it, in the form that pyspf wants."""
    if kind == "TXT":
        return (record,)
    if kind == "MX":
        preference, _, name = record.partition(" ")
        return (int(preference), name)
    return record.rstrip(".") if kind in ("PTR", "CNAME") else record


def _public_suffixes(dmarc_lookup):
    """The list, parsed: a system's own where the package was told of one, else that in the package."""
    try:
        from authheaders.findpsl import location
    except ImportError:
        location = os.path.join(os.path.dirname(dmarc_lookup.__file__), "public_suffix_list.txt")
    with open(location, encoding="utf-8") as file:
        found = dmarc_lookup.PublicSuffixList(file)
    found.tlds = []  # 1 MB that nobody reads
    return found


def _is_meant(tags):
    """Whether the domain wants this message refused: pct= (RFC 7489 section 6.6.4), t= of its successor."""
    percent = tags.get("pct", "100")
    return tags.get("t") != "y" and not (percent.isdigit() and random.random() * 100 >= int(percent))


def _authors(header):
    """(the domain of the one author in A-labels, ()); or (None, those that can be read where there is no single author)."""
    values = headers.collect(header, frozenset((b"from",))).get(b"from", ())[:_MOST_AUTHORS]
    strict = strict_mailboxes(values[0]) if len(values) == 1 else None
    if strict is not None and len(strict) == 1:
        return _domain(strict[0]), ()
    found = dict.fromkeys(_domain(mailbox) for value in values for entry in parse_address_list(value)
                          for mailbox in getattr(entry, "members", (entry,)))
    return None, tuple([domain for domain in found if domain is not None][:_MOST_AUTHORS])


def _domain(mailbox):
    """Of an address.Mailbox, in A-labels; None where nobody could have a policy for it."""
    try:
        domain = ascii_domain(mailbox.domain.decode("utf-8"))
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
    return [Result("dkim", each.result, each.reason, (
        ("header.d", each.domain), ("header.s", each.selector), ("header.a", each.algorithm), ("header.b", each.signature)))
        for each in found]


# -- the message ----------------------------------------------------------------------------------------------------------------


def _message(file, start):
    """A descriptor -> (header in wire form with its empty line, chunks of the body in wire form, whether it is too large)."""
    size = os.fstat(file).st_size - start
    data = os.pread(file, _HEADER_OCTETS, start)
    header, offset = headers.split_header(data)
    wire = data[:data.find(b"\n") + 1].endswith(b"\r\n")  # no line of a message that came over SMTP has a CR of its own
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
