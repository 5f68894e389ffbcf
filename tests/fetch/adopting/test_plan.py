"""Which mailbox of another server becomes which one here."""
import pytest

from phenmail_protocols.fetch.adopting.plan import Labels, Listed, make
from phenmail_protocols.store.maildir import folders


def listed(*names, separator="/"):
    """Listed for names; "Sent Items \\Sent" has an attribute; a name with "+" is subscribed."""
    found = []
    for text in names:
        name, *attributes = text.split(" \\")
        found.append(Listed(name.rstrip("+"), separator,
                            frozenset("\\" + each.lower() for each in attributes),
                            name.endswith("+")))
    return found


def targets(plan):
    return {move.source: move.target for move in plan.moves}


def test_names_of_ours_and_hierarchy():
    plan = make(listed("INBOX", "Lists.dev", "Lists \\Noselect", "Lists.dev.2019", separator="."))
    assert targets(plan) == {"INBOX": "INBOX", "Lists.dev": "Lists/dev",
                             "Lists.dev.2019": "Lists/dev/2019"}
    assert plan.moves[0].source == "INBOX"
    assert targets(make(listed("a/b", separator=None))) == {"a/b": "a_b"}
    assert targets(make(listed("inbox"))) == {"inbox": "INBOX"}


@pytest.mark.parametrize("names, expected", [
    (["Gesendet \\Sent", "Papierkorb \\Trash", "Spam \\Junk", "Entw\u00fcrfe \\Drafts"],
     ["Sent", "Trash", "Junk", "Drafts"]),
    # the server announces special uses, so names alone say nothing
    (["Gesendet \\Sent", "Spam"], ["Sent", "Spam"]),
    # it announces none
    (["Sent Items", "Deleted Messages", "Bulk Mail"], ["Sent", "Trash", "Junk"]),
    # our name has another mailbox there
    (["Sent Items \\Sent", "Sent"], ["Sent Items", "Sent"]),
    (["Sent Items", "Sent Messages"], ["Sent", "Sent Messages"]),
    # what lies below
    (["Sent Items \\Sent", "Sent Items/2019"], ["Sent", "Sent/2019"]),
])
def test_special_uses(names, expected):
    plan = make(listed(*names))
    found = targets(plan)
    assert [found[name.split(" \\")[0]] for name in names] == expected


def test_courier_has_everything_below_inbox():
    plan = make(listed("INBOX", "INBOX.Sent", "INBOX.Lists.dev", separator="."))
    assert targets(plan) == {"INBOX": "INBOX", "INBOX.Sent": "Sent", "INBOX.Lists.dev": "Lists/dev"}
    plan = make(listed("INBOX", "INBOX/below", "Other"))
    assert targets(plan)["INBOX/below"] == "INBOX/below"
    plan = make(listed("INBOX", "INBOX.a", "Other", separator="."), personal="INBOX.")
    assert targets(plan) == {"INBOX": "INBOX", "INBOX.a": "a", "Other": "Other"}


def test_mailboxes_of_others():
    plan = make(listed("INBOX") + [Listed("shared/news", "/", obstacle="it is shared")])
    assert targets(plan) == {"INBOX": "INBOX"}
    assert plan.left_out == (("shared/news", "it is shared"),)


@pytest.mark.parametrize("name", [
    "tab\tand\nline", "a//b", "/a", "del\x7f", "c1\x85", "x" * 300, "\u65e5\u672c" * 100,
    "a/" * 400 + "b", "\ud800", "..", "~", "back\\slash", "%*", "\u2028"])
def test_names_that_we_cannot_have(name):
    plan = make(listed(name, "other"))
    found = targets(plan)[name]
    folders.require_new(found)
    assert folders.name_of(folders.folder_of(found)) == found
    assert targets(make(listed(name, "other")))[name] == found


def test_two_that_become_one():
    plan = make(listed("a\x01", "a\x02", "a_"))
    assert sorted(targets(plan).values()) == ["a_", "a_ (2)", "a_ (3)"]


def test_an_earlier_run_decides():
    first = targets(make(listed("a\x02")))
    assert first == {"a\x02": "a_"}
    assert targets(make(listed("a\x01", "a\x02"), fixed=first)) == {"a\x01": "a_ (2)", "a\x02": "a_"}


def test_subscriptions():
    assert make(listed("INBOX+", "a+", "b")).subscribe == ("INBOX", "a")
    assert make(listed("INBOX", "b")).subscribe == ("INBOX", "b")  # nobody subscribed to anything


def test_virtual_mailboxes():
    plan = make(listed("INBOX", "Starred \\Flagged", "All \\All", "Virtual \\Noselect"))
    assert [(move.source, move.target, move.virtual) for move in plan.moves] == [
        ("INBOX", "INBOX", False), ("All", "Archive", True)]
    assert [name for name, _ in plan.left_out] == ["Starred"]


GMAIL = ("INBOX", "[Gmail] \\Noselect", "[Gmail]/All Mail \\All", "[Gmail]/Sent Mail \\Sent",
         "[Gmail]/Drafts \\Drafts", "[Gmail]/Spam \\Junk", "[Gmail]/Trash \\Trash",
         "[Gmail]/Starred \\Flagged", "[Gmail]/Important \\Important", "Work/Clients",
         "B\u00fccher")


def test_gmail():
    plan = make(listed(*GMAIL), has_labels=True)
    assert [(move.source, move.target, move.by_label) for move in plan.moves] == [
        ("[Gmail]/Spam", "Junk", False), ("[Gmail]/Trash", "Trash", False),
        ("[Gmail]/All Mail", "Archive", True)]
    assert set(plan.create) == {"INBOX", "Sent", "Drafts", "Junk", "Trash", "Work/Clients",
                                "B\u00fccher", "Archive"}
    labels = Labels(plan, "Archive")
    for given, flags, expected in [
            (["\\Inbox", "Work/Clients"], ["\\Seen"], (("INBOX", "Work/Clients"), ("\\Seen",))),
            (["\\Starred", "\\Important"], [], (("Archive",), ("\\Flagged", "$Important"))),
            (["\\Sent", "\\Sent"], [], (("Sent",), ())),
            (["\\Unheard"], [], (("Archive",), ())),
            (["hidden/la\tbel"], [], (("hidden/la_bel",), ())),
            (["\\Starred"], ["\\Flagged"], (("Archive",), ("\\Flagged",))),
            (["\\Draft", "B\u00fccher"], ["\\Draft"], (("Drafts", "B\u00fccher"), ("\\Draft",)))]:
        assert labels.places(given, flags) == expected
    # All Mail is not shown over IMAP: mailbox by mailbox
    plan = make(listed(*[name for name in GMAIL if "All" not in name]), has_labels=True)
    assert targets(plan)["[Gmail]/Sent Mail"] == "Sent" and "INBOX" in targets(plan)
