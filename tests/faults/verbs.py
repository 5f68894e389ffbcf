"""Each public method of the store and POP3's QUIT, with a fault at each of its file operations: the
answer and the state must agree.

Run as a program under the disk layer (`test_verbs.py` does that), it takes names of rows and prints
one line of JSON for each. A row is a call on a store that holds the mail of `furnish`. All mail
before and after the call is compared; the row does not say what to expect.
"""
import errno
import hashlib
import inspect
import json
import logging
import os
import shutil
import sys
from collections import Counter

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":
    sys.path.insert(0, TOP)
    __package__ = "tests.faults"
    __import__(__package__)

from phenmail_protocols.config.settings import Quota  # noqa: E402
from phenmail_protocols.pop3.maildrop import open_maildrop  # noqa: E402
from phenmail_protocols.store.account import Account  # noqa: E402
from phenmail_protocols.store.deriving.derivation import Derived  # noqa: E402
from phenmail_protocols.store.errors import StoreError  # noqa: E402
from phenmail_protocols.store.filestore import FileStore  # noqa: E402
from phenmail_protocols.store.indexing import index  # noqa: E402
from phenmail_protocols.store.indexing.derived_index import Holds, Span  # noqa: E402
from phenmail_protocols.store.mailbox import Mailbox  # noqa: E402
from phenmail_protocols.store.maildir.tree import remove_stale  # noqa: E402

from . import layer as layers  # noqa: E402

CLASSES = (FileStore, Account, Mailbox)
# (what fails, with which error, how often; 0: from then on always). A full disk stays full, other
# errors hit one operation.
FAULTS = [("space:*", errno.ENOSPC, 0), ("*:*", errno.EIO, 1)]
# They take the same paths, so only every fifth operation is tried with them.
OTHER_KINDS = [("*:*", errno.ENOSPC, 1), ("space:*", errno.EDQUOT, 0), ("*:*", errno.EROFS, 1),
               ("*:*", errno.EACCES, 1), ("create:*", errno.EMFILE, 0),
               ("create:*", errno.ENFILE, 1)]
# From one operation on everything fails, so nothing can be undone; but no message may be lost.
DEATHS = [("*:*", errno.EIO, 0), ("*:*", errno.EROFS, 0)]


class Scene:
    """An open store with mail in it: what a row's call is given."""

    def __init__(self, folder):
        self.folder = folder
        self.limit = None
        self.open()

    def open(self):
        self.store = FileStore(poll=3600, boot_id="boot 1", limit_of=lambda _: self.limit)
        self.account = self.store.account(self.folder)
        self.inbox = self.account.open("INBOX")
        self.inbox.state()

    def put(self, text, name="INBOX", flags=(), account=None):
        account = account or self.account
        with account.stage() as staged:
            staged.write(b"Subject: %s\r\n\r\n%s\r\n" % (text.encode(), text.encode() * 50))
            return account.deliver(name, staged, flags)

    def put_together(self, flags):
        messages = []
        try:
            for each in flags:
                messages.append((self.account.stage(), each))
                staged = messages[-1][0]
                staged.write(b"Subject: %d of several\r\n\r\n" % len(messages))
                staged.sync()
            return Delivered([
                each.left_out for each in self.account.deliver_all("Box", messages)])
        finally:
            for staged, _ in messages:
                staged.discard()

    def limited(self):
        """The same with a quota."""
        self.limit = Quota(messages=100)
        return self

    def close(self):
        self.store.close()


class Delivered:
    """What `Account.deliver_all` could not keep."""

    def __init__(self, left_out):
        self.left_out = sum(left_out, ())


def furnish(folder):
    """Make an account with messages in new and in cur, flags and keywords, a mailbox with children,
    and subscriptions."""
    scene = Scene(folder)
    for number in range(4):
        flags = ([], ["\\Seen"], ["\\Deleted"], ["\\Deleted", "Work"])[number]
        scene.put("m%d" % number, flags=flags)
    for name in ("Box", "Box/Sub", "Box/Sub/deep", "Other"):
        scene.account.create(name)
        scene.put("in " + name, name, ["\\Flagged"])
        scene.put("also in " + name, name)
    scene.account.subscribe("Box/Sub")
    see(scene.account)  # each has its UIDVALIDITY now
    scene.close()


