"""Many IMAP clients at once, each of which sends its next command after the last answer; one
thread, a program of its own.

The commands are those of a mail program that checks for mail, lists a page and reads a message.
Prints the commands a second.
"""
import select
import subprocess
import sys
import time

from .imap import Imap

_COMMANDS = (b"NOOP", b"UID FETCH %(page)d:%(last)d (UID FLAGS)",
             b"STATUS INBOX (MESSAGES UNSEEN)", b"UID FETCH %(uid)d (BODY.PEEK[])",
             b"UID FETCH %(page)d:%(last)d (UID FLAGS ENVELOPE)",
             b"UID STORE %(uid)d +FLAGS (\\Seen)",
             b"UID SEARCH UID %(page)d:%(last)d UNSEEN", b"UID FETCH %(uid)d (BODYSTRUCTURE)")


def rate(port, mailbox, clients, commands):
    """Commands a second; run it as a process of its own."""
    return float(subprocess.check_output(
        [sys.executable, "-m", __name__, str(port), mailbox, str(clients), str(commands)]))


class _Client:
    def __init__(self, port, mailbox, number, commands):
        client = Imap(port).login()
        answer = client.command(b"SELECT " + mailbox.encode("ascii"))
        self._messages = int(answer.partition(b" EXISTS")[0].rpartition(b" ")[2])
        self.socket = client.socket
        self._number, self._left, self._done = number, commands, 0

    def send(self):
        """Send the next command; False: there is none."""
        if self._done == self._left:
            return False
        uid = (self._number * 997 + self._done * 61) % max(1, self._messages - 20) + 1
        command = _COMMANDS[self._done % len(_COMMANDS)] % {
            b"uid": uid, b"page": uid, b"last": uid + 20}
        self._done += 1
        self._tail = b""
        self._end = b"m%d OK" % self._done
        self.socket.sendall(b"m%d %b\r\n" % (self._done, command))
        return True

    def read(self):
        """Has the answer ended?"""
        piece = self.socket.recv(262144)
        if not piece:
            raise ConnectionError("the server closed the connection")
        self._tail = (self._tail + piece)[-512:]
        return self._tail.endswith(b"\r\n") and self._end in self._tail


def main():
    port, mailbox, count, commands = (
        int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    clients = [_Client(port, mailbox, number, commands) for number in range(count)]
    poll, by_descriptor = select.poll(), {}
    for client in clients:
        poll.register(client.socket, select.POLLIN)
        by_descriptor[client.socket.fileno()] = client
    began = time.perf_counter()
    for client in clients:
        client.send()
    while by_descriptor:
        for descriptor, _ in poll.poll(60000):
            client = by_descriptor[descriptor]
            if client.read() and not client.send():
                poll.unregister(descriptor)
                del by_descriptor[descriptor]
    print(count * commands / (time.perf_counter() - began))


if __name__ == "__main__":
    main()
