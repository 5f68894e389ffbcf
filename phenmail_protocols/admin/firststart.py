"""The first start: a root folder that works, and what to type into a mail
program. Knows no terminal: it gives back text."""
import os
from typing import NamedTuple

from ..config import loader
from ..config.root import CONFIGURATION, FIRST_DEVICE
from ..disk import atomic
from ..text.domains import ascii_domain, unicode_domain

_CONFIGURATION = """\
# phenmail's configuration: JSON, and comments after a hash mark.
%(explained)s# "python3 phenmail.py check" looks it over; a running server takes changes of
# "domains" at once and others at SIGHUP or the next start.
{
  # The name of this mail domain, and by which the server greets others.
  "sender-domain": "%(domain)s",

  "domains": {
    "%(domain)s": {
      # Both are required of a mail server (RFC 5321 4.5.1, RFC 2142).
      "postmaster": ":%(user)s",
      "abuse": ":%(user)s",

      # Users are added by: python3 phenmail.py user add NAME@%(domain)s
      "%(user)s": "/%(user)s/mail"
    }
  }%(admin)s
}
"""
_EXPLAINED = "# %s explains every key.\n"
_ADMIN = """,

  # Whose folders need no authorization for programs and code filters.
  "admin": ["%s"]"""

_PROGRAM_ROWS = (
    ("imaps", "IMAP", "SSL/TLS"), ("imap", "IMAP", "STARTTLS"),
    ("pop3s", "POP3", "SSL/TLS"), ("pop3", "POP3", "STARTTLS"),
    ("submissions", "outgoing (SMTP)", "SSL/TLS"),
    ("submission", "outgoing (SMTP)", "STARTTLS"),
    ("smtp", "mail from other servers", "STARTTLS"),
    ("lmtp", "mail from a server in front", "none"))


class First(NamedTuple):
    """Who was made at the first start; the passphrase is kept nowhere."""
    address: str
    passphrase: str


def is_needed(root):
    """Does the root folder have no configuration yet?"""
    return not os.path.exists(root.configuration)


def make_root(root, user, domain=None, admin=False):
    """Make a working root folder: First.

    ``user``: the local part of the first user; ``domain``: None is the host's
    full name; ``admin``: the user needs no authorizations. Raises OSError.
    """
    domain = unicode_domain(ascii_domain(domain or loader.full_host_name()))
    root.create()
    address = "%s@%s" % (user, domain)
    atomic.write_file(root.configuration, (_CONFIGURATION % dict(
        domain=domain, user=user, admin=_ADMIN % user if admin else "", explained=_explained(),
    )).encode("utf-8"))
    from ..accounts import users  # the first time only
    return First(address, users.set_passphrase(root, address))


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
    """The lines that are printed once."""
    return (
        "A new mail server was made. Its first user:\n\n"
        "    user name   %s\n"
        "    passphrase  %s\n\n"
        "The passphrase is shown this once. To change it:\n"
        "    python3 phenmail.py user passwd %s\n"
        % (first.address, first.passphrase, first.address))


def table(listening, host, fingerprint=None, complaint=""):
    """What listens where, for a person with a mail program before him.

    ``listening``: app.Listening values; ``host``: the name to type.
    """
    rows = []
    for name, what, ssl in _PROGRAM_ROWS:
        for each in listening:
            if each.name == name:
                place = each.path or "%s port %d" % (
                    host if each.host in ("*", "") else each.host, each.port)
                rows.append("    %-27s %-32s %s" % (
                    what, place, ssl if each.tls != "none" else "no TLS"))
    text = "What to type into a mail program:\n\n%s\n" % "\n".join(rows)
    if fingerprint:
        text += ("\nThe certificate's SHA-256 fingerprint, to compare when the"
                 " program asks:\n    %s\n" % fingerprint)
    if complaint:
        text += "\nNo TLS: %s\n" % complaint
    return text