def see(account):
    """All of an account: ({mailbox: (UIDVALIDITY, {UID: (digest, flags)})}, subscriptions)."""
    found, octets = {}, 0
    for info in account.mailboxes():
        if not info.selectable:
            continue
        mailbox = account.open(info.name)
        mailbox.look()
        state = mailbox.state()
        uids = list(state.uids[:state.count])
        assert uids == sorted(set(uids)), (info.name, uids)
        flags = dict(zip(uids, mailbox.rows(uids).flags))
        messages = {}
        for uid, content in mailbox.contents(uids):
            assert content is not None, "%s %d is listed, but has no file" % (info.name, uid)
            with content:
                octets += len(content.whole())
                digest = hashlib.sha256(content.whole()).hexdigest()[:12]
                messages[uid] = digest, tuple(sorted(flags[uid]))
        found[info.name] = mailbox.uidvalidity, messages
        mailbox.close()
    usage = account.quota.usage()
    assert usage == (octets, sum(len(messages) for _, messages in found.values())), usage
    return found, sorted(account.subscriptions())


def relative(seen, before):
    """`seen`, with messages that are new since `before` named only by their bytes and flags: their
    UIDs depend on what was tried earlier."""
    mailboxes = {}
    for name, (validity, messages) in seen[0].items():
        known = [old for old in before[0].values() if old[0] == validity]
        old = known[0][1] if known else {}
        highest = max(old, default=0)
        new = Counter(message for uid, message in messages.items() if uid not in old)
        assert all(uid in old or uid > highest for uid in messages), (
            "a UID below older ones: %s" % messages)
        mailboxes[name] = (validity if known else "new",
                           {uid: message for uid, message in messages.items() if uid in old}, new)
    return mailboxes, seen[1]


def without(seen, name, uids):
    """`seen` after these UIDs were removed."""
    mailboxes = dict(seen[0])
    validity, messages = mailboxes[name]
    mailboxes[name] = validity, {uid: each for uid, each in messages.items() if uid not in uids}
    return mailboxes, seen[1]


def digests(seen):
    """The set of messages in a `relative` view, in any mailbox."""
    return {digest for _, old, new in seen[0].values()
            for digest, _ in list(old.values()) + list(new)}


def difference(expected, found):
    """Text that lists the differences."""
    pairs = [(name, expected[0].get(name), found[0].get(name))
             for name in sorted(set(expected[0]) | set(found[0]))]
    pairs.append(("subscriptions", expected[1], found[1]))
    return "\n".join("%s: expected %s, found %s" % pair for pair in pairs if pair[1] != pair[2])


# -- the rows: name of the method -> call(scene) -> result


def _quit(scene):
    """POP3: three messages are marked, then QUIT."""
    drop = open_maildrop(scene.store, scene.folder)
    try:
        for number in (1, 2, 4):
            drop.delete(number)
        return drop.update()
    finally:
        drop.close()


def _contents(scene):
    for _, content in scene.inbox.contents([1, 2, 9]):
        if content is not None:
            content.close()


def _account(scene):
    other = FileStore(poll=3600, boot_id="boot 1")
    try:
        other.account(scene.folder).mailboxes()
    finally:
        other.close()


def _deliver_with_a_key(scene):
    with scene.account.stage(key="0123456789abcdef" * 2) as staged:
        staged.write(b"Subject: fetched\r\n\r\nfetched\r\n")
        return scene.account.deliver("INBOX", staged, ["\\Seen"], 1600000000)


def _watched_look(scene):
    watch = scene.account.watch(lambda: None)
    try:
        scene.account.look()
    finally:
        watch.close()


