"""EMAILID (RFC 8474 5.1): a hash of a message's octets, so copies of a message have the same."""
import hashlib

_HEX_DIGITS = 40  # 160 bits: nobody can make two messages with the same


def of(message):
    """A Message -> the item's value. The store caches it, and it can always be made again."""
    octets = hashlib.sha256()
    for chunk in message.octets(0, message.size):
        message.look()
        octets.update(chunk)
    return _value(octets)


def _value(octets):
    return b"(M%b)" % octets.hexdigest()[:_HEX_DIGITS].encode("ascii")


#: The value that is sent for an expunged message.
EMPTY = _value(hashlib.sha256())
