"""A client on one connection, with what it knows of the selected mailbox from responses alone."""
import re

from . import response_values

# The commands during which EXPUNGE must not be sent (RFC 3501 7.4.1, RFC 7162 3.2.10.2).
_NO_EXPUNGE = ("FETCH", "STORE", "SEARCH", "SORT", "THREAD")
_DATA = ("SEARCH", "ESEARCH", "SORT", "THREAD", "STATUS", "LIST", "LSUB", "ENABLED")


class BrokenConnection(Exception):
    """`client`: whose it was."""

    def __init__(self, client, text):
        super().__init__(text)
        self.client = client


class Fetched:
    """What FETCH responses said of one message: `number`, as it was at the first of them, and
    `items`, {name: value}. `row` is the message's in Client.messages."""

    def __init__(self, number, row):
        self.number, self.row, self.items = number, row, {}


class Answer:
    """What a command got.

    `status`: OK, NO or BAD; `codes`: {name: values} of all response codes; `tagged`: the name of
    the tagged response's code, or None; `data`: the responses of _DATA as values; `fetched`: a
    Fetched for each message.
    """

    def __init__(self):
        self.status = self.tagged = None
        self.codes, self.data, self.fetched, self.vanished = {}, [], [], []

    def fetched_of(self, number, row):
        for each in self.fetched:
            if each.row is row:
                return each
        self.fetched.append(Fetched(number, row))
        return self.fetched[-1]


class Client:
    """`ask(command)`: an Answer. `messages`: [[UID or None, flags or None], …], as told so far."""

    def __init__(self, read, send, close):
        """`read()`: the next response with its literals, as latin-1 str; `send(bytes)`;
        `close()`."""
        self._read, self._send, self.close = read, send, close
        self._number = 0
        self.messages = []
        self.mailbox = None  # the selected one
        self.writable = True

    def ask(self, command, after_prompt=b""):
        """`command` without tag and CRLF, as str; `after_prompt`: sent after "+"."""
        self._number += 1
        tag = "t%d" % self._number
        self._send(("%s %s\r\n" % (tag, command)).encode("latin-1"))
        answer = Answer()
        while True:
            line = self._read()
            if not line:
                raise BrokenConnection(self, "the connection ended during " + command)
            kind, _, rest = line.partition(" ")
            if kind == "+":
                self._send(after_prompt)
            elif kind == "*":
                self._take(rest, answer, command)
            else:
                assert kind == tag, line
                answer.status, answer.tagged = self._status(rest, answer)
                self._end(command, answer)
                return answer

    def _status(self, text, answer):
        """(status, code name) of `OK [CODE values] text`."""
        status, _, text = text.partition(" ")
        code = re.match(r"\[([^] ]+)(?: ([^]]*))?\]", text)
        if code is None:
            return status, None
        answer.codes[code.group(1)] = response_values.parse(code.group(2) or "")
        if code.group(1) == "CLOSED":
            self.messages, self.mailbox = [], None
        return status, code.group(1)

    def _take(self, text, answer, command):
        word, _, rest = text.partition(" ")
        if word in ("OK", "NO", "BAD", "BYE"):
            self._status(text, answer)
        elif word.isdigit():
            self._take_numbered(int(word), response_values.parse(rest), answer, command)
        elif word == "VANISHED":
            self._take_vanished(rest, answer, command)
        elif word in _DATA:
            answer.data.append((word,) + response_values.parse(rest))

    @staticmethod
    def _may_expunge(command):
        return not command.startswith(_NO_EXPUNGE)

    def _take_vanished(self, text, answer, command):
        early, gone = re.fullmatch(r"(\(EARLIER\) )?([\d:,]+)", text).groups()
        gone = set(response_values.uids(gone))
        if early:
            answer.vanished += gone
        else:
            assert self._may_expunge(command), (command, text)
            for _ in gone - {uid for uid, _ in self.messages}:  # it was never asked for
                self.messages.remove([None, None])
        self.messages = [row for row in self.messages if row[0] not in gone]

    def _take_numbered(self, number, values, answer, command):
        if values[0] == "EXISTS":
            assert number >= len(self.messages), (command, number)
            self.messages += [[None, None] for _ in range(number - len(self.messages))]
        elif values[0] == "EXPUNGE":
            assert self._may_expunge(command), command
            assert 0 < number <= len(self.messages), (command, number)
            del self.messages[number - 1]
        elif values[0] == "FETCH":
            assert 0 < number <= len(self.messages), (command, number)
            found = response_values.items(values[1])
            row = self.messages[number - 1]
            answer.fetched_of(number, row).items.update(found)
            if "UID" in found:
                assert row[0] in (None, int(found["UID"])), (command, number, row, found)
                row[0] = int(found["UID"])
            if "FLAGS" in found:
                row[1] = frozenset(found["FLAGS"]) - {"\\Recent"}

    def _end(self, command, answer):
        word = command.split()[0]
        if word in ("SELECT", "EXAMINE"):
            if answer.status == "OK":
                self.mailbox, self.writable = command.split()[1], answer.tagged == "READ-WRITE"
            elif answer.status == "NO" or answer.tagged:
                self.mailbox, self.messages = None, []
        elif word in ("CLOSE", "UNSELECT") and answer.status == "OK":
            self.mailbox, self.messages = None, []

    def fill_in(self):
        """Ask for what is not known yet, so that `messages` is whole."""
        unknown = [number for number, row in enumerate(self.messages, 1) if None in row]
        if unknown:
            answer = self.ask("FETCH %s (UID FLAGS)" % ",".join(map(str, unknown)))
            assert answer.status == "OK", answer.status

    def forget_flags(self, uids):
        """After STORE .SILENT, whose result the client is not told."""
        for row in self.messages:
            if row[0] in uids:
                row[1] = None
