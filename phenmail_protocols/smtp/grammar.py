"""Command lines of SMTP: bytes in, values out.

RFC 5321 4.1.2 (paths), 4.1.1 (commands); RFC 1870 (SIZE), 3030 (BDAT), 3461 (DSN), 4954 (AUTH),
6152 (BODY), 6531 (SMTPUTF8). Pure: knows no session, no socket and no policy. Any bytes give a
value or a `GrammarError`. One regular expression a rule; none backtracks over more than the line.

Accepted beyond the RFCs: a space after `FROM:` or `TO:` (old programs send it), `_` in domain names
(hosts have such names), dots anywhere in a local part (some providers assign such addresses), and
any name after HELO and EHLO (programs send whatever their machine is called). Not accepted: a path
without angle brackets, a line without CRLF.
"""
import binascii
import re
from typing import NamedTuple, Optional

from ..accounts import sasl
from ..mail.address import Address, AddressError, ascii_domain
from ..mail.envelope import Recipient
from ..mail.reply import Reply
from ..protocol import auth_argument


class GrammarError(ValueError):
    """A command that does not parse; `reply` is the reply that the RFC asks for."""

    def __init__(self, code, enhanced, text):
        super().__init__(text)
        self.reply = Reply(code, enhanced, text)


class Mail(NamedTuple):
    """MAIL. `sender`: None for <>. `envid`, `auth`: decoded from xtext. `unicode`: the path was
    not ASCII."""
    sender: Optional[Address]
    size: Optional[int] = None
    body: Optional[str] = None
    smtputf8: bool = False
    ret: Optional[str] = None
    envid: Optional[str] = None
    auth: Optional[str] = None
    unicode: bool = False


class Rcpt(NamedTuple):
    """RCPT. `unicode`: the path was not ASCII."""
    recipient: Recipient
    unicode: bool = False


class Chunk(NamedTuple):
    """BDAT: how many octets follow its line, and whether they are the last."""
    size: int
    last: bool


# Dots and atext, with RFC 6531's characters outside ASCII.
_DOTTED = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff.-]+"
_QUOTED = rb'"(?:[\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\x20-\x7e])*"'
_DOMAIN = rb"[A-Za-z0-9_\x80-\xff-]+(?:\.[A-Za-z0-9_\x80-\xff-]+)*"
_LITERAL = rb"\[[\x21-\x5a\x5e-\x7e]+\]"
_ROUTE = rb"(?:@[A-Za-z0-9_.@,\x80-\xff-]*:)?"  # RFC 5321 appendix C: to be ignored
_PATH = re.compile(rb"<" + _ROUTE + rb"(?:(" + _DOTTED + rb")|(" + _QUOTED
                   + rb"))@(" + _DOMAIN + rb"|" + _LITERAL + rb")>")
_POSTMASTER = re.compile(rb"<(postmaster)>", re.IGNORECASE)
# Nearly every path, within RFC 5321's lengths; it needs no further checks.
_ATOM = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = rb"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PLAIN_PATH = re.compile(
    rb"<(?=[^@]{1,64}@[^>]{1,255}>)(" + _ATOM + rb"(?:\." + _ATOM + rb")*)"
    rb"@(" + _LABEL + rb"(?:\." + _LABEL + rb")*)>")
_PARAMETER = re.compile(
    rb" +([A-Za-z0-9][A-Za-z0-9-]*)(?:=([\x21-\x3c\x3e-\x7e\x80-\xff]+))?(?= |\Z)")
_XTEXT = re.compile(rb"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})*")
_ORCPT = re.compile(rb"[A-Za-z0-9-]+;(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e\x80-\xff]|\+[0-9A-F]{2})+")
_HEX = re.compile(rb"\+([0-9A-F]{2})")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
# Neither atext nor part of a host name or IP address.
_NOT_IN_A_NAME = re.compile("[^A-Za-z0-9!#$%&'*+/=?^_`{|}~.:-]")
_CODED = re.compile(rb"[\x80-\xff]")
_ADDRESS = re.compile(r"\[[0-9A-Za-z.:%-]+\]")
_LONGEST_HOST = 255
_BDAT = re.compile(rb"([0-9]{1,20})(?: +(LAST))?", re.IGNORECASE)
_NOTIFY = frozenset((b"SUCCESS", b"FAILURE", b"DELAY"))


