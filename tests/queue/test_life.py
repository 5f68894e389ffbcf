"""The days of a message in the queue, in seconds.

A whole server with a clock that tests move speaks real SMTP to servers that accept, refuse or are
down. The reports are read from the senders' mailboxes with Python's email package.
"""
import email.utils

import pytest

from phenmail_protocols.queue.model import WAITING

from ..relay.peers import smtp
from .lifehouse import DAY, LifeHouse, World, fates
from .queuehouse import NOW

HOUR = 3600.0
FIVE_DAYS = 5 * DAY


@pytest.fixture(scope="module")
def world():
    """`busy` defers each recipient, `full` each message; nobody listens at `down`; `never` refuses;
    `fine` and `dsn` accept, and only `dsn` supports DSN."""
    with World(
        {
            "busy.example": smtp(["PIPELINING"], {"RCPT": "451 4.2.0 greylisted"}),
            "full.example": smtp(["PIPELINING"], {".": "452 4.3.1 no room"}), "down.example": None,
            "never.example": smtp(["PIPELINING"], {"RCPT": "550 5.1.1 no such user"}),
            "fine.example": smtp(["PIPELINING"]), "dsn.example": smtp(["PIPELINING", "DSN"])}
    ) as world:
        yield world


@pytest.fixture
def make(tmp_path, world, monkeypatch):
    """`make(at=time)` -> a LifeHouse that is not started, with its clock at that time."""
    houses = []

    def build(at=NOW):
        house = LifeHouse(tmp_path / "root", world, monkeypatch)
        house.clock.now = at
        houses.append(house)
        return house
    yield build
    for house in houses:
        house.stop()


@pytest.fixture
def house(make):
    house = make()
    house.start()
    return house


def moment(text):
    return email.utils.parsedate_to_datetime(text).timestamp()


def parts(message):
    return list(message.iter_parts())


# Five days.

def attempts_of(house, seconds):
    """Let so many seconds pass -> the times of the attempts for the one recipient."""
    moments = []
    end = house.clock() + seconds
    while house.queue.identities() and house.clock() < end:
        recipient = house.recipient()
        if not moments or recipient.last > moments[-1]:
            moments.append(recipient.last)
        house.live(max(0.0, recipient.next - house.clock()))
    return moments


@pytest.mark.parametrize("domain", ["busy.example", "full.example", "down.example"])
def test_five_days(house, domain):
    house.submit(
        "alice", "bob@" + domain, mail=["ENVID=q+2B1"], rcpt=["ORCPT=rfc822;Bob@" + domain])
    moments = attempts_of(house, 10 * DAY)
    assert house.queue.identities() == [] and house.mail("master") == []
    delayed, failed = house.mail("alice")
    (late,), (gone,) = fates(delayed), fates(failed)
    for notice, fate, action in ((delayed, late, "delayed"), (failed, gone, "failed")):
        said = "greylisted" if domain == "busy.example" else "no room"
        assert notice["To"].addresses[0].addr_spec == "alice@example.org"
        assert notice["From"].addresses[0].addr_spec == "postmaster@example.org"
        assert "Lunch?" in notice["Subject"] and notice["In-Reply-To"] == "<lunch@example.org>"
        whole = parts(notice)[1].get_payload(0)
        assert (whole["Original-Envelope-Id"], whole["Reporting-MTA"]) == (
            "q+1", "dns; example.org")
        assert moment(whole["Arrival-Date"]) == NOW
        assert (fate["Action"], fate["Final-Recipient"], fate["Original-Recipient"]) == (
            action, "rfc822; bob@" + domain, "rfc822; Bob@" + domain)
        assert moment(fate["Last-Attempt-Date"]) == pytest.approx(moment(notice["Date"]), abs=2)
        if domain == "down.example":
            assert fate["Remote-MTA"] is None and fate["Status"].startswith("4.4.")
        else:
            assert fate["Remote-MTA"] == "dns; mx." + domain and said in fate["Diagnostic-Code"]
            assert fate["Status"] == ("4.2.0" if domain == "busy.example" else "4.3.1")
            assert said in parts(notice)[0].get_content()
    assert delayed["Message-ID"] != failed["Message-ID"]
    assert 0 <= moment(delayed["Date"]) - NOW - 4 * HOUR < 10
    assert 0 <= moment(failed["Date"]) - NOW - FIVE_DAYS < 10
    assert (
        abs(moment(late["Will-Retry-Until"]) - NOW - FIVE_DAYS) < 10
        and gone["Will-Retry-Until"] is None)
    returned = parts(failed)[2]
    assert (
        returned.get_content_type() == "message/rfc822"
        and returned.get_payload(0).get_content() == "At noon.\n")
    assert (
        "At noon." not in parts(delayed)[2].get_content()
        and "Lunch?" in parts(delayed)[2].get_content())
    check_spacing(moments + [moment(gone["Last-Attempt-Date"])])


