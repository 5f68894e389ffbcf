"""Users' filters during a delivery: actions are carried out, and failures never delay mail."""
import json
import os
import threading
import time
from types import SimpleNamespace

import pytest

from phenmail_protocols.accounts.authorization import Authorizations
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.config.settings import UserSettings
from phenmail_protocols.delivery.incoming import HEADER_LIMIT
from phenmail_protocols.delivery.router import Router
from phenmail_protocols.filters import rules, screening
from phenmail_protocols.filters.screening import Screening
from phenmail_protocols.filters.verdict import Verdict
from phenmail_protocols.mail.address import Address
from phenmail_protocols.queue import spool as spool_module
from phenmail_protocols.queue.model import LOCAL, TO
from phenmail_protocols.queue.spool import Spool
from phenmail_protocols.store import errors
from phenmail_protocols.store.filestore import FileStore
from tests.served import served

from ..delivery import test_router
from ..delivery.test_router import MESSAGE, Failing, codes, deliver, envelope


class Settings(test_router.Settings):
    python = run_as = None
    global_filters = admin = ()


class Directory(test_router.Directory):
    """As in test_router; every user has a folder of the root."""

    def __init__(self, folder):
        super().__init__(folder)
        self.settings = Settings()
        self.folder, self.root = folder, Root(folder)

    def resolve(self, address):
        self.root, root = self.folder, self.root
        try:
            return super().resolve(address)
        finally:
            self.root = root

    def user_settings(self, folder):
        return UserSettings(None, None, None, None, None, "", "",
                            bool(self.settings.global_filters))


class House:
    def __init__(self, folder):
        self.folder = str(folder)
        self.directory = Directory(self.folder)
        self.store = FileStore()
        self.queue = Spool(os.path.join(self.folder, "queue"))
        self.sent = []
        self.screening = Screening(self.directory, Authorizations(self.folder),
                                   lambda: "mx.example.org",
                                   lambda *answer: self.sent.append(answer))
        self.router = Router(self.directory, self.store, self.queue, screening=self.screening)

    def filters(self, user, *filters):
        os.makedirs(os.path.join(self.folder, user), exist_ok=True)
        with open(os.path.join(self.folder, user, "filters.jcfg"), "w") as file:
            json.dump({"filters": list(filters)}, file)

    def messages(self, user, mailbox="INBOX"):
        opened = self.store.account(os.path.join(self.folder, user)).open(mailbox)
        try:
            rows = opened.rows(opened.state().uids)
            return [(octets, set(flags)) for octets, flags in zip(served(opened), rows.flags)]
        finally:
            opened.close()

    def count(self, user, mailbox="INBOX"):
        return len(self.messages(user, mailbox))

    def queued(self):
        """{via: (recipient, body)} of the one message in the queue."""
        message, = self.queue.messages()
        with self.queue.body(message.identity) as file:
            body = file.read()
        return {each.via: (str(each.address), message.head + body) for each in message.recipients}

    def left_behind(self, user):
        return os.listdir(os.path.join(self.folder, user, "tmp"))

    def log(self, user):
        try:
            with open(os.path.join(self.folder, user, "mail.log")) as file:
                return file.read()
        except FileNotFoundError:
            return ""


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path)
    yield made
    made.screening.stop()
    made.store.close()


def match(action, content="x", **more):
    return dict({"type": "match", "content": content, "action": action}, **more)


def test_who_has_no_filters_costs_no_loading(house):
    assert codes(deliver(house.router, envelope("anna"), MESSAGE)) == [250]
    assert house.screening._rooms is None


def test_accept_makes_the_mailbox_and_flags_are_kept(house):
    house.filters("anna", match("flag:\\Flagged"), match("flag:Work"), match("accept:Lists/dev"))
    assert codes(deliver(house.router, envelope("anna"), MESSAGE)) == [250]
    assert codes(deliver(house.router, envelope("anna"), MESSAGE)) == [250]
    assert house.count("anna") == 0
    assert [flags for _, flags in house.messages("anna",
                                                 "Lists/dev")] == [{"\\Flagged", "Work"}] * 2
    assert "Lists/dev" in house.store.account(os.path.join(house.folder, "anna")).subscriptions()
    assert house.log("anna") == ""


