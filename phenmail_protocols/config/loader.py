"""Configuration files -> settings, or every mistake in them at once.

The doors of this package.  The only file that imports jsoncomment, and only
when a file is read; without it the standard json reads the same text.
"""

import errno
import json
import os
from typing import Any, Callable, Dict, Optional, Tuple

from ..disk import beneath
from ..disk.plain import open_plain
from . import build
from .checks import Reader
from .documents import SERVER, USER, Bounds, Document, Fetch, TooLarge, from_values, read
from .problems import ConfigError, Problem
from .root import InvalidPath, Root
from .schema import SECRETS
from .settings import FetcherSettings, Filter, Settings, UserSettings

LookedFor = Optional[Callable[[str], None]]


def load_server(root: Root, privileged: Optional[bool] = None,
                host_name: Optional[Callable[[], str]] = None) -> Settings:
    """Read the device's mail.jcfg.

    In: `privileged`: ports below 1024 can be had (None: ask the system);
    `host_name`: gives the host's full name (None: ask the system).
    Raises ConfigError; OSError where the file cannot be read.
    """
    document = _read(root, root.configuration, root.device, True, server_octets, SERVER)
    return _server(document, root, privileged, host_name)


def server_from_dict(values: Dict[str, Any], root: Root, privileged: Optional[bool] = None,
                     host_name: Optional[Callable[[], str]] = None) -> Settings:
    """The same from the values that mail.jcfg would hold, without includes.

    Raises ConfigError, whose problems have no line and column.
    """
    return _server(from_values(_json_like(values)), root, privileged, host_name)


def _server(document: Document, root: Root, privileged: Optional[bool],
            host_name: Optional[Callable[[], str]]) -> Settings:
    if privileged is None:
        privileged = not hasattr(os, "geteuid") or os.geteuid() == 0
    reader = Reader(document, root, allow_outside=True)
    settings = build.server(reader, privileged, host_name or full_host_name)
    _raise_problems(reader)
    return settings


def load_user(path: str, root: Root, looked_for: LookedFor = None) -> UserSettings:
    """Read a user's mail.jcfg; where there is none, the defaults.

    In: the absolute path of the file, which lies in the mail folder.
    `looked_for` is called with the path of each file on which this depends
    before it is opened, also where it fails.
    Raises ConfigError; OSError where the file cannot be read.
    """
    return _of_user(path, root, build.user, looked_for)


def load_filters(path: str, root: Root, looked_for: LookedFor = None) -> Tuple[Filter, ...]:
    """Read a filters.jcfg; none where it is missing.  As load_user."""
    return _of_user(path, root, build.filters, looked_for)


def load_fetcher(path: str, root: Root) -> FetcherSettings:
    """Read a mail-fetcher.jcfg; no accounts where it is missing.  Raises as load_user."""
    return _of_user(path, root, build.fetcher, None)


def server_octets(path: str, most: int = SERVER.octets) -> bytes:
    """What stands in a file of the administrator, who may use links as they like.

    Raises OSError, TooLarge.
    """
    with open_plain(os.path.realpath(path)) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise TooLarge(errno.EFBIG, "more than %d octets" % most, path)
    return data


def user_octets(path: str, root: Root, owner: str, most: int = USER.octets) -> bytes:
    """What stands in a file below the folder of the identity `owner`; links may lead to it.

    Reads `most` octets at most and waits for no pipe.  Raises OSError (also where a
    link leads to somebody else's folder), TooLarge.
    """
    try:
        return beneath.read(root.identity_folder(owner), os.path.realpath(path), most)[0]
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise TooLarge(error.errno, error.strerror, path) from None
        # By its whole name, and not by the last step on the way.
        raise OSError(error.errno, error.strerror, path) from None


def _of_user(path: str, root: Root, made: Callable[[Reader], Any], looked_for: LookedFor) -> Any:
    owner = root.identity_of(path)
    if owner is None:
        raise ConfigError([Problem(path, 0, 0, "", None, "a file inside the root folder")])

    def fetch(file: str, most: int) -> bytes:
        return user_octets(file, root, owner, most)
    try:
        document = _read(root, path, owner, False, fetch, USER, looked_for)
    except FileNotFoundError:
        document = from_values({}, _name(root, path))
    reader = Reader(document, root, owner=owner, folder=os.path.dirname(path))
    settings = made(reader)
    _raise_problems(reader)
    return settings


def _raise_problems(reader: Reader) -> None:
    if reader.problems:
        raise ConfigError(sorted(reader.problems, key=lambda problem: problem[:3]))


def _read(root: Root, path: str, owner: str, allow_outside: bool, fetch: Fetch, bounds: Bounds,
          looked_for: LookedFor = None) -> Document:
    def resolve(text: str, file: str) -> str:
        target = root.resolve(text, owner, allow_outside, os.path.dirname(file))
        if not allow_outside and root.identity_of(target) != owner:
            raise InvalidPath("a path inside the folder of its owner %s" % owner)
        return target

    return read(path, _name(root, path), resolve, parse, fetch, bounds, SECRETS, looked_for)


def _name(root: Root, path: str) -> str:
    """A file's name for messages: its path below the root."""
    prefix = root.path.rstrip(os.sep) + os.sep
    return path[len(prefix):] if path.startswith(prefix) else path


def parse(text: str) -> Any:
    """Values from clean JSON, as `scanner` gives it out."""
    try:
        from jsoncomment import JsonComment
    except ImportError:
        return json.loads(text)
    # Its own choice could be another parser; its templates print to stdout.
    return JsonComment(json).loads(text, template=False)


def full_host_name() -> str:
    """The host's full name in A-labels as far as the system knows one, else localhost."""
    import socket  # late: only where the configuration names no sender-domain

    from .checks import AddressError, host_name

    name = socket.gethostname()
    if "." not in name:
        name = socket.getfqdn(name)
    try:
        return host_name(name)
    except AddressError:
        return "localhost"


def _json_like(values: Any) -> Any:
    """Tuples become lists and keys text, as they would be in a file."""
    if isinstance(values, dict):
        return {str(key): _json_like(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_json_like(value) for value in values]
    return values