def without_crlf(line):
    """A line with its line end -> the line without it."""
    if line[-2:] != b"\r\n":
        raise GrammarError(500, "5.5.2", "A line must end with CRLF (RFC 5321 2.3.8)")
    return line[:-2]


def split(line):
    """A command line with its CRLF -> (verb in upper case, the rest), both bytes."""
    verb, _, rest = without_crlf(line).partition(b" ")
    return verb.strip().upper(), rest.strip()


def parse_path(data):
    """`<path>` at the start of data -> (Address, or None for <>; what follows it).

    `<postmaster>` without a domain (RFC 5321 4.1.1.3) has the domain "".
    """
    plain = _PLAIN_PATH.match(data)
    if plain is not None:
        local, domain = plain.groups()
        return Address(local.decode("ascii"), domain.decode("ascii").lower()), data[plain.end():]
    if data[:2] == b"<>":
        return None, data[2:]
    found = _PATH.match(data)
    if found is not None:
        start = found.start(1 if found.group(1) else 2)
        return _address(data[start:found.end(3)]), data[found.end():]
    found = _POSTMASTER.match(data)
    if found is not None:
        return Address(found.group(1).decode("ascii"), ""), data[found.end():]
    raise GrammarError(501, "5.1.3", "Expected an address as in <user@example.org>")


def _address(mailbox):
    try:
        return Address.parse(mailbox.decode("utf-8"))
    except UnicodeDecodeError:
        raise GrammarError(501, "5.1.3", "The address is not UTF-8 (RFC 6531)") from None
    except AddressError as error:
        raise GrammarError(501, "5.1.3", "Not an address: %s" % error) from None


def parse_parameters(data):
    """` KEYWORD[=value]…` up to the end -> {keyword in upper case: value or None}."""
    parameters = {}
    position = 0
    while position < len(data):
        found = _PARAMETER.match(data, position)
        if found is None:
            raise GrammarError(501, "5.5.4", "Expected parameters like SIZE=1000 after the address")
        keyword, value = found.groups()
        keyword = keyword.upper()
        if keyword in parameters:
            raise GrammarError(501, "5.5.4", "Duplicate parameter")
        parameters[keyword] = value
        position = found.end()
    return parameters


def parse_host(argument):
    """The argument of HELO, EHLO, LHLO -> str that is safe in Received and in logs.

    A domain is returned in A-labels. Anything else is cut to a bound, and characters that could
    mislead, such as a quote that hides what follows, become question marks.
    """
    if not argument:
        raise GrammarError(501, "5.5.4", "Expected your host's name or [address] after the command")
    text = argument.decode("utf-8", "replace")
    try:
        text = ascii_domain(text) if _CODED.search(argument) else text
    except AddressError:
        pass
    text = text[:_LONGEST_HOST]
    return text if _ADDRESS.fullmatch(text) else _NOT_IN_A_NAME.sub("?", text)


def parse_mail(argument):
    """`FROM:<path> parameters` -> Mail."""
    path = _after(argument, b"FROM:", "MAIL FROM:<user@example.org>")
    try:
        sender, rest = parse_path(path)
    except GrammarError as error:
        raise GrammarError(501, "5.1.7", error.reply.text) from None
    if sender is not None and not sender.domain:
        # RFC 5321 4.1.1.3: only a recipient may be <postmaster>.
        raise GrammarError(501, "5.1.7", "Expected an address as in <user@example.org>")
    values = {"unicode": _is_unicode(path, rest)}
    if not rest:
        return Mail(sender, **values)
    for keyword, value in parse_parameters(rest).items():
        if keyword not in _MAIL_PARAMETERS:
            raise GrammarError(555, "5.5.4", "Unknown parameter of MAIL")
        name, parse = _MAIL_PARAMETERS[keyword]
        values[name] = parse(value)
    return Mail(sender, **values)


def parse_rcpt(argument):
    """`TO:<path> parameters` -> Rcpt."""
    path = _after(argument, b"TO:", "RCPT TO:<user@example.org>")
    address, rest = parse_path(path)
    if address is None:
        raise GrammarError(501, "5.1.3", "A recipient cannot be <>")
    unicode = _is_unicode(path, rest)
    if not rest:
        return Rcpt(Recipient(address, (), None), unicode)
    values = {"notify": (), "orcpt": None}
    for keyword, value in parse_parameters(rest).items():
        if keyword not in _RCPT_PARAMETERS:
            raise GrammarError(555, "5.5.4", "Unknown parameter of RCPT")
        name, parse = _RCPT_PARAMETERS[keyword]
        values[name] = parse(value)
    return Rcpt(Recipient(address, values["notify"], values["orcpt"]), unicode)


