"""Messages with a key: their names show it in every mailbox; and messages of several threads keep
their order."""
import os
import threading

from tests.served import served

KEYS = ["%032x" % number for number in range(40)]


def put(account, key, name="INBOX", text="x", **options):
    with account.stage(key=key) as staged:
        staged.write(b"Subject: %s\r\n\r\n" % text.encode())
        return account.deliver(name, staged, **options)


def test_keys_are_found_in_every_mailbox(house):
    house.account.create("Box")
    put(house.account, KEYS[0])
    put(house.account, KEYS[1], "Box", flags=["\\Seen"], date=1600000000)
    house.put("another")
    assert set(house.account.arrival_keys()) == {KEYS[0], KEYS[1]}
    assert set(house.account.arrival_keys(2 ** 40)) == set()
    name, = os.listdir(house.folder + "/.Box/cur")
    assert ".F%s." % KEYS[1] in name and ",S=" in name and name.endswith(":2,S")
    inbox = house.account.open("INBOX")
    inbox.change_flags([1], "add", ["\\Seen"])  # it moves from new to cur
    inbox.close()
    assert set(house.account.arrival_keys()) == {KEYS[0], KEYS[1]}


def test_two_messages_with_one_key_are_two(house):
    for text in ("a", "b", "c"):
        put(house.account, KEYS[0], text=text)
    inbox = house.account.open("INBOX")
    assert sorted(data[:10] for data in served(inbox)) == [
        b"Subject: a", b"Subject: b", b"Subject: c"]
    inbox.close()


def test_names_of_others_have_no_key(house):
    house.put()
    for name in ("1.Fabc.host", "1.F" + KEYS[0], "x.F%s.host" % KEYS[0], "F%s.host" % KEYS[0]):
        with open(os.path.join(house.folder, "new", name), "w") as file:
            file.write("Subject: x\n\nx\n")
    assert list(house.account.arrival_keys()) == []


class Turn:
    def __init__(self, before):
        self.before, self.done = before, threading.Event()

    def wait(self):
        if self.before is not None:
            assert self.before.done.wait(10)

    def passed(self):
        self.done.set()


def test_turns_keep_the_order(house):
    turn, threads = None, []
    for number, key in enumerate(KEYS):
        turn = Turn(turn)
        threads.append(threading.Thread(
            target=put, args=(house.account, key),
            kwargs={"text": "m%d" % number, "turn": turn}))
    for thread in reversed(threads):
        thread.start()
    for thread in threads:
        thread.join()
    inbox = house.account.open("INBOX")
    assert [data.split(b"\r\n")[0] for data in served(inbox)] == [
        b"Subject: m%d" % number for number in range(len(KEYS))]
    inbox.close()