def check_spacing(moments):
    """Intervals double from 5 minutes to 4 hours, 20 % more or less. One that leads to a report
    may be shorter."""
    interval, late = 300.0, []
    for before, after in zip(moments, moments[1:]):
        if not 0.8 * interval - 1 <= after - before <= 1.2 * interval + 1:
            late.append(after)
            assert after - before < interval
        interval = min(2 * interval, 4 * HOUR)
    assert len(late) <= 2 and all(
        min(abs(each - NOW - 4 * HOUR), abs(each - NOW - FIVE_DAYS)) < 10 for each in late), late
    assert 30 < len(moments) < 50


def test_several_recipients_are_one_story(house):
    """They are tried together and reported together."""
    house.submit("alice", "bob@busy.example", "dan@busy.example", "eve@busy.example")
    house.live(6 * DAY)
    assert house.queue.identities() == []
    assert [sorted(told) for told in house.told("alice")] == [
        [(action, "rfc822; %s@busy.example" % name) for name in ("bob", "dan", "eve")]
        for action in ("delayed", "failed")]


# Clocks.

def test_a_machine_that_boots_in_1970_gives_nothing_up(make):
    house = make(at=1000.0)
    house.start()
    house.submit("alice", "bob@busy.example")
    house.live(20 * DAY)
    recipient = house.recipient()
    assert (recipient.status, recipient.owed) == (WAITING, "") and recipient.attempts > 100
    assert [each[0][0] for each in house.told("alice")] == ["delayed"]


def test_five_days_begin_when_the_clock_was_set(make):
    """An hour in 1970, and then the network sets the clock: 57 years count as one interval."""
    house = make(at=1000.0)
    house.start()
    house.submit("alice", "bob@down.example")
    house.live(HOUR)
    tried = house.recipient().attempts
    house.clock.now = NOW
    house.settle()
    recipient = house.recipient()
    assert (
        recipient.attempts == tried + 1
        and recipient.waited < 4 * HOUR
        and house.mail("alice") == [])
    house.live(4 * DAY + 20 * HOUR)
    assert house.queue.identities() != []
    house.live(DAY)
    assert house.queue.identities() == []
    assert [each[0][0] for each in house.told("alice")] == ["delayed", "failed"]


@pytest.mark.parametrize("weeks", [1, 50, 1000])
def test_a_clock_that_jumps_ahead_tries_and_does_not_give_up(house, weeks):
    house.submit("alice", "bob@busy.example")
    house.live(2 * HOUR)
    before = house.recipient()
    house.clock.now += weeks * 7 * DAY
    house.settle()
    after = house.recipient()
    assert (after.status, after.attempts) == (WAITING, before.attempts + 1)
    assert after.waited - before.waited < 6 * HOUR and [
        each[0][0] for each in house.told("alice")] in ([], ["delayed"])
    house.clock.now -= weeks * 7 * DAY     # and back again
    house.settle()
    again = house.recipient()
    assert (again.status, again.attempts) == (WAITING, before.attempts + 2)
    assert again.waited == after.waited and again.next - house.clock() < 5 * HOUR
    house.live(6 * DAY)
    assert house.queue.identities() == []
    assert [each[0][0] for each in house.told("alice")] == ["delayed", "failed"]


