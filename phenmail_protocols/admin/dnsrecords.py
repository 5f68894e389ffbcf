"""The word ``dns``: the records that the world looks for before it believes mail of this configuration, as zone file lines.

MX (RFC 5321 5.1), SPF (RFC 7208), DKIM (RFC 6376 3.6), DMARC (RFC 7489), MTA-STS (RFC 8461), TLS-RPT (RFC 8460), SRV for mail
programs (RFC 6186, RFC 8314 5.1).  Pure: it asks no DNS (that is ``dnscheck``) and reads no key.
"""
import hashlib
import json
from typing import Iterable, List, Mapping, NamedTuple, Optional, Tuple

from ..config.settings import Settings, listeners
from ..mail.address import ascii_domain
from ..net.address import is_loopback

TTL = 3600
STRING = 255  # octets of one character-string, RFC 1035 3.3
STS_MAX_AGE = 604800

# Listeners (settings.listeners), the service that SRV names for them, and its usual port.
SERVICES = (("submissions", "_submissions", 465), ("submission", "_submission", 587), ("imaps", "_imaps", 993),
            ("imap", "_imap", 143), ("pop3s", "_pop3s", 995), ("pop3", "_pop3", 110))
NOT_OFFERED = "0 0 0 ."


class Record(NamedTuple):
    """`purpose`: mx, spf, dkim, dmarc, sts, tlsrpt or srv.  `name`: absolute, with its final dot.  `data`: as in a zone file; of
    a TXT record the text, unquoted and in one piece.  `comments`: lines for people, to stand above it."""
    purpose: str
    name: str
    kind: str
    data: str
    comments: Tuple[str, ...] = ()


class Domain(NamedTuple):
    """What one domain needs.  `remarks`: lines for people about what is no record of ours to write."""
    name: str
    records: Tuple[Record, ...]
    remarks: Tuple[str, ...]


def domains(settings: Settings, keys: Iterable[Tuple[str, str]],
            ports: Optional[Mapping[str, int]] = None) -> Tuple[Domain, ...]:
    """What each domain of the settings needs, the sender domain first.

    `keys`: (selector, TXT value), as dkim.signing.Signer.public_record gives them.  `ports`: of listeners by name, for those
    that are set to port 0.
    """
    names = [settings.sender_domain] + sorted(settings.domains)
    keys = tuple(keys)
    return tuple(_domain(settings, name, keys, ports or {})
                 for name in dict.fromkeys(ascii_domain(name) for name in names))


def exchangers(settings: Settings) -> Tuple[Tuple[int, str], ...]:
    """The MX records as (preference, host name): the `receivers`, else this server where it has a public listener."""
    if settings.receivers:
        return tuple(sorted((priority, ascii_domain(host))
                            for priority, host in settings.receivers))
    if any(_is_public(listen) for listen in settings.smtp):
        return ((10, _host(settings)),)
    return ()


def _domain(settings, name, keys, ports):
    dkim = [Record("dkim", "%s._domainkey.%s." % (selector, name), "TXT", value) for selector, value in keys]
    mail_exchangers = exchangers(settings)
    records = (_mx(settings, name, mail_exchangers) + [_spf(settings, name, mail_exchangers)] + dkim + [_dmarc(name)]
               + (_transport(settings, name, mail_exchangers) if mail_exchangers else []) + _services(settings, name, ports))
    return Domain(name, tuple(records), tuple(_remarks(settings, name, mail_exchangers, keys)))


def _host(settings):
    """The name that this server calls itself, and that its certificate and the records name."""
    return ascii_domain(settings.sender_domain)


def _mx(settings, name, mail_exchangers):
    comment = () if settings.receivers else (
        "The configuration names no receivers: mail comes to this server itself.",)
    return [Record("mx", name + ".", "MX", "%d %s." % exchanger, () if number else comment)
            for number, exchanger in enumerate(mail_exchangers)]


def _spf(settings, name, mail_exchangers):
    """Who sends: the domain's mail exchangers and this server; or the smarthost, of which we know only where it takes mail."""
    host = _host(settings)
    terms = ["mx"] if mail_exchangers else []
    if host not in [exchanger for _, exchanger in mail_exchangers] and not settings.hosted:
        terms.append("a" if host == name else "a:" + host)
    if not settings.hosted:
        return Record("spf", name + ".", "TXT", " ".join(["v=spf1"] + terms + ["-all"]))
    return Record("spf", name + ".", "TXT", " ".join(["v=spf1"] + terms + [_smarthost(settings.hosted.server), "~all"]), (
        "Mail leaves by the smarthost. Where its provider documents an include: for SPF, take that in place of its name.",))


def _smarthost(server):
    if all(c in "0123456789." for c in server):
        return "ip4:" + server
    return "ip6:" + server.strip("[]") if ":" in server else "a:" + ascii_domain(server)


