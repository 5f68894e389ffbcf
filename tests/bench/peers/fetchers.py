"""getmail and mbsync: programs that pull a mailbox from another server into a Maildir, once."""
import os
import pwd
import shutil

from .. import messages
from .process import Child, Missing

_PATIENCE = 1800.0  # seconds
_GETMAIL = """\
[retriever]
type = Simple%(protocol)sRetriever
server = 127.0.0.1
port = %(port)d
username = %(user)s
password = %(passphrase)s
[destination]
type = Maildir
path = %(maildir)s/
[options]
read_all = false
delete = false
verbose = 0
"""
_MBSYNC = """\
IMAPStore far
Host 127.0.0.1
Port %(port)d
User %(user)s
Pass %(passphrase)s
AuthMechs LOGIN
SSLType None

MaildirStore near
Path %(folder)s/
Inbox %(maildir)s

Channel all
Far :far:
Near :near:
Sync Pull
SyncState *
"""


class _Fetcher:
    """`port`: where `protocol` ("IMAP", "POP3") is on the loopback; `user`: whose mailbox."""

    def __init__(self, folder, port, protocol, user):
        self._program = shutil.which(self.program)
        if self._program is None:
            raise Missing(self.name)
        self._folder = folder
        self.maildir = os.path.join(folder, "mail")
        messages.make(self.maildir)
        self._settings = os.path.join(folder, "settings")
        with open(self._settings, "w") as file:
            os.chmod(self._settings, 0o600)
            file.write(self.form % dict(
                protocol=protocol, port=port, user=user, passphrase=messages.PASSPHRASE,
                maildir=self.maildir, folder=folder))

    def run(self):
        """Fetch all, until the program ends."""
        child = Child(self._command(), os.path.join(self._folder, "output"),
                      {"HOME": self._folder})
        child.wait(_PATIENCE)


class Getmail(_Fetcher):
    """It delivers nothing as root, so another user runs it then."""

    name, program, form = "getmail6", "getmail", _GETMAIL

    def _command(self):
        command = [self._program, "--getmaildir", self._folder, "--rcfile", self._settings]
        if os.geteuid():
            return command
        nobody = pwd.getpwnam("nobody")
        for parent, folders, files in os.walk(self._folder):
            for name in [""] + folders + files:
                os.chown(os.path.join(parent, name), nobody.pw_uid, nobody.pw_gid)
        return ["setpriv", "--reuid=%d" % nobody.pw_uid, "--regid=%d" % nobody.pw_gid,
                "--clear-groups"] + command


class Mbsync(_Fetcher):
    """Over IMAP only."""

    name, program, form = "mbsync", "mbsync", _MBSYNC

    def _command(self):
        return [self._program, "-c", self._settings, "-q", "all"]
