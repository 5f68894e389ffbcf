"""The root folder: identities, tokens, and which paths a configuration may name.

A path that starts with "/" lies inside the root. Its first component is an identity: the
device's own or a user's.
"""

import os
from typing import Optional, Sequence, Tuple

CONFIGURATION = os.path.join("system", "mail", "mail.jcfg")
FIRST_DEVICE = "device"
DEVICE_TOKEN = "[device-identity]"
USER_TOKEN = "[user-identity]"
LONGEST_PATH = 4096     # no system opens a longer one, and following its links takes long


class RootError(ValueError):
    """The root folder does not say which device it belongs to."""


class InvalidPath(ValueError):
    """A path that the configuration may not name; str() completes "expected …"."""


class Root:
    """A root folder and its device identity.

    `path`: absolute. `device`: the name of the identity. `mail_system`: the folder of the
    server's own files. `configuration`: the server's mail.jcfg, which need not exist.
    """

    def __init__(self, path: str, device: Optional[str] = None) -> None:
        """Choose the device: the given one, else the only one, else "device".

        Touches no file. Raises RootError if several folders hold a server's configuration and
        none is given, or if the name cannot be the name of a folder.
        """
        self.path = os.path.abspath(path)
        self.device = device if device is not None else self._only_device()
        if not is_component(self.device):
            raise RootError("%r cannot be the name of a device" % self.device)
        self.mail_system = os.path.join(self.path, self.device, "system", "mail")
        self.configuration = os.path.join(self.mail_system, "mail.jcfg")

    def __repr__(self) -> str:
        return "Root(%r, %r)" % (self.path, self.device)

    def create(self) -> None:
        """Make the root and the folder of the server's own files, readable for us only."""
        # One by one, because makedirs leaves the modes of the outer folders to the umask.
        system = os.path.dirname(self.mail_system)
        for folder in (self.path, os.path.dirname(system), system, self.mail_system):
            os.makedirs(folder, mode=0o700, exist_ok=True)

    def _only_device(self) -> str:
        """The one folder that holds a server's configuration."""
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            names = []
        devices = sorted(name for name in names
                         if os.path.isfile(os.path.join(self.path, name, CONFIGURATION)))
        if len(devices) > 1:
            raise RootError("%s holds several devices (%s); choose one with --device NAME"
                            % (self.path, ", ".join(devices)))
        return devices[0] if devices else FIRST_DEVICE

    def resolve(self, text: str, owner: Optional[str] = None,
                allow_outside: bool = False, folder: Optional[str] = None) -> str:
        """The absolute path for a path in the configuration; it need not exist.

        In: `owner`: the identity that [user-identity] stands for. `allow_outside` permits
        `file:/abs/path`. `folder`: an absolute path inside the root, to which a text without
        leading "/" is relative.
        Raises InvalidPath for "..", for links that leave the root, and for tokens without a
        meaning here.
        """
        if len(text) > LONGEST_PATH:
            raise InvalidPath("a path of at most %d characters" % LONGEST_PATH)
        if "\0" in text:
            raise InvalidPath("a path without NUL characters")
        if text.startswith("file:"):
            return _outside(text[len("file:"):], allow_outside)
        components = self._components(text, owner)
        if text.startswith("/"):
            path = os.path.join(self.path, *components)
        elif folder is not None and components:
            path = os.path.join(folder, *components)
        else:
            raise InvalidPath('a path that starts with "/"')
        if not is_inside(path, self.path):
            raise InvalidPath("a path that stays inside the root folder %s "
                              "(a link leads out of it)" % self.path)
        return path

    def _components(self, text: str, owner: Optional[str]) -> Tuple[str, ...]:
        names = {DEVICE_TOKEN: self.device, USER_TOKEN: owner}
        components = []
        for component in text.split("/"):
            if component in ("", "."):
                continue
            if component in names:
                component = names[component]
                if component is None:
                    raise InvalidPath("a path without %s, which has no meaning here" % USER_TOKEN)
                if not is_component(component):
                    raise InvalidPath("a path without %s, because %r cannot be a folder's name"
                                      % (USER_TOKEN, component))
            if not is_component(component):
                raise InvalidPath('a path without ".." in it' if component == ".."
                                  else "a path of possible folder names")
            components.append(component)
        return tuple(components)

    def identity_of(self, path: str) -> Optional[str]:
        """The identity to which an absolute path belongs, links followed.

        None for the root itself and for paths outside.
        """
        return self.identity_named(os.path.realpath(path))

    def identity_named(self, path: str) -> Optional[str]:
        """Like `identity_of`, for a path whose links have been followed before.

        For decisions about rights: it follows no link that a user has made meanwhile, so the
        path cannot become another identity's.
        """
        start = os.path.realpath(self.path).rstrip(os.sep) + os.sep
        inner = os.path.normpath(path)
        return inner[len(start):].split(os.sep, 1)[0] if inner.startswith(start) else None

    def identity_folder(self, identity: str) -> str:
        """The absolute path of an identity's folder, without links, as for `identity_named`."""
        return os.path.join(os.path.realpath(self.path), identity)

    def is_administrators(self, identity: Optional[str], admin: Sequence[str]) -> bool:
        """Whether an identity needs no authorization: the device's own, or one of `admin`."""
        return identity is not None and (identity == self.device or identity in admin)


def is_component(name: str) -> bool:
    """Whether a name is one safe component of a path on this system."""
    if name in ("", ".", "..", "*") or "\0" in name or "/" in name:
        return False
    if os.sep != "/" and (os.sep in name or ":" in name):
        return False
    try:
        return len(os.fsencode(name)) <= 255
    except UnicodeEncodeError:
        return False


def is_inside(path: str, folder: str) -> bool:
    """Whether a path, with all links followed, is a folder or lies in it."""
    path, folder = os.path.realpath(path), os.path.realpath(folder)
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _outside(path: str, allowed: bool) -> str:
    if not allowed:
        raise InvalidPath("a path inside the root folder; file:/… is for the server's own "
                          "configuration only")
    if not os.path.isabs(path) or ".." in path.split("/"):
        raise InvalidPath('an absolute path without ".." after file:')
    return os.path.normpath(path)
