"""Addresses as SMTP has them, and the address lists of header fields.

`Address` is strict (RFC 5321 section 4.1.2, RFC 6531), except that it allows dots anywhere in the
local part, because some providers gave such addresses to their users. A header's address list is
read leniently (RFC 5322 sections 3.4 and 4.4) and never refused. Accounts, our domains and
delivery are not known here.
"""
import re
from typing import List, NamedTuple, Optional, Tuple, Union

from ..text.domains import AddressError, ascii_domain, unicode_domain
from .lexer import Lexer

_ATEXT = r"!#$%&'*+\-/0-9=?A-Z^_`a-z{|}~\u0080-\U0010ffff"
_DOT_ATOM = re.compile(r"[%s]+(?:\.[%s]+)*" % (_ATEXT, _ATEXT))
_QUOTED_LOCAL = re.compile(r'"((?:[^"\\\x00-\x1f\x7f]|\\[ -~])*)"')
_DOTTED = re.compile(r"[.%s]+" % _ATEXT)
_LABEL = re.compile(r"[0-9a-z_](?:[0-9a-z_\-]*[0-9a-z_])?")
_ESCAPE = re.compile(r"\\(.)")
_UNUSABLE = re.compile(r"[\u0080-\u00a0\u2028\u2029\ud800-\udfff\ufeff]")
# RFC 5321 section 4.5.3.1 guarantees 64 octets of local part, but return-path schemes write longer
# ones.
_LOCAL_OCTETS = 255

# In one list, and in one group: a header of 1 MB could otherwise become 60 MB of addresses.
_MOST_ENTRIES = 10000

# In place of a missing half: a NIL host would mean a group (RFC 3501 section 7.4.2). Dovecot uses
# the same words, so mail programs know them.
MISSING_LOCAL, MISSING_DOMAIN = b"MISSING_MAILBOX", b"MISSING_DOMAIN"
BROKEN_DOMAIN = b"SYNTAX_ERROR"


class Address(NamedTuple):
    """`local`: as given, without quotes. `domain`: lower-case A-labels, so that equal addresses
    are equal values; or an address literal with its brackets; or "" for none.

    str() gives the wire form, `shown` the form for people.
    """
    local: str
    domain: str

    def __str__(self) -> str:
        local = self.local
        if not _DOT_ATOM.fullmatch(local):
            local = '"%s"' % re.sub(r'(["\\])', r"\\\1", local)
        return "%s@%s" % (local, self.domain) if self.domain else local

    def shown(self) -> str:
        """The address with its domain in U-labels."""
        return str(self._replace(domain=unicode_domain(self.domain)))

    @classmethod
    def parse(cls, text: str) -> "Address":
        """`user@example.org`, `"odd user"@example.org`, `user@[IPv6:::1]` -> Address.

        Raises AddressError.
        """
        quoted = _QUOTED_LOCAL.match(text)
        if quoted:
            local, rest = _ESCAPE.sub(r"\1", quoted.group(1)), text[quoted.end():]
        else:
            local, at, rest = text.rpartition("@")
            rest = at + rest
            if not _DOTTED.fullmatch(local):
                raise AddressError("the part before @ is invalid" if at else "expected name@domain")
        if not rest.startswith("@"):
            raise AddressError("expected @ after the name")
        if _octets(local) > _LOCAL_OCTETS or _UNUSABLE.search(local):
            raise AddressError("the part before @ is too long or holds a control character")
        return cls(local, parse_domain(rest[1:]))


def parse_domain(text: str) -> str:
    """A domain name in any spelling -> A-labels; an address literal -> its lower-case form.

    Raises AddressError.
    """
    if text.startswith("["):
        return _parse_literal(text)
    domain = ascii_domain(text)
    # SMTP allows no final dot (RFC 5321 section 2.3.5); `ascii_domain` has removed it.
    if (not domain or text[-1] in ".\u3002\uff0e\uff61"
            or not all(map(_LABEL.fullmatch, domain.split(".")))):
        raise AddressError("%r is not a domain name" % text)
    return domain