@pytest.mark.parametrize("size", [200000, 300000, 2500000])
def test_filters_see_a_header_of_any_size(house, size):
    house.filters("anna", match("flag:Late", "late", header="X-Late"),
                  match("flag:Body", "hello", header="*body"))
    header = b"Subject: x\r\n" + b"X-Filler: yyyyyyyyyyyyyyyyy\r\n" * (
        size // 29) + b"X-Late: late\r\n\r\n"
    assert codes(deliver(house.router, envelope("anna"), header + b"hello\r\n")) == [250]
    (octets, flags), = house.messages("anna")
    assert flags == {"Late", "Body"} and octets.endswith(header + b"hello\r\n")


def test_all_who_refuse_are_one_refusal(house):
    house.filters("anna", match("reject:no such mail"))
    house.filters("bert", match("reject"))
    outcomes = deliver(house.router, envelope("anna", "bert"), MESSAGE)
    assert [(each.reply.code, each.reply.enhanced) for each in outcomes] == [(550, "5.7.1")] * 2
    assert outcomes[0].reply.text == "no such mail"
    assert house.count("anna") == house.count("bert") == 0 and house.left_behind("anna") == []
    assert "refused by" in house.log("anna") and "refused by" in house.log("bert")


@pytest.mark.parametrize("others", [("bert",), ("agent",), ("bert", "agent")])
def test_where_others_take_it_the_refused_copy_is_discarded(house, others):
    house.filters("anna", match("reject:never"))
    assert codes(deliver(house.router, envelope("anna", *others),
                         MESSAGE)) == [250] * (1 + len(others))
    assert house.count("anna") == 0 and house.count("bert") == ("bert" in others)
    assert "discarded (others accepted the message)" in house.log("anna")
    assert len(list(house.queue.messages())) == ("agent" in others)


def test_lmtp_has_a_refusal_each(house):
    house.filters("anna", match("reject:never"))
    outcomes = deliver(house.router, envelope("bert", "anna"), MESSAGE, apart=True)
    assert codes(outcomes) == [250, 550] and outcomes[1].reply.text == "never"
    assert house.count("anna") == 0 and house.count("bert") == 1


def test_what_nobody_can_be_told_is_discarded(house):
    house.filters("anna", match("reject:never"))
    incoming = house.router.begin(envelope("anna"), test_router.Origin("LMTP"), may_refuse=False)
    incoming.write(MESSAGE)
    assert codes(incoming.finish(apart=True)) == [250]
    assert house.count("anna") == 0 and "discarded" in house.log("anna")


def test_discard(house):
    house.filters("anna", match("discard"))
    assert codes(deliver(house.router, envelope("anna"), MESSAGE)) == [250]
    assert house.count("anna") == 0 and "discarded" in house.log("anna")
    assert house.left_behind("anna") == []


def test_forward_and_copies_go_into_the_queue_as_they_came(house):
    house.filters("anna", match("copy:copy@example.net"), match("forward:far@example.com"))
    house.filters("bert", match("copy:bert2@example.net"))
    octets = b"From: \xc3\xa4@example.net\r\nSubject: x\r\n\r\n" + b"line\r\n.\r\n" * 40000
    assert codes(deliver(house.router, envelope("anna", "bert", "agent"), octets)) == [250] * 3
    found = house.queued()
    assert {via: each[0] for via, each in found.items()} == {
        LOCAL: "agent@example.org", TO + "copy@example.net": "anna@example.org",
        TO + "far@example.com": "anna@example.org",
        TO + "bert2@example.net": "bert@example.org"}
    assert found[LOCAL][1].startswith(b"Received: ") and found[LOCAL][1].endswith(b"\r\n" + octets)
    assert house.count("anna") == 0 and house.count("bert") == 1
    assert "forwarded to far@example.com" in house.log("anna")
    assert "copied to bert2@example.net" in house.log("bert")


def test_a_forward_alone_is_the_same_octets(house):
    house.filters("anna", match("forward:far@example.com"))
    octets = b"Subject: x\r\n\r\n" + b"1234567\r\n" * 100000
    assert codes(deliver(house.router, envelope("anna"), octets)) == [250]
    (_, body), = house.queued().values()
    assert body.startswith(b"Received: ") and body.endswith(b"\r\n" + octets)


@pytest.mark.parametrize("apart", [False, True])
def test_a_copy_that_can_not_be_queued_is_not_promised(house, monkeypatch, apart):
    house.filters("anna", match("copy:copy@example.net"))

    def full(*_):
        raise spool_module.NoSpace()
    monkeypatch.setattr(spool_module.Arriving, "commit", full)
    assert codes(deliver(house.router, envelope("anna"), MESSAGE, apart=apart)) == [452]
    assert house.queue.identities() == []


def test_what_is_in_a_mailbox_is_told_though_the_queue_takes_nothing(house, monkeypatch):
    told = []
    house.router.notify = lambda identity, envelope, readers, *_: told.extend(
        str(each.address) for each in readers)
    house.filters("anna", match("copy:copy@example.net"))
    house.filters("bert", {"type": "vacation", "text": "away"})
    text = b"From: sender@example.net\r\nTo: bert@example.org\r\nSubject: x\r\n\r\n"
    both = envelope("anna", "bert", "cleo")
    both = both._replace(recipients=tuple(each._replace(notify=("SUCCESS",))
                                          for each in both.recipients))

    def full(*_):
        raise spool_module.NoSpace()
    monkeypatch.setattr(spool_module.Arriving, "commit", full)
    deliver(house.router, both, text)  # all of it is brought again
    assert house.sent == [] and told == [] and house.log("bert") == ""
    assert codes(deliver(house.router, both, text, apart=True)) == [452, 250, 250]
    assert len(house.sent) == 1 and "vacation answer sent" in house.log("bert")
    assert house.log("anna") == ""
    assert told == ["bert@example.org", "cleo@example.org"]


def test_a_mailbox_that_can_not_be_made_is_the_inbox(house, monkeypatch):
    from phenmail_protocols.store.account import Account

    def refuse(*_):
        raise errors.InvalidName()
    monkeypatch.setattr(Account, "create", refuse)
    house.filters("anna", match("flag:\\Flagged"), match("accept:Lists"))
    assert codes(deliver(house.router, envelope("anna"), MESSAGE)) == [250]
    assert [flags for _, flags in house.messages("anna")] == [{"\\Flagged"}]
    assert "could not be created" in house.log("anna")


def test_a_flag_too_many_is_left_out(house):
    account = house.store.account(os.path.join(house.folder, "anna"))
    with account.stage() as staged:
        staged.write(b"Subject: y\r\n\r\n")
        account.deliver("INBOX", staged, ["k%d" % number for number in range(26)])
    house.filters("anna", match("flag:\\Seen"), match("flag:OneMore"))
    assert codes(deliver(house.router, envelope("anna"), MESSAGE)) == [250]
    assert house.messages("anna")[1][1] == {"\\Seen"} and "lacks OneMore" in house.log("anna")


@pytest.mark.parametrize("others", [(), ("bert",)])
def test_what_a_user_puts_in_the_files_place_is_not_read(house, others):
    # The server may be root, and the folder is the user's.
    secret = os.path.join(house.folder, "secret")
    with open(secret, "w") as file:
        file.write("Subject: x\n\n" + "root's own words\n" * 100)
    for user in ("anna",) + others:
        house.filters(user, match("copy:copy@example.net"),
                      match("accept:Found", "own words", header="*body"))
    incoming = house.router.begin(envelope("anna", *others),
                                  test_router.Origin("ESMTP", "client", "192.0.2.1"))
    incoming.write(MESSAGE)
    incoming._mailboxes.staged.flush()
    path = incoming._mailboxes.staged.path
    os.rename(path, path + ".aside")
    os.symlink(secret, path)
    incoming.finish()
    for message in house.queue.messages():
        with house.queue.body(message.identity) as file:
            assert b"own words" not in file.read()
    assert "Found" not in house.log("anna")
    assert not os.path.exists(os.path.join(house.folder, "anna", ".Found"))


def test_a_header_without_end_is_not_cut_within_a_line_end(house):
    house.filters("anna", match("copy:copy@example.net", "y"))
    octets = b"Subject: y\r\n"
    octets += b"X: %s\r" % (b"x" * (HEADER_LIMIT + 1 - len(octets) - 4))
    assert len(octets) == HEADER_LIMIT + 1
    assert codes(deliver(house.router, envelope("anna"), octets,
                         b"\nX: y\r\n\r\nhello\r\n")) == [250]
    (_, body), = house.queued().values()
    assert body.endswith(b"x\r\nX: y\r\n\r\nhello\r\n")


def test_a_broken_filter_file_is_the_inbox(house):
    house.filters("anna")
    with open(os.path.join(house.folder, "anna", "filters.jcfg"), "w") as file:
        file.write("{")
    assert codes(deliver(house.router, envelope("anna"), MESSAGE)) == [250]
    assert house.count("anna") == 1 and "filters.jcfg:" in house.log("anna")


def test_a_failing_filter_room_is_the_inbox(house, monkeypatch):
    house.filters("anna", match("discard"))
    monkeypatch.setattr(house.directory, "user_settings", None)
    assert codes(deliver(house.router, envelope("anna"), MESSAGE)) == [250]
    assert house.count("anna") == 1


def test_the_tag_and_the_body_are_looked_at(house):
    house.filters("anna", match("accept:Tagged", "lists", header="*tag", mode="is"),
                  match("accept:Body", "hello", header="*body"))
    assert codes(deliver(house.router, envelope("anna+lists", "anna"), MESSAGE)) == [250, 250]
    assert house.count("anna", "Tagged") == 1 and house.count("anna", "Body") == 1


def test_away(house):
    house.filters("anna", {"type": "vacation", "text": "I am away"})
    text = b"From: sender@example.net\r\nTo: anna@example.org\r\nSubject: x\r\n\r\n"
    for _ in range(2):
        assert codes(deliver(house.router, envelope("anna"), text)) == [250]
    assert house.count("anna") == 2
    (answer, chunks), = house.sent
    assert answer.sender is None and [str(each.address)
                                      for each in answer.recipients] == ["sender@example.net"]
    assert b"I am away" in b"".join(chunks)
    assert "vacation answer sent to sender@example.net" in house.log("anna")


def test_code_without_leave_does_not_run(house):
    house.filters("anna", {"type": "py", "code": "discard()"})
    assert codes(deliver(house.router, envelope("anna"), MESSAGE)) == [250]
    assert house.count("anna") == 1 and house.log("anna")


def test_code_of_a_message_has_an_end_however_many_have_it(house, monkeypatch):
    seconds, asked = [0.0], []

    class Slow:
        def run(self, rule, folder, letter):
            asked.append(os.path.basename(folder))
            seconds[0] += 2.0

        def stop(self):
            pass
    monkeypatch.setattr(screening, "time", SimpleNamespace(
        time=time.time, monotonic=lambda: seconds[0]))
    for user in ("anna", "bert"):
        house.filters(user, *[{"type": "py", "code": "hang()"}] * 8 + [match("accept:Late")])
    house.screening._loaded().scripts = Slow()
    assert codes(deliver(house.router, envelope("anna", "bert"), MESSAGE)) == [250, 250]
    assert asked == ["anna"] * 8 + ["bert"] * 2 and "took too long" in house.log("bert")
    assert house.count("anna", "Late") == house.count("bert", "Late") == 1
    assert codes(deliver(house.router, envelope("bert"), MESSAGE)) == [250]
    assert len(asked) == 18


def test_a_mailbox_that_fails_at_the_last_moment_sends_nothing_on(house):
    house.filters("anna", match("copy:copy@example.net"))
    house.router.store = Failing(house.store, {"bert": ("deliver", errors.NoSpace())})
    assert 452 in codes(deliver(house.router, envelope("anna", "bert"), MESSAGE))
    assert house.queue.identities() == []
    assert codes(deliver(house.router, envelope("anna", "bert"), MESSAGE, apart=True)) == [250, 452]
    assert list(house.queued()) == [TO + "copy@example.net"]


def test_who_does_not_get_it_has_no_copies_sent_and_answers_nobody(house):
    text = b"From: sender@example.net\r\nTo: anna@example.org\r\nSubject: x\r\n\r\n"
    house.filters("anna", {"type": "vacation", "text": "I am away"}, match("copy:copy@example.net"))
    house.filters("bert", match("copy:bert2@example.net"))
    real, house.router.store = house.store, Failing(house.store,
                                                    {"anna": ("deliver", errors.InUse())})
    for _ in range(3):  # each time it is brought again
        assert codes(deliver(house.router, envelope("anna"), text, apart=True)) == [451]
        assert codes(deliver(house.router, envelope("anna", "bert"), text)) == [451, 451]
    assert house.queue.identities() == [] and house.sent == [] and house.log("anna") == ""
    assert codes(deliver(house.router, envelope("anna", "bert", "agent"), text,
                         apart=True)) == [451, 250, 250]
    assert sorted(house.queued()) == [LOCAL, TO + "bert2@example.net"]
    house.router.store = real
    assert codes(deliver(house.router, envelope("anna"), text, apart=True)) == [250]
    assert len(house.sent) == 1 and len(house.queue.identities()) == 2


@pytest.mark.parametrize("asked, copied, forwarded", [
    ((), (), ()), (("NEVER",), ("NEVER",), ("NEVER",)), (("SUCCESS",), ("NEVER",), ("SUCCESS",)),
    (("SUCCESS", "FAILURE"), ("FAILURE",), ("SUCCESS", "FAILURE")),
    (("DELAY",), ("DELAY",), ("DELAY",))])
def test_who_wants_no_notice_gets_none_from_further_on(house, asked, copied, forwarded):
    # A notice to the postmaster says NEVER: otherwise its own failures would cause notices without
    # end.
    house.filters("anna", match("copy:copy@example.net"))
    house.filters("bert", match("forward:far@example.com"))
    both = envelope("anna", "bert")
    both = both._replace(recipients=tuple(each._replace(notify=asked,
                                                        orcpt="rfc822;old@example.net")
                                                        for each in both.recipients))
    assert codes(deliver(house.router, both, MESSAGE)) == [250, 250]
    message, = house.queue.messages()
    assert [(each.notify, each.orcpt) for each in message.recipients] == [
        (copied, "rfc822;old@example.net"), (forwarded, "rfc822;old@example.net")]


def test_the_servers_filters_come_after_the_users(house):
    from phenmail_protocols.config.settings import Filter
    house.directory.settings.global_filters = (Filter("match", content="x", action="accept:Server",
                                                      from_server=True),)
    assert codes(deliver(house.router, envelope("anna"), MESSAGE)) == [250]
    assert house.count("anna", "Server") == 1
    house.filters("anna", match("accept:Mine"))
    assert codes(deliver(house.router, envelope("anna"), MESSAGE)) == [250]
    assert house.count("anna", "Mine") == 1 and house.count("anna", "Server") == 1


def test_a_slow_pattern_is_searched_in_a_child(house):
    slow = "free.*money"
    house.filters("anna", match("flag:Spam", slow, header="*body", mode="regex"),
                  match("accept:Never", "(a+)+$", header="*body", mode="regex"))
    body = b"Subject: hi\r\n\r\n" + b"free " * 2000 + b"money\r\n" + b"a" * 50 + b"!\r\n"
    assert codes(deliver(house.router, envelope("anna"), body)) == [250]
    (_, flags), = house.messages("anna")
    assert "Spam" in flags and house.count("anna") == 1
    assert "did not end within 1 s" in house.log("anna")


def test_filters_of_one_user_are_asked_for_one_message_at_a_time(house, monkeypatch):
    """Each may compute for a second, and a stranger may bring twenty messages at once."""
    house.filters("alice", match("accept:Work"))
    inside, most, lock = [], [], threading.Lock()
    evaluate = rules.Rules.evaluate

    def slowly(self, letter, *ways):
        with lock:
            inside.append(1)
            most.append(len(inside))
        try:
            return evaluate(self, letter, *ways)
        finally:
            with lock:
                inside.pop()
    monkeypatch.setattr(rules.Rules, "evaluate", slowly)
    loaded = house.screening.rules(os.path.join(house.folder, "alice"))
    letter = rules.FilteredMessage(b"Subject: x\r\n\r\n", None, Address.parse("alice@example.org"))
    threads = [threading.Thread(target=house.screening.verdict, args=(loaded, "alice", letter, 0.0))
               for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(most) == 20 and max(most) == 1


def test_who_waits_when_the_server_stops_goes_on(house):
    screening = house.screening
    screening._asking.enter("bob")
    screening.stop()
    assert screening.verdict(rules.Rules(()), "bob", None, 0.0) == Verdict()
