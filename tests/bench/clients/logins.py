"""Logs in over TLS, opens INBOX, logs out, again and again, each time on a new connection; a
program of its own.

Prints JSON: `began`, `ended` (time.monotonic), `processor` (its own seconds).
"""
import json
import resource
import subprocess
import sys
import time

from .idlers import context
from .imap import Imap


def run(port, count, processes):
    """`count` logins in each of so many processes at once: (logins a second, client's processor
    seconds a login)."""
    children = [subprocess.Popen([sys.executable, "-m", __name__, str(port), str(count)],
                                 stdout=subprocess.PIPE)
                for _ in range(processes)]
    done = [json.loads(child.communicate()[0].decode("ascii")) for child in children]
    seconds = max(each["ended"] for each in done) - min(each["began"] for each in done)
    return count * processes / seconds, sum(each["processor"]
                                            for each in done) / (count * processes)


def main():
    port, count = int(sys.argv[1]), int(sys.argv[2])
    one = context()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    began = time.monotonic()
    for _ in range(count):
        client = Imap(port, one).login()
        client.command(b"SELECT INBOX")
        client.command(b"LOGOUT")
        client.close()
    ended = time.monotonic()
    after = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"began": began, "ended": ended,
                      "processor": after.ru_utime + after.ru_stime - usage.ru_utime
                      - usage.ru_stime}))


if __name__ == "__main__":
    main()