CALLS = {
    "FileStore.account": _account,
    "FileStore.require_room": lambda scene: scene.limited().store.require_room(scene.folder, 100),
    "FileStore.close": lambda scene: scene.store.close(),
    "Account.close": lambda scene: scene.account.close(),
    "Account.open_mailboxes": lambda scene: scene.account.open_mailboxes(),
    "removal despite a full disk": lambda scene: scene.account.despite_full_disk(
        lambda: scene.inbox.remove([1])),
    "Account.open": lambda scene: scene.account.open("Box").close(),
    "Account.closed": lambda scene: scene.account.closed(scene.account.open("Box")),
    "Account.mailboxes": lambda scene: scene.account.mailboxes(),
    "Account.create": lambda scene: scene.account.create("New/deep/mailbox"),
    "Account.delete": lambda scene: scene.account.delete("Box"),
    "Account.rename": lambda scene: scene.account.rename("Box", "Moved/away"),
    "Account.rename INBOX": lambda scene: scene.account.rename("INBOX", "Old mail"),
    "Account.require": lambda scene: scene.account.require("Box"),
    "Account.status": lambda scene: scene.account.status("Box"),
    "Account.watch": lambda scene: scene.account.watch(lambda: None).close(),
    "Account.notify": lambda scene: scene.account.notify(),
    "Account.look": _watched_look,
    "Account.stamps": lambda scene: scene.account.stamps(["INBOX", "Box"]),
    "Account.as_sent": lambda scene: scene.account.as_sent().close(),
    "Account.subscribe": lambda scene: scene.account.subscribe("Box/Sub/deep"),
    "Account.unsubscribe": lambda scene: scene.account.unsubscribe("Sent"),
    "Account.subscriptions": lambda scene: scene.account.subscriptions(),
    "Account.stage": lambda scene: scene.account.stage().discard(),
    "Account.deliver": lambda scene: scene.put("brand new"),
    "Account.deliver with a key": _deliver_with_a_key,
    "Account.arrival_keys": lambda scene: list(scene.account.arrival_keys()),
    "Account.deliver with flags": lambda scene: scene.put(
        "brand new", "Box", ["\\Seen", "Urgent", "Fresh"]),
    "Account.deliver in a quota": lambda scene: scene.limited().put("brand new"),
    "Account.deleted": lambda scene: scene.account.deleted("INBOX"),
    "Account.look_at": lambda scene: scene.account.look_at("Box"),
    "Account.names_for_watchers": lambda scene: scene.account.names_for_watchers(lambda: None),
    "Account.measure": lambda scene: scene.account.measure("Box"),
    "Account.deliver_all": lambda scene: scene.put_together([(), ("\\Seen",), ("Urgent",)]),
    "FileStore.derive_with": lambda scene: scene.store.derive_with(None, "1"),
    "Account.wake_idle_work": lambda scene: scene.account.wake_idle_work(False),
    "Account.known_mailboxes": lambda scene: scene.account.known_mailboxes(),
    "Account.identity_of": lambda scene: scene.account.identity_of(scene.inbox),
    "Account.rows_after": lambda scene: scene.account.rows_after(scene.inbox, 1, 9),
    "Account.rows_named": lambda scene: scene.account.rows_named(scene.inbox, ["1.M1P1.host"]),
    "Account.message_counts": lambda scene: scene.account.message_counts(),
    "Account.check_space": lambda scene: scene.account.check_space(),
    "Mailbox.close": lambda scene: scene.account.open("Other").close(),
    "Mailbox.watch": lambda scene: scene.inbox.watch(lambda: None).close(),
    "Mailbox.notify": lambda scene: scene.inbox.notify(),
    "Mailbox.read_from_index": lambda scene: scene.inbox.read_from_index(),
    "Mailbox.look": lambda scene: scene.inbox.look(),
    "Mailbox.keywords": lambda scene: scene.inbox.keywords(),
    "Mailbox.state": lambda scene: scene.inbox.state(),
    "Mailbox.changes": lambda scene: scene.inbox.changes(0),
    "Mailbox.expunged_since": lambda scene: scene.inbox.expunged_since(0),
    "Mailbox.first_unseen": lambda scene: scene.inbox.first_unseen(),
    "Mailbox.flag_rows": lambda scene: scene.inbox.flag_rows([1, 2]),
    "Mailbox.all_flag_rows": lambda scene: list(scene.inbox.all_flag_rows()),
    "Mailbox.all_rows": lambda scene: list(scene.inbox.all_rows()),
    "Mailbox.files": lambda scene: scene.inbox.files([1, 2]),
    "Mailbox.first_recent": lambda scene: scene.inbox.first_recent(),
    "Mailbox.claim_recent": lambda scene: scene.inbox.claim_recent(),
    "Mailbox.is_current": lambda scene: scene.inbox.is_current(),
    "Mailbox.status_now": lambda scene: scene.account.status("INBOX"),
    "Mailbox.deleted_now": lambda scene: scene.account.deleted("INBOX"),
    "Mailbox.rows": lambda scene: scene.inbox.rows([1, 2]),
    "Mailbox.cached": lambda scene: scene.inbox.cached("X", [1, 2]),
    "Mailbox.cache": lambda scene: scene.inbox.cache(
        {"X": {1: b"a", 2: b"b"}}, {1: {"subject": b"a"}}),
    "Mailbox.keep_derived": lambda scene: scene.inbox.keep_derived(
        {1: Derived({"X": b"a"}, {"subject": b"a"})}, "1", Span(0, 2), scene.inbox.uidvalidity),
    "Mailbox.find": lambda scene: scene.inbox.find(Holds("subject", b"a"), 1, 2),
    "Mailbox.existing": lambda scene: scene.inbox.existing([1, 2]),
    "Mailbox.content_of": lambda scene: scene.inbox.content_of(
        scene.account.rows_after(scene.inbox, 1, 1)[0]).close(),
    "Mailbox.content": lambda scene: scene.inbox.content(2).close(),
    "Mailbox.contents": _contents,
    "Mailbox.sync": lambda scene: scene.inbox.sync(1),
    "Mailbox.take_back": lambda scene: scene.inbox.take_back([]),
    "Mailbox.change_flags add": lambda scene: scene.inbox.change_flags(
        [1, 2, 3, 4], "add", ["\\Flagged"]),
    "Mailbox.change_flags replace": lambda scene: scene.inbox.change_flags(
        [1, 2, 3, 4], "replace", ["\\Answered", "Work", "Later"]),
    "Mailbox.change_flags remove": lambda scene: scene.inbox.change_flags(
        [2, 3], "remove", ["\\Seen", "\\Deleted"]),
    "Mailbox.expunge": lambda scene: scene.inbox.expunge(),
    "Mailbox.remove": lambda scene: scene.inbox.remove([1, 2, 4]),
    "Mailbox.copy": lambda scene: scene.inbox.copy([1, 2, 4], "Box"),
    "Mailbox.copy in a quota": lambda scene: scene.limited().inbox.copy([1, 2, 4], "Box"),
    "Mailbox.move": lambda scene: scene.inbox.move([1, 2, 4], "Box"),
    "pop3 QUIT": _quit,
}
# Keywords that need a new letter: a row may leave out only these, and must report it.
NEW_KEYWORDS = {"Account.deliver with flags": {"Urgent", "Fresh"},
                "Account.deliver_all": {"Urgent"},
                "Mailbox.change_flags replace": {"Later"}}


