"""The command `dns --check`: the live DNS compared with the records of `dns_records`.

Records are compared by meaning. These are also correct: strings cut elsewhere, tags in another
order, an SPF record that allows more senders than ours, a stricter DMARC policy. All questions go
through relay.mx_routes.Routes.records.
"""
import json
import re
from typing import NamedTuple, Tuple

from ..authentication import dmarc
from ..dkim import tags
from ..mail import taglist
from ..relay.mta_sts import record_id
from ..relay.mx_routes import NoRoute, NotFound
from .dns_records import exchangers, shown

OK, MISSING, DIFFERENT, UNKNOWN = "ok", "missing", "different", "unknown"

# The version in the TXT record of each purpose, in lower case. A name may also have other texts.
_VERSIONS = {"spf": b"spf1", "dmarc": b"dmarc1", "sts": b"stsv1", "tlsrpt": b"tlsrptv1"}
_TLSRPT = re.compile(
    r"v=TLSRPTv1(?:[ \t]*;[ \t]*[A-Za-z0-9][A-Za-z0-9_.-]{0,31}=[!-:<-~][ -:<-~]*)+"
    r"(?:[ \t]*;)?[ \t]*\Z")
_RUA = re.compile(r";[ \t]*rua=(?:mailto|https):[^;]")


class Finding(NamedTuple):
    """`state`: OK, MISSING, DIFFERENT, or UNKNOWN if the DNS gave no answer (then `found` says
    why). `expected`, `found`: data as in zone files, or words."""
    name: str
    kind: str
    state: str
    expected: Tuple[str, ...]
    found: Tuple[str, ...]


class _Unanswered(Exception):
    """The DNS gave no answer; str() says why."""


def check(settings, wanted, routes):
    """Compare all records -> list of Finding.

    `settings`: settings.Settings; `wanted`: of dns_records.domains; `routes`:
    relay.mx_routes.Routes. Asks a few questions for each domain, one after the other, each for at
    most the resolver's timeout. No answer of the DNS makes it raise.
    """
    wanted = tuple(wanted)
    dns = _Dns(routes)
    found = []
    for domain in wanted:
        groups = {}  # records of one purpose, name and type are compared together
        for record in domain.records:
            key = record.purpose, record.name, record.kind
            groups.setdefault(key, []).append(record.data)
        found += [_compare(dns, domain.name, *key, expected) for key, expected in groups.items()]
    host = wanted[0].name
    for name in dict.fromkeys([host] + [exchanger for _, exchanger in exchangers(settings)]):
        found.append(_addresses(dns, name))
    return found + list(_reverse(dns, host))


class _Dns:
    def __init__(self, routes):
        self._routes = routes

    def ask(self, name, kind):
        """-> list of str, each TXT in one piece; empty if there is no record. Raises _Unanswered.
        """
        try:
            records = self._routes.records(name.rstrip("."), kind)
        except NotFound:
            return []
        except NoRoute as error:
            raise _Unanswered(str(error))
        return [record.decode("utf-8", "replace") if isinstance(record, bytes) else record
                for record in records]

    def addresses(self, name):
        return self.ask(name, "A") + self.ask(name, "AAAA")


def _compare(dns, domain, purpose, name, kind, expected):
    here = tuple(shown(kind, data) for data in expected)
    try:
        there = dns.ask(name, kind)
        if kind == "TXT":
            there = [text for text in there if _has_version(purpose, text)]
        if not there:
            state = MISSING
        elif kind != "TXT":
            state = OK if _ranked(there) == _ranked(expected) else DIFFERENT
        # Two records count as none: RFC 7208 4.5, RFC 7489 6.6.3, RFC 8461 3.1.
        elif len(there) == 1 and _SUFFICES[purpose](expected[0], there[0], domain, dns):
            state = OK
        else:
            state = DIFFERENT
    except _Unanswered as error:
        return Finding(name, kind, UNKNOWN, here, (str(error),))
    return Finding(name, kind, state, here, tuple(shown(kind, data) for data in there))


def _ranked(records):
    """MX or SRV data -> the choices, best first. Only the order of the priorities matters."""
    ranks = {}
    for record in records:
        words = record.lower().split()
        target = words[-1].rstrip(".")
        choice = (words[2], target) if len(words) == 4 else target
        ranks.setdefault(int(words[0]), set()).add(choice)
    return [ranks[rank] for rank in sorted(ranks)]


# TXT records: (expected, found, domain, dns) -> whether the one found suffices


def _has_version(purpose, text):
    """Whether a TXT record begins with the version of its purpose."""
    begin = text.encode("utf-8").partition(b" " if purpose == "spf" else b";")[0]
    version = [(name, value.lower()) for name, value in taglist.readable(begin)]
    return purpose not in _VERSIONS or version == [(b"v", _VERSIONS[purpose])]


