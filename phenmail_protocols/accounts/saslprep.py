"""SASLprep, leniently (RFC 4013, a profile of stringprep, RFC 3454), and the octets of a text.

Two keyboards may write one passphrase in two ways (an accent composed or not); prepared, both are
the same. What SASLprep prohibits stays as typed, because a passphrase that was set before must
still be accepted. Pure.
"""


def prepare(text: str) -> str:
    """Bring a passphrase or a name into SASLprep's form.

    Returns the text itself if RFC 4013 prohibits it (control characters, mixed directions, lone
    surrogates) or if nothing would be left. Never raises.
    """
    if text.isprintable() and all(char < "\x80" for char in text):
        return text
    import stringprep  # late: heavy, and only needed beyond ASCII
    import unicodedata
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char
        for char in text if not stringprep.in_table_b1(char))
    prepared = unicodedata.normalize("NFKC", mapped)
    if not prepared or _is_prohibited(prepared, stringprep) or _is_mixed(prepared, stringprep):
        return text
    return prepared


def octets(text: str) -> bytes:
    """Encode a text that may have been decoded from octets that were not UTF-8.

    Such octets were decoded as surrogate escapes, and come out unchanged.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _is_prohibited(text: str, tables) -> bool:
    """RFC 4013 section 2.3; unassigned code points are allowed, as in a query."""
    prohibited = (
        tables.in_table_c12, tables.in_table_c21_c22, tables.in_table_c3,
        tables.in_table_c4, tables.in_table_c5, tables.in_table_c6,
        tables.in_table_c7, tables.in_table_c8, tables.in_table_c9)
    return any(table(char) for char in text for table in prohibited)


def _is_mixed(text: str, tables) -> bool:
    """RFC 3454 section 6: right-to-left text stands alone and fills both ends."""
    if not any(tables.in_table_d1(char) for char in text):
        return False
    return (any(tables.in_table_d2(char) for char in text)
            or not tables.in_table_d1(text[0]) or not tables.in_table_d1(text[-1]))