def _octets(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _parse_literal(text: str) -> str:
    """RFC 5321 section 4.1.3: [192.0.2.1] or [IPv6:2001:db8::1]."""
    import socket
    inner, lower = text[1:-1], text.lower()
    family, digits = socket.AF_INET, inner
    if lower.startswith("[ipv6:"):
        family, digits = socket.AF_INET6, inner[5:]
    try:
        if not text.endswith("]"):
            raise OSError
        socket.inet_pton(family, digits)
    except (OSError, ValueError):
        raise AddressError("%r is not an address literal" % text)
    return lower


# How nearly every mailbox is written. The grammar below reads any other, with the same result.
_USUAL = re.compile(
    rb'''(?:(?:"([^"\\\r\n]*)"[ \t]*|([ATEXT][ATEXT. \t]*))?<(ADDR)>|(ADDR))'''
    rb"[ \t\r\n]*(?:,[ \t\r\n]*|\Z)"
    .replace(b"ADDR", rb"[ATEXT]+(?:\.[ATEXT]+)*@[ATEXT]+(?:\.[ATEXT]+)*")
    .replace(b"ATEXT", rb"!#$%&'*+\-/0-9=?A-Z^_`a-z{|}~\x80-\xff"))


class Mailbox(NamedTuple):
    """One address of a header field, raw bytes.

    `name`: the display name without quotes, encoded words undecoded, or None; `route`: the source
    route or None.
    """
    name: Optional[bytes]
    route: Optional[bytes]
    local: bytes
    domain: bytes


class Group(NamedTuple):
    """A named group of a header field: `Friends: a@b, c@d;`."""
    name: bytes
    members: Tuple[Mailbox, ...]


def parse_address_list(value: bytes) -> List[Union[Mailbox, Group]]:
    """The value of an address field, folded or not -> its addresses in order. Never raises.

    Broken input gives what can be read: a missing half becomes MISSING_LOCAL or MISSING_DOMAIN, and
    a broken <…> has BROKEN_DOMAIN. No address contains a line end.
    """
    lexer, found = Lexer(value.replace(b"\r\n", b"").replace(b"\n", b"")), []
    while True:
        while lexer.skip() and lexer.take(b","):
            pass
        if lexer.at_end() or len(found) >= _MOST_ENTRIES:
            return found
        usual = _usual_mailbox(lexer)
        found.append(usual or _group(lexer) or _mailbox(lexer))
        if not usual and lexer.peek() not in (b",", b""):
            return found


def strict_mailboxes(value: bytes) -> Optional[List[Mailbox]]:
    """All mailboxes of an address field, those in groups too; None if it is ambiguous.

    In a field that is broken or has a route, other programs may find other addresses than we do
    (`a@example.org <b@example.org>`).
    """
    # If the field can be read to its end, the mailbox appended here is found as the last one.
    found = parse_address_list(value + b", end@end")
    if found[-1:] != [Mailbox(None, None, b"end", b"end")]:
        return None
    mailboxes = [mailbox for item in found[:-1]
                 for mailbox in (item.members if isinstance(item, Group) else (item,))]
    return None if any(mailbox.route is not None for mailbox in mailboxes) else mailboxes


def _usual_mailbox(lexer: Lexer) -> Optional[Mailbox]:
    """A mailbox in the usual form, and the comma after it; None if another form comes next."""
    match = _USUAL.match(lexer.data, lexer.position)
    if match is None:
        return None
    lexer.position = match.end()
    quoted, phrase, angled, bare = match.groups()
    local, _, domain = (angled or bare).partition(b"@")
    return Mailbox(quoted or (b" ".join(phrase.split()) if phrase else None), None, local, domain)


def _group(lexer: Lexer) -> Optional[Group]:
    start = lexer.position
    name = _phrase(lexer)
    if name is None or not lexer.take(b":"):
        lexer.position = start
        return None
    members = []
    while (lexer.skip() and not lexer.at_end() and not lexer.take(b";")
           and len(members) < _MOST_ENTRIES):
        if lexer.take(b","):
            continue
        usual = _usual_mailbox(lexer)
        members.append(usual or _mailbox(lexer))
        if not usual and lexer.peek() not in (b",", b";"):
            break
    lexer.skip()
    return Group(name, tuple(members))


def _mailbox(lexer: Lexer) -> Mailbox:
    start = lexer.position
    name = _phrase(lexer)
    if name is not None and lexer.peek() == b"<":
        route, local, domain = _angle(lexer)
    else:
        lexer.position = start
        route, (name, local, domain) = None, _bare(lexer)
    return Mailbox(name or None, route, MISSING_LOCAL if local is None else local,
                   domain or MISSING_DOMAIN)


def _phrase(lexer: Lexer) -> Optional[bytes]:
    """1*word with obsolete dots -> the words joined by one space; None if it is broken."""
    if lexer.peek() == b".":
        return None
    words = []
    while True:
        if lexer.peek() == b'"':
            word, closed = lexer.quoted()
            if not closed:
                return None
        else:
            word = lexer.dotted()
            if not word:
                break
        words.append(word)
        if not lexer.skip():
            return None
    return b" ".join(words)


def _angle(lexer: Lexer):
    """<[@route:]local@domain> -> (route, local, domain)."""
    lexer.take(b"<")
    lexer.skip()
    route = local = domain = None
    if lexer.peek() == b"@":
        route = _route(lexer)
    if lexer.peek() != b">":
        local, domain = _local(lexer), None
        if local is not None and lexer.peek() == b"@":
            domain = _domain(lexer)
    if not lexer.take(b">"):
        domain = BROKEN_DOMAIN
    lexer.skip()
    return route, local, domain


def _route(lexer: Lexer) -> bytes:
    domains = []
    while lexer.peek() == b"@":
        domains.append(b"@" + (_domain(lexer) or b""))
        while lexer.take(b","):
            lexer.skip()
    route = b",".join(domains) if lexer.take(b":") else b"INVALID_ROUTE"
    lexer.skip()
    return route


def _bare(lexer: Lexer):
    """local@domain, with its comment as the name (as in RFC 822) -> (name, local, domain)."""
    lexer.comment = b""
    quoted = lexer.peek() == b'"'
    local, domain = _local(lexer), None
    if lexer.peek() == b"@":
        domain = _domain(lexer)
        if lexer.comment:
            return lexer.comment, local, domain
        # Half an address is more likely a display name than a mailbox.
        return (None, local, domain) if domain is not None else (local, None, None)
    if lexer.comment:
        return lexer.comment, local, None
    more = _phrase(lexer)
    if more:
        return b" ".join(piece for piece in (local, more) if piece), None, None
    return (local, None, None) if quoted else (None, local, None)


def _local(lexer: Lexer) -> Optional[bytes]:
    if lexer.peek() == b'"':
        text, closed = lexer.quoted()
        lexer.skip()
        return text if closed else None
    return _dot_atom(lexer, b".")


def _dot_atom(lexer: Lexer, before: bytes = b"") -> Optional[bytes]:
    """Atoms and dots, with CFWS between them (obsolete, but common).

    None if it begins neither with an atom nor with the octet `before`.
    """
    atom = lexer.atom()
    if not atom and (not before or lexer.peek() != before):
        return None
    pieces = [atom]
    while lexer.skip() and lexer.take(b"."):
        lexer.skip()
        pieces.append(b"." + lexer.atom())
    return b"".join(pieces)


def _domain(lexer: Lexer) -> Optional[bytes]:
    lexer.take(b"@")
    lexer.skip()
    if lexer.peek() == b"[":
        literal = lexer.literal()
        lexer.skip()
        return literal or None
    return _dot_atom(lexer)
