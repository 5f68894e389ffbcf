"""Cyrus IMAP in folders of its own; it takes any passphrase. As root or not."""
import glob
import imaplib
import os
import pwd

from ..messages import USER
from .courier import UNPACKED
from .process import Child, Missing, await_banner, free_port

_SETTINGS = """\
configdirectory: %(folder)s/conf
partition-default: %(folder)s/spool
defaultpartition: default
proc_path: %(folder)s/run/proc
mboxname_lockpath: %(folder)s/run/lock
imapidlepoll: 1
notifysocket: %(folder)s/run/notify
lmtpsocket: %(folder)s/run/lmtp
cyrus_user: %(user)s
admins: admin
allowplaintext: yes
sasl_mech_list: PLAIN
sasl_pwcheck_method: alwaystrue
unixhierarchysep: no
altnamespace: no
virtdomains: off
"""
_PROGRAMS = """\
START {
}
SERVICES {
  imap cmd="%(programs)s/imapd -C %(folder)s/imapd.conf" listen="127.0.0.1:%(port)d" prefork=1
}
EVENTS {
}
"""


class Cyrus:
    """USER's mailboxes lie below "INBOX."."""

    name = "Cyrus"

    def __init__(self, folder):
        self._folder = str(folder)
        self._root, self._programs = _find()
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.getuid())
        self.ports = {"imap": free_port()}
        self.child = None
        values = {"folder": self._folder, "user": self._user.pw_name, "programs": self._programs,
                  "port": self.ports["imap"]}
        os.chmod(self._folder, 0o755)
        for name in ("conf", "spool", "run"):
            path = os.path.join(self._folder, name)
            os.mkdir(path)
            os.chown(path, self._user.pw_uid, self._user.pw_gid)
        for name, text in (("imapd.conf", _SETTINGS), ("cyrus.conf", _PROGRAMS)):
            with open(os.path.join(self._folder, name), "w") as file:
                file.write(text % values)

    def start(self):
        libraries = glob.glob(os.path.join(self._root, "usr", "lib", "*-linux-gnu"))
        self.child = Child(
            [os.path.join(self._programs, "master"),
             "-C", os.path.join(self._folder, "imapd.conf"),
             "-M", os.path.join(self._folder, "cyrus.conf"),
             "-p", os.path.join(self._folder, "run", "pid")],
            os.path.join(self._folder, "output"), {"LD_LIBRARY_PATH": ":".join(libraries)})
        await_banner(self.child, self.ports["imap"])
        client = imaplib.IMAP4("127.0.0.1", self.ports["imap"])
        client.login("admin", "any")
        assert client.create("user." + USER)[0] == "OK"
        client.logout()
        return self

    def stop(self):
        if self.child is not None:
            self.child.stop()


def _find():
    """(root folder, folder of the programs)."""
    for root in ("/", UNPACKED):
        programs = os.path.join(root, "usr", "lib", "cyrus", "bin")
        if os.path.exists(os.path.join(programs, "master")):
            return root, programs
    raise Missing("Cyrus")
