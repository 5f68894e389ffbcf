"""The mail of the benchmarks: always the same, no two messages alike."""
import os
import random

USER = "me"
NEIGHBOUR = "neighbour"  # another user
DOMAIN = "bench.example"
ADDRESS = "%s@%s" % (USER, DOMAIN)
FAR = "someone@far.example"  # at home elsewhere
PASSPHRASE = "the-bench-passphrase"
SERIAL = b"X-Serial: "
NEEDLE = "quinquereme"  # in one of 500 messages
RARE = "trireme"  # in at most 100 of those that `fill` writes

_HEADER = """\
From: Some Sender <%(author)s>
To: %(to)s
Subject: Message %(number)d about %(topic)s
Date: Tue, 14 Nov 2023 22:%(minute)02d:%(second)02d +0000
Message-ID: <%(serial)s@other.example>
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii
X-Serial: %(serial)s

"""
_WORDS = (
    "harbour rope gull mast anchor cargo lighthouse tide quay barrel compass chart storm sail keel "
    "rudder "
    "fathom knot bosun ballast wharf buoy").split()


def message(number, serial, size=2048, needle=False, author=None, header=()):
    """A message of about `size` octets with CRLF line ends; `serial` tells it from all others;
    `author`: an address; `header`: more lines of the header."""
    chance = random.Random(number)
    lines = (_HEADER % dict(
        number=number, author=author or "sender%d@other.example" % number, to=ADDRESS,
        topic=chance.choice(_WORDS),
        minute=number // 60 % 60, second=number % 60, serial=serial)).split("\n")
    lines[-2:-2] = header
    length = sum(map(len, lines)) + 2 * len(lines)
    if needle:
        lines.insert(-1, "The %s came in." % NEEDLE.capitalize())
    while length < size:
        lines.insert(-1, " ".join(chance.choice(_WORDS) for _ in range(10)))
        length += len(lines[-2]) + 2
    return "\r\n".join(lines).encode("ascii")


def fill(folder, count):
    """Write `count` messages into a new Maildir folder, as other programs name them; nine of ten
    were read."""
    make(folder)
    for number in range(1, count + 1):
        data = message(number, "kept-%d" % number, 1200 + number * 37 % 2400, number % 500 == 0,
                       header=_references(number))
        if number % max(1, count // 100) == 0:
            data += b"The %s came in.\r\n" % RARE.encode("ascii")
        stored = data.replace(b"\r\n", b"\n")
        name = "%d.M%06dP7Q%d.bench,S=%d,W=%d:2,%s" % (
            1700000000 + number, number, number, len(stored), len(data),
            "" if number % 10 == 0 else "S")
        path = os.path.join(folder, "cur", name)
        with open(path, "wb") as file:
            file.write(stored)
        os.chmod(path, 0o644)
        os.utime(path, (1700000000 + number, 1700000000 + number))


def fill_new(folder, count, size=4096):
    """Write `count` messages of `size` octets, which nobody has read, into a new Maildir folder."""
    make(folder)
    for number in range(1, count + 1):
        put(folder, number, message(number, "fetched-%d" % number, size))


def put(folder, number, data):
    """Write a message with CRLF line ends into a Maildir folder, as other programs name it."""
    stored = data.replace(b"\r\n", b"\n")
    name = "%d.M%06dP7Q%d.bench,S=%d,W=%d" % (
        1700000000 + number, number, number, len(stored), len(data))
    path = os.path.join(folder, "tmp", name)
    with open(path, "wb") as file:
        file.write(stored)
    os.chmod(path, 0o644)
    os.rename(path, os.path.join(folder, "new", name))


def _references(number):
    """Threads of five messages: each answers the one before it."""
    first = number - number % 5
    ids = ["<kept-%d@other.example>" % each for each in range(first, number)]
    return ["In-Reply-To: " + ids[-1], "References: " + " ".join(ids)] if ids else []


def make(folder):
    for part in ("tmp", "new", "cur"):
        os.makedirs(os.path.join(folder, part))


def copy(source, target, count=None):
    """A second Maildir with the same messages, or the first `count` of them; the files are shared
    (nobody writes into a message)."""
    make(target)
    for name in sorted(os.listdir(os.path.join(source, "cur")))[:count]:
        os.link(os.path.join(source, "cur", name), os.path.join(target, "cur", name))


def serials(folder):
    """The serial of every message that lies in a Maildir folder: a list."""
    found = []
    for part in ("new", "cur"):
        for entry in os.scandir(os.path.join(folder, part)):
            with open(entry.path, "rb") as file:
                data = file.read(4096)
            start = data.find(SERIAL)
            if start >= 0:
                found.append(data[start + len(SERIAL):data.index(b"\n",
                                                                 start)].strip().decode("ascii"))
    return found


def count(folder):
    """How many messages lie in a Maildir folder."""
    return sum(len(os.listdir(os.path.join(folder, part))) for part in ("new", "cur"))
