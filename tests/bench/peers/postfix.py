"""Postfix: smtpd to virtual(8) into a Maildir, as Debian would set it up, in folders of its own.

Its master has to be root; for anybody else it counts as missing.
"""
import grp
import os
import pwd
import shutil

from ..messages import ADDRESS, DOMAIN, USER, make
from .process import Child, Missing, await_banner, free_port

_DAEMONS = ("/usr/lib/postfix/sbin", "/usr/libexec/postfix", "/usr/lib/postfix")
_QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace")
_MAIN = """\
compatibility_level = 3.6
queue_directory = %(folder)s/queue
data_directory = %(folder)s/data
daemon_directory = %(daemons)s
command_directory = /usr/sbin
meta_directory = /etc/postfix
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.%(domain)s
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
virtual_mailbox_domains = %(domain)s
virtual_mailbox_base = %(folder)s
virtual_mailbox_maps = inline:{ { %(address)s = mail/ } }
virtual_uid_maps = static:%(uid)d
virtual_gid_maps = static:%(gid)d
virtual_transport = virtual
virtual_mailbox_limit = 0
message_size_limit = 209715200
# The client's rate is what is measured, not the pause that keeps a flood within what the disk takes.
in_flow_delay = 0
"""
_MASTER = """\
127.0.0.1:%(port)d inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
"""


class Postfix:
    """Mail that it accepted is in the queue; `waits` says that arriving takes longer."""

    name = "Postfix"
    waits = True

    def __init__(self, folder, python=None):
        self._daemons = next((path for path in _DAEMONS if os.path.exists(path + "/master")), None)
        if self._daemons is None or shutil.which("postconf", path=os.environ.get("PATH", "") + ":/usr/sbin") is None:
            raise Missing("Postfix")
        if os.geteuid() != 0:
            raise Missing("Postfix (its master needs root)")
        self._folder = folder
        self.maildir = os.path.join(folder, "mail")
        self.smtp = free_port()
        self.child = None
        self._prepare()

    def _prepare(self):
        nobody, postfix = pwd.getpwnam("nobody"), pwd.getpwnam("postfix").pw_uid
        os.chmod(self._folder, 0o755)
        make(self.maildir)
        for part in ("", "new", "cur", "tmp"):
            os.chown(os.path.join(self.maildir, part), nobody.pw_uid, nobody.pw_gid)
        self._make_queue(postfix, grp.getgrnam("postdrop").gr_gid)
        values = dict(folder=self._folder, daemons=self._daemons, domain=DOMAIN, address=ADDRESS, user=USER,
                      uid=nobody.pw_uid, gid=nobody.pw_gid, port=self.smtp)
        os.mkdir(os.path.join(self._folder, "config"))
        for name, text in (("main.cf", _MAIN), ("master.cf", _MASTER)):
            with open(os.path.join(self._folder, "config", name), "w") as file:
                file.write(text % values)

    def _make_queue(self, postfix, postdrop):
        queue = os.path.join(self._folder, "queue")
        for path in (queue, os.path.join(queue, "pid")):
            os.mkdir(path, 0o755)
        for name in _QUEUES:
            path = os.path.join(queue, name)
            os.mkdir(path, 0o700)
            os.chown(path, postfix, 0)
        for name, mode in (("public", 0o2710), ("maildrop", 0o1730)):
            path = os.path.join(queue, name)
            os.mkdir(path)
            os.chown(path, postfix, postdrop)
            os.chmod(path, mode)
        data = os.path.join(self._folder, "data")
        os.mkdir(data, 0o700)
        os.chown(data, postfix, 0)

    def start(self):
        self.child = Child([self._daemons + "/master", "-c", os.path.join(self._folder, "config"), "-d"],
                           os.path.join(self._folder, "log"),
                           {"MAIL_CONFIG": os.path.join(self._folder, "config")})
        await_banner(self.child, self.smtp)
        return self

    def stop(self):
        if self.child is not None:
            self.child.stop()
