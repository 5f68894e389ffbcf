"""SIGKILL at each operation of what changes usage: the next process counts exactly what is there, and
takes nothing beyond the quota."""
import os
import shutil
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":
    sys.path.insert(0, TOP)
    __package__ = "tests.faults"
    __import__(__package__)

from phenmail_protocols.config.settings import Quota  # noqa: E402
from phenmail_protocols.store.errors import OverQuota  # noqa: E402
from phenmail_protocols.store.filestore import FileStore  # noqa: E402

from . import layer as layers  # noqa: E402

LIMIT = Quota(messages=6)  # of which the model has 4


class Scene:
    """An account with the quota, as a new process opens it."""

    def __init__(self, folder):
        self.store = FileStore(poll=3600, boot_id="boot 1", limit_of=lambda _: LIMIT)
        self.account = self.store.account(folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.store.close()

    def put(self, name="INBOX"):
        with self.account.stage() as staged:
            staged.write(b"Subject: hello\r\n\r\nbody\r\n")
            self.account.deliver(name, staged)

    def run(self, verb, *arguments):
        """A method of the INBOX."""
        inbox = self.account.open("INBOX")
        getattr(inbox, verb)(*arguments)
        inbox.close()

    def counted(self):
        """(octets, messages), by asking each mailbox."""
        found = [self.account.status(info.name) for info in self.account.mailboxes()]
        return sum(each.size for each in found), sum(each.messages for each in found)


VERBS = {
    "deliver": lambda scene: scene.put(),
    "copy": lambda scene: scene.run("copy", [1, 2], "Sent"),
    "move": lambda scene: scene.run("move", [1, 2, 3], "Sent"),
    "remove": lambda scene: scene.run("remove", [1, 3]),
    "delete": lambda scene: scene.account.delete("Sent"),
    "rename": lambda scene: scene.account.rename("INBOX", "old"),
}


def killed_at(rules, folder, verb, nth):
    """Run a verb in a child that dies at its nth operation -> whether it died."""
    rule = rules.kill("*:*", nth=nth)
    child = os.fork()
    if not child:
        VERBS[verb](Scene(folder))
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    rules.clear(rule)
    return os.WIFSIGNALED(status)


def check(folder):
    with Scene(folder) as scene:
        # Negative after a MOVE that was cut off: it had made the copies.
        room = LIMIT.messages - scene.account.quota.usage().messages
        assert scene.account.quota.usage() == scene.counted()
        taken = 0
        try:
            while True:
                scene.put("Drafts")
                taken += 1
        except OverQuota:
            assert taken == max(0, room)
        assert scene.counted()[1] == LIMIT.messages or room < 0


def main(root):
    rules = layers.Own()
    model, folder = os.path.join(root, "model"), os.path.join(root, "mail")
    with Scene(model) as scene:
        for name in "INBOX", "INBOX", "INBOX", "Sent":
            scene.put(name)
    for verb in VERBS:
        nth, died = 0, True
        while died:
            nth += 1
            shutil.copytree(model, folder, symlinks=True)
            died = killed_at(rules, folder, verb, nth)
            check(folder)
            shutil.rmtree(folder)
        print(verb, nth)


def test_usage_is_exact_after_a_kill(library, layer):
    found = subprocess.run([sys.executable, os.path.abspath(__file__), layer.root],
                           env=layer.environment(), stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=300)
    assert not found.returncode, found.stdout.decode()
    assert len(found.stdout.split(b"\n")) > len(VERBS)


if __name__ == "__main__":
    main(sys.argv[1])
