"""The command `filters test`: what each filter would do, and that nothing is done."""
import email
import json
import os

import pytest

from phenmail_protocols.admin import filters
from phenmail_protocols.children.python_answer import Decision, Result
from phenmail_protocols.config import loader
from phenmail_protocols.config.problems import ConfigError
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.mail.address import Address

NOW = 1782000000.0
MESSAGE = (
    b"Return-Path: <bob@example.net>\nFrom: Bob <bob@elsewhere.example>\nTo: alice@example.org\n"
           b"Subject: [dev] the release\n\nHello, the body\n")
FILTERS = """{"filters": [
  {"type": "match", "content": "[none]", "action": "discard"},
  {"type": "match", "header": ["To", "*body"], "content": "the body", "action": "flag:todo"},
  {"type": "vacation", "text": "gone"},
  {"type": "py", "code": "file:filter.py"},
  {"type": "match", "mode": "startswith", "content": "[dev]", "action": "accept:Lists/dev"},
  {"type": "match", "header": "*size", "content": "<1k", "action": "reject:too small"}
]}"""


@pytest.fixture
def root(tmp_path):
    root = Root(str(tmp_path / "root"))
    root.create()
    os.makedirs(os.path.join(root.path, "alice", "mail"))
    write(root, FILTERS, "filters.jcfg")
    with open(os.path.join(root.path, "message"), "wb") as file:
        file.write(MESSAGE)
    return root


def write(root, text, name):
    with open(os.path.join(root.path, "alice", "mail", name), "w") as file:
        file.write(text)


def settings(root, **more):
    return loader.server_from_dict(
        dict({"sender-domain": "example.org", "domains": {"example.org": {
        "alice": "/alice/mail", "sales": ":alice", "bob": "-"}}}, **more), root, True)


def tried(root, user="alice@example.org", **more):
    more.setdefault("now", NOW)
    return filters.try_filters(root, settings(root), user, os.path.join(root.path, "message"),
                               **more)


def test_what_each_filter_would_do(root):
    before = sorted(os.listdir(os.path.join(root.path, "alice", "mail")))
    result = tried(root)
    assert [(line.number, line.matched, line.effect, line.reached) for line in result.lines] == [
        (1, False, "", True), (2, True, "flag todo", True), (3, True, "vacation answer", True),
        (4, None, "", True),
        (5, True, "accept into Lists/dev", True), (6, True, "reject: too small", False)]
    assert (result.verdict.kind, result.verdict.mailbox,
            result.verdict.flags) == ("accept", "Lists/dev", ("todo",))
    assert result.message.sender == Address("bob", "example.net")
    assert result.message.size == len(MESSAGE)
    assert sorted(os.listdir(os.path.join(root.path, "alice", "mail"))) == before


def test_a_message_that_is_in_no_file(root):
    expected = tried(root)
    text = MESSAGE.decode()
    for message in (MESSAGE, bytearray(MESSAGE), text, email.message_from_string(text)):
        result = filters.try_message(root, settings(root), "alice", message, now=NOW)
        assert result.lines == expected.lines and result.verdict == expected.verdict
        assert result.message.size == len(MESSAGE) and not os.path.exists(result.message.path)
    with pytest.raises(TypeError):
        filters.try_message(root, settings(root), "alice", None)
    with pytest.raises(filters.UnknownUser):
        filters.try_message(root, settings(root), "carol", MESSAGE)


def test_lines_for_people(root):
    lines = filters.text_lines(tried(root))
    assert lines == [
        "from bob@example.net to alice@example.org, %d octets" % len(MESSAGE),
        '1. alice/mail/filters.jcfg:2: Subject contains "[none]": no match',
        '2. alice/mail/filters.jcfg:3: To or *body contains "the body": match: flag todo',
        "3. alice/mail/filters.jcfg:4: vacation: match: vacation answer",
        "   answers once in 7 days",
        "4. alice/mail/filters.jcfg:5: code in filter.py: no decision",
        "   alice/mail/filters.jcfg:5: the code was not run: cannot read its file filter.py: "
        "No such file or directory",
        '5. alice/mail/filters.jcfg:6: Subject startswith "[dev]": match: accept into Lists/dev',
        '6. alice/mail/filters.jcfg:7: *size "<1k": not reached; otherwise match: reject: '
        "too small",
        "Result: it goes to the mailbox Lists/dev, flagged todo."]


