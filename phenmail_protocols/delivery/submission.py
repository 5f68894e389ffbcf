"""What a mail program sent, made complete: RFC 6409 sections 6.1 and 8.  Pure.

In: the header block of a message that a user submits; out: the one that is kept.
Knows nothing of sockets, accounts or the store; who may write as whom is asked.

Whose name a message may carry (RFC 6409 6.1, "enforced submission rights"): every
address of From has to be the user's own, so that nobody writes as a neighbour.  A
message that is sent on unchanged keeps its author and has its Resent-From checked
in place of From (RFC 5322 3.6.6).

Who sent it is added as Sender where From does not say it: several authors, or an
author in another domain, in whose name a program that holds this server writes
(RFC 5322 3.6.2; it is then signed by the sender's domain).
"""
from ..mail import address, headers
from . import answers

# What goes away: who was told in secret (RFC 5322 3.6.3), and what only final delivery writes.
_DROPPED = frozenset((b"bcc", b"resent-bcc", b"return-path"))
_AUTHORS = frozenset((b"from", b"resent-from"))
_SENT_ON = b"resent-from"


def complete(header, sender, identity, host, date, may_write_as=None):
    """A header block with its empty line, if it has one -> the same, completed (bytes).

    `sender`: Address of MAIL FROM or None; `identity`: bytes, unique on this `host` (str);
    `date`: bytes of RFC 5322 3.3.  `may_write_as(Address) -> bool`; None allows all.
    Raises answers.Refused.
    """
    fields = headers.fields(header)
    names = {field.name.lower() for field in fields}
    if may_write_as is not None:
        _check_authors(header, names, may_write_as)
    added = []
    if sender is not None and b"sender" not in names and _hides_sender(header, sender):
        added.append(b"Sender: <%s>\r\n" % str(sender).encode("utf-8"))
    if b"from" not in names and sender is not None:
        added.append(b"From: <%s>\r\n" % str(sender).encode("utf-8"))
    if b"date" not in names:
        added.append(b"Date: %s\r\n" % date)
    if b"message-id" not in names:
        added.append(b"Message-ID: <%s@%s>\r\n" % (identity, host.encode("utf-8")))
    if names & _DROPPED:
        header = b"".join([field.raw for field in fields if field.name.lower() not in _DROPPED]) + _closing(header)
    return b"".join(added) + header


def _closing(header):
    """The empty line at the end of a header block, which is no field."""
    return b"\r\n" if header.endswith(b"\r\n\r\n") or header == b"\r\n" else b""


def _hides_sender(header, sender):
    """Whether the From field says somebody else than the envelope's sender."""
    value = headers.first(header, b"from")
    mailboxes = address.strict_mailboxes(value) if value is not None else None
    if not mailboxes:
        return False
    return len(mailboxes) > 1 or _address(mailboxes[0]).domain != sender.domain


def _check_authors(header, names, may_write_as):
    field = _SENT_ON if _SENT_ON in names else b"from"
    if field not in names:
        return  # RFC 5322 3.6 wants one: it is added, from the sender that MAIL FROM was checked for
    for value in headers.collect(header, _AUTHORS)[field]:
        mailboxes = address.strict_mailboxes(value)
        if mailboxes is None:
            raise answers.Refused(answers.UNCLEAR_AUTHOR)
        if not mailboxes:
            raise answers.Refused(answers.NO_AUTHOR)
        if not all(may_write_as(_address(mailbox)) for mailbox in mailboxes):
            raise answers.Refused(answers.NOT_THE_AUTHOR)


def _address(mailbox):
    """A Mailbox of the field -> Address."""
    return address.Address(mailbox.local.decode("utf-8", "replace"), mailbox.domain.decode("utf-8", "replace").lower())
