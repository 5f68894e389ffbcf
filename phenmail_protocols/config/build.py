"""Checked values -> settings: what depends on more than one key.

Default ports and listeners (`DEFAULT_PORTS`), keys that exclude or need each
other, default paths.  Reads no file.
"""

import os
from types import MappingProxyType
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..text.domains import ascii_domain
from .actions import external_mda
from .checks import Reader
from .filtering import FILTERS, MOST_CODE
from .problems import Path, nearest, shown
from .root import USER_TOKEN, InvalidPath
from .schema import FETCHER_FILE, SERVER_FILE, USER_FILE
from .settings import (
    Bounce,
    FetchAccount,
    FetcherSettings,
    Filter,
    Hosted,
    Inbound,
    Limits,
    Listen,
    Relay,
    Resolver,
    Settings,
    Tls,
    UserSettings,
    Vacation,
)

# section -> TLS from the first byte -> port; others add UNPRIVILEGED.
DEFAULT_PORTS = {
    "smtp": {True: 465, False: 25},
    "relay": {True: 465, False: 587},
    "imap": {True: 993, False: 143},
    "pop": {True: 995, False: 110},
    "lmtp": {True: 24, False: 24},
}
UNPRIVILEGED = 2000
SHORT_FORM = ("host", "port", "disable-ssl", "plaintext-auth")
FETCH_PORTS = {"imap": 143, "imaps": 993, "pop": 110, "pops": 995}
PROTOCOLS = 5  # smtp, submission, imap, pop3 and lmtp have a share of connections each
SAME_PROTOCOL = {"imap4": "imap", "pop3": "pop"}


def server(reader: Reader, privileged: bool, host_name: Callable[[], str]) -> Settings:
    """Build the server's settings; what is wrong goes to the reader.

    In: `privileged`: whether ports below 1024 can be had; `host_name` gives
    the host's full name, asked only where there is no sender-domain.
    """
    values = SERVER_FILE.read(reader, (), reader.document.values)
    pop = _pop_key(reader)
    sections = {key: _section(SERVER_FILE, key, values[key])
                for key in ("relay", "smtp", "imap", pop, "tls", "limits", "inbound", "bounce")}
    limits = _limits(reader, sections["limits"])
    queue = _relay(reader, sections["relay"])
    smtp = sections["smtp"]
    listens = {
        "smtp": () if smtp["only-relay"] else _listens(reader, "smtp", "smtp", smtp, privileged),
        "relay": _listens(reader, "relay", "relay", sections["relay"], privileged),
        "imap": _listens(reader, "imap", "imap", sections["imap"], privileged),
        pop: _listens(reader, pop, "pop", sections[pop], privileged),
        "lmtp": _lmtp(reader, values["lmtp"], privileged),
    }
    _check_collisions(reader, listens)
    return Settings(
        sender_domain=values["sender-domain"] or ascii_domain(host_name()),
        receivers=values["receivers"],
        domains=_frozen(values["domains"] or {}),
        smtp=listens["smtp"], submission=listens["relay"], imap=listens["imap"],
        pop3=listens[pop], lmtp=listens["lmtp"],
        relay=None if sections["relay"]["disabled"] else queue,
        queue=queue,
        hosted=_hosted(reader, values["hosted"]),
        resolver=_resolver(reader, values["resolver"]),
        bounce=Bounce(**sections["bounce"]),
        admin=values["admin"],
        tls=_tls(reader, sections["tls"]),
        global_filters=_filters(reader, "global-filters", values["global-filters"],
                                reader.root.mail_system),
        run_as=values["run-as"],
        plugins=MappingProxyType(dict(values["plugins"] or {})),
        inbound=Inbound(**sections["inbound"]),
        python=values["python"],
        limits=limits,
        smtp_message_size=smtp["max-size"] or limits.message_size,
        imap_debug=sections["imap"]["debug"], pop3_debug=sections[pop]["debug"],
        complaints=tuple(reader.complaints))


