"""IDLE (RFC 2177): waiting for new mail in the open mailbox, over a client.ImapClient."""
import time

from .client import LINE, Bounds

RENEW = 28 * 60.0  # seconds; a server may close after 29 minutes
_ANSWER = Bounds(seconds=60.0, lines=1 << 20)  # to IDLE and to DONE
_HOLD = Bounds(seconds=RENEW + 120.0, lines=1 << 20)


def wait(client, listed, seconds, wake):
    """Wait until the mailbox has more than `listed()` messages, at most `seconds` -> whether it
    has. `wake`: net.waker.Waker that ends it early, None for none.

    A connection that is dead is noticed by TCP's keepalive (connecting.Wire), at the latest when
    the IDLE is renewed. Raises FetchError; client.Refused if the server does not want IDLE.
    """
    end = time.monotonic() + seconds
    while True:
        until = min(end, time.monotonic() + RENEW)
        more = _once(client, listed, until, wake)
        if more or time.monotonic() < until or until == end:
            return more


def _once(client, listed, end, wake):
    """One IDLE, until `end`."""
    tag = client.begin(b"IDLE", _ANSWER)
    while client.next_line(tag, "IDLE")[0] != "+":
        pass
    client.imap.bound(_HOLD)
    while client.imap.exists <= listed():
        if not client.wire.wait_line(end - time.monotonic(), wake, LINE):
            break
        client.next_line(tag, "IDLE")
    client.imap.bound(_ANSWER)
    client.imap.send(b"DONE\r\n")
    while client.next_line(tag, "IDLE")[0] != "OK":
        pass
    return client.imap.exists > listed()
