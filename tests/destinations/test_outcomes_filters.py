"""Users' filters through the real ports: each action, and its temporary and permanent failures.

A filter's decision never holds up mail: what it can't do is INBOX and a line in the user's log.
What holds up mail is what holds up any: no room.
"""
import collections
import os

import pytest

from phenmail_protocols.accounts.authorization import FILTER

from .frontdoor import ALICE, AUTHOR, BOB, FRIEND, LETTER, connect, transact

LMTP = {"lmtp": {"host": "127.0.0.1", "port": 0}}


def match(action, content="hello", **more):
    return lambda mail: dict({"type": "match", "content": content, "action": action}, **more)


def script(code):
    return lambda mail: {"type": "py", "code": code,
                         "authorization": mail.sign(ALICE, FILTER, code)}


def vacation(mail):
    return {"type": "vacation", "text": "I am away.", "subject": "Away"}


# `answer`: how SMTP's begins; `filed`: {mailbox: messages}; `flags`: of the one message; `left`:
# who else got something.
Effect = collections.namedtuple("Effect", "rule answer filed flags left")


def effect(rule, answer="250 2.0.0", filed=(), flags=(), left=()):
    return Effect(rule, answer, dict(filed), frozenset(flags), tuple(left))


HERE, THERE = {"INBOX": 1}, {"Lists/dev": 1}
EFFECTS = {
    "accept": effect(match("accept"), filed=HERE),
    "accept:folder": effect(match("accept:Lists/dev"), filed=THERE),
    "flag": effect(match("flag:Work"), filed=HERE, flags=["Work"]),
    "flag:system": effect(match("flag:\\Flagged"), filed=HERE, flags=["\\Flagged"]),
    "reject": effect(match("reject", name="no hellos"), "550 5.7.1 no hellos"),
    "reject:reason": effect(match("reject:Not on Mondays"), "550 5.7.1 Not on Mondays"),
    "discard": effect(match("discard")),
    "copy": effect(match("copy:" + FRIEND), filed=HERE, left=[FRIEND]),
    "forward": effect(match("forward:" + FRIEND), left=[FRIEND]),
    "vacation": effect(vacation, filed=HERE, left=[AUTHOR]),
    "py-accept": effect(script("accept('Lists/dev')"), filed=THERE),
    "py-reject": effect(script("reject('Not with me')"), "550 5.7.1 Not with me"),
    "py-discard": effect(script("discard()")),
    "py-flag": effect(script("flag('Work')\naccept()"), filed=HERE, flags=["Work"]),
    "py-forward": effect(script("forward('%s')" % FRIEND), left=[FRIEND]),
    "py-copy": effect(script("copy('%s')" % FRIEND), filed=HERE, left=[FRIEND]),
    "py-nothing": effect(script("assert msg['Subject'] == 'hello' and envelope['sender'] == '%s'"
                                % AUTHOR), filed=HERE),
}
ALL = sorted(EFFECTS)


def furnish(front, name, **settings):
    mail = front(**settings)
    mail.filters(EFFECTS[name].rule(mail))
    return mail


def check(mail, name):
    """Everything that a filter asked for was done, once."""
    wanted = EFFECTS[name]
    filed = {box: len(mail.messages(ALICE, box)) for box in ("INBOX", "Lists/dev")}
    assert {box: count for box, count in filed.items() if count} == wanted.filed
    assert mail.is_done()
    assert [each.recipients for each in mail.sent] == [(each,) for each in wanted.left]
    if wanted.filed:
        assert flags(mail, *wanted.filed) == [wanted.flags]
    if FRIEND in wanted.left:
        assert mail.sent[0].sender.startswith("SRS0=") and mail.sent[0].data.endswith(LETTER)


def flags(mail, mailbox="INBOX"):
    opened = mail.server.store.account(os.path.realpath(mail.folder(ALICE))).open(mailbox)
    try:
        return [frozenset(each) - {"\\Recent"} for each in opened.rows(opened.state().uids).flags]
    finally:
        opened.close()


# -- each action


@pytest.mark.parametrize("name", ALL)
def test_filter_success(front, name):
    mail = furnish(front, name)
    assert mail.send(ALICE).startswith(EFFECTS[name].answer)
    check(mail, name)
    assert "failed" not in mail.log() and "stopped" not in mail.log()


