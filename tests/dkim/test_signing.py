"""Signatures that others verify, the signing domain, and the keys."""

import binascii
import logging
import os
import subprocess
import sys
import threading

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phenmail_protocols.config.settings import Relay
from phenmail_protocols.dkim import key_making, keys
from phenmail_protocols.dkim.body_hash import BodyHash
from phenmail_protocols.dkim.signing import Signer
from phenmail_protocols.mail.address import Address

from .keys import RSA

dkim = pytest.importorskip("dkim")

KEY = keys.read_rsa(RSA)
NOW = 1735689600.0  # 2025-01-01
SENDER = Address("alice", "example.org")
HEADER = (
    b"Received: from a\r\n by b\r\nFrom: =?utf-8?q?=C3=81?= Example\r\n  <alice@example.org>\r\n"
    b"To: bob@example.net,\r\n\tcarol@example.net\r\nSUBJECT:  two   spaces \r\n"
    b"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\nComments: unsigned\r\n\r\n")
BODY = b"Hello  world \t \r\n.\r\n \r\nBye\r\n\r\n\r\n"


@pytest.fixture
def relay(tmp_path):
    (tmp_path / "dkim.key").write_bytes(RSA)
    (tmp_path / "dkim.key").chmod(0o600)
    return Relay(str(tmp_path / "dkim.key"), "all", str(tmp_path / "queue"), 25)


@pytest.fixture
def signer(relay):
    return Signer(relay, lambda: {"example.org", "b\u00fccher.example"}, "mail.example.com",
                  clock=lambda: NOW)


@pytest.fixture
def two_keys(signer, relay):
    pytest.importorskip("nacl.signing")
    assert key_making.publish(relay.dkim_key + ".ed25519", key_making.new_ed25519())
    return signer


def hashed(*chunks):
    body = BodyHash()
    for chunk in chunks:
        body.update(chunk)
    return body.digest()


def signed(signer, header=HEADER, body=BODY, **arguments):
    return signer.sign(header, hashed(body), SENDER, **arguments)


def verifies(signer, message, index=0, domain=b"example.org"):
    records = {b"%s._domainkey.%s." % (selector.encode(), domain): value.encode() for selector,
               value in signer.public_record()}
    try:
        return dkim.DKIM(message).verify(idx=index, dnsfunc=lambda name,
                                         timeout=5: records.get(name))
    except dkim.ValidationError:
        return False


def tags(head):
    """The tags of each DKIM-Signature in head."""
    return [dkim.util.parse_tag_value(value) for name, value in dkim.rfc822_parse(head)[0]
            if name == b"DKIM-Signature"]


# -- others verify it

def test_a_signature_verifies(signer):
    head = signed(signer)
    assert verifies(signer, head + HEADER + BODY)
    assert not verifies(signer, head + HEADER + BODY + b"more\r\n")
    assert not verifies(signer, head + HEADER.replace(b"two", b"2") + BODY)


def test_what_it_says(signer):
    found, = tags(signed(signer))
    assert (found[b"v"], found[b"a"], found[b"c"], found[b"d"], found[b"s"], found[b"t"]) == (
        b"1", b"rsa-sha256", b"relaxed/relaxed", b"example.org", b"all", b"%d" % NOW)
    assert found[b"h"].split() == [b"from:from:subject:date:message-id:to"]
    assert b"l" not in found


def test_two_signatures_the_one_that_all_can_read_first(two_keys):
    head = signed(two_keys)
    assert [found[b"a"] for found in tags(head)] == [b"rsa-sha256", b"ed25519-sha256"]
    assert tags(head)[1][b"s"] == b"all-ed25519"
    assert verifies(two_keys, head + HEADER + BODY,
                    0) and verifies(two_keys, head + HEADER + BODY, 1)


