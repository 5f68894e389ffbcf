"""Dovecot: IMAP, POP3 and LMTP over a Maildir, with Debian's defaults, in folders of its own; as
root or not."""
import getpass
import os
import pwd
import shutil

from ..messages import NEIGHBOUR, PASSPHRASE, USER
from .process import Child, Missing, await_banner, free_port

_CONFIG = """\
protocols = imap pop3 lmtp
listen = 127.0.0.1
base_dir = %(folder)s/run
state_dir = %(folder)s/state
log_path = %(folder)s/log
ssl = no
disable_plaintext_auth = no
default_internal_user = %(internal)s
default_internal_group = %(group)s
default_login_user = %(login)s
first_valid_uid = 1
mail_location = maildir:%(folder)s/%%n/mail
mail_max_userip_connections = 10000
passdb {
  driver = static
  args = password=%(passphrase)s
}
userdb {
  driver = static
  args = uid=%(uid)d gid=%(gid)d home=%(folder)s/home
}
service imap-login {
  %(chroot)s
  inet_listener imap {
    port = %(imap)d
  }
  inet_listener imaps {
    port = 0
  }
}
service pop3-login {
  %(chroot)s
  inet_listener pop3 {
    port = %(pop3)d
  }
  inet_listener pop3s {
    port = 0
  }
}
service lmtp {
  inet_listener lmtp {
    port = %(lmtp)d
  }
}
service anvil {
  %(chroot)s
}
service stats {
  %(chroot)s
}
"""


class Dovecot:
    """`maildir` is INBOX; `own(path)` gives a folder that was put there to its user."""

    name = "Dovecot"

    def __init__(self, folder):
        program = shutil.which("dovecot", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if program is None:
            raise Missing("Dovecot")
        self._program = program
        self._folder = folder
        self.maildir = os.path.join(folder, USER, "mail")
        self.ports = {name: free_port() for name in ("imap", "pop3", "lmtp")}
        self.child = None
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.getuid())
        self._prepare()

    def _prepare(self):
        os.chmod(self._folder, 0o755)
        for name in (USER, NEIGHBOUR, "home"):
            os.makedirs(os.path.join(self._folder, name, "mail"), 0o700)
        root = os.geteuid() == 0
        values = dict(
            folder=self._folder, passphrase=PASSPHRASE, uid=self._user.pw_uid,
            gid=self._user.pw_gid,
            internal="dovecot" if root else getpass.getuser(),
            group="dovecot" if root else _group(self._user),
            login="dovenull" if root else getpass.getuser(), chroot="" if root else "chroot =",
            **self.ports)
        with open(os.path.join(self._folder, "dovecot.conf"), "w") as file:
            file.write(_CONFIG % values)
        for name in (NEIGHBOUR, "home"):
            self.own(os.path.join(self._folder, name))

    def maildir_of(self, user):
        """INBOX of another user, whose folder is made."""
        path = os.path.join(self._folder, user, "mail")
        os.makedirs(path, 0o700, exist_ok=True)
        self.own(os.path.dirname(path))
        return path

    def own(self, path):
        for parent, folders, files in os.walk(path):
            for name in [""] + folders:
                os.chown(os.path.join(parent, name), self._user.pw_uid, self._user.pw_gid)

    def start(self):
        self.own(os.path.dirname(self.maildir))
        self.child = Child([self._program, "-F", "-c", os.path.join(self._folder, "dovecot.conf")],
                           os.path.join(self._folder, "output"))
        await_banner(self.child, self.ports["imap"])
        return self

    def stop(self):
        if self.child is not None:
            self.child.stop()


def _group(user):
    import grp
    return grp.getgrgid(user.pw_gid).gr_name