@pytest.mark.parametrize("name", ALL)
def test_filter_success_lmtp(front, name):
    mail = furnish(front, name, **LMTP)
    answers = mail.send(BOB, ALICE, service="lmtp")
    assert [answer[:3] for answer in answers] == ["250", EFFECTS[name].answer[:3]]
    check(mail, name)
    assert len(mail.messages(BOB)) == 1


@pytest.mark.parametrize("name", ALL)
def test_filter_temporary_failure_full(front, name):
    mail = furnish(front, name)
    with connect(mail) as client:
        with mail.full_disk():
            assert transact(client, [ALICE]).startswith("452 4.3.1")
        assert mail.messages(
            ALICE) == [] and mail.sent == [] and mail.log() == "" and mail.is_done()
        assert transact(client, [ALICE]).startswith(EFFECTS[name].answer)
    check(mail, name)


@pytest.mark.parametrize("name", ["copy", "forward", "py-copy", "py-forward"])
def test_filter_temporary_failure_full_queue(front, name):
    """Nothing is filed either: a retry must not make a duplicate."""
    mail = furnish(front, name)
    with connect(mail) as client:
        with mail.full_queue():
            assert transact(client, [ALICE]).startswith("452 4.3.1")
        assert mail.messages(ALICE) == [] and mail.is_done() and mail.sent == []
        assert transact(client, [ALICE]).startswith("250")
    check(mail, name)


def test_filter_temporary_failure_full_queue_vacation(front):
    """The message matters more than the reply to it."""
    mail = furnish(front, "vacation")
    with mail.full_queue():
        assert mail.send(ALICE).startswith("250")
    assert mail.subjects() == ["hello"] and mail.is_done() and mail.sent == []


@pytest.mark.parametrize("name", ALL)
def test_filter_permanent_failure_nul(front, name):
    mail = furnish(front, name)
    assert mail.send(ALICE, message=LETTER + b"a\0b\r\n").startswith("550 5.6.0")
    assert mail.messages(ALICE) == [] and mail.is_done() and mail.sent == []


def test_filters_are_asked_in_their_order_until_one_decides(front):
    mail = front()
    mail.filters(*[make(mail) for make in (match("accept:Never", "other"), match("flag:First"),
                                           script("flag('Second')"),
                                           match("accept:Lists/dev"), match("reject"))])
    assert mail.send(ALICE).startswith("250")
    assert flags(mail, "Lists/dev") == [{"First", "Second"}]


# -- reject


def rejecting(front, *users, **settings):
    mail = front(**settings)
    for user in users:
        mail.filters(match("reject:Not for " + user)(mail), user=user)
    return mail


def test_filter_reject_by_all_refuses_smtp(front):
    mail = rejecting(front, ALICE, BOB)
    assert mail.send(ALICE, BOB).startswith("550 5.7.1 Not for alice")
    assert mail.messages(ALICE) == mail.messages(BOB) == [] and mail.is_done() and mail.sent == []
    assert "Not for bob" in mail.log(BOB)


def test_filter_reject_by_some_discards_their_copies(front):
    mail = rejecting(front, ALICE)
    assert mail.send(ALICE, BOB).startswith("250")
    assert (len(mail.messages(ALICE)), len(mail.messages(BOB))) == (0, 1)
    assert mail.is_done() and mail.sent == [], "no bounce to a sender who may be forged"
    assert "Not for alice" in mail.log(ALICE) and mail.log(BOB) == ""


def test_filter_reject_lmtp_each_for_itself(front):
    mail = rejecting(front, ALICE, **LMTP)
    first, second = mail.send(ALICE, BOB, service="lmtp")
    assert first.startswith("550 5.7.1 Not for alice") and second.startswith("250")
    assert (len(mail.messages(ALICE)), len(mail.messages(BOB))) == (0, 1)


def test_filter_reject_of_what_was_sent_on_is_told_to_nobody(front):
    mail = rejecting(front, ALICE)
    mail.filters(match("forward:" + ALICE)(mail), user=BOB)
    assert mail.send(BOB).startswith("250")
    assert mail.is_done() and mail.sent == [] and mail.messages(ALICE) == []
    assert "Not for alice" in mail.log(ALICE)


# -- accept, flag: actions that cannot be carried out


@pytest.mark.parametrize("box", ["../../bob/mail", "a//b", "x" * 300],
                         ids=["outside", "empty part", "too long"])
