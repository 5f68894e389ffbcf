"""RFC 6376 3.5, 3.6.1 and 6.1, tag by tag: what makes a signature invalid, and what does not."""
import base64
import hashlib
import re
import time

import pytest

from phenmail_protocols.dkim import keys, verifying
from phenmail_protocols.net.resolver import Unanswered

from .keys import RSA

crypto = pytest.importorskip("dkim.crypto")

PRIVATE = crypto.parse_pem_private_key(RSA)
P = keys.read_rsa(RSA).record.rpartition("p=")[2].encode("ascii")
FIELDS = (b"From: Alice <alice@example.org>\r\nTo: bob@example.net\r\nSubject: two   words\r\n"
          b"Date: today\r\n")
BODY = b"Hello\r\nworld\r\n"
BH = base64.b64encode(hashlib.sha256(BODY).digest())
NOW = int(time.time())
TAGS = {"v": b"1", "a": b"rsa-sha256", "c": b"relaxed/simple", "d": b"example.org", "s": b"s",
        "h": b"from:to:subject", "bh": BH}
# 512 bits, made for this test.
WEAK = (b"MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALRiMLAHudeSA2aigxy4IQ5jD4bGZ1Jc6cWx1dQp0v9yBzqo9Fg2ZJTyw"
        b"3lVqnZRAq3vv8E2y1RkZgGnVvqUyhECAwEAAQ==")
# 1024 bits, made for this test; nobody has its private half.
OTHER = (b"MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC4VHYRaarQ2mohLKpu/mQhr8P1UktfadpovE49A8NU"
         b"xjlXjlUed1MD4BTT2StXaAqUkb4kTNLxScXnvMMm+sgqv6XWxmZ9+T9nV6Wdn9JC4/vfojkMo5dk9t08"
         b"oPCUIlFJdVztGo+kzT1C45ib5de+hps1aAs2SyYUfH2vB4q8CwIDAQAB")


def relaxed(name, value):
    return name.strip(b" \t").lower() + b":" + re.sub(rb"[ \t]+", b" ",
                                                      value.replace(b"\r\n", b"")).strip(b" ")


def hashed(fields, names, head, form):
    """The hashed bytes of a header (3.7), computed independently of the program."""
    lines, octets = re.findall(rb"[^\n]+\n(?:[ \t][^\n]*\n)*", fields), b""
    for name in names + [b"from"]:
        name = name.strip().lower()
        found = [line for line in lines if line.partition(b":")[0].strip().lower() == name]
        if found:
            line = found[-1]
            at = len(lines) - 1 - lines[::-1].index(line)
            del lines[at]
            octets += line if form == b"simple" else relaxed(*line[:-2].split(b":", 1)) + b"\r\n"
    return octets + (head if form == b"simple" else relaxed(*head.split(b":", 1)))


def signed(fields=FIELDS, blank=b" ", end=b"", **changes):
    """A valid DKIM-Signature of these fields, with tags changed; None removes one.

    `then`: text before b=; `end`: text behind it.
    """
    then = changes.pop("then", b"")
    tags = dict(TAGS, **changes)
    text = b"".join(b"%s=%s;%s" % (name.encode(), value, blank)
                    for name, value in tags.items() if value is not None)
    head = b"DKIM-Signature: " + text + then + b"b="
    form = (tags["c"] or b"simple").partition(b"/")[0]
    names = re.split(rb"[ \t\r\n]*:[ \t\r\n]*", tags["h"] or b"")
    digest = hashlib.sha256(hashed(fields, names, head + end, form))
    return head + base64.b64encode(crypto.RSASSA_PKCS1_v1_5_sign(digest, PRIVATE)) + end + b"\r\n"


def judged(head, fields=FIELDS, body=BODY, key=b"v=DKIM1; p=" + P):
    records = key if isinstance(key, tuple) else (key,)
    zone = {"s._domainkey.example.org": records}
    found = verifying.verify(head + fields + b"\r\n", [body], lambda name, kind: zone.get(name, ()))
    return [(each.result, each.reason) for each in found]


