"""What relates the messages of a conversation: base subjects, and message identifiers. SORT and
THREAD (RFC 5256) compare messages by them.

The base subject is what a Subject field says without "Re:", "Fwd:" and list names (RFC 5256 section
2.1). Identifiers are in Message-ID, In-Reply-To and References (RFC 5322 section 3.6.4).

Pure. A text is read up to LONGEST characters, so that no subject costs more than a few
milliseconds.
"""
import re
from typing import List, NamedTuple

from ..text.collation import fold

LONGEST = 1024  # characters of a subject that count

# RFC 5256 section 5: subj-blob, subj-refwd with the blobs before it, subj-fwd-hdr.
_BLOB = re.compile(r"\[[^\[\]]*\] *")
_LEADER = re.compile(r"(?:\[[^\[\]]*\] *)*(?:re|fwd?) *(?:\[[^\[\]]*\] *)?: *", re.IGNORECASE)
_FORWARD = re.compile(r"\[fwd:(.*)\]\Z", re.IGNORECASE | re.DOTALL)
_TRAILER = "(fwd)"

# A quoted local part is the same as the plain one, so <"a"@b> and <a@b> are one (RFC 5256 section
# 3).
_IDENTITY = re.compile(
    rb'<\s*(?:"((?:[^"\\\r\n]|\\.){1,500})"|([^<>"@\s]{1,500}))\s*@\s*([^<>@\s]{1,500})\s*>')
_QUOTED_PAIR = re.compile(rb"\\(.)")


class BaseSubject(NamedTuple):
    """`text` is folded for comparison (text/collation.py); `reply`: the subject is that of a reply
    or a forwarded message."""
    text: str
    reply: bool


def base_subject(text: str) -> BaseSubject:
    """`text`: the decoded and unfolded value of a Subject field; "" where there is none."""
    text, reply = " ".join(text[:LONGEST].split()), False
    while True:
        text, found = _without_trailers(text)
        reply = reply or found
        text, found = _without_leaders(text)
        reply = reply or found
        forwarded = _FORWARD.match(text)
        if forwarded is None:
            return BaseSubject(fold(text), reply)
        text, reply = forwarded.group(1).strip(" "), True


def _without_trailers(text):
    """Step 2: (the text without each "(fwd)" at its end, whether there was one)."""
    found = False
    while text[-len(_TRAILER):].lower() == _TRAILER:
        text, found = text[:-len(_TRAILER)].rstrip(" "), True
    return text, found


def _without_leaders(text):
    """Steps 3 to 5: (the text without "Re:" and the like, and without list names, whether there was
    a "Re:"). A list name that is all of the subject stays."""
    start, reply = 0, False
    while True:
        leader = _LEADER.match(text, start)
        if leader is not None:
            start, reply = leader.end(), True
            continue
        blob = _BLOB.match(text, start)
        if blob is None or blob.end() == len(text):
            return text[start:], reply
        start = blob.end()


def identities(value: bytes) -> List[bytes]:
    """The value of a field -> its identifiers in order, each as local part @ domain without quotes
    and angle brackets. What is no identifier is passed over (RFC 5256 section 3)."""
    return [(plain or _QUOTED_PAIR.sub(rb"\1", quoted)) + b"@" + domain
            for quoted, plain, domain in _IDENTITY.findall(value)]