def test_filter_accept_permanent_failure_is_the_inbox(front, box):
    mail = front()
    mail.filters(match("accept:" + box)(mail))
    assert mail.send(ALICE).startswith("250")
    assert mail.subjects() == ["hello"] and mail.messages(BOB) == []
    assert "INBOX" in mail.log()


def test_filter_accept_temporary_failure_mailbox_cannot_be_made(front):
    mail = front()
    mail.filters(match("accept:Lists/dev")(mail))
    mail.send(BOB)  # creates the store
    with open(os.path.join(mail.folder(ALICE), ".Lists.dev"), "w"):
        pass
    assert mail.send(ALICE).startswith("250")
    assert mail.subjects() == ["hello"] and "INBOX" in mail.log()


def test_filter_flag_permanent_failure_too_many(front):
    mail = front()
    for number in range(3):
        mail.filters(*[match("flag:Number%d" % each)(mail)
                       for each in range(number * 20, number * 20 + 20)])
        assert mail.send(ALICE).startswith("250")
    first, _, third = flags(mail)
    assert len(first) == 20 and len(third) < 20
    assert "lacks Number26" in mail.log() and "Number25" not in mail.log()


# -- copy, forward


ONWARD = ["copy", "forward", "py-copy", "py-forward"]


@pytest.mark.parametrize("name", ONWARD)
def test_filter_onward_temporary_failure(front, name):
    mail = furnish(front, name)
    mail.outside_answers(FRIEND, "451 4.2.0 Mailbox busy")
    assert mail.send(ALICE).startswith("250")
    assert mail.deferred() == "451 4.2.0 Mailbox busy"
    mail.outside_answers(FRIEND, None)
    mail.again()
    check(mail, name)


@pytest.mark.parametrize("name", ONWARD)
def test_filter_onward_temporary_failure_until_the_queue_gives_up(front, name):
    mail = furnish(front, name)
    mail.outside_answers(FRIEND, "451 4.2.0 Mailbox busy")
    assert mail.send(ALICE).startswith("250")
    mail.deferred()
    mail.days_later()
    assert mail.bounce().told() == {FRIEND: "4.2.0"}


@pytest.mark.parametrize("name", ONWARD)
def test_filter_onward_permanent_failure(front, name):
    mail = furnish(front, name)
    mail.outside_answers(FRIEND, "550 5.1.1 Nobody of that name")
    assert mail.send(ALICE).startswith("250")
    assert mail.bounce().told() == {FRIEND: "5.1.1"}
    assert len(mail.messages(ALICE)) == len(EFFECTS[name].filed)


def test_filter_forward_permanent_failure_loop(front):
    mail = front()
    mail.filters(match("forward:" + BOB)(mail))
    mail.filters(match("forward:" + ALICE)(mail), user=BOB)
    assert mail.send(ALICE).startswith("250")
    bounce = mail.bounce()
    assert list(bounce.told().values()) == ["5.4.6"]
    assert mail.messages(ALICE) == mail.messages(BOB) == []


# -- vacation


def test_filter_vacation_answers_once(front):
    mail = furnish(front, "vacation")
    for _ in range(2):
        assert mail.send(ALICE).startswith("250")
    answer, = mail.onward()
    assert (answer.sender, answer.recipients) == ("", (AUTHOR,))
    assert answer.message["Subject"] == "Away" and answer.message["Auto-Submitted"].startswith(
        "auto-replied")
    assert mail.subjects() == ["hello", "hello"]


@pytest.mark.parametrize("sender, header", [
    ("", b""), (AUTHOR, b"List-Id: <x.example>\r\n"),
    (AUTHOR, b"Auto-Submitted: auto-generated\r\n"), (AUTHOR, b"Precedence: bulk\r\n"),
    ("owner-x@far.example", b"")], ids=["null sender", "list", "automatic", "bulk", "owner"])
def test_filter_vacation_never_answers_programs(front, sender, header):
    mail = furnish(front, "vacation")
    assert mail.send(ALICE, sender=sender, message=header + LETTER).startswith("250")
    assert mail.subjects() == ["hello"] and mail.is_done() and mail.sent == []


