"""The values of the configuration key "without": IMAP extensions that can be switched off.

A name is the capability that CAPABILITY shows. If that ends with a variable value, the name is the
part before the "=".
"""

from typing import Any, Dict, FrozenSet, Iterable, Optional, Tuple

from .checks import Kind
from .problems import did_you_mean, shown

#: {extension: extensions that it needs}. If one of these is off, the extension is off, too.
NEEDS: Dict[str, Tuple[str, ...]] = {
    "STARTTLS": (),
    "AUTH=CRAM-MD5": (),
    "AUTH=LOGIN": (),
    "AUTH=PLAIN": (),
    "AUTH=SCRAM-SHA-256": (),
    "SASL-IR": (),
    "LITERAL+": (),
    "ID": (),
    "ENABLE": (),
    "IDLE": (),
    "NOTIFY": (),
    "NAMESPACE": (),
    "UNSELECT": (),
    "UIDPLUS": (),
    "MOVE": (),
    "CHILDREN": (),
    "LIST-EXTENDED": (),
    "LIST-STATUS": ("LIST-EXTENDED",),
    "SPECIAL-USE": (),
    "CREATE-SPECIAL-USE": (),
    "OBJECTID": (),
    "QUOTA": (),
    "QUOTA=RES-STORAGE": ("QUOTA",),
    "QUOTA=RES-MESSAGE": ("QUOTA",),
    "STATUS=SIZE": (),
    "APPENDLIMIT": (),
    "WITHIN": (),
    "CONDSTORE": (),
    "QRESYNC": ("CONDSTORE", "ENABLE"),
    "ESEARCH": (),
    "SEARCHRES": ("ESEARCH",),
    "SORT": (),
    "SORT=DISPLAY": ("SORT",),
    "ESORT": ("SORT", "ESEARCH"),
    "THREAD=ORDEREDSUBJECT": (),
    "THREAD=REFERENCES": (),
    "UTF8=ACCEPT": ("ENABLE",),
    "MULTIAPPEND": (),
    "BINARY": (),
    "PREVIEW": (),
    "COMPRESS=DEFLATE": (),
}


class ExtensionName(Kind):
    """The name of an extension, in upper or lower case -> the name as in NEEDS."""

    expected = "the name of an IMAP extension"

    def clean(self, value: Any) -> Optional[str]:
        name = value.upper() if isinstance(value, str) else None
        return name if name in NEEDS else None

    def hint(self, value: Any) -> str:
        if not isinstance(value, str):
            return ""
        if value.upper() == "IMAP4REV1":
            return "IMAP4rev1 cannot be switched off"
        return did_you_mean(value, list(NEEDS)) or "known: %s" % ", ".join(map(shown, NEEDS))


def switched_off(names: Iterable[str]) -> FrozenSet[str]:
    """These extensions and all that need them, directly or indirectly."""
    off = set(names)
    while True:
        more = {name for name, needs in NEEDS.items() if off.intersection(needs)} - off
        if not more:
            return frozenset(off)
        off |= more
