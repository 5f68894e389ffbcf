"""The lines that a message collects, and what tells a loop."""
import re

import pytest

from phenmail_protocols.delivery import trace
from phenmail_protocols.mail.address import Address

ANNA = Address("anna", "example.org")
DATE = b"Thu, 01 Jan 1970 00:00:00 +0000"


@pytest.mark.parametrize("origin, text", [
    (trace.Origin("ESMTPS", "client.example.net", "192.0.2.1", ("TLSv1.3", "AES")),
     b"Received: from client.example.net ([192.0.2.1])\r\n\t(using TLSv1.3 with cipher AES)\r\n"
     b"\tby mx.example.org (phenmail) with ESMTPS id 1.2\r\n\tfor <anna@example.org>; " + DATE
     + b"\r\n"),
    (trace.Origin("SMTP", "", "2001:db8::1"),
     b"Received: from unknown ([IPv6:2001:db8::1])\r\n"
     b"\tby mx.example.org (phenmail) with SMTP id 1.2\r\n"
     b"\tfor <anna@example.org>; " + DATE + b"\r\n"),
    (trace.Origin("LMTP", "relay", ""),
     b"Received: from relay (local)\r\n\tby mx.example.org (phenmail) with LMTP id 1.2\r\n"
     b"\tfor <anna@example.org>; " + DATE + b"\r\n"),
    (trace.Origin(), b"Received: by mx.example.org (phenmail) id 1.2\r\n\tfor <anna@example.org>; "
     + DATE + b"\r\n"),
])
def test_received(origin, text):
    assert trace.received(origin, "mx.example.org", b"1.2", ANNA, DATE) == text


@pytest.mark.parametrize("text, line", [
    ("x@b\u00fccher.example", b"\r\n\tfor <x@xn--bcher-kva.example>"),
    ("x@fa\u00df.example", b"\r\n\tfor <x@xn--fa-hia.example>"),
    ("j\u00f6rg@example.org", b"")])
def test_the_field_is_ascii(text, line):
    """Else a message that is ASCII could not go on to a server without SMTPUTF8."""
    origin = trace.Origin("UTF8SMTP", "h\u00e9")
    field = trace.received(origin, "mx", b"1", Address.parse(text), DATE)
    assert field.decode("ascii") and field.endswith(b" id 1" + line + b"; " + DATE + b"\r\n")
    mark = trace.delivered_to(Address.parse(text))
    assert mark.decode("ascii") and trace.delivered_already(mark.lower(), Address.parse(text))


def test_several_recipients_are_not_told_of_each_other():
    assert b"for" not in trace.received(trace.Origin("SMTP"), "mx", b"1", None, DATE)


def test_no_name_of_a_client_gets_out_of_its_place():
    text = trace.received(trace.Origin("SMTP", "x) by evil (\r\nSubject: y", "192.0.2.1"), "mx",
                          b"1", None, DATE)
    assert re.match(rb"Received: from [^ ()]+ \(\[192\.0\.2\.1\]\)\r\n\tby mx ", text), text


@pytest.mark.parametrize("base, tls, login, smtputf8, name", [
    ("SMTP", True, True, False, "SMTP"), ("ESMTP", False, False, False, "ESMTP"),
    ("ESMTP", True, False, False, "ESMTPS"),
    ("ESMTP", False, True, False, "ESMTPA"), ("ESMTP", True, True, False, "ESMTPSA"),
    ("ESMTP", True, True, True, "UTF8SMTPSA"),
    ("ESMTP", False, False, True, "UTF8SMTP"), ("LMTP", False, False, True, "UTF8LMTP"),
    ("LMTP", False, False, False, "LMTP"),
])
def test_names_of_protocols(base, tls, login, smtputf8, name):
    assert trace.protocol_name(base, tls, login, smtputf8) == name


def test_fields_of_final_delivery():
    assert trace.return_path(None) == b"Return-Path: <>\r\n"
    assert trace.return_path(Address("a b", "x")) == b'Return-Path: <"a b"@x>\r\n'
    assert trace.delivered_to(ANNA) == b"Delivered-To: anna@example.org\r\n"


@pytest.mark.parametrize("header, count", [
    (b"", 0), (b"received: x\r\n", 1),
    (b"received: x\r\n by y\r\nsubject: received:\r\nreceived: z\r\nx-received: q\r\n", 2),
])
def test_hops(header, count):
    assert trace.hops(header) == count


@pytest.mark.parametrize("header, was", [
    (b"delivered-to: anna@example.org\r\n", True),
    (b"a: b\r\ndelivered-to: anna@example.org\r\n\r\n", True),
    (b"x-delivered-to: anna@example.org\r\n", False),
    (b"delivered-to: joanna@example.org\r\n", False),
    (b"delivered-to: anna@example.org.net\r\n", False),
])
def test_delivered_already(header, was):
    assert trace.delivered_already(header, Address("Anna", "example.org")) is was


def test_the_stamp_is_written_once_a_second():
    moments = [100.0, 100.9, 101.0]
    stamp = trace.Stamp(lambda: moments.pop(0))
    first, second, third = stamp.now(), stamp.now(), stamp.now()
    assert first is second and first[0] == 100 and third[0] == 101
    assert re.match(rb"\w{3}, 0?1 Jan 1970 |\w{3}, 31 Dec 1969 ", first[1])
