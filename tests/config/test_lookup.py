"""Where an address ends: the check of the configuration and delivery agree with each other, and
with a plain implementation of the rules."""
import sys
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.accounts.directory import Directory
from phenmail_protocols.config.loader import server_from_dict
from phenmail_protocols.config.lookup import Lookup
from phenmail_protocols.config.problems import ConfigError
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.config.settings import Action
from phenmail_protocols.mail.address import Address

COM, IDN = "example.com", "xn--mller-kva.example"
SPELLED = {"example.com": COM, "m\u00fcller.example": IDN}
LOCALS = ("a", "A", "b", "a+b", "a+b+c", "postmaster", "PostMaster", "x y", "x..y", "*")
LOOP, MISSING = "loop", "missing"


@pytest.fixture(scope="module")
def root():
    with tempfile.TemporaryDirectory() as folder:
        made = Root(folder)
        made.create()
        yield made


# -- the rules, read plainly -----------------------------------------------------------------------

def find(table, local, domain):
    """-> (local, domain) of the line, or None."""
    users = table.get(domain, {})
    plus = [at for at in range(len(local) - 1, 0, -1) if local[at] == "+"]
    for name in [local] + [local[:at] for at in plus]:
        if name in users and name != "*":
            return name, domain
        alike = sorted(each for each in users if each.lower() == name.lower() and each != "*")
        if len(alike) == 1 or alike and name.lower() == "postmaster":
            return alike[0], domain
    return ("*", domain) if "*" in users else None


def is_alias(table, line):
    return table[line[1]][line[0]][0] == ":"


def step(table, line):
    """The line to which an alias leads, or None."""
    local, _, domain = table[line[1]][line[0]][1:].rpartition("@")
    if not local:
        local, domain = domain, line[1]
    return find(table, local.strip('"'), SPELLED.get(domain.lower(), domain.lower()))


def end(table, line):
    """The line where an alias ends, LOOP or MISSING; more than ten aliases are a loop too."""
    for _ in range(11):
        if not is_alias(table, line):
            return line
        line = step(table, line)
        if line is None:
            return MISSING
    return LOOP


targets = st.builds(
    lambda local, domain: ":%s%s" % ('"x y"' if local == "x y" else local, domain and "@" + domain),
    st.sampled_from([each for each in LOCALS if each != "*"] + ["nobody", "B", "a+z"]),
    st.sampled_from(["", "", "", COM, IDN, "m\u00fcller.example", "M\u00dcLLER.Example",
                     "Example.COM", "example.net"]))
ENDS = st.sampled_from(["-gone", "/m/mail", ">b@example.net", ".mail"])
users = st.dictionaries(st.sampled_from(LOCALS), targets | targets | ENDS, max_size=6)
asked_for = st.tuples(st.sampled_from(LOCALS + ("B", "b+t", "a+", "+a", "nobody", "a+b+c+d")),
                      st.sampled_from([COM, IDN]))


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(SPELLED)), users, min_size=1),
       st.lists(asked_for, max_size=5))
def test_check_and_delivery_name_the_same_ends(root, written, asked):
    table = {SPELLED[domain]: lines for domain, lines in written.items()}
    lines = [(local, domain) for domain in table for local in table[domain]]
    ends = {line: end(table, line) for line in lines}
    try:
        found = server_from_dict({"sender-domain": COM, "domains": written}, root, privileged=False)
    except ConfigError as error:
        for each in map(str, error.problems):
            assert "alias loop: " in each or "at most 10 aliases" in each
        assert LOOP in ends.values()
        return
    assert LOOP not in ends.values()
    told = [str(each) for each in found.warnings if "alias target" in str(each)]
    assert len(told) == sum(is_alias(table, line) and step(table, line) is None for line in lines)
    directory = Directory(found, root)
    for local, domain in [line for line in lines if line[0] != "*"] + asked:
        line = find(table, local, domain)
        destination = directory.resolve(Address(local, domain))
        if line is None:
            assert destination.kind == ("unknown" if domain in table else "remote")
        elif ends[line] == MISSING:
            assert destination.kind == "broken"
        else:
            assert destination.address == ends[line]
            assert destination.kind not in ("broken", "unknown", "remote")
        login = directory.account("%s@%s" % (local, domain))
        is_login = line is not None and line[0] != "*" and line[0].lower() == local.lower()
        assert (login is not None) == (is_login and ends[line] != MISSING
                                       and table[ends[line][1]][ends[line][0]][0] == "/")


