"""The header field Authentication-Results (RFC 8601): writes ours, removes forged ones. Pure."""
import re
from typing import NamedTuple, Tuple

from ..mail import headers
from ..mail.address import AddressError, ascii_domain
from ..mail.lexer import Lexer

NAME = b"authentication-results"

# RFC 8601 2.7. Of several signatures, `summary` reports the result that comes first here.
WORDS = {
    "spf": ("pass", "fail", "softfail", "neutral", "none", "policy", "temperror", "permerror"),
    "dkim": ("pass", "temperror", "fail", "policy", "permerror", "neutral", "none"),
    "dmarc": ("pass", "fail", "none", "temperror", "permerror"),
}

_LINE = 78
_LONGEST = 255  # characters of a property, as of a domain
_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+\Z")
_PRINTABLE = re.compile(r"[ -~]+\Z")
_WORD_END = re.compile(rb'[\s;"(]|\Z')
_WORD, _MOST_WORDS = re.compile(rb'[^\s;"()/]+'), 50
_TYPE = re.compile(r"[a-z]+\.[a-z-]+\Z")


class Result(NamedTuple):
    """The result of one method. `method`, `result`: words of WORDS; `reason`: a few words for
    people, or ""; `properties`: ("smtp.mailfrom", "example.org") and so on. `field` leaves out
    properties that cannot be written.
    """
    method: str
    result: str
    reason: str = ""
    properties: Tuple[Tuple[str, str], ...] = ()


def is_known(result):
    """Whether method and result are words of WORDS."""
    return result.result in WORDS.get(result.method, ())


def is_printable(text):
    """Whether `text` is "" or a short str of printable ASCII."""
    return isinstance(text, str) and len(text) <= _LONGEST and (
        not text or _PRINTABLE.match(text) is not None)


def field(host, results):
    """The whole field in wire form, with its CRLF (bytes). `host`: our authserv-id (A-labels)."""
    lines = ["Authentication-Results: %s" % host]
    lines += [_folded(_parts(result)) for result in results] or ["none"]
    return (";\r\n\t".join(lines) + "\r\n").encode("ascii")


def summary(results):
    """For filters: "spf=pass dkim=none dmarc=fail", one word for each method, in this order; "" for
    none.
    """
    found = {}
    for result in results:
        words = WORDS[result.method]
        found[result.method] = min(found.get(result.method, result.result), result.result,
                                   key=words.index)
    return " ".join(["%s=%s" % (method, found[method]) for method in WORDS if method in found])


def _parts(result):
    yield "%s=%s" % (result.method, result.result)
    if result.reason:
        yield "reason=%s" % _quoted(result.reason)
    for name, value in result.properties:
        if _TYPE.match(name) and 0 < len(value) <= _LONGEST and _PRINTABLE.match(value):
            yield "%s=%s" % (name, value if _TOKEN.match(value) else _quoted(value))


def _quoted(text):
    return '"%s"' % re.sub(r'(["\\])', r"\\\1", text)


def _folded(parts):
    """Join the parts with blanks, and a fold wherever the line would be too long."""
    text, column = "", 0
    for part in parts:
        if not text:
            text, column = part, 8 + len(part)
        elif column + 1 + len(part) < _LINE:
            text, column = text + " " + part, column + 1 + len(part)
        else:
            text, column = text + "\r\n\t " + part, 9 + len(part)
    return text


# -- what another server found

_VERDICT = re.compile(rb"([a-z]+)(?:[ \t\r\n]*/[ \t\r\n]*[0-9]+)?[ \t\r\n]*=[ \t\r\n]*([a-z]+)\Z")
_MOST_RESULTS = 50


def of_server(header, server):
    """The Results that an upstream server noted on top of a header block (bytes).

    `server`: its authserv-id. Its first field counts, and those of it that follow at once: a field
    further down may be a sender's forgery. Results with unknown words are left out.
    """
    found, is_inside = [], False
    wanted = _ascii(server.encode("utf-8"))
    for field in headers.each_field(header):
        is_its = _is_results(field)
        parts = _parts_of(field.value) if is_its else []
        # The authserv-id may have a version behind it.
        is_its = is_its and bool(parts) and _ascii(parts[0].partition(b" ")[0]) == wanted
        if is_its:
            found.extend(filter(None, map(_result_of, parts[1:])))
        elif is_inside:
            break
        is_inside = is_its
    return found[:_MOST_RESULTS]


def _result_of(part):
    """One part of a field, such as b"spf=pass smtp.mailfrom=a.example" -> Result or None."""
    text, _, value = part.lower().partition(b"=")
    match = _VERDICT.match(text.strip() + b"=" + (value.split() or [b""])[0])
    if match is None:
        return None
    result = Result(match.group(1).decode(), match.group(2).decode())
    return result if is_known(result) else None


def _parts_of(value):
    """A field value -> its parts between semicolons, without comments and quoted strings; words
    are separated by one blank."""
    lexer, parts, words = Lexer(value), [], []
    while lexer.skip() and not lexer.at_end():
        if lexer.take(b";"):
            parts.append(b" ".join(words))
            words = []
        elif lexer.peek() == b'"':
            lexer.quoted()
        else:
            start = lexer.position
            lexer.position = max(start + 1, _WORD_END.search(value, start).start())
            words.append(value[start:lexer.position])
    return parts + [b" ".join(words)]


# -- forged fields


def without_ours(header, host):
    """A header block (bytes, any line ends) without the Authentication-Results fields that claim to
    be ours (RFC 8601 5).

    `host`: our authserv-id. If the authserv-id of a field is unclear, it is removed if it contains
    ours anywhere. All other fields stay byte for byte.
    """
    if NAME not in header.lower():
        return header
    ours = re.compile(rb"(?<![0-9a-z_.-])%s(?!\.?[0-9a-z_-])"
                      % re.escape(_ascii(host.encode("utf-8"))))
    fields = list(headers.each_field(header))
    kept = [field for field in fields if not (_is_results(field) and _claims(field.value, ours))]
    if len(kept) == len(fields):
        return header
    rest = header[sum(len(field.raw) for field in fields):]
    return b"".join([field.raw for field in kept]) + rest


def _is_results(field):
    name = field.name or field.raw.partition(b":")[0]
    return name.strip().lower() == NAME


def _claims(value, ours):
    """Whether a field value has our name in its authserv-id: the part before the first semicolon
    outside of comments and quotes."""
    lexer = Lexer(value)
    start = lexer.position
    while not lexer.at_end() and lexer.peek() != b";":
        before = lexer.position
        if not lexer.skip():
            return _names(value, ours)  # an unterminated comment: the rest is unclear
        if lexer.peek() == b'"':
            if not lexer.quoted()[1]:
                return _names(value, ours)
        elif lexer.position == before:
            lexer.position += 1
    return _names(value[start:lexer.position], ours)


def _names(text, ours):
    text = text.replace(b"\\", b"").replace(b"\r", b"").replace(b"\n", b"").lower()
    if ours.search(text):
        return True
    return any(ours.search(_ascii(word)) for word in _WORD.findall(text)[:_MOST_WORDS]
               if max(word) > 127)


def _ascii(name):
    """A domain (bytes) in A-labels; anything else in lower case."""
    try:
        return ascii_domain(name.decode("utf-8")).encode("ascii")
    except (AddressError, UnicodeError):
        return name.lower()
