"""The entry points of this room: configuration files -> settings, or all errors in them.

The only file that imports jsoncomment, and only when it reads a file; the standard json module
reads the same text, because `scanner` takes the comments out.
"""

import errno
import json
import os
from typing import Any, Callable, Dict, Optional, Tuple

from ..disk import open_beneath
from ..disk.regular_files import open_plain
from . import build
from .addresses import host_name as valid_host_name
from .checks import Reader
from .documents import SERVER, USER, Bounds, Document, Fetch, TooLarge, read
from .problems import ConfigError, Problem
from .root_folder import InvalidPath, Root
from .schema import SECRETS
from .settings import FetcherSettings, Filter, Settings, UserSettings

LookedFor = Optional[Callable[[str], None]]


def load_server(root: Root, privileged: Optional[bool] = None,
                host_name: Optional[Callable[[], str]] = None) -> Settings:
    """Read the device's mail.jcfg.

    In: `privileged`: whether ports below 1024 can be used; None asks the system. `host_name`:
    returns the host's full name; None asks the system.
    Raises ConfigError, and OSError if the file cannot be read.
    """
    document = _read(root, root.configuration, root.device, True, server_octets, SERVER)
    return _server(document, root, privileged, host_name)


def server_from_dict(values: Dict[str, Any], root: Root, privileged: Optional[bool] = None,
                     host_name: Optional[Callable[[], str]] = None) -> Settings:
    """Like `load_server`, from the values that mail.jcfg would hold, without includes.

    Raises ConfigError, whose problems have no line and column.
    """
    return _server(Document("settings", _json_like(values)), root, privileged, host_name)


def _server(document: Document, root: Root, privileged: Optional[bool],
            host_name: Optional[Callable[[], str]]) -> Settings:
    if privileged is None:
        privileged = not hasattr(os, "geteuid") or os.geteuid() == 0
    reader = Reader(document, root, allow_outside=True)
    settings = build.server(reader, privileged, host_name or full_host_name)
    _raise_problems(reader)
    return settings


def load_user(path: str, root: Root, looked_for: LookedFor = None) -> UserSettings:
    """Read a user's mail.jcfg; the defaults if there is none.

    In: the absolute path of the file, which lies in the mail folder. `looked_for` is called with
    the path of each file on which the result depends, before it is opened and even if that fails.
    Raises ConfigError, and OSError if the file cannot be read.
    """
    return _of_user(path, root, build.user, looked_for)


def load_filters(path: str, root: Root, looked_for: LookedFor = None) -> Tuple[Filter, ...]:
    """Read a filters.jcfg; no filters if there is none. Otherwise like `load_user`."""
    return _of_user(path, root, build.filters, looked_for)


def load_fetcher(path: str, root: Root, looked_for: LookedFor = None) -> FetcherSettings:
    """Read a mail-fetcher.jcfg; no accounts if there is none. Otherwise like `load_user`."""
    return _of_user(path, root, build.fetcher, looked_for)


def fetcher_from_dict(values: Dict[str, Any], path: str, root: Root) -> FetcherSettings:
    """Like `load_fetcher`, from the values that the file at `path` would hold, without includes.

    Raises ConfigError, whose problems have no line and column.
    """
    reader = Reader(Document(_name(root, path), _json_like(values)), root,
                    owner=root.identity_of(path), folder=os.path.dirname(path))
    settings = build.fetcher(reader)
    _raise_problems(reader)
    return settings


def server_octets(path: str, most: int = SERVER.octets) -> bytes:
    """The content of one of the administrator's files, who may use any links.

    Raises OSError, TooLarge.
    """
    with open_plain(os.path.realpath(path)) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise TooLarge(errno.EFBIG, "more than %d octets" % most, path)
    return data


def user_octets(path: str, root: Root, owner: str, most: int = USER.octets) -> bytes:
    """The content of a file below the folder of the identity `owner`; links may lead to it.

    Reads at most `most` octets and never waits for a pipe. Raises TooLarge, and OSError, also
    for a link into another identity's folder.
    """
    try:
        return open_beneath.read(root.identity_folder(owner), os.path.realpath(path), most)[0]
    except OSError as error:
        # With the whole path, not only the component that failed.
        kind = TooLarge if error.errno == errno.EFBIG else OSError
        raise kind(error.errno, error.strerror, path) from None


def _of_user(path: str, root: Root, build_settings: Callable[[Reader], Any],
             looked_for: LookedFor) -> Any:
    owner = root.identity_of(path)
    if owner is None:
        raise ConfigError([Problem(path, 0, 0, "", None, "a file inside the root folder")])

    # The server may run as root, so a user's file is read without leaving the user's folder.
    def fetch(file: str, most: int) -> bytes:
        return user_octets(file, root, owner, most)
    try:
        document = _read(root, path, owner, False, fetch, USER, looked_for)
    except FileNotFoundError:
        document = Document(_name(root, path), {})
    reader = Reader(document, root, owner=owner, folder=os.path.dirname(path))
    settings = build_settings(reader)
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
    """The values of the clean JSON that `scanner` returns."""
    try:
        from jsoncomment import JsonComment
    except ImportError:
        return json.loads(text)
    # By default it may choose another parser, and its templates print to stdout.
    return JsonComment(json).loads(text, template=False)


def full_host_name() -> str:
    """The host's full name in A-labels, or localhost if the system does not know it."""
    import socket  # late: only needed without a sender-domain

    name = socket.gethostname()
    if "." not in name:
        name = socket.getfqdn(name)
    try:
        return valid_host_name(name)
    except ValueError:
        return "localhost"


def _json_like(values: Any) -> Any:
    """The same values as a file would give them: tuples become lists, and keys become text."""
    if isinstance(values, dict):
        return {str(key): _json_like(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_json_like(value) for value in values]
    return values
