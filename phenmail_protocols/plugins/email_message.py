"""A queued message as plugins get it: Python's own EmailMessage, and where it came from.

It is read by the `email` package, which is loaded here and not before.  Its policy is the default one, but fields that are not
touched are written as they came; so a plugin may change one field and send the rest on.  A message that would cost the parser
much more than its size says (a million lines, hundreds of multiparts in each other) is not read.
"""
import re
from typing import NamedTuple

from ..delivery.trace import traced_octets
from ..mail import automatic, headers

_HEADER_LIMIT = 256 * 1024
_RESULTS = b"Authentication-Results:"
_RESULT = re.compile(rb"[ \t]((?:spf|dkim|dmarc)=[a-z]+)")
_MOST_LINES = 1000000
# The parser compares each line with the boundaries of all multiparts around it: 50 million times are some 10 s.
_MOST_COMPARED = 50000000


class Unreadable(Exception):
    """The message is built in a way that is not read."""


class _Known(NamedTuple):
    """What is known of a message beside what stands in it.

    `sender`: the envelope's, "" for a bounce or a notice (<>).  `recipient`: the address that it came for; `tag`: what stood
    behind its "+", or "".  `identity`: the message's name in the queue and the log; the same when it comes again after a
    failure.  `arrived`: epoch seconds.  `automatic`: why no program should answer it (RFC 3834), "" where one may.
    """
    sender: str
    recipient: str
    tag: str
    identity: str
    arrived: float
    automatic: str


class Origin(_Known):
    """As _Known, and what changes from answer to answer; two are equal that know the same."""

    rate = str  # callable that counts an answer -> why there may be none now, or ""

    def obstacle(self):
        """Why its sender gets no automatic answer now, "" where one may go out -> str.

        "" counts as an answer: a sender gets few of them in an hour, whatever tags either address has, and all senders together
        have a bound.  Asking again about the same message counts nothing.
        """
        return self.automatic or self.rate()


def read(message, body, recipient, tag):
    """A queue.model.Message with its octets, for an Address -> (email.message.EmailMessage, Origin).

    Lines end with LF in it; Return-Path and Delivered-To stand first.  `body`: a binary file that can be sought in.  Raises
    Unreadable, OSError.
    """
    body.seek(0)
    header = headers.split_header(message.head + body.read(_HEADER_LIMIT))[0]
    body.seek(0)
    origin = Origin("" if message.sender is None else str(message.sender), str(recipient), tag or "", message.identity,
                    message.arrived, automatic.of_judgement(_judged(message.head)) or automatic.obstacle(message.sender, header))
    try:
        return _parsed(traced_octets(message, recipient, body), message.smtputf8), origin
    except (OSError, MemoryError, Unreadable):
        raise
    except Exception as error:  # each version of the package has some, and RecursionError is one
        raise Unreadable(repr(error))


def _judged(head):
    """How the message was judged when it came, as authentication.results writes it: all fields of a head are our own."""
    return " ".join([word.decode("ascii") for word in _RESULT.findall(head)]) if head.startswith(_RESULTS) else ""


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
