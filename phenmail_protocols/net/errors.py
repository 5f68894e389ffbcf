"""How a connection ends, or a line is refused, and what is wrong with a certificate: one small exception for each meaning."""


class Disconnected(Exception):
    """The connection is over: end of file, reset, a TLS error, or we gave it up. Nothing more can be read."""


class TimedOut(Disconnected):
    """The peer was silent too long, or a deadline ran out. After a read that timed out a last line may still be written."""


class Stopping(Disconnected):
    """The server stops. The connection itself still works: the handler may write its goodbye and returns."""


class Overdue(Exception):
    """A command works for longer than its deadline. The connection itself still works."""


class LineTooLong(Exception):
    """A line was longer than its limit. It was read to its end and dropped: the next read starts at the next line.

    `beginning` and `ending` are its first and last octets, at most KEPT of each: who sent it, and what is to follow.
    """
    KEPT = 64

    def __init__(self, beginning, ending):
        super().__init__("a line over its limit")
        self.beginning = bytes(beginning[:self.KEPT])
        self.ending = bytes(ending[-self.KEPT:])


class CertificateError(Exception):
    """There is no usable certificate; the text says why."""
