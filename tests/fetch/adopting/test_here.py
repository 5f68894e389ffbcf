"""The keys of messages, in little memory."""
import hashlib

from phenmail_protocols.fetch.adopting.here import Everywhere, Here, _Records


def key(number):
    return hashlib.sha256(b"%d" % number).hexdigest()[:32]


def test_many_keys():
    records = _Records()
    for number in range(5000):
        records.add(key(number), 4000000000)
    assert all(records.get(key(number)) == 4000000000 for number in range(5000))
    assert not any(records.get(key(number)) for number in range(5000, 6000))


def test_a_key_across_two_records():
    records = _Records()
    first, second = "ab" * 16, "ab" * 15 + "ff"
    records.add(first, 0xabababab)
    records.add(second, 7)
    assert records.get(first) == 0xabababab and records.get(second) == 7
    assert records.get("ab" * 14 + "ffff") is None
    records.add("ab" * 14 + "0000", 9)
    assert records.get("ab" * 14 + "0000") == 9


def test_of_a_mailbox(desk):
    account = desk.house.account
    account.create("Other")
    for number in range(3):
        with account.stage(key=key(number)) as staged:
            staged.write(b"\r\n")
            account.deliver("Other" if number == 2 else "INBOX", staged)
    desk.house.put()
    here, everywhere = Here(account, "INBOX"), Everywhere(account)
    assert [here.uid(key(number)) for number in range(4)] == [1, 2, None, None]
    assert [key(number) in everywhere for number in range(4)] == [True, True, True, False]
    here.add(key(9), 77)
    assert here.uid(key(9)) == 77
