"""One user's expensive command, as a program of its own, so that its client delays nobody.

Prints the seconds that it took.
"""
import subprocess
import sys
import time

from .imap import Imap


def start(port, mailbox, command):
    """The program as a child process; `seconds` waits for its end."""
    return subprocess.Popen([sys.executable, "-m", __name__, str(port), mailbox, command],
                            stdout=subprocess.PIPE)


def seconds(child):
    output = child.communicate()[0]
    if child.returncode:
        raise RuntimeError("the client failed")
    return float(output)


def main():
    port, mailbox, command = int(sys.argv[1]), sys.argv[2], sys.argv[3].encode("ascii")
    client = Imap(port).login()
    began = time.perf_counter()
    if command:
        client.command(b"SELECT " + mailbox.encode("ascii"))
        began = time.perf_counter()
        client.drained(command)
    else:
        client.drained(b"SELECT " + mailbox.encode("ascii"))
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main()
