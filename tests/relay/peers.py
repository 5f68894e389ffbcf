"""A scripted SMTP server on the loopback, for tests of clients.

    with Peer(smtp(extensions=["PIPELINING"], answers={"RCPT TO:<b@": "550 5.1.1 nobody"})) as peer:
        … peer.ip, peer.port … peer.messages … peer.talks[0].lines

A script is a callable that gets the `Talk` of one connection; the n-th connection has the n-th
script, later ones the last. `smtp(…)` makes the script of an ordinary server with some answers of
its own; anything else is a function of five lines. Nothing here waits without end.
"""
import base64
import contextlib
import re
import socket
import struct
import threading

PATIENCE = 10.0  # seconds until a script that waits for the client gives up


class Gone(Exception):
    """The client closed."""


class Talk(object):
    """One connection: `lines`, the commands received (text without line end); `messages` (bytes,
    dot-unstuffed)."""

    def __init__(self, sock):
        self.sock = sock
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = sock.makefile("rb")
        self.lines = []
        self.messages = []
        self.secured = False

    def say(self, *lines):
        """Sends each text with CRLF."""
        self.send("".join(line + "\r\n" for line in lines).encode("utf-8"))

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            raise Gone()

    def line(self):
        """The next command. Raises Gone."""
        try:
            data = self.file.readline()
        except (OSError, ValueError):
            data = b""
        if not data.endswith(b"\r\n"):
            raise Gone()
        self.lines.append(data[:-2].decode("utf-8"))
        return self.lines[-1]

    def expect(self, *beginnings):
        """Read one command for each beginning; any other fails the test."""
        for beginning in beginnings:
            line = self.line()
            assert line.upper().startswith(beginning.upper()), "%r came instead of %r" % (
                line, beginning)

    def message(self):
        """The message, up to the final dot. Raises Gone."""
        pieces = []
        while True:
            try:
                line = self.file.readline()
            except (OSError, ValueError):
                line = b""
            if not line:
                raise Gone()
            if line == b".\r\n":
                self.messages.append(b"".join(pieces))
                return self.messages[-1]
            pieces.append(line[1:] if line.startswith(b".") else line)

    def secure(self, context):
        """The TLS handshake as server. Raises Gone."""
        try:
            self.file.close()
            self.sock = context.wrap_socket(self.sock, server_side=True)
            self.file = self.sock.makefile("rb")
        except (OSError, ValueError):
            raise Gone()
        self.secured = True

    def wait(self):
        """Says nothing until the client closes."""
        while True:
            self.line()

    def end(self):
        """Sends nothing more; the client may have closed the connection already."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Ends the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        self.file.close()
        self.sock.close()


class Peer(object):
    """The server. `talks`: all connections so far. A failed assertion in a script fails the
    `with`."""

    def __init__(self, *scripts, **options):
        self._scripts = scripts
        self._listener = socket.socket(socket.AF_INET6 if ":" in options.get("ip", "")
                                       else socket.AF_INET)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((options.get("ip", "127.0.0.1"), options.get("port", 0)))
        self._listener.listen(50)
        self.ip, self.port = self._listener.getsockname()[:2]
        self.talks = []
        self.trouble = []
        self._threads = []
        self._stopped = False

    @property
    def messages(self):
        """All messages received, over all connections."""
        return [message for talk in self.talks for message in talk.messages]

    @property
    def lines(self):
        """All commands of all connections."""
        return [line for talk in self.talks for line in talk.lines]

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._stopped:
                sock.close()
                return
            talk = Talk(sock)
            self.talks.append(talk)
            script = self._scripts[min(len(self.talks), len(self._scripts)) - 1]
            self._start(self._run, script, talk)

    def _start(self, *call):
        thread = threading.Thread(target=call[0], args=call[1:], daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, script, talk):
        try:
            script(talk)
        except Gone:
            pass
        except Exception as error:
            self.trouble.append(error)
        finally:
            talk.close()

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, kind, *_):
        self._stopped = True
        try:
            with socket.create_connection((self.ip, self.port), PATIENCE):
                pass  # wakes accept
        except OSError:
            pass
        self._listener.close()
        for talk in self.talks:
            try:
                talk.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(PATIENCE)
        if kind is None and self.trouble:
            raise self.trouble[0]


def smtp(extensions=(), answers=None, tls=None, login=None, banner="220 peer.example.net ready",
         implicit=False, tokens=()):
    """The script of an ordinary server.

    `extensions`: what EHLO offers, STARTTLS aside. `answers`: {beginning of a command, or "." for
    the end of the message: answer}, where an answer is a text, None (says nothing more), a list
    (one after the other, the last one stays), or a callable(talk, line) that returns one. `tls`: a
    server's SSLContext, offered by STARTTLS, or spoken from the first octet with `implicit`.
    `login`: (user, password) that AUTH PLAIN, LOGIN take; `tokens`: the access tokens that the same
    user can have for XOAUTH2 and OAUTHBEARER.
    """
    left = {key: list(answer) if isinstance(answer, list) else answer for key,
            answer in (answers or {}).items()}

    def answer_to(talk, line, usual):
        key = max((key for key in left if line.upper().startswith(key.upper())), key=len,
                  default=None)
        answer = usual if key is None else left[key]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer = answer(talk, line)
        if answer is None:
            talk.wait()
        talk.send(answer.replace("\n", "\r\n").encode("utf-8") + b"\r\n")
        return answer

    def ehlo(talk):
        offered = ["peer.example.net"] + list(extensions) + (["STARTTLS"] if tls
                                                             and not talk.secured else [])
        return "\n".join("250%s%s" % ("-" if number < len(offered) else " ", text) for number,
                         text in enumerate(offered, 1))

    def authenticate(talk, line):
        words = line.split()
        if words[1].upper() in ("XOAUTH2", "OAUTHBEARER"):
            return authenticate_token(talk, *words[1:])
        if words[1].upper() == "PLAIN":
            given = base64.b64decode(words[2]).decode("utf-8").split("\0")[1:]
        else:
            given = []
            for prompt in ("VXNlcm5hbWU6", "UGFzc3dvcmQ6"):
                talk.say("334 " + prompt)
                given.append(base64.b64decode(talk.line()).decode("utf-8"))
        return "235 2.7.0 welcome" if tuple(
            given) == login else "535 5.7.8 no such user or password"

    def authenticate_token(talk, mechanism, response=None):
        if response is None:
            talk.say("334 ")
            response = talk.line()
        else:
            assert len(talk.lines[-1]) <= 510, "the line is too long"
        given = base64.b64decode(response).decode("utf-8")
        pattern = ("user=(.+)\1auth=Bearer (.+)\1\1" if mechanism == "XOAUTH2" else
                   "n,a=(.+),\1host=[a-z0-9.]+\1port=[0-9]+\1auth=Bearer (.+)\1\1")
        user, token = re.match(pattern + r"\Z", given).groups()
        if user == login[0] and token in tokens:
            return "235 2.7.0 welcome"
        talk.say("334 " + base64.b64encode(b'{"status":"invalid_token"}').decode("ascii"))
        assert talk.line() == ("" if mechanism == "XOAUTH2" else "AQ==")
        return "535 5.7.8 this token is invalid"

    def script(talk):
        if implicit:
            talk.secure(tls)
        if not answer_to(talk, "CONNECT", banner).startswith("220"):
            talk.expect("QUIT")
            return talk.say("221 2.0.0 bye")
        while True:
            line = talk.line()
            verb = line.split(" ")[0].upper()
            usual = {"EHLO": lambda *_: ehlo(talk), "HELO": "250 peer.example.net",
                     "DATA": "354 go ahead",
                     "QUIT": "221 2.0.0 bye", "STARTTLS": "220 2.0.0 go ahead",
                     "AUTH": authenticate, "MAIL": "250 2.1.0 ok", "RCPT": "250 2.1.5 ok",
                     "RSET": "250 2.0.0 ok"}.get(verb, "500 5.5.1 what?")
            answer = answer_to(talk, line, usual)
            if verb == "QUIT" or answer.startswith("421"):
                return
            if verb == "STARTTLS" and answer.startswith("220"):
                talk.secure(tls)
            if verb == "DATA" and answer.startswith("354"):
                talk.message()
                if answer_to(talk, ".", "250 2.0.0 kept").startswith("421"):
                    return

    return script
