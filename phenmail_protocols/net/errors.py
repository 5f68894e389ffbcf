"""One exception for each way in which a connection ends, a line or a certificate is refused."""


class Disconnected(Exception):
    """The connection is over: end of file, reset, a TLS error, or the server gave it up."""


class TimedOut(Disconnected):
    """The peer was silent too long, or a deadline ended. A last line may still be written."""


class Stopping(Disconnected):
    """The server stops. The handler may send a last reply, and returns."""


class Overdue(Exception):
    """A command takes longer than its deadline. The connection itself still works."""


class LineTooLong(Exception):
    """A line was longer than its limit. It was read to its end and dropped.

    `beginning` and `ending`: its first and last octets, at most KEPT each.
    """
    KEPT = 64

    def __init__(self, beginning, ending):
        super().__init__("line too long")
        self.beginning = bytes(beginning[:self.KEPT])
        self.ending = bytes(ending[-self.KEPT:])


class CertificateError(Exception):
    """There is no usable certificate; the text says why."""