def _is_unicode(path, rest):
    """Whether the path before `rest` needs SMTPUTF8."""
    return _CODED.search(path, 0, len(path) - len(rest)) is not None


def parse_bdat(argument):
    """`size [LAST]` -> Chunk."""
    found = _BDAT.fullmatch(argument)
    if found is None:
        raise GrammarError(501, "5.5.4", "Expected BDAT size [LAST]")
    return Chunk(int(found.group(1)), found.group(2) is not None)


def parse_auth(argument):
    """`mechanism [initial response]` -> Auth."""
    try:
        auth = auth_argument.parse(argument)
    except sasl.Malformed:
        raise GrammarError(501, "5.5.2", "Expected base64 (RFC 4648)") from None
    if auth is None:
        raise GrammarError(501, "5.5.4", "Expected AUTH mechanism [initial response]")
    return auth


def parse_nothing(argument):
    """For commands without an argument -> None."""
    if argument:
        raise GrammarError(501, "5.5.4", "This command takes no argument")


def parse_text(argument):
    """NOOP, HELP: an optional string, printable -> str."""
    return argument.decode("ascii", "replace")


def parse_needed_text(argument):
    """VRFY, EXPN: a required string -> str."""
    if not argument:
        raise GrammarError(501, "5.5.4", "Expected a name or an address after the command")
    return argument.decode("utf-8", "replace")


def _after(argument, keyword, expected):
    if argument[:len(keyword)].upper() != keyword:
        raise GrammarError(501, "5.5.4", "Expected %s" % expected)
    return argument[len(keyword):].lstrip(b" ")


def _size(value):
    if value is None or not value.isdigit() or len(value) > 20:
        raise GrammarError(501, "5.5.4", "Expected SIZE=octets (RFC 1870)")
    return int(value)


def _body(value):
    return _word(value, (b"7BIT", b"8BITMIME"), "BODY=7BIT or BODY=8BITMIME (RFC 6152)")


def _ret(value):
    return _word(value, (b"FULL", b"HDRS"), "RET=FULL or RET=HDRS (RFC 3461)")


def _word(value, words, expected):
    """One of `words`, in any case -> str in upper case."""
    word = value.upper() if value else b""
    if word not in words:
        raise GrammarError(501, "5.5.4", "Expected %s" % expected)
    return word.decode("ascii")


def _smtputf8(value):
    if value is not None:
        raise GrammarError(501, "5.5.4", "SMTPUTF8 has no value (RFC 6531)")
    return True


def _xtext(value):
    if value is None or len(value) > 500 or not _XTEXT.fullmatch(value):
        raise GrammarError(501, "5.5.4", "Expected xtext (RFC 3461 section 4)")
    return _decode_xtext(value)


def _decode_xtext(value):
    """xtext -> str. Control characters are refused, because it ends up in headers."""
    data = _HEX.sub(lambda found: binascii.a2b_hex(found.group(1)), value)
    text = data.decode("utf-8", "replace")
    if _CONTROL.search(text):
        raise GrammarError(501, "5.5.4",
                           "Control characters are not allowed in an identifier (RFC 3461)")
    return text


def _notify(value):
    given = tuple((value or b"").upper().split(b","))
    if given == (b"NEVER",):
        return ("NEVER",)
    if not _NOTIFY.issuperset(given) or len(set(given)) < len(given):
        raise GrammarError(
            501, "5.5.4", "Expected NOTIFY=NEVER, or of SUCCESS,FAILURE,DELAY (RFC 3461)")
    return tuple(word.decode("ascii") for word in given)


def _orcpt(value):
    if value is None or len(value) > 500 or not _ORCPT.fullmatch(value):
        raise GrammarError(
            501, "5.5.4", "Expected ORCPT=type;address in xtext (RFC 3461, RFC 6533)")
    return _decode_xtext(value)


_MAIL_PARAMETERS = {
    b"SIZE": ("size", _size),
    b"BODY": ("body", _body),
    b"SMTPUTF8": ("smtputf8", _smtputf8),
    b"RET": ("ret", _ret),
    b"ENVID": ("envid", _xtext),
    b"AUTH": ("auth", _xtext),
}
_RCPT_PARAMETERS = {
    b"NOTIFY": ("notify", _notify),
    b"ORCPT": ("orcpt", _orcpt),
}
