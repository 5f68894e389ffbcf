"""Which signatures verify, compared with dkimpy; and what a hostile message must not do."""
import hashlib
import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phenmail_protocols.config.settings import Relay
from phenmail_protocols.dkim import keys, verifying
from phenmail_protocols.dkim.body_hash import BodyHash, SimpleBodyHash
from phenmail_protocols.dkim.signing import Signer
from phenmail_protocols.mail.address import Address
from phenmail_protocols.net.resolver import Unanswered

from .keys import RSA

dkim = pytest.importorskip("dkim")

KEY = keys.read_rsa(RSA)
HEADER = b"From: Alice <alice@example.org>\r\nTo: bob@example.net\r\nSubject: two   words\r\n"
BODY = b"Hello  world \t \r\ncaf\xc3\xa9 \xe9\r\n \r\nBye\r\n\r\n\r\n"


def ask(name, kind):
    assert kind == "TXT"
    return {"s._domainkey.example.org": (KEY.record.encode("ascii"),),
            "revoked._domainkey.example.org": (b"v=DKIM1; p=",),
            "rubbish._domainkey.example.org": (b"v=DKIM1; p=AAAA",),
            "long._domainkey.example.org": (b"v=DKIM1; p=" + b"A" * 4000,),
            }.get(name, ())


def silent(name, kind):
    raise Unanswered("nobody there")


def signed(selector=b"s", header=HEADER, body=BODY, **options):
    options.setdefault("canonicalize", (b"relaxed", b"relaxed"))
    options.setdefault("include_headers", [b"from", b"subject"])
    return dkim.DKIM(header + b"\r\n" + body).sign(selector, b"example.org", RSA, **options)


def judged(head, header=HEADER, body=BODY, questions=ask):
    return verifying.verify(head + header + b"\r\n", [body[:7], body[7:]], questions)


def words(*arguments, **options):
    return [(each.result, each.reason) for each in judged(*arguments, **options)]


@pytest.mark.parametrize("canonicalize", [(one, two) for one in (b"simple", b"relaxed")
                                          for two in (b"simple", b"relaxed")])
def test_signed_by_dkimpy(canonicalize):
    head = signed(canonicalize=canonicalize)
    found, = judged(head)
    assert found[:5] == ("pass", "", "example.org", "s", "rsa-sha256")
    assert found.signature and found.signature in head.replace(b"\r\n ", b"").decode("ascii")
    assert words(head, body=BODY.replace(b"world", b"w0rld")) == [
        ("fail", "body hash did not verify")]
    assert words(head, header=HEADER.replace(b"words", b"w0rds")) == [
        ("fail", "signature did not verify")]
    assert words(head, header=HEADER.replace(b"two   ", b"two ")) == (
        [("pass", "")] if canonicalize[0] == b"relaxed" else [("fail", "signature did not verify")])
    assert words(head, body=BODY.rstrip(b"\r\n") + b"\r\n") == [("pass", "")]
    assert words(head, header=b"From: mallory@example.com\r\n"
                 + HEADER) == [("fail", "signature did not verify")]


def test_signed_by_us(tmp_path):
    pytest.importorskip("nacl.signing")
    from phenmail_protocols.dkim import key_making
    (tmp_path / "key").write_bytes(RSA)
    assert key_making.publish(str(tmp_path / "key.ed25519"), key_making.new_ed25519())
    signer = Signer(Relay(str(tmp_path / "key"), "all", "", 25), lambda: {"example.org"},
                    "example.org")
    body = BodyHash()
    body.update(BODY)
    head = signer.sign(HEADER + b"\r\n", body.digest(), Address("alice", "example.org"))
    records = {"%s._domainkey.example.org" % selector: (value.encode("ascii"),) for selector,
               value in signer.public_record()}
    found = judged(head, questions=lambda name, kind: records.get(name, ()))
    assert [each.result for each in found] == ["pass", "pass"], found
    assert [each.algorithm for each in found] == ["rsa-sha256", "ed25519-sha256"]


@pytest.mark.parametrize("change, word", [
    ((rb"t=\d+;", b"t=5; x=1000;"), ("fail", "signature expired")),
    ((b"v=1;", b"v=1; x=1000;"), ("permerror", "expires before it was made")),
    ((rb"t=\d+;", b"t=9999999999;"), ("fail", "signature from the future")),
    ((b"rsa-sha256", b"rsa-sha1"), ("policy", "rsa-sha1 is not accepted")),
    ((b"rsa-sha256", b"rsa-md5"), ("permerror", "unknown algorithm")),
    ((b"relaxed/relaxed", b"relaxed/strange"), ("permerror", "unknown canonicalization")),
    ((b"relaxed/relaxed", b"strange/relaxed"), ("permerror", "unknown canonicalization")),
    ((b"v=1;", b"v=1; v=1;"), ("permerror", "a tag comes twice")),
    ((b"d=example.org", b"d=example.com"), ("permerror", "i= is not in the domain of d=")),
    ((b"s=s;", b"s=other;"), ("permerror", "no key")),
    ((b"s=s;", b"s=revoked;"), ("permerror", "the key is revoked")),
    ((b"s=s;", b"s=rubbish;"), ("permerror", "unusable key")),
    ((b"s=s;", b"s=long;"), ("permerror", "no key")),
    ((b"s=s;", b"s=\xff;"), ("permerror", "malformed signature")),
    ((b"v=1;", b"v=1;" + b" " * 5000), ("policy", "signature too long")),
    ((b"v=1;", b"v=1;" + b"\r\n " * 60), ("pass", "")),
])
def test_what_is_no_good_signature(change, word):
    head, changes = re.subn(change[0], change[1].replace(b"\\", b"\\\\"), signed())
    assert changes and words(head) == [word]


