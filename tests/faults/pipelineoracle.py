"""What a server has promised of mail for its own users, whatever becomes of it, and whether what is
found at its ends keeps it.

It hears what was submitted and answered, what came to which end, and, each time that the server
died, what was still to come by what is on the disk; it opens no file and no connection. A message
is known by its token. An end is a name (str): an address at the next hop, a mailbox, the folder of
a program or of a plugin.

At a death a message has come to an end so often, and by the disk it will come there so often;
together that is how often it may come. More than once in all: only where something still waits for
that end that had it already, so the death came between the hand-over and the note of it. Without a
death this never grows.
"""
import collections

from .relayoracle import Arrival

_ANSWER = "answer "


class Content:
    """What a message is: its `token`; `failed`: addresses that failed, where it is a notice;
    `trouble`: what is not whole.

    An answer of somebody who is away has its Message-ID for a token.
    """

    __slots__ = ("token", "failed", "trouble")

    def __init__(self, octets):
        """`octets`: with CRLF."""
        header = octets.partition(b"\r\n\r\n")[0]
        name = header.partition(b"\r\nMessage-ID: ")[2].partition(b"\r\n")[0]
        if name.startswith(b"<vacation."):
            self.token, self.failed, self.trouble = _ANSWER + name.decode("ascii"), (), ""
        else:
            read = Arrival(octets, ())
            self.token, self.failed, self.trouble = read.token, read.failed, read.trouble

    def ends(self, place):
        """Where it has come to, or is on its way to: `place`, or a notice's reader."""
        return ["told of " + address for address in self.failed] or [place]


class PipelineOracle:
    """Tells which promises were broken. `repeated`, `unanswered` are for who wants to know."""

    def __init__(self):
        self._ends = {}                             # token -> the names of all its ends
        # token -> True, False, None: the server died before it answered
        self._accepted = {}
        self._open = set()                          # tokens of which not all is known yet
        self._arrived = collections.Counter()       # (token, end) -> times
        self._allowed = {}                          # (token, end) -> times, where more than one
        # who wrote to somebody who is away -> tokens of the answers
        self._answers = {}
        # who wrote so, and was told that it was accepted
        self._wrote = set()
        self._is_power_lost = False
        self._broken = []

    @property
    def repeated(self):
        """Tokens of messages that came twice to one of their ends."""
        return {token for (token, _), count in self._arrived.items() if count > 1}

    @property
    def unanswered(self):
        """Who wrote to somebody who is away, and got no answer."""
        return self._wrote - set(self._answers)

    def submit(self, token, ends):
        self._ends[token], self._accepted[token] = tuple(ends), None
        self._open.add(token)

    def ends(self, token):
        """The names of all ends of a message."""
        return self._ends[token]

    def answer(self, token, is_accepted, writer=None):
        """`writer`: who will have an answer, since somebody is away."""
        self._accepted[token] = is_accepted
        if is_accepted and writer:
            self._wrote.add(writer)

    def hear(self, content, end):
        """A message came to an end."""
        if content.trouble:
            self._broken.append("half at %s: %s" % (end, content.trouble))
            return
        for place in content.ends(end):
            self._arrived[content.token, place] += 1
            self._open.add(content.token)
            if content.token.startswith(_ANSWER):
                self._answers.setdefault(place, set()).add(content.token)
            elif place not in self._ends.get(content.token, ()):
                self._broken.append("%s came to %s, which is none of its ends %s"
                                    % (content.token, place, self._ends.get(content.token)))

    def power_lost(self):
        """What was done without waiting for the disk is undone: what waits by the disk may have
        been delivered long ago."""
        self._is_power_lost = True

    def died(self, waiting):
        """The server is dead; `waiting`: Counter of (token, end), what is to come by what is on the
        disk."""
        for key, count in waiting.items():
            foreseen = self._arrived[key] + count
            allowed = self._allowed.get(key, 1)
            if foreseen > allowed + count and not self._is_power_lost:
                self._broken.append("%s: %d times at %s, and %d more by the disk"
                                    % (key[0], self._arrived[key], key[1], count))
            self._allowed[key] = max(allowed, foreseen)
            self._open.add(key[0])
        self._is_power_lost = False

    def settled(self):
        """Nothing waits any more -> broken promises (list of str)."""
        broken, self._broken = self._broken, []
        for token in sorted(self._open):
            broken += self._faults(token)
        for writer, answers in self._answers.items():
            if len(answers) > 1:
                broken.append("%s was told %d times that somebody is away" % (writer, len(answers)))
        self._open = set()
        return broken

    def _faults(self, token):
        for place in self._ends.get(token, ()):
            if self._accepted[token] and not self._arrived[token, place]:
                yield "%s was accepted, and is not at %s" % (token, place)
            if self._accepted[token] is False and self._arrived[token, place]:
                yield "%s was not accepted, and is at %s" % (token, place)
        for (each, place), count in list(self._arrived.items()):
            if each == token and count > self._allowed.get((token, place), 1):
                yield "%s is %d times at %s, and %d are explained" % (
                    token, count, place, self._allowed.get((token, place), 1))