PASS = [("pass", "")]

# -- the signature (3.5)


@pytest.mark.parametrize("changes", [
    {}, {"c": b"simple/simple"}, {"c": b"simple"}, {"c": b"relaxed"}, {"c": None},
    {"c": b"relaxed/simple"},
    {"h": b"From : To\r\n\t:\r\n Subject"}, {"h": b"FROM:to"},
    {"h": b"from:from:nothing:subject:subject"}, {"h": b"subject:from"},
    {"i": b"@example.org"}, {"i": b"alice@EXAMPLE.org"}, {"i": b"@mail.example.org"},
    {"i": b"a=40b@example.org"},
    {"q": b"dns/txt"}, {"q": b"http/x : dns/txt"}, {"q": b" dns/txt\r\n "}, {"l": b"14"},
    {"t": b"1"}, {"t": b"%d" % (NOW + 60)},
    {"t": b"%d" % NOW, "x": b"%d" % (NOW + 80000)}, {"x": b"%d" % (NOW + 80000)},
    {"z": b"From:alice@example.org|To:x"}, {"r": b"y"}, {"unknown_1": b"a=b,c"},
    {"bh": BH[:9] + b"\r\n  " + BH[9:]}, {"d": b"EXAMPLE.org"}, {"blank": b"\r\n\t"},
    {"blank": b""}, {"end": b";"}, {"end": b"; zz=1"},
    {"end": b";\r\n  x2 = 1 ;"}, {"then": b"  "}, {"v": b" 1 "},
])
def test_a_signature_that_is_well_formed(changes):
    assert judged(signed(**changes)) == PASS
    other = FIELDS.replace(b"Alice", b"Alicia")
    assert judged(signed(**changes), other) == [("fail", "signature did not verify")]


@pytest.mark.parametrize("changes, reason", [
    # Who wrote it is not signed (6.1.1).
    ({"h": b"to:subject:date"}, "From is not signed"), ({"h": b"x-from:to"}, "From is not signed"),
    ({"h": b""}, "malformed signature"), ({"h": b"from:"}, "malformed signature"),
    ({"h": b"from::to"}, "malformed signature"),
    ({"h": b"from to"}, "malformed signature"), ({"h": None}, "a required tag is missing"),
    ({"v": None}, "a required tag is missing"), ({"v": b"2"}, "unknown version"),
    ({"v": b""}, "unknown version"), ({"v": b"01"}, "unknown version"),
    ({"a": None}, "a required tag is missing"), ({"a": b"rsa-sha512"}, "unknown algorithm"),
    ({"a": b"RSA-SHA256"}, "unknown algorithm"),
    ({"bh": None}, "a required tag is missing"), ({"bh": b""}, "malformed signature"),
    ({"bh": b"!" + BH}, "malformed signature"),
    ({"bh": BH[:-1]}, "malformed signature"),
    ({"c": b"nowsp"}, "unknown canonicalization"),
    ({"c": b"simple/nowsp"}, "unknown canonicalization"),
    ({"c": b"relaxed/"}, "unknown canonicalization"),
    ({"c": b"simple/simple/simple"}, "unknown canonicalization"),
    ({"d": None}, "a required tag is missing"), ({"d": b""}, "malformed signature"),
    ({"d": b"example..org"}, "malformed signature"),
    ({"d": b"example.org."}, "malformed signature"),
    ({"d": b"a b.org"}, "malformed signature"),
    ({"i": b"@example.com"}, "i= is not in the domain of d="),
    ({"i": b"@badexample.org"}, "i= is not in the domain of d="),
    ({"i": b"@org"}, "i= is not in the domain of d="),
    ({"i": b"example.org"}, "i= is not in the domain of d="), ({"i": b""}, None),
    ({"l": b"15"}, "l= exceeds the body"), ({"l": b"9" * 76}, "l= exceeds the body"),
    ({"l": b"-1"}, "malformed signature"),
    ({"l": b"0x1"}, "malformed signature"), ({"l": b""}, "malformed signature"),
    ({"l": b"9" * 77}, "malformed signature"),
    ({"q": b"http"}, "unknown query method"), ({"q": b""}, "unknown query method"),
    ({"s": None}, "a required tag is missing"), ({"s": b""}, "malformed signature"),
    ({"s": b"a..b"}, "malformed signature"),
    ({"t": b"yesterday"}, "malformed signature"), ({"t": b"-1"}, "malformed signature"),
    ({"x": b"1e9"}, "malformed signature"),
    ({"t": b"%d" % (NOW + 9000), "x": b"%d" % (NOW + 9000)}, "expires before it was made"),
    ({"t": b"%d" % (NOW + 9009), "x": b"%d" % (NOW + 9000)}, "expires before it was made"),
    ({"t": b"100", "x": b"50"}, "expires before it was made"),
    ({"t": b"100", "x": b"100"}, "expires before it was made"),
    ({"t": b"%d" % (NOW + 90009), "x": b"%d" % (NOW + 90000)}, "expires before it was made"),
    ({"then": b"v=1; "}, "a tag comes twice"), ({"then": b"h=from; "}, "a tag comes twice"),
    ({"then": b"; "}, "not a list of tags"),
    ({"then": b"word; "}, "not a list of tags"), ({"then": b"1a=x; "}, "not a list of tags"),
    ({"then": b"a-b=x; "}, "not a list of tags"),
])
def test_an_invalid_signature(changes, reason):
    found, = judged(signed(**changes))
    assert found[0] == "permerror" and (reason is None or found[1] == reason), found


