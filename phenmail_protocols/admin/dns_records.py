"""The DNS records that this server needs, as lines of a zone file.

MX (RFC 5321 5.1), SPF (RFC 7208), DKIM (RFC 6376 3.6), DMARC (RFC 7489), MTA-STS (RFC 8461),
TLS-RPT (RFC 8460), SRV for mail programs (RFC 6186, RFC 8314 5.1). Pure: reads no DNS and no key.
"""
import hashlib
import json
from typing import NamedTuple, Tuple

from ..config.settings import listeners
from ..mail.address import ascii_domain
from ..net.address import is_loopback

TTL = 3600
STRING = 255  # bytes of one character-string, RFC 1035 3.3
STS_MAX_AGE = 604800

# Listeners (settings.listeners), the service that SRV names for them, and its usual port.
SERVICES = (("submissions", "_submissions", 465), ("submission", "_submission", 587),
            ("imaps", "_imaps", 993), ("imap", "_imap", 143),
            ("pop3s", "_pop3s", 995), ("pop3", "_pop3", 110))
NOT_OFFERED = "0 0 0 ."


class Record(NamedTuple):
    """`purpose`: mx, spf, dkim, dmarc, sts, tlsrpt or srv. `name`: absolute, with its final dot.
    `data`: as in a zone file; of a TXT record the text, unquoted and in one piece. `comments`:
    lines for people, printed above it."""
    purpose: str
    name: str
    kind: str
    data: str
    comments: Tuple[str, ...] = ()


class Domain(NamedTuple):
    """What one domain needs. `remarks`: lines for people about what the records do not cover."""
    name: str
    records: Tuple[Record, ...]
    remarks: Tuple[str, ...]


def domains(settings, keys):
    """What each domain of the settings.Settings needs, the sender domain first -> tuple of Domain.

    `keys`: (selector, TXT value) tuples, as dkim.signing.Signer.public_record returns them.
    """
    names = [settings.sender_domain] + sorted(settings.domains)
    keys = tuple(keys)
    return tuple(_domain(settings, name, keys)
                 for name in dict.fromkeys(ascii_domain(name) for name in names))


def exchangers(settings):
    """The MX records -> tuple of (preference, host name): the `receivers`, or this server if it has
    a public listener."""
    if settings.receivers:
        return tuple(sorted((priority, ascii_domain(host))
                            for priority, host in settings.receivers))
    if any(_is_public(listen) for listen in settings.smtp):
        return ((10, _host(settings)),)
    return ()


def _domain(settings, name, keys):
    mail_exchangers = exchangers(settings)
    records = _mx(settings, name, mail_exchangers)
    records.append(_spf(settings, name, mail_exchangers))
    records += [Record("dkim", "%s._domainkey.%s." % (selector, name), "TXT", value)
                for selector, value in keys]
    records.append(_dmarc(name))
    if mail_exchangers:
        records += _transport(settings, name)
    records += _services(settings, name)
    return Domain(name, tuple(records), tuple(_remarks(settings, name, mail_exchangers, keys)))


def _host(settings):
    """The host name of this server, as in its certificate."""
    return ascii_domain(settings.sender_domain)


def _mx(settings, name, mail_exchangers):
    comment = () if settings.receivers else (
        'The configuration has no "receivers": this server itself receives the mail.',)
    return [Record("mx", name + ".", "MX", "%d %s." % exchanger, () if number else comment)
            for number, exchanger in enumerate(mail_exchangers)]


def _spf(settings, name, mail_exchangers):
    """Who sends: the domain's mail exchangers and this server, or the smarthost. Of the smarthost
    only the host that receives mail is known, so its record ends with ~all."""
    host = _host(settings)
    terms = ["v=spf1"] + (["mx"] if mail_exchangers else [])
    comments = ()
    if settings.hosted:
        terms += [_smarthost(settings.hosted.server), "~all"]
        comments = ("Mail leaves through the smarthost. If its provider documents an SPF include:, "
                    "use that instead of its name.",)
    else:
        if host not in [exchanger for _, exchanger in mail_exchangers]:
            terms.append("a" if host == name else "a:" + host)
        terms.append("-all")
    return Record("spf", name + ".", "TXT", " ".join(terms), comments)


def _smarthost(server):
    if all(c in "0123456789." for c in server):
        return "ip4:" + server
    return "ip6:" + server.strip("[]") if ":" in server else "a:" + ascii_domain(server)


