"""Runs a wire transcript against a server: what the client sends, what the server has to say, line
by line.

A transcript is a text file in UTF-8, one step a line:

    # a comment; empty lines are nothing
    @ connect smtp          connection 1 opens to the listener of that name; `@ connect 2 imap`
    opens connection 2 @ tls submissions       the same, with implicit TLS @ starttls
    connection 1 begins TLS; `@ starttls 2` connection 2 @ closed                the server has
    closed connection 1 (after all that it sent was read) @ close                 the client closes
    connection 1 @ differ name other     the words that $(name), $(other), … stand for are all
    different C: EHLO me              connection 1 sends the line with CRLF S: 250-…
    connection 1 receives a line that matches S* 250 …                lines are read until one
    matches C| .\\r\\n                as C:, but with the escapes \\r \\n \\0 \\\\ \\xNN and no CRLF
    of its own 1> NOOP  1< …  1* …  1| …   the same for a connection by its number, where there are
    two

A comment like `# == name: …` begins a part that the table of requirements can name. In what the
server says, `…` matches any text, and `$(name)` any word, which later steps may use as `$(name)`.
The first lines may say what server is wanted: `@ limits errors=3 message_size=1000`.
"""
import re
import socket
import ssl

SECONDS = 10.0

_STEP = re.compile(r"(?:(C)([:|])|(S)([:*])|([1-9])([><*|])|(@)())(?: (.*))?", re.DOTALL)
_NAME = re.compile(r"\$\((\w+)\)")
_PART = re.compile(r"# == ([\w-]+)(?:: .*)?")
_ESCAPES = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.))")
_LETTERS = {"r": "\r", "n": "\n", "0": "\0", "\\": "\\", "t": "\t"}


class Failed(AssertionError):
    """A step that differs from the transcript; str() shows where, and what came instead."""


class Transcript:
    """A parsed file: `limits` {name: value} and steps (line number, kind, connection, text)."""

    def __init__(self, path):
        self.path = path
        self.limits = {}
        self.steps = []
        self._parts = {}  # name -> number of its first step
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                line = line.rstrip("\n")
                part = _PART.fullmatch(line)
                if part is not None:
                    self._begin(number, part.group(1))
                elif line.strip() and not line.startswith("#"):
                    self._parse(number, line)

    def _begin(self, number, name):
        if name in self._parts:
            raise Failed("%s:%d: there is a part %s already" % (self.path, number, name))
        self._parts[name] = len(self.steps)

    def part(self, name):
        """The steps of the part that `# == name` begins, up to the next part. Raises KeyError."""
        start = self._parts[name]
        later = list(self._parts)[list(self._parts).index(name) + 1:]
        return self.steps[start:self._parts[later[0]] if later else None]

    def _parse(self, number, line):
        found = _STEP.fullmatch(line)
        if found is None:
            raise Failed("%s:%d: not a step: %s" % (self.path, number, line))
        client, how, server, what, connection, sign, _, _, text = found.groups()
        text = text or ""
        if client:
            self.steps.append((number, {":": ">", "|": "|"}[how], "1", text))
        elif server:
            self.steps.append((number, {":": "<", "*": "*"}[what], "1", text))
        elif connection:
            self.steps.append((number, sign, connection, text))
        elif text.startswith("limits "):
            self.limits.update((name, int(value)) for name,
                               value in (word.split("=") for word in text.split()[1:]))
        else:
            self.steps.append((number, "@", "1", text))


class Player:
    """Plays a transcript against `ports` {name: number} on the loopback."""

    def __init__(self, ports):
        self.ports = ports
        self.connections = {}
        self.words = {}
        self.heard = []

    def play(self, transcript):
        actions = {">": self._send, "|": self._send_raw, "<": self._expect, "*": self._await,
                   "@": self._do}
        try:
            for number, kind, connection, text in transcript.steps:
                try:
                    actions[kind](connection, _NAME.sub(self._known, text) if kind in ">|"
                                  else text)
                except (Failed, OSError, KeyError, ValueError) as error:
                    raise Failed("%s:%d: %s %s\n%r\nbefore it:\n  %s" % (
                        transcript.path, number, kind, text, error,
                        "\n  ".join(self.heard[-12:]))) from None
        finally:
            for stream in self.connections.values():
                stream.close()

    def _known(self, found):
        return self.words[found.group(1)]

    def _send(self, connection, text):
        self.connections[connection].send(text.encode("utf-8") + b"\r\n")
        self.heard.append("%s> %s" % (connection, text))

    def _send_raw(self, connection, text):
        data = _ESCAPES.sub(lambda found: chr(int(found.group(1), 16)) if found.group(1)
                            else _LETTERS[found.group(2)], text)
        self.connections[connection].send(data.encode("latin-1"))
        self.heard.append("%s| %s" % (connection, text))

    def _line(self, connection):
        line = self.connections[connection].line()
        self.heard.append("%s< %s" % (connection, line))
        return line

    def _expect(self, connection, pattern):
        line = self._line(connection)
        if not self._matches(pattern, line):
            raise Failed("expected %r, got %r" % (pattern, line))

    def _await(self, connection, pattern):
        while not self._matches(pattern, self._line(connection)):
            pass

    def _matches(self, pattern, line):
        def piece(text):
            if text == "…":
                return ".*?"
            name = _NAME.fullmatch(text)
            if not name:
                return re.escape(text)
            known = self.words.get(name.group(1))
            return r"(?P<%s>[^\s()\[\]]+)" % name.group(1) if known is None else re.escape(known)
        expression = "".join(map(piece, re.split(r"(…|\$\(\w+\))", pattern)))
        found = re.fullmatch(expression, line)
        if found is not None:
            self.words.update(found.groupdict())
        return found is not None

    def _do(self, connection, text):
        word, *rest = text.split()
        if rest and rest[0].isdigit():
            connection = rest.pop(0)
        self.heard.append("@ %s" % text)
        if word in ("connect", "tls"):
            name, = rest
            self.connections[connection] = Stream(self.ports[name], word == "tls")
        elif word == "starttls":
            self.connections[connection].start_tls()
        elif word == "closed":
            self.connections[connection].expect_end()
        elif word == "close":
            self.connections[connection].close()
        elif word == "differ":
            if len({self.words[name] for name in rest}) < len(rest):
                raise Failed("two of them are the same: %r" % self.words)
        else:
            raise Failed("there is no such step")


class Stream:
    """The client's end of one connection."""

    def __init__(self, port, tls):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self._received = b""
        if tls:
            self.start_tls()

    def start_tls(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._socket = context.wrap_socket(self._socket)
        self._received = b""

    def send(self, data):
        self._socket.sendall(data)

    def line(self):
        """The next line without its CRLF -> str; octets that are no UTF-8 show as \\xNN."""
        while b"\r\n" not in self._received:
            data = self._socket.recv(65536)
            if not data:
                raise Failed("the server closed the connection after %r" % self._received)
            self._received += data
        line, _, self._received = self._received.partition(b"\r\n")
        return line.decode("utf-8", "backslashreplace")

    def expect_end(self):
        try:
            data = self._received or self._socket.recv(65536)
        except ConnectionError:
            return
        if data:
            raise Failed("the server is still there and says %r" % data)

    def close(self):
        self._socket.close()
