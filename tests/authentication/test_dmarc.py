"""DMARC records and alignment as in RFC 9989."""
import pytest

from phenmail_protocols.authentication import dmarc
from phenmail_protocols.authentication.dmarc import Record
from phenmail_protocols.net.resolver import Unanswered

REJECT = Record("reject", "reject", "reject")


@pytest.mark.parametrize("text", [
    "v=DMARC1; p=reject", "v=DMARC1;p=reject", "v=DMARC1;p=reject;", "v = DMARC1 ; p = reject",
    "v=DMARC1\t;\tp\t=\treject\t;\t",
    " v=DMARC1; p=reject ", "V=DMARC1; P=REJECT", "v=DMARC1; p=Reject",
    "v=DMARC1; p=reject; rua=mailto:a@x.example; mailto:b@x.example; fo=1",
    "v=DMARC1; mailto:b@x.example; p=reject",
    "v=DMARC1;; p=reject", "v=DMARC1; p; p=reject", "v=DMARC1; =x; p=reject",
    "v=DMARC1; p=; p=reject", "v=DMARC1; p=reject; sp",
    "v=DMARC1; p=reject; sp=perhaps", "v=DMARC1; p=reject; np=; sp= ",
    "v=DMARC1; p=reject; adkim=x; aspf=rs; psd=maybe; t=yes",
    "v=DMARC1; p=reject; pct=0", "v=DMARC1; p=reject; pct=x",
    "v=DMARC1; p=reject; ri=day; rf=\xff; unknown=1", "v=DMARC1; p=reject; p=none",
    "v=DMARC1; pct=100; rua=mailto:a@x.example; p=reject", "v=DMARC1; p=reject; v=DMARC2",
    "v=DMARC1; p=reject; fo=0:1:d:s; rua=x",
    "v=DMARC1; p=reject; a b=c", "v=DMARC1; p=reject; caf\xc3\xa9",
])
def test_an_invalid_tag_is_ignored_and_the_policy_holds(text):
    assert dmarc.read(text.encode("latin-1")) == REJECT


@pytest.mark.parametrize("text, record", [
    ("v=DMARC1", Record()), ("v=DMARC1; rua=mailto:a@x.example", Record()),
    ("v=DMARC1; p", Record()), ("v=DMARC1; p=", Record()),
    ("v=DMARC1; p=perhaps; rua=mailto:a@x.example", Record()),
    ("v=DMARC1; p=none; sp=reject", Record("none", "reject", "reject")),
    ("v=DMARC1; p=quarantine; np=reject", Record("quarantine", "quarantine", "reject")),
    ("v=DMARC1; p=reject; adkim=s; aspf = S", REJECT._replace(adkim="s", aspf="s")),
    ("v=DMARC1; sp=reject", Record("none", "reject", "reject")),
    ("v=DMARC1; p=reject; psd=Y; t=y", REJECT._replace(suffix="y", testing=True)),
    ("v=DMARC1; p=perhaps", None), ("v=DMARC1; p=reject, sp=none", None),
    ("v=dmarc1; p=reject", None), ("v=DMARC2; p=reject", None), ("v=DMARC10; p=reject", None),
    ("p=reject; v=DMARC1", None),
    ("v=DMARC1 p=reject", None), ("; v=DMARC1; p=reject", None), ("v: DMARC1; p=reject", None),
    ("", None), ("v", None),
    ("v=DMARC1=x; p=reject", None), ("v=spf1 -all", None),
])
def test_records(text, record):
    assert dmarc.read(text.encode("latin-1")) == record


def asker(*records, **others):
    """ask() of a DNS where _dmarc.NAME has the text: "name text"."""
    zone, asked = {}, []
    for record in records:
        name, _, text = record.partition(" ")
        zone.setdefault("_dmarc." + name, []).append(b"v=DMARC1; " + text.encode())

    def ask(name, kind):
        asked.append(name)
        if name in others.get("silent", ()):
            raise Unanswered("nobody there")
        return tuple(zone.get(name, ())) if kind == "TXT" else others.get("addresses",
                                                                          {}).get(name, ())
    ask.asked = asked
    return ask