@pytest.mark.parametrize("b", [b"", b" ", b"!", b"AAA", b"A===", b"\xff"])
def test_a_signature_without_octets(b):
    head = signed()
    assert judged(head[:head.rindex(b"b=") + 2] + b + b"\r\n") == [("permerror",
                                                                    "malformed signature")]


@pytest.mark.parametrize("changes, verdict", [
    ({"x": b"%d" % (NOW - 3600)}, ("fail", "signature expired")),
    ({"x": b"%d" % (NOW - 3600), "t": b"5"}, ("fail", "signature expired")),
    ({"t": b"%d" % (NOW + 86400)}, ("fail", "signature from the future")),
    ({"a": b"rsa-sha1"}, ("policy", "rsa-sha1 is not accepted")),  # RFC 8301
])
def test_a_signature_that_is_not_accepted(changes, verdict):
    assert judged(signed(**changes)) == [verdict]


@pytest.mark.parametrize("form", [b"simple", b"relaxed"])
@pytest.mark.parametrize("subject",
                         [b"Subject : t\r\n", b"Subject\t :t\r\n", b"SUBJECT  : t \t\r\n",
                          b"Subject :\r\n\t t\r\n", b"Subject:\r\n"])
def test_blanks_before_the_colon(form, subject):
    fields = b"From : a@example.org\r\n" + subject
    assert judged(signed(fields, c=form), fields) == PASS
    verdict = judged(signed(fields, c=form), fields.replace(b" :", b":").replace(b"\t :", b":"))
    assert verdict == (PASS if form == b"relaxed" else [("fail", "signature did not verify")])


@pytest.mark.parametrize("added",
                         [b"From: mallory@example.com\r\n", b"from : mallory@example.com\r\n",
                          b"FROM:\r\n m@example.com\r\n"])
def test_a_from_that_was_added(added):
    for fields in (added + FIELDS, FIELDS + added):
        assert judged(signed(), fields) == [("fail", "signature did not verify")]
        assert judged(signed(h=b"from:from:to"), fields) == [("fail", "signature did not verify")]


def test_several_are_judged_each_for_itself():
    heads = signed(h=b"to:subject") + signed() + signed(s=b"other")
    assert judged(heads) == [("permerror", "From is not signed"), ("pass", ""),
                             ("permerror", "no key")]


