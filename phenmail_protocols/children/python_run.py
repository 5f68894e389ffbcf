"""One run of a Python filter: its limits, the names that a script finds, its outcome.

Loaded by `python_child` and used in its forks.  That module describes the answer's lines.
"""
import marshal
import math
import os
import sys

from .child_side import set_limit

CODE_NAME = "<filter>"

MEMORY = 128 * 1024 * 1024  # address space that a run may take beyond what this process has
RESERVE = 4 * 1024 * 1024  # of it, given up to be able to say that there was no more
LIMITS = (("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 0), ("RLIMIT_NPROC", 0), ("RLIMIT_NOFILE", 32),
          ("RLIMIT_MSGQUEUE", 0))

# What the email package parses quickly.  Beyond that its time grows with the product (1 MB of
# "--x" lines: 3 s), and a sender could make every filter run out of time.  So only the header of
# such a message is parsed.
MOST_LINES, MOST_PARTS, MOST_BOUNDARIES = 30000, 1000, 50

LONGEST_VALUE = 1000


class Decided(BaseException):
    """Ends a script that has decided."""


# -- limits and preparation


def limit(seconds, mapped):
    """Bound this process: `seconds` of processor time, MEMORY beyond what is `mapped` (bytes, None:
    unknown), and LIMITS.
    """
    processor = max(1, math.ceil(seconds))
    limits = [(name, value, value) for name, value in LIMITS] + [("RLIMIT_CPU", processor,
                                                                  processor + 1)]
    if mapped is not None:
        limits.append(("RLIMIT_AS", mapped + MEMORY, mapped + MEMORY))
    for name, soft, hard in limits:
        try:
            set_limit(name, soft, hard)
        except (ValueError, OSError):
            pass  # macOS knows limits that it does not enforce


def address_space():
    """Bytes that this process has mapped, None if there is no limit for them.

    A locale archive alone can be 200 MB.
    """
    import resource
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 512 * 1024 * 1024 if hasattr(resource, "RLIMIT_AS") else None


def preload():
    """Import what filters use, because the later user may not read the interpreter's files."""
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
        gc.freeze()  # what is shared with the runs stays shared


# -- the script


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
        """The message goes to that mailbox, which is made when missing."""
        voice.decide("accept", _value("mailbox", mailbox))

    def reject(reason=""):
        """The message is refused with that reason."""
        voice.decide("reject", _one_line(reason))

    def discard():
        """The message is dropped."""
        voice.decide("discard")

    def forward(address):
        """The message goes to that address instead."""
        voice.decide("forward", _value("address", address))

    def flag(name):
        """The message gets that flag or keyword; the script goes on."""
        _before_decision(voice)
        voice.say("flag", _value("name", name))

    def copy(address):
        """A copy of the message goes to that address too; the script goes on."""
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
    """The text of a value that has to be exact.  Raises ValueError, TypeError."""
    if value is None:
        raise TypeError("%s: None" % what)
    text = str(value)
    if not text or len(text) > LONGEST_VALUE or any(c < " " or "\x7f" <= c < "\xa0"
                                                    or "\ud800" <= c < "\ue000" for c in text):
        raise ValueError("%s: empty, too long, or with a control character" % what)
    return text


def _one_line(value):
    """A text for people, such as a folded Subject, as one line."""
    text = "" if value is None else str(value)[:4 * LONGEST_VALUE]
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:LONGEST_VALUE]


def run_script(voice, code, source, writer, envelope, message):
    """Compile, parse, run, report, and end the process.

    `code`: the compiled script, or None; then it is compiled and written to `writer`.
    """
    reserve = bytes(RESERVE)  # address space alone: nothing is written there
    try:
        try:
            if code is None:
                code = _compiled(source, writer)
            names = names_for(voice, parse(message), read_envelope(envelope))
            message = envelope = source = None
            if "random" in sys.modules:
                sys.modules["random"].seed()  # runs have one ancestor
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

    Not its text, which may quote the mail.  A SyntaxError in the script itself is harmless.
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
    """An email.message.Message.  If it has too many lines or parts, the body is one text."""
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
