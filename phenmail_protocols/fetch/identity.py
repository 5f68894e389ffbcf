"""What names an account, and each message in it, for ever. Pure.

A message gets the file name "<seconds>.F<its key>.…" in the mailbox (store/maildir/filenames),
so that the mailbox itself shows what was fetched even if the note of it was lost.
"""
import hashlib


def _digest(*parts):
    """Texts -> hash; no two lists of parts look alike to it."""
    text = "".join(["%d:%s" % (len(part), part) for part in parts])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass"))


def account_key(account):
    """settings.FetchAccount -> 32 hex digits: another name, passphrase or way of TLS is the same
    account."""
    return _digest(*map(str, account.place)).hexdigest()[:32]


def order_key(owner, account):
    """The same for an account of the identity `owner`, in the folder of orders of all users."""
    return _digest(owner, account_key(account)).hexdigest()[:32]


def name_key(account, box, validity, key):
    """32 hex digits for a message. `account`: of `account_key`; `box`: the mailbox's name there;
    `validity`: its UIDVALIDITY; `key`: RemoteMessage.key."""
    return _digest(account, box, str(validity), key).hexdigest()[:32]


def short(hexadecimal):
    """The first 64 bits of a key -> int, for known.Numbers."""
    return int(hexadecimal[:16], 16)


def source_key(key):
    """RemoteMessage.key of a POP3 server -> int of 64 bits."""
    return short(_digest(key).hexdigest())


def content_key(message_id, size, date):
    """What recognises a message after the mailbox got another UIDVALIDITY -> int of 64 bits.

    `message_id`: the value of its Message-ID (bytes), b"" for none; `size`, `date`: as in
    RemoteMessage.
    """
    text = message_id.strip().decode("latin-1")
    return short(_digest(text, str(size), "" if date is None else str(int(date))).hexdigest())
