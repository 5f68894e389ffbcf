"""A cache keeps no more octets than it may."""
import random

from phenmail_protocols.imap.bounded_cache import BoundedCache


def test_the_one_that_was_used_longest_ago_goes():
    kept = BoundedCache(25)
    for key in (1, 2):
        kept.put(key, "value %d" % key, 10)
    assert kept.get(1) == "value 1"
    kept.put(3, "old", 10)
    kept.put(3, "value 3", 10)
    assert [kept.get(key) for key in (1, 2, 3)] == ["value 1", None, "value 3"]


def test_a_value_that_is_larger_than_the_cache_drops_nothing():
    kept = BoundedCache(25)
    kept.put(1, "value", 25)
    kept.put(2, "larger", 26)
    assert kept.get(1) == "value" and kept.get(2) is None


def test_any_values():
    chance, kept = random.Random(4), BoundedCache(1000)
    for _ in range(5000):
        kept.put(chance.randrange(30), "value", chance.randrange(200))
        assert kept._octets == sum(octets for octets, _ in kept._kept.values()) <= 1000
    assert kept._octets > 800
