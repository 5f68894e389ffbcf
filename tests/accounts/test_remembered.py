"""The checker: what is remembered, what a question costs, how many run at once."""

import threading

import pytest

from phenmail_protocols.accounts import remembered, secrets
from phenmail_protocols.accounts.remembered import Busy, Checker
from phenmail_protocols.accounts.secrets import hash_passphrase, scram_secret, sha256

from .house import FEW, Clock


@pytest.fixture
def work(monkeypatch):
    """Iterations of pbkdf2 that were done, one number a derivation."""
    done, real = [], secrets._pbkdf2

    def counted(passphrase, salt, iterations):
        done.append(iterations)
        return real(passphrase, salt, iterations)
    monkeypatch.setattr(secrets, "_pbkdf2", counted)
    return done


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def checker(clock, work):
    checker = Checker(clock, iterations=FEW)
    del work[:]
    return checker


FORMS = {"pbkdf2": hash_passphrase("right", FEW), "sha256": sha256("right"),
         "scram": scram_secret("right", FEW), "fewer": hash_passphrase("right", 20)}


@pytest.mark.parametrize("form", sorted(FORMS) + ["nobody"])
def test_a_new_question_costs_the_same_for_everybody(checker, work, form):
    assert not checker.check("who", FORMS.get(form), "wrong")
    assert sum(work) == FEW


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_right_passphrase_costs_once_in_ten_minutes(checker, work, clock, form):
    assert checker.check("alice", FORMS[form], "right")
    del work[:]
    clock.go(599)
    assert checker.check("alice", FORMS[form], "right") and not work
    assert not checker.check("alice", FORMS[form], "wrong") and work, "and only the right one"
    del work[:]
    clock.go(2)
    assert checker.check("alice", FORMS[form], "right") and sum(work) == FEW


def test_another_stored_form_forgets(checker, work):
    assert checker.check("alice", FORMS["pbkdf2"], "right")
    assert not checker.check("alice", hash_passphrase("new", FEW), "right")
    assert checker.check("alice", FORMS["sha256"], "right")


def test_remembering_is_for_one_account(checker):
    assert checker.check("alice", FORMS["pbkdf2"], "right")
    assert not checker.check("bob", hash_passphrase("other", FEW), "right")
    assert not checker.check("alice", None, "right"), "deleted meanwhile"


@pytest.mark.parametrize("form", [None, FORMS["pbkdf2"]])
def test_the_same_wrong_passphrase_costs_once(checker, work, clock, form):
    assert not checker.check("alice", form, "old")
    del work[:]
    assert not checker.check("alice", form, "old") and not work
    assert not checker.check("alice", form, "older") and work
    clock.go(601)
    del work[:]
    assert not checker.check("alice", form, "old") and work


def test_forget(checker, work):
    assert checker.check("alice", FORMS["pbkdf2"], "right")
    checker.forget()
    del work[:]
    assert checker.check("alice", FORMS["pbkdf2"], "right") and work


def test_nothing_that_is_kept_holds_a_passphrase(checker):
    checker.check("alice", FORMS["pbkdf2"], "right")
    checker.check("alice", FORMS["pbkdf2"], "wr0ng")
    kept = repr(vars(checker)) + repr(vars(checker._wrong))
    assert "right'" not in kept.replace("'_right'", "") and "wr0ng" not in kept


def test_memory_is_bounded(checker, monkeypatch):
    monkeypatch.setattr(remembered, "CAPACITY", 10)
    stored = sha256("right")
    for number in range(50):
        assert checker.check("user %d" % number, stored, "right")
    assert len(checker._right) <= 10


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
    checker = Checker(clock, iterations=FEW)
    monkeypatch.setattr(remembered, "verify", slow)
    threads = [threading.Thread(target=checker.check, args=("x", None, str(number)))
               for number in range(6)]
    for thread in threads:
        thread.start()
    assert inside.acquire(timeout=10) and inside.acquire(timeout=10)
    with pytest.raises(Busy):
        checker.check("x", None, "one more", patience=0.01)
    go.set()
    for thread in threads:
        thread.join(10)
    assert max(most) == 2


def test_a_stored_form_of_no_use_gives_its_turn_back(checker):
    for _ in range(5):
        with pytest.raises(secrets.SecretError):
            checker.check("alice", "nonsense", "x", patience=0.01)
    assert checker.check("alice", FORMS["pbkdf2"], "right", patience=0.01)
