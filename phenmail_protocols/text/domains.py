"""Domain names: A-labels for DNS, SMTP and header fields, and U-labels for people.

RFC 5890 (terms), RFC 5891 and 5893 (IDNA 2008); UTS 46 maps case and width first, as browsers do.
The package idna does both. Without it the standard library's codec (IDNA 2003) has to do, which
maps four characters to others' names: names with these are refused then.
"""
import re
from typing import Optional

MOST_OCTETS, MOST_LABEL_OCTETS = 253, 63  # RFC 1035 2.3.4, as text and without the final dot

# What IDNA 2003 turns into another name: sharp s (both cases), final sigma, ZERO WIDTH NON-JOINER
# and JOINER.
_OTHERS_IN_2003 = re.compile("[\u00df\u1e9e\u03c2\u200c\u200d]")
# Mapping may give any ASCII, "@" of its full-width form; a label of a name that was mapped is
# held to this.
_LABEL = re.compile("[0-9a-z_](?:[0-9a-z_-]*[0-9a-z_])?")


class AddressError(ValueError):
    """The text is no address or no domain; the message says what is wrong with it."""


def ascii_domain(domain: str) -> str:
    """A domain in any spelling -> lower-case A-labels without a final dot, by which two spellings
    of one domain are equal.

    ASCII is taken as it is, a label such as xn--a too, which stands for nothing (RFC 5891 5.4), and
    address literals. Raises AddressError where a label has no A-label, is empty or over 63 octets,
    or the name over 253.
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
    """Of a name that is not ASCII, which may still end in a dot."""
    if len(domain) > 4 * MOST_OCTETS:  # what is mapped away may come on top; a bound all the same
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
    """None where the package is missing. Raises UnicodeError."""
    try:
        import idna  # late: seldom needed, and a megabyte
    except ImportError:
        return None
    # Capital sharp s: older tables have "ss" for it.
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
    """A domain -> what people read: U-labels in place of A-labels. A label that is no valid A-label
    stays, and a name that would not be read back as itself. Never raises."""
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
        # What does not come back to itself is a disguise.
        return found if found.isprintable() and ascii_domain(found) == label.lower() else label
    except (ValueError, OverflowError, LookupError):  # the codec of 3.6 has IndexError, too
        return label