def test_code_is_run_by_whom_the_caller_names(root):
    result = tried(root,
                   run_code=lambda rule, letter: Result(Decision("forward", "dan@example.com")))
    assert (result.lines[3].effect,
            result.lines[4].reached) == ("forward to dan@example.com", False)
    assert filters.text_lines(
        result)[-1] == "Result: it is forwarded to dan@example.com, flagged todo."


def test_why_a_vacation_does_not_answer(root):
    assert tried(root,
                 sender="").lines[2].remarks == (
                 "no answer: it is a bounce or a notice (it has no sender)",)


def test_the_servers_filters_come_last(root):
    write(root, '{"use-global-filters": true}', "mail.jcfg")
    given = settings(root,
                     **{"global-filters": [{"type": "match", "content": "x", "action": "discard"}]})
    result = filters.try_filters(root, given, "alice@example.org",
                                 os.path.join(root.path, "message"))
    assert len(result.lines) == 7 and result.lines[-1].place.startswith("the server's filter")


@pytest.mark.parametrize("user, tag",
                         [("alice", None), ("alice+x@EXAMPLE.org", "x"),
                          ("sales@example.org", None)])
def test_names_of_users(root, user, tag):
    assert tried(root, user).message.tag == tag


@pytest.mark.parametrize("user",
                         ["bob@example.org", "nobody@example.org", "alice@example.net", "a b", ""])
def test_who_has_no_mailbox(root, user):
    with pytest.raises(filters.UnknownUser):
        tried(root, user)


def test_a_broken_file_is_told(root):
    write(root, '{"filters": [{"type": "no"}]}', "filters.jcfg")
    with pytest.raises(ConfigError, match="filters.jcfg:1:"):
        tried(root)


@pytest.mark.parametrize("data, sender", [
    (b"", None),
    (b"From: Bob <bob@example.net>\r\nSubject: x\r\n\r\nbody", Address("bob", "example.net")),
    (b"Return-Path: <>\nFrom: bob@example.net\n\n", None), (b"From: a, b\n\n", None),
    (b"From: Friends: bob@example.net;\n\n", Address("bob", "example.net")), (b"\xff\0", None)])
def test_files_of_any_form(root, data, sender):
    with open(os.path.join(root.path, "message"), "wb") as file:
        file.write(data)
    assert tried(root).message.sender == sender


def test_it_is_what_a_delivery_would_do(root):
    """The verdict is the rules' own, whatever the lines say."""
    assert tried(root, sender="eve@example.com",
                 auth="dmarc=fail").message[1] == Address("eve", "example.com")
    write(root,
          json.dumps(
              {"filters": [
                  {"type": "match", "header": "*auth", "content": "dmarc=fail",
                   "action": "reject"}]}), "filters.jcfg")
    assert tried(root, auth="spf=pass dmarc=fail").verdict.kind == "reject"


def test_code_that_has_leave_is_run_and_other_code_is_not(root):
    write(root, "if msg['Subject'].startswith('[dev]'): reject('no ' + envelope['sender'])",
          "filter.py")
    assert tried(root).lines[3].effect == ""
    more = {"run-as": "nobody"} if os.geteuid() == 0 else {}  # nothing runs as root
    result = filters.try_filters(root, settings(root, admin=["alice"], **more), "alice",
                                 os.path.join(root.path, "message"), now=NOW)
    assert result.lines[3].remarks == ()
    assert (result.lines[3].effect,
            result.verdict.reason) == ("reject: no bob@example.net", "no bob@example.net")
