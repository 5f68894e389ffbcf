"""Names of mailboxes: as the user writes them, and as a server has them (RFC 3501 5.1, RFC 2342).

The user writes Unicode, with "/" between the levels. The server has modified UTF-7, a separator of
its own, and may keep all mailboxes of the user below a prefix like "INBOX.". Pure.
"""
from ..text import utf7
from .imap_replies import grouped, listed, string, tokens

# Stands for a "/" that is part of a level's name, where the separator is another character.
_SLASH = "\u2215"
_OTHERS = 100  # prefixes of other users' and shared mailboxes that are known


class Names:
    """How one server names mailboxes.

    `separator`: "" if it has no levels; `prefix`: before the user's own mailboxes, e.g. "INBOX.";
    `others`: prefixes of mailboxes that are not the user's own. All are decoded.
    """

    def __init__(self, separator="", prefix="", others=()):
        self.separator, self.prefix, self.others = separator, prefix, others

    def candidates(self, name):
        """The names (bytes) that the user's `name` may have at the server, the likeliest first."""
        if name.upper() == "INBOX":
            return [b"INBOX"]
        converted = name
        if self.separator and self.separator != "/":
            converted = name.replace("/", self.separator).replace(_SLASH, "/")
        found = []
        for text in (converted, name):
            if self.prefix and not text.upper().startswith(self.prefix.upper()):
                found.extend(_encoded(self.prefix + text))
            found.extend(_encoded(text))
        return sorted(set(found), key=found.index)

    def shown(self, name):
        """A server's name (bytes) -> the user's; None if it has none: it is another user's, shared,
        or not ASCII."""
        text = _decoded(name)
        if text is None or any(text.startswith(other) for other in self.others):
            return None
        if text.upper() == "INBOX":
            return "Inbox"
        if self.prefix and text.upper().startswith(self.prefix.upper()):
            text = text[len(self.prefix):]
        if self.separator and self.separator != "/":
            text = text.replace("/", _SLASH).replace(self.separator, "/")
        return text or None


def _decoded(name):
    """A name (bytes) -> str, None if it is not ASCII."""
    try:
        return utf7.decode(name)
    except ValueError:
        pass
    try:
        return name.decode("ascii")  # some servers use "&" as it is
    except UnicodeDecodeError:
        return None


def _encoded(text):
    """A name's encoded form, and the name itself if that is another one a server could have."""
    try:
        encoded = utf7.encode(text)
    except ValueError:
        return []
    plain = text.encode("ascii", "replace")
    if encoded != plain and text.isprintable() and plain.decode("ascii") == text:
        return [encoded, plain]
    return [encoded]


def quoted(name):
    """bytes of printable ASCII -> a quoted string (str), for imaplib."""
    return '"%s"' % name.decode("ascii").replace("\\", "\\\\").replace('"', '\\"')


def learn(client):
    """Ask an imap_client.ImapClient how its server names mailboxes -> Names. Raises FetchError."""
    if "NAMESPACE" in client.capabilities:
        names = client.parsed("NAMESPACE", from_namespace, client.run("namespace"))
        if names is not None:
            return names
    for parts in grouped(client.run("list", '""', '""')):
        return Names(_decoded(client.parsed("LIST", listed, parts)[1]) or "")
    return Names()


def from_namespace(data):
    """The data of a NAMESPACE response -> Names, None if it names no namespace of the user's."""
    kinds, depth = [], 0  # the user's own, other users', shared: lists of [prefix, separator, …]
    for token in tokens(data):
        if depth == 0:
            kinds.append([])
        if token == b"(":
            depth += 1
            if depth == 2:
                kinds[-1].append([])
        elif token == b")":
            depth = max(0, depth - 1)
        elif depth == 2:
            kinds[-1][-1].append(_decoded(string(token) or b"") or "")
    own = [entry for entry in (kinds or [[]])[0] if len(entry) > 1]
    if not own:
        return None
    others = tuple(entry[0] for kind in kinds[1:] for entry in kind if entry and entry[0])
    return Names(own[0][1][:1], own[0][0], others[:_OTHERS])
