"""What a list of filters decides: order, impossible actions, and code that the caller runs."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenmail_protocols.children.python_answer import Decision, Result
from phenmail_protocols.config.filtering import split_action
from phenmail_protocols.config.settings import Filter, Vacation
from phenmail_protocols.filters import matching
from phenmail_protocols.filters.rules import FilteredMessage, Rules, Verdict, lines, mailbox_named
from phenmail_protocols.mail.address import Address
from phenmail_protocols.store import errors
from phenmail_protocols.store.maildir import folders

BOB, ALICE = Address("bob", "example.net"), Address("alice", "example.org")
LETTER = FilteredMessage(b"Subject: n 3\r\n\r\n", BOB, ALICE, size=100)
AWAY = Vacation("away")


def rule(action, content="n", **more):
    return Filter("match", content=content, action=action, place="filters.jcfg:7", **more)


def vacation(words=AWAY):
    return Filter("vacation", vacation=words)


def code(text="pass"):
    return Filter("py", code=text, place="filters.jcfg:9")


def verdict(*filters, run_code=None, letter=LETTER):
    return Rules(filters).evaluate(letter, run_code)


def test_no_filter_and_none_that_fits():
    assert verdict() == verdict(rule("discard", "x")) == Verdict()
    assert not Rules(()) and Rules((code(),))


@pytest.mark.parametrize("action, expected", [
    ("accept", Verdict(by="filters.jcfg:7")),
    ("accept:Lists/dev", Verdict(mailbox="Lists/dev", by="filters.jcfg:7")),
    ("accept:inbox/dev", Verdict(mailbox="INBOX/dev", by="filters.jcfg:7")),
    ("reject", Verdict("reject", reason="because", by="filters.jcfg:7")),
    ("reject:no: really", Verdict("reject", reason="no: really", by="filters.jcfg:7")),
    ("discard", Verdict("discard", by="filters.jcfg:7")),
    ("forward:dan@example.com", Verdict("forward", forward=Address("dan", "example.com"),
                                        by="filters.jcfg:7")),
    ("flag:todo", Verdict(flags=("todo",))),
    ("flag:\\seen", Verdict(flags=("\\Seen",))),
    ("copy:dan@example.com", Verdict(copies=(Address("dan", "example.com"),))),
])
def test_each_action(action, expected):
    assert verdict(rule(action, name="because")) == expected


def test_the_first_decision_wins_and_the_others_are_not_asked():
    assert verdict(rule("flag:a"), rule("accept:One"), rule("discard"), rule("flag:b")) == Verdict(
        mailbox="One", flags=("a",), by="filters.jcfg:7")


def test_what_goes_on_is_gathered_once():
    found = verdict(*[rule("flag:a"), rule("copy:dan@example.com"), vacation(),
                      vacation(Vacation("other"))] * 2)
    assert found == Verdict(flags=("a",), copies=(Address("dan", "example.com"),), vacation=AWAY)


@pytest.mark.parametrize("action, copies, answer", [
    ("reject", (), None), ("discard", (Address("dan", "example.com"),), None),
    ("accept", (Address("dan", "example.com"),), AWAY),
    ("forward:eve@example.com", (Address("dan", "example.com"),), AWAY)])
def test_what_a_decision_leaves_of_it(action, copies, answer):
    found = verdict(rule("copy:dan@example.com"), vacation(), rule(action))
    assert (found.copies, found.vacation) == (copies, answer)


def test_copies_and_flags_are_bounded():
    found = verdict(*[rule("copy:a%d@example.com" % number) for number in range(50)]
                    + [rule("flag:f%d" % number) for number in range(50)])
    assert (len(found.copies), len(found.flags)) == (10, 20)


@pytest.mark.parametrize("name", ["..", "../bob", "a/../b", "/etc/x", "a//b", "a/", "a\x7fb",
                                  "x" * 300, "."])
def test_a_mailbox_outside_of_the_folder_is_inbox_and_is_told(name):
    rules = Rules((rule("accept:" + name),))
    (wrong, flaw), = rules.flaws
    assert wrong.action == "accept:" + name and "cannot be a mailbox" in flaw
    found = rules.evaluate(LETTER, None)
    assert (found.kind, found.mailbox) == ("accept", "INBOX")
    assert "filters.jcfg:7" in found.log_lines[0] and "INBOX" in found.log_lines[0]


@given(st.text(max_size=40))
def test_every_mailbox_name_has_a_folder_or_is_refused(name):
    try:
        found = mailbox_named(name)
    except errors.InvalidName:
        return
    folder = folders.folder_of(found)
    assert "/" not in folder and folder not in (".", "..")


def test_what_the_configuration_takes_for_an_address_is_one():
    for odd in ("a..b@example.org", ".a@b\u00fccher.example", '"a b"@example.org'):
        rules = Rules((rule("copy:" + odd), rule("forward:" + odd)))
        found = rules.evaluate(LETTER, None)
        assert (rules.flaws, found.kind, found.copies) == ((), "forward", (Address.parse(odd),))
    assert split_action("copy:a(b)@example.org") is None


def test_a_slow_pattern_is_searched_apart():
    asked = []

    def search_apart(pattern, text):
        asked.append((pattern, text))
        return True
    rules = Rules((rule("discard", "(n+)+$", mode="regex"), rule("accept:Next")))
    assert rules.flaws == () and rules.evaluate(LETTER, None, search_apart).kind == "discard"
    assert [pattern for pattern, _ in asked] == ["(n+)+$"]


def test_a_slow_pattern_that_cannot_be_searched_does_not_match_and_is_told():
    rules = Rules((rule("discard", "(n+)+$", mode="regex"), rule("accept:Next")))
    found = rules.evaluate(LETTER, None)
    assert found.mailbox == "Next" and "filters.jcfg:7: not searched (" in found.log_lines[0]
    assert next(rules.steps(LETTER, None)).log_lines[0].startswith("not searched: ")


def test_out_of_time_is_inbox_and_is_told(monkeypatch):
    moments = iter(range(1000))
    monkeypatch.setattr(matching, "_clock", lambda: next(moments))
    found = verdict(*[rule("discard", "x", mode="regex")] * 5)
    assert found.kind == "accept" and "took too long" in found.log_lines[0]


def test_many_filters_look_at_the_time_too(monkeypatch):
    moments = iter(range(1000))
    monkeypatch.setattr(matching, "_clock", lambda: next(moments))
    assert "took too long" in verdict(*[rule("discard", "x")] * 64).log_lines[0]


# Code


def test_code_is_given_the_filter_and_the_letter_in_its_turn():
    asked = []
    script = code("x")
    verdict(rule("flag:a"), script, run_code=lambda *arguments: asked.append(arguments))
    assert asked == [(script, LETTER)]
    verdict(rule("accept"), script, run_code=lambda *arguments: asked.append(arguments))
    assert len(asked) == 1


@pytest.mark.parametrize("result, expected", [
    (None, Verdict(mailbox="Next", by="filters.jcfg:7")),
    (Result(), Verdict(mailbox="Next", by="filters.jcfg:7")),
    (Result(Decision("accept", "odd")), Verdict(mailbox="odd", by="filters.jcfg:9")),
    (Result(Decision("reject", "no\nway")), Verdict("reject", reason="no way",
                                                    by="filters.jcfg:9")),
    (Result(Decision("discard"), ("a",), ("dan@example.com",)),
     Verdict("discard", flags=("a",), copies=(Address("dan", "example.com"),),
             by="filters.jcfg:9")),
    (Result(Decision("forward", "dan@example.com")),
     Verdict("forward", forward=Address("dan", "example.com"), by="filters.jcfg:9")),
    (Result(None, ("a",), (), ("it died",)), Verdict(mailbox="Next", flags=("a",),
                                                     by="filters.jcfg:7",
                                                     log_lines=("filters.jcfg:9: it died",))),
])
def test_what_code_decides(result, expected):
    assert verdict(code(), rule("accept:Next"), run_code=lambda *_: result) == expected


def test_what_code_says_is_not_believed():
    found = verdict(code(), run_code=lambda *_: Result(Decision("accept", "../bob"),
                                                       ("two words", "\\Deleted"), ("nobody",)))
    assert (found.mailbox, found.flags, found.copies) == ("INBOX", (),
                                                          ()) and len(found.log_lines) == 2
    found = verdict(code(), rule("discard"),
                    run_code=lambda *_: Result(Decision("forward", "nobody")))
    assert (found.kind, found.mailbox) == ("accept",
                                           "INBOX") and "goes to INBOX" in found.log_lines[0]
    for nonsense in (Result(Decision("burn", "")), Result(Decision("accept", 7)),
                     Result(None, (7,))):
        found = verdict(code(), run_code=lambda *_: nonsense)
        assert (found.kind, found.mailbox) == ("accept", "INBOX") and len(found.log_lines) == 1


def test_code_that_can_not_be_run_is_passed_over():
    def fails(*_):
        raise OSError("no such interpreter")

    for run_code in (None, fails):
        found = verdict(code(), rule("accept:Next"), run_code=run_code)
        assert found.mailbox == "Next" and found.log_lines[0].startswith("filters.jcfg:9: ")


# Words for the user's log


def test_lines_for_the_users_log():
    told = lines(verdict(rule("copy:dan@example.com"), rule("accept")), LETTER)
    assert told == ("from bob@example.net: copied to dan@example.com",)
    refused = verdict(rule("reject:spam"))
    assert lines(refused, LETTER) == ("from bob@example.net: refused by filters.jcfg:7: spam",)
    assert lines(refused, LETTER,
                 refused=False) == (
        "from bob@example.net: discarded (others accepted the message) by filters.jcfg:7: spam",)
    assert lines(verdict(rule("discard")),
                 LETTER._replace(sender=None)) == ("from <>: discarded by filters.jcfg:7",)
    assert lines(verdict(rule("forward:dan@example.com")),
                 LETTER) == ("from bob@example.net: forwarded to dan@example.com by filters.jcfg:7",
                             )
    assert lines(verdict(rule("accept:Lists")), LETTER) == ()


def test_steps_tell_of_each_filter_for_itself():
    steps = list(Rules((rule("flag:a"), rule("discard", "x"), rule("accept:One"), code(),
                        rule("reject"), vacation())).steps(LETTER, None))
    assert [(step.matched, step.effect, step.decides) for step in steps] == [
        (True, "flag a", False), (False, "", False), (True, "accept into One", True),
        (None, "", False), (True, "reject", True),
        (True, "vacation answer", False)]
    step, = Rules((rule("copy:dan@example.com"),)).steps(LETTER, None)
    assert step.effect == "copy to dan@example.com"
    step, = Rules((rule("forward:dan@example.com"),)).steps(LETTER, None)
    assert step.effect == "forward to dan@example.com"