def methods():
    """The public methods of the store's classes, as "Class.method". Methods that end in `_locked`
    are for the store's own use."""
    return sorted(
        "%s.%s" % (each.__name__, name) for each in CLASSES
        for name, _ in inspect.getmembers(each, inspect.isfunction)
        if not name.startswith("_") and not name.endswith("_locked"))


class Trial:
    """One row, tried with each fault below `ground`."""

    def __init__(self, rules, ground, name):
        self._rules, self._name, self._call = rules, name, CALLS[name]
        self._model, self._folder = os.path.join(ground, "model"), os.path.join(ground, "mail")
        if not os.path.isdir(self._model):
            furnish(self._model)
        self._mailbox = "INBOX"
        self.cases = self.failed = 0

    def _scene(self):
        if os.path.exists(self._folder):
            shutil.rmtree(self._folder)
        shutil.copytree(self._model, self._folder, symlinks=True)
        scene = Scene(self._folder)
        self._before = see(scene.account)
        return scene

    def run(self, faults, step=1, cold=False):
        """Try all faults, at every `step`th operation; `cold`: the call includes opening the store.

        Returns the number of the call's operations.
        """
        self._cold = cold
        scene = self._scene()
        self._rules.forget()
        self._do(scene)
        operations = self._operations = self._rules.forget()
        scene.close()
        self._good = self._fresh()
        for what, error, count in faults:
            for nth in range(1, operations + 2, step):
                self._case(what, error, count, nth)
        return operations

    def _do(self, scene):
        """The call; the result."""
        if self._cold:
            scene.close()
            scene.open()
        return self._call(scene)

    def _fresh(self):
        """As a new process sees it."""
        store = FileStore(poll=3600, boot_id="boot 1")
        try:
            return relative(see(store.account(self._folder)), self._before)
        finally:
            store.close()

    def _case(self, what, error, count, nth):
        scene = self._scene()
        self._rules.forget()
        rule = self._rules.fail(what, error, nth, count)
        raised = result = None
        try:
            result = self._do(scene)
        except StoreError as problem:
            raised = problem
        finally:
            hits = rule.hits
            self._rules.clear()
        try:
            self.cases += 1
            self.failed += raised is not None
            expected = self._expected(raised, result)
            views = [("live", lambda: relative(see(scene.account), self._before)),
                     ("in a new process", self._fresh),
                     ("without index and old files", self._swept)]
            for view, look in views:
                found = look()
                assert found == expected, "%s: %s" % (view, difference(expected, found))
        except Exception as problem:
            raise AssertionError("%s, %s failing with %s at operation %d (%d times), %s: %s: %s" % (
                self._name, what, errno.errorcode[error], nth, hits,
                "raised %r" % raised if raised else "returned %s" % (result,),
                type(problem).__name__, problem)) from problem
        finally:
            scene.close()

    def survive(self, step):
        """The disk dies during the call: results hold, and all other mail still exists."""
        for what, error, count in DEATHS:
            for nth in range(1, self._operations + 2, step):
                scene = self._scene()
                self._rules.fail(what, error, nth, count)
                try:
                    self._do(scene)
                    kept = self._good
                except StoreError:
                    kept = relative(self._before, self._before)
                finally:
                    self._rules.clear()
                scene.close()
                self.cases += 1
                found = self._swept()
                lost = digests(kept) - digests(found)
                assert not lost, "%s, dead with %s at operation %d: lost %s" % (
                    self._name, errno.errorcode[error], nth, lost)

    def _expected(self, raised, result):
        """The state after the call: nothing changed, everything, or what the answer says."""
        if raised is not None:
            return relative(self._before, self._before)
        if self._name in ("Mailbox.expunge", "Mailbox.remove", "removal despite a full disk"):
            return relative(without(self._before, "INBOX", result), self._before)
        if self._name == "Mailbox.move":
            return self._moved([old for old, _ in result.pairs])
        if self._name == "pop3 QUIT":
            assert sum(result) == 3
            return relative(without(self._before, "INBOX", (1, 2, 4)[:result[0]]), self._before)
        return self._without_keywords(getattr(result, "left_out", ()))

    def _without_keywords(self, left_out):
        """Everything was done, except that these keywords were not set."""
        assert set(left_out) <= NEW_KEYWORDS.get(self._name, set()), left_out
        def less(message):
            return message[0], tuple(flag for flag in message[1] if flag not in left_out)
        mailboxes = {name: (validity, {uid: less(each) for uid, each in old.items()},
                            Counter({less(each): count for each, count in new.items()}))
                     for name, (validity, old, new) in self._good[0].items()}
        return mailboxes, self._good[1]

    def _moved(self, uids):
        mailboxes, subscribed = relative(without(self._before, "INBOX", uids), self._before)
        validity, old, new = mailboxes["Box"]
        messages = self._before[0]["INBOX"][1]
        mailboxes["Box"] = validity, old, new + Counter(messages[uid] for uid in uids)
        return mailboxes, subscribed

    def _swept(self):
        """What the files alone say, after old temporary files were removed."""
        for name in os.listdir(self._folder):
            if name.startswith(index.FILE):
                os.unlink(os.path.join(self._folder, name))
        remove_stale(self._folder, seconds=-1)
        return self._fresh()


def main(ground, names):
    logging.getLogger("phenmail").addHandler(logging.NullHandler())
    logging.getLogger("phenmail").propagate = False
    rules = layers.Own()
    for name in names:
        trial = Trial(rules, ground, name)
        try:
            operations = trial.run(FAULTS)
            trial.run(OTHER_KINDS, step=5)
            trial.survive(step=3)
            cold = trial.run(FAULTS, step=3, cold=True)
            found = dict(row=name, operations=operations, cold=cold, cases=trial.cases,
                         refused=trial.failed)
        except Exception as problem:
            import traceback
            found = dict(row=name, error=str(problem), trace=traceback.format_exc())
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
