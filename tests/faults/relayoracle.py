"""What a server has promised of mail that leaves, and whether what arrived keeps it.

It hears what was submitted and answered, what the next hops took, what lay in the queue's files
each time that the server died, and what is in the mailboxes; it opens no file and no connection. A
message is known by its token, a recipient by its address, whose local part says what becomes of it:
"kept" in a mailbox here, "taken" by the hop, "later" (after one temporary refusal), "refused" at
RCPT, "rejected" after the final dot; the last two come back to the sender.
"""
import collections
import email
import re

from .oracle import read_message

BOUNCED = ("refused", "rejected")

_IDENTITY = re.compile(br"^Received: (?:[^\r\n]|\r\n[ \t])*? id ([0-9a-f.]+)", re.MULTILINE)


class Arrival:
    """A message at one of its ends, or on the way there: its `identity` in the queue, its `token`,
    for which `addresses` it is; `failed`: the addresses of which it tells that they failed, where
    it is a notice; `trouble`: what is not whole."""

    __slots__ = ("identity", "token", "failed", "trouble", "addresses")

    def __init__(self, octets, addresses):
        """`octets`: with CRLF."""
        found = _IDENTITY.search(octets)
        self.identity = found.group(1).decode("ascii") if found else ""
        self.addresses, self.failed, self.trouble = addresses, (), ""
        if b"multipart/report" in octets.partition(b"\r\n\r\n")[0]:
            self._read_notice(octets)
        else:
            seen = read_message(octets)
            self.token, self.trouble = seen.token, seen.trouble

    def _read_notice(self, octets):
        human, status, returned = email.message_from_bytes(octets).get_payload()
        fields = status.get_payload()[1:]
        assert [each["Action"] for each in fields] == ["failed"] * len(
            fields) and human.get_payload()
        self.failed = tuple([each["Final-Recipient"].partition(";")[2].strip() for each in fields])
        content = returned.get_payload()
        self.token = (content[0] if isinstance(content, list)
                      else email.message_from_string(content))["X-Token"]


class Promise:
    """One message as it was submitted; `codes`: the answer for each address, None where the server
    died before it answered."""

    __slots__ = ("addresses", "codes")

    def __init__(self, addresses):
        self.addresses, self.codes = addresses, None


class RelayOracle:
    """Tells after each settled queue which promises were broken."""

    def __init__(self):
        self._open = {}                             # token -> Promise
        # (token, address) -> times at the hop or in the mailbox
        self._arrived = collections.Counter()
        # (token, address) -> times that its sender was told
        self._told = collections.Counter()
        # the same, "told" before them for notices -> repetitions that deaths explain
        self._excused = collections.Counter()
        self._notices = {}                          # (token, address) -> identities of notices
        # (token, address) -> how many there were as the server died and still owed one
        self._owed = {}
        self._known, self._loose = set(), set()     # tokens; those that a power loss may bring back
        self._heard = []                            # Arrivals of the present life
        self._broken = []
        self.repeats = collections.Counter()

    def submit(self, token, addresses):
        self._open[token] = Promise(addresses)
        self._known.add(token)

    def answer(self, token, codes):
        """The reply codes, one for each address."""
        self._open[token].codes = dict(zip(self._open[token].addresses, codes))

    def hear(self, arrival):
        """Something came to its end."""
        self._heard.append(arrival)
        if arrival.trouble:
            self._broken.append("half: " + arrival.trouble)
        elif arrival.token not in self._open and arrival.token not in self._loose:
            self._broken.append("%s arrives long after it was settled, for %s"
                                % (arrival.token, arrival.addresses))
        elif arrival.failed:
            self._note_notice(arrival)
            self._told.update((arrival.token, address) for address in arrival.failed)
        else:
            self._arrived.update((arrival.token, address) for address in arrival.addresses)

    def died(self, queued):
        """The server is dead; `queued`: {identity: (Arrival made of its octets, tuple of
        model.Recipient)} as the disk has it.

        What arrived in this life and is still waited for, or owed, on the disk, will be repeated,
        once: the answer was cut off.
        """
        for content, _ in queued.values():
            self._note_notice(content)
        for content, recipients in queued.values():
            for recipient in recipients:
                address = str(recipient.address)
                if recipient.status == "waiting" and self._was_heard(content.identity, address):
                    self._excused.update([("told", content.token, failed)
                                          for failed in content.failed] or
                                         [(content.token, address)])
                if recipient.owed:
                    self._owed[content.token, address] = len(
                        self._notices.get((content.token, address), ()))
        self._heard = []

    def _was_heard(self, identity, address):
        return any(each.identity == identity and address in each.addresses for each in self._heard)

    def _note_notice(self, arrival):
        for address in arrival.failed:
            self._notices.setdefault((arrival.token, address), set()).add(arrival.identity)

    def power_lost(self):
        """What was done without waiting for the disk may be undone: then mail comes again. None may
        be lost."""
        self._loose = set(self._known)

    def settled(self):
        """The queue came to rest and is empty -> broken promises (list of str); all messages are
        done with."""
        broken, self._broken, self._heard = self._broken, [], []
        for token, promise in self._open.items():
            broken += ["%s, answered with %s: %s" % (token, promise.codes, fault)
                       for fault in self._faults(token, promise)]
        self._open = {}
        return broken

    def _faults(self, token, promise):
        counts = {}
        for address in promise.addresses:
            is_bounced = address.startswith(BOUNCED)
            counts[address] = (self._told if is_bounced else self._arrived)[token, address]
            excused = self._excused[token, address]
            if is_bounced:
                excused = self._excused["told", token,
                                        address] + self._owed.get((token, address), 0)
            self.repeats["told" if is_bounced else "arrived"] += max(0, counts[address] - 1)
            if counts[address] > 1 + excused and token not in self._loose:
                yield "%s %d times, and %d repetitions are explained" % (
                    address, counts[address], excused)
            if is_bounced and self._arrived[token, address]:
                yield "%s was taken, which the hop refuses" % address
        away = {counts[address] > 0 for address in counts if not address.startswith("kept")}
        here = {counts[address] > 0 for address in counts if address.startswith("kept")}
        if promise.codes is None:
            if len(away) == 2 or True in away and False in here:
                yield "some of it came to its end, and some is lost: %s" % counts
            return
        for address, code in promise.codes.items():
            if code == 250 and not counts[address]:
                yield "%s was accepted, and is lost" % address
            if code >= 400 and counts[address] and not address.startswith("kept"):
                yield "%s was not accepted, and left" % address