def test_opendkim_verifies_both(two_keys, tmp_path, program):
    opendkim = program("opendkim")
    head = signed(two_keys)
    (tmp_path / "records").write_text("".join("%s._domainkey.example.org %s\n" % record
                                              for record in two_keys.public_record()))
    (tmp_path / "message").write_bytes(head + HEADER + BODY)
    (tmp_path / "conf").write_text("Mode v\nSyslog no\nTestDNSData %s\n" % (tmp_path / "records"))
    process = subprocess.Popen([opendkim, "-x", str(tmp_path / "conf"), "-t",
                                str(tmp_path / "message"), "-vv"],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.communicate(timeout=60)[0]
    assert output.count(b"dkim=pass") == 2, output


def test_a_second_from_breaks_it(signer):
    message = signed(signer) + HEADER + BODY
    assert not verifies(signer, b"From: eve@example.com\r\n" + message)
    assert not verifies(signer, message.replace(b"Comments:",
                                                b"From: eve@example.com\r\nComments:"))


def test_fields_that_relays_add_break_nothing(signer):
    head = signed(signer)
    on_the_way = b"Received: from us by them\r\nReturn-Path: <x@y>\r\n"
    assert verifies(signer, on_the_way + head + HEADER.replace(b"unsigned", b"?") + BODY)


@given(st.lists(st.tuples(st.sampled_from(["To", "cc", "Subject", "X-Else", "List-Unsubscribe",
                                           "References"]),
                          st.lists(st.sampled_from([" ", "\t", "\r\n ", "\r\n\t", "a", "b@c", ";",
                                                    ":", "=", "b=", "\u00e9"]),
                                   max_size=12)),
                max_size=12))
@settings(max_examples=40)
def test_any_header_verifies_and_no_line_is_long(fields):
    header = "From: x@example.org\r\n" + "".join(
        "%s:%s\r\n" % (name, "".join(["v"] + value).rstrip("\r\n\t ")) for name, value in fields)
    header = header.encode("utf-8") + b"\r\n"
    head = SHARED.sign(header, hashed(BODY), None)
    assert verifies(SHARED, head + header + BODY)
    assert max(map(len, head.split(b"\r\n"))) <= 78


class _Fixed(Signer):
    """A signer without files, for the tests that make hundreds of signatures."""

    def __init__(self):
        super().__init__(Relay("/nowhere", "all", "", 25), lambda: ("example.org",), "example.org",
                         clock=lambda: NOW)
        self._rsa.get = lambda: KEY


SHARED = _Fixed()


@given(st.binary(max_size=300))
@settings(max_examples=60)
@example(b"From:\r\n\r\n")
@example(b"From: x@\xff\xfe\r\n\r\n")
@example(b"From: @example.org>\r\n" * 200 + b"\r\n")
def test_no_header_raises(header):
    head = SHARED.sign(header, b"\0" * 32, None)
    assert head == b"" or head.startswith(b"DKIM-Signature: ")


def test_a_field_that_is_there_a_thousand_times(signer):
    header = b"From: alice@example.org\r\n" + b"To: x@example.org\r\n" * 1000 + b"\r\n"
    head = signed(signer, header)
    assert verifies(signer, head + header + BODY)
    assert len(head) < 2048


def test_with_a_wrong_clock_there_is_no_t(relay):
    signer = Signer(relay, lambda: ["example.org"], "example.org", clock=lambda: 86400.0)
    head = signed(signer)
    assert b"t" not in tags(head)[0]
    assert verifies(signer, head + HEADER + BODY)


def test_a_key_is_parsed_once(relay, monkeypatch):
    parsed = []

    def read(data):
        parsed.append(data)
        return KEY
    monkeypatch.setattr(keys, "read_rsa", read)
    signer = Signer(relay, lambda: ["example.org"], "example.org", clock=lambda: NOW)
    assert signed(signer) == signed(signer) != b""
    assert parsed == [RSA]


# -- the signing domain

@pytest.mark.parametrize("author, sender, domain", [
    ("alice@example.org", None, "example.org"),
    ("Alice <Alice@EXAMPLE.org>", None, "example.org"),
    ("x@b\u00fccher.example", None, "xn--bcher-kva.example"),
    ("x@xn--bcher-kva.example", None, "xn--bcher-kva.example"),
    ("x@elsewhere.example, alice@example.org", None, "example.org"),
    ("Us: alice@example.org;", None, "example.org"),
    ("x@elsewhere.example", SENDER, "example.org"),
    ("x@elsewhere.example", Address("x", "elsewhere.example"), "mail.example.com"),
    ("x@sub.example.org", None, "mail.example.com"),
    ("nonsense", None, "mail.example.com"),
])
def test_who_signs(signer, author, sender, domain):
    header = ("From: %s\r\n\r\n" % author).encode("utf-8")
    assert signer.domain_for(header, sender) == domain
    assert tags(signer.sign(header, hashed(BODY), sender))[0][b"d"] == domain.encode()


def test_a_message_without_author_stays_unsigned(signer, caplog):
    assert signed(signer, b"To: a@example.org\r\n\r\n") == b""
    assert "has no From" in caplog.text


# -- missing and broken keys

def test_without_a_key_mail_is_unsigned_and_that_is_logged_once(signer, relay, caplog):
    os.remove(relay.dkim_key)
    assert signed(signer) == signed(signer) == b""
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "no DKIM key yet" in caplog.text and relay.dkim_key in caplog.text


def test_a_key_that_comes_later_is_used(signer, relay):
    os.remove(relay.dkim_key)
    assert signed(signer) == b""
    key_making.publish(relay.dkim_key, RSA)
    assert verifies(signer, signed(signer) + HEADER + BODY)


def test_another_key_in_the_file_is_used(signer, relay, tmp_path):
    assert signed(signer)
    (tmp_path / "other").write_bytes(b"nonsense")
    os.replace(str(tmp_path / "other"), relay.dkim_key)
    assert signed(signer) == b""


def test_without_dkimpy_mail_goes_out_unsigned(signer, caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "dkim", None)
    assert signed(signer) == b""
    assert "dkimpy is not installed" in caplog.text
    assert signer.public_record()[0][0] == "all", "the DNS can be told without it"


def test_a_broken_key_is_reported(signer, relay, caplog):
    with open(relay.dkim_key, "wb") as file:
        file.write(RSA[:500])
    assert signed(signer) == b""
    complaint, = signer.complaints()
    assert relay.dkim_key in complaint and "PEM" in complaint
    assert complaint in caplog.text
    assert signer.public_record() == []


def test_a_key_that_others_can_read_is_reported_and_used(signer, relay):
    os.chmod(relay.dkim_key, 0o644)
    complaint, = signer.complaints()
    assert "chmod 600" in complaint
    assert signed(signer)


def test_good_keys_are_no_complaint(two_keys):
    assert two_keys.complaints() == []


def test_a_key_that_is_a_folder(signer, relay):
    os.remove(relay.dkim_key)
    os.mkdir(relay.dkim_key)
    assert signed(signer) == b""
    assert len(signer.complaints()) == 1


def test_a_missing_key_is_a_complaint_only_if_it_cannot_be_made(signer, relay, monkeypatch):
    os.remove(relay.dkim_key)
    monkeypatch.setattr(key_making, "can_make", lambda: True)
    assert signer.complaints() == []
    monkeypatch.setattr(key_making, "can_make", lambda: False)
    assert "openssl" in signer.complaints()[0]


# -- new keys

def made(signer):
    thread = signer.ensure_key()
    if thread is not None:
        assert thread.name == "phenmail-dkim-key" and thread.daemon
        thread.join(60)
        assert not thread.is_alive()
    return thread


def test_keys_are_made_in_the_background(signer, relay, program):
    program("openssl")
    os.remove(relay.dkim_key)
    assert made(signer) is not None
    assert os.stat(relay.dkim_key).st_mode & 0o777 == 0o600
    assert verifies(signer, signed(signer) + HEADER + BODY)
    assert made(signer) is None, "nothing is left to make"
    assert len(signer.public_record()) == 2 if signer._has_nacl() else 1


def test_a_message_waits_for_the_key_that_is_being_made(signer, relay, monkeypatch):
    os.remove(relay.dkim_key)
    go = threading.Event()

    def slow(stopping):
        assert go.wait(60)
        return RSA
    monkeypatch.setattr(key_making, "new_rsa", slow)
    signer.ensure_key()
    heads = []
    writer = threading.Thread(target=lambda: heads.append(signed(signer)))
    writer.start()
    go.set()
    writer.join(60)
    assert verifies(signer, heads[0] + HEADER + BODY)


def test_a_key_is_never_made_over_another(signer, relay, monkeypatch):
    os.remove(relay.dkim_key)

    def somebody_is_quicker(stopping):
        with open(relay.dkim_key, "wb") as file:
            file.write(b"his")
        return RSA
    monkeypatch.setattr(key_making, "new_rsa", somebody_is_quicker)
    made(signer)
    with open(relay.dkim_key, "rb") as file:
        assert file.read() == b"his"


def test_without_a_tool_that_is_logged(signer, relay, monkeypatch, caplog):
    os.remove(relay.dkim_key)

    def no_tool(stopping):
        raise key_making.NoKeyTool("no tool")
    monkeypatch.setattr(key_making, "new_rsa", no_tool)
    made(signer)
    assert "no tool" in caplog.text and not os.path.exists(relay.dkim_key)
    assert made(signer) is None, "each message would try it again"


def test_close_gives_up(signer, relay, monkeypatch, caplog):
    os.remove(relay.dkim_key)

    def endless(stopping):
        assert stopping.wait(60)
        raise OSError("ended")
    monkeypatch.setattr(key_making, "new_rsa", endless)
    thread = signer.ensure_key()
    assert signer.ensure_key() is thread, "two make one key"
    signer.close()
    assert not thread.is_alive() and not caplog.records


def test_the_record_is_what_openssl_says(signer, relay, program):
    public = subprocess.check_output([program("openssl"), "rsa", "-in", relay.dkim_key, "-pubout",
                                      "-outform", "DER"],
                                     stderr=subprocess.DEVNULL)
    assert signer.public_record() == [("all", "v=DKIM1; k=rsa; p="
                                       + binascii.b2a_base64(public, newline=False).decode())]
