"""The records that a configuration needs, as dnspython reads them."""

import json

import pytest

from phenmail_protocols.admin import dns_records

from .zones import KEYS, settings

dns = pytest.importorskip("dns")
pytest.importorskip("dns.zone")

TLS = {"certificate": "/device/c.pem", "key": "/device/k.pem"}


def records(folder, keys=KEYS, **values):
    """{(name, type): [data]} as dnspython reads the zone; of TXT the strings joined."""
    text = dns_records.zone(dns_records.domains(settings(folder, **values), keys))
    found = {}
    zone = dns.zone.from_text(text, origin=".", relativize=False, check_origin=False)
    for name, ttl, data in zone.iterate_rdatas():
        kind = dns.rdatatype.to_text(data.rdtype)
        shown = b"".join(data.strings).decode() if kind == "TXT" else data.to_text()
        found.setdefault((name.to_text(), kind), []).append(shown)
        assert ttl == 3600
    return found


def text_of(folder, keys=KEYS, **values):
    return dns_records.zone(dns_records.domains(settings(folder, **values), keys))


def test_all_of_a_plain_configuration(tmp_path):
    found = records(tmp_path)
    policy = found.pop(("_mta-sts.example.org.", "TXT"))
    assert len(policy) == 1 and policy[0].startswith("v=STSv1; id=")
    assert found == {
        ("example.org.", "MX"): ["10 example.org."],
        ("example.org.", "TXT"): ["v=spf1 mx -all"],
        ("all._domainkey.example.org.", "TXT"): [KEYS[0][1]],
        ("all-ed25519._domainkey.example.org.", "TXT"): [KEYS[1][1]],
        ("_dmarc.example.org.",
         "TXT"): ["v=DMARC1; p=quarantine; rua=mailto:postmaster@example.org"],
        ("_smtp._tls.example.org.", "TXT"): ["v=TLSRPTv1; rua=mailto:postmaster@example.org"],
        ("_submissions._tcp.example.org.", "SRV"): ["0 1 465 example.org."],
        ("_submission._tcp.example.org.", "SRV"): ["0 0 0 ."],
        ("_imaps._tcp.example.org.", "SRV"): ["0 1 993 example.org."],
        ("_imap._tcp.example.org.", "SRV"): ["0 0 0 ."],
        ("_pop3s._tcp.example.org.", "SRV"): ["0 1 995 example.org."],
        ("_pop3._tcp.example.org.", "SRV"): ["0 0 0 ."],
    }


def test_long_texts_are_cut_into_strings(tmp_path):
    line, = [line for line in text_of(tmp_path).splitlines() if line.startswith("all._domainkey")]
    strings = line.split('"')[1::2]
    assert len(strings) == 2 and len(strings[0]) == 255 and "".join(strings) == KEYS[0][1]


@pytest.mark.parametrize("text, expected", [
    ("", '""'), ('say "\\"', '"say \\"\\\\\\""'), ("\u00fc\t", '"\\195\\188\\009"'),
    ("x" * 256, '"%s" "x"' % ("x" * 255)),
])
def test_text_in_zone_form(text, expected):
    assert dns_records.shown("TXT", text) == expected


def test_receivers_are_the_exchangers(tmp_path):
    found = records(tmp_path, receivers=[[20, "backup.example.net"], [10, "MX.example.org"]])
    assert sorted(found["example.org.", "MX"]) == ["10 mx.example.org.", "20 backup.example.net."]
    assert found["example.org.", "TXT"] == ["v=spf1 mx a -all"]
    text = text_of(tmp_path, receivers=[[10, "mx.example.org"]])
    assert ";   mx: mx.example.org\n" in text and "has no \"receivers\"" not in text


def test_without_receivers_it_says_so(tmp_path):
    assert "; The configuration has no \"receivers\"" in text_of(tmp_path)


def test_each_domain_and_the_sender_domain(tmp_path):
    values = {"sender-domain": "mail.example.org",
              "domains": {"b\u00fccher.example": {}, "example.org": {}}}
    found = records(tmp_path, **values)
    assert found["xn--bcher-kva.example.", "MX"] == ["10 mail.example.org."]
    assert found["example.org.", "TXT"] == ["v=spf1 mx -all"]
    assert found["_dmarc.mail.example.org.", "TXT"]
    assert found["all._domainkey.xn--bcher-kva.example.", "TXT"]
    assert found["_imaps._tcp.xn--bcher-kva.example.", "SRV"] == ["0 1 993 mail.example.org."]


