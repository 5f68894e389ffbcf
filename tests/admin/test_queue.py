"""What an operator sees of the queue, and what their orders do, with and without a server."""
import json
import os

import pytest

from phenmail_protocols.admin import queue_orders, queue_text
from phenmail_protocols.mail.address import Address
from phenmail_protocols.mail.reply import Reply
from phenmail_protocols.queue.model import DELAYED, DONE, FAILED, WAITING, Message, Recipient
from phenmail_protocols.queue.spool import Broken, NoSuchMessage, Spool

NOW = 1750000000.0
LATER = Reply(451, "4.7.1", "Greylisted", "mx.example.com")
BODY = b"Subject: tea\r\n at five\r\n\r\nNot the header.\r\n"


@pytest.fixture
def spool(tmp_path):
    """The operator's: another process serves the queue."""
    return Spool(str(tmp_path / "queue"))


@pytest.fixture
def server(tmp_path):
    return Spool(str(tmp_path / "queue"))


def put(spool, identity, *recipients, **fields):
    with spool.begin(identity) as arriving:
        arriving.write(BODY)
        return arriving.commit(
            Message(identity, Address("ann", "example.org"), recipients or (waits(),),
                    NOW - 3 * 3600)._replace(**fields))


def waits(name="bob@example.com", **fields):
    return Recipient(Address.parse(name), reply=LATER, attempts=3, last=NOW - 600, next=NOW + 900,
                     waited=2000.0)._replace(**fields)


def lines(spool):
    return "\n".join(queue_text.list_lines(spool, NOW))


def test_an_empty_queue(spool):
    assert list(queue_text.list_lines(spool, NOW)) == ["The queue is empty."]
    assert queue_text.list_values(spool) == [] == queue_orders.retry(spool, "all")


def test_the_list_says_who_waits_since_when_and_why(spool):
    put(spool, "1.a")
    put(spool, "2.b", waits("new@example.net", reply=None, attempts=0, next=0.0),
        waits("gone@example.net", status=DONE),
        waits("late@example.net", status=DONE, owed=FAILED), sender=None, held=False)
    put(spool, "3.c", *[waits("u%d@example.com" % number) for number in range(9)], held=True)
    assert list(queue_text.list_lines(spool, NOW)) == [
        "1.a  43 octets, 3 h old, from ann@example.org",
        "    bob@example.com: next try in 15 min; last reply: 451 4.7.1 Greylisted "
        "(mx.example.com)",
        "2.b  43 octets, 3 h old, from <>",
        "    new@example.net: to be sent now",
        "    late@example.net: done, a notice to the sender is due: failed; last reply: "
        "451 4.7.1 Greylisted (mx.example.com)",
        "3.c  43 octets, 3 h old, from ann@example.org, held",
        "    u0@example.com: held; last reply: 451 4.7.1 Greylisted (mx.example.com)",
        "    u1@example.com: held; last reply: 451 4.7.1 Greylisted (mx.example.com)",
        "    u2@example.com: held; last reply: 451 4.7.1 Greylisted (mx.example.com)",
        "    and 6 more",
        "3 messages, 129 octets"]


def test_the_list_names_what_is_set_aside(spool, tmp_path):
    put(spool, "1.a")
    (tmp_path / "queue" / "1.a.state").write_bytes(b"{")
    assert "1.a" in lines(spool) and "cannot be read" in lines(spool)


def test_the_list_for_programs_is_json(spool):
    put(spool, "1.a", waits(), waits("new@example.net", reply=None, attempts=0, last=0.0, next=0.0),
        held=True)
    value, = json.loads(json.dumps(queue_text.list_values(spool)))
    assert value == {
        "id": "1.a", "sender": "ann@example.org", "arrived": NOW - 10800, "size": 43, "held": True,
        "signed_as": None, "recipients": [
            {"address": "bob@example.com", "via": None, "status": "waiting", "owed": None,
             "attempts": 3, "last": NOW - 600, "next": NOW + 900,
             "reply": {"code": 451, "enhanced": "4.7.1", "text": "Greylisted",
                       "host": "mx.example.com", "said": ""}},
            {"address": "new@example.net", "via": None, "status": "waiting", "owed": None,
             "attempts": 0, "last": None, "next": 0.0,
             "reply": None}]}


def test_deliveries_of_this_server_are_named(spool):
    put(spool, "1.a", waits("anna@example.org", via="local"),
        waits("anna@example.org", via="to x@example.net"), waits())
    text = "\n".join(queue_text.show_lines(spool, "1.a", NOW))
    assert text.count("for a program, plugin or forward of this server") == 1
    assert text.count("a filter of the user sends it to x@example.net") == 1
    assert [each["via"] for each in queue_text.list_values(spool)[0]["recipients"]] == [
        "local", "to x@example.net", None]


def test_one_message_is_shown_with_the_header_as_it_goes_out(spool):
    put(spool, "1.a", waits(), waits("gone@example.net", status=DONE),
        head=b"DKIM-Signature: v=1\r\n", signed_as="example.org")
    shown = queue_text.show_lines(spool, "1.a", NOW)
    assert shown[-3:] == ["DKIM-Signature: v=1", "Subject: tea", " at five"]
    text = "\n".join(shown)
    for words in ("ann@example.org", "example.org", "bob@example.com", "gone@example.net",
                  "next try in 15 min", "attempt 3", "451 4.7.1 Greylisted"):
        assert words in text
    assert queue_text.show_values(spool,
                                  "1.a")["header"] == "DKIM-Signature: v=1\nSubject: tea\n at five"


