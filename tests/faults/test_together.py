"""SIGKILL and a dying disk at each operation while several messages are added together: the next
process sees all of them or none, with ascending UIDs, and what was answered is there."""
import os
import shutil
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":
    sys.path.insert(0, TOP)
    __package__ = "tests.faults"
    __import__(__package__)

from phenmail_protocols.store.filestore import FileStore  # noqa: E402
from phenmail_protocols.store.maildir import together  # noqa: E402

from . import layer as layers  # noqa: E402

FLAGS = ((), ("\\Seen",), (), ("\\Flagged", "Work"))  # so some go to new and some to cur


def add(account, name="INBOX"):
    messages = []
    for flags in FLAGS:
        staged = account.stage()
        staged.write(b"Subject: together\r\n\r\n%d\r\n" % len(messages))
        staged.sync()
        messages.append((staged, flags))
    return account.deliver_all(name, messages)


def texts(folder, name="INBOX"):
    """The last line of each message, in the order of UIDs, as a new process reads it."""
    store = FileStore(poll=3600, boot_id="boot 1")
    try:
        mailbox = store.account(folder).open(name)
        state = mailbox.state()
        found = []
        for _, content in mailbox.contents(state.uids[:state.count]):
            with content:
                found.append(content.whole().split(b"\r\n")[-2])
        mailbox.close()
        return found
    finally:
        store.close()


def killed_at(rules, folder, nth, after):
    """Add messages in a child that dies at its nth operation -> whether it died."""
    rule = rules.kill("*:*", nth=nth, after=after)
    child = os.fork()
    if not child:
        store = FileStore(poll=3600, boot_id="boot 1")
        add(store.account(folder))
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    rules.clear(rule)
    return os.WIFSIGNALED(status)


def main(root):
    rules = layers.Own()
    model, folder = os.path.join(root, "model"), os.path.join(root, "mail")
    store = FileStore(poll=3600, boot_id="boot 1")
    store.account(model).open("INBOX").close()
    store.close()
    kills = finished = nth = 0
    while True:
        nth += 1
        for after in False, True:
            shutil.copytree(model, folder, symlinks=True)
            died = killed_at(rules, folder, nth, after)
            recorded = os.path.exists(os.path.join(folder, together.NAME))
            found = texts(folder)
            whole = found == [b"0", b"1", b"2", b"3"]
            assert whole or died and not found, (nth, after, found)
            assert not os.path.exists(os.path.join(folder, together.NAME))
            kills += died
            finished += died and recorded and whole
            shutil.rmtree(folder)
        if not died:
            print(kills, finished)
            return


def test_all_or_none_after_a_kill(library, layer):
    found = subprocess.run([sys.executable, os.path.abspath(__file__), layer.root],
                           env=layer.environment(), stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=300)
    words = found.stdout.decode().split()
    assert not found.returncode, found.stdout.decode()
    assert int(words[-2]) > 50 and int(words[-1]) >= 8  # kills; those between two renames and such


if __name__ == "__main__":
    main(sys.argv[1])
