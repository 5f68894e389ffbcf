"""kill -9 while a client appends messages over a compressed connection (COMPRESS=DEFLATE).

What was answered OK is there once. Of the rest, at most the message on its way is there.
"""
import random
import re
import socket
import threading

from tests.deflated import deflater, inflated
from tests.interop.house import House, message, messages

KILLS = 8


class Client:
    """Appends messages to INBOX, two at a time, until the connection breaks."""

    def __init__(self, house, user, answered):
        self._socket = socket.create_connection((house.host, house.ports["imaps"]), 30)
        self._socket = house.trust().wrap_socket(self._socket, server_hostname=house.host)
        self._stream, self._pack = self._socket.makefile("rb"), bytes
        self._ask(b"a LOGIN %b %b\r\n" % (user.name.encode(), user.passphrase.encode()))
        self._ask(b"b COMPRESS DEFLATE\r\n")
        self._stream, self._pack = inflated(self._stream), deflater()
        self._answered = answered  # set of numbers of messages
        self.begun = threading.Event()

    def _ask(self, command):
        self._socket.sendall(self._pack(command))
        while not self._stream.readline().startswith(command[:2]):
            pass

    def append(self, numbers):
        """Consumes `numbers`."""
        try:
            while True:
                pair = next(numbers), next(numbers)
                self._socket.sendall(self._pack(b"".join(
                    b"%d APPEND INBOX {%d+}\r\n%b\r\n" % (number, len(text), text)
                    for number, text in ((each, numbered(each)) for each in pair))))
                for number in pair:
                    line = self._stream.readline()
                    while not line.startswith(b"%d OK" % number):
                        if not line:
                            return
                        line = self._stream.readline()
                    self._answered.add(number)
                self.begun.set()
        except (OSError, EOFError):
            pass
        finally:
            self._stream.close()
            self._socket.close()


def numbered(number):
    return message("number %d" % number, "Text %d.\r\n" % number * 3000)


def test_killed_while_messages_arrive_compressed(tmp_path):
    house, dice = House(tmp_path), random.Random(1)
    house.furnish(1)
    user, answered, sent = house.user(), set(), iter(range(10 ** 6))
    for _ in range(KILLS):
        house.start()
        client = Client(house, user, answered)
        thread = threading.Thread(target=client.append, args=(sent,))
        thread.start()
        assert client.begun.wait(30)
        thread.join(dice.random() * 0.05)
        house.kill()
        thread.join(30)
        assert not thread.is_alive()
    house.start()
    try:
        found = [text for _, text in messages(house.imap(user), "INBOX").values()]
    finally:
        house.stop()
    kept = [int(re.search(rb"number (\d+)", text).group(1)) for text in found]
    assert len(kept) == len(set(kept)) and set(kept) >= answered
    assert len(set(kept) - answered) <= 2 * KILLS
    assert all(text == numbered(number) for number, text in zip(kept, found))