def _dmarc(name):
    """quarantine: all that this server sends is signed by the From domain, so a forgery is told from it; reject would also lose
    what mailing lists change, and none protects nobody."""
    return Record("dmarc", "_dmarc.%s." % name, "TXT", "v=DMARC1; p=quarantine; rua=mailto:postmaster@%s" % name, (
        "p=none only watches and reports; p=reject also refuses what mailing lists have changed.",))


def sts_policy(settings: Settings) -> Tuple[str, ...]:
    """The lines of the MTA-STS policy file (RFC 8461 3.2); for testing only where nobody can verify our certificate."""
    return ("version: STSv1", "mode: " + ("enforce" if settings.tls.own else "testing")) + tuple(
        "mx: " + host for _, host in exchangers(settings)) + ("max_age: %d" % STS_MAX_AGE,)


def _transport(settings, name, mail_exchangers):
    policy = sts_policy(settings)
    # Another policy has to have another id; the same has the same each time that it is printed.
    identity = hashlib.sha256("\n".join(policy).encode("ascii")).hexdigest()[:20]
    comments = ["It counts once a web server shows these lines as https://mta-sts.%s/.well-known/mta-sts.txt" % name]
    comments += ["  " + line for line in policy]
    if not settings.tls.own:
        comments.append("  (mode: enforce only with a certificate of a public authority)")
    return [Record("sts", "_mta-sts.%s." % name, "TXT", "v=STSv1; id=%s" % identity, tuple(comments)),
            Record("tlsrpt", "_smtp._tls.%s." % name, "TXT", "v=TLSRPTv1; rua=mailto:postmaster@%s" % name)]


def _services(settings, name, ports):
    found = []
    offered = _offered(settings)
    for listener, service, usual in SERVICES:
        numbers = sorted({port or ports.get(listener, 0) for port in offered.get(listener, ())},
                         key=lambda port: (port != usual, port))
        if numbers and not all(numbers):
            continue  # a listener whose port nobody knows before it runs
        data = ["%d 1 %d %s." % (priority, port, _host(settings)) for priority, port in enumerate(numbers)]
        found += [Record("srv", "%s._tcp.%s." % (service, name), "SRV", each) for each in data or [NOT_OFFERED]]
    return found


def _offered(settings):
    """{listener's name: [ports]} of what a mail program elsewhere can log in at."""
    found = {}
    for named in listeners(settings, certificate=True):
        if _is_public(named.listen) and (named.listen.tls != "none" or named.listen.plaintext_auth):
            found.setdefault(named.name, []).append(named.listen.port)
    return found


def _is_public(listen):
    return listen.path is None and listen.host != "localhost" and not is_loopback(listen.host)


def _remarks(settings, name, mail_exchangers, keys):
    host = _host(settings)
    if name == host:
        yield "%s. needs A and AAAA records with the public addresses of this server," % host
        yield "and the reverse names (PTR) of those addresses have to be %s." % host
    if not mail_exchangers:
        yield "No MX: the configuration names no receivers, and there is no public listener."
    elif any(listen.port not in (0, 25) for listen in settings.smtp) and not settings.receivers:
        yield "Other servers come to port 25 only: it has to lead to port %d here." % settings.smtp[0].port
    if not keys:
        yield "There is no DKIM key yet: the server makes one when it starts."


# As text


def zone(wanted: Iterable[Domain]) -> str:
    """The records as lines of a zone file, all names absolute."""
    lines: List[str] = []
    for domain in wanted:
        lines += ["; ---- %s" % domain.name] + ["; " + remark for remark in domain.remarks]
        for record in domain.records:
            lines += ["; " + comment for comment in record.comments]
            lines.append("%s %d IN %s %s" % (record.name, TTL, record.kind, shown(record.kind, record.data)))
        lines.append("")
    return "\n".join(lines)


def shown(kind: str, data: str) -> str:
    """A record's data as it stands in a zone file: text in quotes, in strings of at most 255 octets (RFC 1035 5.1)."""
    if kind != "TXT":
        return data
    octets = data.encode("utf-8")
    return " ".join('"%s"' % "".join(map(_escaped, octets[at:at + STRING])) for at in range(0, len(octets) or 1, STRING))


def _escaped(octet):
    if octet in b'"\\':
        return "\\" + chr(octet)
    return chr(octet) if 0x20 <= octet < 0x7F else "\\%03d" % octet


def as_json(wanted: Iterable[Domain]) -> str:
    """For programs: a list of objects with domain, purpose, name, type, ttl and data (of TXT the text in one piece)."""
    return json.dumps([{"domain": domain.name, "purpose": record.purpose, "name": record.name, "type": record.kind, "ttl": TTL,
                        "data": record.data} for domain in wanted for record in domain.records], indent=1)