# The end of a server, and another one.

def test_a_restart_keeps_its_place(house):
    house.submit("alice", "bob@busy.example")
    house.live(DAY)
    before = house.message()
    assert before.recipients[0].attempts > 8
    house.stop()
    house.start()
    assert house.message() == before, "a start is no attempt"
    house.live(3 * DAY)
    house.stop()
    house.clock.advance(7 * DAY)    # off for a week, in which nobody tried
    house.start()
    assert house.recipient().status == WAITING and house.recipient().waited < 4.5 * DAY
    house.live(2 * DAY)
    assert house.queue.identities() == []
    assert [each[0][0] for each in house.told("alice")] == ["delayed", "failed"]


def test_restarts_now_and_then_change_nothing(house):
    house.submit("alice", "bob@down.example")
    for _ in range(30):
        house.live(5 * HOUR)
        house.stop()
        house.start()
    assert house.queue.identities() == []
    assert [each[0][0] for each in house.told("alice")] == ["delayed", "failed"]
    assert abs(moment(house.mail("alice")[1]["Date"]) - NOW - FIVE_DAYS) < 10


# RFC 3461.

@pytest.mark.parametrize(
    "notify, domain, told",
    [
        ("NEVER", "never.example", []), ("NEVER", "busy.example", []),
        ("NEVER", "fine.example", []), ("SUCCESS", "fine.example", ["relayed"]),
        ("SUCCESS", "dsn.example", []), ("SUCCESS", "never.example", []),
        ("SUCCESS", "busy.example", []), ("FAILURE", "never.example", ["failed"]),
        ("FAILURE", "busy.example", ["failed"]), ("FAILURE", "fine.example", []),
        ("DELAY", "busy.example", ["delayed"]), ("DELAY", "never.example", []),
        ("SUCCESS,FAILURE,DELAY", "busy.example", ["delayed", "failed"]),
        ("SUCCESS,FAILURE,DELAY", "fine.example", ["relayed"]), (None, "never.example", ["failed"]),
        (None, "fine.example", [])])
def test_notify(house, notify, domain, told):
    house.submit("alice", "bob@" + domain, rcpt=["NOTIFY=" + notify] if notify else [])
    house.live(6 * DAY)
    assert house.queue.identities() == [] and house.mail("master") == []
    assert house.told("alice") == [[(action, "rfc822; bob@" + domain)] for action in told]
    if domain == "dsn.example":
        assert [line for line in house.world.peers[domain].lines if line.startswith("RCPT")][
            -1].endswith("NOTIFY=" + notify)


def test_each_recipient_has_its_own_wishes(house):
    """Several recipients in one message: a report is about one kind only."""
    client = house.log_in("alice")
    client.mail("alice@example.org")
    for name, notify in (("one", "NEVER"), ("two", "FAILURE"), ("three", "SUCCESS")):
        client.rcpt("%s@never.example" % name, ["NOTIFY=" + notify])
        client.rcpt("%s@fine.example" % name, ["NOTIFY=" + notify])
    assert client.data(b"From: alice@example.org\r\nSubject: wishes\r\n\r\n")[0] == 250
    house.settle()
    assert house.queue.identities() == []
    assert sorted(house.told("alice")) == sorted([
        [("failed", "rfc822; two@never.example")], [("relayed", "rfc822; three@fine.example")]])


# Nobody to tell.

def test_a_null_senders_failure_is_told_to_the_postmaster_once(house):
    house.submit("alice", "bob@busy.example", null=True)
    house.live(6 * DAY)
    assert house.queue.identities() == [] and house.mail("alice") == []
    assert house.told("master") == [[("failed", "rfc822; bob@busy.example")]]


