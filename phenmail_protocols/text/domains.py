"""Domain names: A-labels for DNS, SMTP and header fields, and U-labels for people.

RFC 5890 (terms), RFC 5891 and 5893 (IDNA 2008); UTS 46 maps case and width first, as browsers do.
The package idna does both. Without it the standard library's codec (IDNA 2003) is used. That maps
four characters to other domains' names, so names with these are refused then.
"""
import re
from typing import Optional

MOST_OCTETS, MOST_LABEL_OCTETS = 253, 63  # RFC 1035 2.3.4, as text and without the final dot

# IDNA 2003 turns a name with one of these into another name: sharp s (both cases), final sigma,
# ZERO WIDTH NON-JOINER and JOINER.
_OTHERS_IN_2003 = re.compile("[\u00df\u1e9e\u03c2\u200c\u200d]")
# Mapping can result in any ASCII, such as "@" from its full-width form, so the result is checked.
_LABEL = re.compile("[0-9a-z_](?:[0-9a-z_-]*[0-9a-z_])?")


class AddressError(ValueError):
    """The text is not an address or not a domain; the message says what is wrong."""


def ascii_domain(domain: str) -> str:
    """A domain in any spelling -> lower-case A-labels without a final dot.

    Two spellings of one domain become equal. ASCII is only lowercased, including address literals
    and invalid labels such as xn--a (RFC 5891 section 5.4). Raises AddressError if a label has no
    A-label, is empty or has over 63 octets, or the name has over 253.
    """
    try:
        domain.encode("ascii")
        found = domain.lower()
    except UnicodeEncodeError:
        found = _a_labels(domain)
    if found[-1:] == ".":
        found = found[:-1]
    if len(found) > MOST_OCTETS:
        raise AddressError("the domain is longer than %d octets" % MOST_OCTETS)
    for label in found.split(".") if domain else ():
        if not 0 < len(label) <= MOST_LABEL_OCTETS:
            raise AddressError("%r has a label that is empty or longer than %d octets"
                               % (domain, MOST_LABEL_OCTETS))
    return found


def _a_labels(domain):
    """The A-labels of a name outside ASCII, which may still end in a dot."""
    if len(domain) > 4 * MOST_OCTETS:  # mapping removes some characters, so the limit is higher
        raise AddressError("the domain is too long")
    try:
        found = _by_idna_2008(domain)
        if found is None:
            found = _by_idna_2003(domain)
    except (UnicodeError, IndexError) as error:
        raise AddressError("%r has no ASCII form: %s" % (domain, error)) from None
    for label in found.split("."):
        if label and not _LABEL.fullmatch(label):
            raise AddressError("%r is not a domain name" % domain)
    return found


def _by_idna_2008(domain) -> Optional[str]:
    """None if the package is missing. Raises UnicodeError."""
    try:
        import idna  # late: it is seldom needed, and takes a megabyte
    except ImportError:
        return None
    # Older tables map the capital sharp s to "ss".
    mapped = idna.uts46_remap(domain.replace("\u1e9e", "\u00df"), False)
    labels = [label if _is_ascii(label) else idna.alabel(label).decode("ascii")
              for label in mapped.split(".")]
    return ".".join(labels).lower()


def _by_idna_2003(domain):
    """Raises UnicodeError, AddressError."""
    other = _OTHERS_IN_2003.search(domain)
    if other:
        raise AddressError("the domain %r needs the Python package idna, because of U+%04X in it "
                           "(pip install idna)" % (domain, ord(other.group())))
    return domain.encode("idna").decode("ascii").lower()


def _is_ascii(text):
    return all(character < "\x80" for character in text)


def unicode_domain(domain: str) -> str:
    """A domain -> its form for people, with U-labels in place of A-labels. Never raises.

    A label that is not a valid A-label stays, and so does a name that `ascii_domain` would not
    convert back to itself.
    """
    if "xn--" not in domain.lower():
        return domain
    shown = ".".join([_u_label(label) for label in domain.split(".")])
    try:
        return shown if ascii_domain(shown) == ascii_domain(domain) else domain
    except AddressError:
        return domain


def _u_label(label):
    if label[:4].lower() != "xn--" or len(label) > MOST_LABEL_OCTETS:
        return label
    try:
        found = label[4:].lower().encode("ascii").decode("punycode")
        # A label that does not convert back to itself may be a disguise.
        return found if found.isprintable() and ascii_domain(found) == label.lower() else label
    except (ValueError, OverflowError, LookupError):  # the codec of 3.6 raises IndexError too
        return label
