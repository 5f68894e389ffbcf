"""The verifier: what is cached, what verifying costs, how many derivations run at once."""

import threading

import pytest

from phenmail_protocols.accounts import passphrases
from phenmail_protocols.accounts import verifier as room
from phenmail_protocols.accounts.passphrases import hash_passphrase, scram_secret, sha256
from phenmail_protocols.accounts.verifier import Busy, Verifier

from .house import FEW, Clock


@pytest.fixture
def work(monkeypatch):
    """Iterations of pbkdf2 that were done, one number a derivation."""
    done, real = [], passphrases._pbkdf2

    def counted(passphrase, salt, iterations):
        done.append(iterations)
        return real(passphrase, salt, iterations)
    monkeypatch.setattr(passphrases, "_pbkdf2", counted)
    return done


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def verifier(clock, work):
    verifier = Verifier(clock, iterations=FEW)
    del work[:]
    return verifier


FORMS = {"pbkdf2": hash_passphrase("right", FEW), "sha256": sha256("right"),
         "scram": scram_secret("right", FEW), "fewer": hash_passphrase("right", 20)}


@pytest.mark.parametrize("form", sorted(FORMS) + ["nobody"])
def test_a_new_question_costs_the_same_for_everybody(verifier, work, form):
    assert not verifier.verify("who", FORMS.get(form), "wrong")
    assert sum(work) == FEW


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_right_passphrase_costs_once_in_ten_minutes(verifier, work, clock, form):
    assert verifier.verify("alice", FORMS[form], "right")
    del work[:]
    clock.go(599)
    assert verifier.verify("alice", FORMS[form], "right") and not work
    assert not verifier.verify("alice", FORMS[form], "wrong") and work, "and only the right one"
    del work[:]
    clock.go(2)
    assert verifier.verify("alice", FORMS[form], "right") and sum(work) == FEW


def test_another_stored_form_forgets(verifier, work):
    assert verifier.verify("alice", FORMS["pbkdf2"], "right")
    assert not verifier.verify("alice", hash_passphrase("new", FEW), "right")
    assert verifier.verify("alice", FORMS["sha256"], "right")


def test_remembering_is_for_one_account(verifier):
    assert verifier.verify("alice", FORMS["pbkdf2"], "right")
    assert not verifier.verify("bob", hash_passphrase("other", FEW), "right")
    assert not verifier.verify("alice", None, "right"), "deleted meanwhile"


@pytest.mark.parametrize("form", [None, FORMS["pbkdf2"]])
def test_the_same_wrong_passphrase_costs_once(verifier, work, clock, form):
    assert not verifier.verify("alice", form, "old")
    del work[:]
    assert not verifier.verify("alice", form, "old") and not work
    assert not verifier.verify("alice", form, "older") and work
    clock.go(601)
    del work[:]
    assert not verifier.verify("alice", form, "old") and work


def test_nothing_that_is_kept_holds_a_passphrase(verifier):
    verifier.verify("alice", FORMS["pbkdf2"], "right")
    verifier.verify("alice", FORMS["pbkdf2"], "wr0ng")
    kept = repr([vars(each) for each in (verifier, verifier._wrong, verifier._right)])
    assert "right'" not in kept.replace("'_right'", "") and "wr0ng" not in kept


def test_memory_is_bounded(clock, work, monkeypatch):
    monkeypatch.setattr(room, "CAPACITY", 10)
    verifier = Verifier(clock, iterations=FEW)
    stored = sha256("right")
    for number in range(50):
        assert verifier.verify("user %d" % number, stored, "right")
    assert len(verifier._right) <= 10


def test_two_derivations_at_once(monkeypatch, clock):
    running, most, lock = [], [], threading.Lock()
    inside, go = threading.Semaphore(0), threading.Event()

    def slow(stored, passphrase):
        with lock:
            running.append(1)
            most.append(len(running))
        inside.release()
        assert go.wait(10)
        with lock:
            running.pop()
        return False
    verifier = Verifier(clock, iterations=FEW)
    monkeypatch.setattr(room, "verify", slow)
    threads = [threading.Thread(target=verifier.verify, args=("x", None, str(number)))
               for number in range(6)]
    for thread in threads:
        thread.start()
    assert inside.acquire(timeout=10) and inside.acquire(timeout=10)
    with pytest.raises(Busy):
        verifier.verify("x", None, "one more", patience=0.01)
    go.set()
    for thread in threads:
        thread.join(10)
    assert max(most) == 2


def test_a_stored_form_of_no_use_gives_its_turn_back(verifier):
    for _ in range(5):
        with pytest.raises(passphrases.SecretError):
            verifier.verify("alice", "nonsense", "x", patience=0.01)
    assert verifier.verify("alice", FORMS["pbkdf2"], "right", patience=0.01)