def over(older, names):
    """A signature of the fields and of an older signature below it."""
    head = signed(older + FIELDS, c=b"relaxed/simple", h=names)
    return head, judged(head + older)


@pytest.mark.parametrize("names, older", [
    (b"from:dkim-signature", True), (b"from:dkim-signature:dkim-signature", True),
    (b"from:dkim-signature", False)])
def test_h_never_means_the_signature_itself(names, older):
    """RFC 6376 3.5: the signature itself is left out, so an added one breaks it."""
    head, found = over(signed() if older else b"", names)
    assert found == PASS * (2 if older else 1)
    added = judged(head + signed(s=b"s", h=b"from") + (signed() if older else b""))
    assert added[0] == (PASS[0] if names.count(b":") == 1 and older
                        else ("fail", "signature did not verify"))


def test_international_domains():
    """RFC 8616 section 5: d= may have U-labels; the key is found under A-labels."""
    head = signed(d="bücher.example".encode("utf-8"))
    found, = verifying.verify(head + FIELDS + b"\r\n", [BODY],
                              lambda name,
                              kind: (b"p=" + P,
                                     ) if name == "s._domainkey.xn--bcher-kva.example" else ())
    assert (found.result, found.domain) == ("pass", "xn--bcher-kva.example")


# -- the key (3.6.1)


@pytest.mark.parametrize("key", [
    b"p=" + P, b"v=DKIM1;p=" + P, b" v = DKIM1 ; k = rsa ; p = " + P + b" ; ",
    b"v=DKIM1; h=sha256; p=" + P, b"h=sha1 : sha256; p=" + P,
    b"h=sha512:sha256; p=" + P, b"s=*; p=" + P, b"s=email; p=" + P, b"s=email:tlsrpt; p=" + P,
    b"s=tlsrpt : email; p=" + P,
    b"s=other:*; p=" + P, b"t=y; p=" + P, b"t=s; p=" + P, b"t=y:s; p=" + P, b"t=unknown; p=" + P,
    b"n=note with caf\xc3\xa9; p=" + P,
    b"g=; p=" + P, b"g=alice; k=rsa; p=" + P, b"x=unknown; p=" + P,
    b"p=" + P[:20] + b" \t" + P[20:] + b"; t=y", b"p=" + P + b";",
])
def test_a_key_that_is_well_formed(key):
    assert judged(signed(), key=key) == PASS
    assert judged(signed(), key=(b"v=spf1 -all", key)) == PASS, "another text under its name"


@pytest.mark.parametrize("key, reason", [
    (b"h=sha1; p=" + P, "the key is not for this hash"),
    (b"h=; p=" + P, "the key is not for this hash"),
    (b"h=sha1:sha512; p=" + P, "the key is not for this hash"),
    (b"h=SHA256; p=" + P, "the key is not for this hash"),
    (b"p=" + P + b"; v=DKIM1", "unusable key"), (b"k=rsa; v=DKIM1; p=" + P, "unusable key"),
    (b"v=DKIM2; p=" + P, "unusable key"),
    (b"v=dkim1; p=" + P, "unusable key"), (b"v=; p=" + P, "unusable key"),
    (b"k=ed25519; p=" + P, "the key is not for this algorithm"),
    (b"k=dsa; p=" + P, "the key is not for this algorithm"),
    (b"s=tlsrpt; p=" + P, "the key is not for mail"),
    (b"s=; p=" + P, "the key is not for mail"), (b"s=emails:x; p=" + P, "the key is not for mail"),
    (b"v=DKIM1; p=", "the key is revoked"),
    (b"p= ; t=y", "the key is revoked"), (b"v=DKIM1", "unusable key"), (b"", "unusable key"),
    (b"v=DKIM1; p", "unusable key"),
    (b"p=" + P + b"; p=" + P, "unusable key"), (b"p=" + P + b";; t=s", "unusable key"),
    (b"p=" + P[:-3], "unusable key"),
    (b"p=!" + P, "unusable key"), (b"p=AAAA", "unusable key"),
    (b"junk; p=" + P, "unusable key"), (b"P=" + P, "unusable key"),
])
def test_an_invalid_key(key, reason):
    assert judged(signed(), key=key) == [("permerror", reason)]


