"""``dns --check``: the live DNS beside what ``dnsrecords`` asks for, compared by meaning.

Other spellings of the same are right: strings cut elsewhere, tags in another order, an SPF record that lets send whom ours does
and more, a stricter DMARC policy.  Asks through `relay.mx_routes.Routes.records` only.
"""
import json
import re
from typing import Any, Iterable, Iterator, List, NamedTuple, Tuple

from ..authentication import dmarc
from ..dkim import tags
from ..mail import taglist
from ..relay.mta_sts import record_id
from ..relay.mx_routes import NoRoute, NotFound
from .dnsrecords import Domain, exchangers, shown

RIGHT, MISSING, DIFFERENT, UNKNOWN = "right", "missing", "different", "unknown"

# The version in the TXT record of each purpose, in lower case; a name may have other texts too.
_VERSIONS = {"spf": b"spf1", "dmarc": b"dmarc1", "sts": b"stsv1", "tlsrpt": b"tlsrptv1"}
_TLSRPT = re.compile(
    r"v=TLSRPTv1(?:[ \t]*;[ \t]*[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[!-:<-~][ -:<-~]*)+"
    r"(?:[ \t]*;)?[ \t]*\Z")
_RUA = re.compile(r";[ \t]*rua=(?:mailto|https):[^;]")


class Finding(NamedTuple):
    """`state`: right, missing, different, or unknown where the DNS gave no answer (`found` says why).  `expected`, `found`: data
    as in zone files, or words."""
    name: str
    kind: str
    state: str
    expected: Tuple[str, ...]
    found: Tuple[str, ...]


class _Unanswered(Exception):
    """The DNS could not be asked; str() says why."""


def check(settings: Any, wanted: Iterable[Domain], routes: Any) -> List[Finding]:
    """Compare everything.  `wanted`: dnsrecords.domains; `routes`: relay.mx_routes.Routes.  Asks a few questions a domain, one after
    the other, each for as long as the resolver's timeout at most.  Never raises for what the DNS says."""
    wanted = tuple(wanted)
    dns = _Dns(routes)
    found = []
    for domain in wanted:
        for (purpose, name, kind), expected in _grouped(domain):
            found.append(_compare(dns, domain.name, purpose, name, kind, expected))
    host = wanted[0].name
    for name in dict.fromkeys([host] + [exchanger for _, exchanger in exchangers(settings)]):
        found.append(_addresses(dns, name))
    return found + list(_reverse(dns, host))


def _grouped(domain):
    """Records of one name, type and purpose belong together."""
    groups = {}
    for record in domain.records:
        groups.setdefault((record.purpose, record.name, record.kind), []).append(record.data)
    return groups.items()


class _Dns:
    def __init__(self, routes):
        self._routes = routes

    def ask(self, name, kind):
        """-> list of str, TXT joined; empty where there is none. Raises _Unanswered."""
        try:
            records = self._routes.records(name.rstrip("."), kind)
        except NotFound:
            return []
        except NoRoute as error:
            raise _Unanswered(str(error))
        return [record.decode("utf-8", "replace") if isinstance(record, bytes) else record for record in records]

    def addresses(self, name):
        return self.ask(name, "A") + self.ask(name, "AAAA")


def _compare(dns, domain, purpose, name, kind, expected):
    here = tuple(shown(kind, data) for data in expected)
    try:
        there = dns.ask(name, kind)
        if kind == "TXT":
            there = [text for text in there if _is_meant(purpose, text)]
        if not there:
            state = MISSING
        elif kind != "TXT":
            state = RIGHT if _ranked(there) == _ranked(expected) else DIFFERENT
        # Two of them are none: RFC 7208 4.5, RFC 7489 6.6.3, RFC 8461 3.1.
        elif len(there) == 1 and _MEANS_THE_SAME[purpose](expected[0], there[0], domain, dns):
            state = RIGHT
        else:
            state = DIFFERENT
    except _Unanswered as error:
        return Finding(name, kind, UNKNOWN, here, (str(error),))
    return Finding(name, kind, state, here, tuple(shown(kind, data) for data in there))


def _ranked(records):
    """MX or SRV data -> the choices, best first; only the order of their numbers means something."""
    ranks = {}
    for record in records:
        words = record.lower().split()
        target = words[-1].rstrip(".")
        ranks.setdefault(int(words[0]), set()).add((words[2], target) if len(words) == 4 else target)
    return [ranks[rank] for rank in sorted(ranks)]


# TXT records: expected, found, domain, dns -> whether it does what is expected


def _is_meant(purpose, text):
    """Whether a TXT record has the version of that purpose, whatever follows it."""
    begin = text.encode("utf-8").partition(b" " if purpose == "spf" else b";")[0]
    version = [(name, value.lower()) for name, value in taglist.readable(begin)]
    return purpose not in _VERSIONS or version == [(b"v", _VERSIONS[purpose])]


