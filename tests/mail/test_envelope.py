"""Envelopes: what a transport leaves out means what the RFCs say it means."""
from phenmail_protocols.mail.address import Address
from phenmail_protocols.mail.envelope import Envelope, Recipient


def test_what_is_not_given():
    recipient = Recipient(Address.parse("user@example.org"))
    assert (recipient.notify, recipient.orcpt) == ((), None)
    null = Envelope(None, (recipient,))
    assert (null.sender, null.ret, null.envid, null.smtputf8,
            null.body) == (None, None, None, False, None)


def test_envelopes_are_values():
    one = Envelope(Address("a", "example.org"), (Recipient(Address("b", "example.org"), ("NEVER",)),
                                                 ))
    assert one == one._replace(body=None) and hash(one) == hash(one._replace())
    assert one != one._replace(smtputf8=True)