def _dkim(expected, found, _domain, _dns):
    ours = expected.encode("ascii")
    algorithm = b"ed25519-sha256" if taglist.parse(ours).get(b"k") == b"ed25519" else b"rsa-sha256"
    try:
        return (tags.read_key(found.encode("utf-8"), algorithm)
                == tags.read_key(ours, algorithm))
    except ValueError:
        return False


def _dmarc(expected, found, _domain, _dns):
    ours, theirs = [dmarc.read(text.encode("utf-8")) for text in (expected, found)]
    return theirs is not None and not theirs.testing and _strictness(theirs) >= _strictness(ours)


def _strictness(record):
    return min(dmarc.POLICIES.index(policy) for policy in (record.policy, record.subdomains))


def _spf(expected, found, domain, dns):
    """Whether every host that our record allows is allowed. Its includes are not followed."""
    ours, theirs = _mechanisms(expected, domain), _mechanisms(found, domain)
    if "all" in theirs:
        return False  # it allows everybody
    missing = ours - theirs
    return not missing or all(_is_covered(mechanism, theirs, dns) for mechanism in missing)


def _mechanisms(text, domain):
    """The mechanisms that allow senders (RFC 7208 5), with their domains. A prefix length is
    ignored."""
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
    """Whether all addresses of a mechanism are listed as ip4 or ip6."""
    import ipaddress
    networks = []
    for kind, _, value in (term.partition(":") for term in theirs):
        try:
            if kind in ("ip4", "ip6"):
                networks.append(ipaddress.ip_network(value, strict=False))
        except ValueError:
            pass
    if not networks:
        return False
    addresses = [ipaddress.ip_address(text) for text in _addresses_of(mechanism, dns)]
    return bool(addresses) and all(
        any(address in network for network in networks) for address in addresses)


def _addresses_of(mechanism, dns):
    kind, _, value = mechanism.partition(":")
    if kind == "mx":
        return [address for record in dns.ask(value, "MX")
                for address in dns.addresses(record.split()[-1])]
    return dns.addresses(value) if kind == "a" else [value.partition("/")[0]]


def _sts(_expected, found, _domain, _dns):
    return record_id((found,)) is not None


def _tlsrpt(_expected, found, _domain, _dns):
    """RFC 8460 section 3."""
    return bool(_TLSRPT.match(found) and _RUA.search(found))


_SUFFICES = {"dkim": _dkim, "dmarc": _dmarc, "spf": _spf, "sts": _sts, "tlsrpt": _tlsrpt}


# Addresses and their names


def _addresses(dns, host):
    expected = ("the public addresses of this server",)
    try:
        found = dns.addresses(host)
    except _Unanswered as error:
        return Finding(host + ".", "A/AAAA", UNKNOWN, expected, (str(error),))
    return Finding(host + ".", "A/AAAA", OK if found else MISSING, expected, tuple(found))


def _reverse(dns, host):
    """The PTR record of each address of this server. Many servers refuse mail without a right one.
    """
    import ipaddress
    expected = (host + ".",)
    try:
        addresses = dns.addresses(host)
    except _Unanswered:
        return  # _addresses has reported it
    for address in addresses:
        name = ipaddress.ip_address(address).reverse_pointer
        try:
            found = tuple(dns.ask(name, "PTR"))
        except _Unanswered as error:
            yield Finding(name + ".", "PTR", UNKNOWN, expected, (str(error),))
            continue
        is_ours = host in [target.lower().rstrip(".") for target in found]
        state = OK if is_ours else DIFFERENT if found else MISSING
        yield Finding(name + ".", "PTR", state, expected, found)


def report(findings):
    """For people: one line for each record, and for wrong ones what was expected and found."""
    lines, counts = [], dict.fromkeys((OK, MISSING, DIFFERENT, UNKNOWN), 0)
    for finding in findings:
        counts[finding.state] += 1
        lines.append("%-9s %s %s" % (finding.state, finding.name, finding.kind))
        if finding.state != OK:
            lines += ["          expected: %s" % text for text in finding.expected]
            word = "found:   " if finding.state == DIFFERENT else "why:     "
            lines += ["          %s %s" % (word, text) for text in finding.found]
    lines.append(", ".join("%d %s" % (count, state) for state, count in counts.items() if count))
    return "\n".join(lines)


def as_json(findings):
    """A JSON list of objects with name, type, state, expected and found (lists)."""
    return json.dumps([{"name": finding.name, "type": finding.kind, "state": finding.state,
                        "expected": list(finding.expected), "found": list(finding.found)}
                       for finding in findings], indent=1)
