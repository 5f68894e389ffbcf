"""Who sent a message, from its header alone."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.delivery.noted_sender import sender
from phenmail_protocols.mail.address import Address


@pytest.mark.parametrize("header, expected", [
    (b"Return-Path: <a@example.net>\r\nReturn-Path: <b@example.net>\r\nFrom: c@example.net\r\n",
     "a@example.net"),
    (b"return-path:\r\n <a@example.net> \r\n", "a@example.net"),
    (b"Return-Path: <>\r\nFrom: c@example.net\r\n", None),
    (b"Return-Path: nonsense\r\nFrom: Cleo <c@example.net>, d@example.net\r\n", "c@example.net"),
    (b"Return-Path: <a@example.net\r\nFrom: c@example.net\r\n", "c@example.net"),
    (b"Return-Path: <a b@example.net>\r\nFrom: c@EXAMPLE.net\r\n", "c@example.net"),
    (b"From: \"odd user\"@example.net\r\n", '"odd user"@example.net'),
    (b"From: a@example.net <b@example.net>\r\n", None), (b"From: nobody\r\n", None),
    (b"From: a@-\r\n", None),
    (b"Subject: x\r\n\r\nFrom: a@example.net\r\n", None), (b"", None)])
def test_sender(header, expected):
    found = sender(header)
    assert found == (expected and Address.parse(expected))


@settings(max_examples=200, deadline=None)
@given(value=st.binary(max_size=60))
def test_every_header_has_a_sender_or_none(value):
    for name in (b"Return-Path: <", b"From: "):
        found = sender(name + value + b"\r\n\r\n")
        assert found is None or Address.parse(str(found)) == found
