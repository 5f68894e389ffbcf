"""DMARC (RFC 9989, which replaced RFC 7489): policy records and alignment.

Knows no resolver: the caller gives `ask`. An invalid tag of a record is ignored, and the policy
holds. Two deliberate differences from the RFC: an invalid sp= or np= is ignored like any other tag
(4.7), where 4.10.1 would drop the whole record; and a top-level domain is never an organizational
domain, even if its record lacks psd=y.
"""
from typing import NamedTuple, Optional

from ..mail import taglist

POLICIES = ("none", "quarantine", "reject")
# Authors of one message whose policies are looked up. If policies are enforced, a message with
# more is refused: otherwise the first five could hide the policy of the sixth.
MOST_AUTHORS = 5

_MOST_LABELS = 7  # of a parent domain in the tree walk (RFC 9989 4.10)


class Record(NamedTuple):
    """`policy`, `subdomains`, `missing`: of POLICIES, for the domain (p=), its subdomains (sp=),
    and its subdomains that do not exist (np=); `adkim`, `aspf`: "r" or "s"; `suffix`: psd= ("y",
    "n" or "u"); `testing`: t=y.
    """
    policy: str = "none"
    subdomains: str = "none"
    missing: str = "none"
    adkim: str = "r"
    aspf: str = "r"
    suffix: str = "u"
    testing: bool = False


class Found(NamedTuple):
    """The policy for an author's domain. `record`: None if there is none; `policy`: of POLICIES;
    `organizational`: its organizational domain."""
    record: Optional[Record]
    policy: str
    organizational: str


def read(text):
    """A TXT record (bytes) -> Record (RFC 9989 4.7).

    None if it is not a DMARC record, or has an unknown p= and no rua= (4.10.1).
    """
    if not is_record(text):
        return None
    tags = {}
    for name, value in taglist.readable(text):
        if value:
            tags.setdefault(name.decode("ascii"), value.decode("utf-8", "replace").lower())

    def one_of(name, values, default):
        return tags[name] if tags.get(name) in values else default
    policy = one_of("p", POLICIES, POLICIES[0])
    if policy != tags.get("p", policy) and ":" not in tags.get("rua", ""):
        return None  # with rua= it would count as p=none
    subdomains = one_of("sp", POLICIES, policy)
    return Record(policy, subdomains, one_of("np", POLICIES, subdomains),
                  one_of("adkim", ("r", "s"), "r"), one_of("aspf", ("r", "s"), "r"),
                  one_of("psd", ("y", "n", "u"), "u"), tags.get("t") == "y")


def is_record(text):
    """Whether a TXT record (bytes) begins with the tag v (in any case) and exactly DMARC1."""
    return taglist.readable(text.partition(b";")[0]) == [(b"v", b"DMARC1")]


def find(domain, ask):
    """An author's domain (A-labels) -> Found.

    `ask(name, kind)` -> tuple of records, TXT as bytes. Raises what `ask` raises.
    """
    walked = _walk(domain, ask)
    records = dict(walked)
    organizational = _organizational(domain, walked)
    record = records.get(domain)
    if record is not None:
        return Found(record, record.policy, organizational)
    record = records.get(organizational)
    if record is None and walked and _is_suffix(*walked[-1]):
        record = walked[-1][1]
    if record is None:
        return Found(None, POLICIES[0], organizational)
    exists = record.missing == record.subdomains or any(
        ask(domain, kind) for kind in ("A", "AAAA", "MX"))
    return Found(record, record.subdomains if exists else record.missing, organizational)


def is_aligned(domain, author, found, is_strict, ask):
    """Whether an authenticated domain is aligned with the author's (RFC 9989 4.4).

    `found`: of the author, from `find`. Asks only about domains below the author's organizational
    domain, so that no other zone can delay the answer.
    """
    if domain == author or is_strict:
        return domain == author
    if domain != found.organizational and not domain.endswith("." + found.organizational):
        return False
    return _organizational(domain, _walk(domain, ask)) == found.organizational


def _walk(domain, ask):
    """The tree walk (RFC 9989 4.10) -> [(name, Record)], the longest name first."""
    labels, walked = domain.split("."), []
    counts = range(min(len(labels) - 1, _MOST_LABELS), 0, -1)
    for name in [domain] + [".".join(labels[-count:]) for count in counts]:
        found = [text for text in ask("_dmarc." + name, "TXT") if is_record(text)]
        record = read(found[0]) if len(found) == 1 else None  # several count as none
        if record is None:
            continue
        walked.append((name, record))
        if record.suffix != "u":
            break
    return walked


def _is_suffix(name, record):
    return record.suffix == "y" or "." not in name


def _organizational(domain, walked):
    for name, record in walked:
        if record.suffix == "n":
            return name
        if name != domain and _is_suffix(name, record):
            return ".".join(domain.split(".")[-name.count(".") - 2:])
    return walked[-1][0] if walked else domain
