"""Domain names in A-labels and U-labels: IDNA 2008, and what is left of it without the package."""
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phenmail_protocols.text.domains import AddressError, ascii_domain, unicode_domain

ALIKE = [
    ("example.org", "example.org"), ("EXAMPLE.Org", "example.org"), ("example.org.", "example.org"),
    ("", ""),
    ("b\u00fccher.example", "xn--bcher-kva.example"),
    ("B\u00dcCHER.Example", "xn--bcher-kva.example"),
    ("bu\u0308cher.example", "xn--bcher-kva.example"),
    ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
    ("b\u00fccher\u3002example", "xn--bcher-kva.example"),
    ("b\u00fccher\uff0eexample\uff61", "xn--bcher-kva.example"),
    ("example\u3002org", "example.org"), ("\uff45xample.org", "example.org"),
    ("b\u00fccher.example.", "xn--bcher-kva.example"),
    ("\u65e5\u672c.example", "xn--wgv71a.example"),
    ("_dmarc.b\u00fccher.example", "_dmarc.xn--bcher-kva.example"),
    ("r3---sn.b\u00fccher.example", "r3---sn.xn--bcher-kva.example"),
    ("\u03a3\u03af\u03c3.example", "xn--kxa3bb.example"),
    ("[ipv6:2001:db8::1]", "[ipv6:2001:db8::1]"), ("xn--a.example", "xn--a.example"),
    ("\u05d0\u05d1.example", "xn--4dbc.example"),
    ("\u00fc" * 40 + ".example", "\u00fc".encode("idna").decode() + "a" * 39 + ".example")]
# What IDNA 2003 has for others' names.
ONLY_IN_2008 = [
    ("fa\u00df.example", "xn--fa-hia.example"), ("FA\u1e9e.example", "xn--fa-hia.example"),
    ("\u03b2\u03cc\u03bb\u03bf\u03c2.example", "xn--nxasmm1c.example"),
    ("\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.example", "xn--mgba3gch31f060k.example"),
    ("\u0dc1\u0dca\u200d\u0dbb\u0dd3.example", "xn--10cl1a0b660p.example")]
NONE = [
    "a\u200db.example", "a\u200cb.example", "\u2603.example", "x\uff20y.\u00fc.example",
    "x\uff0f.\u00fc.example", "\u00fc..example", "a..b", ".a", "..", ".", "\u3002",
    "-\u00fc.example", "\u00fc-.example", "\u00fc b.example", "\u0301x.example", "\ud800.example",
    "\u05d0a.example", "xn--\u00fc.example", "a" * 64 + ".example", "\u00e9" + "abcdefgh" * 8 +
    ".example", "a." * 127 + "a", "\u00fc." * 40 + "a", "\u00fc" * 5000]


@pytest.fixture
def without_idna(monkeypatch):
    """As on an interpreter where the package idna is not installed."""
    monkeypatch.setitem(sys.modules, "idna", None)


@pytest.mark.parametrize("domain, found", ALIKE + ONLY_IN_2008)
def test_a_labels(domain, found):
    assert ascii_domain(domain) == found == ascii_domain(found)


@pytest.mark.parametrize("domain", NONE)
def test_names_without_a_labels(domain):
    with pytest.raises(AddressError):
        ascii_domain(domain)


def test_final_sigma_is_no_matter_of_case():
    """Python's lower() makes a final sigma of a capital one: another name."""
    capital, small, final = ("\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03bf\u03c3",
                             "\u03bf\u03b4\u03bf\u03c2")
    assert ascii_domain(capital) == ascii_domain(small) != ascii_domain(final)


@pytest.mark.parametrize("domain, found", ALIKE)
def test_without_the_package(without_idna, domain, found):
    assert ascii_domain(domain) == found


@pytest.mark.parametrize("domain, found", ONLY_IN_2008)
def test_without_the_package_nobody_gets_anothers_mail(without_idna, domain, found):
    with pytest.raises(AddressError, match="needs the Python package idna"):
        ascii_domain(domain)
    assert ascii_domain(found) == found and unicode_domain(found) == found


@pytest.mark.parametrize("domain, shown", [
    ("example.org", "example.org"), ("xn--bcher-kva.example", "b\u00fccher.example"),
    ("XN--BCHER-KVA.example", "b\u00fccher.example"),
    ("xn--fa-hia.example", "fa\u00df.example"), ("xn--a.example", "xn--a.example"),
    ("xn--.example", "xn--.example"),
    ("xn--a-.example", "xn--a-.example"), ("xn--abc-.example", "xn--abc-.example"),
    ("xn--9999999999.example", "xn--9999999999.example"),
    ("xn--" + "a" * 70, "xn--" + "a" * 70),
    ("b\u00fccher.xn--bcher-kva", "b\u00fccher.b\u00fccher"), ("[ipv6:::1]", "[ipv6:::1]")])
def test_what_people_read(domain, shown):
    assert unicode_domain(domain) == shown


@settings(max_examples=300, deadline=None)
@example(":.XN--000A")
@given(st.text(max_size=20) | st.lists(st.sampled_from(
    ["\u00df", "\u1e9e", "\u03c2", "\u03a3", "\u200d", "\u200c", "\u3002", ".", "xn--", "-", "a",
     "A", "\u00fc", "\u05d0", "1", "\uff20", "\u2100",
     "\u0130", "\u00ad", "bcher-kva", "\u0dca", "@", " "]), max_size=10).map("".join))
def test_any_text_has_one_ascii_form_or_none(text):
    shown = unicode_domain(text)
    try:
        found = ascii_domain(text)
    except AddressError:
        return
    found.encode("ascii")
    assert ascii_domain(found) == found and len(found) <= 253
    assert ascii_domain(unicode_domain(found)) == found == ascii_domain(shown)
    if not set(text) <= set(map(chr, range(128))):
        assert not set(found) & set("@ /:[]")
