"""MAIL and RCPT lines: our server's grammar reads in them what was meant."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.mail.address import Address
from phenmail_protocols.queue.model import Message, Recipient
from phenmail_protocols.relay.smtp_transaction import (
    Extensions,
    Unsendable,
    mail,
    rcpt,
    read_extensions,
)
from phenmail_protocols.smtp import grammar

EVERYTHING = Extensions(True, True, True, True, True, 0, ())
words = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=0x2fff,
                                       blacklist_categories=("Cs", "Cc", "Zl", "Zp"),
                                         blacklist_characters="\u00a0"), min_size=1, max_size=30)


def read(parse, line):
    verb, rest = grammar.split(line)
    return parse(rest)


@given(words, st.sampled_from([None, "FULL", "HDRS"]), words)
@settings(max_examples=200)
def test_mail_is_read_as_it_was_meant(local, ret, envid):
    message = Message("id", Address(local, "xn--bcher-kva.example"), (), 0.0, b"", 7, True, True,
                      ret, envid)
    found = read(grammar.parse_mail, mail(message, EVERYTHING))
    assert (found.sender, found.ret, found.smtputf8, found.size,
            found.body) == (message.sender, ret, True, 7, "8BITMIME")
    assert found.envid in (envid, None) and (found.envid or len(envid.encode("utf-8")) * 3 > 100)


@given(words, st.sampled_from(["rfc822;", "x-other;"]), words)
@settings(max_examples=200)
def test_rcpt_is_read_as_it_was_meant(local, kind, original):
    recipient = Recipient(Address(local, "example.net"), ("FAILURE", "DELAY"), kind + original)
    found, _ = read(grammar.parse_rcpt, rcpt(recipient, EVERYTHING, True))
    assert (found.address, found.notify, found.orcpt) == (recipient.address, recipient.notify,
                                                          recipient.orcpt)


def test_an_original_address_in_utf_8_needs_no_smtputf8():
    line = rcpt(Recipient(Address("b", "example.net"), (),
                          "utf-8;j\u00f6 \\x{F6}+=\\@b\u00fccher.example"), EVERYTHING, False)
    assert (line
            == b"RCPT TO:<b@example.net> "
               b"ORCPT=utf-8;j\\x{F6}\\x{20}\\x{F6}\\x{2B}\\x{3D}\\x{5C}@b\\x{FC}cher.example\r\n")
    for odd in ("utf-8;" + "\u00f6" * 200, "\u00f6;x"):
        assert rcpt(Recipient(Address("b", "example.net"), (), odd), EVERYTHING,
                    False) == b"RCPT TO:<b@example.net>\r\n"


@pytest.mark.parametrize("address",
                         [Address("a\r\nDATA", "example.net"), Address("a", "example.net\n"),
                          Address("\u00f6", "example.net"),
                          Address("a", "\u00f6" * 80), Address("a\x7f", "example.net")])
def test_addresses_that_cannot_be_sent(address):
    with pytest.raises(Unsendable):
        rcpt(Recipient(address), EVERYTHING, False)
    with pytest.raises(Unsendable):
        mail(Message("id", address, (), 0.0), Extensions())


@pytest.mark.parametrize("features, offer", [
    ({}, Extensions()),
    ({"size": "", "pipelining": "", "8bitmime": "", "dsn": "", "starttls": ""},
     Extensions(True, True, False, True, True, 0)),
    ({"size": "ten"}, Extensions(size=0)),
    ({"size": "1024", "auth": " plain LOGIN"}, Extensions(size=1024, auth=("PLAIN", "LOGIN"))),
    ({"size": "9" * 30}, Extensions(size=0)), ({"size": "\u00b2"}, Extensions(size=0)),
])
def test_what_is_offered(features, offer):
    assert read_extensions(features) == offer
