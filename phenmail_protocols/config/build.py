"""Checked values -> settings: what depends on the root, on the process or on several sections.

Default ports and listeners, default paths, and whose files a path may lead to. Reads no file.
"""

import os
from types import MappingProxyType
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..text.domains import ascii_domain
from . import oauth2
from .actions import external_mda
from .checks import Reader
from .filtering import FILTERS, MOST_CODE
from .imap_extensions import switched_off
from .lookup import Lookup
from .problems import Path, did_you_mean, shown
from .root_folder import USER_TOKEN, InvalidPath
from .schema import FETCHER_FILE, SERVER_FILE, USER_FILE
from .settings import (
    FetchAccount,
    FetcherSettings,
    Filter,
    Limits,
    Listen,
    Relay,
    Settings,
    Tls,
    UserSettings,
)

# section -> (port with implicit TLS, port without); unprivileged processes add UNPRIVILEGED.
DEFAULT_PORTS = {"smtp": (465, 25), "relay": (465, 587), "imap": (993, 143), "pop": (995, 110),
                 "pop3": (995, 110), "lmtp": (24, 24)}
UNPRIVILEGED = 2000
SHORT_FORM = ("host", "port", "disable-ssl", "plaintext-auth")
FETCH_PORTS = {"imap": 143, "imaps": 993, "pop": 110, "pops": 995}
FETCH_SYNONYMS = {"imap4": "imap", "pop3": "pop"}
CODE_FILE = "file:"

Values = Dict[str, Any]


def server(reader: Reader, privileged: bool, host_name: Callable[[], str]) -> Settings:
    """Build the server's settings; errors go to the reader.

    In: `privileged`: whether ports below 1024 can be used; `host_name` returns the host's full
    name and is called only without a sender-domain.
    """
    written = reader.document.values
    values = SERVER_FILE.read(reader, (), written)
    if "pop" in written and "pop3" in written:
        reader.problem(("pop3",), 'either "pop" or "pop3": both mean the same section', key=True)
    pop = "pop3" if "pop3" in written else "pop"
    sections = {key: values[key] for key in ("smtp", "relay", "imap", pop)}
    listens = {key: _listens(reader, key, section, privileged)
               for key, section in sections.items()}
    listens["lmtp"] = _lmtp(reader, values["lmtp"], privileged)
    _check_ports(reader, listens)
    system, relay, limits = reader.root.mail_system, values["relay"], _limits(values["limits"])
    del values["pop"]
    values.update(
        sender_domain=values["sender_domain"] or ascii_domain(host_name()),
        smtp=listens["smtp"], submission=listens["relay"], imap=listens["imap"],
        pop3=listens[pop], lmtp=listens["lmtp"],
        relay=Relay(**{field: relay[field] for field in Relay._fields})._replace(
            dkim_key=relay["dkim_key"] or os.path.join(system, "dkim.key"),
            queue_folder=relay["queue_folder"] or os.path.join(system, "queue")),
        hosted=values["hosted"] and oauth2.hosted(values["hosted"], system),
        tls=_tls(system, **values["tls"]),
        global_filters=_filters(reader, "global-filters", values["global_filters"], system),
        limits=limits,
        smtp_message_size=sections["smtp"]["max_size"] or limits.message_size,
        imap_debug=sections["imap"]["debug"], pop3_debug=sections[pop]["debug"])
    _warn_of_quotas(reader, values)
    values["warnings"] = tuple(reader.warnings)
    return Settings(**values)


def _warn_of_quotas(reader: Reader, values: Values) -> None:
    lookup = Lookup(values["sender_domain"], values["domains"])
    for name in values["quota"].users:
        end = lookup.end(lookup.find_login(name))
        if end is None or end.action.kind != "mailbox":
            reader.warn(("quota", "users", name), "", "%s has no mailbox" % name, key=True)


