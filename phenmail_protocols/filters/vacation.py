"""Answers to those who write while a user is away: to whom none may go, and who had one already.

RFC 3834 says when a program may answer a person (sections 2 and 3), RFC 5230 section 4 what a vacation's answer is.  It makes
messages and sends none.  What it remembers is one small file in the mail folder, with no address in clear.
"""
import hashlib
import logging
import os
import threading
import time
from typing import NamedTuple, Tuple

from ..disk.atomic import write_file
from ..disk.plain import open_plain
from ..mail import automatic, dates, headers
from ..mail.address import ascii_domain
from ..mail.envelope import Envelope, Recipient
from ..mail.notices import plain, references
from ..mail.writing import encoded_words, field, fits_in_7_bits, is_ascii, quoted_printable
from ..text.clock import EARLIEST
from .matching import addresses_in

log = logging.getLogger("phenmail.delivery")

FILE = "vacation.answered"
_MOST_REMEMBERED = 5000
_LONGEST_FILE = 256 * 1024
_MOST_ANSWERS, _IN_SECONDS = 50, 3600.0  # of one user to all who write: sender addresses cost a forger nothing
_LONGEST_SUBJECT = 200
_DAY = 86400.0

_TO_WHOM = frozenset((b"to", b"cc", b"bcc", b"resent-to", b"resent-cc", b"resent-bcc"))


class Answer(NamedTuple):
    """A message to be sent: its mail.envelope.Envelope (the sender is <>), and its octets in wire form as chunks."""
    envelope: Envelope
    chunks: Tuple[bytes, ...]


def obstacle(vacation, letter, now):
    """Why a filters.Letter is not answered, in words for a line; "" where it may be (once in a period).

    `vacation`: settings.Vacation; `now`: epoch seconds.
    """
    if now < EARLIEST:
        return "the clock of this machine is wrong"
    if vacation.since is not None and now < vacation.since or vacation.until is not None and now >= vacation.until:
        return "it is not the time of the vacation"
    return automatic.of_sender(letter.sender) or automatic.of_judgement(letter.auth) or _of_header(vacation, letter)


def _of_header(vacation, letter):
    reason = automatic.of_header(letter.header)
    if reason:
        return reason
    found = headers.collect(letter.header, _TO_WHOM | {b"x-loop"})
    own = {_same(str(letter.recipient)), _same(_without_tag(letter))} | {_same(address) for address in vacation.addresses}
    if automatic.correspondent(letter.sender) in own or _same(str(letter.sender)) in own or any(own.intersection(map(_same, addresses_in(value))) for value in found.get(b"x-loop", ())):
        return "it is the user's own"
    named = {_same(address) for name in _TO_WHOM for value in found.get(name, ()) for address in addresses_in(value)}
    if not own & named:
        return "it does not name the user's address in To or Cc"
    return ""


def _same(address):
    return address.lower()


def _without_tag(letter):
    """The recipient's address as its owner gives it to people."""
    address = letter.recipient
    if letter.tag and address.local.endswith("+" + letter.tag):
        address = address._replace(local=address.local[:-len(letter.tag) - 1])
    return str(address)


class Answers:
    """Who is answered.  Any thread may ask.  `host()` gives the name of this server, `clock()` epoch seconds."""

    def __init__(self, host, clock=time.time):
        self._host = host
        self._clock = clock
        self._locks = [threading.Lock() for _ in range(16)]  # one user's disk holds up few others

    def answer(self, folder, vacation, letter):
        """What a Letter's sender gets -> an Answer, or None.  Raises nothing.

        Ask once for each message, when it is kept: that somebody was answered is noted (on the disk) before the answer is
        given out, so a crash may lose one and never repeats one.
        """
        try:
            now = self._clock()
            if obstacle(vacation, letter, now) or not self._is_first(folder, vacation, letter, now):
                return None
            return made(vacation, letter, self._host(), now)
        except Exception as error:
            log.warning("%s: the vacation's answer was not made: %r", folder, error)
            return None

    def _is_first(self, folder, vacation, letter, now):
        path = os.path.join(folder, FILE)
        key = _key(vacation, letter)
        with self._locks[hash(path) % len(self._locks)]:
            known = _read(path)
            last = known.get(key)
            # A moment well ahead was written when the clock was wrong.
            if last is not None and now - vacation.period < last < now + _DAY:
                return False
            if sum([now - _IN_SECONDS < moment < now + _DAY for moment in known.values()]) >= _MOST_ANSWERS:
                log.warning("%s: no vacation answer: %d went out within the hour", folder, _MOST_ANSWERS)
                return False
            known[key] = now
            write_file(path, _written(known))
        return True


def _key(vacation, letter):
    """Who was told what: other words make it another vacation."""
    text = "\0".join((automatic.correspondent(letter.sender), vacation.subject or "", vacation.text))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def _read(path):
    """{key: epoch seconds}; nothing where there is no file that can be read.  Raises OSError for what is no plain file."""
    try:
        file = open_plain(path)
    except FileNotFoundError:
        return {}
    with file:
        lines = file.read(_LONGEST_FILE).split(b"\n")
    known = {}
    for line in lines:
        moment, _, key = line.partition(b" ")
        if moment.isdigit() and len(moment) < 15 and len(key) == 32:
            known[key.decode("ascii", "replace")] = float(moment)
    return known


def _written(known):
    latest = sorted(known.items(), key=lambda item: item[1])[-_MOST_REMEMBERED:]
    return b"".join([b"%d %s\n" % (int(moment), key.encode("ascii", "replace")) for key, moment in latest])


def made(vacation, letter, host, now):
    """The answer to a Letter -> Answer.  `host`: the name of this server; `now`: epoch seconds."""
    text = vacation.text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n") + "\n"
    body = text.encode("utf-8", "replace").replace(b"\n", b"\r\n")
    if fits_in_7_bits(body):
        form = b"Content-Type: text/plain; charset=us-ascii\r\n"
    else:
        body = quoted_printable(body)
        form = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"
    writer, reader = plain(letter.recipient), plain(letter.sender)
    header = b"".join([
        field("From", "<%s>" % str(writer), utf8=True),
        field("To", "<%s>" % str(reader), utf8=True),
        field("Subject", encoded_words(vacation.subject or _subject(letter.header))),
        field("Date", dates.format_header(int(now), dates.local_zone(int(now)))),
        field("Message-ID", "<vacation.%x.%s@%s>" % (int(now), os.urandom(8).hex(), ascii_domain(host))),
        references(letter.header),
        field("Auto-Submitted", "auto-replied"),
        field("X-Auto-Response-Suppress", "All"),
        field("MIME-Version", "1.0"), form, b"\r\n"])
    envelope = Envelope(None, (Recipient(letter.sender, ("NEVER",)),), smtputf8=not is_ascii(header))
    return Answer(envelope, (header, body))


def _subject(header):
    """RFC 3834 section 3.1.5."""
    value = headers.first(header, b"subject")
    text = " ".join(headers.decode(value).split()) if value is not None else ""
    return "Auto: " + (text[:_LONGEST_SUBJECT] or "your message")
