"""Another mail program on the same Maildir: delivers as the Maildir rules say, moves from new to
cur, sets flags by renaming.

Reads orders as JSON lines from standard input and answers each with a line when it is done and
durable.
"""
import json
import os
import random
import socket
import sys

_count = [0]


def drop(order):
    """Delivers one message: tmp, fsync, link to new, fsync new (the order of qmail-local)."""
    _count[0] += 1
    name = "%d.F%dP%d.%s" % (order["time"], _count[0], os.getpid(),
                             socket.gethostname().split(".")[0])
    temporary, place = os.path.join(order["folder"], "tmp",
                                    name), os.path.join(order["folder"], "new", name)
    file = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    data = order["message"].encode("latin-1")
    while data:
        data = data[os.write(file, data):]
    os.fsync(file)
    os.close(file)
    os.link(temporary, place)
    sync_folder(os.path.join(order["folder"], "new"))
    os.unlink(temporary)
    return name


def sync_folder(path):
    folder = os.open(path, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def flag(order):
    """Gives some message other flags; one from new goes to cur first, safely: linked, synced,
    unlinked."""
    dice = random.Random(order["seed"])
    for part in dice.sample(("new", "cur"), 2):
        names = sorted(os.listdir(os.path.join(order["folder"], part)))
        if names:
            name = dice.choice(names)
            old = os.path.join(order["folder"], part, name)
            new = os.path.join(order["folder"], "cur", name.partition(":")[0] + ":2,"
                               + dice.choice(("", "S", "FS", "R", "RS")))
            if part == "cur":
                os.rename(old, new)
            else:
                os.link(old, new)
                sync_folder(os.path.join(order["folder"], "cur"))
                os.unlink(old)
            return name
    return ""


def delete_index(order):
    """Removes the index's files, as a person would."""
    names = [name for name in os.listdir(order["folder"]) if name.startswith("phenmail-index")]
    for name in names:
        os.unlink(os.path.join(order["folder"], name))
    return names


if __name__ == "__main__":
    for line in iter(sys.stdin.readline, ""):
        given = json.loads(line)
        try:
            answer = {"done": {"drop": drop, "flag": flag,
                               "delete_index": delete_index}[given["do"]](given)}
        except OSError as error:
            answer = {"failed": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