def test_what_a_sender_wrote_does_not_reach_the_terminal(spool):
    put(spool, "1.a", waits(reply=Reply(451, "4.0.0", "\x1b[2J\u202e", "mx\x07")),
        head=b"Subject: \x1b]0;owned\x07\xc2\x9b\xff\r\n")
    text = "\n".join(queue_text.show_lines(spool, "1.a", NOW)) + lines(spool)
    assert "owned" in text
    assert all(character.isprintable() or character == "\n" for character in text)


def test_a_long_header_is_cut(spool):
    put(spool, "1.a", head=b"X: " + b"y" * 300000 + b"\r\n")
    assert len("".join(queue_text.show_lines(spool, "1.a", NOW))) < 400000


def test_what_is_not_there_is_told(spool, tmp_path):
    with pytest.raises(NoSuchMessage):
        queue_text.show_lines(spool, "1.a", NOW)
    put(spool, "1.a")
    (tmp_path / "queue" / "1.a.state").write_bytes(b"{")
    with pytest.raises(Broken):
        queue_text.show_lines(spool, "1.a", NOW)
    with pytest.raises(Broken):
        queue_text.show_values(spool, "1.a")
    for order in (queue_orders.retry, queue_orders.hold, queue_orders.release):
        for identity, words in (("1.a", "cannot be read"), ("2.b", "no message 2.b"),
                                ("../x", "no message")):
            result, = order(spool, identity)
            assert not result.done and words in result.text
    assert not queue_orders.drop(spool, "2.b", True)[0].done


def test_retry_makes_who_waits_due_and_tells_the_server(spool, server):
    put(spool, "1.a", waits(), waits("gone@example.net", status=DONE, owed=FAILED))
    assert queue_orders.retry(spool,
                              "1.a") == [
                              queue_orders.Result("1.a", True, "1.a will be retried now")]
    first, second = server.read("1.a").recipients
    assert first == waits(next=0.0) and second.next == NOW + 900
    assert server.take_changes() == ["1.a"]


def test_retry_all_leaves_held_ones_and_waits_for_none(spool, server):
    for identity in ("1.a", "2.b", "3.c"):
        put(spool, identity, held=identity == "2.b")
    with server.claim("3.c", "example.com"):
        results = queue_orders.retry(spool, "all")
    assert [(result.identity, result.done) for result in results] == [("1.a", True), ("3.c", False)]
    assert "being sent" in results[1].text
    assert server.take_changes() == ["1.a"]


def test_hold_release_and_retry_of_what_is_held(spool, server):
    put(spool, "1.a")
    assert queue_orders.hold(spool, "1.a")[0].done and server.read("1.a").held
    result, = queue_orders.retry(spool, "1.a")
    assert not result.done and "release it first" in result.text
    assert server.take_changes() == ["1.a"]
    assert queue_orders.release(spool, "1.a")[0].done and not server.read("1.a").held
    assert server.take_changes() == ["1.a"]


def test_drop_without_a_bounce_leaves_nothing(spool, server, tmp_path):
    put(spool, "1.a", waits(), waits("late@example.net", status=DONE, owed=FAILED))
    assert queue_orders.drop(spool, "1.a", bounce=False)[0].done
    assert os.listdir(str(tmp_path / "queue")) == ["changes"]
    assert server.take_changes() == ["1.a"]


def test_drop_with_a_bounce_tells_the_sender_as_far_as_he_wants(spool, server):
    put(spool, "1.a", waits(owed=DELAYED), waits("quiet@example.net", notify=("NEVER",)),
        waits("gone@example.net", status=DONE, owed="relayed"),
        held=True)
    assert queue_orders.drop(spool, "1.a", bounce=True, clock=lambda: NOW)[0].done
    message = server.read("1.a")
    first, quiet, gone = message.recipients
    assert not message.held, "a held message tells nobody anything"
    assert (first.status, first.owed, first.reply) == (DONE, FAILED, queue_orders.DROPPED)
    assert (first.attempts, first.last) == (3, NOW - 600), "there was no attempt"
    assert quiet.over and quiet.reply == queue_orders.DROPPED
    assert (gone.owed, gone.reply) == ("relayed", LATER)
    assert queue_orders.DROPPED.code == 550 and "administrator" in queue_orders.DROPPED.text


def test_drop_with_a_bounce_that_nobody_wants(spool):
    put(spool, "1.a", waits(notify=("NEVER",)))
    assert queue_orders.drop(spool, "1.a", bounce=True)[0].done
    assert spool.identities() == []


@pytest.mark.parametrize("order",
                         [queue_orders.retry, queue_orders.hold, queue_orders.release,
                          lambda spool, identity: queue_orders.drop(spool, identity, True)])
def test_a_message_that_is_being_sent_is_left_alone(spool, server, monkeypatch, order):
    monkeypatch.setattr(queue_orders, "_PATIENCE", 0.01)
    kept = put(spool, "1.a")
    with server.claim("1.a", "example.com"):
        result, = order(spool, "1.a")
    assert not result.done and "being sent" in result.text
    assert server.read("1.a") == kept and kept.recipients[0].status == WAITING


@pytest.mark.parametrize("seconds, words",
                         [(-5, "0 s"), (0, "0 s"), (119, "119 s"), (120, "2 min"),
                          (7199, "119 min"), (7200, "2 h"),
                                            (172799, "47 h"), (172800, "2 days"),
                                            (1e9, "11574 days")])
def test_times_for_people(spool, seconds, words):
    put(spool, "1.a", arrived=NOW - seconds)
    assert ", %s old," % words in lines(spool)


@pytest.mark.parametrize("size, words",
                         [(0, "0 octets"), (1023, "1023 octets"), (1024, "1.0 KB"),
                          (5 << 20, "5.0 MB")])
def test_sizes_for_people(size, words):
    assert queue_text._size(size) == words