def _limits(limits: Limits) -> Limits:
    if limits.connections_before_login is not None:
        return limits
    return limits._replace(connections_before_login=max(1, limits.connections // 8))


def _tls(system: str, certificate: Optional[str], key: Optional[str]) -> Tls:
    return Tls(certificate or os.path.join(system, "tls-certificate.pem"),
               key or os.path.join(system, "tls-key.pem"), bool(certificate and key))


# Listeners


def _listens(reader: Reader, section: str, values: Values, privileged: bool) -> Tuple[Listen, ...]:
    if values["disabled"] or values.get("only_relay"):
        return ()
    if values["listen"] is not None:
        given = [key for key in SHORT_FORM if values.get(key.replace("-", "_")) is not None]
        if given:
            reader.problem((section, "listen"), 'either "listen" or %s, not both in one section'
                           % ", ".join(shown(key) for key in given), key=True)
        return tuple(_long_form(item, section, privileged, values.get("without", ()))
                     for item in values["listen"])
    # Servers deliver to port 25, which begins without TLS; users' programs expect implicit TLS
    # (RFC 8314 section 3).
    implicit = section != "smtp" and not values["disable_ssl"]
    listen = Listen(values["host"] or "*", _port(values["port"], section, implicit, privileged),
                    "implicit" if implicit else "starttls", bool(values.get("plaintext_auth")),
                    without=switched_off(values.get("without", ())))
    if section == "relay" and implicit and values["port"] is None:
        # Many programs send on port 587 with STARTTLS only (RFC 8314 section 3.3).
        return listen, listen._replace(port=_port(None, section, False, privileged),
                                       tls="starttls")
    return (listen,)


def _long_form(item: Values, section: str, privileged: bool, without: Tuple[str, ...]) -> Listen:
    tls = item["tls"] or ("starttls" if section == "smtp" else "implicit")
    return Listen(item["host"], _port(item["port"], section, tls == "implicit", privileged),
                  tls, item["plaintext_auth"],
                  without=switched_off(without + item.get("without", ())))


def _port(port: Optional[int], section: str, implicit: bool, privileged: bool) -> int:
    if port is not None:
        return port
    return DEFAULT_PORTS[section][not implicit] + (0 if privileged else UNPRIVILEGED)


def _lmtp(reader: Reader, values: Values, privileged: bool) -> Tuple[Listen, ...]:
    if values["disabled"]:
        return ()
    if values["socket"] is not None:
        if values["host"] is not None or values["port"] is not None:
            reader.problem(("lmtp", "socket"), 'either "socket" or "host" and "port"', key=True)
        return (Listen("", 0, "none", path=values["socket"]),)
    # LMTP has no login, so its default is the loopback.
    return (Listen(values["host"] or "localhost",
                   _port(values["port"], "lmtp", False, privileged), "none"),)


def _check_ports(reader: Reader, listens: Dict[str, Tuple[Listen, ...]]) -> None:
    taken: List[Tuple[Listen, str]] = []
    for section, items in listens.items():
        for number, listen in enumerate(items):
            for other, owner in taken:
                if _collide(listen, other):
                    is_long = reader.written((section, "listen", number)) is not None
                    path = (section, "listen", number) if is_long else (section,)
                    reader.problem(path + ("port",), "a free port", listen.port,
                                   "%s listens there already" % owner)
                    break
            taken.append((listen, section))


def _collide(one: Listen, other: Listen) -> bool:
    # Port 0 picks a free one each time.
    if one.path or other.path:
        return one.path == other.path
    return (one.port == other.port != 0
            and (one.host == other.host or "*" in (one.host, other.host)))


# The users' files


def user(reader: Reader) -> UserSettings:
    """Build a user's settings; `reader.folder` is the mail folder."""
    clean = USER_FILE.read(reader, (), reader.document.values)
    for key in ("delivery", "filters"):
        if getattr(clean, key) is not None:
            _check_owner(reader, (key,), getattr(clean, key))
    folder = reader.folder or ""
    return clean._replace(
        delivery=clean.delivery or os.path.join(folder, "delivery"),
        filters=clean.filters or os.path.join(folder, "filters.jcfg"),
        without=switched_off(clean.without),
        outward=None if clean.external_mda is None else external_mda(clean.external_mda)[0])


def filters(reader: Reader) -> Tuple[Filter, ...]:
    """Build the filters of a filters.jcfg."""
    clean = FILTERS.read(reader, (), reader.document.values)["filters"]
    return _filters(reader, "filters", clean, reader.folder)


def _filters(reader: Reader, key: str, clean: Tuple[Filter, ...],
             folder: Optional[str]) -> Tuple[Filter, ...]:
    """Add to each filter where it was written, and the file of its code.

    In: `folder`: what the paths of such files are relative to.
    """
    # Wrong filters are missing here, so the others have other numbers than in the file.
    if reader.problems:
        return ()
    code = [number for number, each in enumerate(clean) if each.type == "py"]
    if reader.owner is not None and len(code) > MOST_CODE:
        reader.problem((key, code[MOST_CODE]), 'at most %d filters of type "py"' % MOST_CODE)
        return ()
    found = []
    for number, each in enumerate(clean):
        place = reader.document.place((key, number))
        found.append(each._replace(
            place="%s:%d" % place[:2] if place.line else place.file,
            from_server=reader.owner is None,
            code_file=_code_file(reader, (key, number, "code"), each.code, folder)))
    return tuple(found)


def _code_file(reader: Reader, path: Path, code: str, folder: Optional[str]) -> Optional[str]:
    if not code.startswith(CODE_FILE):
        return None
    try:
        target = reader.root.resolve(code[len(CODE_FILE):].strip(), reader.owner, folder=folder)
    except InvalidPath as refused:
        reader.problem(path, str(refused), code)
        return None
    if reader.owner is not None:
        _check_owner(reader, path, target)
    return target


def _check_owner(reader: Reader, path: Path, target: str) -> None:
    if reader.root.identity_of(target) != reader.owner:
        reader.problem(path, "a path inside the folder of its owner %s" % reader.owner,
                       reader.written(path))


def fetcher(reader: Reader) -> FetcherSettings:
    """Build the settings of a mail-fetcher.jcfg; its paths must be inside its owner's folder."""
    clean = FETCHER_FILE.read(reader, (), reader.document.values)
    folders = clean.mail_folders
    if folders is None:
        folder = reader.path(("mail-folders",), "/%s/mail" % USER_TOKEN)
        folders = MappingProxyType({"mail": folder} if folder else {})
    for name, folder in folders.items():
        _check_owner(reader, ("mail-folders", name), folder)
    accounts = tuple(_fetch_account(reader, ("accounts", number), account, folders)
                     for number, account in enumerate(clean.accounts))
    if not reader.problems:
        _check_accounts(reader, accounts)
    return clean._replace(mail_folders=folders, accounts=accounts)


def _check_accounts(reader: Reader, accounts: Tuple[FetchAccount, ...]) -> None:
    """Each account has a name of its own, and is one mailbox: two that fetch from the same one
    would fetch each message twice."""
    names: Dict[str, int] = {}
    places: Dict[Tuple, int] = {}
    for number, account in enumerate(accounts):
        place = account.place
        if place in places:
            reader.problem(("accounts", number), "one account for each login on a server (list all "
                           "mailboxes in accounts[%d])" % places[place], account.name)
        elif account.name in names:
            reader.problem(("accounts", number), "another \"name\" than that of accounts[%d]"
                           % names[account.name], account.name)
        places[place] = names[account.name] = number


def _fetch_account(reader: Reader, path: Path, account: FetchAccount,
                   folders: Any) -> FetchAccount:
    boxes: List[Tuple[str, str]] = []
    for number, box in enumerate(account.boxes):
        pairs = [(box, "filter")] if isinstance(box, str) else list(box.items())
        for name, action in pairs:
            _check_box(reader, path + ("boxes", number, name), action, folders)
        boxes.extend(pairs)
    protocol = FETCH_SYNONYMS.get(account.protocol, account.protocol)
    server = account.server or oauth2.usual_server(account.provider, protocol)
    name = account.name or "%s@%s" % (account.username, server)
    return account._replace(
        protocol=protocol, port=account.port or FETCH_PORTS[protocol], boxes=tuple(boxes),
        name=name, server=server, provider=oauth2.settings(
            account, name, reader.root.identity_folder(reader.owner or ""),
            os.path.realpath(reader.folder or "")))


def _check_box(reader: Reader, path: Path, action: str, folders: Any) -> None:
    word, _, rest = action.partition(":")
    folder = rest.partition(":")[0] if word == "accept" and ":" in rest else rest
    if word == "accept" and ":" not in rest or not folder:
        folder = "mail"
    if folder not in folders and word != "delete" and not reader.is_full:
        reader.problem(path, 'a folder named in "mail-folders"', action,
                       did_you_mean(folder, list(folders)[:50]))
