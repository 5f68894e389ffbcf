"""The live DNS compared with the wanted records: by meaning, not by spelling."""

import json

import pytest

from phenmail_protocols.admin import dns_check, dns_records

from .zones import KEYS, settings

pytest.importorskip("dns")

HOST = "example.org. 300 IN A 192.0.2.25\n25.2.0.192.in-addr.arpa. 300 IN PTR example.org.\n"


@pytest.fixture
def wanted(tmp_path):
    here = settings(tmp_path)
    return here, dns_records.domains(here, KEYS)


def live(zone, manners=()):
    """A name server on the loopback and what asks it."""
    from phenmail_protocols.config.settings import Resolver
    from phenmail_protocols.relay.mx_routes import Routes

    from ..net.nameserver import NameServer
    server = NameServer(zone)
    for name, manner in manners:
        server.behave(name, **manner)
    return server, Routes(Resolver((server.address,), 5.0), lambda: (), lambda: frozenset())


def findings(wanted, zone, manners=()):
    server, routes = live(zone, manners)
    with server:
        return dns_check.check(wanted[0], wanted[1], routes)


def state(wanted, name, kind, *lines):
    """What is said of one record where these lines are the whole DNS."""
    found, = [finding for finding in findings(wanted, HOST + "".join(line + "\n" for line in lines))
              if (finding.name, finding.kind) == (name, kind)]
    return found.state


def test_what_was_printed_is_right(wanted):
    found = findings(wanted, dns_records.zone(wanted[1]) + HOST)
    assert {finding.state for finding in found} == {"ok"}, dns_check.report(found)
    assert [finding.kind for finding in found[-2:]] == ["A/AAAA", "PTR"]


def test_nothing_there_is_all_missing(wanted):
    found = findings(wanted, "")
    assert {finding.state for finding in found} == {"missing"}, dns_check.report(found)
    assert len(found) == 14


def test_no_answer_is_unknown_and_the_rest_is_told(wanted):
    found = findings(wanted, dns_records.zone(wanted[1]) + HOST,
                     [("_dmarc.example.org", {"rcode": "SERVFAIL"})])
    assert [(finding.name, finding.kind) for finding in found
            if finding.state != "ok"] == [("_dmarc.example.org.", "TXT")]
    assert [finding.state for finding in found if finding.name
            == "_dmarc.example.org."] == ["unknown"]


@pytest.mark.parametrize("lines, expected", [
    (["example.org. IN MX 10 example.org."], "ok"),
    (["example.org. IN MX 5 EXAMPLE.org."], "ok"),
    (["example.org. IN MX 10 other.example.org."], "different"),
    (["example.org. IN MX 10 example.org.", "example.org. IN MX 20 other.example.org."],
     "different"),
])
def test_exchangers(wanted, lines, expected):
    assert state(wanted, "example.org.", "MX", *lines) == expected


def test_the_order_of_exchangers_counts(tmp_path):
    here = settings(tmp_path, receivers=[[1, "a.example.org"], [2, "b.example.org"]])
    wanted = here, dns_records.domains(here, ())
    def order(first, second):
        return state(wanted, "example.org.", "MX", "example.org. IN MX %d a.example.org." % first,
                     "example.org. IN MX %d b.example.org." % second)
    assert (order(10, 50), order(50, 10), order(10, 10)) == ("ok", "different", "different")


@pytest.mark.parametrize("texts, expected", [
    (["v=spf1 mx -all"], "ok"),
    (["google-site-verification=1", "v=spf1 mx -all"], "ok"),
    (["v=spf1 +mx a:elsewhere.example.net include:example.net ~all"], "ok"),
    (["V=SPF1 MX:Example.org -all"], "ok"),
    (["v=spf1 mx/24 -all"], "ok"),
    (["v=spf1 a:example.org ip4:192.0.2.0/24 -all"], "ok"),
    (["v=spf1 ip4:192.0.2.25 -all"], "ok"),
    (["v=spf1 ip4:198.51.100.0/24 ip4:nonsense -all"], "different"),
    (["v=spf1 include:example.net -all"], "different"),
    (["v=spf1 -mx -all"], "different"),
    (["v=spf1 mx +all"], "different"),
    (["v=spf1 -all"], "different"),
    (["v=spf1 mx -all", "v=spf1 a -all"], "different"),
    (["v=spf10 mx -all"], "missing"),
    (["something else"], "missing"),
])
def test_spf(wanted, texts, expected):
    lines = ['example.org. IN TXT "%s"' % text
             for text in texts] + ["example.org. IN MX 10 example.org."]
    assert state(wanted, "example.org.", "TXT", *lines) == expected


@pytest.mark.parametrize("change, expected", [
    (lambda text: text, "ok"),
    (lambda text: text.replace("k=rsa; ", "").replace("; ", ";"), "ok"),
    (lambda text: text.replace("v=DKIM1; ", "") + "; t=s", "ok"),
    (lambda text: text.replace("p=MIIB", "p=MIIC"), "different"),
    (lambda text: text.replace("k=rsa", "k=ed25519"), "different"),
    (lambda text: "v=DKIM1; p=", "different"),
    (lambda text: text.replace("; ", " ; ").replace("=", " = ", 1) + ";", "ok"),
    (lambda text: text + "; h=sha1:sha256; s=email:tlsrpt", "ok"),
    (lambda text: text + "; h=sha1", "different"),
    (lambda text: text + "; s=tlsrpt", "different"),
    (lambda text: text.replace("v=DKIM1; ", "") + "; v=DKIM1", "different"),
])
def test_dkim(wanted, change, expected):
    line = "all._domainkey.example.org. IN TXT " + dns_records.shown("TXT", change(KEYS[0][1]))
    assert state(wanted, "all._domainkey.example.org.", "TXT", line) == expected


