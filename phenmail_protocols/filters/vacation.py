"""Vacation answers: who must not get one, and who had one already.

RFC 3834 sections 2 and 3 say when a program may answer a person, RFC 5230 section 4 what a vacation
answer is. Messages are made here, and sent by the caller. Correspondents are remembered in one
small file in the mail folder, with no address in clear.
"""
import hashlib
import logging
import os
import threading
import time
from typing import NamedTuple, Tuple

from ..disk.atomic import write_file
from ..disk.regular_files import open_plain
from ..mail import automatic, dates, headers
from ..mail.address import ascii_domain
from ..mail.bounce import plain, references
from ..mail.envelope import Envelope, Recipient
from ..mail.writing import encoded_words, field, is_ascii, text_part
from ..text.clock import EARLIEST
from .matching import addresses_in

log = logging.getLogger("phenmail.filters")

FILE = "vacation.answered"
_MOST_REMEMBERED = 5000
_LONGEST_FILE = 256 * 1024
# From one user to everybody, because sender addresses cost a forger nothing.
_MOST_ANSWERS, _IN_SECONDS = 50, 3600.0
_DAY = 86400.0

_TO_WHOM = frozenset((b"to", b"cc", b"bcc", b"resent-to", b"resent-cc", b"resent-bcc"))


class Answer(NamedTuple):
    """A message to send: its mail.envelope.Envelope (sender <>), and its bytes in wire form as
    chunks.
    """
    envelope: Envelope
    chunks: Tuple[bytes, ...]


def obstacle(vacation, message, now):
    """Why a rules.FilteredMessage is not answered, in words; "" if it may be (once a period).

    `vacation`: settings.Vacation; `now`: epoch seconds.
    """
    if now < EARLIEST:
        return "the server's clock is wrong"
    if (vacation.since is not None and now < vacation.since
            or vacation.until is not None and now >= vacation.until):
        return "outside the vacation period"
    return (automatic.of_sender(message.sender) or automatic.of_judgement(message.auth)
            or _of_header(vacation, message))


def _of_header(vacation, message):
    reason = automatic.of_header(message.header)
    if reason:
        return reason
    found = headers.collect(message.header, _TO_WHOM | {b"x-loop"})

    def named(*names):
        return {address.lower() for name in names for value in found.get(name, ())
                for address in addresses_in(value)}
    own = {address.lower() for address in (str(message.recipient), _without_tag(message))
           + tuple(vacation.addresses)}
    senders = {automatic.correspondent(message.sender), str(message.sender).lower()}
    if own & (senders | named(b"x-loop")):
        return "it is the user's own"
    if not own & named(*_TO_WHOM):
        return "it does not name the user's address in To or Cc"
    return ""


def _without_tag(message):
    """The recipient's address without its tag."""
    address = message.recipient
    if message.tag and address.local.endswith("+" + message.tag):
        address = address._replace(local=address.local[:-len(message.tag) - 1])
    return str(address)


class Answers:
    """Decides who is answered. Any thread may ask.

    `host()`: this server's name; `clock()`: epoch seconds.
    """

    def __init__(self, host, clock=time.time):
        self._host = host
        self._clock = clock
        # One for each group of paths, so that one user's slow disk delays few others.
        self._locks = [threading.Lock() for _ in range(16)]

    def answer(self, folder, vacation, message):
        """The answer to a rules.FilteredMessage -> Answer, or None. Raises nothing.

        Ask once per message, when it is kept. The correspondent is noted on the disk before the
        answer is returned, so a crash may lose an answer and never repeats one.
        """
        try:
            now = self._clock()
            if (obstacle(vacation, message, now)
                    or not self._is_first(folder, vacation, message, now)):
                return None
            return made(vacation, message, self._host(), now)
        except Exception as error:
            log.warning("%s: no vacation answer: %r", folder, error)
            return None

    def _is_first(self, folder, vacation, message, now):
        path = os.path.join(folder, FILE)
        key = _key(vacation, message)
        with self._locks[hash(path) % len(self._locks)]:
            known = _read(path)
            last = known.get(key)
            # A time well in the future was written when the clock was wrong.
            if last is not None and now - vacation.period < last < now + _DAY:
                return False
            recent = [moment for moment in known.values()
                      if now - _IN_SECONDS < moment < now + _DAY]
            if len(recent) >= _MOST_ANSWERS:
                log.warning("%s: no vacation answer: %d were sent within an hour", folder,
                            _MOST_ANSWERS)
                return False
            known[key] = now
            write_file(path, _written(known))
        return True


def _key(vacation, message):
    """Identifies a correspondent and the words sent: other words are another vacation."""
    text = "\0".join((automatic.correspondent(message.sender), vacation.subject or "",
                      vacation.text))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def _read(path):
    """{key: epoch seconds}, empty without a file. Raises OSError if it is not a plain file."""
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
    return b"".join([b"%d %s\n" % (int(moment), key.encode("ascii", "replace"))
                     for key, moment in latest])


def made(vacation, message, host, now):
    """The answer to a rules.FilteredMessage -> Answer.

    `host`: this server's name; `now`: epoch seconds.
    """
    text = vacation.text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n") + "\n"
    form, body = text_part(text)
    moment, name = int(now), os.urandom(8).hex()
    header = b"".join([
        field("From", "<%s>" % str(plain(message.recipient)), utf8=True),
        field("To", "<%s>" % str(plain(message.sender)), utf8=True),
        field("Subject", encoded_words(vacation.subject or automatic.subject(message.header))),
        field("Date", dates.format_header(moment, dates.local_zone(moment))),
        field("Message-ID", "<vacation.%x.%s@%s>" % (moment, name, ascii_domain(host))),
        references(message.header),
        field("Auto-Submitted", "auto-replied"),
        field("X-Auto-Response-Suppress", "All"),
        field("MIME-Version", "1.0"), form, b"\r\n"])
    envelope = Envelope(None, (Recipient(message.sender, ("NEVER",)),),
                        smtputf8=not is_ascii(header))
    return Answer(envelope, (header, body))