def test_a_bounce_that_bounces_is_told_to_the_postmaster_once(house):
    """The bounce for a sender elsewhere is refused: at once, or for five days."""
    for sender in ("bob@never.example", "eve@busy.example"):
        house.server.send_mail(sender, "dan@never.example", "Subject: x\n\nx\n")
    house.settle()
    house.live(12 * DAY)
    assert house.queue.identities() == [] and house.mail("alice") == []
    assert sorted(house.told("master")) == [
        [("failed", "rfc822; bob@never.example")], [("failed", "rfc822; eve@busy.example")]]
    for notice in house.mail("master"):
        returned = parts(notice)[2].get_payload(0)
        assert returned.get_content_type() == "multipart/report", (
            "the postmaster sees which bounce it was")


def test_a_double_bounce_that_nobody_takes_ends(make):
    """The postmaster is disabled."""
    house = make()
    house.domain = dict(house.domain, postmaster="-gone")
    house.start()
    house.submit("alice", "bob@never.example", null=True)
    house.live(6 * DAY)
    assert house.queue.identities() == [] and house.mail("alice") == house.mail("master") == []


def test_a_double_bounce_that_bounces_is_the_last(make):
    """The postmaster is on another server, which refuses the bounce."""
    house = make()
    house.start(**{"sender-domain": "never.example"})
    lines = house.world.peers["never.example"].lines
    house.server.send_mail("", "bob@never.example", "Subject: x\n\nx\n")
    house.settle()
    house.live(6 * DAY)
    new = house.world.peers["never.example"].lines[len(lines):]
    assert [line.split(">")[0] for line in new if line.startswith("RCPT")] == [
        "RCPT TO:<bob@never.example", "RCPT TO:<postmaster@never.example"]
    assert house.queue.identities() == []


@pytest.mark.parametrize("becomes", [None, "-she left"])
def test_a_sender_that_does_not_exist_any_more(house, becomes):
    house.submit("carol", "bob@busy.example")
    house.live(DAY)
    assert house.told("carol") == [[("delayed", "rfc822; bob@busy.example")]]
    house.stop()
    house.domain = {
        name: action for name, action in dict(house.domain, carol=becomes).items() if action}
    house.start()
    house.live(6 * DAY)
    assert house.queue.identities() == [] and len(house.mail("carol")) == 1
    assert house.told("master") == [[("failed", "rfc822; bob@busy.example")]]


def test_a_domain_that_does_not_exist(house):
    house.submit("alice", "bob@nowhere.example")
    assert house.queue.identities() == []
    (fate,), = [fates(notice) for notice in house.mail("alice")]
    assert (fate["Action"], fate["Status"], fate["Remote-MTA"]) == ("failed", "5.1.2", None)


def test_a_sender_elsewhere_gets_its_report_by_smtp(house):
    house.server.send_mail("dan@fine.example", "bob@never.example", "Subject: x\n\nx\n")
    house.settle()
    peer = house.world.peers["fine.example"]
    assert "MAIL FROM:<>" in [
        line.partition(" BODY")[0].partition(" SIZE")[0] for line in peer.lines]
    assert b"Final-Recipient: rfc822; bob@never.example" in peer.messages[-1]
    assert house.queue.identities() == [] and house.mail("master") == []


# Private addresses.

def test_mail_for_a_domain_at_a_private_address_goes_back_unless_the_settings_say_otherwise(
    make, world):
    house = make()
    relay = {
        "remote-port": world.port,
        "listen": [{"host": "127.0.0.1", "port": 0, "tls": "none", "plaintext-auth": True}]}
    house.start(relay=relay)
    peer = world.peers["fine.example"]
    before = len(peer.messages)
    house.submit("alice", "bob@fine.example", "bob@[192.168.255.254]")
    assert house.queue.identities() == [] and len(peer.messages) == before
    notices = house.mail("alice")
    assert sorted(fate["Status"] for notice in notices for fate in fates(notice)) == [
        "5.4.4", "5.4.4"]
    assert "private-addresses" in notices[0].as_string()
    house.stop()
    house.start(relay=dict(relay, **{"private-addresses": True}))
    house.submit("alice", "bob@fine.example")
    assert house.queue.identities() == [] and len(peer.messages) == before + 1
