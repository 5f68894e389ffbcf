"""What users' rules and many recipients cost: ten comparisons, a script, a message for a hundred
mailboxes."""
import json
import os
import smtplib

from . import messages
from .delivery import CONNECTIONS, WARMING, Lost, _check, _one
from .peers.phenmail import Phenmail
from .table import alone, beside, median

MANY = 100  # mailboxes of this server that one message goes to
SIZE = 2000000  # octets of that message
SORTED = "Sorted"  # where the filter in code puts them
NOBODY = 65534
_HEADERS = ("Subject", "From", "To", "List-Id", "*from", "*to", "*size", ["To", "Cc"],
            "X-Spam-Flag", "Message-ID")


def run(bench):
    """Rows of filters beside none, of a code filter alone, and of octets written."""
    users = ["user%d" % number for number in range(MANY)]
    local = dict({user: "/%s/mail" % user for user in users}, postmaster=":" + messages.USER,
                 abuse=":" + messages.USER)
    local[messages.USER] = "/%s/mail" % messages.USER
    server = Phenmail(bench.folder("filters"), bench.python, {"domains": {messages.DOMAIN: local}})
    _let_run_code(server)
    server.start()
    try:
        yield from _rates(bench, server)
        yield _written(server, users)
    finally:
        server.stop()


def _let_run_code(server):
    path = os.path.join(server.system, "mail.jcfg")
    with open(path) as file:
        settings = json.load(file)
    with open(path, "w") as file:
        json.dump(dict(settings, admin=[messages.USER]), file)
    if os.geteuid() == 0:  # nothing runs as root
        for folder in (os.path.dirname(server.maildir), server.maildir):
            os.chown(folder, NOBODY, NOBODY)


def _write(server, *filters):
    """The user's filters from now on; none removes their file."""
    path = os.path.join(server.maildir, "filters.jcfg")
    if not filters:
        if os.path.exists(path):
            os.unlink(path)
        return
    with open(path + ".new", "w") as file:
        json.dump({"filters": filters}, file)
    os.rename(path + ".new", path)


def _rates(bench, server):
    ten = [{"type": "match", "header": header, "content": "10000000" if header == "*size"
            else "no such thing",
            "mode": "is" if header == "*size" else "contains", "action": "discard"}
           for header in _HEADERS]
    ways = {"none": (), "ten": ten,
            "code": [{"type": "py",
                      "code": "if 'Message' in str(msg['Subject']): accept('%s')" % SORTED}]}
    rates, expected, sorted_out = {name: []
                                   for name in ways}, {server.name: set()}, {server.name: set()}
    for number in range(-1, bench.rounds):
        for name, filters in ways.items():
            _write(server, *filters)
            count = WARMING if number < 0 else bench.messages if name != "code" else max(
                1, bench.messages // 4)
            rate, _ = _one(server, count, 0, "%s%d" % (name, number),
                           sorted_out if name == "code" else expected)
            if number >= 0:
                rates[name].append(rate)
                bench.say("%s: %.0f/s" % (name, rate))
    _write(server)
    _check(server, expected[server.name])
    if set(messages.serials(os.path.join(server.maildir, "." + SORTED))) != sorted_out[server.name]:
        raise Lost("the filter in code did not sort all messages")
    yield beside("delivery with ten match filters, %d connections" % CONNECTIONS,
                 median(rates["ten"]), "none",
                 median(rates["none"]), "%.0f/s", at_least=0.9)
    yield alone("delivery with a filter in code", median(rates["code"]), "%.0f/s", at_least=200)


def _written(server, users):
    """Octets that one message to all costs, beside one to a single user; both were users before."""
    addresses = ["%s@%s" % (user, messages.DOMAIN) for user in users]
    _send(server, addresses, 2000)
    _send(server, addresses[:1], 2000)
    one = _octets(server, addresses[:1])
    many = _octets(server, addresses)
    for user in users:
        if messages.count(os.path.join(server.root, user, "mail")) != (
                4 if user == users[0] else 2):
            raise Lost("%s has not all its messages" % user)
    return beside("octets written for %d mailboxes, %.1f MB" % (len(users), SIZE / 1e6), many,
                  "for one", one, "%.0f", at_most=3)


def _octets(server, addresses):
    before = _wchar(server)
    _send(server, addresses, SIZE)
    return float(_wchar(server) - before)


def _send(server, addresses, size):
    with smtplib.SMTP("127.0.0.1", server.smtp, timeout=60) as client:
        client.sendmail("someone@other.example", addresses, messages.message(1, "many", size))


def _wchar(server):
    """What the server gave to write(2) and its like so far."""
    with open("/proc/%d/io" % server.child.pid) as file:
        return next(int(line.split()[1]) for line in file if line.startswith("wchar"))
