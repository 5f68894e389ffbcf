"""Complete and check the header block of a submitted message: RFC 6409 sections 6.1 and 8. Pure.

Knows nothing of sockets, accounts or the store; the caller says whose an address is.

Which authors a message may have (RFC 6409 6.1, "enforced submission rights"): every address of From
is the user's own, and so is every address of this server in Sender, Resent-From and Resent-Sender;
so nobody writes as another user. A message that the user resends (the topmost Resent-From is their
own, RFC 5322 3.6.6) may keep an author from elsewhere; it is not signed, because that author did
not submit it.

A header that programs could read in more than one way is refused: an address that does not parse
strictly, an encoded word inside one, or a line that only some readers take for such a field.

Sender is added where neither From nor Resent-From names the sender: several authors, or an author
in another domain, in whose name an embedding program writes (RFC 5322 3.6.2; the signature is then
that of the sender's domain).
"""
import re

from ..mail import address, headers
from . import recipient_replies
from .recipient_replies import MessageRefused

# Whose an address is, for the user who submits.
OWN, NEIGHBOURS, FOREIGN = "own", "neighbour's", "foreign"

# Removed: blind copies (RFC 5322 3.6.3), and the field that only final delivery writes.
_DROPPED = frozenset((b"bcc", b"resent-bcc", b"return-path"))
_FROM, _RESENT_FROM = b"from", b"resent-from"
_AUTHORS = frozenset((_FROM, b"sender", _RESENT_FROM, b"resent-sender"))
_SENDERS = frozenset((b"sender", _RESENT_FROM))
_INVISIBLE = re.compile(rb"[^!-~]+")
_MOST_AUTHORS = 1000  # addresses whose owner is asked, as replies.TOO_MANY_AUTHORS says
_INCOMPLETE = (address.MISSING_LOCAL, address.MISSING_DOMAIN, address.BROKEN_DOMAIN)


def complete(header, sender, identity, host, date, whose=None):
    """A header block with its empty line, if it has one -> (the same, completed (bytes); whether
    all its authors are the sender's own, so that it may be signed).

    `sender`: Address of MAIL FROM or None; `identity`: bytes, unique on this `host` (str);
    `date`: bytes of RFC 5322 3.3. `whose(Address)` -> OWN, NEIGHBOURS or FOREIGN; None: the
    sender may write as anybody. Raises MessageRefused.
    """
    fields = headers.fields(header)
    names = {field.name.lower() for field in fields}
    may_sign = whose is None or _check_authors(fields, whose)
    added = []
    if sender is not None and not names & _SENDERS and _hides_sender(header, sender):
        added.append(b"Sender: <%s>\r\n" % str(sender).encode("utf-8"))
    if b"from" not in names and sender is not None:
        added.append(b"From: <%s>\r\n" % str(sender).encode("utf-8"))
    if b"date" not in names:
        added.append(b"Date: %s\r\n" % date)
    if b"message-id" not in names:
        added.append(b"Message-ID: <%s@%s>\r\n" % (identity, host.encode("utf-8")))
    if names & _DROPPED:
        header = b"".join([field.raw for field in fields
                           if field.name.lower() not in _DROPPED]) + _closing(header)
    return b"".join(added) + header, may_sign


def _closing(header):
    """The empty line at the end of a header block, which is no field."""
    return b"\r\n" if header.endswith(b"\r\n\r\n") or header == b"\r\n" else b""


def _hides_sender(header, sender):
    """Whether the From field does not name the envelope's sender."""
    value = headers.first(header, b"from")
    mailboxes = address.strict_mailboxes(value) if value is not None else None
    if not mailboxes:
        return False
    return len(mailboxes) > 1 or _domain(mailboxes[0]) != sender.domain


def _check_authors(fields, whose):
    """-> whether every address of From is the user's own. Raises MessageRefused."""
    found, asked = [], 0  # (field name, whose its addresses are)
    for field in fields:
        name = field.name.lower()
        if name in _AUTHORS:
            mailboxes = _mailboxes(name, field.value)
            asked += max(1, len(mailboxes))
            if asked > _MOST_AUTHORS:
                raise MessageRefused(recipient_replies.TOO_MANY_AUTHORS)
            found.append((name, {_owner(mailbox, whose) for mailbox in mailboxes}))
        elif _as_lenient_readers(field.raw) in _AUTHORS:
            raise MessageRefused(recipient_replies.UNCLEAR_AUTHOR)
    if any(NEIGHBOURS in owners for _, owners in found):
        raise MessageRefused(recipient_replies.NOT_THE_AUTHOR)
    is_own = all(owners == {OWN} for name, owners in found if name == _FROM)
    resent_from = next((owners for name, owners in found if name == _RESENT_FROM), None)
    if resent_from is not None and resent_from != {OWN} or resent_from is None and not is_own:
        raise MessageRefused(recipient_replies.NOT_THE_AUTHOR)
    return is_own


def _as_lenient_readers(raw):
    """The name of a field for programs that drop blanks, folds and control characters in it."""
    return _INVISIBLE.sub(b"", raw.partition(b":")[0]).lower()


def _mailboxes(name, value):
    """The mailboxes of an author's field. Raises MessageRefused if they are ambiguous."""
    mailboxes = address.strict_mailboxes(value)
    if mailboxes is None:
        raise MessageRefused(recipient_replies.UNCLEAR_AUTHOR)
    if not mailboxes and name in (_FROM, _RESENT_FROM):
        raise MessageRefused(recipient_replies.NO_AUTHOR)
    return mailboxes


def _owner(mailbox, whose):
    """Whose the address of a Mailbox is. Raises MessageRefused if it is malformed."""
    if mailbox.local in _INCOMPLETE or mailbox.domain in _INCOMPLETE:
        return NEIGHBOURS  # programs may read half an address as a name of this server
    if b"=?" in mailbox.local + mailbox.domain:  # forbidden by RFC 2047 5, yet some decode it
        raise MessageRefused(recipient_replies.UNCLEAR_AUTHOR)
    try:
        local, domain = [half.decode("utf-8") for half in (mailbox.local, mailbox.domain)]
        found = address.Address(local, address.parse_domain(domain))
        return whose(address.Address.parse(str(found)))
    except (UnicodeError, address.AddressError):
        raise MessageRefused(recipient_replies.UNCLEAR_AUTHOR)


def _domain(mailbox):
    """The domain of a Mailbox in A-labels; None if it is invalid."""
    try:
        return address.ascii_domain(mailbox.domain.decode("utf-8"))
    except (UnicodeError, address.AddressError):
        return None
