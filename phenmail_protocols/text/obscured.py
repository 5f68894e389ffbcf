"""The obscured form of a secret: reversible, so that a glance at a file does not reveal it. Pure.

Users' files have it for passphrases that other servers, or old login methods, need in clear text.
"""
import base64


def obscure(text: str) -> str:
    """Obscure a text. This is an exchange format and no protection.

    The reversed UTF-8 bytes get 1, 2, … as padding to a length that is a multiple of 3, so that
    base64 needs no "=", and over the next multiple of 16. Then each byte is mixed with the one
    before it.
    """
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "surrogatepass")
    pad = 16 - len(data) % 16
    pad += 3 - (len(data) + pad) % 3
    mixed = bytearray(data[::-1]) + bytearray(range(1, pad + 1))
    for at in range(1, len(mixed)):
        mixed[at] ^= mixed[at - 1] ^ 42
    return base64.b64encode(bytes(mixed)).decode("ascii")


def unobscure(text: str) -> str:
    """Undo `obscure`; any other text is returned unchanged, as clear text. Never raises."""
    try:
        mixed = bytearray(base64.b64decode(text.encode("ascii"), validate=True))
    except ValueError:      # not ASCII, or not base64
        return text
    for at in range(len(mixed) - 1, 0, -1):
        mixed[at] ^= mixed[at - 1] ^ 42
    pad = mixed[-1] if mixed else 0
    if not 0 < pad <= len(mixed) or mixed[-pad:] != bytearray(range(1, pad + 1)):
        return text
    try:
        plain = bytes(mixed[:-pad][::-1]).decode("utf-8")
    except UnicodeDecodeError:
        return text
    # Clear text may decode by chance; only what `obscure` writes is obscured.
    return plain if obscure(plain) == text else text
