"""A queued message as plugins get it: an EmailMessage, and its origin.

The `email` package is loaded here on first use. The policy is the default one, except that
unchanged fields are written as they came, so a plugin can change one field and send the rest on.
Messages that would cost the parser far more than their size suggests (a million lines, hundreds of
nested multiparts) are not parsed.
"""
import re
from typing import NamedTuple

from ..delivery.trace import traced_octets
from ..mail import automatic, headers

_HEADER_LIMIT = 256 * 1024
_RESULTS = b"Authentication-Results:"
_RESULT = re.compile(rb"[ \t]((?:spf|dkim|dmarc)=[a-z]+)")
_MOST_LINES = 1000000
# The parser compares each line with the boundaries of all multiparts around it. 50 million
# comparisons take some 10 s.
_MOST_COMPARED = 50000000


class Unreadable(Exception):
    """The message's structure is too costly or broken to parse."""


class _Known(NamedTuple):
    """What is known of a message besides its content.

    `sender`: of the envelope, "" for <>. `recipient`: its address; `tag`: the part after its "+",
    or "". `identity`: the message's id in the queue and the log, the same on a retry. `arrived`:
    epoch seconds. `automatic`: why no program should answer it (RFC 3834), "" if one may.
    """
    sender: str
    recipient: str
    tag: str
    identity: str
    arrived: float
    automatic: str


class Origin(_Known):
    """As _Known, with the answer rate. Two with the same values are equal."""

    rate = str  # callable that counts an answer -> why there may be none now, or ""

    def obstacle(self):
        """Why the sender gets no automatic answer now, "" if one may be sent -> str.

        "" counts as an answer: a sender gets few in an hour, whatever the tags of either address,
        and all senders together have a bound. A message counts once, even if it is retried.
        """
        return self.automatic or self.rate()


def read(message, body, recipient, tag):
    """A queue.model.Message for an Address -> (email.message.EmailMessage, Origin).

    It has LF line ends and begins with Return-Path and Delivered-To. `body`: its bytes, a seekable
    binary file. Raises Unreadable, OSError.
    """
    body.seek(0)
    header = headers.split_header(message.head + body.read(_HEADER_LIMIT))[0]
    body.seek(0)
    origin = Origin("" if message.sender is None else str(message.sender), str(recipient),
                    tag or "", message.identity, message.arrived,
                    automatic.of_judgement(_judged(message.head))
                    or automatic.obstacle(message.sender, header))
    try:
        return _parsed(traced_octets(message, recipient, body), message.smtputf8), origin
    except (OSError, MemoryError, Unreadable):
        raise
    except Exception as error:  # each version of the package has its own, even RecursionError
        raise Unreadable(repr(error))


def _judged(head):
    """The judgement as authentication.results wrote it: all fields in a head are our own."""
    if not head.startswith(_RESULTS):
        return ""
    return " ".join([word.decode("ascii") for word in _RESULT.findall(head)])


def _parsed(pieces, utf8):
    from email import policy
    from email.parser import BytesFeedParser
    parser = BytesFeedParser(policy=policy.default.clone(refold_source="none", utf8=utf8))
    lines = multiparts = 0
    for piece in pieces:
        lines += piece.count(b"\n")
        multiparts += piece.lower().count(b"multipart/")
        if lines > _MOST_LINES or lines * multiparts > _MOST_COMPARED:
            raise Unreadable("%d lines and %d multiparts" % (lines, multiparts))
        parser.feed(piece)
    return parser.close()