def test_no_answer():
    assert words(signed(), questions=silent) == [("temperror", "no DNS answer")]


def test_a_length():
    head = signed(length=True)
    assert words(head) == [("pass", "")]
    assert words(head, body=BODY + b"buy this\r\n") == [("policy",
                                                         "the end of the body is not signed")]
    assert words(head, body=BODY.replace(b"Bye", b"Buy")) == [("fail", "body hash did not verify")]


def test_several():
    heads = signed() + signed(selector=b"other") + signed(body=b"another\r\n")
    assert [each[0] for each in words(heads)] == ["pass", "permerror", "fail"]
    asked = []
    assert len(judged(signed() * 30, questions=lambda *question: asked.append(question)
                      or ())) == verifying.MOST_SIGNATURES
    assert len(asked) == verifying.MOST_SIGNATURES


def test_none_and_unreadable():
    assert judged(b"") == []
    assert verifying.unverified(HEADER, "policy", "x") == []
    assert [each.result for each in verifying.unverified(signed() + HEADER, "policy",
                                                         "x")] == ["policy"]
    assert words(b" folded nothing\r\n" + signed()) == [("neutral", "malformed header")]
    assert words(b"no field\r\n" + signed()) == [("neutral", "malformed header")]
    assert words(signed(), header=HEADER + b"X: y\r\n" * 2000) == [("policy", "header too large")]
    assert words(signed(), header=HEADER + b"X: %s\r\n" % (b"y" * 300000)) == [
        ("policy", "header too large")]


@pytest.mark.parametrize("body", [b" " * 3000000, b"\r\n" * 1500000, b"\t \r\n " * 700000,
                                  b"\r" * 3000000, b" \r\n" * 1000000],
                         ids=["blanks", "empty lines", "mixed", "CR", "blank lines"])
def test_hostile_bodies_take_no_time(body):
    head = signed() + signed(canonicalize=(b"simple", b"simple"))
    begun = time.process_time()
    assert [each[0] for each in words(head, body=body)] == ["fail", "fail"]
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("value", [
    b"v=1; b" + b" \r\n" * 30 + b"x",
    b"v=1; a=rsa-sha256; d=example.org; s=s; h=from; bh=AAAA; b=" + b"A " * 1900 + b"!",
    b"v=1; a=rsa-sha256; d=example.org; s=s; h=" + b"a:" * 1900 + b"from; bh=AAAA; b=AAAA",
    b";b" * 1900, b";b \r\n\t\r\n =" * 300])
def test_hostile_fields_take_no_time(value):
    begun = time.process_time()
    head = b"DKIM-Signature: " + value + b"\r\n"
    assert all(each.result != "pass"
               for each in judged(head * 5, header=HEADER + b"X: y\r\n" * 900))
    assert time.process_time() - begun < 5


FIELDS = st.lists(st.sampled_from([b"DKIM-Signature:", b"From: a@example.org\r\n", b" v=1;",
                                   b" a=rsa-sha256;", b" d=example.org;",
                                   b" s=s;", b" h=from;", b" bh=AAAA;", b" b=AAAA", b"\r\n",
                                   b"\r\n ", b":", b"=", b"\xff", b";",
                                   b" l=3;", b" c=simple/relaxed;", b" x=1", b"X: y\r\n"]),
                  max_size=20).map(b"".join)


@given(FIELDS)
@settings(max_examples=200)
@example(b"\r\n From: a@example.org\r\nDKIM-Signature:")
def test_any_header_ends_in_words(text):
    known = ("pass", "fail", "policy", "neutral", "temperror", "permerror")
    assert all(each.result in known for each in verifying.verify(text + b"\r\n", [BODY], ask))


@given(st.lists(st.sampled_from([b" ", b"\t", b"\r", b"\n", b"\r\n", b" \r\n", b"a", b"\r\n\r\n"]),
                max_size=14), st.integers(1, 9))
@settings(max_examples=150)
@example([], 1)
@example([b"\r\n"], 1)
def test_the_simple_hash_is_dkimpys(pieces, cut):
    body, whole = b"".join(pieces), SimpleBodyHash()
    for at in range(0, len(body), cut):
        whole.update(body[at:at + cut])
    sent = body + b"\r\n" if body and not body.endswith(b"\r\n") else body
    assert whole.digest() == hashlib.sha256(
        dkim.canonicalization.Simple.canonicalize_body(sent)).digest()