@pytest.mark.parametrize("text, expected", [
    ("v=DMARC1;p=quarantine", "ok"), ("v=DMARC1; p=reject; adkim=s", "ok"),
    ("v=DMARC1; p=none", "different"),
    ("v=DMARC1", "different"), ("v=DMARC2; p=reject", "missing"),
    ("v = DMARC1 ; p = reject", "ok"), ("V=DMARC1; P=Reject", "ok"),
    ("v=DMARC1; p=reject; rua=mailto:a@x.example; mailto:b@x.example", "ok"),
    ("v=dmarc1; p=reject", "different"),
    ("v=DMARC1; p=reject; t=y", "different"), ("v=DMARC1; p=reject; sp=none", "different"),
    ("v=DMARC1; p=rejekt", "different"),
])
def test_dmarc(wanted, text, expected):
    assert state(wanted, "_dmarc.example.org.", "TXT",
                 '_dmarc.example.org. IN TXT "%s"' % text) == expected


@pytest.mark.parametrize("name, text, expected", [
    ("_mta-sts", "v=STSv1; id=20240101;", "ok"), ("_mta-sts", "v=STSv1", "different"),
    ("_smtp._tls", "v=TLSRPTv1;rua=https://example.net/report", "ok"),
    ("_smtp._tls", "v=TLSRPTv1", "different"),
    ("_mta-sts", "v=STSv1 ; id=1", "ok"), ("_mta-sts", "v=STSv1; id=1; junk", "different"),
    ("_mta-sts", "v=stsv1; id=1", "different"),
    ("_mta-sts", "v=STSv1; id=a-b", "different"), ("_mta-sts", "v=STSv10; id=1", "missing"),
    ("_smtp._tls", "v=TLSRPTv1 ; rua=mailto:a@x.example , https://x.example/?a=b ;", "ok"),
    ("_smtp._tls", "v=tlsrptv1; rua=mailto:a@x", "different"),
    ("_smtp._tls", "v=TLSRPTv1; RUA=mailto:a@x.example", "different"),
    ("_smtp._tls", "v=TLSRPTv1; rua=mailto:a@x.example; junk", "different"),
    ("_smtp._tls", "v=TLSRPTv1; x=1; rua=mailto:a@x.example", "ok"),
    ("_smtp._tls", "v=TLSRPTv1; rua=", "different"),
])
def test_transport(wanted, name, text, expected):
    assert state(wanted, name + ".example.org.", "TXT",
                 '%s.example.org. IN TXT "%s"' % (name, text)) == expected


@pytest.mark.parametrize("service, data, expected", [
    ("_imaps", "0 0 993 example.org.", "ok"), ("_imaps", "0 1 994 example.org.", "different"),
    ("_imaps", "0 1 993 imap.example.org.", "different"), ("_imap", "0 0 0 .", "ok"),
    ("_imap", "0 1 143 example.org.", "different"),
])
def test_services(wanted, service, data, expected):
    assert state(wanted, service + "._tcp.example.org.", "SRV",
                 "%s._tcp.example.org. IN SRV %s" % (service, data)) == expected


@pytest.mark.parametrize("lines, expected", [
    (["1.2.0.192.in-addr.arpa. IN PTR Example.ORG."], "ok"),
    (["1.2.0.192.in-addr.arpa. IN PTR host-1.provider.example."], "different"),
    ([], "missing"),
])
def test_the_reverse_name(wanted, lines, expected):
    found = findings(wanted, "example.org. IN A 192.0.2.1\n"
                     + "".join(line + "\n" for line in lines))
    assert [(finding.name, finding.state) for finding in found if finding.kind == "PTR"] == [
        ("1.2.0.192.in-addr.arpa.", expected)]


def test_the_reverse_name_of_ipv6(wanted):
    found = findings(wanted, "example.org. IN AAAA 2001:db8::1\n")
    assert found[-1].name == "1" + ".0" * 23 + ".8.b.d.0.1.0.0.2.ip6.arpa."


def test_for_people(wanted):
    zone = dns_records.zone(wanted[1]).replace("v=spf1 mx -all",
                                               "v=spf1 -all").replace(
                                               "10 example.org.", "10 other.example.org.")
    text = dns_check.report(findings(wanted, zone))
    assert ('different example.org. TXT\n          expected: "v=spf1 mx -all"\n'
            '          found:    "v=spf1 -all"\n') in text
    assert text.endswith("\n11 ok, 1 missing, 2 different")


def test_for_programs(wanted):
    values = json.loads(dns_check.as_json(findings(wanted, HOST)))
    assert {"name": "example.org.", "type": "MX", "state": "missing",
            "expected": ["10 example.org."], "found": []} in values