@pytest.mark.parametrize("identity, strict, word", [
    (b"@example.org", b"t=s; ", "pass"), (b"@mail.example.org", b"t=s; ", "permerror"),
    (b"@mail.example.org", b"t=y : s; ", "permerror"),
    (b"@mail.example.org", b"t=y; ", "pass"), (b"a@EXAMPLE.ORG", b"t=s; ", "pass"),
    (None, b"t=s; ", "pass")])
def test_a_key_that_is_not_for_subdomains(identity, strict, word):
    found, = judged(signed(i=identity), key=strict + b"p=" + P)
    assert found[0] == word and found[1] in ("", "the key is not for subdomains")


def test_a_key_that_is_too_small():
    assert judged(signed(), key=b"p=" + WEAK) == [("policy", "key too small")]


def exponent(octets):
    """A key record (p=) in PKCS #1, with the modulus of OTHER and this exponent."""
    def wrapped(tag, content):
        return tag + b"\x82" + len(content).to_bytes(2, "big") + content
    modulus = base64.b64decode(OTHER)[29:29 + 128]
    return base64.b64encode(wrapped(b"\x30",
                                    wrapped(b"\2", b"\0" + modulus) + wrapped(b"\2", octets)))


@pytest.mark.parametrize("octets, verdict", [
    (b"\1\0\1", ("fail", "signature did not verify")),
    (b"\x7f" * 8, ("fail", "signature did not verify")),
    (b"\1" * 9, ("permerror", "unusable key")), (b"\1" * 128, ("permerror", "unusable key"))])
def test_an_exponent_that_would_take_seconds(octets, verdict):
    assert judged(signed(), key=b"p=" + exponent(octets)) == [verdict]


@pytest.mark.parametrize("other", [b"p=" + WEAK, b"p=", b"p=" + OTHER, b"v=spf1 -all", b"p=AAAA",
                                   b"k=ed25519; p=" + base64.b64encode(b"x" * 32), b"p=" + P])
def test_of_several_keys_any_may_be_it(other):
    """RFC 6376 6.1.2, step 4: the verifier may try them all."""
    good = b"v=DKIM1; p=" + P
    for key in ((other, good), (good, other), (other, other, good)):
        assert judged(signed(), key=key) == PASS
        assert judged(signed(), FIELDS.replace(b"Alice", b"Alicia"), key=key) == [
            ("fail", "signature did not verify")]


def test_only_so_many_keys_are_tried():
    keys_of_others = (b"p=" + OTHER,) * verifying._MOST_KEYS
    assert judged(signed(), key=keys_of_others + (b"p=" + P,)) == [
        ("fail", "signature did not verify")]


def test_no_key_and_no_answer():
    assert judged(signed(), key=()) == [("permerror", "no key")]

    def silent(name, kind):
        raise Unanswered("nobody there")
    assert [each.result for each in verifying.verify(signed() + FIELDS + b"\r\n", [BODY],
                                                     silent)] == ["temperror"]


# -- another's vector

VECTOR = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

""".replace(b"\n", b"\r\n")
HUNGRY = b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"


@pytest.mark.parametrize("key, word", [
    (b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "pass"),
    (b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHUSo=", "fail"),
    (b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg==", "permerror"),
    (b"v=DKIM1; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "permerror")])
def test_the_example_of_rfc_8463(key, word):
    pytest.importorskip("nacl.signing")
    zone = {"brisbane._domainkey.football.example.com": (key,)}
    found, = verifying.verify(VECTOR, [HUNGRY], lambda name, kind: zone.get(name, ()))
    assert found.result == word, found