@pytest.mark.parametrize("domains, told", [
    ({COM: {"a": "-no", "a+b": ":a+b+c"}}, "alias loop: a+b@example.com -> a+b@example.com"),
    ({COM: {"a": ":b", "b": ":a"}}, "alias loop: a@example.com -> b@example.com -> a@example.com"),
    ({COM: {"*": ":any"}}, "alias loop: *@example.com -> *@example.com"),
    ({COM: {"*": ":a@M\u00dcLLER.example"}, "m\u00fcller.example": {"*": ":b@example.com"}},
     "alias loop: *@example.com -> *@m\u00fcller.example -> *@example.com"),
    ({COM: {"a": ":b@" + IDN}, "m\u00fcller.example": {"B": ":A@Example.com"}},
     "alias loop: a@example.com -> B@m\u00fcller.example -> a@example.com")])
def test_loops(root, domains, told):
    with pytest.raises(ConfigError) as refused:
        server_from_dict({"domains": domains}, root, privileged=False)
    assert [each.hint for each in refused.value.problems] == [told]


@pytest.mark.parametrize("key, other", [
    ("m\u00fcller.example", IDN), (IDN, "m\u00fcller.example"),
    ("XN--MLLER-KVA.example", "M\u00dcLLER.example")])
def test_an_alias_and_its_target_in_two_spellings(root, key, other):
    users = {"bob": "/bob/mail", "postmaster": ":bob@" + other, "abuse": ":bob@" + key}
    found = server_from_dict({"sender-domain": other, "domains": {key: users}}, root,
                             privileged=False)
    assert found.warnings == () and found.sender_domain == IDN and list(found.domains) == [IDN]
    directory = Directory(found, root)
    assert directory.resolve(Address.parse("postmaster@" + other)).address == Address("bob", IDN)
    assert directory.account("BOB@" + other) == directory.account("bob") is not None


def test_one_domain_in_two_spellings_is_refused(root):
    with pytest.raises(ConfigError, match="duplicate domain"):
        server_from_dict({"domains": {"m\u00fcller.example": {}, IDN: {}}}, root, privileged=False)


def test_sharp_s_is_another_domain(root):
    found = server_from_dict({"domains": {"fa\u00df.example": {}, "fass.example": {}}}, root,
                             privileged=False)
    assert list(found.domains) == ["xn--fa-hia.example", "fass.example"]


def test_what_needs_the_package_idna_is_told_so(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "idna", None)
    for values in ({"domains": {"fa\u00df.example": {}}}, {"sender-domain": "fa\u00df.example"},
                   {"domains": {COM: {"a": ">b@fa\u00df.example"}}},
                   {"domains": {COM: {"a": ":b@fa\u00df.example"}}}):
        with pytest.raises(ConfigError, match="needs the Python package idna, because of U\\+00DF"):
            server_from_dict(values, root, privileged=False)


OWN = {"127.0.0.1", "::1", "192.0.2.1"}


@pytest.mark.parametrize("domain, ours", [
    ("[127.0.0.1]", True), ("[192.0.2.1]", True), ("[IPv6:::1]", True),
    ("[ipv6:0:0:0:0:0:0:0:1]", True),
    ("[IPv6:::ffff:192.0.2.1]", True), ("[192.0.2.2]", False), ("[IPv6:2001:db8::1]", False),
    ("[127.0.0.1", False), ("127.0.0.1", False)])
def test_literals_of_our_own_addresses(domain, ours):
    users = dict.fromkeys(("a", "postmaster"), Action("disabled", ""))
    names = Lookup(COM, {COM: users}, OWN.__contains__)
    assert names.is_local(domain) is ours
    for local in ("a", "A+t", "Postmaster"):
        assert (names.find(Address(local, domain)) is not None) is ours
        assert names.at_home(Address(local, domain)) == (local, COM if ours else domain)
    assert (names.find_login("a@" + domain) is not None) is ours
    assert not Lookup(COM, {COM: {}}).is_local(domain)


def test_this_server_is_the_first_domain_where_the_sender_domain_is_none_of_them():
    """RFC 5321 section 4.5.1: <postmaster> is accepted wherever mail is."""
    users = dict.fromkeys(("a", "postmaster"), Action("disabled", ""))
    names = Lookup("mail.example.com", {COM: users, IDN: {}}, OWN.__contains__)
    assert names.at_home(Address("Postmaster", "")) == Address("Postmaster", COM)
    assert names.find(Address("PostMaster", "")).address == Address("postmaster", COM)
    assert names.find(Address("a", "[IPv6:::1]")).address == Address("a", COM)
    assert names.is_local("[127.0.0.1]") and not names.is_local("mail.example.com")
    assert names.find(Address("postmaster", "mail.example.com")) is None
    nobody = Lookup("mail.example.com", {}, OWN.__contains__)
    assert nobody.find(Address("postmaster", "")) is None and not nobody.is_local("[127.0.0.1]")