def _dkim(expected, found, _domain, _dns):
    ours = expected.encode("ascii")
    algorithm = b"ed25519-sha256" if taglist.parse(ours).get(b"k") == b"ed25519" else b"rsa-sha256"
    try:
        return tags.read_key(found.encode("utf-8"), algorithm) == tags.read_key(ours,
                                                                                        algorithm)
    except ValueError:
        return False


def _dmarc(expected, found, _domain, _dns):
    ours, theirs = [dmarc.read(text.encode("utf-8")) for text in (expected, found)]
    return theirs is not None and not theirs.testing and _strictness(theirs) >= _strictness(ours)


def _strictness(record):
    return min(dmarc.POLICIES.index(policy) for policy in (record.policy, record.subdomains))


def _spf(expected, found, domain, dns):
    """Whether all that may send by our record may by that one; what it includes is not followed."""
    ours, theirs = _mechanisms(expected, domain), _mechanisms(found, domain)
    if "all" in theirs:
        return False  # it lets everybody send
    missing = ours - theirs
    return not missing or all(_is_covered(mechanism, theirs, dns) for mechanism in missing)


def _mechanisms(text, domain):
    """The mechanisms that let somebody send (RFC 7208 5), written out; a network around a host is taken for the host."""
    found = set()
    for term in text.lower().split()[1:]:
        term = term[1:] if term[:1] == "+" else term
        kind, _, value = term.partition(":")
        if term[:1] in "-~?" or "=" in term:
            continue
        if kind.partition("/")[0] in ("a", "mx"):
            term = "%s:%s" % (kind.partition("/")[0], value.partition("/")[0].rstrip(".") or domain)
        found.add(term)
    return found


def _is_covered(mechanism, theirs, dns):
    """Whether the addresses behind a mechanism are all listed as such."""
    import ipaddress
    networks = []
    for kind, _, value in (term.partition(":") for term in theirs):
        try:
            networks += [ipaddress.ip_network(value, strict=False)] if kind in ("ip4", "ip6") else []
        except ValueError:
            pass
    addresses = [ipaddress.ip_address(text) for text in _behind(mechanism, dns)] if networks else []
    return bool(addresses) and all(any(address in network for network in networks) for address in addresses)


def _behind(mechanism, dns):
    kind, _, value = mechanism.partition(":")
    if kind == "mx":
        return [address for record in dns.ask(value, "MX") for address in dns.addresses(record.split()[-1])]
    return dns.addresses(value) if kind == "a" else [value.partition("/")[0]]


def _sts(_expected, found, _domain, _dns):
    return record_id((found,)) is not None


def _tlsrpt(_expected, found, _domain, _dns):
    """RFC 8460 section 3."""
    return bool(_TLSRPT.match(found) and _RUA.search(found))


_MEANS_THE_SAME = {"dkim": _dkim, "dmarc": _dmarc, "spf": _spf, "sts": _sts, "tlsrpt": _tlsrpt}


# Addresses and their names


def _addresses(dns, host):
    expected = ("the public addresses of this server",)
    try:
        found = dns.addresses(host)
    except _Unanswered as error:
        return Finding(host + ".", "A/AAAA", UNKNOWN, expected, (str(error),))
    return Finding(host + ".", "A/AAAA", RIGHT if found else MISSING, expected, tuple(found))


def _reverse(dns, host) -> Iterator[Finding]:
    """The name of each address of ours: many servers take no mail where it is another, or none."""
    import ipaddress
    expected = (host + ".",)
    try:
        addresses = dns.addresses(host)
    except _Unanswered:
        return  # said already
    for address in addresses:
        name = ipaddress.ip_address(address).reverse_pointer
        try:
            found = tuple(dns.ask(name, "PTR"))
        except _Unanswered as error:
            yield Finding(name + ".", "PTR", UNKNOWN, expected, (str(error),))
            continue
        same = host in [target.lower().rstrip(".") for target in found]
        yield Finding(name + ".", "PTR", RIGHT if same else DIFFERENT if found else MISSING, expected, found)


# As text


def report(findings: Iterable[Finding]) -> str:
    """For people: a line for what is right, and what is expected and found of the rest."""
    lines, counts = [], {}
    for finding in findings:
        counts[finding.state] = counts.get(finding.state, 0) + 1
        lines.append("%-9s %s %s" % (finding.state, finding.name, finding.kind))
        if finding.state != RIGHT:
            lines += ["          expected: %s" % text for text in finding.expected]
            word = "found:   " if finding.state == DIFFERENT else "why:     "
            lines += ["          %s %s" % (word, text) for text in finding.found]
    lines.append(", ".join("%d %s" % (counts[state], state) for state in (RIGHT, MISSING, DIFFERENT, UNKNOWN) if state in counts))
    return "\n".join(lines) + "\n"


def as_json(findings: Iterable[Finding]) -> str:
    """For programs: a list of objects with name, type, state, expected and found (lists)."""
    return json.dumps([{"name": finding.name, "type": finding.kind, "state": finding.state, "expected": list(finding.expected),
                        "found": list(finding.found)} for finding in findings], indent=1)