def _limits(reader: Reader, values: Dict[str, Any]) -> Limits:
    connections, share = values["connections"], values["connections-before-login"]
    if share is None:
        share = max(1, connections // 8)
    elif share * PROTOCOLS >= connections:
        reader.problem(("limits", "connections-before-login"),
                       "less than a fifth of connections (%d), so that the five protocols leave "
                       "slots to those who log in" % connections, share)
    values = dict(values, **{"connections-before-login": share})
    return Limits(**{key.replace("-", "_"): value for key, value in values.items()})


def _section(table: Any, key: str, clean: Optional[Dict[str, Any]]) -> Dict[str, Any]:
    """The clean values of a section, or its defaults where it was not written."""
    if clean is not None:
        return clean
    return next(option.kind.defaults() for option in table.options if option.key == key)


def _frozen(domains: Dict[str, Dict[str, Any]]) -> Any:
    return MappingProxyType({domain: MappingProxyType(users)
                             for domain, users in domains.items()})


def _pop_key(reader: Reader) -> str:
    written = reader.document.values
    if "pop" in written and "pop3" in written:
        reader.problem(("pop3",), "one of pop and pop3, which mean the same", key=True)
    return "pop3" if "pop3" in written else "pop"


# Listeners


def _listens(reader: Reader, key: str, section: str, values: Dict[str, Any],
             privileged: bool) -> Tuple[Listen, ...]:
    if values["disabled"]:
        return ()
    given = [name for name in SHORT_FORM if values.get(name) is not None]
    if values["listen"] is not None:
        if given:
            reader.problem((key, "listen"), "either listen or %s, not both forms in one section"
                           % ", ".join(given), key=True)
        return tuple(_long_form(item, section, privileged) for item in values["listen"])
    implicit = section != "smtp" and not values["disable-ssl"]
    return (Listen(values["host"] or "*", _port(values["port"], section, implicit, privileged),
                   "implicit" if implicit else "starttls", bool(values.get("plaintext-auth"))),)


def _long_form(item: Dict[str, Any], section: str, privileged: bool) -> Listen:
    tls = item["tls"] or ("starttls" if section == "smtp" else "implicit")
    return Listen(item["host"], _port(item["port"], section, tls == "implicit", privileged),
                  tls, item["plaintext-auth"])


def _port(port: Optional[int], section: str, implicit: bool, privileged: bool) -> int:
    if port is not None:
        return port
    return DEFAULT_PORTS[section][implicit] + (0 if privileged else UNPRIVILEGED)


def _lmtp(reader: Reader, values: Optional[Dict[str, Any]], privileged: bool) -> Tuple[Listen, ...]:
    if values is None or values["disabled"]:
        return ()
    if values["socket"] is not None:
        if values["host"] is not None or values["port"] is not None:
            reader.problem(("lmtp", "socket"), "either socket or host and port", key=True)
        return (Listen("", 0, "none", path=values["socket"]),)
    # LMTP has no login, so it stays on the loopback unless told otherwise.
    return (Listen(values["host"] or "localhost",
                   _port(values["port"], "lmtp", False, privileged), "none"),)


def _check_collisions(reader: Reader, listens: Dict[str, Tuple[Listen, ...]]) -> None:
    taken: List[Tuple[Listen, str]] = []
    for key, items in listens.items():
        for number, listen in enumerate(items):
            for other, owner in taken:
                if _collide(listen, other):
                    reader.problem(_port_path(reader, key, number), "a free port",
                                   value=listen.port, hint="%s listens there already" % owner)
                    break
            taken.append((listen, key))


def _collide(one: Listen, other: Listen) -> bool:
    if one.path or other.path:
        return one.path == other.path
    return (one.port == other.port != 0
            and (one.host == other.host or "*" in (one.host, other.host)))


def _port_path(reader: Reader, key: str, number: int) -> Path:
    written = reader.document.values.get(key)
    if isinstance(written, dict) and written.get("listen"):
        return (key, "listen", number, "port")
    return (key, "port")


# Other parts


def _relay(reader: Reader, values: Dict[str, Any]) -> Relay:
    own = reader.root.mail_system
    return Relay(values["dkim-key"] or os.path.join(own, "dkim.key"), values["dkim-selector"],
                 values["queue-folder"] or os.path.join(own, "queue"), values["remote-port"],
                 values["private-addresses"])


def _hosted(reader: Reader, values: Optional[Dict[str, Any]]) -> Optional[Hosted]:
    if values is None or values["server"] is None:
        return None
    if values["require-authentication"] and values["username"] is None:
        reader.problem(("hosted",), 'a "username", or "require-authentication": false')
    return Hosted(**{key.replace("-", "_"): value for key, value in values.items()})


def _resolver(reader: Reader, values: Optional[Dict[str, Any]]) -> Optional[Resolver]:
    if values is None:
        return None
    servers = values["nameservers"]
    if len(dict(servers)) < len(servers):  # dnspython knows one port for each address
        reader.problem(("resolver", "nameservers"), "each address once")
    return Resolver(servers, values["timeout"])


def _tls(reader: Reader, values: Dict[str, Any]) -> Tls:
    certificate, key = values["certificate"], values["key"]
    written = reader.document.values.get("tls")
    if isinstance(written, dict) and ("certificate" in written) != ("key" in written):
        reader.problem(("tls",), '"certificate" and "key" together')
    own = reader.root.mail_system
    return Tls(certificate or os.path.join(own, "tls-certificate.pem"),
               key or os.path.join(own, "tls-key.pem"), bool(certificate and key))


CODE_FILE = "file:"


def _filters(reader: Reader, key: str, values: Tuple[Dict[str, Any], ...],
             folder: Optional[str]) -> Tuple[Filter, ...]:
    if reader.problems:  # a wrong filter is left out of the values, and the places of the others are not theirs
        return ()
    code = [number for number, value in enumerate(values) if value["type"] == "py"]
    if reader.owner is not None and len(code) > MOST_CODE:
        reader.problem((key, code[MOST_CODE]), 'at most %d filters of type "py"' % MOST_CODE)
        return ()
    return tuple(_filter(reader, (key, number), value, folder)
                 for number, value in enumerate(values))


def _filter(reader: Reader, path: Path, value: Dict[str, Any], folder: Optional[str]) -> Filter:
    """`folder`: on which the path of a code's file is based."""
    place = reader.document.place(path)
    found = Filter(value["type"], place="%s:%d" % place[:2] if place.line else place.file,
                   from_server=reader.owner is None)
    if value["type"] == "py":
        return found._replace(code=value["code"], authorization=value["authorization"],
                              code_file=_code_file(reader, path + ("code",), value["code"], folder))
    if value["type"] == "vacation":
        return found._replace(vacation=Vacation(
            value["text"], value["subject"], value["period"], value["from"], value["until"],
            value["addresses"]))
    headers = value["header"]
    return found._replace(headers=(headers,) if isinstance(headers, str) else headers, mode=value["mode"],
                          content=value["content"], action=value["action"], name=value["name"])


def _code_file(reader: Reader, path: Path, code: str, folder: Optional[str]) -> Optional[str]:
    if not code.startswith(CODE_FILE):
        return None
    try:
        target = reader.root.resolve(code[len(CODE_FILE):].strip(), reader.owner, folder=folder)
    except InvalidPath as refused:
        reader.problem(path, str(refused), code)
        return None
    if reader.owner is not None and reader.root.identity_of(target) != reader.owner:
        reader.problem(path, "a path inside the folder of its owner %s" % reader.owner, code)
    return target


# The users' files


def user(reader: Reader) -> UserSettings:
    """Build a user's settings; `reader.folder` is the mail folder."""
    values = USER_FILE.read(reader, (), reader.document.values)
    for key in ("delivery", "filters"):
        if values[key] is None:
            name = {"delivery": "delivery", "filters": "filters.jcfg"}[key]
            values[key] = os.path.join(reader.folder or "", name)
        else:
            _check_owner(reader, (key,), values[key])
    text = values["external-MDA"]
    return UserSettings(outward=None if text is None else external_mda(text)[0],
                        **{key.lower().replace("-", "_"): value for key, value in values.items()})


def filters(reader: Reader) -> Tuple[Filter, ...]:
    """Build the filters of a filters.jcfg."""
    values = FILTERS.read(reader, (), reader.document.values)["filters"]
    return _filters(reader, "filters", values, reader.folder)


def fetcher(reader: Reader) -> FetcherSettings:
    """Build what a mail-fetcher.jcfg says; paths must be their owner's."""
    values = FETCHER_FILE.read(reader, (), reader.document.values)
    folders = values["mail-folders"]
    if folders is None:
        folder = reader.path(("mail-folders",), "/%s/mail" % USER_TOKEN)
        folders = {"mail": folder} if folder else {}
    for name, folder in folders.items():
        _check_owner(reader, ("mail-folders", name), folder)
    accounts = tuple(_fetch_account(reader, ("accounts", number), account, folders)
                     for number, account in enumerate(values["accounts"]))
    return FetcherSettings(values["device"], MappingProxyType(folders), accounts)


def _check_owner(reader: Reader, path: Path, folder: str) -> None:
    if reader.root.identity_of(folder) != reader.owner:
        reader.problem(path, "a path inside the folder of its owner %s" % reader.owner,
                       reader.written(path))


def _fetch_account(reader: Reader, path: Path, values: Dict[str, Any],
                   folders: Dict[str, str]) -> FetchAccount:
    protocol = SAME_PROTOCOL.get(values["protocol"], values["protocol"])
    if values["starttls"] and protocol in ("imaps", "pops"):
        reader.problem(path + ("starttls",), "false: %s is TLS from the first byte" % protocol)
    boxes: List[Tuple[str, str]] = []
    for number, box in enumerate(values["boxes"]):
        pairs = [(box, "filter")] if isinstance(box, str) else list(box.items())
        for name, action in pairs:
            _check_box(reader, path + ("boxes", number, name), action, folders)
        boxes.extend(pairs)
    return FetchAccount(values["server"] or "", values["port"] or FETCH_PORTS[protocol], protocol,
                        values["starttls"], values["username"] or "", values["passphrase"] or "",
                        values["period"], values["first-time"], tuple(boxes),
                        values["idle"], values["remove"])


def _check_box(reader: Reader, path: Path, action: str, folders: Dict[str, str]) -> None:
    word, _, rest = action.partition(":")
    folder = rest.partition(":")[0] if word == "accept" and ":" in rest else rest
    if word == "accept" and ":" not in rest or not folder:
        folder = "mail"
    if folder not in folders and word != "delete" and not reader.is_full:
        reader.problem(path, "a name of mail-folders (%s is none)" % shown(folder), action,
                       nearest(folder, list(folders)[:50]))
