"""Which mail must not be answered automatically: mail from programs, from lists, from nobody.

Everything that writes automatic answers asks here first, so that two programs never write to each
other without end. Pure. RFC 3834 sections 2 and 5 (Auto-Submitted), RFC 2919 and 2369 (lists).
"""
from . import headers
from .address import AddressError, ascii_domain

_LISTS = frozenset((b"list-id", b"list-help", b"list-subscribe", b"list-unsubscribe", b"list-post",
                    b"list-owner", b"list-archive", b"mailing-list", b"x-mailing-list"))
_MARKS = frozenset((b"auto-submitted", b"precedence", b"x-auto-response-suppress", b"x-spam-flag"))
_LONGEST_SUBJECT = 200
_BULK = ("bulk", "list", "junk")
_SUPPRESSES = ("all", "oof", "autoreply")
_PROGRAMS = frozenset((
    "mailer-daemon", "listserv", "majordomo", "noreply", "no-reply", "no_reply", "donotreply",
    "do-not-reply", "nobody", "root", "daemon"))
_PROGRAM_BEGINS = ("owner-", "bounce", "noreply", "no-reply", "do-not-reply", "prvs=bounce")
_PROGRAM_ENDS = ("-request", "-owner", "-bounces", "-bounce", "-relay", "-errors")


def obstacle(sender, header):
    """Why a message must not be answered, in words for a log line; "" if it may be.

    `sender`: the Address of its envelope, None for <>; `header`: its header, bytes.
    """
    return of_sender(sender) or of_header(header)


def of_sender(sender):
    """The obstacle in the envelope's sender, as `obstacle` returns it."""
    if sender is None:
        return "it is a bounce or a notice (it has no sender)"
    local = sender.local.lower()
    if (local in _PROGRAMS or local.startswith(_PROGRAM_BEGINS)
            or local.endswith(_PROGRAM_ENDS)):
        return "its sender is a program"
    return ""


def of_judgement(auth):
    """The obstacle in an authentication result such as "spf=pass dkim=none dmarc=fail", or ""."""
    words = auth.lower().split()
    if "dmarc=fail" in words or ("spf=fail" in words and "dkim=pass" not in words):
        return "its sender may be forged"
    return ""


def of_header(header):
    """The obstacle in the header, as `obstacle` returns it."""
    found = headers.collect(header, _LISTS | _MARKS)
    if not _LISTS.isdisjoint(found):
        return "it came over a mailing list"

    def words(name):
        return [headers.decode(value).lower().strip() for value in found.get(name, ())]

    if any(not _says_no(value) for value in words(b"auto-submitted")):
        return "a program wrote it (Auto-Submitted)"
    if any(value in _BULK for value in words(b"precedence")):
        return "it is bulk mail (Precedence)"
    if any(part.strip() in _SUPPRESSES for value in words(b"x-auto-response-suppress")
           for part in value.split(",")):
        return "its sender wants no answer (X-Auto-Response-Suppress)"
    if any(value.startswith("yes") for value in words(b"x-spam-flag")):
        return "it is spam (X-Spam-Flag)"
    return ""


def _says_no(value):
    """RFC 3834 section 5: parameters and comments may follow the word."""
    return value.partition(";")[0].partition("(")[0].strip() == "no"


def correspondent(address):
    """Whom an Address belongs to, for counting answers -> str.

    Case, "+tag" and the spelling of the domain make no difference.
    """
    local = address.local.partition("+")[0] or address.local
    try:
        domain = ascii_domain(address.domain)
    except AddressError:
        domain = address.domain
    return "%s@%s" % (local.lower(), domain.lower())


def subject(header):
    """The Subject of an automatic answer to a message with this header (RFC 3834 section 3.1.5)."""
    text = " ".join(headers.decode(headers.first(header, b"subject") or b"").split())
    return "Auto: " + (text[:_LONGEST_SUBJECT] or "your message")
