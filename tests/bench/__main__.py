"""The command line of the benchmarks."""
import argparse
import os
import shutil
import sys
import tempfile
import time

from . import delivery, fetching, filters, junk, large, login, memory, messages, relay, table
from .mailbox import (
    changes,
    fresh,
    listing,
    million,
    neighbours,
    pop3,
    search,
    select,
    sort,
    ten_clients,
)

ROWS = {"delivery": delivery, "filters": filters, "large": large, "relay": relay,
        "select": select, "listing": listing, "fresh": fresh, "search": search, "sort": sort,
        "changes": changes, "pop3": pop3, "clients": ten_clients, "neighbours": neighbours,
        "million": million,
        "memory": memory, "login": login, "junk": junk, "fetch": fetching}


class Bench:
    """What every row may ask for."""

    def __init__(self, options):
        self.rounds = options.rounds
        self.messages = options.messages
        self.mailbox = options.mailbox
        self.peers = not options.alone
        self.pythons = options.python or [sys.executable]
        self.python = self.pythons[0]
        self._folder = tempfile.mkdtemp(prefix="phenmail-bench-", dir=options.folder)
        os.chmod(self._folder, 0o755)  # peers become other users
        self._quiet = options.quiet
        self._content = options.content

    def folder(self, name):
        """A new folder with `name` in its name."""
        path = tempfile.mkdtemp(prefix=name + "-", dir=self._folder)
        os.chmod(path, 0o755)
        return path

    def original(self):
        """The Maildir folder with the messages of the large mailbox. Nobody may change it."""
        path = os.path.join(self._content or self.folder("original"), str(self.mailbox))
        if not os.path.isdir(path):
            self.say("writing %d messages" % self.mailbox)
            messages.fill(path + ".part", self.mailbox)
            os.rename(path + ".part", path)
        return path

    def say(self, text):
        """Report progress."""
        if not self._quiet:
            print("  %s" % text, file=sys.stderr, flush=True)

    def close(self):
        shutil.rmtree(self._folder, ignore_errors=True)


def parser():
    given = argparse.ArgumentParser(prog="python3 -m tests.bench",
                                    description="Measures phenmail beside other servers.")
    given.add_argument("rows", nargs="*", metavar="row",
                       help="of %s; all without one" % ", ".join(ROWS))
    given.add_argument("--rounds", type=int, default=3, help="how often the servers take turns")
    given.add_argument("--messages", type=int, default=2000,
                       help="sent in one turn of delivery and relay, fetched in one of fetch")
    given.add_argument("--mailbox", type=int, default=10000, help="messages in the large mailbox")
    given.add_argument("--folder", help="where everything lies (default: the temporary folder)")
    given.add_argument("--content", help="keep the large mailbox's messages in this folder, on the "
                                         "same file system, for later runs")
    given.add_argument("--python", action="append",
                       help="the interpreter that runs the Python servers; given again, memory is "
                            "measured with each")
    given.add_argument("--alone", action="store_true", help="without peers")
    given.add_argument("--quiet", action="store_true", help="only the table")
    given.add_argument("--out", help="append the table to this file")
    return given


def main(arguments=None):
    options = parser().parse_args(arguments)
    unknown = set(options.rows) - set(ROWS)
    if unknown:
        parser().error("unknown row: %s" % ", ".join(sorted(unknown)))
    failed = False
    tell(options.out, "%s, %s, load %.1f" % (time.strftime("%Y-%m-%d %H:%M"), machine(options),
                                             os.getloadavg()[0]))
    tell(options.out, table.columns(table.HEAD))
    for name in options.rows or ROWS:
        bench = Bench(options)
        try:
            for row in ROWS[name].run(bench):
                failed = failed or row.passed is False
                tell(options.out, table.line(row))
        finally:
            bench.close()
    return 1 if failed else 0


def machine(options):
    return "%d processors, %s" % (os.cpu_count(), " ".join(options.python or [sys.executable]))


def tell(path, text):
    print(text, flush=True)
    if path:
        with open(path, "a") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
