"""Many IMAP connections over TLS that do nothing; a program of its own.

Prints "ready" when all are there, and lets them go when its input ends.
"""
import resource
import ssl
import subprocess
import sys

from .imap import Imap


class Idlers:
    """A context manager: inside, the connections are there."""

    def __init__(self, port, count, idle):
        self._arguments = [sys.executable, "-m", __name__, str(port), str(count),
                           "idle" if idle else "quiet"]

    def __enter__(self):
        self._child = subprocess.Popen(self._arguments, stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE)
        if self._child.stdout.readline() != b"ready\n":
            raise RuntimeError("the connections could not be made")
        return self

    def __exit__(self, *exception):
        self._child.communicate()


def context():
    """Takes any certificate: who the server is, is not what is measured."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if hasattr(ssl, "PROTOCOL_TLS_CLIENT")
                          else ssl.PROTOCOL_TLS)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def main():
    port, count, idle = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "idle"
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    one = context()
    clients = []
    for _ in range(count):
        clients.append(Imap(port, one).login())
        clients[-1].command(b"SELECT INBOX")
        if idle:
            clients[-1].idle()
    print("ready", flush=True)
    sys.stdin.read()
    for client in clients:
        client.socket.close()


if __name__ == "__main__":
    main()
