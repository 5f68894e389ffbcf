"""Passphrases that the program thinks up, and which ones a person may choose.  Pure."""

# Lower-case letters without i, l and o: no shift key on a telephone, nothing
# that looks like something else on paper.  20 of 23 letters are 90 bits.
LETTERS = "abcdefghjkmnpqrstuvwxyz"
GROUPS = 4
GROUP = 5

LONGEST = 1024      # as login.LONGEST_PASSPHRASE


class InvalidPassphrase(ValueError):
    """A passphrase that cannot be set; str() says why."""


def generate() -> str:
    """A new passphrase, like `hvrkm-qznwe-bdtyg-pcxfa`: 90 bits from the system's source."""
    import secrets  # a quarter of a megabyte, for the first start and two words
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(GROUP)) for _ in range(GROUPS))


def check(passphrase: str) -> str:
    """Give the passphrase back if it can be typed in everywhere.  Raises InvalidPassphrase."""
    if not passphrase:
        raise InvalidPassphrase("a passphrase must not be empty")
    if len(passphrase) > LONGEST:
        raise InvalidPassphrase("a passphrase has at most %d characters" % LONGEST)
    # NUL divides the fields of PLAIN, line ends divide commands.
    if any(char < " " or char == "\x7f" or "\ud800" <= char <= "\udfff" for char in passphrase):
        raise InvalidPassphrase("a passphrase must not contain control characters")
    return passphrase
