"""The command `init`, and the first start of the server: create a root folder that works."""
import os
import sys
from typing import NamedTuple

from ..config import loader
from ..config.root_folder import CONFIGURATION, FIRST_DEVICE
from ..disk import atomic
from ..text.domains import ascii_domain, unicode_domain
from .terminal import DONE, FAILED

_CONFIGURATION = """\
# phenmail's configuration: JSON, with comments after "#".
%(explained)s# "python3 phenmail.py check" reports mistakes. A running server applies changes of
# "domains" at once, and other changes after SIGHUP or a restart.
{
  # The main mail domain, and the name that this server gives to other servers.
  "sender-domain": "%(domain)s",

  "domains": {
    "%(domain)s": {
      # Both are required (RFC 5321 4.5.1, RFC 2142).
      "postmaster": ":%(user)s",
      "abuse": ":%(user)s",

      # To add a user: python3 phenmail.py user add NAME@%(domain)s
      "%(user)s": "/%(user)s/mail"
    }
  }%(admin)s
}
"""
_EXPLAINED = "# %s explains every key.\n"
_ADMIN = """,

  # Identities whose commands and Python filters need no approval.
  "admin": ["%s"]"""

_WELCOME = """\
A new mail server was created. Its first user:

    user name   %(address)s
    passphrase  %(passphrase)s

The passphrase is shown only now. To change it:
    python3 phenmail.py user passwd %(address)s
"""


class FirstUser(NamedTuple):
    """The user of a new root folder. The passphrase is stored nowhere."""
    address: str
    passphrase: str


def run(root, options):
    if not is_needed(root):
        print("phenmail: %s already exists" % root.configuration, file=sys.stderr)
        return FAILED
    make_root_if_needed(root, options)
    return DONE


def make_root_if_needed(root, options):
    """Create the root folder if it has no configuration, and print how its user logs in."""
    if is_needed(root):
        first = make_root(root, options.user or _login_name(), options.domain, options.admin)
        print(welcome(first), flush=True)


def _login_name():
    import getpass
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):
        name = ""
    return name if name.isalnum() and name != "root" else "me"


def is_needed(root):
    """Whether the root folder has no configuration yet."""
    return not os.path.exists(root.configuration)


def make_root(root, user, domain=None, admin=False):
    """Create a root folder with one user -> FirstUser.

    `user`: their local part; `domain`: None takes the host's full name; `admin`: their commands and
    filters need no approval. Raises OSError.
    """
    domain = unicode_domain(ascii_domain(domain or loader.full_host_name()))
    root.create()
    address = "%s@%s" % (user, domain)
    atomic.write_file(root.configuration, (_CONFIGURATION % dict(
        domain=domain, user=user, admin=_ADMIN % user if admin else "", explained=_explained(),
    )).encode("utf-8"))
    from ..accounts import users  # the server needs it only at its first start
    return FirstUser(address, users.set_passphrase(root, address))


def examples():
    """The folder of the example files, in the source or as installed; None if there is none."""
    program = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for folder in (os.path.join(program, "conf"), os.path.join(os.path.dirname(program), "conf")):
        if os.path.isfile(os.path.join(folder, FIRST_DEVICE, CONFIGURATION)):
            return folder
    return None


def _explained():
    folder = examples()
    path = os.path.join(folder, FIRST_DEVICE, CONFIGURATION) if folder else ""
    return _EXPLAINED % path if path.isprintable() and path else ""


def welcome(first):
    """What is printed once about a FirstUser -> str."""
    return _WELCOME % first._asdict()