def test_other_exchangers_do_not_send(tmp_path):
    values = {"sender-domain": "mail.example.org", "receivers": [[10, "mx.example.org"]],
              "domains": {"example.org": {}}}
    assert records(tmp_path, **values)["example.org.",
                                       "TXT"] == ["v=spf1 mx a:mail.example.org -all"]


@pytest.mark.parametrize("server, term", [
    ("smtp.example.net", "a:smtp.example.net"), ("192.0.2.1", "ip4:192.0.2.1"),
    ("2001:db8::1", "ip6:2001:db8::1"),
])
def test_a_smarthost_sends(tmp_path, server, term):
    hosted = {"server": server, "username": "a", "password": "b"}
    assert records(tmp_path, hosted=hosted)["example.org.", "TXT"] == ["v=spf1 mx %s ~all" % term]


def test_no_public_listener_no_exchanger(tmp_path):
    found = records(tmp_path, smtp=False)
    assert ("example.org.", "MX") not in found and ("_mta-sts.example.org.", "TXT") not in found
    assert found["example.org.", "TXT"] == ["v=spf1 a -all"]
    assert "; No MX" in text_of(tmp_path, smtp=False)


def test_ports_as_they_are(tmp_path):
    found = records(tmp_path, imap={"listen": [
        {"host": "*", "port": 2993, "tls": "implicit"},
        {"host": "*", "port": 993, "tls": "implicit"},
        {"host": "*", "port": 143, "tls": "starttls"},
        {"host": "127.0.0.1", "port": 1143, "tls": "starttls"}]},
        pop={"host": "localhost", "port": 110, "disable-ssl": True}, relay=False)
    assert sorted(found["_imaps._tcp.example.org.", "SRV"]) == [
        "0 1 993 example.org.", "1 1 2993 example.org."]
    assert found["_imap._tcp.example.org.", "SRV"] == ["0 1 143 example.org."]
    for service in ("_pop3", "_pop3s", "_submission", "_submissions"):
        assert found["%s._tcp.example.org." % service, "SRV"] == ["0 0 0 ."], service


def test_a_login_without_tls_is_offered_only_where_the_settings_say_so(tmp_path):
    def imap(plaintext_auth):
        listen = [{"host": "*", "port": 143, "tls": "none", "plaintext-auth": plaintext_auth}]
        return records(tmp_path, imap={"listen": listen})["_imap._tcp.example.org.", "SRV"]
    assert imap(False) == ["0 0 0 ."]
    assert imap(True) == ["0 1 143 example.org."]


def test_a_port_that_only_the_running_server_knows(tmp_path):
    assert ("_imaps._tcp.example.org.", "SRV") not in records(tmp_path, imap={"port": 0})


def test_what_is_no_record_of_ours(tmp_path):
    text = text_of(tmp_path, keys=(), smtp={"port": 2025})
    for words in ("A and AAAA", "PTR", "port 2025", "no DKIM key yet"):
        assert words in text, words
    assert "_domainkey" not in text


def test_the_policy_is_enforced_only_with_a_certificate_that_others_can_verify(tmp_path):
    assert ";   mode: testing\n" in text_of(tmp_path)
    assert ";   mode: enforce\n" in text_of(tmp_path, tls=TLS)


def test_another_policy_has_another_id(tmp_path):
    identity = ("_mta-sts.example.org.", "TXT")
    one, again, other = records(tmp_path)[identity], records(tmp_path)[identity], records(
        tmp_path, tls=TLS)[identity]
    assert one == again != other


def test_for_programs(tmp_path):
    values = json.loads(dns_records.as_json(dns_records.domains(settings(tmp_path), KEYS)))
    assert {"domain": "example.org", "purpose": "mx", "name": "example.org.", "type": "MX",
            "ttl": 3600,
            "data": "10 example.org."} in values
    assert [value["data"] for value in values if value["purpose"]
            == "dkim"] == [value for _, value in KEYS]