def test_filter_vacation_temporary_failure(front):
    mail = furnish(front, "vacation")
    mail.outside_answers(AUTHOR, "450 4.2.0 Not now")
    assert mail.send(ALICE).startswith("250")
    assert mail.deferred() == "450 4.2.0 Not now"
    mail.outside_answers(AUTHOR, None)
    mail.again()
    check(mail, "vacation")


def test_filter_vacation_permanent_failure_is_told_to_nobody(front):
    mail = furnish(front, "vacation")
    mail.outside_answers(AUTHOR, "550 5.1.1 Nobody")
    assert mail.send(ALICE).startswith("250")
    assert mail.is_done() and mail.sent == [] and mail.subjects() == ["hello"], (
        "the postmaster is alice here")


# -- code

# What a script does wrong -> what the user's log says.
WRONG = {
    "raises": ("raise ValueError(msg['Subject'])", "ValueError"),
    "hangs": ("while True: pass", "2 s"),
    "dies": ("import os\nos.kill(os.getpid(), 9)", "signal 9"),
    "no Python": ("accept(", "SyntaxError"),
    "too much memory": ("x = bytearray(1 << 30)", "MemoryError"),
    "forwards nowhere": ("forward('nobody')", "not an address"),
}


@pytest.mark.parametrize("how", sorted(WRONG))
def test_filter_py_failure_is_the_next_filter(front, how):
    code, told = WRONG[how]
    mail = front()
    mail.filters(script(code)(mail), match("accept:Lists/dev")(mail))
    assert mail.send(ALICE).startswith("250")
    assert len(mail.messages(ALICE, "Lists/dev")) == 1 and mail.messages(ALICE) == []
    assert told in mail.log(), mail.log()


@pytest.mark.parametrize("signed", [None, "0" * 64, "another text", "another user"])
def test_filter_py_unauthorised_is_the_next_filter(front, signed):
    mail = front()
    code = "discard()"
    given = {"another text": mail.sign(ALICE, FILTER, code + " "),
             "another user": mail.sign(BOB, FILTER, code)}
    rule = {"type": "py", "code": code}
    if signed is not None:
        rule["authorization"] = given.get(signed, signed)
    mail.filters(rule, match("accept:Lists/dev")(mail))
    assert mail.send(ALICE).startswith("250")
    assert len(mail.messages(ALICE, "Lists/dev")) == 1
    assert "not approved" in mail.log()


def test_filter_py_in_a_file_that_was_changed_since_is_the_next_filter(front):
    mail = front()
    path = mail.write(ALICE, "filter.py", "reject('as authorized')")
    mail.filters({"type": "py", "code": "file:filter.py",
                  "authorization": mail.sign(ALICE, FILTER, "reject('as authorized')")})
    assert mail.send(ALICE).startswith("550 5.7.1 as authorized")
    with open(path, "w") as file:
        file.write("discard()")
    assert mail.send(ALICE).startswith("250")
    assert mail.subjects() == ["hello"] and "not approved" in mail.log()


def test_filter_py_of_an_administrator_needs_no_authorization(front):
    mail = front(admin=[ALICE])
    mail.filters({"type": "py", "code": "reject('by the administrator')"})
    assert mail.send(ALICE).startswith("550 5.7.1 by the administrator")


def test_filter_py_failure_no_interpreter_is_the_next_filter(front):
    mail = front(python="/there/is/no/python")
    mail.filters(script("discard()")(mail), match("accept:Lists/dev")(mail))
    assert mail.send(ALICE).startswith("250")
    assert len(mail.messages(ALICE, "Lists/dev")) == 1 and mail.log()


# -- filter files


@pytest.mark.parametrize("content",
                         ['{"filters": [', '{"filters": [{"type": "match"}]}', "[]", "\0"])
def test_filter_file_failure_is_the_inbox(front, content):
    mail = front()
    mail.write(ALICE, "filters.jcfg", content)
    assert mail.send(ALICE).startswith("250")
    assert mail.subjects() == ["hello"]
    assert "filters.jcfg:1:" in mail.log() and "INBOX" in mail.log()


def test_filter_of_the_server_for_who_wants_it(front):
    mail = front(**{"global-filters": [{"type": "match", "content": "hello",
                                        "action": "accept:Lists/dev"}]})
    mail.configure(ALICE, use_global_filters=True)
    assert mail.send(ALICE, BOB).startswith("250")
    assert len(mail.messages(ALICE, "Lists/dev")) == len(mail.messages(BOB)) == 1
