"""One run of a Python filter: the names that a script finds, and its outcome.

Loaded by `python_child` and used in its forks. That module describes the answer's lines.
"""
import marshal
import os
import sys

from .python_limits import LONGEST_VALUE, MOST_BOUNDARIES, MOST_LINES, MOST_PARTS, RESERVE

CODE_NAME = "<filter>"


class Decided(BaseException):
    """Ends a script that has decided."""


def preload():
    """Import what filters use: the user to become may not be able to read the interpreter's
    files."""
    import codecs
    import datetime
    import email
    import email.generator
    import email.header
    import email.iterators
    import email.mime.text
    import email.parser
    import email.utils
    import gc
    import resource
    for name in ("ascii", "utf-8", "latin-1", "cp1252", "iso8859-15", "unicode_escape"):
        codecs.lookup(name)
    email.message_from_bytes(
        b"Subject: =?utf-8?q?a?=\nContent-Type: text/plain; charset=utf-8\n\na\n").as_string()
    email.header.make_header(email.header.decode_header("=?utf-8?q?a?="))
    datetime.datetime.now()
    resource.getrlimit(resource.RLIMIT_CORE)
    gc.collect()
    if hasattr(gc, "freeze"):
        gc.freeze()  # so that its memory stays shared with the runs


class Voice:
    """Writes whole lines of the answer into a descriptor."""

    def __init__(self, descriptor):
        self._descriptor = descriptor
        self.decided = False

    def say(self, word, text=""):
        os.write(self._descriptor, ("%s %s\n" % (word, text)).encode("utf-8", "replace"))

    def decide(self, word, text=""):
        if not self.decided:
            self.say(word, text)
            self.decided = True
        raise Decided


def names_for(voice, message, envelope):
    """The names that a script finds, as a dict."""
    def accept(mailbox="INBOX"):
        """File the message in that mailbox, which is created if it is missing."""
        voice.decide("accept", _value("mailbox", mailbox))

    def reject(reason=""):
        """Refuse the message with that reason."""
        voice.decide("reject", _one_line(reason))

    def discard():
        """Drop the message."""
        voice.decide("discard")

    def forward(address):
        """Send the message to that address instead."""
        voice.decide("forward", _value("address", address))

    def flag(name):
        """Set that flag or keyword on the message, and go on."""
        _before_decision(voice)
        voice.say("flag", _value("name", name))

    def copy(address):
        """Send a copy of the message to that address, and go on."""
        _before_decision(voice)
        voice.say("copy", _value("address", address))

    functions = (accept, reject, discard, forward, flag, copy)
    names = {"__name__": "filter", "msg": message, "envelope": envelope}
    names.update((function.__name__, function) for function in functions)
    return names


def _before_decision(voice):
    if voice.decided:
        raise Decided


def _value(what, value):
    """A value that must arrive exactly -> its text. Raises ValueError, TypeError."""
    if value is None:
        raise TypeError("%s: None" % what)
    text = str(value)
    if (not text or len(text) > LONGEST_VALUE
            or any(c < " " or "\x7f" <= c < "\xa0" or "\ud800" <= c < "\ue000" for c in text)):
        raise ValueError("%s: empty, too long, or with a control character" % what)
    return text


def _one_line(value):
    """A text for people, such as a folded Subject, as one line."""
    text = "" if value is None else str(value)[:4 * LONGEST_VALUE]
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:LONGEST_VALUE]


def run_script(voice, code, source, writer, envelope, message):
    """Compile the script, parse the message, run, report, and end the process.

    `code`: the compiled script, or None: then it is compiled here and written to `writer`.
    """
    reserve = bytes(RESERVE)  # only address space: nothing is written there
    try:
        try:
            if code is None:
                code = _compiled(source, writer)
            names = names_for(voice, parse(message), read_envelope(envelope))
            message = envelope = source = None
            if "random" in sys.modules:
                sys.modules["random"].seed()  # all runs are forks of one process
            exec(code, names)
        except Decided:
            pass
        except SystemExit as end:
            if end.code not in (None, 0):
                voice.say("error", described(end))
        except BaseException as error:
            del reserve
            voice.say("error", described(error))
        voice.say("end")
    finally:
        os._exit(0)


def _compiled(source, writer):
    code = compile(source.decode("utf-8", "surrogatepass"), CODE_NAME, "exec", 0, True)
    with os.fdopen(writer, "wb") as file:
        file.write(marshal.dumps(code))
    return code


def described(error):
    """Where an exception was raised, and its type.

    Not its text, which may quote the mail; that of a SyntaxError in the script itself is harmless.
    """
    name = "".join(c for c in str(type(error).__name__) if c.isalnum() or c == "_")[:60]
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == CODE_NAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    if line is not None:
        return "line %d: %s" % (line, name)
    if isinstance(error, SyntaxError) and error.filename == CODE_NAME:
        return "line %s: %s: %s" % (error.lineno, name, _one_line(error.msg))
    return name


def read_envelope(data):
    """sender, recipient, tag, auth (text, "" for none) and size (bytes), as a dict."""
    sender, recipient, tag, auth, size = data.decode("utf-8", "replace").split("\n")
    return {"sender": sender, "recipient": recipient, "tag": tag, "auth": auth, "size": int(size)}


def parse(data):
    """An email.message.Message. If it has too many lines or parts, the body is one text."""
    import email
    if _is_simple(data):
        return email.message_from_bytes(data)
    end = _header_end(data)
    message = email.message_from_bytes(data[:end])
    message.set_payload(data[end:].decode("ascii", "surrogateescape"))
    return message


def _is_simple(data):
    lowered = data.lower()
    return (data.count(b"\n") <= MOST_LINES and data.count(b"\n--") <= MOST_PARTS
            and lowered.count(b"boundary") <= MOST_BOUNDARIES
            and lowered.count(b"message/") <= MOST_BOUNDARIES)


def _header_end(data):
    """Where the body begins."""
    ends = [len(data)]
    for mark in (b"\n", b"\r\n"):
        place = (mark + data).find(mark + mark)  # an empty line may be the first
        if place >= 0:
            ends.append(place + len(mark))
    return min(ends)
