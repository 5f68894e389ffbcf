"""Whether a text is a host name, an IP address or a mail address. Pure."""

from typing import Any, Callable, Optional, Tuple

from ..mail.address import Address, AddressError
from ..text.domains import ascii_domain


def host_name(text: str) -> str:
    """The name of a host or domain in any spelling, as A-labels (RFC 1123, RFC 5890).

    Raises AddressError.
    """
    name = ascii_domain(text)
    if text[-1:] == "." or not all(_is_label(label) for label in name.split(".")):
        raise AddressError("not a host name")
    return name


def why_invalid(text: str, parse: Callable[[str], Any]) -> str:
    """Why `parse` refuses a name or address; "" for ASCII, where the reason is plain to see."""
    try:
        parse(text)
    except AddressError as error:
        return "" if all(c < "\x80" for c in text) else str(error)
    return ""


def is_host_name(text: str) -> bool:
    """Whether text can be the name of a host or domain."""
    try:
        return bool(host_name(text))
    except AddressError:
        return False


def _is_label(label: str) -> bool:
    return (label != "" and label[0] != "-" and label[-1] != "-"
            and all(c == "-" or c == "_" or c.isalnum() for c in label))


def is_ip_address(text: str) -> bool:
    """Whether text is an IPv4 or IPv6 address without brackets."""
    import ipaddress  # late: seldom needed

    try:
        ipaddress.ip_address(text.split("%", 1)[0])
    except ValueError:
        return False
    return True


def is_mail_address(text: str) -> bool:
    """Whether text is a mail address, user@example.org, to which mail can be sent."""
    try:
        return text[-1:] != "]" and bool(Address.parse(text))
    except AddressError:
        return False


def is_digits(text: str) -> bool:
    """Whether text consists of ASCII digits."""
    return bool(text) and all("0" <= c <= "9" for c in text)


def split_port(text: str, port: int) -> Optional[Tuple[str, int]]:
    """`address`, `address:port` or `[v6]:port` -> (address, port), or None.

    In: the port if the text names none.
    """
    address, rest = text, ""
    if text.startswith("["):
        address, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            return None
        rest = rest[1:]
    elif text.count(":") == 1:
        address, _, rest = text.partition(":")
        if not rest:
            return None
    if rest:
        if not is_digits(rest) or len(rest) > 5 or not 0 < int(rest) <= 65535:
            return None
        port = int(rest)
    return (address, port) if is_ip_address(address) else None