def _dmarc(name):
    """The policy is quarantine: every message of this server is signed by the From domain, so
    forgeries are recognizable. With reject, messages that mailing lists change would be lost; none
    protects nobody."""
    return Record(
        "dmarc", "_dmarc.%s." % name, "TXT",
        "v=DMARC1; p=quarantine; rua=mailto:postmaster@%s" % name,
        ("p=none only reports; p=reject also refuses messages that mailing lists have changed.",))


def _sts_policy(settings):
    """The lines of the MTA-STS policy file (RFC 8461 3.2). It enforces nothing if other servers
    cannot verify our certificate."""
    return ("version: STSv1", "mode: " + ("enforce" if settings.tls.own else "testing")) + tuple(
        "mx: " + host for _, host in exchangers(settings)) + ("max_age: %d" % STS_MAX_AGE,)


def _transport(settings, name):
    policy = _sts_policy(settings)
    # The id must change when the policy changes, and only then.
    identity = hashlib.sha256("\n".join(policy).encode("ascii")).hexdigest()[:20]
    comments = ["Takes effect once a web server serves these lines as",
                "https://mta-sts.%s/.well-known/mta-sts.txt:" % name]
    comments += ["  " + line for line in policy]
    if not settings.tls.own:
        comments.append("  (mode: enforce requires a certificate of a public authority)")
    return [Record("sts", "_mta-sts.%s." % name, "TXT", "v=STSv1; id=%s" % identity,
                   tuple(comments)),
            Record("tlsrpt", "_smtp._tls.%s." % name, "TXT",
                   "v=TLSRPTv1; rua=mailto:postmaster@%s" % name)]


def _services(settings, name):
    offered = {}  # {listener's name: its ports}, where a mail program elsewhere can log in
    for named in listeners(settings, certificate=True):
        listen = named.listen
        if _is_public(listen) and (listen.tls != "none" or listen.plaintext_auth):
            offered.setdefault(named.name, set()).add(listen.port)
    found = []
    for listener, service, usual in SERVICES:
        ports = sorted(offered.get(listener, ()), key=lambda port: (port != usual, port))
        if not all(ports):
            continue  # port 0: the system chooses it when the server starts
        data = ["%d 1 %d %s." % (priority, port, _host(settings))
                for priority, port in enumerate(ports)]
        found += [Record("srv", "%s._tcp.%s." % (service, name), "SRV", each)
                  for each in data or [NOT_OFFERED]]
    return found


def _is_public(listen):
    return listen.path is None and listen.host != "localhost" and not is_loopback(listen.host)


def _remarks(settings, name, mail_exchangers, keys):
    host = _host(settings)
    if name == host:
        yield "%s. needs A and AAAA records with the public addresses of this server," % host
        yield "and the PTR records of those addresses must name %s." % host
    if not mail_exchangers:
        yield 'No MX: the configuration has no "receivers", and there is no public listener.'
    elif any(listen.port not in (0, 25) for listen in settings.smtp) and not settings.receivers:
        yield ("Other servers connect to port 25 only: it must be redirected to port %d here."
               % settings.smtp[0].port)
    if not keys:
        yield "There is no DKIM key yet: the server creates one when it starts."


def zone(wanted):
    """The records as lines of a zone file, all names absolute."""
    lines = []
    for domain in wanted:
        lines += ["; ---- %s" % domain.name] + ["; " + remark for remark in domain.remarks]
        for record in domain.records:
            lines += ["; " + comment for comment in record.comments]
            lines.append("%s %d IN %s %s" % (record.name, TTL, record.kind,
                                             shown(record.kind, record.data)))
        lines.append("")
    return "\n".join(lines)


def shown(kind, data):
    """A record's data as in a zone file; text is quoted, in strings of at most 255 bytes
    (RFC 1035 5.1)."""
    if kind != "TXT":
        return data
    octets = data.encode("utf-8")
    return " ".join('"%s"' % "".join(map(_escaped, octets[at:at + STRING]))
                    for at in range(0, len(octets) or 1, STRING))


def _escaped(octet):
    if octet in b'"\\':
        return "\\" + chr(octet)
    return chr(octet) if 0x20 <= octet < 0x7F else "\\%03d" % octet


def as_json(wanted):
    """A JSON list of objects with domain, purpose, name, type, ttl and data (TXT: in one piece)."""
    return json.dumps([{"domain": domain.name, "purpose": record.purpose, "name": record.name,
                        "type": record.kind, "ttl": TTL, "data": record.data}
                       for domain in wanted for record in domain.records], indent=1)
