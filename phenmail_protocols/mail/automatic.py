"""Mail that no program may answer: what programs, lists and nobody sent.  Pure.

RFC 3834 sections 2 and 5 (Auto-Submitted), RFC 2919 and 2369 (lists).  Whoever writes an answer that no person has asked for
asks here first, so that two programs never write to each other without end.
"""
from . import headers
from .address import AddressError, ascii_domain

_LISTS = frozenset((b"list-id", b"list-help", b"list-subscribe", b"list-unsubscribe", b"list-post", b"list-owner",
                    b"list-archive", b"mailing-list", b"x-mailing-list"))
_MARKS = frozenset((b"auto-submitted", b"precedence", b"x-auto-response-suppress", b"x-spam-flag"))
_LONGEST_SUBJECT = 200
_BULK = ("bulk", "list", "junk")
_PROGRAMS = frozenset(("mailer-daemon", "listserv", "majordomo", "noreply", "no-reply", "no_reply", "donotreply", "do-not-reply",
                       "nobody", "root", "daemon"))
_PROGRAM_BEGINS = ("owner-", "bounce", "noreply", "no-reply", "do-not-reply", "prvs=bounce")
_PROGRAM_ENDS = ("-request", "-owner", "-bounces", "-bounce", "-relay", "-errors")


def obstacle(sender, header):
    """Why a message gets no answer, in words for a line; "" where it may have one.

    `sender`: the Address of its envelope, None for <>; `header`: its header block, octets.
    """
    return of_sender(sender) or of_header(header)


def of_sender(sender):
    """The same, by the envelope's sender alone."""
    if sender is None:
        return "it is a bounce or a notice (it has no sender)"
    local = sender.local.lower()
    if local in _PROGRAMS or local.startswith(_PROGRAM_BEGINS) or local.endswith(_PROGRAM_ENDS):
        return "its sender is a program"
    return ""


def correspondent(address):
    """Whom an Address belongs to, for counting answers -> str: whatever its case, its "+tag" and the spelling of its domain."""
    local = address.local.partition("+")[0] or address.local
    try:
        domain = ascii_domain(address.domain)
    except AddressError:
        domain = address.domain
    return "%s@%s" % (local.lower(), domain.lower())


def of_judgement(auth):
    """The same, by how the message was judged: "spf=pass dkim=none dmarc=fail" (authentication.results), or ""."""
    words = auth.lower().split()
    if "dmarc=fail" in words or ("spf=fail" in words and "dkim=pass" not in words):
        return "its sender may be forged"
    return ""


def of_header(header):
    """The same, by the header alone."""
    found = headers.collect(header, _LISTS | _MARKS)
    if not _LISTS.isdisjoint(found):
        return "it came over a mailing list"

    def words(name):
        return [headers.decode(value).lower().strip() for value in found.get(name, ())]

    if any(not _says_no(value) for value in words(b"auto-submitted")):
        return "a program wrote it (Auto-Submitted)"
    if any(value in _BULK for value in words(b"precedence")):
        return "it is bulk mail (Precedence)"
    if any(part.strip() in ("all", "oof", "autoreply") for value in words(b"x-auto-response-suppress") for part in value.split(",")):
        return "its sender wants no answer (X-Auto-Response-Suppress)"
    if any(value.startswith("yes") for value in words(b"x-spam-flag")):
        return "it is spam (X-Spam-Flag)"
    return ""


def _says_no(value):
    """RFC 3834 section 5: parameters and comments may stand behind the word."""
    return value.partition(";")[0].partition("(")[0].strip() == "no"


def subject(header):
    """The Subject of an automatic answer to a message with this header (RFC 3834 section 3.1.5)."""
    value = headers.first(header, b"subject")
    text = " ".join(headers.decode(value).split()) if value is not None else ""
    return "Auto: " + (text[:_LONGEST_SUBJECT] or "your message")