DEEP = "a.b.c.d.e.f.g.h.i.example.org"


@pytest.mark.parametrize("domain, records, policy, organizational", [
    ("example.org", ["example.org p=reject; sp=none"], "reject", "example.org"),
    ("mail.example.org", ["example.org p=reject; sp=quarantine"], "quarantine", "example.org"),
    ("mail.example.org", ["mail.example.org p=none", "example.org p=reject"], "none",
     "example.org"),
    ("a.mail.example.org", ["mail.example.org p=none", "example.org p=reject"], "reject",
     "example.org"),
    ("a.mail.example.org", ["mail.example.org p=none; psd=n", "example.org p=reject"], "none",
     "mail.example.org"),
    ("shop.co.uk", ["co.uk p=reject; psd=y"], "reject", "shop.co.uk"),
    ("www.shop.co.uk", ["shop.co.uk p=none", "co.uk p=reject; psd=y"], "none", "shop.co.uk"),
    ("co.uk", ["co.uk p=reject; psd=y", "uk p=none"], "reject", "co.uk"),
    ("example.org", ["org p=reject"], "reject", "example.org"),
    ("example.org", ["org p=none; sp=reject"], "reject", "example.org"),
    (DEEP, [DEEP + " p=none", "example.org p=reject"], "none", "example.org"),
    (DEEP, ["example.org p=reject"], "reject", "example.org"),
    (DEEP, ["b.c.d.e.f.g.h.i.example.org p=reject"], None, DEEP),
    ("example.org", [], None, "example.org"),
    ("mail.example.org", ["other.org p=reject"], None, "mail.example.org"),
    ("example.org", ["example.org p=reject", "example.org p=none"], None, "example.org"),
    ("mail.example.org",
     ["mail.example.org p=none", "mail.example.org p=none", "example.org p=reject"], "reject",
     "example.org"),
])
def test_the_tree_walk(domain, records, policy, organizational):
    ask = asker(*records)
    found = dmarc.find(domain, ask)
    assert (found.policy if found.record else None, found.organizational) == (policy,
                                                                              organizational)
    assert len(ask.asked) <= 8


@pytest.mark.parametrize("addresses, policy",
                         [({}, "reject"), ({"x.example.org": ("192.0.2.1",)}, "none")])
def test_a_subdomain_that_does_not_exist(addresses, policy):
    assert dmarc.find("x.example.org",
                      asker("example.org p=none; np=reject", addresses=addresses)).policy == policy
    assert dmarc.find("example.org", asker("example.org p=none; np=reject")).policy == "none"


@pytest.mark.parametrize("domain, author, records, relaxed", [
    ("example.org", "example.org", ["example.org p=none"], True),
    ("mail.example.org", "example.org", ["example.org p=none"], True),
    ("example.org", "mail.example.org", ["example.org p=none"], True),
    ("a.example.org", "b.example.org", ["example.org p=none"], True),
    ("badexample.org", "example.org", ["example.org p=none"], False),
    ("other.org", "example.org", ["example.org p=none", "org p=none"], False),
    ("other.co.uk", "shop.co.uk", ["co.uk p=none; psd=y"], False),
    ("a.shop.co.uk", "shop.co.uk", ["co.uk p=none; psd=y"], True),
    ("own.example.org", "example.org", ["example.org p=none", "own.example.org psd=n"], False),
])
def test_alignment(domain, author, records, relaxed):
    ask = asker(*records)
    found = dmarc.find(author, ask)
    assert dmarc.is_aligned(domain, author, found, False, ask) is relaxed
    assert dmarc.is_aligned(domain, author, found, True, ask) is (domain == author)


def test_a_strangers_zone_can_not_delay_the_answer():
    ask = asker("example.org p=reject", silent=("_dmarc.slow.example", "_dmarc.example"))
    found = dmarc.find("example.org", ask)
    assert dmarc.is_aligned("slow.example", "example.org", found, False, ask) is False
    with pytest.raises(Unanswered):
        dmarc.find("slow.example", ask)
