"""Many logins at once, with every mechanism and protocol, and right and wrong passphrases."""

import base64
import hashlib
import hmac
import socket
import threading
import time

import pytest

from phenmail import MailServer
from phenmail_protocols.accounts import sasl
from phenmail_protocols.accounts.passphrases import SecretError
from phenmail_protocols.accounts.throttle import ADDRESS_FREE
from phenmail_protocols.accounts.verifier import Busy

from .house import ELSEWHERE, PASSPHRASE, House

AT_ONCE = 95


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path)
    made.whole_user("alice")
    return made


def at_once(calls):
    """Run calls at the same moment -> their results."""
    together, given = threading.Barrier(len(calls)), []

    def run(call):
        together.wait(30)
        given.append(call())
    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(given) == len(calls)
    return given


def plain(login, passphrase):
    return sasl.start("PLAIN", login).step(b"\0alice\0" + passphrase.encode())


def login(login, passphrase):
    dialogue = sasl.start("LOGIN", login)
    dialogue.step(b"alice")
    return dialogue.step(passphrase.encode())


def cram(login, passphrase):
    dialogue = sasl.start("CRAM-MD5", login)
    challenge = dialogue.step(None).data
    return dialogue.step(b"alice " + hmac.new(passphrase.encode(), challenge,
                                              "md5").hexdigest().encode())


def apop(login, passphrase):
    stamp = sasl.timestamp("example.com")
    return sasl.apop(login, stamp, "alice",
                     hashlib.md5(stamp + passphrase.encode()).hexdigest().encode())


def scram(login, passphrase):
    dialogue = sasl.start("SCRAM-SHA-256", login)
    first = dialogue.step(b"n,,n=alice,r=abc").data
    fields = dict(part.split(b"=", 1) for part in first.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", passphrase.encode(), base64.b64decode(fields[b"s"]),
                                 int(fields[b"i"]))
    key = hmac.new(salted, b"Client Key", "sha256").digest()
    bare = b"c=biws,r=" + fields[b"r"]
    signature = hmac.new(hashlib.sha256(key).digest(), b",".join((b"n=alice,r=abc", first, bare)),
                         "sha256").digest()
    proof = base64.b64encode(bytes(one ^ other for one, other in zip(key, signature)))
    answer = dialogue.step(bare + b",p=" + proof)
    return dialogue.step(b"") if isinstance(answer, sasl.Challenge) else answer


MECHANISMS = pytest.mark.parametrize("mechanism", [plain, login, cram, apop, scram],
                                     ids=lambda each: each.__name__)


@MECHANISMS
def test_of_wrong_guesses_at_once_only_the_free_ones_are_looked_at(house, mechanism):
    answers = at_once([lambda number=number: mechanism(house.directory.login(ELSEWHERE),
                                                       "wrong %d" % number)
                       for number in range(AT_ONCE)])
    assert [answer.kind for answer in answers].count(sasl.REFUSED) == ADDRESS_FREE
    assert [answer.kind for answer in answers].count(sasl.TEMPORARY) == AT_ONCE - ADDRESS_FREE
    assert isinstance(mechanism(house.directory.login(ELSEWHERE), PASSPHRASE), sasl.Failure)
    house.clock.go(2)
    assert isinstance(mechanism(house.directory.login(ELSEWHERE), PASSPHRASE), sasl.Success)


@MECHANISMS
def test_all_programs_of_a_user_get_in_at_once(house, mechanism):
    for number in range(ADDRESS_FREE - 1):
        mechanism(house.directory.login(ELSEWHERE), "wrong %d" % number)
    answers = at_once([lambda: mechanism(house.directory.login(ELSEWHERE), PASSPHRASE)] * AT_ONCE)
    assert all(isinstance(answer, sasl.Success) for answer in answers)


@pytest.mark.parametrize("error, kind", [
    (Busy("too many"), sasl.TEMPORARY), (SecretError("unusable"), sasl.TEMPORARY),
    (MemoryError(), None)])
def test_a_login_that_breaks_off_costs_no_guess(house, monkeypatch, error, kind):
    def verify(*_):
        raise error
    monkeypatch.setattr(house.verifier, "verify", verify)
    for number in range(AT_ONCE):
        if kind is None:
            with pytest.raises(MemoryError):
                plain(house.directory.login(ELSEWHERE), "guess %d" % number)
        else:
            assert plain(house.directory.login(ELSEWHERE), "guess %d" % number).kind == kind
    monkeypatch.undo()
    assert isinstance(plain(house.directory.login(ELSEWHERE), PASSPHRASE), sasl.Success)


def talk(port, lines, ends):
    """Send lines one by one, each after an answer -> the last answer."""
    with socket.create_connection(("127.0.0.1", port),
                                  30) as connection, connection.makefile("rb") as reader:
        answer = reader.readline()
        for line in lines:
            connection.sendall(line + b"\r\n")
            answer = reader.readline()
            while not answer.startswith(ends):
                answer = reader.readline()
        return answer


def imap(server, passphrase):
    return talk(server.port("imap"), [b"a LOGIN alice@example.org %s" % passphrase], b"a ")


def imap_plain(server, passphrase):
    response = base64.b64encode(b"\0alice@example.org\0" + passphrase)
    return talk(server.port("imap"), [b"a AUTHENTICATE PLAIN " + response], b"a ")


def pop3(server, passphrase):
    return talk(server.port("pop3"), [b"USER alice@example.org", b"PASS " + passphrase],
                (b"+OK", b"-ERR"))


def smtp(server, passphrase):
    response = base64.b64encode(b"\0alice@example.org\0" + passphrase)
    return talk(server.port("submission"), [b"EHLO x", b"AUTH PLAIN " + response],
                (b"250 ", b"235 ", b"4", b"5"))


DOORS = (imap, imap_plain, pop3, smtp)


def test_all_protocols_count_together_over_real_connections():
    plain_port = {"host": "127.0.0.1", "port": 0, "disable-ssl": True}
    with MailServer(settings={"imap": plain_port, "pop": plain_port, "relay": plain_port,
                              "smtp": False},
                    users={"alice@example.org": PASSPHRASE.replace(" ", "")}) as server:
        right = PASSPHRASE.replace(" ", "").encode()
        began = time.monotonic()
        answers = at_once([lambda number=number: DOORS[number % 4](server, b"wrong%d" % number)
                           for number in range(60)])
        wrong = [answer for answer in answers if b"name or the passphrase" in answer.lower()
                 or b"AUTHENTICATIONFAILED" in answer or b"[AUTH]" in answer
                 or answer.startswith(b"535")]
        # When they are used up one more may be made after a second, 2, 4 …
        assert ADDRESS_FREE <= len(wrong) <= ADDRESS_FREE + time.monotonic() - began, answers
        assert all(b"try again in" in answer for answer in answers if answer not in wrong)
    with MailServer(settings={"imap": plain_port, "pop": plain_port, "relay": plain_port,
                              "smtp": False},
                    users={"alice@example.org": right.decode()}) as server:
        answers = at_once([lambda number=number: DOORS[number % 4](server, right)
                           for number in range(60)])
        assert all(answer.startswith((b"a OK", b"+OK", b"235 ")) for answer in answers), answers
